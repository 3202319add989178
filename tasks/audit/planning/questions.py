"""Questions to the probe program on a host, and its answers: the two ends of one small text protocol.

A question is one line of fields separated by tabs; so is an answer, which starts with the question's number. A field is
text in which `%`, tab and line ends are written as `%25`, `%09`, `%0A`, `%0D`: hosts may have no `json`. After an
answer's number come its outcome, milliseconds (or nothing), reason, and `name=value` for each value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What the probe does."""

    TCP = "tcp"
    """Connect to `address`:`port` and close."""
    API = "api"
    """An API server: look `address` up, connect, verify its certificate with `authority`, GET `name` (a path; empty:
    /readyz), read its clock. No proxy is used. A status of 401 or 403 is an answer of the API server as well."""
    TLS = "tls"
    """Connect and shake hands, for `name` if given, else for any name: then only the chain is verified. A
    certificate that does not verify is read too."""
    HTTP = "http"
    """GET `name`, a path, in plain HTTP."""
    HTTPS = "https"
    """The same over TLS, verified."""
    DNS = "dns"
    """Ask the server at `address`:`port` for `name`, over `transport`, without search list and without EDNS.

    Over UDP the question is sent again after half of the time.
    """
    STUB = "stub"
    """Look `name` up as any program on the host does: its hosts file, its resolvers, its search list. `record` chooses
    one family of addresses."""
    MTU = "mtu"
    """Which of `sizes` reaches `address` with the don't-fragment bit set, as an echo request."""
    METRICS = "metrics"
    """GET /metrics of a node-local DNS cache: hits, misses and forwards."""
    SETTINGS = "settings"
    """The host's resolv.conf: name servers, search list, ndots. Sends nothing."""


class Outcome(StrEnum):
    """How a question ended."""

    OK = "ok"
    """There is an answer, which `judging` judges: NXDOMAIN is an answer."""
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    """The network reports it: no route, host unreachable, prohibited."""
    NO_NAME = "no-name"
    """`address` is a name that could not be looked up. STUB: no resolver gave an answer."""
    TLS = "tls"
    """The certificate does not verify: the value `verified` has the reason. Without that value: no handshake."""
    GARBLED = "garbled"
    """The other end does not speak the protocol."""
    UNKNOWN = "unknown"
    """The question could not be asked: no time left, no right, no program to ask with."""


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """One thing to find out from a host. Its kind decides which fields matter."""

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
    """API: the name in the certificate; empty: `address`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question."""

    outcome: Outcome
    duration_ms: float | None = None
    """Of the whole question; None: the question was not asked."""
    values: Mapping[str, str] = field(default_factory=dict)
    """What was answered, by kind. API: `stage` (`name`, `connect`, `tls`, `http`) that failed, `name_ms`, `connect_ms`,
    `tls_ms`, `http_ms`, `status`, `not_after` (ISO 8601), `clock_offset_s` (the host's clock minus the server's).
    The server sends whole seconds, so the offset is wrong by up to 0.5 s and half the time of the request.
    TLS: `not_after`, `issuer`, `verified` (`yes`, or why not); all three also for API and HTTPS. HTTP, HTTPS, METRICS:
    `status`, and the stages as for API. DNS: `rcode` (as NOERROR), `addresses` (sorted, by commas), `ttl_s` (least),
    `truncated` (`yes`, `no`), `authoritative_ttl_s` (of the SOA of a negative answer: how long it is cached).
    STUB: `addresses`; none: no such name; `certain` (`no`, with NO_NAME: there may be no such name as well).
    MTU: `largest` (0: all are larger than `reported`), `reported` (path MTU by the network or by the host's interface,
    if one reports it). METRICS: `hits`, `misses`, `forwards`, `errors` (SERVFAIL); a counter that the cache lacks is
    missing. SETTINGS: `servers`, `search`, both by commas, `ndots`.
    A host without Python answers only a part: no TLS, no `duration_ms` of stages, no `not_after`, no clock, no TTL, no
    IPv6 addresses of STUB."""
    reason: str = ""
    """The reason, for an outcome other than OK."""


@dataclass(frozen=True, slots=True)
class RequestBatch:
    """All questions that one host gets in one SSH session, and their limits."""

    questions: tuple[Question, ...]
    authorities: Mapping[str, str] = field(default_factory=dict)
    """Name -> certificates in PEM."""
    deadline_s: float = 15.0
    """For all questions; those without an answer by then are UNKNOWN."""
    timeout_s: float = 3.0
    """For one step of one question: a connection, an answer."""
    parallel: int = 8
    """Questions at the same time, up to 32."""
    jitter_s: float = 0.0
    """Each host starts at a random moment within it: probes that start together slow each other down. The deadline
    counts from that moment."""
