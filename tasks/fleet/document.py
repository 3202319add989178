"""The fleet file's own shape. Field descriptions become the JSON Schema that editors show.

Nothing is resolved here: references are names, paths are as written. Rules that need more than one value
are in `tasks.fleet.rules`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from poolkeeper.tasks.fleet.model import Mode
from poolkeeper.tasks.fleet.versions import KUBERNETES_VERSION

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FULL_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_DURATION = r"^(?=[0-9])([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,7}s)?$"
_SIZE = r"^[0-9]{1,9}(Ki|Mi|Gi|Ti)$"
_PERCENT = r"^([1-9][0-9]?|100)%$"
_CLOCK = r"^([01]?[0-9]|2[0-3]):[0-5][0-9]$"
_VERSION = r"^v?[0-9]+(\.[0-9]+){1,2}([-+.][0-9A-Za-z._+-]+)?$"
_CRI_SOCKET = r"^unix:///[A-Za-z0-9._/-]+$"
_PREFLIGHT_ERROR = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_TAINT = rf"^([a-z0-9.-]{{1,253}}/)?{_LABEL}(=({_LABEL})?)?:(NoSchedule|PreferNoSchedule|NoExecute)$"
_UNITS = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4}
_DNS_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")

# Validators raise ValueError("what is wrong|How to mend it."); the value itself is put before it, and is not in it.


def _duration(value: Any) -> timedelta:
    found = re.fullmatch(_DURATION, value) if isinstance(value, str) else None
    if not found:
        raise ValueError("is not a duration|Write it like 90s, 15m, 4h or 1d12h.")
    days, hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _positive(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("is no time at all|Write a duration of at least 1s.")
    return value


def _size(value: Any) -> int:
    found = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    if not found:
        raise ValueError("is not a size|Write it with its unit, like 20Gi or 512Mi.")
    return int(value[:-2]) * _UNITS[found[1]]


def _limit(value: Any) -> int | str:
    """0 is refused: it reads like a brake, and would make every rollout wait for ever."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if isinstance(value, str) and re.fullmatch(_PERCENT, value):
        return value
    if value == 0 or (isinstance(value, str) and re.fullmatch("0+%?", value)):
        raise ValueError(
            "would never let a node be worked on|Write 1 or more, or a percent like 10%; to keep a pool or site"
            " from being changed, set its mode: observe."
        )
    raise ValueError("is neither a number of nodes nor a percent of them|Write it like 2 or 10%, at most 100%.")


def _clock(value: Any) -> time:
    if not isinstance(value, str) or not re.fullmatch(_CLOCK, value):
        raise ValueError('is not a time of day|Write it with hours and minutes, like "02:00".')
    return time.fromisoformat(value.zfill(5))


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise ValueError("is not a date with a time|Write it like 2026-12-20T00:00:00+01:00.") from None
    if moment.tzinfo is None:
        raise ValueError(f"has no time zone|Write it like {moment.isoformat()}+01:00, or with Z at its end for UTC.")
    if not 1970 <= moment.year <= 9998:
        raise ValueError("lies outside of the years 1970 to 9998|Correct the year.")
    return moment.astimezone(UTC)


def _network(value: Any) -> str:
    if isinstance(value, str) and "/" in value:
        try:
            network = ip_network(value, strict=False)
        except ValueError:
            pass
        else:
            if ip_address(value.partition("/")[0]) == network.network_address:
                return str(network)
            raise ValueError(f"has bits set to the right of its mask|Write {network}.")
    elif _is_address(value):
        raise ValueError(f"has no mask|Write the whole network, like {ip_network(f'{value}/16', strict=False)}.")
    raise ValueError("is not a network|Write it in CIDR form, like 10.1.0.0/16.")


def _is_address(value: Any) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return isinstance(value, str)  # a bare number would be taken for an address too


def _address(value: Any) -> str:
    if not _is_address(value):
        raise ValueError("is not an IP address|Write it like 10.1.0.11.")
    return str(ip_address(value))


def _place(value: Any) -> str:
    """An address or DNS name, and nothing else in the same text."""
    if _is_address(value):
        return str(ip_address(value))
    if isinstance(value, str):
        if "://" in value or "/" in value:
            raise ValueError("is a URL or path, not an address|Write the address or DNS name alone.")
        if "@" in value:
            raise ValueError("has a user in it|Write the address alone, and the user under ssh: {user: ...}.")
        if re.fullmatch(r"[^:]*:[0-9]+|\[.*\](:[0-9]+)?", value):
            raise ValueError("has a port or brackets in it|Write the address alone, and the port with `port:`.")
        if _DNS_NAME.fullmatch(value) and len(value) <= 253 and not value.rstrip(".").rpartition(".")[2].isdigit():
            return value
    raise ValueError("is neither an IP address nor a DNS name|Write it like 10.1.0.11 or n01.example.com.")


