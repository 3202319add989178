"""Putting the stand-ins, and the machine's own programs that hosts may use, into a lab's `bin` folders."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

PYTHON = {
    "run.py names": ("getent", "nslookup", "dig"),
    "run.py units": ("systemctl", "systemd-run", "journalctl", "reboot", "shutdown"),
    "run.py packages": ("apt-get", "apt-cache", "apt-mark", "dpkg-query", "dpkg"),
    "joiner.py": ("edgeadm",),
    "python.py": ("python3",),
}
"""Script and its first word -> names of commands."""
IN_PODS = {"run.py names": ("nslookup",), "web.py": ("httpd", "wget")}
"""In pods the image's busybox comes first."""

SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
NOT_THE_MACHINES = re.compile(
    r"apk|apt.*|chron.*|containerd.*|crictl|crio.*|ctr|dnf.*|docker.*|dpkg.*|ntp.*|halt|hostnamectl|hwclock|init"
    r"|ip6?tables.*|k0s.*|k3s.*|kexec|kube.*|losetup|microk8s.*|mkfs.*|mkswap|modprobe|mount|networkctl|nft|nerdctl"
    r"|pacman.*|podman.*|poweroff|resolvectl|rke2.*|rpm.*|runc|runlevel|service|swapo(n|ff)|sysctl|systemctl.*|systemd.*"
    r"|telinit|u?mount.*|user.*|group.*|yum.*|zypper.*"
)
"""What would change this machine, or tell that it is not the host it plays: not found on lab hosts."""


def install(programs: Path, pod_programs: Path, tools: Path) -> None:
    """Fill the three folders: the host's stand-ins, the pods', and links to the machine's own programs."""
    here = Path(__file__).parent
    for folder in (programs, pod_programs, tools):
        folder.mkdir(parents=True)
    for shell in here.glob("*.sh"):
        _program(programs / shell.stem, shell.read_text())
    for folder, table in ((programs, PYTHON), (pod_programs, IN_PODS)):
        for script, names in table.items():
            file, *first = script.split()
            for name in names:
                words = map(shlex.quote, (sys.executable, "-I", "-S", str(here / file), *first, name))
                _program(folder / name, f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
    for name, path in _machines_own(SYSTEM_PATH):
        os.symlink(path, tools / name)


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _machines_own(folders: Iterable[str]) -> Iterable[tuple[str, str]]:
    found: dict[str, str] = {}
    for folder in folders:
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            if not NOT_THE_MACHINES.fullmatch(entry.name):
                found.setdefault(entry.name, entry.path)
    return found.items()
