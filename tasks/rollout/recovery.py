"""Recovers what killed rollouts have left on hosts, as `remedies` decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

from poolkeeper.tasks.cluster.claims import Phase
from poolkeeper.tasks.cluster.leases import HeldLease, LeaseHeld, LeaseLost
from poolkeeper.tasks.outcomes import CannotGoOn, Evidence, Finding, HostOutcome, HostState, Severity, Subject, named
from poolkeeper.tasks.rollout.host_runner import HostRunner
from poolkeeper.tasks.rollout.plan import PlannedHost
from poolkeeper.tasks.rollout.remedies import Found, Remedy
from poolkeeper.tasks.rollout.rollout_state import with_intent, with_spent, without_member
from poolkeeper.tasks.rollout.run import RolloutRun
from poolkeeper.tasks.runs.recording import Recorder


async def recover_pools(
    pools: Iterable[str], recover_one: Callable[[str], AsyncIterator[HostOutcome]]
) -> tuple[list[HostOutcome], str]:
    """Every pool in turn: the outcomes of hosts, and why a pool could not be recovered; empty where each could.

    Invariant: what ends one pool's recovery ends no other pool's.
    """
    outcomes, failed = list[HostOutcome](), list[str]()
    for pool in pools:
        try:
            async for outcome in recover_one(pool):
                outcomes.append(outcome)
        except CannotGoOn as error:
            failed.append(f"pool {pool}: {error.summary}")
        except OSError as error:
            failed.append(f"pool {pool}: {named(error)}")
    return outcomes, "; ".join(failed)


async def recover_pool(
    run: RolloutRun,
    finishes: Mapping[str, bool],
    recover_host: Callable[[Found, HeldLease], Awaitable[HostOutcome]],
) -> AsyncIterator[HostOutcome]:
    """What killed rollouts have left in the run's pool: each host's outcome as soon as it is known.

    finishes: flows whose changes can be finished -> whether that needs no Node
    Invariant: no host's error ends another host's recovery. Only the loss of the pool's lease ends all of it.
    Raises LeaseLost, ClusterUnreachable and ApiError.
    """
    found = await run.leftovers(finishes)
    if not found and not await run.lease_is_held():
        return
    try:
        async with run.recovery_lease() as lease:
            await run.read_again()  # a living run may have ended while this one waited for the lease
            for one in await run.leftovers(finishes):
                try:
                    outcome = await recover_host(one, lease)
                except LeaseLost:
                    raise
                except Exception as error:
                    outcome = run.aborted(one.host, error)
                yield run.gate.seen(outcome, if_dry_run=planned(one, outcome, run.lease_holder))
    except LeaseHeld as held:
        for one in found:
            yield held_by_living_run(one, held, run.recorder)


async def recover(
    one: Found,
    runner: HostRunner,
    lease: HeldLease,
    run_host: Callable[[PlannedHost], Awaitable[HostOutcome]],
    postponed: Callable[[], Awaitable[str]],
) -> HostOutcome:
    """Finish one host, return its node to service, or skip it. A failure counts in its rollout's failure budget.

    postponed: why a host may not be finished now, such as its window; empty: it may
    Raises LeaseLost, ClusterUnreachable and ApiError.
    """
    if one.remedy is Remedy.SKIP:
        return skipped(one, runner.recorder)
    if one.remedy is Remedy.FORGET:
        await lease.change(lambda note: with_intent(note, one.goal.id, one.host.name, None))
        return HostOutcome(one.host.name, HostState.DONE, "nothing was started on it")
    if one.remedy is Remedy.RETURN:
        return await runner.recover_unchanged(one.host)
    if why := await postponed():
        return skipped(replace(one, finding=_waits(one, why)), runner.recorder)
    if runner.work.works_without_node:
        await lease.change(lambda note: without_member(note, one.host.node_name))
    outcome = await run_host(PlannedHost(one.host, 1, 0, "half changed", half_done=True))
    if outcome.state is HostState.FAILED:
        await lease.change(lambda note: with_spent(note, one.goal.id, outcome.name, outcome.summary[:200]))
    return outcome


def unreachable(one: Found, why: str) -> Found:
    """A host whose rollout had a goal that cannot be reached."""
    evidence = Evidence(f"half changed by {one.goal.flow}: {why}", "a goal that can be reached", "pool's Lease")
    next_step = f"Run `poolkeeper release {one.host.node_name}`, then {one.goal.flow} with a goal that can be reached."
    finding = Finding("recover.goal", Severity.BLOCKER, Subject("host", one.host.name), evidence, next_step)
    return replace(one, remedy=Remedy.SKIP, finding=finding)


def _waits(one: Found, why: str) -> Finding:
    evidence = Evidence(f"half changed by {one.goal.flow}, and may not be finished now: {why}", "finished", "recovery")
    next_step = f"Run `poolkeeper run recover --apply` again later. To finish it now, start {one.goal.flow} for it."
    return Finding("recover.waits", Severity.WARNING, Subject("host", one.host.name), evidence, next_step)


def planned(one: Found, outcome: HostOutcome, lease_holder: str) -> HostOutcome:
    """A host's outcome in a dry run.

    lease_holder: who holds the pool's lease; empty: nobody. A dry run does not wait to see whether that run still lives
    """
    if outcome.state in (HostState.DONE, HostState.PLANNED):
        outcome = replace(outcome, state=HostState.PLANNED, summary=f"{one.remedy}: {one.progress}")
    if not lease_holder or one.intent is None:
        return outcome
    held = f"the pool's lease is held by {lease_holder}; nothing is done while that run renews it, and afterwards"
    return replace(outcome, summary=f"{held}: {outcome.summary}")


def skipped(one: Found, recorder: Recorder) -> HostOutcome:
    """A host that is with a person, or that a person has to check."""
    findings = () if one.finding is None else (one.finding,)
    recorder.findings(one.host.name, "look", findings)
    with_a_person = one.intent is not None and one.claim is not None and one.claim.phase is Phase.WITH_A_PERSON
    state = HostState.HANDED_OVER if with_a_person else HostState.STOPPED
    return HostOutcome(one.host.name, state, findings[0].evidence.observed if findings else "", findings)


def held_by_living_run(one: Found, held: LeaseHeld, recorder: Recorder) -> HostOutcome:
    """A host that a living run works on. A claim without an intent is no living run's, and is reported as skipped."""
    if one.intent is None:
        return skipped(one, recorder)
    return HostOutcome(one.host.name, HostState.DONE, f"a living run works on it: {held}")