def _endpoint(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?", value):
        raise ValueError("is not an endpoint|Write it as host or host:port, without https://.")
    return value


def _place_and_port(value: Any) -> str:
    """HOST:PORT, an IPv6 address in brackets."""
    place, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    bare = place[1:-1] if place.startswith("[") and place.endswith("]") else place
    named = bare == place and _DNS_NAME.fullmatch(place)
    if (
        not colon
        or not (named or _is_address(bare))
        or not re.fullmatch("[0-9]{1,5}", port)
        or not 0 < int(port) < 65536
    ):
        raise ValueError("is not a place with a port|Write it like 10.1.9.20:5432 or db.example.com:5432.")
    return str(value)


def _url(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s]*)?", value):
        raise ValueError("is not a URL of a web server|Write it like https://app.example.com/healthz, without a user.")
    place = re.sub("^https?://", "", value).partition("/")[0]
    if not place.rpartition("]")[2].partition(":")[1]:
        place += ":443"
    _place_and_port(place)
    return value


def _name_asked(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 253 or not _DNS_NAME.fullmatch(value) or _is_address(value):
        raise ValueError("is not a DNS name|Write it in full, like db.example.com.")
    return value.rstrip(".").lower()


def _variable(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError("is not the name of an environment variable|Write its name alone, like POOLKEEPER_SSH_KEY.")
    return value


def _version(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_VERSION, value):
        raise ValueError('is not a version|Write it in quotes, like "5.10" or "1.36.3".')
    return value


def _kubernetes_version(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(KUBERNETES_VERSION, value):
        raise ValueError(
            'is not a version of Kubernetes|Write it in quotes, like "1.36.3", and without a package\'s revision.'
        )
    return value


def _cri_socket(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_CRI_SOCKET, value):
        raise ValueError(
            "is not the socket of a container runtime|Write it like unix:///run/containerd/containerd.sock."
        )
    return value


def _preflight_error(value: Any) -> str:
    if value == "all":
        raise ValueError("would ignore every check of kubeadm's|Name those that do not matter on these hosts.")
    if not isinstance(value, str) or not re.fullmatch(_PREFLIGHT_ERROR, value):
        raise ValueError("is not the name of a check of kubeadm's|Write it as kubeadm does, like SystemVerification.")
    return value


def _taint(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_TAINT, value):
        raise ValueError("is not a taint|Write it as kubectl does, like dedicated=batch:NoSchedule.")
    return value


def _days(value: Any) -> Any:
    """mon to sun, in full as well, in any case."""
    if not isinstance(value, list):
        return value
    days = [day.lower() if isinstance(day, str) else day for day in value]
    return [DAYS[_FULL_DAYS.index(day)] if day in _FULL_DAYS else day for day in days]


def _written(pattern: str) -> Any:
    """How the schema describes a text of that shape."""
    return Annotated[str, Field(pattern=pattern)]


Duration = Annotated[timedelta, BeforeValidator(_duration, json_schema_input_type=_written(_DURATION))]
Timeout = Annotated[Duration, AfterValidator(_positive)]
Size = Annotated[int, BeforeValidator(_size, json_schema_input_type=_written(_SIZE))]
LimitText = Annotated[
    int | str, BeforeValidator(_limit, json_schema_input_type=Annotated[int, Field(ge=1)] | _written(_PERCENT))
]
TimeOfDay = Annotated[time, BeforeValidator(_clock, json_schema_input_type=_written(_CLOCK))]
Moment = Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=str)]
Cidr = Annotated[str, BeforeValidator(_network, json_schema_input_type=str)]
IpAddress = Annotated[str, BeforeValidator(_address, json_schema_input_type=str)]
Place = Annotated[str, BeforeValidator(_place, json_schema_input_type=str)]
Endpoint = Annotated[str, BeforeValidator(_endpoint, json_schema_input_type=str)]
PlaceAndPort = Annotated[str, BeforeValidator(_place_and_port, json_schema_input_type=str)]
Url = Annotated[str, BeforeValidator(_url, json_schema_input_type=str)]
NameAsked = Annotated[str, BeforeValidator(_name_asked, json_schema_input_type=str)]
Variable = Annotated[str, BeforeValidator(_variable, json_schema_input_type=str)]
Version = Annotated[str, BeforeValidator(_version, json_schema_input_type=_written(_VERSION))]
KubernetesVersion = Annotated[
    str, BeforeValidator(_kubernetes_version, json_schema_input_type=_written(f"^{KUBERNETES_VERSION}$"))
]
CriSocket = Annotated[str, BeforeValidator(_cri_socket, json_schema_input_type=_written(_CRI_SOCKET))]
PreflightError = Annotated[str, BeforeValidator(_preflight_error, json_schema_input_type=_written(_PREFLIGHT_ERROR))]
TaintText = Annotated[str, BeforeValidator(_taint, json_schema_input_type=_written(_TAINT))]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
Count = Annotated[int, Field(ge=1, le=100_000, strict=True)]
PrefixLength = Annotated[int, Field(ge=1, le=128, strict=True)]
Truth = Annotated[bool, Field(strict=True)]
Command = Annotated[str, StringConstraints(min_length=1)]
Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$")]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Part(BaseModel):
    """Every part of the file: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretEntry(Part):
    """Where a secret is kept; exactly one of the three."""

    file: Text | None = Field(None, description="A file, relative to the fleet file.")
    env: Variable | None = Field(None, description="An environment variable.")
    block: Text | None = Field(None, description="A Prefect Secret block.")


class JumpEntry(Part):
    """A host that the way to other hosts goes through."""

    address: Place = Field(description="Address or DNS name.")
    port: Port = 22
    user: Text | None = Field(None, description="User there; absent: the same as on the hosts.")


class SshEntry(Part):
    """How to log in. Fleet, site and host settings are merged; the nearest one wins."""

    user: Text | None = Field(None, description="User to log in as.")
    port: Port | None = Field(None, description="Port of sshd.")
    key: SecretEntry | None = Field(None, description="Private key, by reference.")
    certificate: Text | None = Field(None, description="OpenSSH user certificate of that key.")
    agent: Truth | None = Field(None, description="Use the keys of the agent at SSH_AUTH_SOCK.")
    known_hosts: Text | None = Field(None, description="known_hosts file; may hold @cert-authority lines.")
    jump: JumpEntry | None = Field(None, description="Jump host.")
    connect_timeout: Timeout | None = Field(None, description="For the TCP connection.")
    login_timeout: Timeout | None = Field(None, description="For key exchange and login.")
    command_timeout: Timeout | None = Field(None, description="For one command, where nothing else is said.")
    keepalive: Duration | None = Field(None, description="Interval of keepalives; 0s: none.")
    sudo: Truth | None = Field(None, description="Use sudo -n where the user is not root.")


class SshLimitsEntry(Part):
    """How much SSH at once."""

    handshakes: Count = Field(8, description="Logins at once; sshd drops at random from ten on.")
    sessions: Count = Field(100, description="Open connections.")


class AckEntry(Part):
    """An ACK managed cluster."""

    cluster_id: Text
    region: Text
    endpoint: Endpoint | None = Field(None, description="host:port in place of the region's own endpoint.")
    protocol: Literal["https", "http"] = Field("https", description="http only to an endpoint on this machine.")
    access_key_id: SecretEntry | None = None
    access_key_secret: SecretEntry | None = None
    reset_command: Command = Field("edgeadm reset", description="Takes ACK's parts off a host.")
    account_site: Literal["international", "china"] = Field(
        "international", description="Where the account was opened, and its bill is kept."
    )
    billing_endpoint: Endpoint | None = Field(None, description="host:port in place of that site's own.")
    upgrade: Literal["hand-off", "command", "call"] = Field(
        "hand-off",
        description="How a host's Kubernetes is upgraded: a person follows the vendor's steps; upgrade_command is run"
        " on the host; or ACK's UpgradeClusterNodepool is called, which is not documented for hybrid pools.",
    )
    upgrade_command: Command | None = Field(
        None, description="With upgrade: command. Shell, run as root; {version} in it becomes the version, as 1.36.3."
    )
    removal: Literal["cluster", "pool", "none"] = Field(
        "cluster",
        description="By which call a node leaves: ACK's DeleteClusterNodes, its RemoveNodePoolNodes, or none: only the"
        " Node object is deleted. Which of them hybrid pools take is not documented.",
    )


class KubeadmEntry(Part):
    """Any conformant cluster that hosts join with kubeadm."""

    cri_socket: CriSocket = Field(
        "unix:///run/containerd/containerd.sock", description="Where its hosts' container runtime listens."
    )
    ignore_preflight_errors: list[PreflightError] = Field(
        [], description="kubeadm's own checks that may fail, by name."
    )
    taints: list[TaintText] = Field([], description="Taints that nodes register with, like dedicated=batch:NoSchedule.")


class ProviderEntry(Part):
    """Who owns the control plane; exactly one of the two."""

    ack: AckEntry | None = None
    kubeadm: KubeadmEntry | None = None


class ClusterEntry(Part):
    """One control plane."""

    provider: ProviderEntry
    kubeconfig: SecretEntry = Field(description="Kubeconfig, by reference.")
    context: Text | None = Field(None, description="Context in it; absent: the current one.")
    pod_cidrs: list[Cidr] = Field([], description="Pod ranges of the cloud side.")
    service_cidrs: list[Cidr] = Field([], description="Service ranges.")
    container_cidr: Cidr | None = Field(None, description="Range of hybrid nodes' pods (Terway Hybrid).")
    node_mask: PrefixLength | None = Field(None, description="Prefix length of each node's part of it.")
    test_image: Text | None = Field(None, description="Image of the test pod, with busybox's tools.")
    billed_resources: dict[str, Text] = Field(
        {}, description="Instance ids on the bill that the provider does not list for the cluster, and what each is."
    )


class DnsEntry(Part):
    """What a site's hosts must be able to resolve, and by whom."""

    resolvers: list[IpAddress] = Field([], description="Resolvers that hosts must use; empty: any.")
    internal_name: Text = "kubernetes.default.svc.cluster.local"
    external_name: Text = "aliyun.com"


class WindowEntry(Part):
    """When disruptive work may run, in the site's zone."""

    days: Annotated[list[Day], BeforeValidator(_days)] = Field(
        ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], description="mon to sun; absent: all."
    )
    start: TimeOfDay = Field(description='Time of day, like "02:00".')
    duration: Duration = Field(description="How long it stays open.")


