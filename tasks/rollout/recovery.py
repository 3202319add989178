"""What a run that was killed has left, and what becomes of it: finished, given back, or left and told. Pure.

Only what carries our marks is looked at, and only in pools whose lease nobody renews. Nothing new is begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tasks.cluster.marks import Mark, Phase, mark_of
from tasks.cluster.nodes import NodeRow
from tasks.fleet.model import Host
from tasks.outcomes import Evidence, Finding, Severity, Subject
from tasks.rollout.goal import Goal


class Remedy(StrEnum):
    """What becomes of one node."""

    GIVE_BACK = "give back"
    """Nothing on the host was changed: remove mark and cordon."""
    FINISH = "finish"
    """The host may be half changed: go on with the change, prove it, give it back."""
    LEAVE = "leave"
    """A person's, or for a person to decide; the finding says what."""


@dataclass(frozen=True, slots=True)
class Found:
    """One node that a rollout has left something on."""

    host: Host
    node: NodeRow
    mark: Mark
    remedy: Remedy
    finding: Finding | None = None

    @property
    def goal(self) -> Goal:
        """The rollout that it belongs to, as its mark tells."""
        return Goal(self.mark.flow, self.host.pool.name, self.mark.goal)


def left_behind(
    hosts: Iterable[Host], nodes: Mapping[str, NodeRow], flows: Iterable[str], now: datetime
) -> tuple[Found, ...]:
    """What rollouts have left on the nodes of these hosts. flows: those whose changes can be finished."""
    known = frozenset(flows)
    found = []
    for host in hosts:
        node = nodes.get(host.node_name)
        mark = mark_of(node) if node is not None else None
        if node is not None and mark is not None:
            found.append(_found(host, node, mark, known, now))
    return tuple(found)


def _found(host: Host, node: NodeRow, mark: Mark, flows: frozenset[str], now: datetime) -> Found:
    def left(id: str, observed: str, next_step: str, severity: Severity) -> Found:
        evidence = Evidence(observed, "no mark of a rollout", f"annotation of node {node.name}", now)
        finding = Finding(id, severity, Subject("host", host.name), evidence, next_step)
        return Found(host, node, mark, Remedy.LEAVE, finding)

    if Goal(mark.flow, host.pool.name, mark.goal).id != mark.rollout:
        return left(
            "recover.mark.unreadable",
            "the mark on its node cannot be read, or was changed by hand",
            f"See `kubectl get node {node.name} -o yaml`; when nobody works on it, `poolkeeper release {node.name}`.",
            Severity.BLOCKER,
        )
    if mark.phase is Phase.WITH_A_PERSON:
        return left(
            "recover.with-a-person",
            f"a person has it since {mark.since}",
            f"When the work is done: `poolkeeper run {mark.flow} -p hosts={host.name} -p back=true -p dry_run=false`.",
            Severity.INFO,
        )
    if mark.phase is Phase.FAILED:
        return left(
            "recover.failed",
            f"flow {mark.flow} failed on it, in run {mark.run}, and keeps it cordoned since {mark.since}",
            f"Mend it, then start {mark.flow} again: it proves the node and gives it back.",
            Severity.WARNING,
        )
    if mark.phase is Phase.DRAINING:
        return Found(host, node, mark, Remedy.GIVE_BACK)
    if mark.flow not in flows:
        return left(
            "recover.unknown-flow",
            f"flow {mark.flow} was changing it, which this version cannot finish",
            f"Start {mark.flow} again from the installation that began it.",
            Severity.BLOCKER,
        )
    return Found(host, node, mark, Remedy.FINISH)
