"""What a machine must have to run machines on it, and making beforehand what is made once."""

from __future__ import annotations

import os
import shutil
import sys

from deployments.lab.real.building import Say, Unavailable, say_on_stderr
from deployments.lab.real.machines.base import base_tree
from deployments.lab.real.machines.control_groups import cgroup2_folder
from deployments.lab.real.machines.shelf import mirror_tree
from deployments.lab.real.pins import MACHINES
from deployments.lab.real.programs import find, lacking

_PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
"""Program -> Debian's package of it."""


def lacking_for_machines() -> str:
    """Why machines cannot be had here, as a clause; empty when they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "they need Linux and root: they are made of namespaces, mounts and control groups"
    if os.uname().machine != "x86_64":
        return f"their packages are made for amd64, and this is {os.uname().machine}"
    if absent := [name for name in _PROGRAMS if shutil.which(name) is None]:
        packages = " ".join(dict.fromkeys(_PROGRAMS[name] for name in absent))
        return f"there is no {', '.join(absent)} on PATH (apt-get install {packages})"
    if cgroup2_folder() is None:
        return "cgroup2 is not mounted on this machine"
    return lacking(MACHINES)


def prepare(*, say: Say = say_on_stderr) -> None:
    """Make programs, system and mirror, where they are not in the cache yet. Raises Unavailable."""
    if missing := lacking_for_machines():
        raise Unavailable(missing)
    find(MACHINES, say=say)
    base_tree(say=say)
    mirror_tree(say=say)
