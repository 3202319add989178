import asyncio

import pytest

from poolkeeper.tasks.cluster import ApiError, ClusterUnreachable
from poolkeeper.tasks.cluster.eviction import Eviction, EvictionState
from poolkeeper.tasks.hosts import HostError
from poolkeeper.tasks.hosts.errors import CommandTimeout, ConnectionLost
from poolkeeper.tasks.outcomes import (
    Change,
    ChangeState,
    Evidence,
    Finding,
    Gate,
    GateRefused,
    Refusal,
    Severity,
    Subject,
    failed_by,
    failed_if,
    named,
)
from poolkeeper.tasks.provider.interface import OutcomeUnknown

HOST = Subject("host", "fra1-n01")
NO = Refusal("freeze", "the cluster is frozen", "Run `poolkeeper thaw`.")


class Machine:
    """Counts how often it was changed, after as many failures as are wanted."""

    def __init__(self, *errors: BaseException) -> None:
        self.changed = 0
        self._errors = list(errors)

    async def change(self) -> int:
        if self._errors:
            raise self._errors.pop(0)
        self.changed += 1
        return self.changed


async def yes(change: Change) -> Refusal | None:
    return None


async def no(change: Change) -> Refusal | None:
    return NO


def rows(gate: Gate) -> list[tuple[str, str, str, int]]:
    return [(one.change.sentence, str(one.state), one.why, one.attempts) for one in gate.records]


async def test_a_change_is_made_and_heard_of_before_and_after():
    machine, heard = Machine(), []
    gate = Gate(
        [yes], dry_run=False, on_change=lambda one: heard.append((one.change.sentence, one.state, machine.changed))
    )
    assert await gate.change(HOST, "join it", machine.change, if_dry_run=0) == 1
    assert heard == [("join it", ChangeState.UNKNOWN, 0), ("join it", ChangeState.DONE, 1)]
    assert rows(gate) == [("join it", "done", "", 1)]


async def test_a_dry_run_walks_on_with_what_the_change_would_have_brought():
    machine = Machine()
    gate = Gate([yes], dry_run=True)
    assert await gate.change(HOST, "join it", machine.change, if_dry_run=7) == 7
    assert await gate.unless_dry_run(machine.change, if_dry_run=8) == 8
    assert (rows(gate), gate.sentences, machine.changed) == ([("join it", "dry run", "", 1)], ["join it"], 0)


async def test_what_goes_with_changes_is_done_where_they_are_made():
    machine = Machine()
    assert await Gate(dry_run=False).unless_dry_run(machine.change, if_dry_run=8) == 1
    assert await Gate(dry_run=False).watch(machine.change) == 2
    assert Gate(dry_run=False).seen("as it is", if_dry_run="as it would be") == "as it is"


async def test_a_dry_run_waits_for_nobody_and_judges_nothing():
    gate, machine = Gate(), Machine()
    watching = asyncio.create_task(gate.watch(machine.change))
    assert gate.seen("as it is", if_dry_run="as it would be") == "as it would be"
    done, _ = await asyncio.wait([watching], timeout=0.05)
    watching.cancel()
    assert (done, machine.changed) == (set(), 0)


async def test_an_objection_stops_the_change():
    machine = Machine()
    gate = Gate([yes, no], dry_run=False)
    with pytest.raises(GateRefused) as refused:
        await gate.change(HOST, "join it", machine.change, if_dry_run=0)
    assert (machine.changed, rows(gate)) == (0, [("join it", "refused", "the cluster is frozen", 1)])
    assert gate.sentences == []
    assert refused.value.summary == "refused to join it: the cluster is frozen. Run `poolkeeper thaw`."


async def test_a_dry_run_records_the_objection_and_goes_on():
    gate = Gate([no], dry_run=True)
    assert await gate.change(HOST, "join it", Machine().change, if_dry_run=7) == 7
    assert rows(gate) == [("join it", "dry run", "the cluster is frozen", 1)]
    assert gate.objections(Subject("node", "fra1-n01"), HOST) == [NO]
    assert gate.objections(Subject("host", "fra1-n02")) == []


async def test_guards_are_asked_anew_before_every_change():
    frozen = False

    async def guard(change: Change) -> Refusal | None:
        return NO if frozen else None

    machine = Machine()
    gate = Gate([guard], dry_run=False)
    await gate.change(HOST, "first", machine.change, if_dry_run=0)
    frozen = True
    with pytest.raises(GateRefused):
        await gate.change(HOST, "second", machine.change, if_dry_run=0)
    assert machine.changed == 1


async def test_unless_it_is_told_otherwise_a_gate_is_a_dry_run():
    machine = Machine()
    await Gate().change(HOST, "join it", machine.change, if_dry_run=0)
    assert machine.changed == 0


