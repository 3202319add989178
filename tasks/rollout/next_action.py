"""What a rollout does with one host next, from the state of its Node. Pure."""

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
    """What a rollout does with a host next."""

    NOTHING = "nothing"
    """The host is at the goal, and nothing of this rollout is on it."""
    SKIP = "skip"
    """The host must not be changed; the finding says why."""
    CLAIM = "claim"
    """Cordon the node, then drain, change, prove, return to service."""
    DRAIN = "drain"
    """The node is claimed; continue the drain."""
    CHANGE = "change"
    """The host may be half changed, or be with a person: drain it again, and continue the change."""
    PROVE = "prove"
    """The host is at the goal; prove that the node works, and return it to service."""


@dataclass(frozen=True, slots=True)
class NextAction:
    """The next step of one host, and why."""

    step: Step
    reason: str
    finding: Finding | None = None
    claim: Claim | None = None
    """This rollout's claim, where an earlier run has left one."""


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
    """The next step of a host.

    Invariant: a claim without an intent on the pool's Lease makes nothing happen, whatever it says.
    intent: this rollout's for the host, from the pool's Lease
    at_goal: host and node are at the goal already
    """

    def skip(id: str, observed: str, expected: str, next_step: str, severity: Severity) -> NextAction:
        evidence = Evidence(observed, expected, "Node", now)
        return NextAction(Step.SKIP, observed, Finding(id, severity, Subject("host", host.name), evidence, next_step))

    if node is None and at_goal:
        return NextAction(Step.NOTHING, "at the goal already")
    if node is None and works_without_node:
        return NextAction(Step.CHANGE, "its Node is gone")
    if node is None:
        next_step = "Onboard it, or remove it from the fleet file."
        return skip("rollout.node.missing", "it has no Node", "a Node", next_step, Severity.WARNING)
    if node.unread:
        next_step = f"Find out what wrote it (`kubectl get node {node.name} -o yaml`); then run this again."
        observed = f"its Node object cannot be read: {node.unread}"
        return skip("rollout.node.unread", observed, "a well-formed Node object", next_step, Severity.BLOCKER)
    name, claim = node.name, claim_of(node)
    if claim is not None and claim.rollout != goal.id:
        return _claimed_by_others(host, claim, name, now)
    if claim is not None and intent is None:
        return skip(
            "rollout.claim.unknown",
            f"its Node has a claim of run {claim.run} in phase {claim.phase}, and the pool's Lease has no such intent",
            "a claim written by a rollout that the pool's Lease knows",
            f"Find out what wrote the claim (audit log; a restored backup), then `poolkeeper release {name}`.",
            Severity.BLOCKER,
        )
    if claim is not None and intent is not None and intent.machine_id != node.machine_id:
        return skip(
            "rollout.node.other-machine",
            f"run {claim.run} started on machine id {intent.machine_id or 'unknown'}, and its Node reports"
            f" {node.machine_id or 'none'} now",
            "the machine that the run started on",
            f"Find out which machine has this Node, then `poolkeeper release {name}`.",
            Severity.BLOCKER,
        )
    if claim is not None and not node.unschedulable and not at_goal:
        return skip(
            "rollout.node.uncordoned",
            f"someone has uncordoned its node in phase {claim.phase} of run {claim.run}",
            "cordoned until its proof",
            f"Run `poolkeeper release {name}`, then this again: it starts over with a drain.",
            Severity.BLOCKER,
        )
    if claim is not None:
        return _resumed(claim, at_goal=at_goal)
    if at_goal:
        return NextAction(Step.NOTHING, "at the goal already")
    if node.cordoned_by_us:
        next_step = "Run the flow onboard for it first."
        return skip("rollout.node.quarantined", "it is not accepted yet", "accepted", next_step, Severity.WARNING)
    if node.unschedulable and not works_on_cordoned:
        return skip(
            "rollout.node.cordoned",
            "someone else has cordoned it",
            "schedulable, or cordoned by us",
            f"If the cordon is not needed any more, `kubectl uncordon {name}`, and run this again.",
            Severity.WARNING,
        )
    if not node.ready and not works_on_not_ready:
        return skip(
            "rollout.node.not-ready",
            f"Ready is {'Unknown' if node.ready is None else 'False'}: {node.ready_message}",
            "Ready is True",
            f"Repair it first: `kubectl describe node {name}`, and `journalctl -u kubelet -n 100` on the host.",
            Severity.BLOCKER,
        )
    return NextAction(Step.CLAIM, "not at the goal yet")


def _resumed(claim: Claim, *, at_goal: bool) -> NextAction:
    if claim.phase is Phase.DRAINING and not at_goal:
        return NextAction(Step.DRAIN, f"run {claim.run} has been draining it since {claim.since}", claim=claim)
    if at_goal:
        return NextAction(Step.PROVE, f"run {claim.run} has changed it and not returned it to service", claim=claim)
    return NextAction(Step.CHANGE, f"run {claim.run} left it {claim.phase} since {claim.since}", claim=claim)


def _claimed_by_others(host: Host, claim: Claim, node: str, now: datetime) -> NextAction:
    with_a_person = claim.phase is Phase.WITH_A_PERSON
    observed = (
        f"it is with a person since {claim.since} (flow {claim.flow}, run {claim.run})"
        if with_a_person
        else f"run {claim.run} of flow {claim.flow} has left it {claim.phase} since {claim.since}"
    )
    next_step = (
        f"When the work is done: `poolkeeper run {claim.flow} --hosts {host.name} --back --apply`."
        if with_a_person
        else "Wait for that run. If it was killed: `poolkeeper run recover --apply`."
    )
    evidence = Evidence(observed, "no claim of another rollout", f"annotation of node {node}", now)
    finding = Finding("rollout.node.claimed", Severity.BLOCKER, Subject("host", host.name), evidence, next_step)
    return NextAction(Step.SKIP, observed, finding)
