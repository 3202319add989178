"""What a host is asked by the probe program, and what it answers: the two ends of one small text protocol.

A question is one line, fields parted by tabs; so is an answer, which begins with the question's number. A field is
text in which `%`, tab and line ends are written as `%25`, `%09`, `%0A`, `%0D`: hosts may have no `json`. Behind an
answer's number stand its outcome, milliseconds (or nothing), reason, and `name=value` for each value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What is done to find out."""

    TCP = "tcp"
    """Connect to `address`:`port` and close."""
    API = "api"
    """An API server: look `address` up, connect, verify its certificate with `authority`, GET `name` (a path; empty:
    /readyz), read its clock. No proxy is asked. A status of 401 or 403 is an answer of it as well."""
    TLS = "tls"
    """Connect and shake hands, for `name` if given, else for whatever name: the chain alone is verified then. The
    certificate is read also where it does not verify."""
    HTTP = "http"
    """GET `name`, a path, in plain HTTP."""
    HTTPS = "https"
    """The same over TLS, verified."""
    DNS = "dns"
    """Ask the server at `address`:`port` for `name`, over `transport`, without search list and without EDNS.

    Over UDP it is asked again after half of the time.
    """
    STUB = "stub"
    """Look `name` up as any program on the host does: its hosts file, its resolvers, its search list. `record` chooses
    one family of addresses."""
    MTU = "mtu"
    """Which of `sizes` reaches `address` with the don't-fragment bit set, as an echo request."""
    METRICS = "metrics"
    """GET /metrics of a node-local DNS cache, and what of it tells hits, misses and forwards."""
    SETTINGS = "settings"
    """The host's resolv.conf: name servers, search list, ndots. Asks nobody."""


class Outcome(StrEnum):
    """How a question ended."""

    OK = "ok"
    """It was answered; what the answer is worth is for `judging` to say: NXDOMAIN is an answer."""
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    """The network said so: no route, host unreachable, prohibited."""
    NO_NAME = "no-name"
    """`address` is a name that could not be looked up. STUB: no resolver gave an answer."""
    TLS = "tls"
    """The certificate does not verify, of which the value `verified` tells why; without it: there was no handshake."""
    GARBLED = "garbled"
    """Something answered that does not speak the protocol."""
    UNKNOWN = "unknown"
    """It could not be asked: no time left, no right, nothing to ask with."""


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """One thing to find out from a host. Which fields count is told at its kind."""

    kind: Kind
    address: str = ""
    port: int = 0
    name: str = ""
    transport: str = ""
    """`udp` or `tcp`."""
    record: str = ""
    """Type of record asked for: `A`, `AAAA`."""
    authority: str = ""
    """Name of the certificate authority to verify with, one of `RequestBatch.authorities`; empty: the host's own."""
    sizes: tuple[int, ...] = ()
    """Sizes of whole IP packets, in bytes."""
    server_name: str = ""
    """API: whom the certificate is for; empty: `address`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question."""

    outcome: Outcome
    duration_ms: float | None = None
    """Of the whole question; None: it was not asked."""
    values: Mapping[str, str] = field(default_factory=dict)
    """What was answered, by kind. API: `stage` (`name`, `connect`, `tls`, `http`) that failed, `name_ms`, `connect_ms`,
    `tls_ms`, `http_ms`, `status`, `not_after` (ISO 8601), `clock_offset_s` (the host's clock minus the server's).
    The server tells whole seconds, so that the offset is wrong by up to 0.5 s and half the time of the request.
    TLS: `not_after`, `issuer`, `verified` (`yes`, or why not); all three also for API and HTTPS. HTTP, HTTPS, METRICS:
    `status`, and the stages as for API. DNS: `rcode` (as NOERROR), `addresses` (sorted, by commas), `ttl_s` (least),
    `truncated` (`yes`, `no`), `authoritative_ttl_s` (of the SOA of a negative answer: how long it is kept).
    STUB: `addresses`; none: no such name; `certain` (`no`, with NO_NAME: there may be no such name as well).
    MTU: `largest` (0: all are larger than what was told), `told` (path MTU that the network or the host's own interface
    told, if one did). METRICS: `hits`, `misses`, `forwards`, `errors` (SERVFAIL); what the cache does not tell is not
    there. SETTINGS: `servers`, `search`, both by commas, `ndots`.
    A host without Python answers a part of it: no TLS, no `duration_ms` of stages, no `not_after`, no clock, no TTL, no
    IPv6 addresses of STUB."""
    reason: str = ""
    """The last words, for whatever is not OK."""


@dataclass(frozen=True, slots=True)
class RequestBatch:
    """All that one host is asked in one go, and its limits."""

    questions: tuple[Question, ...]
    authorities: Mapping[str, str] = field(default_factory=dict)
    """Name -> certificates in PEM."""
    deadline_s: float = 15.0
    """For all of it; what is not done then is UNKNOWN."""
    timeout_s: float = 3.0
    """For one step of one question: a connection, an answer."""
    parallel: int = 8
    """Questions at once, up to 32."""
    jitter_s: float = 0.0
    """Each host begins at a random moment within it: probes that start at once measure each other. The deadline counts
    from then."""