class FreezeEntry(Part):
    """When it may not."""

    start: Moment = Field(alias="from")
    end: Moment = Field(alias="to", description="Exclusive.")
    reason: Text = "no reason given"


class SiteEntry(Part):
    """One place with its own network, time zone, windows and DNS."""

    time_zone: Text = Field(description="IANA name, like Europe/Berlin.")
    cidrs: list[Cidr] = Field([], description="Networks of the site.")
    ssh: SshEntry = SshEntry()
    ssh_limits: SshLimitsEntry = SshLimitsEntry()
    dns: DnsEntry = DnsEntry()
    windows: list[WindowEntry] = Field([], description="Empty: at any time.")
    freezes: list[FreezeEntry] = []
    freeze_calendars: list[Text] = Field([], description="iCalendar files; every event is a freeze.")
    work_pool: Text | None = Field(
        None, description="Prefect work pool whose workers ask this site's hosts in an audit."
    )
    mode: Mode = Mode.ACT


class DomainEntry(Part):
    """What fails together: a rack, a switch, a line."""

    site: Text
    max_unavailable: LimitText = 1


class AcceptedEntry(Part):
    """One row of systems that a pool's hosts may run."""

    os: Text = Field(description="ID of os-release.")
    versions: list[Text] = Field([], description="VERSION_IDs, in quotes; empty: any.")
    kernel_min: Version | None = Field(None, description='In quotes, like "5.10".')
    arch: list[Literal["amd64", "arm64", "arm"]] = []


