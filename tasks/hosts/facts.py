"""Facts of a host: one program over one session, and a pure parser of what it answers."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from ipaddress import ip_address, ip_network
from typing import TypeVar
from urllib.parse import urlsplit

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.sessions import Sessions
from poolkeeper.tasks.outcomes import Known, Observed, Unknown

T = TypeVar("T")

FACTS_PROGRAM = files("poolkeeper.tasks.hosts").joinpath("facts.sh").read_text(encoding="utf-8")
FACTS_TIMEOUT_S = 60.0

_LONGEST_VALUE = 4096
"""Characters; no fact of a sane host has more."""
_MOST_VALUES = 5000
"""Of a list: routes of a host that speaks BGP."""
_OF_ALL_UNITS = "/etc/systemd/system.conf"
_UNITS = ("containerd.service", "kubelet.service", "crio.service")
_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


@dataclass(frozen=True, slots=True)
class FactsRequest:
    """What a host is asked beside its own facts."""

    api_url: str = ""
    """API server to reach from the host; empty: not asked."""
    api_ca_pem: str | None = None
    """Certificate authority to verify it with; None: the host's own."""
    api_server_name: str = ""
    """Whom its certificate is for; empty: the URL's host."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system that kubelet, runtime or logs fill."""

    path: str
    """Mount point."""
    size_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Resolver:
    """A configured resolver."""

    address: str
    answers: bool | None
    """None: not known, for `reason`."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OtherRuntime:
    """A container runtime beside the first one."""

    name: str
    """`docker`, `cri-o`, `podman`, `snap microk8s`."""
    version: str
    """Empty: not known."""
    containers: int | None
    """How many there are, running or not; None: not known."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """A host as it was read in one round trip; what could not be read is Unknown with the reason."""

    seen_at: datetime
    hostname: Observed[str]
    os_id: Observed[str]
    os_version: Observed[str]
    kernel: Observed[str]
    arch: Observed[str]
    """Kubernetes' name: `amd64`, `arm64`."""
    machine_id: Observed[str]
    boot_id: Observed[str]
    product_uuid: Observed[str]
    cpus: Observed[int]
    gpus: Observed[int]
    """Whole NVIDIA and AMD devices on the PCI bus; 0 where there is none of them."""
    memory_bytes: Observed[int]
    swap_bytes: Observed[int]
    disks: Observed[tuple[Disk, ...]]
    cgroup_version: Observed[int]
    open_files_limit: Observed[int]
    ip_forward: Observed[bool]
    systemd: Observed[bool]
    reboot_required: Observed[bool]
    package_manager: Observed[str]
    clock_offset_s: Observed[float]
    """The host's clock minus the local clock, in seconds. The error is at most the time from sending the program to its
    start: half a round trip, and what the host takes to begin."""
    clock_synchronised: Observed[bool]
    resolvers: Observed[tuple[Resolver, ...]]
    own_name_resolves: Observed[bool]
    addresses: Observed[tuple[str, ...]]
    routes: Observed[tuple[str, ...]]
    """Destinations: networks in CIDR form, or `default`."""
    mtus: Observed[dict[str, int]]
    """Interface -> bytes."""
    listening_ports: Observed[tuple[int, ...]]
    proxies: Observed[dict[str, str]]
    """Setting -> value, without credentials: of a login."""
    service_proxies: Observed[dict[str, dict[str, str]]]
    """The same of what systemd starts, by unit, or by the file that is for all of them."""
    runtime: Observed[str]
    """Container runtime and version, containerd before any other; empty: none."""
    other_runtimes: Observed[tuple[OtherRuntime, ...]]
    cri_disabled: Observed[bool]
    """Whether a containerd that is there does without its CRI plugin."""
    kubelet_version: Observed[str]
    """Empty: not installed."""
    kubelet_running: Observed[bool]
    leftovers: Observed[tuple[str, ...]]
    """Paths that an earlier cluster left."""
    kubelet_mounts: Observed[tuple[str, ...]]
    """What is mounted below /var/lib/kubelet."""
    api_answer: Observed[str]
    """Empty: the API server answered with its certificate verified; else what went wrong."""


async def read_facts(sessions: Sessions, host: Host, request: FactsRequest) -> HostFacts:
    """A host's facts, in one round trip. Raises HostError."""
    program = facts_program(request, host.site.dns.external_name)
    result = await sessions.run(host, program, timeout_s=FACTS_TIMEOUT_S)
    ended_at = datetime.now(UTC)
    return parse_facts(result.stdout, ended_at, result.duration_s)


def facts_program(request: FactsRequest, external_name: str) -> str:
    """The POSIX shell program that asks. Pure."""
    environment = {**_asked(request), "API_CA": request.api_ca_pem or "", "EXTERNAL_NAME": external_name}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in environment.items()) + FACTS_PROGRAM


