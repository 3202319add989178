"""Findings on a host that is being upgraded. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject


def blocker(host: Host, id: str, observed: str, expected: str, next_step: str, *, source: str = "upgrade") -> Finding:
    """What keeps a host from its upgrade or from serving again, seen now."""
    evidence = Evidence(observed, expected, source, datetime.now(UTC))
    return Finding(id, Severity.BLOCKER, Subject("host", host.name), evidence, next_step)


def node_gone(host: Host) -> Finding:
    """The host's Node was deleted."""
    return blocker(
        host,
        "upgrade.node.gone",
        f"there is no Node {host.node_name}",
        "the Node exists while its host is upgraded",
        "Find out who deleted the Node (the API server's audit log), then onboard the host again.",
        source="Node",
    )
