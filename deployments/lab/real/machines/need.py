"""What a machine must have to run machines on it, and making beforehand what is made once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from poolkeeper.deployments.lab.real.building import Say, Unavailable, say_on_stderr
from poolkeeper.deployments.lab.real.machines.base import base_tree
from poolkeeper.deployments.lab.real.machines.control_groups import cgroup2_folder
from poolkeeper.deployments.lab.real.machines.shelf import mirror_tree
from poolkeeper.deployments.lab.real.pins import MACHINES
from poolkeeper.deployments.lab.real.programs import find, lacking

INOTIFY_INSTANCES = 1024
"""Room for 20 nodes and what else root runs."""
_PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "dpkg-deb": "dpkg",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
"""Program -> Debian's package of it."""


def lacking_for_machines() -> str:
    """Why machines cannot be had here, as a clause; empty when they can."""
    return lacking_for_good() or lacking_programs()


def lacking_programs() -> str:
    """What of Debian's packages is not installed, as a clause."""
    if absent := [name for name in _PROGRAMS if shutil.which(name) is None]:
        packages = " ".join(dict.fromkeys(_PROGRAMS[name] for name in absent))
        return f"there is no {', '.join(absent)} on PATH (apt-get install {packages})"
    return ""


def lacking_for_good() -> str:
    """What no installation of packages mends, as a clause."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "they need Linux and root: they are made of namespaces, mounts and control groups"
    if os.uname().machine != "x86_64":
        return f"their packages are made for amd64, and this is {os.uname().machine}"
    if cgroup2_folder() is None:
        return "cgroup2 is not mounted on this machine"
    if _kernel() < (5, 14):
        return f"their control groups need Linux 5.14, and this is {os.uname().release}"
    if shutil.which("apt-get") is None:
        return "their system is a Debian, made with apt, and this machine has none"
    if refused := _namespaces_refused():
        return f"this machine gives root no namespaces: {refused}"
    return lacking(MACHINES)


def _raise_inotify_limit(say: Say) -> None:
    """Raise the kernel's limit of inotify instances, which all of root's processes share; it stays raised.

    A machine that is a node has some 19, and without one its kubelet starts no pod and does not say why.
    Raises Unavailable.
    """
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    if int(limit.read_text()) >= INOTIFY_INSTANCES:
        return
    say(f"raising fs.inotify.max_user_instances of this machine to {INOTIFY_INSTANCES}, which 20 machines need")
    try:
        limit.write_text(str(INOTIFY_INSTANCES))
    except OSError as error:
        raise Unavailable(
            f"fs.inotify.max_user_instances is below {INOTIFY_INSTANCES} and cannot be raised: {error.strerror}"
        ) from None


def _kernel() -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


@cache
def _namespaces_refused() -> str:
    """The words with which the kernel refuses mounts and networks of our own; empty when it does not."""
    command = ["unshare", "--mount", "--net", "--", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return (told.stderr.strip() or f"exit status {told.returncode}") if told.returncode else ""


def prepare(*, say: Say = say_on_stderr) -> None:
    """Make programs, system and mirror, where they are not in the cache yet. Raises Unavailable."""
    if missing := lacking_for_machines():
        raise Unavailable(missing)
    _raise_inotify_limit(say)
    find(MACHINES, say=say)
    base_tree(say=say)
    mirror_tree(say=say)
