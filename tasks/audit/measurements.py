"""What a night has measured, each from a source to a target, with the parts that it depends on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Quality(StrEnum):
    """The verdict about a measurement."""

    OK = "ok"
    SLOW = "slow"
    FAIL = "fail"
    UNKNOWN = "unknown"
    """It could not be measured; never a pass and never a failure."""


class Part(StrEnum):
    """What can break, from the narrowest to the widest: of two parts that explain the same, the first is the cause."""

    PATH = "path"
    """From one source to one target, and nothing else."""
    KUBELET = "kubelet"
    """The kubelet's port on a host, as the API server reaches it. Name: the host."""
    CACHE = "node-local cache"
    """The DNS cache on a host. Name: the host."""
    STUB = "stub resolver"
    """A host's own resolver settings. Name: the host."""
    WAY_IN = "way into a host"
    WAY_OUT = "way out of a host"
    HOST = "host"
    RESOLVER = "resolver"
    """A DNS server. Name: its address, for some with what it serves."""
    NAME = "name"
    """A DNS name, at every server."""
    TARGET = "target"
    """What hosts must reach by the fleet file or the provider. Name: as declared."""
    ENDPOINT = "API endpoint"
    SITE_TARGET = "way from a site to a target"
    """Name: `site -> target`; the target is an endpoint, a resolver with its transport, a declared target, kubelets."""
    DOMAIN_EDGE = "edge of a domain"
    """The uplink of a domain such as a rack: what enters or leaves fails, what stays within passes."""
    DOMAIN = "domain"
    """A whole domain: what stays within it fails too."""
    LINE_ONE_WAY = "one direction of a line"
    """Name: `site -> site`, the cloud being `cloud`."""
    LINE = "line"
    """Between two sites, in both directions. Name: `site -- site`, in order."""
    SITE = "site"
    """Everything that crosses a site's edge; the cloud has an edge, too."""

    @property
    def width(self) -> int:
        """Its place in the order above."""
        return _WIDTHS[self]


_WIDTHS = {part: place for place, part in enumerate(Part)}


class FailureMode(StrEnum):
    """How a part fails. A part has several failure modes, and a measurement depends only on those that would fail it.

    A connection fails if a line is CUT, and in no other mode of the line; a probe with big packets fails if the line is
    CUT or BIG. So connections that pass do not clear the line of BIG, and a cut line explains both failures. Of two
    modes that explain the same, the first is the cause.
    """

    CUT = "cut"
    """No packet passes, or nothing answers."""
    BIG = "big packets"
    """Small packets pass and big ones do not."""
    WRONG = "wrong"
    """It gives a wrong answer: another address, an expired certificate, a node that is not Ready."""
    DEAD = "dead"
    """Its program does not run: its port does not answer, and it does not report either (a kubelet)."""
    CLOCK = "clock"
    """Its clock differs from the others. Certificates may verify nevertheless, so they do not clear it."""

    @property
    def place(self) -> int:
        """Its place in the order above."""
        return _PLACES[self]


_PLACES = {mode: place for place, mode in enumerate(FailureMode)}

TOO_BIG = "too-big"
"""Symptom: small packets passed on this path, and big ones did not."""
WRONG_TIME = "wrong-time"
"""Symptom: two clocks that were compared differ."""
NOT_READY = "not-ready"
"""Symptom of a node that has stopped reporting: it does not show why."""
ANSWERED = frozenset({"wrong-answer", "nxdomain", "servfail", "expired", "expires-soon", "untrusted", "bad-status"})
"""Symptoms of a part that was reached and gave a wrong answer."""
_MODE_OF_SYMPTOM = {
    TOO_BIG: FailureMode.BIG,
    WRONG_TIME: FailureMode.CLOCK,
    **dict.fromkeys(ANSWERED, FailureMode.WRONG),
}
_REACHED = frozenset({FailureMode.CUT, FailureMode.DEAD})


@dataclass(frozen=True, slots=True)
class CandidateCause:
    """A part that may be broken, and its failure mode."""

    part: Part
    name: str
    mode: FailureMode = FailureMode.CUT

    def __hash__(self) -> int:
        return hash((self.name, self.part.value, self.mode.value))  # faster than the enums' own hash

    def __str__(self) -> str:
        return f"{self.part} {self.name}" + ("" if self.mode is FailureMode.CUT else f" ({self.mode})")

    @property
    def order(self) -> tuple[int, str, int]:
        """To sort by: the narrowest first."""
        return self.part.width, self.name, self.mode.place


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of one night, from a source to a target."""

    check: str
    """What was measured: a stable slug such as `connect.host`, `tls.api`, `dns.cache`."""
    source: str
    """Host, `api-server`, or `pod on NODE`."""
    target: str
    """Host, endpoint, or name and server, as the reader knows it."""
    quality: Quality
    evidence: str
    """What was observed, as a sentence."""
    candidates: frozenset[CandidateCause]
    """Every part and mode whose failure alone would make this measurement fail. Never empty for a failure."""
    duration_ms: float | None = None
    symptom: str = ""
    """Of a failure: `timeout`, `refused`, `too-big`, one of `ANSWERED`, ...; one cause mostly has one symptom."""
    hidden: frozenset[CandidateCause] = frozenset()
    """Candidates that the measurement perhaps did not use, because a cache before them may answer from memory."""

    @property
    def path(self) -> tuple[str, str, str]:
        """What identifies it from night to night."""
        return self.check, self.source, self.target

    @property
    def possible(self) -> frozenset[CandidateCause]:
        """Candidates that the symptom leaves: a wrong answer does not come from a cut line. Without a symptom, all."""
        if not self.symptom:
            return self.candidates
        mode = _MODE_OF_SYMPTOM.get(self.symptom)
        if mode is None:  # not even a small packet passed
            left = frozenset(s for s in self.candidates if s.mode is not FailureMode.BIG)
        else:
            left = frozenset(s for s in self.candidates if s.mode is mode)
        return left or self.candidates

    @property
    def cleared(self) -> frozenset[CandidateCause]:
        """Candidates that the symptom clears although it is a failure: a part that answers wrongly was reached."""
        if self.symptom not in _MODE_OF_SYMPTOM:
            return frozenset()
        return frozenset(s for s in self.candidates - self.hidden if s.mode in _REACHED) - self.possible
