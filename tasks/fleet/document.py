"""The fleet file's own shape. Field descriptions become the JSON Schema that editors show.

Nothing is resolved here: references are names, paths are as written. Rules that need more than one value
are in `tasks.fleet.rules`.
"""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from tasks.fleet.model import Mode

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_SIZES = {"": 1, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4}


def _duration(value: Any) -> timedelta:
    found = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if not found:
        raise ValueError(f"{value!r} is not a duration|Write it like 90s, 15m, 4h or 1d12h.")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _size(value: Any) -> int:
    found = re.fullmatch(r"(\d+)\s*(|Ki|Mi|Gi|Ti)", str(value)) if not isinstance(value, bool) else None
    if not found:
        raise ValueError(f"{value!r} is not a size|Write it like 20Gi or 512Mi.")
    return int(found[1]) * _SIZES[found[2]]


def _limit(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool):
        if value >= 1:
            return value
        raise ValueError(f"{value} nodes can never be worked on|Write a number of 1 or more, or a percent like 10%.")
    found = re.fullmatch(r"(\d{1,3})%", value) if isinstance(value, str) else None
    if not found or not 1 <= int(found[1]) <= 100:
        raise ValueError(f"{value!r} is neither a number of nodes nor a percent|Write it like 2 or 10%.")
    return str(value)


def _clock(value: Any) -> time:
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f'{value!r} is not a time of day|Write it in quotes, like "02:00".')
    return time(int(found[1]), int(found[2]))


def _moment(value: Any) -> datetime:
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
    if not isinstance(moment, datetime):
        raise ValueError(f"{value!r} is not a date with a time|Write it like 2026-12-20T00:00:00+01:00.")
    if moment.tzinfo is None:
        raise ValueError(f"{value} has no time zone|Add the zone, like {moment.isoformat()}+01:00 or Z at its end.")
    return moment


def _network(value: Any) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        pass
    try:
        loose = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not a network|Write it in CIDR form, like 10.1.0.0/16.") from None
    raise ValueError(f"{value} has bits set to the right of its mask|Write {loose}.")


def _address(value: Any) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address|Write it like 10.1.0.11.") from None


def _days(value: Any) -> Any:
    return [day.lower()[:3] if isinstance(day, str) else day for day in value] if isinstance(value, list) else value


