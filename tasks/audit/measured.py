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
    """Name: `site -> target`; the target is an endpoint, a resolver with its transport, a declared target."""
    DOMAIN = "domain"
    LINE_ONE_WAY = "one direction of a line"
    """Name: `site -> site`, the cloud being `cloud`."""
    LINE = "line"
    """Between two sites, in both directions. Name: `site -- site`, in order."""
    SITE = "site"
    """Everything that crosses a site's edge."""


@dataclass(frozen=True, slots=True, order=True)
class Suspect:
    """One thing that may be broken."""

    part: Part
    name: str

    def __str__(self) -> str:
        return f"{self.part} {self.name}"


@dataclass(frozen=True, slots=True)
class Measured:
    """One directed fact of one night."""

    check: str
    """What was measured: a stable slug such as `connect.host`, `api.tls`, `dns.cache`."""
    source: str
    """Host, `api-server`, or `pod on NODE`."""
    target: str
    """Host, endpoint, server and name: as a reader would write it."""
    quality: Quality
    evidence: str
    """What was seen, in a reader's words."""
    suspects: frozenset[Suspect]
    """Everything whose failure alone would make this one fail. Never empty for what failed."""
    duration_ms: float | None = None
    symptom: str = ""
    """For a failure: `timeout`, `refused`, `wrong-answer`, `too-big`, `expired`, ...: one cause has mostly one."""

    @property
    def path(self) -> tuple[str, str, str]:
        """What identifies it from night to night."""
        return self.check, self.source, self.target
