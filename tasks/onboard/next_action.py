"""What onboarding does next with a host, decided from the host and its Node and from no record of an earlier run. Pure.

So a run can be started again at any time: a finished host is skipped, a half-joined host continues where its join
stopped, and a machine that is not the declared one stops for the operator.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from poolkeeper.tasks.cluster.claims import claim_of
from poolkeeper.tasks.cluster.nodes import CORDON, MACHINE_ID, NodeRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.outcomes import Evidence, Finding, Known, Observed, Severity, Subject

DEAD_AFTER = timedelta(minutes=5)
"""How long the Node of a reinstalled machine must have been not Ready before it may be deleted."""


class Step(StrEnum):
    """The next step with a host."""

    JOIN = "join"
    """It is not in the cluster, and no join of ours is on it."""
    UNDO_THEN_JOIN = "undo, then join"
    """An earlier join of ours has failed."""
    FOLLOW_JOIN = "follow the running join"
    """A join of ours runs, or has succeeded and its Node is not there yet."""
    ACCEPT = "accept"
    """It has joined and is not accepted yet: it stays in quarantine until then."""
    ADOPT = "adopt"
    """It became a node without us: prove it as it is. It is never cordoned, and never undone if its proof fails."""
    NOTHING = "nothing"
    """It is accepted."""
    STOP = "stop"
    """The operator has to decide; the finding says how."""


class JoinState(StrEnum):
    """The state of our join on the host."""

    NONE = "none"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NextAction:
    """What to do next with a host, and why."""

    step: Step
    reason: str
    finding: Finding | None = None
    stale_node: NodeRow | None = None
    """The dead Node that this machine had before its reinstallation; it is deleted before the join."""


def next_action(
    host: Host, machine_id: Observed[str], node: NodeRow | None, join: JoinState, now: datetime
) -> NextAction:
    """Decide from the host's machine id, its Node and the state of our join unit on it.

    A Node belongs to a host by its declared node name, verified by machine id.
    """
    here = Subject("host", host.name)
    seen = machine_id.value if isinstance(machine_id, Known) else ""
    if host.machine_id and seen and host.machine_id != seen:
        return _stop(
            "onboard.identity.machine-id",
            here,
            Evidence(seen, f"machine id {host.machine_id} as declared", "/etc/machine-id", now),
            f"If {host.name} was reinstalled on purpose, set machine_id: {seen} in the fleet file; if not,"
            " find out which machine answers at its address, before anything else.",
        )
    if join is JoinState.UNKNOWN:
        return _stop(
            "onboard.join.unknown",
            here,
            Evidence("unknown", "whether a join of ours, or its undo, runs on the host", "transient units", now),
            f"Log in to {host.name} and look at /run/poolkeeper and `systemctl status 'poolkeeper-*'`.",
        )
    if node is None:
        return _without_node(join)
    if node.unread:
        return _stop(
            "onboard.node.unread",
            here,
            Evidence(f"its Node object cannot be read: {node.unread}", "a Node as the API has it", "Node", now),
            f"Find out who writes that: `kubectl get node {node.name} -o yaml`; then run this again.",
        )
    if not seen:
        return _stop(
            "onboard.identity.unknown",
            here,
            Evidence("unknown", "a machine id to compare with the Node's", "/etc/machine-id", now),
            "Make /etc/machine-id readable on the host (`systemd-machine-id-setup` where it is missing).",
        )
    accepted_for = node.annotations.get(MACHINE_ID, "")
    registered = node.machine_id or accepted_for
    if not registered:
        return _unverified(node, join, here, now)
    declared = host.machine_id == seen
    if registered != seen and declared and _is_dead(node, now):
        if claim_of(node) is not None:
            return _worked_on(node)
        return NextAction(
            Step.UNDO_THEN_JOIN if join is JoinState.FAILED else Step.JOIN,
            "reinstalled, as the fleet file declares; its old Node is deleted first",
            stale_node=node,
        )
    if registered != seen or (accepted_for not in ("", seen) and not declared):
        belongs_to = registered if registered != seen else accepted_for
        return _stop(
            "onboard.identity.other-machine",
            here,
            Evidence(
                f"this host has machine id {seen}; Node {node.name} belongs to machine id {belongs_to}"
                f" and is {'Ready' if node.ready else 'not Ready'} since {node.ready_since or 'an unknown time'}",
                "the Node of that name is this host's, or there is none",
                "Node and /etc/machine-id",
                now,
            ),
            f"If {host.name} was reinstalled and the old machine is gone, set machine_id: {seen} in the fleet"
            " file and run this again once the Node has been not Ready for"
            f" {DEAD_AFTER.seconds // 60} minutes; if another machine has that name, give one of them another"
            " node_name.",
        )
    return _with_its_node(node, join, accepted=node.accepted and accepted_for in ("", seen))


def _with_its_node(node: NodeRow, join: JoinState, *, accepted: bool) -> NextAction:
    """The Node is this host's."""
    if accepted:
        return NextAction(Step.NOTHING, "accepted already")
    if claim_of(node) is not None:
        return _worked_on(node)
    if CORDON in node.annotations and not node.unschedulable:
        return NextAction(Step.ADOPT, "someone has uncordoned it during quarantine: it is proven as it is")
    in_service = not node.unschedulable and bool(node.ready)
    if join is JoinState.FAILED and (in_service or (node.unschedulable and not node.cordoned_by_us)):
        # someone took it into service, or cordoned it, after the failure: a reset would destroy what runs there now
        return NextAction(Step.ADOPT, "someone uses it although our join failed: it is proven as it is")
    if join is JoinState.FAILED:
        return NextAction(Step.UNDO_THEN_JOIN, "an earlier join failed")
    if join is JoinState.RUNNING:
        return NextAction(Step.FOLLOW_JOIN, "our join runs, and its Node is there")
    if join is JoinState.NONE and not node.cordoned_by_us:
        # also when it is not Ready: a cut line is no reason to cordon or reset a node that others have joined
        return NextAction(Step.ADOPT, "it became a node without poolkeeper: it is proven as it is")
    return NextAction(Step.ACCEPT, "joined, not accepted yet")


