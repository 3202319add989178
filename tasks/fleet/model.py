"""The declared world: what a fleet file says, once every default and reference is filled in.

Each field is declared once, here, and pydantic reads it straight from the file. Its type says how it is written, its
name without the unit is its key (`key_of`), and its docstring is what editors show. The first field of an entry is the
key that the entry stands under. What a value means may depend on what was read before it (`Reading`), so fields are
read in the order in which they stand: a site's `ssh` is its own over the fleet's, a host's `site` is a `Site`.

The classes are plain frozen dataclasses: code that builds or replaces one is not checked. Rules that need more than
one value are in `tasks.fleet.rules`. Only `tasks.fleet.loading` gives out a fleet, and only one that keeps all rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.json_schema import SkipJsonSchema

from poolkeeper.tasks.fleet.reading import File, Reading, kept, named, section
from poolkeeper.tasks.fleet.values import (
    DAYS,
    Cidr,
    Command,
    Count,
    CriSocket,
    Days,
    Duration,
    HostPort,
    IpAddress,
    IpText,
    KubernetesVersion,
    LimitText,
    Moment,
    Name,
    NameAsked,
    Part,
    Place,
    PlaceAndPort,
    Port,
    PrefixLength,
    PreflightError,
    ReadAs,
    Seconds,
    Size,
    TaintText,
    Text,
    TimeOfDay,
    Timeout,
    TimeZone,
    Truth,
    Url,
    Variable,
    Version,
    key_of,
)

ACK_PODS = ("terway", "node-local-dns")
"""DaemonSets that each hybrid node of an ACK cluster has a pod of: CNI and node-local DNS."""
TEST_IMAGE = "busybox:1.36"
"""The acceptance test pod's where the cluster is not ACK's, which has one of its own."""


class Mode(StrEnum):
    """`observe` makes the mutation gate refuse everything; the stricter of fleet, site and pool counts."""

    ACT = "act"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class SecretRef(Part):
    """Where a secret is kept; exactly one of the three. The secret itself is never in a fleet file."""

    file: File | None = None
    """A file, relative to the fleet file."""
    env: Variable | None = None
    """An environment variable."""
    block: Text | None = None
    """A Prefect Secret block."""


@dataclass(frozen=True, slots=True)
class SshJump(Part):
    """The host through which other hosts are reached."""

    address: Place
    """Address or DNS name."""
    port: Port = 22
    user: Text = ""
    """User there; absent: the same as on the hosts."""


@dataclass(frozen=True, slots=True)
class SshAccess(Part):
    """How to log in. Fleet, site and host settings are merged; the nearest one wins."""

    user: Text = ""
    """User to log in as."""
    port: Port = 22
    """Port of sshd."""
    key: SecretRef | None = None
    """Private key, by reference."""
    certificate: File | None = None
    """OpenSSH user certificate of that key."""
    agent: Truth = False
    """Use the keys of the agent at SSH_AUTH_SOCK."""
    known_hosts: File | None = None
    """known_hosts file; may hold @cert-authority lines. Absent: the user's own."""
    jump: SshJump | None = None
    """Jump host."""
    connect_timeout_s: Timeout = 10.0
    """For the TCP connection."""
    login_timeout_s: Timeout = 10.0
    """For key exchange and login."""
    command_timeout_s: Timeout = 60.0
    """For one command, if no other limit is set."""
    keepalive_s: Seconds = 15.0
    """Interval of keepalives; 0s: none."""
    sudo: Truth = True
    """Use sudo -n where the user is not root."""


def _over_level_above(given: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo[Reading]) -> SshAccess:
    """A host's over its site's, a site's over the fleet's, key by key; an empty key says nothing."""
    site: Site | None = info.data.get("site")
    above: SshAccess = site.ssh if site else info.context.ssh
    if isinstance(given, SshAccess):  # nothing is written: the level above's own, one object for nearly every host
        return above
    own = handler(given)
    written = (one.name for one in fields(SshAccess) if given.get(key_of(one.name)) is not None)
    return replace(above, **{name: getattr(own, name) for name in written})


Ssh = Annotated[SshAccess, WrapValidator(_over_level_above), Field(validate_default=True)]


@dataclass(frozen=True, slots=True)
class SshLimits(Part):
    """How many SSH connections and logins at once."""

    handshakes: Count = 8
    """Logins at once; sshd drops at random from ten on (MaxStartups)."""
    sessions: Count = 100
    """Open connections."""


