"""The system that every machine starts from: a Debian made by debootstrap, once, in the cache folder.

It has what a site would have put on its machines before they join: SSH, a container runtime, an operator's account
with sudo. Kubernetes is not on it; that comes by apt from the lab's mirror. Machines lay a writable layer over it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poolkeeper.deployments.lab.layout import SSH_USER
from poolkeeper.deployments.lab.real.building import Say, Unavailable, cache_home, say_on_stderr

SUITE = "bookworm"
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "procps", "iproute2", "iputils-ping", "netbase",
    "iptables", "nftables", "conntrack", "socat", "ethtool", "kmod", "ca-certificates", "curl", "python3-minimal",
    "containerd", "runc", "containernetworking-plugins", "jq", "busybox-static",
)  # fmt: skip
MAKE_TIMEOUT_S = 900.0
_FILES = Path(__file__).parent / "files"
"""Laid over the fresh system, path by path."""


def base_tree(*, say: Say = say_on_stderr) -> Path:
    """The tree: the one in the cache, or made now. Raises Unavailable."""
    done = cache_home() / f"machine-{base_key()}"
    if done.exists():
        return done
    done.parent.mkdir(parents=True, exist_ok=True)
    with locked(done.with_suffix(".lock")):
        if not done.exists():
            _make(done, say)
    return done


def base_key() -> str:
    """Another tree for other packages or files."""
    parts = [SUITE, *PACKAGES]
    for path in sorted(_FILES.rglob("*")):
        if path.is_file():
            parts += [str(path.relative_to(_FILES)), str(path.stat().st_mode), path.read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; whoever is killed lets go of it."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(done: Path, say: Say) -> None:
    say(f"making the machines' system: Debian {SUITE} by debootstrap (once, about a minute)")
    began, part = time.monotonic(), done.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)  # of one that was killed
    # it mounts /proc and more below the tree: where it is killed, those mounts must go with it
    own = ["unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child", "--"]
    command = [*own, "debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(part), _mirror()]
    _run(command)
    _configure(part)
    part.rename(done)
    say(f"made the machines' system in {time.monotonic() - began:.0f} s")


def _mirror() -> str:
    """The archive that this machine itself installs from. Raises Unavailable."""
    told = _run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)"])
    for line in told.splitlines():
        uri, _, release = line.partition(" ")
        if release == SUITE:
            return uri
    raise Unavailable(f"apt on this machine has no archive of Debian {SUITE} to make machines from")


def _configure(tree: Path) -> None:
    """What makes it a machine of the lab: the operator's account, our files, nothing that calls out by itself."""
    _run(["chroot", str(tree), "useradd", "--create-home", "--shell", "/bin/sh", SSH_USER])
    shutil.copytree(_FILES, tree, dirs_exist_ok=True, symlinks=True)
    (tree / "etc/sudoers.d/operator").write_text(f"{SSH_USER} ALL=(ALL) NOPASSWD: ALL\n")
    (tree / "etc/sudoers.d/operator").chmod(0o440)
    units = tree / "etc/systemd/system"
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer", "getty.target", "console-getty.service"):
        (units / unit).symlink_to("/dev/null")
    for own in ("etc/machine-id", "etc/hostname", "etc/resolv.conf", "etc/apt/sources.list"):
        (tree / own).unlink(missing_ok=True)  # each machine has its own
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    _run(["chroot", str(tree), "systemctl", "enable", "--quiet", "lab-kernel-settings.service", "ssh", "containerd"])


def _run(command: list[str]) -> str:
    """Run one step of the making. Raises Unavailable with its last words."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        told = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=MAKE_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the machines' system cannot be made: {error}") from None
    if told.returncode != 0:
        words = (told.stderr.strip() or told.stdout.strip())[-600:]
        raise Unavailable(f"the machines' system cannot be made: `{command[0]}` failed: {words}")
    return told.stdout
