"""What a night has measured: facts between a source and a target, each with what it depends on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Quality(StrEnum):
    """How a measured path is."""

    OK = "ok"
    SLOW = "slow"
    FAIL = "fail"
    UNKNOWN = "unknown"
    """It could not be measured; never a pass and never a failure."""


class Part(StrEnum):
    """What can break, from the narrowest to the widest: of two that explain the same, the first is meant."""

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
    """A DNS server. Name: its address, with a word for what it is."""
    NAME = "name"
    """A DNS name, whoever is asked."""
    TARGET = "target"
    """What the user or the provider needs to be reached. Name: as declared."""
    ENDPOINT = "API endpoint"
    SITE_TARGET = "way from a site to a target"
    """Name: `site -> target`; the target is an endpoint, a resolver with its transport, a declared target, kubelets."""
    DOMAIN_EDGE = "edge of a domain"
    """All that enters or leaves a domain, such as a rack's uplink; what stays within it passes."""
    DOMAIN = "domain"
    """All of it, what stays within included."""
    LINE_ONE_WAY = "one direction of a line"
    """Name: `site -> site`, the cloud being `cloud`."""
    LINE = "line"
    """Between two sites, in both directions. Name: `site -- site`, in order."""
    SITE = "site"
    """Everything that crosses a site's edge; the cloud has one, too."""

    @property
    def width(self) -> int:
        """Its place in the order above."""
        return _WIDTHS[self]


_WIDTHS = {part: place for place, part in enumerate(Part)}


class FailureMode(StrEnum):
    """The manner in which a part fails. One part has several, and a fact depends only on those that would fail it.

    A connect depends on its line not being CUT and on nothing else of it; a probe with big packets on its being neither
    CUT nor BIG. So the connects that pass say nothing about big packets, and a cut line explains both. Of two that
    explain the same, the first is meant.
    """

    CUT = "cut"
    """Nothing gets through, or nothing answers."""
    BIG = "big packets"
    """Small packets get through and big ones do not."""
    WRONG = "wrong"
    """It answers, and not what it should: another address, an expired certificate, a node that is not Ready."""
    DEAD = "dead"
    """Its program does not run: what is asked of it fails, and so does what it does of its own accord (a kubelet)."""
    CLOCK = "clock"
    """It has another time than the rest. Certificates may verify all the same, so that those do not clear it."""

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
"""Symptom of a node: it tells nothing of why."""
ANSWERED = frozenset({"wrong-answer", "nxdomain", "servfail", "expired", "expires-soon", "untrusted", "bad-status"})
"""Symptoms of what was reached and answered wrongly."""
_MODE_OF_SYMPTOM = {
    TOO_BIG: FailureMode.BIG,
    WRONG_TIME: FailureMode.CLOCK,
    **dict.fromkeys(ANSWERED, FailureMode.WRONG),
}
_REACHED = frozenset({FailureMode.CUT, FailureMode.DEAD})


@dataclass(frozen=True, slots=True)
class CandidateCause:
    """One thing that may be broken, and how."""

    part: Part
    name: str
    mode: FailureMode = FailureMode.CUT

    def __hash__(self) -> int:
        return hash((self.name, self.part.value, self.mode.value))  # the enums' own is slower

    def __str__(self) -> str:
        return f"{self.part} {self.name}" + ("" if self.mode is FailureMode.CUT else f" ({self.mode})")

    @property
    def order(self) -> tuple[int, str, int]:
        """To sort by: the narrowest first."""
        return self.part.width, self.name, self.mode.place


@dataclass(frozen=True, slots=True)
class Measurement:
    """One directed fact of one night."""

    check: str
    """What was measured: a stable slug such as `connect.host`, `tls.api`, `dns.cache`."""
    source: str
    """Host, `api-server`, or `pod on NODE`."""
    target: str
    """Host, endpoint, server and name: as a reader would write it."""
    quality: Quality
    evidence: str
    """What was seen, in a reader's words."""
    candidates: frozenset[CandidateCause]
    """Everything whose failure alone would make this one fail. Never empty for what failed."""
    duration_ms: float | None = None
    symptom: str = ""
    """For a failure: `timeout`, `refused`, `too-big`, one of `ANSWERED`, ...: one cause has mostly one."""
    hidden: frozenset[CandidateCause] = frozenset()
    """Those of its candidates that were perhaps not asked at all, for a cache before them may answer from memory."""

    @property
    def path(self) -> tuple[str, str, str]:
        """What identifies it from night to night."""
        return self.check, self.source, self.target

    @property
    def possible(self) -> frozenset[CandidateCause]:
        """Those candidates that its symptom leaves: a wrong answer is not a cut line. All, where it tells nothing."""
        if not self.symptom:
            return self.candidates
        mode = _MODE_OF_SYMPTOM.get(self.symptom)
        if mode is None:  # not even a small packet came back
            left = frozenset(s for s in self.candidates if s.mode is not FailureMode.BIG)
        else:
            left = frozenset(s for s in self.candidates if s.mode is mode)
        return left or self.candidates

    @property
    def cleared(self) -> frozenset[CandidateCause]:
        """Those that its symptom clears, though it failed: what answers wrongly is reached."""
        if self.symptom not in _MODE_OF_SYMPTOM:
            return frozenset()
        return frozenset(s for s in self.candidates - self.hidden if s.mode in _REACHED) - self.possible
