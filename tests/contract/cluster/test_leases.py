"""Leases: one holder, taken over only once it is silent, and fenced by time and fencing token."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster import leases as module
from poolkeeper.tasks.cluster.leases import (
    PATH,
    HeldLease,
    LeaseHeld,
    LeaseLost,
    LeaseUnfinished,
    acquire_lease,
    amend_lease,
    get_lease,
    hold_lease,
    lease_guard,
    list_leases,
)
from poolkeeper.tasks.outcomes import Change, Subject
from tests.contract.cluster.conftest import DEADLINE_S, SomeoneIsQuicker
from tests.logs import logged

SHORT_S = 1
NAME = "pool-general"
A_CHANGE = Change(Subject("node", "n1"), "cordon node n1")


@pytest.fixture(autouse=True)
def our_namespace(embedded: SomeoneIsQuicker) -> None:
    embedded.store.create("namespaces", {"metadata": {"name": "poolkeeper"}})


async def take(cluster: ClusterApi, holder: str, **settings: Any) -> HeldLease:
    async with asyncio.timeout(DEADLINE_S):
        return await acquire_lease(cluster, NAME, holder, **{"duration_s": SHORT_S, **settings})


def in_the_store(embedded: SomeoneIsQuicker) -> dict[str, Any]:
    return embedded.store.get("leases.coordination.k8s.io", NAME, "poolkeeper")


async def test_a_free_lease_is_taken_at_once_and_given_back(cluster: ClusterApi) -> None:
    async with hold_lease(cluster, NAME, "run-1", note=lambda _: {"rollout": "x"}, left=lambda note: note) as held:
        row = await get_lease(cluster, NAME)
        assert row is not None
        assert (row.holder, row.note, row.fencing_token) == ("run-1", {"rollout": "x"}, held.fencing_token)
        assert held.remaining_s > 30
    (given_back,) = (await list_leases(cluster)).values()
    assert (given_back.holder, given_back.note) == ("", {"rollout": "x"})
    assert held.remaining_s == 0
    again = await take(cluster, "run-2", note=lambda before: {**before, "run": 2})
    assert again.note == {"rollout": "x", "run": 2}
    assert again.fencing_token > held.fencing_token


async def test_a_holder_that_renews_is_left_alone(cluster: ClusterApi) -> None:
    async with hold_lease(cluster, NAME, "run-1", duration_s=SHORT_S):
        with pytest.raises(LeaseHeld, match="run-1"):
            await take(cluster, "run-2")


async def test_a_patient_one_gets_it_as_soon_as_it_is_given_back(cluster: ClusterApi) -> None:
    async with hold_lease(cluster, NAME, "run-1", duration_s=SHORT_S):
        waiting = asyncio.create_task(take(cluster, "run-2", patience_s=DEADLINE_S))
        with pytest.raises(TimeoutError):  # two lives of the lease: it is renewed all the while
            async with asyncio.timeout(2 * SHORT_S):
                await asyncio.shield(waiting)
    assert (await waiting).holder == "run-2"


async def test_a_silent_holder_is_taken_over_and_knows_it(cluster: ClusterApi, said: list[str]) -> None:
    silent = await take(cluster, "run-1")
    taken = await take(cluster, "run-2")
    assert taken.fencing_token > silent.fencing_token
    assert silent.remaining_s == 0, "its own clock says so before anyone else can have it"
    with pytest.raises(LeaseLost):
        await silent.renew()
    assert await lease_guard(cluster, silent)(A_CHANGE) is not None
    assert [line.partition(":")[0] for line in said] == [
        f"lease {NAME} is held by run-1; waiting until it is released or lapses",
        f"lease {NAME} was not renewed by run-1 for {SHORT_S} s",
    ]


async def test_a_lease_taken_by_force_is_lost_at_the_next_renewal(
    cluster: ClusterApi, embedded: SomeoneIsQuicker
) -> None:
    held = await take(cluster, "run-1", duration_s=60)
    embedded.meddle = lambda: embedded.store.modify(
        "leases.coordination.k8s.io",
        NAME,
        "poolkeeper",
        lambda lease: {**lease, "spec": {**lease["spec"], "holderIdentity": "run-2"}},
    )
    with pytest.raises(LeaseLost, match="taken over by run-2"):
        await held.renew()
    await held.release()
    assert in_the_store(embedded)["spec"]["holderIdentity"] == "run-2"


async def test_a_person_who_annotates_it_does_not_take_it_away(cluster: ClusterApi, embedded: SomeoneIsQuicker) -> None:
    held = await take(cluster, "run-1", duration_s=60)

    def annotate(lease: dict[str, Any]) -> dict[str, Any]:
        metadata = lease["metadata"]
        return {**lease, "metadata": {**metadata, "annotations": {**metadata["annotations"], "seen-by": "joe"}}}

    embedded.meddle = lambda: embedded.store.modify("leases.coordination.k8s.io", NAME, "poolkeeper", annotate)
    await held.change(lambda note: {"spent": ["a"]})
    annotations = in_the_store(embedded)["metadata"]["annotations"]
    assert json.loads(annotations["poolkeeper.io/rollout"]) == {"spent": ["a"]}
    assert annotations["seen-by"] == "joe"


async def test_a_deleted_lease_is_lost_and_its_successor_has_a_greater_fencing_token(cluster: ClusterApi) -> None:
    held = await take(cluster, "run-1", duration_s=60)
    await cluster.request("DELETE", f"{PATH}/{NAME}")
    with pytest.raises(LeaseLost, match="deleted"):
        await held.renew()
    again = await take(cluster, "run-2")
    assert again.fencing_token > held.fencing_token


async def test_of_many_that_want_it_one_has_it(cluster: ClusterApi) -> None:
    inside: list[str] = []

    async def work(name: str) -> None:
        async with hold_lease(cluster, NAME, name, patience_s=DEADLINE_S):
            inside.append(name)
            assert inside == [name]
            await cluster.request("GET", "/version")
            inside.remove(name)

    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*(work(f"run-{number}") for number in range(8)))


async def test_a_cluster_that_is_away_loses_it_in_time(cluster: ClusterApi, embedded: SomeoneIsQuicker) -> None:
    held = await take(cluster, "run-1")
    guard = lease_guard(cluster, held)
    await embedded.stop()
    async with asyncio.timeout(DEADLINE_S):
        await held.keep()  # ends once it is lost
    assert held.remaining_s == 0
    assert (refusal := await guard(A_CHANGE)) is not None
    assert "could not be renewed" in refusal.reason


async def test_whoever_was_quicker_has_it(cluster: ClusterApi, embedded: SomeoneIsQuicker) -> None:
    """It was free when we looked, and another one's when we wrote."""
    await (await take(cluster, "run-1")).release()
    embedded.meddle = lambda: embedded.store.modify(
        "leases.coordination.k8s.io",
        NAME,
        "poolkeeper",
        lambda lease: {**lease, "spec": {**lease["spec"], "holderIdentity": "run-3", "leaseDurationSeconds": 60}},
    )
    said = asyncio.Queue[str]()
    with logged(said.put_nowait):
        taking = asyncio.create_task(take(cluster, "run-2"))
        hearing = asyncio.create_task(said.get())
        await asyncio.wait({taking, hearing}, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
    told = hearing.done()
    for task in (taking, hearing):
        task.cancel()
    await asyncio.gather(taking, hearing, return_exceptions=True)
    assert told, "it does not wait for the other one"
    assert in_the_store(embedded)["spec"]["holderIdentity"] == "run-3"


async def test_what_could_land_after_the_lease_is_not_sent(cluster: ClusterApi) -> None:
    """A request may take its whole time, and must have landed before anyone else can have the lease."""
    held = await take(cluster, "run-1", duration_s=int(cluster.timeout_s) - 1)
    assert held.remaining_s > 0
    refusal = await lease_guard(cluster, held)(A_CHANGE)
    assert refusal is not None
    assert (refusal.guard, refusal.temporary) == ("lease", True)
    assert refusal.reason.startswith(f"this run may have lost lease {NAME}: it was not renewed for")
    await held.release()
    longer = await take(cluster, "run-1", duration_s=int(cluster.timeout_s) + 60)
    assert await lease_guard(cluster, longer)(A_CHANGE) is None


async def test_it_is_trusted_from_when_its_renewal_was_sent(cluster: ClusterApi, embedded: SomeoneIsQuicker) -> None:
    """Not from when that was answered: whoever waits for it may have seen it renewed long before."""
    held, landed = await take(cluster, "run-1", duration_s=60), list[float]()

    def now() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    embedded.meddle = lambda: landed.append(now())
    await held.renew()
    looked = now()
    assert looked + held.remaining_s <= landed[0] + 60


def begun(note: dict[str, Any]) -> str:
    """What a rollout of that pool has begun, for another one."""
    return f"{note['begun']} is unfinished" if note.get("begun") else ""


async def test_what_a_killed_holder_has_begun_is_left_to_whoever_finishes_it(
    cluster: ClusterApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lapsed lease is had by the one that goes on with it, though it came later; the other is told."""
    monkeypatch.setattr(module, "PATIENCE", 10.0)
    await take(cluster, "killed", note=lambda _: {"begun": "the upgrade"})
    said = asyncio.Queue[str]()
    with logged(said.put_nowait):
        other = asyncio.create_task(take(cluster, "another-goal", others=begun))
        async with asyncio.timeout(DEADLINE_S):
            while not (await said.get()).endswith("and the upgrade is unfinished"):
                pass
    same = await take(cluster, "restarted")
    assert same.note == {"begun": "the upgrade"}
    keeping = asyncio.create_task(same.keep())
    with pytest.raises(LeaseHeld) as caught:
        await other
    assert not isinstance(caught.value, LeaseUnfinished)
    keeping.cancel()


async def test_nobody_waits_for_ever_for_what_a_killed_holder_has_begun(cluster: ClusterApi, said: list[str]) -> None:
    await take(cluster, "killed", note=lambda _: {"begun": "the upgrade"})
    with pytest.raises(LeaseUnfinished, match=f"lease {NAME} has lapsed, and the upgrade is unfinished"):
        await take(cluster, "another-goal", others=begun)
    assert said[-1] == f"lease {NAME} was not renewed by killed for {SHORT_S} s, and the upgrade is unfinished"
    again = await take(cluster, "recover")
    await again.release(lambda note: {})
    assert (await take(cluster, "another-goal", others=begun)).holder == "another-goal"


@pytest.mark.parametrize("fencing_token", ["1000000000000000000", "9" * 4000, "-1", "\uff17", "soon", ""])
@pytest.mark.parametrize("note", ["[" * 100_000, "3", '{"a": ' + "9" * 5000 + "}"])
async def test_what_someone_has_written_on_a_lease_ends_nobody(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, fencing_token: str, note: str, said: list[str]
) -> None:
    await (await take(cluster, "run-1")).release()
    junk = {"poolkeeper.io/fencing-token": fencing_token, "poolkeeper.io/rollout": note}
    embedded.store.modify(
        "leases.coordination.k8s.io",
        NAME,
        "poolkeeper",
        lambda lease: {**lease, "metadata": {**lease["metadata"], "annotations": junk}},
    )
    (row,) = (await list_leases(cluster)).values()
    assert (row.fencing_token, row.note) == (0, {})
    held = await take(cluster, "run-2")
    assert 10**12 < held.fencing_token < 10**15
    assert said == [f"the note of lease {NAME} cannot be read and is dropped: {row.unreadable}"]


async def test_two_changes_at_once_keep_each_other(cluster: ClusterApi, embedded: SomeoneIsQuicker) -> None:
    """Each is made of what is there at that moment, by us or by a person in between."""
    held = await take(cluster, "run-1")
    await asyncio.gather(*(held.change(lambda note, n=n: {**note, f"n{n}": n}) for n in range(8)))  # type: ignore[misc]
    await amend_lease(cluster, NAME, lambda note: {**note, "person": True})
    await held.change(lambda note: {**note, "last": True})
    assert held.note == {**{f"n{n}": n for n in range(8)}, "person": True, "last": True}
