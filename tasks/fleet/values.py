"""Single values of files of ours: how each is written, and what it is read as.

A validator raises ValueError("what is wrong|How to correct it."). The report puts the value before it, or where `{}`
stands in it; the text never repeats the value itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import ArgsKwargs, CoreSchema, core_schema

from poolkeeper.tasks.fleet.problems import nearest
from poolkeeper.tasks.fleet.versions import KUBERNETES_VERSION

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FULL_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

DURATION = r"^(?=[0-9])([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,7}s)?$"
SIZE = r"^[0-9]{1,9}(Ki|Mi|Gi|Ti)$"
_PERCENT = r"^([1-9][0-9]?|100)%$"
_CLOCK = r"^([01]?[0-9]|2[0-3]):[0-5][0-9]$"
_VERSION = r"^v?[0-9]+(\.[0-9]+){1,2}([-+.][0-9A-Za-z._+-]+)?$"
_CRI_SOCKET = r"^unix:///[A-Za-z0-9._/-]+$"
_PREFLIGHT_ERROR = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_TAINT = rf"^([a-z0-9.-]{{1,253}}/)?{_LABEL}(=({_LABEL})?)?:(NoSchedule|PreferNoSchedule|NoExecute)$"
_UNITS = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4}
_DNS_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")


def _duration(value: Any) -> timedelta:
    found = re.fullmatch(DURATION, value) if isinstance(value, str) else None
    if not found:
        raise ValueError("is not a duration|Write it like 90s, 15m, 4h or 1d12h.")
    days, hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _seconds(value: Any) -> float:
    return _duration(value).total_seconds()


def _positive(value: float) -> float:
    if not value:
        raise ValueError("is no time at all|Write a duration of at least 1s.")
    return value


def _size(value: Any) -> int:
    found = re.fullmatch(SIZE, value) if isinstance(value, str) else None
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
            "would never allow work on a node|Write 1 or more, or a percent like 10%; to keep a pool or site"
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


def _network(value: Any) -> Network:
    if isinstance(value, str) and "/" in value:
        try:
            network = ip_network(value, strict=False)
        except ValueError:
            pass
        else:
            if ip_address(value.partition("/")[0]) == network.network_address:
                return network
            raise ValueError(f"has bits set to the right of its mask|Write {network}.")
    elif literal(value):
        raise ValueError(f"has no mask|Write the whole network, like {ip_network(f'{value}/16', strict=False)}.")
    raise ValueError("is not a network|Write it in CIDR form, like 10.1.0.0/16.")


def literal(value: Any) -> Address | None:
    """The address that a text is; None when it is none."""
    if not isinstance(value, str):
        return None  # a bare number would be taken for an address too
    try:
        return ip_address(value)
    except ValueError:
        return None


def _address(value: Any) -> Address:
    if address := literal(value):
        return address
    raise ValueError("is not an IP address|Write it like 10.1.0.11.")


def _address_text(value: Any) -> str:
    return str(_address(value))


def _time_zone(value: Any) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = nearest(value, _time_zones()) if "/" in value else ""
        fix = near if near.startswith("Did") else "Write an IANA name, like Europe/Berlin or Asia/Shanghai."
        raise ValueError(f"there is no time zone {{}}|{fix}") from None


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _place(value: Any) -> str:
    """An address or DNS name, and nothing else in the same text."""
    if address := literal(value):
        return str(address)
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
    if not colon or not (named or literal(bare)) or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
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
    if not isinstance(value, str) or len(value) > 253 or not _DNS_NAME.fullmatch(value) or literal(value):
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


def _text(read: Callable[[Any], Any], pattern: str | None = None) -> PlainValidator:
    """Reads a value that is written as a text of that shape."""
    return PlainValidator(read, json_schema_input_type=_written(pattern) if pattern else str)


Duration = Annotated[timedelta, _text(_duration, DURATION)]
Seconds = Annotated[float, _text(_seconds, DURATION)]
Timeout = Annotated[Seconds, AfterValidator(_positive)]
Size = Annotated[int, _text(_size, SIZE)]
LimitText = Annotated[
    int | str, PlainValidator(_limit, json_schema_input_type=Annotated[int, Field(ge=1)] | _written(_PERCENT))
]
TimeOfDay = Annotated[time, _text(_clock, _CLOCK)]
Moment = Annotated[datetime, _text(_moment)]
Cidr = Annotated[Network, _text(_network)]
IpAddress = Annotated[Address, _text(_address)]
IpText = Annotated[str, _text(_address_text)]
Place = Annotated[str, _text(_place)]
HostPort = Annotated[str, _text(_endpoint)]
PlaceAndPort = Annotated[str, _text(_place_and_port)]
Url = Annotated[str, _text(_url)]
NameAsked = Annotated[str, _text(_name_asked)]
Variable = Annotated[str, _text(_variable)]
Version = Annotated[str, _text(_version, _VERSION)]
KubernetesVersion = Annotated[str, _text(_kubernetes_version, f"^{KUBERNETES_VERSION}$")]
CriSocket = Annotated[str, _text(_cri_socket, _CRI_SOCKET)]
PreflightError = Annotated[str, _text(_preflight_error, _PREFLIGHT_ERROR)]
TaintText = Annotated[str, _text(_taint, _TAINT)]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
Count = Annotated[int, Field(ge=1, le=100_000, strict=True)]
PrefixLength = Annotated[int, Field(ge=1, le=128, strict=True)]
Truth = Annotated[bool, Field(strict=True)]
Command = Annotated[str, StringConstraints(min_length=1)]
Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$")]
Days = Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], BeforeValidator(_days)]


@dataclass(frozen=True, slots=True)
class ReadAs:
    """How a field is read that means something else than it is written as."""

    written: Any
    """The type of what is written."""
    meant: Callable[[Any, ValidationInfo[Any]], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic reads it."""
        return core_schema.with_info_after_validator_function(self.meant, handler.generate_schema(self.written))


TimeZone = Annotated[ZoneInfo, ReadAs(Text, lambda name, _: _time_zone(name))]


def by_name(given: Any) -> Any:
    """Entries that are named by whoever writes the file: each is read with its key as its first field."""
    if not isinstance(given, dict):
        return given
    return {name: ArgsKwargs((name,), entry) if isinstance(entry, dict) else entry for name, entry in given.items()}


Name = SkipJsonSchema[str]
"""The key that an entry stands under."""


def key_of(field: str) -> str:
    """A field's key in the file: units are part of the value there, as in `connect_timeout: 10s`."""
    return field.removesuffix("_s").removesuffix("_bytes")


class Part:
    """Every part of a file: unknown keys are mistakes."""

    __slots__ = ()
    __pydantic_config__ = ConfigDict(extra="forbid", alias_generator=key_of)