@dataclass(frozen=True, slots=True)
class SiteDns(Part):
    """What a site's hosts must be able to resolve, and by whom."""

    resolvers: tuple[IpText, ...] = ()
    """Resolvers that hosts must use; empty: any."""
    internal_name: Text = "kubernetes.default.svc.cluster.local"
    """Resolved from a pod on the node."""
    external_name: Text = "aliyun.com"
    """Resolved from the host and from a pod."""


@dataclass(frozen=True, slots=True)
class Window(Part):
    """When disruptive work may run, in the site's zone."""

    days: Annotated[  # 0 is Monday
        frozenset[int],
        ReadAs(Days, lambda days, _: frozenset(map(DAYS.index, days))),
        Field(default=list(DAYS), validate_default=True),
    ]
    """mon to sun; absent: all."""
    start: TimeOfDay
    """Time of day, like "02:00"."""
    duration: Duration
    """How long it stays open."""


@dataclass(frozen=True, slots=True)
class Freeze(Part):
    """When it may not run, even in a window."""

    start: Annotated[Moment, Field(validation_alias="from")]
    end: Annotated[Moment, Field(validation_alias="to")]
    """Exclusive."""
    reason: Text = "no reason given"


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

    @property
    def written(self) -> int | str:
        """As in a fleet file: `2`, `10%`."""
        return f"{self.percent}%" if self.count is None else self.count


def _limit(written: int | str, info: ValidationInfo[Reading]) -> Limit:
    return Limit(percent=int(written[:-1])) if isinstance(written, str) else Limit(count=written)


MaxUnavailable = Annotated[Limit, ReadAs(LimitText, _limit)]


@dataclass(frozen=True, slots=True)
class AcceptedSystem(Part):
    """One row of systems that a pool's hosts may run."""

    os: Text
    """ID of os-release."""
    versions: tuple[Text, ...] = ()
    """VERSION_IDs, in quotes; empty: any."""
    kernel_min: Version | None = None
    """In quotes, like "5.10"."""
    arch: tuple[Literal["amd64", "arm64", "arm"], ...] = ()
    """Kubernetes' names; empty: any."""


@dataclass(frozen=True, slots=True)
class AckProvider(Part):
    """An ACK managed cluster, reached through its OpenAPI."""

    cluster_id: Text
    region: Text
    endpoint: HostPort | None = None
    """host:port in place of the region's own endpoint."""
    protocol: Literal["https", "http"] = "https"
    """http only to an endpoint on this machine."""
    access_key_id: SecretRef | None = None
    access_key_secret: SecretRef | None = None
    """Both absent: the vendor SDK's own credential chain."""
    reset_command: Command = "edgeadm reset"
    """Removes ACK's parts from a host. Documented for ACK Edge, not confirmed for hybrid pools."""
    account_site: Literal["international", "china"] = "international"
    """Where the account was opened, and its bill is kept."""
    billing_endpoint: HostPort | None = None
    """host:port in place of that site's own."""
    upgrade: Literal["hand-off", "command", "call"] = "hand-off"
    """How a host's Kubernetes is upgraded: a person follows the vendor's steps; upgrade_command is run on the host; or
    ACK's UpgradeClusterNodepool is called, for one node at a time. The vendor documents none of them for hybrid pools,
    the second for ACK Edge."""
    upgrade_command: Command | None = None
    """With upgrade: command. Shell, run as root; {version} in it becomes the version, as 1.36.3."""
    removal: Literal["cluster", "pool", "none"] = "cluster"
    """The call that removes a node: ACK's DeleteClusterNodes (by node name), its RemoveNodePoolNodes (by the instance
    id that ACK lists), or none: only the Node object is deleted. Which one hybrid pools accept is not documented."""


def _taint(written: str, info: ValidationInfo[Reading]) -> tuple[str, str, str]:
    """`key=value:Effect`, the value may be missing."""
    what, _, effect = written.rpartition(":")
    key, _, value = what.partition("=")
    return key, value, effect


@dataclass(frozen=True, slots=True)
class KubeadmProvider(Part):
    """Any conformant cluster that hosts join with `kubeadm join`."""

    cri_socket: CriSocket = "unix:///run/containerd/containerd.sock"
    """Where its hosts' container runtime listens."""
    ignore_preflight_errors: tuple[PreflightError, ...] = ()
    """kubeadm's own checks that may fail, by name."""
    taints: tuple[Annotated[tuple[str, str, str], ReadAs(TaintText, _taint)], ...] = ()  # (key, value, effect)
    """Taints that nodes register with, like dedicated=batch:NoSchedule."""