def _worked_on(node: NodeRow) -> NextAction:
    """A rollout has claimed the Node, also for a person's work on it."""
    claim = claim_of(node)
    observed = f"flow {claim.flow} has it: {claim.phase} since {claim.since}" if claim else "a rollout has it"
    finding = Finding(
        "onboard.node.rollout",
        Severity.BLOCKER,
        Subject("node", node.name),
        Evidence(observed, "no rollout on it", "Node"),
        f"Wait until that flow ends, or release the node: `poolkeeper release {node.name}`.",
    )
    return NextAction(Step.STOP, observed, finding)


def is_uncordoned(action: NextAction, node: NodeRow | None, machine_id: Observed[str]) -> bool:
    """Whether our join has made this machine's Node, and the Node is not cordoned: unproven, it takes workloads."""
    mine = own_node(node, machine_id)
    return action.step in (Step.FOLLOW_JOIN, Step.ACCEPT) and mine is not None and not mine.unschedulable


def _unverified(node: NodeRow, join: JoinState, here: Subject, now: datetime) -> NextAction:
    """A Node without a machine id: a kubelet sets it at once, so something else has made this Node."""
    if join in (JoinState.RUNNING, JoinState.SUCCEEDED):
        return NextAction(Step.FOLLOW_JOIN, f"our join: {join}; its Node has no machine id yet")
    return _stop(
        "onboard.identity.unverified",
        here,
        Evidence(f"Node {node.name} has no machine id", "the machine id of this host", "Node", now),
        f"Find out what it is (`kubectl describe node {node.name}`) and remove it, or choose another node_name.",
    )


def reason_not_to_undo(node: NodeRow, workloads: int) -> str:
    """Why a join of ours may no longer be undone; empty: it may. An undo never hits a machine that is in service.

    workloads: number of pods that a scheduler has placed on the node
    """
    if node.unread:
        return f"its Node object cannot be read: {node.unread}"
    if node.accepted:
        return "the node has been accepted since"
    if node.unschedulable and not node.cordoned_by_us:
        return "someone else has cordoned the node"
    if node.unschedulable:
        return f"{workloads} pods run on the node, placed before our cordon" if workloads else ""
    if CORDON in node.annotations:
        return "someone has uncordoned the node"
    return f"the node is not cordoned, and {workloads} pods run on it" if workloads else ""


def _is_dead(node: NodeRow, now: datetime) -> bool:
    """Not Ready for so long that neither a restart nor a cut line explains it."""
    return not node.ready and node.ready_since is not None and now - node.ready_since >= DEAD_AFTER


def own_node(node: NodeRow | None, machine_id: Observed[str]) -> NodeRow | None:
    """The Node, if it is certainly this machine's. The Node of another machine must survive the undo of our join."""
    mine = node is not None and isinstance(machine_id, Known) and node.machine_id == machine_id.value != ""
    return node if mine else None


def other_names(host: Host, nodes: Iterable[NodeRow], machine_id: Observed[str]) -> tuple[str, ...]:
    """Names of the Nodes that have this machine's id, without the declared one."""
    ours = machine_id.value if isinstance(machine_id, Known) else ""
    return tuple(row.name for row in nodes if ours and row.machine_id == ours and row.name != host.node_name)


def _without_node(join: JoinState) -> NextAction:
    if join is JoinState.FAILED:
        return NextAction(Step.UNDO_THEN_JOIN, "an earlier join failed")
    if join in (JoinState.RUNNING, JoinState.SUCCEEDED):
        return NextAction(Step.FOLLOW_JOIN, f"our join: {join}; its Node is not there yet")
    return NextAction(Step.JOIN, "not in the cluster yet")


def _stop(id: str, subject: Subject, evidence: Evidence, next_step: str) -> NextAction:
    finding = Finding(id, Severity.BLOCKER, subject, evidence, next_step)
    return NextAction(Step.STOP, evidence.observed, finding)
