import pytest

from poolkeeper.tasks.outcomes import Change, Done, Gate, GateRefused, Planned, Refusal, Subject

HOST = Subject("host", "fra1-n01")
NO = Refusal("freeze", "the cluster is frozen", "Run `poolkeeper thaw`.")


class Machine:
    """Counts how often it was changed."""

    def __init__(self) -> None:
        self.changed = 0

    async def change(self) -> int:
        self.changed += 1
        return self.changed


async def yes(change: Change) -> Refusal | None:
    return None


async def no(change: Change) -> Refusal | None:
    return NO


async def test_a_change_is_made_and_told():
    machine, told = Machine(), []
    gate = Gate([yes], dry_run=False, told=told.append)
    assert await gate.change(HOST, "join it", machine.change) == Done(Change(HOST, "join it"), 1)
    assert told == gate.changes == [Change(HOST, "join it")]


async def test_a_dry_run_tells_the_same_and_changes_nothing():
    machine = Machine()
    gate = Gate([yes], dry_run=True)
    assert await gate.change(HOST, "join it", machine.change) == Planned(Change(HOST, "join it"))
    assert (gate.changes, machine.changed) == ([Change(HOST, "join it")], 0)


async def test_an_objection_stops_the_change_before_it_is_told():
    machine = Machine()
    gate = Gate([yes, no], dry_run=False)
    with pytest.raises(GateRefused) as refused:
        await gate.change(HOST, "join it", machine.change)
    assert (machine.changed, gate.changes) == (0, [])
    assert str(refused.value) == "refused to join it: the cluster is frozen. Run `poolkeeper thaw`."


async def test_a_dry_run_carries_the_objection():
    answer = await Gate([no], dry_run=True).change(HOST, "join it", Machine().change)
    assert answer == Planned(Change(HOST, "join it"), NO)


async def test_guards_are_asked_anew_before_every_change():
    frozen = False

    async def guard(change: Change) -> Refusal | None:
        return NO if frozen else None

    machine = Machine()
    gate = Gate([guard], dry_run=False)
    await gate.change(HOST, "first", machine.change)
    frozen = True
    with pytest.raises(GateRefused):
        await gate.change(HOST, "second", machine.change)
    assert machine.changed == 1


async def test_without_a_word_a_gate_is_a_dry_run():
    machine = Machine()
    await Gate().change(HOST, "join it", machine.change)
    assert machine.changed == 0
