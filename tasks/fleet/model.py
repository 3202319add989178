"""The declared world, resolved: what a fleet file means once every default and reference is filled in.

Frozen and plain. `tasks.fleet.document` holds the file's own shape, `tasks.fleet.loading` goes from one to the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from zoneinfo import ZoneInfo

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


ACK_PODS = ("terway", "node-local-dns")
"""DaemonSets that each hybrid node of an ACK cluster has a pod of: CNI and node-local DNS."""
TEST_IMAGE = "busybox:1.36"
"""The acceptance test pod's where the cluster is not ACK's, which has one of its own."""


class Mode(StrEnum):
    """`observe` makes the mutation gate refuse everything; the stricter of fleet, site and pool counts."""

    ACT = "act"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is kept. Exactly one is set; the secret itself never stands in a fleet file."""

    file: Path | None = None
    env: str | None = None
    block: str | None = None
    """Name of a Prefect Secret block."""


@dataclass(frozen=True, slots=True)
class SshJump:
    """The host that the way to other hosts goes through."""

    address: str
    port: int
    user: str


@dataclass(frozen=True, slots=True)
class SshAccess:
    """How to log in to a host: fleet, site and host settings merged, the nearest one winning."""

    user: str
    port: int = 22
    key: SecretRef | None = None
    certificate: Path | None = None
    agent: bool = False
    known_hosts: Path | None = None
    """An OpenSSH known_hosts file, which may hold `@cert-authority` lines; without it the user's own."""
    jump: SshJump | None = None
    connect_timeout_s: float = 10.0
    """TCP, key exchange and host key check."""
    login_timeout_s: float = 10.0
    command_timeout_s: float = 60.0
    keepalive_s: float = 15.0
    sudo: bool = True
    """Use `sudo -n` where the user is not root."""


@dataclass(frozen=True, slots=True)
class SshLimits:
    """How much SSH at once: sshd drops at random from 10 unauthenticated connections on (MaxStartups)."""

    handshakes: int = 8
    sessions: int = 100


@dataclass(frozen=True, slots=True)
class SiteDns:
    """What names a site's hosts must be able to resolve, and by whom."""

    resolvers: tuple[str, ...] = ()
    """Addresses that hosts are expected to use; empty: whatever is configured on them."""
    internal_name: str = "kubernetes.default.svc.cluster.local"
    """Resolved from a pod on the node."""
    external_name: str = "aliyun.com"
    """Resolved from the host and from a pod."""


@dataclass(frozen=True, slots=True)
class Window:
    """When disruptive work may run, in the site's own zone."""

    days: frozenset[int]
    """0 is Monday."""
    start: time
    duration: timedelta


@dataclass(frozen=True, slots=True)
class Freeze:
    """When it may not, whatever the windows say. UTC; end is exclusive."""

    start: datetime
    end: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of nodes, or a share of the declared active hosts (floor, at least 1)."""

    count: int | None = None
    percent: int | None = None

    def of(self, active_hosts: int) -> int:
        """How many nodes that is."""
        if self.count is not None:
            return self.count
        return max(1, active_hosts * (self.percent or 0) // 100)


@dataclass(frozen=True, slots=True)
class AcceptedSystem:
    """One row of what a pool's hosts may run."""

    os: str
    """`ID` of os-release."""
    versions: tuple[str, ...] = ()
    """`VERSION_ID`s; empty: any."""
    kernel_min: str | None = None
    """Such as `5.10`."""
    arch: tuple[str, ...] = ()
    """Kubernetes names: `amd64`, `arm64`; empty: any."""