Provider = AckProvider | KubeadmProvider


@dataclass(frozen=True, slots=True)
class OneProvider(Part):
    """Who owns the control plane; exactly one of the two."""

    ack: AckProvider | None = None
    kubeadm: KubeadmProvider | None = None


def _cluster_defaults(entry: Mapping[str, Any], reading: Reading) -> Mapping[str, Any]:
    provider = entry.get("provider")
    by_ack = isinstance(provider, dict) and provider.get("ack") is not None
    return {} if by_ack else {"test_image": TEST_IMAGE}


def _node_mask(given: Any, info: ValidationInfo[Reading]) -> Any:
    return 24 if given is None and info.data.get("container_cidr") else given


@dataclass(frozen=True, slots=True)
class Cluster(Part):
    """One control plane."""

    name: Name
    provider: Annotated[Provider, ReadAs(OneProvider, lambda one, _: one.ack or one.kubeadm or KubeadmProvider())]
    kubeconfig: SecretRef
    """Kubeconfig, by reference."""
    context: Annotated[Text | None, Field(default=None)]
    """Context in it; absent: the current one."""
    pod_cidrs: tuple[Cidr, ...] = ()
    """Pod ranges of the cloud side."""
    service_cidrs: tuple[Cidr, ...] = ()
    """Service ranges."""
    container_cidr: Cidr | None = None
    """Range of hybrid nodes' pods (Terway Hybrid)."""
    node_mask: Annotated[PrefixLength | None, BeforeValidator(_node_mask), Field(validate_default=True)] = None
    """Prefix length of each node's part of it; absent: 24."""
    test_image: Text = "registry-vpc.cn-hangzhou.aliyuncs.com/acs/busybox:v1.29.2"
    """Image of the acceptance test pod: needs sh, nslookup, wget and httpd, as busybox has. Absent with kubeadm:
    busybox:1.36."""
    billed_resources: Mapping[str, Text] = field(default_factory=dict)
    """Instance ids on the bill that the provider does not list for the cluster, and what each is."""

    @property
    def by_kubeadm(self) -> bool:
        """Whether hosts join it by kubeadm, and not by ACK."""
        return isinstance(self.provider, KubeadmProvider)


def _stricter(mode: Mode, info: ValidationInfo[Reading]) -> Mode:
    return Mode.OBSERVE if Mode.OBSERVE in (mode, info.context.mode) else mode


StricterMode = Annotated[Mode, AfterValidator(_stricter), Field(validate_default=True)]


@dataclass(frozen=True, slots=True)
class Site(Part):
    """One place with its own network, time zone, windows and DNS."""

    name: Name
    time_zone: TimeZone
    """IANA name, like Europe/Berlin."""
    cidrs: tuple[Cidr, ...] = ()
    """Networks of the site."""
    dns: SiteDns = SiteDns()
    windows: tuple[Window, ...] = ()
    """Empty: at any time."""
    freezes: tuple[Freeze, ...] = ()
    freeze_calendars: tuple[File, ...] = ()
    """iCalendar files; every event is a freeze."""
    ssh_limits: SshLimits = SshLimits()
    work_pool: Text | None = None
    """Prefect work pool whose workers probe this site's hosts in an audit."""
    mode: StricterMode = Mode.ACT
    ssh: Ssh = SshAccess()


def _no_site(name: str) -> Site:
    return Site(name, ZoneInfo("UTC"))


@dataclass(frozen=True, slots=True)
class Domain(Part):
    """Hosts that fail together: those of a rack, a switch, a line."""

    name: Name
    site: Annotated[Site, named("sites", _no_site)]
    max_unavailable: MaxUnavailable = Limit(count=1)


@dataclass(frozen=True, slots=True)
class Join(Part):
    """How hosts join."""

    parallel: Count = 5
    """Joins at once."""
    timeout_s: Timeout = 900.0
    """For the join, and again for acceptance."""
    on_failure: Literal["undo", "keep"] = "undo"
    """`keep` leaves the host as it is, to inspect it."""


@dataclass(frozen=True, slots=True)
class UserCheck(Part):
    """The user's own check: a command that exits with 0, or a query that finds nothing."""

    name: Text
    command: tuple[Text, ...] = ()
    """Run where the flow runs; a program and its arguments, no shell."""
    prometheus: Text = ""
    """URL of a Prometheus server."""
    query: Text = ""
    """PromQL that returns nothing while all is well, like an alert's."""
    timeout_s: Timeout = 30.0


