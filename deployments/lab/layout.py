"""Where everything of a lab is: its addresses on loopback, its hosts, its folder.

Every lab has its own 127.X.0.0/16, so that labs run side by side and each host can use well-known ports on
an address of its own. Linux answers on all of 127.0.0.0/8 without any set-up.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

SITES = ("fra1", "ams1")
CLOUD = "cloud"
POOLS = {"general": "np-general", "batch": "np-batch"}
"""Pool names of the fleet file and ACK's node pool ids."""
DOMAINS_PER_SITE = 3
MAX_HOSTS = 500
"""Two sites with a /24 each."""

OLDER_KUBELETS = ("v1.35.4", "v1.34.9")
"""What hosts can join with in place of the API server's version, to have something to upgrade."""

CLUSTER_ID = "c-poolkeeper-lab"
REGION = "cn-hangzhou"
SSH_USER = "ops"
CLOUD_NODE = "cloud-1"

API_PORT, ACK_PORT, BSS_PORT, DNS_PORT, SSH_PORT, KUBELET_PORT = 6443, 8080, 8081, 5353, 2222, 10250
"""Where each is found unless something on this machine has that port on all addresses already."""


@dataclass(frozen=True, slots=True)
class Network:
    """The addresses of one lab."""

    octet: int
    """X of 127.X.0.0/16."""
    first: int = 127
    """Machines have a network of their own in place of loopback: 10.X.0.0/16."""

    def address(self, third: int, fourth: int) -> str:
        """127.X.third.fourth."""
        return f"{self.first}.{self.octet}.{third}.{fourth}"

    @property
    def api(self) -> str:
        return self.address(0, 1)

    @property
    def ack(self) -> str:
        return self.address(0, 2)

    @property
    def prefect(self) -> str:
        return self.address(0, 3)

    @property
    def bss(self) -> str:
        return self.address(0, 4)

    @property
    def dns(self) -> str:
        return self.address(0, 53)

    @property
    def cloud_node(self) -> str:
        return self.address(0, 10)

    @property
    def cloud_pods(self) -> IPv4Network:
        """Pods of the cloud node."""
        return IPv4Network(f"{self.address(64, 0)}/24")

    @property
    def services(self) -> IPv4Network:
        """Service addresses; nothing listens there."""
        return IPv4Network(f"{self.address(96, 0)}/20")

    @property
    def hybrid_pods(self) -> IPv4Network:
        """What hybrid nodes get their pod ranges from."""
        return IPv4Network(f"{self.address(128, 0)}/17")

    def site_cidr(self, site: str) -> IPv4Network:
        """Addresses of a site's hosts."""
        return IPv4Network(f"{self.address(SITES.index(site) + 1, 0)}/24")


@dataclass(frozen=True, slots=True)
class LabHost:
    """One host as it is planned; `index` counts over the whole lab, from 0."""

    index: int
    name: str
    address: str
    site: str
    pool: str
    domain: str
    pod_cidr: str


def plan_hosts(network: Network, count: int) -> tuple[LabHost, ...]:
    """The lab's hosts: sites in turn, within a site the pools and domains in turn."""
    mask = node_mask(count)
    ranges = network.hybrid_pods.subnets(new_prefix=mask)
    hosts = []
    for index, pod_cidr in zip(range(count), ranges, strict=False):
        site = index % len(SITES)
        number = index // len(SITES) + 1
        name = SITES[site]
        hosts.append(
            LabHost(
                index=index,
                name=f"{name}-n{number:02d}",
                address=network.address(site + 1, number + 10 if count <= 400 else number),
                site=name,
                pool=list(POOLS)[(number - 1) % len(POOLS)],
                domain=f"{name}-rack{(number - 1) % DOMAINS_PER_SITE + 1}",
                pod_cidr=str(pod_cidr),
            )
        )
    return tuple(hosts)


def node_mask(hosts: int) -> int:
    """Prefix length of a node's pod range: /24, or less room each where a /17 has too few of them."""
    return 24 if hosts <= 128 else 26


@dataclass(frozen=True, slots=True)
class LabFolder:
    """The files of one lab; nothing of it is kept anywhere else."""

    path: Path

    @property
    def identity(self) -> Path:
        """Holds the lab's id, which marks each process it starts. The first file written, the last one removed."""
        return self.path / "lab-id"

    @property
    def pid(self) -> Path:
        return self.path / "lab.pid"

    @property
    def ready(self) -> Path:
        """Written when everything listens: what `lab status` tells."""
        return self.path / "lab.json"

    @property
    def log(self) -> Path:
        return self.path / "lab.log"

    @property
    def audit(self) -> Path:
        """Who changed what in the cluster, one JSON object a line. Not of machines."""
        return self.path / "audit.jsonl"

    @property
    def fleet(self) -> Path:
        return self.path / "fleet.yaml"

    @property
    def kubeconfig(self) -> Path:
        """poolkeeper's own, with the rights of its ServiceAccount."""
        return self.path / "kubeconfig"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.path / "admin.kubeconfig"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def programs(self) -> Path:
        """The stand-ins, first on the PATH of every host."""
        return self.path / "bin"

    @property
    def prefect_api_url(self) -> Path:
        """Written when the lab's Prefect server, worker and deployments are there."""
        return self.path / "prefect-api-url"

    @property
    def machines_network(self) -> Path:
        """X of the 10.X.0.0/16 of a lab of machines; not there in any other."""
        return self.path / "machines-network"

    @property
    def intranet_ca(self) -> Path:
        """The authority whose certificates `intranet.lab` and `intranet.<site>.lab` have. Of machines only."""
        return self.path / "intranet-ca.crt"

    def host(self, name: str) -> Path:
        return self.path / "hosts" / name

    def place(self, name: str) -> Path:
        """A site's, or the cloud's."""
        return self.path / "places" / name


def claim_network() -> tuple[socket.socket, int]:
    """A free X of 127.X.0.0/16, held by an abstract socket for as long as anyone has it open."""
    for octet in secrets.SystemRandom().sample(range(16, 240), 224):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            claim.bind(f"\0poolkeeper-lab-127.{octet}")
            return claim, octet
        claim.close()
    raise OSError("all networks of 127.0.0.0/8 that labs use are taken")


def listening_socket(
    address: str, port: int, *, kind: socket.SocketKind = socket.SOCK_STREAM, backlog: int = 256
) -> socket.socket:
    """A socket on the well-known port, or on a free one where another program holds that on all addresses."""
    for wanted in (port, 0):
        sock = socket.socket(socket.AF_INET, kind)
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address, wanted))
        except OSError:
            sock.close()
            if wanted == 0:
                raise
            continue
        if kind is socket.SOCK_STREAM:
            sock.listen(backlog)
        sock.setblocking(False)
        return sock
    raise AssertionError("the loop returns or raises")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_text(text)
