"""Carrying out what `recovery` decides of a node that a rollout has left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tasks.cluster.leases import HeldLease, LeaseHeld
from tasks.cluster.marks import Phase
from tasks.outcomes import Gate, HostOutcome, HostState, Subject
from tasks.rollout.carrying import Carrier
from tasks.rollout.memory import members_of, remembered, with_remembered, without_member
from tasks.rollout.plan import PlannedHost
from tasks.rollout.recovery import Found, Remedy
from tasks.runs.recording import Recorder


async def recover(
    one: Found, carrier: Carrier, lease: HeldLease, carry: Callable[[PlannedHost], Awaitable[HostOutcome]]
) -> HostOutcome:
    """Finish one host, give its node back, or leave it and tell why. A failure counts in its rollout's budget.

    Raises LeaseLost, ClusterUnreachable and ApiError.
    """
    if one.remedy is Remedy.LEAVE:
        return left_alone(one, carrier.recorder)
    if one.remedy is Remedy.GIVE_BACK:
        return await carrier.give_back_untouched(one.host, HostState.DONE, "nothing on it was changed")
    if carrier.work.works_without_node and one.node.name in members_of(lease.note):
        await lease.write(without_member(lease.note, one.node.name))
    outcome = await carry(PlannedHost(one.host, 1, 0, "half changed", half_done=True))
    if outcome.state is HostState.FAILED:
        spent = remembered(lease.note, one.mark.rollout, "spent") | {outcome.name: outcome.summary[:200]}
        await lease.write(with_remembered(lease.note, one.mark.rollout, "spent", spent))
    return outcome


async def rehearse(one: Found, gate: Gate, recorder: Recorder) -> HostOutcome:
    """A dry run's word on one node."""
    if one.remedy is Remedy.LEAVE:
        return left_alone(one, recorder)
    node = one.host.node_name
    sentence = f"give node {node} back" if one.remedy is Remedy.GIVE_BACK else f"finish host {one.host.name}"
    await gate.rehearse(Subject("node", node), sentence)
    return HostOutcome(one.host.name, HostState.PLANNED, f"{one.remedy}: {one.mark.phase} since {one.mark.since}")


def left_alone(one: Found, recorder: Recorder) -> HostOutcome:
    """A person's node, or one that a person has to look at."""
    findings = () if one.finding is None else (one.finding,)
    recorder.findings(one.host.name, "look", findings)
    state = HostState.HANDED_OVER if one.mark.phase is Phase.WITH_A_PERSON else HostState.STOPPED
    return HostOutcome(one.host.name, state, findings[0].evidence.observed if findings else "", findings)


def at_work(one: Found, held: LeaseHeld) -> HostOutcome:
    """A node that a living run works on: nothing was left."""
    return HostOutcome(one.host.name, HostState.DONE, f"a living run works on it: {held}")