class JoinEntry(Part):
    """How hosts join."""

    parallel: Count = Field(5, description="Joins at once.")
    timeout: Timeout = Field("15m", validate_default=True, description="For the join, and again for acceptance.")
    on_failure: Literal["undo", "keep"] = "undo"


class CheckEntry(Part):
    """The user's own check: a command that exits with 0, or a query that finds nothing."""

    name: Text
    command: list[Text] = Field([], description="Run where the flow runs; a program and its arguments, no shell.")
    prometheus: Text | None = Field(None, description="URL of a Prometheus server.")
    query: Text | None = Field(None, description="PromQL that finds nothing while all is well, as an alert's.")
    timeout: Timeout = Field("30s", validate_default=True)


class RolloutEntry(Part):
    """How hosts are taken out of service."""

    checks: list[CheckEntry] = Field([], description="Asked before each wave and after it.")

    host_duration: Timeout = Field(
        "15m",
        validate_default=True,
        description="From drain to proof; none starts that would not fit into its site's window.",
    )


class PoolEntry(Part):
    """A hybrid node pool."""

    cluster: Text
    nodepool_id: Text = Field(description="ACK's id of it; with kubeadm, a label value that its nodes get.")
    max_unavailable: LimitText = 1
    accepted: list[AcceptedEntry] = Field([], description="Empty: any system.")
    min_cpus: Count = 2
    min_memory: Size = Field("2Gi", validate_default=True)
    min_disk_free: Size = Field("20Gi", validate_default=True)
    lift_taint: Truth = Field(False, description="Remove ACK's taint after acceptance.")
    join: JoinEntry = JoinEntry()
    rollout: RolloutEntry = RolloutEntry()
    kubernetes_version: KubernetesVersion | None = Field(None, description="Kubelet version that a join should give.")
    expected_pods: list[Text] | None = Field(
        None,
        description="Prefixes of DaemonSets with a Ready pod on each node; absent: terway and node-local-dns with ACK,"
        " none with kubeadm.",
    )
    labels: dict[str, str] = {}
    mode: Mode = Mode.ACT


