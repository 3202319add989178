"""Where one node stands in a rollout, and what is to be done with it next. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from poolkeeper.tasks.cluster.claims import Claim, Phase, claim_of
from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject
from poolkeeper.tasks.rollout.goal import Goal
from poolkeeper.tasks.rollout.rollout_state import Intent


class Step(StrEnum):
    """What comes next."""

    NOTHING = "nothing"
    """It is at the goal, and nothing of this rollout is on it."""
    SKIP = "skip"
    """It is not ours to touch; the finding says why."""
    CLAIM = "claim"
    """Cordon it, then drain, change, prove, give back."""
    DRAIN = "drain"
    """It is taken; go on with the drain."""
    CHANGE = "change"
    """The host may be half changed, or a person's: drain what has come since, and go on with the change."""
    PROVE = "prove"
    """The goal is reached; show that the node works, and give it back."""


@dataclass(frozen=True, slots=True)
class NextAction:
    """The next step of one node, and why."""

    step: Step
    reason: str
    finding: Finding | None = None
    claim: Claim | None = None
    """Of this rollout, where an earlier run has left one."""


def next_action(
    host: Host,
    node: NodeRow | None,
    goal: Goal,
    *,
    intent: Intent | None,
    at_goal: bool,
    works_on_cordoned: bool,
    works_on_not_ready: bool,
    works_without_node: bool = False,
    now: datetime,
) -> NextAction:
    """What to do with a host's node.

    intent: this rollout's for the host, from the pool's Lease; a claim without one is not ours, whatever it says
    at_goal: what the goal asks for holds on host and node already
    """

    def skip(id: str, observed: str, expected: str, next_step: str, severity: Severity) -> NextAction:
        evidence = Evidence(observed, expected, "Node", now)
        return NextAction(Step.SKIP, observed, Finding(id, severity, Subject("host", host.name), evidence, next_step))

    if node is None and at_goal:
        return NextAction(Step.NOTHING, "at the goal already")
    if node is None and works_without_node:
        return NextAction(Step.CHANGE, "it has no Node any more")
    if node is None:
        next_step = "Onboard it, or take it out of the fleet file."
        return skip("rollout.node.missing", "it has no Node", "a Node", next_step, Severity.WARNING)
    if node.unread:
        next_step = f"Find out who writes that: `kubectl get node {node.name} -o yaml`; then run this again."
        observed = f"its Node object cannot be read: {node.unread}"
        return skip("rollout.node.unread", observed, "a Node as the API has it", next_step, Severity.BLOCKER)
    name, claim = node.name, claim_of(node)
    if claim is not None and claim.rollout != goal.id:
        return _others(host, claim, name, now)
    if claim is not None and intent is None:
        return skip(
            "rollout.claim.unknown",
            f"its annotation says that run {claim.run} was {claim.phase} it, and the pool's Lease does not say so",
            "a claim that a run of ours has written",
            f"Find out who has written it (a restored backup, the audit log), then `poolkeeper release {name}`.",
            Severity.BLOCKER,
        )
    if claim is not None and intent is not None and intent.machine_id != node.machine_id:
        return skip(
            "rollout.node.other-machine",
            f"run {claim.run} had begun on machine id {intent.machine_id or 'unknown'}, and its Node tells"
            f" {node.machine_id or 'none'} now",
            "the machine that it was begun on",
            f"Find out which machine is which, then `poolkeeper release {name}`.",
            Severity.BLOCKER,
        )
    if claim is not None and not node.unschedulable and not at_goal:
        return skip(
            "rollout.node.uncordoned",
            f"someone has uncordoned it while it was {claim.phase} (run {claim.run})",
            "cordoned until it is proven",
            f"Release it, `poolkeeper release {name}`, and run this again: it begins anew there, with a drain.",
            Severity.BLOCKER,
        )
    if claim is not None:
        return _resumed(claim, at_goal=at_goal)
    if at_goal:
        return NextAction(Step.NOTHING, "at the goal already")
    if node.cordoned_by_us:
        next_step = "Run onboarding for it first."
        return skip("rollout.node.quarantined", "it is not accepted yet", "accepted", next_step, Severity.WARNING)
    if node.unschedulable and not works_on_cordoned:
        return skip(
            "rollout.node.cordoned",
            "someone else has cordoned it",
            "schedulable, or cordoned by us",
            f"If nobody needs that any more, `kubectl uncordon {name}`, and run this again.",
            Severity.WARNING,
        )
    if not node.ready and not works_on_not_ready:
        return skip(
            "rollout.node.not-ready",
            f"Ready is {'Unknown' if node.ready is None else 'False'}: {node.ready_message}",
            "Ready is True",
            f"Mend it first: `kubectl describe node {name}`, and `journalctl -u kubelet -n 100` on the host.",
            Severity.BLOCKER,
        )
    return NextAction(Step.CLAIM, "not at the goal yet")


def _resumed(claim: Claim, *, at_goal: bool) -> NextAction:
    if claim.phase is Phase.DRAINING and not at_goal:
        return NextAction(Step.DRAIN, f"run {claim.run} was draining it since {claim.since}", claim=claim)
    if at_goal:
        return NextAction(Step.PROVE, f"run {claim.run} has changed it and not given it back", claim=claim)
    return NextAction(Step.CHANGE, f"run {claim.run} left it {claim.phase} since {claim.since}", claim=claim)


def _others(host: Host, claim: Claim, node: str, now: datetime) -> NextAction:
    with_a_person = claim.phase is Phase.WITH_A_PERSON
    observed = (
        f"a person has it since {claim.since} (flow {claim.flow}, run {claim.run})"
        if with_a_person
        else f"run {claim.run} of flow {claim.flow} has left it {claim.phase} since {claim.since}"
    )
    next_step = (
        f"When the work is done: `poolkeeper run {claim.flow} -p hosts={host.name} -p back=true -p dry_run=false`."
        if with_a_person
        else "Wait for that run, or let `poolkeeper run recover -p dry_run=false` finish it or give it back."
    )
    evidence = Evidence(observed, "no other rollout on the node", f"annotation of node {node}", now)
    finding = Finding("rollout.node.claimed", Severity.BLOCKER, Subject("host", host.name), evidence, next_step)
    return NextAction(Step.SKIP, observed, finding)