@pytest.mark.parametrize(
    ("error", "state"),
    [
        pytest.param(HostError("no"), "failed", id="the host says that it went wrong"),
        pytest.param(ValueError("?"), "failed", id="nobody foresaw it"),
        pytest.param(ConnectionLost("cut"), "unknown", id="the line was cut while it ran"),
        pytest.param(CommandTimeout("60 s"), "unknown", id="it did not end in time"),
        pytest.param(TimeoutError(), "unknown", id="a deadline of ours"),
        pytest.param(ClusterUnreachable("no answer"), "unknown", id="the answer was lost"),
        pytest.param(ApiError(403, "PATCH x", None, None), "refused", id="no right"),
        pytest.param(ApiError(409, "PATCH x", None, None), "refused", id="someone else was quicker"),
        pytest.param(ApiError(408, "PATCH x", None, None), "unknown", id="a proxy gave up"),
        pytest.param(ApiError(500, "PATCH x", None, None), "unknown", id="the API server is unwell"),
        pytest.param(OutcomeUnknown("no answer"), "unknown", id="the provider's answer was lost"),
        pytest.param(asyncio.CancelledError(), "unknown", id="cut off"),
    ],
)
async def test_how_a_change_ended_is_known_by_its_error(error: BaseException, state: str):
    gate = Gate(dry_run=False)
    with pytest.raises(type(error)):
        await gate.change(HOST, "join it", Machine(error).change, if_dry_run=0, one_request=True)
    assert [(one.state, one.why.startswith(type(error).__name__)) for one in gate.records] == [(state, True)]


async def test_what_is_tried_again_stays_one_change():
    machine = Machine(HostError("once"), ConnectionLost("twice"))
    gate = Gate(dry_run=False)
    for error in (HostError, ConnectionLost):
        with pytest.raises(error):
            await gate.change(HOST, "join it", machine.change, if_dry_run=0)
    await gate.change(HOST, "join it", machine.change, if_dry_run=0)
    assert rows(gate) == [("join it", "done", "", 3)]
    await gate.change(HOST, "join it", machine.change, if_dry_run=0)  # and done again, it is another one
    assert rows(gate) == [("join it", "done", "", 3), ("join it", "done", "", 1)]


async def test_what_is_refused_after_other_steps_is_not_told_as_without_effect():
    """The unit was started, and only then was the cordon refused."""
    gate = Gate(dry_run=False)
    with pytest.raises(ApiError):
        await gate.change(HOST, "join it", Machine(ApiError(403, "PATCH x", None, None)).change, if_dry_run=0)
    assert [one.state for one in gate.records] == [ChangeState.FAILED]


async def test_a_later_refusal_does_not_take_back_what_may_have_taken_effect():
    frozen = False

    async def guard(change: Change) -> Refusal | None:
        return NO if frozen else None

    gate = Gate([guard], dry_run=False)
    with pytest.raises(ClusterUnreachable):
        await gate.change(HOST, "cordon it", Machine(ClusterUnreachable("no answer")).change, if_dry_run=0)
    frozen = True
    with pytest.raises(GateRefused):
        await gate.change(HOST, "cordon it", Machine().change, if_dry_run=0)
    why = f"{named(ClusterUnreachable('no answer'))}; then refused: the cluster is frozen"
    assert rows(gate) == [("cordon it", "unknown", why, 2)]
    assert gate.sentences == ["cordon it"]


async def test_of_two_alike_at_once_each_has_its_own_record():
    gate, has_begun, may_end, machine = Gate(dry_run=False), asyncio.Event(), asyncio.Event(), Machine()

    async def slow() -> None:
        has_begun.set()
        await may_end.wait()

    first = asyncio.create_task(gate.change(HOST, "evict it", slow, if_dry_run=None))
    await has_begun.wait()
    await gate.change(HOST, "evict it", machine.change, if_dry_run=0, end=lambda value: (ChangeState.REFUSED, "budget"))
    may_end.set()
    await first
    assert rows(gate) == [("evict it", "done", "", 1), ("evict it", "refused", "budget", 1)]


A_BLOCKER = Finding("upgrade.failed", Severity.BLOCKER, HOST, Evidence("exit status 1", "0", "unit"), "Look at it.")


@pytest.mark.parametrize(
    ("end", "ended"),
    [
        pytest.param(failed_if(""), ("done", ""), id="no reason against it"),
        pytest.param(failed_if("not in this pool"), ("failed", "not in this pool"), id="a reason"),
        pytest.param(failed_by(()), ("done", ""), id="no finding"),
        pytest.param(failed_by([A_BLOCKER]), ("failed", "upgrade.failed: exit status 1"), id="a blocker"),
        pytest.param(Eviction(EvictionState.ACCEPTED).end, ("done", ""), id="evicted"),
        pytest.param(Eviction(EvictionState.GONE).end, ("done", ""), id="gone already"),
        pytest.param(Eviction(EvictionState.BLOCKED, "budget").end, ("refused", "budget"), id="a budget's no"),
        pytest.param(Eviction(EvictionState.NEVER, "two").end, ("refused", "two"), id="two budgets"),
        pytest.param(Eviction(EvictionState.LATER, "away").end, ("unknown", "away"), id="no answer"),
    ],
)
async def test_how_a_change_ended_is_known_by_its_answer(end: tuple[ChangeState, str], ended: tuple[str, str]):
    gate = Gate(dry_run=False)
    await gate.change(HOST, "join it", Machine().change, if_dry_run=0, end=lambda value: end)
    assert [(str(one.state), one.why) for one in gate.records] == [ended]