class TargetEntry(Part):
    """What hosts must reach, beside the cluster; exactly one of tcp, tls and url."""

    name: Text
    sites: list[Text] = Field([], description="Whose hosts must reach it; empty: all.")
    tcp: PlaceAndPort | None = Field(None, description="Takes connections.")
    tls: PlaceAndPort | None = Field(None, description="Its certificate verifies, and does not expire soon.")
    url: Url | None = Field(None, description="Answers with a status below 400; its certificate as with tls.")
    at: Text = Field("cloud", description="Where it is: a site of the fleet, or cloud, or elsewhere.")
    ca: Text | None = Field(None, description="Certificates to verify with, in PEM; absent: those the host trusts.")
    expires_in: Duration = Field("14d", validate_default=True, description="Told when it expires sooner.")


class NameEntry(Part):
    """A DNS name that hosts must get the right answer for, from every resolver that should know it."""

    name: NameAsked
    sites: list[Text] = Field([], description="Whose hosts ask for it; empty: all.")
    zone: Literal["in-cluster", "cloud", "on-prem", "external"] = Field(
        "external", description="in-cluster: the cluster's DNS is asked, and no resolver of a site."
    )
    addresses: list[IpAddress] = Field([], description="The right answer; empty: whatever most resolvers say.")
    absent: Truth = Field(False, description="The right answer is that there is no such name.")


class AuditEntry(Part):
    """What the nightly audit measures, beside what it knows by itself."""

    every_pair_up_to: Count = Field(500, description="Hosts; above, each connects to some neighbours a night.")
    neighbours: Count = Field(8, description="How many that are.")
    path_mtu: Annotated[int, Field(ge=576, le=9216, strict=True)] = Field(
        1500, description="Bytes that a packet between hosts must be able to have."
    )
    provider_endpoints: Literal["none", "private", "public"] = Field(
        "none",
        description="ACK's own endpoints that nodes need, over the private line or the internet. ACK lists them for its"
        " Edge clusters, not for hybrid pools.",
    )
    silent_nights: Count = Field(3, description="A host that was not measured for so many nights is a finding.")
    targets: list[TargetEntry] = []
    names: list[NameEntry] = []


class HostEntry(Part):
    """A machine."""

    address: Place = Field(description="Address or DNS name that SSH connects to.")
    port: Port | None = None
    site: Text
    pool: Text
    domain: Text | None = None
    node_name: Text | None = Field(None, description="Absent: the host's name.")
    node_address: IpAddress | None = Field(None, description="The node's InternalIP.")
    ssh: SshEntry = SshEntry()
    labels: dict[str, str] = {}
    machine_id: Text | None = Field(None, description="Accepts a reinstalled machine.")
    active: Truth = Field(True, description="false: declared, not worked on, not counted.")


class Document(Part):
    """A fleet file."""

    fleet: Text = Field(description="The fleet's name.")
    mode: Mode = Field(Mode.ACT, description="observe: nothing is ever changed.")
    ssh: SshEntry = SshEntry()
    ssh_limits: SshLimitsEntry = SshLimitsEntry(handshakes=32, sessions=400)
    clusters: dict[str, ClusterEntry]
    sites: dict[str, SiteEntry]
    domains: dict[str, DomainEntry] = {}
    pools: dict[str, PoolEntry]
    hosts: dict[str, HostEntry]
    audit: AuditEntry = AuditEntry()


def fleet_schema() -> dict[str, Any]:
    """The JSON Schema of a fleet file, for editors."""
    schema = Document.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "poolkeeper fleet file"
    return schema