def _asked(request: FactsRequest) -> dict[str, str]:
    """What curl is to ask: by the name that the certificate is for, and still at the API server's own address."""
    if not request.api_server_name:
        return {"API_URL": request.api_url}
    parts = urlsplit(request.api_url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = parts.port or 443
    return {"API_URL": f"https://{request.api_server_name}:{port}{parts.path}", "API_AT": f"{host}:{port}"}


def parse_facts(text: str, seen_at: datetime, duration_s: float = 0.0) -> HostFacts:
    """What the program answered, as facts. Pure.

    `seen_at` is when the answer was complete, `duration_s` how long the program took: its clock was read at
    the start. Anything around the markers, such as a login banner, is passed over; facts that are
    missing because the answer was cut short are unknown.
    """
    answers = _Answers(text, seen_at)
    return HostFacts(
        seen_at=seen_at,
        hostname=answers.one("hostname", str),
        os_id=answers.one("os_id", _os_id),
        os_version=answers.one("os_version", str),
        kernel=answers.one("kernel", str),
        arch=answers.one("machine", lambda machine: _ARCH.get(machine, machine)),
        machine_id=answers.one("machine_id", _machine_id),
        boot_id=answers.one("boot_id", str),
        product_uuid=answers.one("product_uuid", str.lower),
        cpus=answers.one("cpus", _count),
        gpus=answers.one("gpus", _count),
        memory_bytes=answers.one("memory_kb", _kib),
        swap_bytes=answers.one("swap_kb", _kib),
        disks=answers.all("disk", _disks),
        cgroup_version=answers.one("cgroup_version", _count),
        open_files_limit=answers.one("open_files_limit", _limit),
        ip_forward=answers.one("ip_forward", lambda value: _count(value) != 0),
        systemd=answers.one("systemd", _yes),
        reboot_required=answers.one("reboot_required", _yes),
        package_manager=answers.one("package_manager", str),
        clock_offset_s=answers.one("clock", lambda value: _offset_s(value, seen_at, duration_s)),
        clock_synchronised=answers.one("clock_synchronised", _yes),
        resolvers=answers.all("resolver", lambda lines: tuple(map(_resolver, lines))),
        own_name_resolves=answers.one("own_name_resolves", _yes),
        addresses=answers.all("address", lambda lines: tuple(str(ip_address(line)) for line in lines)),
        routes=answers.all("route", lambda lines: tuple(dict.fromkeys(map(_route, lines)))),
        mtus=answers.all("mtu", lambda lines: {name: _count(size) for name, size in map(str.split, lines)}),
        listening_ports=answers.all("port", lambda lines: tuple(sorted(set(map(_port, lines))))),
        proxies=answers.all("proxy", lambda lines: dict(map(_proxy, lines))),
        service_proxies=answers.all("service_proxy", _service_proxies),
        runtime=answers.one("runtime", str, empty=True),
        other_runtimes=answers.all("other_runtime", lambda lines: tuple(map(_other_runtime, lines))),
        cri_disabled=answers.one("cri_disabled", _yes),
        kubelet_version=answers.one("kubelet_version", str, empty=True),
        kubelet_running=answers.one("kubelet_running", _yes),
        leftovers=answers.all("leftover", tuple),
        kubelet_mounts=answers.all("kubelet_mount", tuple),
        api_answer=answers.one("api", str, empty=True),
    )


class _Answers:
    """The program's lines by name, and turning them into observed values."""

    def __init__(self, text: str, seen_at: datetime) -> None:
        self._seen_at = seen_at
        self._facts: defaultdict[str, list[str]] = defaultdict(list)
        self._unknown: dict[str, str] = {}
        _, begun, rest = text.partition("poolkeeper-facts begin\n")
        body, ended, _ = rest.partition("poolkeeper-facts end")
        self._cut = bool(begun and not ended)
        self._last = ""
        if self._cut:
            body = body[: body.rfind("\n") + 1]  # half a line is not a fact
        for line in body.split("\n"):
            word, _, rest = line.partition(" ")
            name, _, value = rest.partition(" ")
            if word == "fact":
                self._facts[name].append(value.strip())
                self._last = name
            elif word == "unknown":
                self._unknown.setdefault(name, value.strip() or "no reason given")

    def one(self, name: str, parse: Callable[[str], T], *, empty: bool = False) -> Observed[T]:
        """A fact with one value; an empty one is unknown unless it may be empty."""

        def only(lines: list[str]) -> T:
            return parse(lines[0])

        values = self._facts.get(name)
        if name not in self._unknown and values:
            if len(set(values)) > 1:
                return Unknown(f"there is more than one answer: {_shown(values)}", self._seen_at)
            if not values[0] and not empty:
                return Unknown("it is empty", self._seen_at)
        return self._parsed(name, values, only)

    def all(self, name: str, parse: Callable[[list[str]], T]) -> Observed[T]:
        """A fact that is a list; its first line is the empty one that says so."""
        if self._cut and name == self._last:
            return Unknown("the answer was cut short within it", self._seen_at)
        values = self._facts.get(name)
        return self._parsed(name, None if values is None else [v for v in values if v], parse)

    def _parsed(self, name: str, values: list[str] | None, parse: Callable[[list[str]], T]) -> Observed[T]:
        if name in self._unknown:
            return Unknown(self._unknown[name][:_LONGEST_VALUE], self._seen_at)
        if values is None:
            missing = "the answer was cut short" if self._cut else "the host did not answer it"
            return Unknown(missing, self._seen_at)
        if any(len(value) > _LONGEST_VALUE for value in values):
            return Unknown(f"its value is longer than {_LONGEST_VALUE} characters", self._seen_at)
        if len(values) > _MOST_VALUES:
            return Unknown(f"it has more than {_MOST_VALUES} values", self._seen_at)
        try:
            return Known(parse(values), self._seen_at)
        except Exception:  # whatever one fact's text does to its parser, the host's other facts are as they are
            return Unknown(f"the answer cannot be read: {_shown(values)}", self._seen_at)


def _shown(values: list[str]) -> str:
    """The first few of them, each at a length that can be printed."""
    return ", ".join(repr(value[:60]) for value in values[:3]) or "an empty answer"


def _count(value: str) -> int:
    """A number that any table can hold, in digits and nothing else."""
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise ValueError(value)
    return int(value)


def _port(value: str) -> int:
    port = _count(value)
    if not 0 < port < 65536:
        raise ValueError(value)
    return port


def _machine_id(value: str) -> str:
    """machine-id(5): 32 digits. An image may have `uninitialized`, which is not an id."""
    if not re.fullmatch(r"[0-9a-f]{32}", value):
        raise ValueError(value)
    return value


def _kib(value: str) -> int:
    kib = _count(value)
    if kib >= 2**53:
        raise ValueError(value)
    return kib * 1024


def _yes(value: str) -> bool:
    if value not in ("yes", "no"):
        raise ValueError(value)
    return value == "yes"


def _limit(value: str) -> int:
    return 2**31 if value == "unlimited" else _count(value)


def _offset_s(value: str, seen_at: datetime, duration_s: float) -> float:
    """busybox' date knows no %N and prints it or nothing: whole seconds then, and half of one added."""
    whole, _, fraction = value.partition(".")
    seconds = _count(whole) + (float(f"0.{fraction}") if re.fullmatch(r"[0-9]{1,9}", fraction) else 0.5)
    return seconds - (seen_at.timestamp() - duration_s)


def _disks(lines: list[str]) -> tuple[Disk, ...]:
    mounts: dict[str, Disk] = {}
    for line in lines:
        size, free, mount, _ = line.split(" ", 3)
        mounts.setdefault(mount, Disk(mount, _kib(size), _kib(free)))
    if not mounts:
        raise ValueError("df has no lines")
    return tuple(mounts.values())


def _resolver(line: str) -> Resolver:
    address, answer, *reason = line.split(" ", 2)
    if answer not in ("yes", "no", "unknown"):
        raise ValueError(line)
    return Resolver(address, {"yes": True, "no": False}.get(answer), *reason)


def _route(line: str) -> str:
    return line if line == "default" else str(ip_network(line, strict=False))


def _os_id(value: str) -> str:
    """os-release(5): lower-case letters, digits and `._-`."""
    if not re.fullmatch(r"[a-z0-9._-]+", value.lower()):
        raise ValueError(value)
    return value.lower()


def _other_runtime(line: str) -> OtherRuntime:
    containers, version, name = line.split(" ", 2)
    if not re.fullmatch(r"[a-z0-9-]{1,20}( [a-z0-9-]{1,20})?", name):
        raise ValueError(line)
    return OtherRuntime(name, version.removeprefix("-"), None if containers == "?" else _count(containers))


_PROXY = re.compile(
    r"(?P<scheme>(?:https?|socks(?:4a?|5h?)?)://)?(?:.*@)?"
    r"(?P<place>(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?)(?:[/?#\s][^@]*)?",
    re.DOTALL | re.IGNORECASE,
)


def _proxy(line: str) -> tuple[str, str]:
    name, _, value = line.partition(" ")
    return name, _without_credentials(name, value)


def _without_credentials(name: str, value: str) -> str:
    """A setting without quotes, a proxy without credentials: everything up to the last `@` is removed. A text that is
    not the address of a proxy is not shown."""
    value = value.strip("\"' ")
    if not value or name.lower() == "no_proxy":
        return value
    found = _PROXY.fullmatch(value)
    return (found["scheme"] or "") + found["place"] if found else "an address that cannot be read"


def _service_proxies(lines: list[str]) -> dict[str, dict[str, str]]:
    """Lines `PLACE SETTINGS`: of units as systemd.exec(5) has them in Environment=, or of a file of assignments.

    Settings for all units come first, and apply also to units that have further settings.
    """
    places: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for line in lines:
        place, _, text = line.partition(" ")
        if place not in (_OF_ALL_UNITS, *_UNITS):
            continue
        for word in _words(re.sub(r"^(Default)?Environment=", "", text)):
            name, _, value = word.partition("=")
            if name.lower().endswith("_proxy"):
                places[place][name] = _without_credentials(name, value)
    for_all = places.get(_OF_ALL_UNITS, {})
    return {place: {**for_all, **settings} for place, settings in places.items()}


def _words(text: str) -> list[str]:
    """Words as a shell has them; where a quote is not closed, by its blanks."""
    try:
        return shlex.split(text)
    except ValueError:
        return [word.strip("\"'") for word in text.split()]
