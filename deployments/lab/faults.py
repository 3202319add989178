"""What can be broken in a lab, on purpose and while it runs: a host, a site, the cloud.

A fault is a file in the folder of what has it, outside of what a host itself sees. On loopback it takes effect with
the next connection, command or heartbeat, and is gone when the file is; on machines the file notes what was done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from poolkeeper.deployments.lab.layout import CLOUD, SITES


class Subject(StrEnum):
    """What can be broken."""

    HOST = "host"
    SITE = "site"
    CLOUD = "cloud"


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
    ONE_WAY = "one-way"
    UDP_53_BLOCKED = "udp-53-blocked"
    MTU_LOWERED = "mtu-lowered"
    RESOLVER_LIES = "resolver-lies"
    CACHE_DOWN = "cache-down"
    WRONG_SEARCH_LIST = "wrong-search-list"
    KUBELET_PORT_BLOCKED = "kubelet-port-blocked"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_FOREIGN = "certificate-foreign"


CLOCK_OFF_S = 600


@dataclass(frozen=True, slots=True)
class About:
    """What a fault is, and what can have it."""

    description: str
    subjects: tuple[Subject, ...] = (Subject.HOST,)
    machines_only: bool = False


_HOST_OR_SITE = (Subject.HOST, Subject.SITE)
_SITE, _CLOUD = (Subject.SITE,), (Subject.CLOUD,)

FAULTS: Mapping[Fault, About] = {
    Fault.CLOCK: About("its clock is ten minutes ahead"),
    Fault.DISK_FULL: About("its disk has no space left"),
    Fault.RESOLVER_DEAD: About("its name server does not answer it"),
    Fault.WRONG_HOST_KEY: About("it shows another host key than known_hosts has"),
    Fault.AUTH_REFUSED: About("it refuses the SSH key"),
    Fault.HANGS_AFTER_LOGIN: About("login works, then no command ever starts"),
    Fault.FLOODS: About("every command's output never ends"),
    Fault.DROPS_MID_COMMAND: About("the connection is cut while a command runs"),
    Fault.SUDO_PASSWORD: About("sudo asks for a password"),
    Fault.LEFTOVERS: About("parts of an earlier cluster are on it"),
    Fault.JOIN_FAILS: About("the joiner fails after it has installed half of it"),
    Fault.NEVER_READY: About("it joins, and its kubelet is never Ready"),
    Fault.CNI_MISSING: About("the network plugin's image cannot be pulled, so the node has no network"),
    Fault.NAME_DUPLICATED: About("another machine's Node has its name in the cluster already"),
    Fault.API_UNREACHABLE: About("it cannot reach the API server", _HOST_OR_SITE),
    Fault.LINE_CUT: About("a host's cable is out; a site reaches neither cloud nor other sites", _HOST_OR_SITE, True),
    Fault.POWER_LOST: About("it has lost power; mending boots it"),
    Fault.MIRROR_DOWN: About("its package mirror does not answer"),
    Fault.PACKAGE_MISSING: About("its package mirror has nothing newer than what is installed"),
    Fault.KEEPS_OLD_KUBELET: About("an upgrade reports success, but the kubelet starts in its old version"),
    Fault.NEVER_RETURNS: About("after an upgrade its kubelet is never Ready again"),
    Fault.ONE_WAY: About("nothing there can open a connection to the cloud, which still can to it", _SITE, True),
    Fault.UDP_53_BLOCKED: About("its questions to name servers are lost over UDP, and pass over TCP", _SITE, True),
    Fault.MTU_LOWERED: About(
        "packets of more than 1400 bytes are lost between it and elsewhere, without an error", _SITE, True
    ),
    Fault.RESOLVER_LIES: About("its name server answers with wrong addresses", _SITE, True),
    Fault.CACHE_DOWN: About("a node's DNS cache has lost its address", machines_only=True),
    Fault.WRONG_SEARCH_LIST: About(
        "its search list is long and wrong, and names are looked up in it", machines_only=True
    ),
    Fault.KUBELET_PORT_BLOCKED: About("the control plane does not get through to its kubelet", machines_only=True),
    Fault.CERTIFICATE_EXPIRED: About("the certificate of intranet.lab has expired", _CLOUD, True),
    Fault.CERTIFICATE_FOREIGN: About("the certificate of intranet.lab is another authority's", _CLOUD, True),
}

MACHINES_ONLY = tuple(fault for fault, about in FAULTS.items() if about.machines_only)
OF_UPGRADES = (Fault.MIRROR_DOWN, Fault.PACKAGE_MISSING, Fault.KEEPS_OLD_KUBELET, Fault.NEVER_RETURNS)
"""What an upgrade meets; nothing else takes notice. Not on machines."""


def subject_of(name: str) -> Subject:
    """What a name stands for; any that is no site's and not the cloud's may be a host's."""
    if name == CLOUD:
        return Subject.CLOUD
    return Subject.SITE if name in SITES else Subject.HOST


def faults_of(subject: Subject) -> tuple[Fault, ...]:
    """What can be broken about it, in the order of the table."""
    return tuple(fault for fault, about in FAULTS.items() if subject in about.subjects)


class NotedFaults:
    """The faults of one host, site or cloud, as they are on disk right now, in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "faults"

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
