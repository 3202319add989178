"""What can be broken on a lab host, on purpose and while it runs.

A fault is a file in the host's folder, outside of what the host itself sees. It takes effect with the
next connection, command or heartbeat, and is gone when the file is.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path


class Fault(StrEnum):
    """The faults by the names that `lab break` takes."""

    CLOCK = "clock"
    DISK_FULL = "disk-full"
    RESOLVER_DEAD = "resolver-dead"
    WRONG_HOST_KEY = "wrong-host-key"
    AUTH_REFUSED = "auth-refused"
    HANGS_AFTER_LOGIN = "hangs-after-login"
    FLOODS = "floods"
    DROPS_MID_COMMAND = "drops-mid-command"
    SUDO_PASSWORD = "sudo-password"
    LEFTOVERS = "leftovers"
    JOIN_FAILS = "join-fails-half-way"
    NEVER_READY = "kubelet-never-ready"
    CNI_MISSING = "cni-missing"
    NAME_DUPLICATED = "name-duplicated"
    API_UNREACHABLE = "api-unreachable"
    LINE_CUT = "line-cut"
    POWER_LOST = "power-lost"
    MIRROR_DOWN = "mirror-down"
    PACKAGE_MISSING = "package-missing"
    KEEPS_OLD_KUBELET = "upgrade-keeps-old-kubelet"
    NEVER_RETURNS = "upgrade-never-returns"


CLOCK_OFF_S = 600

DESCRIPTIONS = {
    Fault.CLOCK: "its clock is ten minutes ahead",
    Fault.DISK_FULL: "its disk has no space left",
    Fault.RESOLVER_DEAD: "its name server does not answer it",
    Fault.WRONG_HOST_KEY: "it shows another host key than known_hosts has",
    Fault.AUTH_REFUSED: "it does not take the SSH key",
    Fault.HANGS_AFTER_LOGIN: "login works, then no command ever starts",
    Fault.FLOODS: "every command's output never ends",
    Fault.DROPS_MID_COMMAND: "the connection is cut while a command runs",
    Fault.SUDO_PASSWORD: "sudo asks for a password",
    Fault.LEFTOVERS: "parts of an earlier cluster are on it",
    Fault.JOIN_FAILS: "the joiner fails after it has installed half of it",
    Fault.NEVER_READY: "it joins, and its kubelet is never Ready",
    Fault.CNI_MISSING: "the network plugin's image cannot be pulled, so the node has no network",
    Fault.NAME_DUPLICATED: "another machine's Node has its name in the cluster already",
    Fault.API_UNREACHABLE: "it cannot reach the API server",
    Fault.LINE_CUT: "its network cable is out (machines only)",
    Fault.POWER_LOST: "it has lost power; mending boots it",
    Fault.MIRROR_DOWN: "its package mirror does not answer",
    Fault.PACKAGE_MISSING: "its package mirror has nothing newer than what is installed",
    Fault.KEEPS_OLD_KUBELET: "an upgrade says that all went well, and the kubelet starts in its old version",
    Fault.NEVER_RETURNS: "after an upgrade its kubelet is never Ready again",
}

MACHINES_ONLY = (Fault.LINE_CUT,)
OF_UPGRADES = (Fault.MIRROR_DOWN, Fault.PACKAGE_MISSING, Fault.KEEPS_OLD_KUBELET, Fault.NEVER_RETURNS)
"""What an upgrade meets; nothing else takes notice. Not on machines."""


class HostFaults:
    """The faults of one host, as they are on disk right now."""

    def __init__(self, host: Path) -> None:
        self._folder = host / "faults"

    def has(self, fault: Fault) -> bool:
        """Whether it is broken in this way at this moment."""
        return (self._folder / fault).exists()

    def all(self) -> tuple[Fault, ...]:
        """Every present fault, in the order of the table."""
        return tuple(fault for fault in Fault if self.has(fault))

    def set(self, fault: Fault) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / fault).touch()

    def clear(self, fault: Fault) -> None:
        (self._folder / fault).unlink(missing_ok=True)
