"""Findings on a host that is being upgraded. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject
from poolkeeper.tasks.provider import ProviderError


def blocker(host: Host, id: str, observed: str, expected: str, next_step: str, *, source: str = "upgrade") -> Finding:
    """What keeps a host from going on, seen now."""
    evidence = Evidence(observed, expected, source, datetime.now(UTC))
    return Finding(id, Severity.BLOCKER, Subject("host", host.name), evidence, next_step)


def node_gone(host: Host) -> Finding:
    """Its Node was deleted."""
    return blocker(
        host,
        "upgrade.node.gone",
        f"there is no Node {host.node_name}",
        "the Node stays while its host is upgraded",
        "Find out who deleted it (audit log); onboard the host again.",
    )


def provider_refused(host: Host, error: ProviderError) -> Finding:
    """The provider said no, or nothing."""
    return blocker(
        host,
        "upgrade.provider.refused",
        str(error),
        "the provider answers",
        "Mend what the provider names, then start again: it looks first, and repeats no call blindly.",
    )