@dataclass(frozen=True, slots=True)
class Rollout(Part):
    """How hosts are taken out of service."""

    checks: tuple[UserCheck, ...] = ()
    """Your own checks before and after each wave, in addition to poolkeeper's."""
    host_duration_s: Timeout = 900.0
    """From drain to proof; a host starts only if this fits into its site's window."""


def _no_cluster(name: str) -> Cluster:
    return Cluster(name, KubeadmProvider(), SecretRef(), None)


def _pool_defaults(entry: Mapping[str, Any], reading: Reading) -> Mapping[str, Any]:
    cluster = reading.sections.get("clusters", {}).get(str(entry.get("cluster")))
    return {"expected_pods": []} if cluster and cluster.by_kubeadm else {}


@dataclass(frozen=True, slots=True)
class Pool(Part):
    """A hybrid node pool of one cluster."""

    name: Name
    cluster: Annotated[Cluster, named("clusters", _no_cluster)]
    nodepool_id: Text
    """ACK's id of the pool; with kubeadm, the value of its nodes' label alibabacloud.com/nodepool-id."""
    max_unavailable: MaxUnavailable = Limit(count=1)
    accepted: tuple[AcceptedSystem, ...] = ()
    """Empty: any system."""
    min_cpus: Count = 2
    min_memory_bytes: Size = 2 * 1024**3
    min_disk_free_bytes: Size = 20 * 1024**3
    lift_taint: Truth = False
    """Remove ACK's taint (nodepool-type=hybridcloud:NoSchedule) after acceptance."""
    join: Join = Join()
    kubernetes_version: KubernetesVersion | None = None
    """Kubelet version after a join; absent: the one that the provider installs."""
    expected_pods: tuple[Text, ...] = ACK_PODS
    """Prefixes of DaemonSets with a Ready pod on each node; absent: terway and node-local-dns with ACK, none with
    kubeadm."""
    labels: Mapping[str, str] = field(default_factory=dict)
    mode: StricterMode = Mode.ACT
    rollout: Rollout = Rollout()


NamedDomain = Annotated[Domain, named("domains", lambda name: Domain(name, _no_site("")))]


def _node_name(given: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo[Reading]) -> Any:
    return info.data.get("name", "") if given is None else handler(given)


@dataclass(frozen=True, slots=True)
class Host(Part):
    """A machine reached over SSH."""

    name: Name
    address: Place
    """Address or DNS name that SSH connects to."""
    node_name: Annotated[Text, WrapValidator(_node_name), Field(default=None, validate_default=True)]
    """Absent: the host's name."""
    node_address: Annotated[IpAddress | None, Field(default=None)]
    """The node's InternalIP."""
    site: Annotated[Site, named("sites", _no_site)]
    pool: Annotated[Pool, named("pools", lambda name: Pool(name, _no_cluster(""), ""))]
    domain: Annotated[NamedDomain | None, Field(default=None)]
    ssh: Annotated[Ssh, Field(default=SshAccess())]
    labels: Mapping[str, str] = field(default_factory=dict)
    machine_id: Text | None = None
    """Accepts a reinstalled machine; absent: the first one seen is recorded."""
    active: Truth = True
    """false: declared, not worked on, not counted."""
    port: Port | None = None
    """Of sshd, in place of the one under ssh."""

    @property
    def mode(self) -> Mode:
        """The stricter of its site's and its pool's (the fleet's is merged into both)."""
        return Mode.OBSERVE if Mode.OBSERVE in (self.site.mode, self.pool.mode) else Mode.ACT


def _with_whole_login(host: Host) -> Host:
    """The port beside the address wins; a jump host without a user of its own has the host's."""
    ssh = host.ssh
    if host.port:
        ssh = replace(ssh, port=host.port)
    if ssh.jump and not ssh.jump.user:
        ssh = replace(ssh, jump=replace(ssh.jump, user=ssh.user))
    return host if ssh is host.ssh else replace(host, ssh=ssh)


@dataclass(frozen=True, slots=True)
class Service:
    """What a target of an audit is."""

    kind: str
    """`tcp`, `tls`, `http` or `https`."""
    address: str
    """Address or DNS name."""
    port: int
    path: str = ""
    """Of a URL."""