Duration = Annotated[timedelta, BeforeValidator(_duration, json_schema_input_type=str)]
Size = Annotated[int, BeforeValidator(_size, json_schema_input_type=str | int)]
LimitText = Annotated[int | str, BeforeValidator(_limit, json_schema_input_type=int | str)]
TimeOfDay = Annotated[time, BeforeValidator(_clock, json_schema_input_type=str)]
Moment = Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=str)]
Cidr = Annotated[str, BeforeValidator(_network, json_schema_input_type=str)]
IpAddress = Annotated[str, BeforeValidator(_address, json_schema_input_type=str)]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
Text = Annotated[str, StringConstraints(min_length=1)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Part(BaseModel):
    """Every part of the file: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretEntry(Part):
    """Where a secret is kept; exactly one of the three."""

    file: Text | None = Field(None, description="A file, relative to the fleet file.")
    env: Text | None = Field(None, description="An environment variable.")
    block: Text | None = Field(None, description="A Prefect Secret block.")


class JumpEntry(Part):
    """A host that the way to other hosts goes through."""

    address: Text = Field(description="Address or DNS name.")
    port: Port = 22
    user: Text | None = Field(None, description="User there; absent: the same as on the hosts.")


class SshEntry(Part):
    """How to log in. Fleet, site and host settings are merged; the nearest one wins."""

    user: Text | None = Field(None, description="User to log in as.")
    port: Port | None = Field(None, description="Port of sshd.")
    key: SecretEntry | None = Field(None, description="Private key, by reference.")
    certificate: Text | None = Field(None, description="OpenSSH user certificate of that key.")
    agent: bool | None = Field(None, description="Use the keys of the agent at SSH_AUTH_SOCK.")
    known_hosts: Text | None = Field(None, description="known_hosts file; may hold @cert-authority lines.")
    jump: JumpEntry | None = Field(None, description="Jump host.")
    connect_timeout: Duration | None = Field(None, description="For the TCP connection.")
    login_timeout: Duration | None = Field(None, description="For key exchange and login.")
    command_timeout: Duration | None = Field(None, description="For one command, where nothing else is said.")
    keepalive: Duration | None = Field(None, description="Interval of keepalives.")
    sudo: bool | None = Field(None, description="Use sudo -n where the user is not root.")


class SshLimitsEntry(Part):
    """How much SSH at once."""

    handshakes: int = Field(8, ge=1, description="Logins at once; sshd drops at random from ten on.")
    sessions: int = Field(100, ge=1, description="Open connections.")


class AckEntry(Part):
    """An ACK managed cluster."""

    cluster_id: Text
    region: Text
    endpoint: Text | None = Field(None, description="host:port in place of the region's own endpoint.")
    protocol: Literal["https", "http"] = "https"
    access_key_id: SecretEntry | None = None
    access_key_secret: SecretEntry | None = None
    reset_command: Text = Field("edgeadm reset", description="Takes ACK's parts off a host.")


class KubeadmEntry(Part):
    """Any conformant cluster that hosts join with kubeadm."""


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
    node_mask: int | None = Field(None, ge=1, le=128, description="Prefix length of each node's part of it.")
    test_image: Text | None = Field(None, description="Image of the test pod, with busybox's tools.")


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

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)

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
    work_pool: Text | None = Field(None, description="Prefect work pool whose workers reach this site.")
    mode: Mode = Mode.ACT


class DomainEntry(Part):
    """What fails together: a rack, a switch, a line."""

    site: Text
    max_unavailable: LimitText = 1


class AcceptedEntry(Part):
    """One row of systems that a pool's hosts may run."""

    os: Text = Field(description="ID of os-release.")
    versions: list[Text] = Field([], description="VERSION_IDs, in quotes; empty: any.")
    kernel_min: Text | None = None
    arch: list[Literal["amd64", "arm64", "arm"]] = []


class JoinEntry(Part):
    """How hosts join."""

    parallel: int = Field(5, ge=1, description="Joins at once.")
    timeout: Duration = Field(timedelta(minutes=15), description="For the join, and again for acceptance.")
    on_failure: Literal["undo", "keep"] = "undo"


class PoolEntry(Part):
    """A hybrid node pool."""

    cluster: Text
    nodepool_id: Text
    max_unavailable: LimitText = 1
    accepted: list[AcceptedEntry] = Field([], description="Empty: any system.")
    min_cpus: int = Field(2, ge=1)
    min_memory: Size = Field(2 * 1024**3, description="Like 2Gi.")
    min_disk_free: Size = Field(20 * 1024**3, description="Like 20Gi.")
    lift_taint: bool = Field(False, description="Remove ACK's taint after acceptance.")
    join: JoinEntry = JoinEntry()
    kubernetes_version: Text | None = Field(None, description="Kubelet version that a join should give.")
    expected_pods: list[Text] = Field(
        ["terway", "node-local-dns"], description="Prefixes of DaemonSets with a Ready pod on each node."
    )
    labels: dict[str, str] = {}
    mode: Mode = Mode.ACT


class HostEntry(Part):
    """A machine."""

    address: Text = Field(description="Address or DNS name that SSH connects to.")
    port: Port | None = None
    site: Text
    pool: Text
    domain: Text | None = None
    node_name: Text | None = Field(None, description="Absent: the host's name.")
    node_address: IpAddress | None = Field(None, description="The node's InternalIP.")
    ssh: SshEntry = SshEntry()
    labels: dict[str, str] = {}
    machine_id: Text | None = Field(None, description="Accepts a reinstalled machine.")
    active: bool = Field(True, description="false: declared, not worked on, not counted.")


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


def fleet_schema() -> dict[str, Any]:
    """The JSON Schema of a fleet file, for editors."""
    schema = Document.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "poolkeeper fleet file"
    return schema