@dataclass(frozen=True, slots=True)
class AckProvider:
    """An ACK managed cluster, reached through its OpenAPI."""

    cluster_id: str
    region: str
    endpoint: str | None = None
    """`host:port` in place of the region's own."""
    protocol: str = "https"
    access_key_id: SecretRef | None = None
    access_key_secret: SecretRef | None = None
    """Both absent: the vendor SDK's own credential chain."""
    reset_command: str = "edgeadm reset"
    """Run on a host to leave the cluster. Documented for ACK Edge, not confirmed for hybrid pools."""
    account_site: str = "international"
    """`international` or `china`: where the account was opened, and its bill is kept."""
    billing_endpoint: str | None = None
    """`host:port` in place of that site's own."""
    upgrade: str = "hand-off"
    """How a host's Kubernetes is upgraded: `call` (the OpenAPI's UpgradeClusterNodepool, for one node at a time),
    `command` (`upgrade_command` on the host) or `hand-off` (a person follows the vendor's steps, and we wait). The
    vendor documents none of them for hybrid pools, the second for ACK Edge."""
    upgrade_command: str | None = None
    """Shell, run as root; `{version}` in it becomes the version, as `1.36.3`."""
    removal: str = "cluster"
    """By which call a node leaves: `cluster` (DeleteClusterNodes, by node name), `pool` (RemoveNodePoolNodes, by the
    instance id that ACK lists) or `none`: only the Node object is deleted. Which of them hybrid pools take is not
    documented."""


@dataclass(frozen=True, slots=True)
class KubeadmProvider:
    """Any conformant cluster that hosts join with `kubeadm join`."""

    cri_socket: str = "unix:///run/containerd/containerd.sock"
    """Where the container runtime of its hosts listens."""
    ignore_preflight_errors: tuple[str, ...] = ()
    """Checks of kubeadm's own that may fail, by name."""
    taints: tuple[tuple[str, str, str], ...] = ()
    """(key, value, effect) of each taint that nodes register with."""


Provider = AckProvider | KubeadmProvider


@dataclass(frozen=True, slots=True)
class Cluster:
    """One control plane."""

    name: str
    provider: Provider
    kubeconfig: SecretRef
    context: str | None
    pod_cidrs: tuple[Network, ...] = ()
    service_cidrs: tuple[Network, ...] = ()
    container_cidr: Network | None = None
    """The range that hybrid nodes' pods get their addresses from (Terway Hybrid)."""
    node_mask: int | None = None
    """Prefix length of each node's part of it."""
    test_image: str = "registry-vpc.cn-hangzhou.aliyuncs.com/acs/busybox:v1.29.2"
    """Image of the acceptance test pod: needs sh, nslookup, wget and httpd, as busybox has."""
    billed_resources: Mapping[str, str] = field(default_factory=dict)
    """Instance id -> what it is to the cluster: what its provider does not list, such as the dedicated line."""

    @property
    def by_kubeadm(self) -> bool:
        """Whether hosts join it by kubeadm, and not by ACK."""
        return isinstance(self.provider, KubeadmProvider)


@dataclass(frozen=True, slots=True)
class Site:
    """One place with its own network, time zone, windows and DNS."""

    name: str
    time_zone: ZoneInfo
    cidrs: tuple[Network, ...] = ()
    dns: SiteDns = field(default_factory=SiteDns)
    windows: tuple[Window, ...] = ()
    """Empty: work may start at any time."""
    freezes: tuple[Freeze, ...] = ()
    freeze_calendars: tuple[Path, ...] = ()
    ssh_limits: SshLimits = field(default_factory=SshLimits)
    work_pool: str | None = None
    mode: Mode = Mode.ACT


@dataclass(frozen=True, slots=True)
class Domain:
    """What fails together: a rack, a switch, a line."""

    name: str
    site: Site
    max_unavailable: Limit = field(default_factory=lambda: Limit(count=1))


