"""Going to a goal minor by minor: which steps there are, whom each concerns, and one result for all of them. Pure.

The invariant: all hosts finish a step before any host begins the next one, and a step that an earlier run has left
unproven on a node comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.fleet.versions import minor_of, numbers
from poolkeeper.tasks.outcomes import Finding, HostOutcome, HostState, blockers
from poolkeeper.tasks.upgrade.goal import GoalInvalid, VersionGoal
from poolkeeper.tasks.upgrade.skew import SkewPlan


def minor_on_the_way(begun: Mapping[str, Any], goal: VersionGoal) -> str | None:
    """The minor that a rollout's goal asks for, if it is a step to a later goal; None: it is not.

    begun: the row of that rollout's goal
    """
    try:
        step = VersionGoal.of_row(begun)
    except GoalInvalid:
        return None
    if step.kubernetes is None or goal.kubernetes is None or step.packages or len(numbers(step.kubernetes)) > 2:
        return None
    return step.kubernetes.removeprefix("v") if numbers(step.kubernetes) < numbers(goal.kubernetes)[:2] else None


def unproven_steps(
    begun: Iterable[tuple[str, Mapping[str, Any]]],
    hosts: Mapping[str, Host],
    nodes: Mapping[str, NodeRow],
    goal: VersionGoal,
) -> dict[str, str]:
    """Node -> the step to the goal that an earlier run has begun on it and has not proven.

    begun: name of a host and the row of the upgrade's goal, one pair for each intent on the pool's Lease
    """
    found = {}
    for name, row in begun:
        node = nodes.get(hosts[name].node_name) if name in hosts else None
        step = minor_on_the_way(row, goal)
        if node is not None and step is not None and numbers(node.kubelet_version)[:2] <= numbers(step):
            found[node.name] = step
    return found


def with_unproven(steps: Mapping[str, Sequence[str]], unproven: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Node -> versions in turn, first the step that it has to prove again: its kubelet may have that version already.

    steps: as in `SkewPlan`; unproven: as of `unproven_steps`
    """
    ways = {node: tuple(way) for node, way in steps.items()}
    for node, step in unproven.items():
        if node in ways and step not in ways[node]:
            ways[node] = (step, *ways[node])
    return ways


def goals_in_turn(goal: VersionGoal, ways: Mapping[str, Sequence[str]]) -> list[VersionGoal]:
    """A goal for each step of any node, the oldest minor first; the goal itself last."""
    between = {step for way in ways.values() for step in way if step != goal.kubernetes}
    ordered = sorted(between, key=lambda step: minor_of(step) or (0, 0))
    return [*(replace(goal, kubernetes=step, packages={}) for step in ordered), goal]


def excluded_from(
    step: VersionGoal,
    goal: VersionGoal,
    hosts: Mapping[str, Host],
    skew: SkewPlan,
    ways: Mapping[str, Sequence[str]],
) -> dict[str, Finding | None]:
    """Hosts that do not take this step, and the finding that forbids it; None: the step is not on the host's way."""
    refused = {f.subject.name: f for f in blockers(skew.findings) if f.subject.kind == "node"}
    excluded: dict[str, Finding | None] = {}
    for name, host in hosts.items():
        if host.node_name in refused:
            excluded[name] = refused[host.node_name]
        elif step != goal and step.kubernetes not in ways.get(host.node_name, ()):
            excluded[name] = None
    return excluded


def is_done(outcomes: Iterable[HostOutcome], halted: str) -> bool:
    """Whether a step is done on every host, so that the next step may begin."""
    return not halted and all(outcome.state is HostState.DONE for outcome in outcomes)


def of_all_steps(outcomes: Iterable[HostOutcome], waiting: Iterable[str]) -> list[HostOutcome]:
    """One outcome a host: its first one that is not *done*, else its last one, with the findings of all steps.

    outcomes: of the steps in turn
    waiting: hosts of later steps, which were not touched because a step is not done
    """
    by_host: dict[str, HostOutcome] = {}
    for outcome in outcomes:
        before = by_host.get(outcome.name, outcome)
        shown = outcome if before.state is HostState.DONE else before
        findings = tuple(dict.fromkeys((*before.findings, *outcome.findings)))
        by_host[outcome.name] = replace(shown, findings=findings)
    for name in waiting:
        by_host[name] = HostOutcome(name, HostState.POSTPONED, "not started: the step before is not done on every host")
    return list(by_host.values())