def _service(kind: str) -> ReadAs:
    def meant(written: str, info: ValidationInfo[Reading]) -> Service:
        address, _, port = written.rpartition(":")
        return Service(kind, address.strip("[]"), int(port))

    return ReadAs(PlaceAndPort, meant)


def _page(url: str, info: ValidationInfo[Reading]) -> Service:
    kind, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    if ":" not in place.rpartition("]")[2]:
        place += ":443" if kind == "https" else ":80"
    address, _, port = place.rpartition(":")
    return Service(kind, address.strip("[]"), int(port), slash + path)


Sites = Annotated[frozenset[str], ReadAs(tuple[Text, ...], lambda names, _: frozenset(names))]


@dataclass(frozen=True, slots=True)
class AuditTarget(Part):
    """What hosts must reach, in addition to the cluster; exactly one of tcp, tls and url."""

    name: Text
    sites: Sites = frozenset()
    """Sites whose hosts must reach it; empty: all."""
    tcp: Annotated[Service, _service("tcp")] | None = None
    """Accepts connections."""
    tls: Annotated[Service, _service("tls")] | None = None
    """Its certificate verifies, and does not expire soon."""
    url: Annotated[Service, ReadAs(Url, _page)] | None = None
    """Answers with a status below 400; its certificate as with tls."""
    at: Text = "cloud"
    """Where it is: a site of the fleet, or cloud, or elsewhere. A broken line to there explains a failure."""
    authority: Annotated[File | None, Field(validation_alias="ca")] = None
    """Certificates to verify with, in PEM; absent: those the host trusts."""
    expires_in_s: Seconds = 14 * 86400.0
    """Reported if it expires sooner."""

    @property
    def service(self) -> Service:
        """The one of the three."""
        return next(one for one in (self.tcp, self.tls, self.url) if one)


@dataclass(frozen=True, slots=True)
class AuditName(Part):
    """A DNS name that every responsible resolver must answer correctly."""

    name: NameAsked
    """In full, lower case, without the last dot."""
    sites: Sites = frozenset()
    """Sites whose hosts look it up; empty: all."""
    zone: Literal["in-cluster", "cloud", "on-prem", "external"] = "external"
    """in-cluster: the cluster's DNS is asked, and no resolver of a site."""
    addresses: Annotated[tuple[IpText, ...], AfterValidator(lambda found: tuple(sorted(found)))] = ()
    """The right answer; empty: the answer of most resolvers."""
    absent: Truth = False
    """The right answer is that there is no such name."""


@dataclass(frozen=True, slots=True)
class AuditSettings(Part):
    """What the nightly audit measures, in addition to its own checks."""

    every_pair_up_to: Count = 500
    """With up to so many hosts, all connect to each other; with more, each to some neighbours per night."""
    neighbours: Count = 8
    """How many neighbours."""
    path_mtu: Annotated[int, Field(ge=576, le=9216, strict=True)] = 1500
    """Size in bytes of a packet that must pass between hosts."""
    silent_nights: Count = 3
    """A host that was not measured for this many nights in a row is a finding."""
    provider_endpoints: Literal["none", "private", "public"] = "none"
    """ACK's own endpoints that nodes need, over the private line or the internet. ACK lists them for its Edge clusters,
    not for hybrid pools."""
    targets: tuple[AuditTarget, ...] = ()
    names: tuple[AuditName, ...] = ()


@dataclass(frozen=True, slots=True)
class Fleet(Part):
    """All that one fleet file declares."""

    path: SkipJsonSchema[Path]
    _: KW_ONLY
    name: Annotated[Text, Field(validation_alias="fleet")]
    """The fleet's name."""
    mode: Annotated[Mode, AfterValidator(kept), Field(validate_default=True)] = Mode.ACT
    """observe: nothing is ever changed."""
    ssh: Annotated[Ssh, AfterValidator(kept)] = SshAccess()
    ssh_limits: SshLimits = SshLimits(32, 400)
    """For the whole fleet; each site has limits of its own, too."""
    clusters: Annotated[Mapping[str, Cluster], section(_cluster_defaults)]
    sites: Annotated[Mapping[str, Site], section()]
    domains: Annotated[Mapping[str, Domain], section()] = field(default_factory=dict)
    pools: Annotated[Mapping[str, Pool], section(_pool_defaults)]
    hosts: Annotated[Mapping[str, Annotated[Host, AfterValidator(_with_whole_login)]], section()]
    audit: AuditSettings = AuditSettings()