@dataclass(frozen=True, slots=True)
class UserCheck:
    """The user's own check: either a command or a query."""

    name: str
    command: tuple[str, ...] = ()
    """A program and its arguments; fine when it exits with 0."""
    prometheus: str = ""
    """URL of a Prometheus server."""
    query: str = ""
    """Fine when it finds nothing."""
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Pool:
    """A node pool of one cluster."""

    name: str
    cluster: Cluster
    nodepool_id: str
    """ACK's id of it; in a kubeadm cluster the value of the label `alibabacloud.com/nodepool-id` that its nodes get."""
    max_unavailable: Limit = field(default_factory=lambda: Limit(count=1))
    accepted: tuple[AcceptedSystem, ...] = ()
    """Empty: any system."""
    min_cpus: int = 2
    min_memory_bytes: int = 2 * 1024**3
    min_disk_free_bytes: int = 20 * 1024**3
    lift_taint: bool = False
    """Remove ACK's `nodepool-type=hybridcloud:NoSchedule` after acceptance."""
    join_parallel: int = 5
    """Joins at once."""
    join_timeout_s: float = 900.0
    on_failed_join: str = "undo"
    """`undo`, or `keep` to leave the host for a look."""
    kubernetes_version: str | None = None
    """Kubelet version that a join should give; absent: whatever the provider installs."""
    expected_pods: tuple[str, ...] = ACK_PODS
    """DaemonSets, by prefix of the name, whose pods must be Ready on each node (CNI and node-local DNS)."""
    labels: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = Mode.ACT
    host_duration_s: float = 900.0
    """How long one host of a rollout takes, drain to proof: none starts that would not fit into its site's window."""
    checks: tuple[UserCheck, ...] = ()
    """What must hold before each wave of a rollout and after it, beside what poolkeeper looks at itself."""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine reached over SSH."""

    name: str
    address: str
    """Where SSH connects to: an address or a DNS name."""
    node_name: str
    node_address: Address | None
    """The node's InternalIP, if declared."""
    site: Site
    pool: Pool
    domain: Domain | None
    ssh: SshAccess
    labels: Mapping[str, str] = field(default_factory=dict)
    machine_id: str | None = None
    """Declared by an operator to accept a reinstalled host; absent: the first one seen is recorded."""
    active: bool = True
    """False: declared, but not to be worked on nor counted."""

    @property
    def mode(self) -> Mode:
        """The stricter of its site's and its pool's (the fleet's is merged into both)."""
        return Mode.OBSERVE if Mode.OBSERVE in (self.site.mode, self.pool.mode) else Mode.ACT


@dataclass(frozen=True, slots=True)
class AuditTarget:
    """What hosts must reach, beside the cluster."""

    name: str
    sites: frozenset[str]
    """Whose hosts must reach it; empty: all."""
    kind: str
    """`tcp`, `tls`, `http` or `https`."""
    address: str
    """Address or DNS name."""
    port: int
    path: str = ""
    """Of a URL."""
    authority: Path | None = None
    """Certificates in PEM to verify with; None: those that the host trusts."""
    expires_in_s: float = 14 * 86400.0
    """A certificate that expires sooner is a finding."""
    at: str = "cloud"
    """Where it is: a site's name, `cloud`, or `elsewhere`. A broken line to there explains why it is not reached."""


@dataclass(frozen=True, slots=True)
class AuditName:
    """A DNS name that hosts must get the right answer for."""

    name: str
    """In full, lower case, without the last dot."""
    sites: frozenset[str] = frozenset()
    """Whose hosts ask for it; empty: all."""
    zone: str = "external"
    """`in-cluster`, `cloud`, `on-prem` or `external`."""
    addresses: tuple[str, ...] = ()
    """The right answer; empty: whatever most resolvers say."""
    absent: bool = False
    """The right answer is that there is no such name."""


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What the nightly audit measures, beside what it knows by itself."""

    every_pair_up_to: int = 500
    """Hosts; above, each connects to `neighbours` others a night."""
    neighbours: int = 8
    path_mtu: int = 1500
    """Bytes that an IP packet between two hosts must be able to have."""
    silent_nights: int = 3
    """A host that was not measured for so many nights in a row is a finding."""
    provider_endpoints: str = "none"
    """`none`, `private` or `public`: by which way hosts need the provider's own endpoints."""
    targets: tuple[AuditTarget, ...] = ()
    names: tuple[AuditName, ...] = ()


@dataclass(frozen=True, slots=True)
class Fleet:
    """All that one fleet file declares."""

    name: str
    path: Path
    clusters: Mapping[str, Cluster]
    sites: Mapping[str, Site]
    domains: Mapping[str, Domain]
    pools: Mapping[str, Pool]
    hosts: Mapping[str, Host]
    ssh_limits: SshLimits = field(default_factory=SshLimits)
    """In all; each site's stand beside them."""
    mode: Mode = Mode.ACT
    audit: AuditSettings = field(default_factory=AuditSettings)
