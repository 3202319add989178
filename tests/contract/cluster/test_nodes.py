"""Cordons that are ours and cordons that are not, acceptance, deletion: under writers who are quicker than we."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from poolkeeper.tasks.cluster import ClusterApi, Conflict, NotFound
from poolkeeper.tasks.cluster.api import MERGE_PATCH
from poolkeeper.tasks.cluster.claims import Claim, Phase, claim_node
from poolkeeper.tasks.cluster.nodes import (
    ACCEPTED,
    CORDON,
    LEAVING,
    MACHINE_ID,
    NodeRow,
    RolloutInProgress,
    accept,
    change_node,
    cordon,
    delete_node,
    get_node,
    list_nodes,
    note_leaving,
)
from tests.contract.cluster.conftest import DEADLINE_S, SomeoneIsQuicker

Json = dict[str, Any]

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
HYBRID = {"key": "nodepool-type", "value": "hybridcloud", "effect": "NoSchedule"}
BATCH = {"key": "batch", "effect": "NoExecute", "timeAdded": "2026-11-20T08:00:00Z"}
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
"""Taint that a controller keeps in step with the cordon, a moment later."""


@pytest.fixture
def node(embedded: SomeoneIsQuicker) -> str:
    """A Ready node, as a kubelet registers it."""
    embedded.store.create(
        "nodes",
        {
            "metadata": {"name": "n1", "labels": {"alibabacloud.com/nodepool-type": "hybridcloud"}},
            "spec": {"taints": [HYBRID, BATCH]},
            "status": {
                "capacity": {"cpu": "7900m"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "", "message": "kubelet is ready"}],
                "nodeInfo": {"machineID": "m-1", "bootID": "b-1", "kubeletVersion": "v1.36.3"},
                "addresses": [
                    {"type": "InternalIP", "address": "10.1.0.11"},
                    {"type": "Hostname", "address": "n1"},
                ],
            },
        },
    )
    return "n1"


def stored(server: SomeoneIsQuicker, name: str = "n1") -> Json:
    return server.store.get("nodes", name)


def by_hand(server: SomeoneIsQuicker, **spec: Any) -> None:
    """What a person does with kubectl."""
    server.store.modify("nodes", "n1", "", lambda node: {**node, "spec": {**node.get("spec", {}), **spec}})


def heartbeat(server: SomeoneIsQuicker) -> None:
    """What a kubelet does all the time."""
    server.store.modify(
        "nodes",
        "n1",
        "",
        lambda node: {**node, "metadata": {**node["metadata"], "annotations": {"beat": "1"}}},
    )


async def cordoned(cluster: ClusterApi, **more: Any) -> NodeRow:
    return await cordon(cluster, "n1", **{"why": "quarantine", "run": "r-1", "at": AT, **more})


def taints(row: NodeRow) -> list[Json]:
    """The taints that are not the controller's answer to a cordon."""
    return [taint for taint in row.taint_objects if taint["key"] != UNSCHEDULABLE]


async def accepted(cluster: ClusterApi, *, lift_taint: bool = False) -> NodeRow:
    return await accept(cluster, "n1", run="r-2", at=AT, machine_id="m-1", lift_taint=lift_taint)


async def test_a_node_as_a_row(cluster: ClusterApi, node: str) -> None:
    row = (await list_nodes(cluster))[node]
    assert row == await get_node(cluster, node)
    assert (row.ready, row.machine_id, row.boot_id, row.cpus) == (True, "m-1", "b-1", 7)
    assert row.internal_ips == ("10.1.0.11",)
    assert row.is_hybrid
    assert not row.unschedulable
    assert not row.accepted
    assert await get_node(cluster, "n2") is None


async def test_a_cordon_of_ours_says_so(embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str) -> None:
    row = await cordoned(cluster, joined=True)
    assert row.cordoned_by_us
    assert row.joined_by_us
    assert stored(embedded)["spec"]["unschedulable"] is True
    assert json.loads(stored(embedded)["metadata"]["annotations"][CORDON]) == {
        "why": "quarantine",
        "run": "r-1",
        "since": "2026-11-23T12:00:00+00:00",
        "joined": True,
    }


async def test_both_are_one_write(embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str) -> None:
    """At no moment is it cordoned without the annotation, nor annotated without the cordon."""
    seen: list[tuple[bool, bool]] = []

    def look(resource: Any, event: Any) -> None:
        if event.after and event.after["kind"] == "Node":
            annotations = event.after["metadata"].get("annotations", {})
            seen.append((bool(event.after["spec"].get("unschedulable")), CORDON in annotations))

    embedded.store.journal.listeners.append(look)
    await cordoned(cluster)
    await accepted(cluster)
    assert (True, True) in seen
    assert {pair for pair in seen if pair[0] != pair[1]} == set()


async def test_a_persons_cordon_stays_the_persons(embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str) -> None:
    by_hand(embedded, unschedulable=True)
    row = await cordoned(cluster)
    assert row.unschedulable
    assert not row.cordoned_by_us
    row = await accepted(cluster)
    assert row.accepted
    assert row.unschedulable
    assert CORDON not in row.annotations


async def test_a_person_who_cordons_meanwhile_owns_it(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str
) -> None:
    embedded.meddle = lambda: by_hand(embedded, unschedulable=True)
    row = await cordoned(cluster)
    assert embedded.meddle is None
    assert row.unschedulable
    assert not row.cordoned_by_us


async def test_a_heartbeat_meanwhile_costs_one_more_try(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str
) -> None:
    embedded.meddle = lambda: heartbeat(embedded)
    row = await cordoned(cluster)
    assert embedded.meddle is None
    assert row.cordoned_by_us
    assert row.annotations["beat"] == "1"


async def test_cordoning_twice_keeps_the_first_owner(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str
) -> None:
    first = await cordoned(cluster)
    embedded.meddle = lambda: pytest.fail("a second patch was sent")
    second = await cordoned(cluster, run="r-9")
    assert second.annotations[CORDON] == first.annotations[CORDON]


async def test_cordoning_what_is_gone(cluster: ClusterApi) -> None:
    with pytest.raises(NotFound):
        await cordoned(cluster)


async def test_acceptance_is_written_and_gives_back_our_cordon(cluster: ClusterApi, node: str) -> None:
    await cordoned(cluster)
    row = await accepted(cluster)
    assert not row.unschedulable
    assert CORDON not in row.annotations
    assert json.loads(row.annotations[ACCEPTED]) == {
        "run": "r-2",
        "at": "2026-11-23T12:00:00+00:00",
        "uid": row.uid,
    }
    assert row.accepted_as == row.uid
    assert row.annotations[MACHINE_ID] == "m-1"
    assert taints(row) == [HYBRID, BATCH]


async def test_only_acks_taint_is_lifted(cluster: ClusterApi, node: str) -> None:
    row = await accepted(cluster, lift_taint=True)
    assert taints(row) == [BATCH]


async def test_a_taint_that_comes_meanwhile_is_kept(embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str) -> None:
    late = {"key": "late", "effect": "NoSchedule"}
    embedded.meddle = lambda: by_hand(embedded, taints=[HYBRID, late])
    row = await accepted(cluster, lift_taint=True)
    assert taints(row) == [late]


async def test_the_last_taint_is_lifted(embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str) -> None:
    by_hand(embedded, taints=[HYBRID])
    assert taints(await accepted(cluster, lift_taint=True)) == []


async def test_a_person_who_uncordons_our_quarantine_is_not_overruled_by_acceptance(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str
) -> None:
    await cordoned(cluster)
    by_hand(embedded, unschedulable=False)
    row = await accepted(cluster)
    assert not row.unschedulable
    assert CORDON not in row.annotations


async def test_a_node_that_others_never_leave_alone(embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str) -> None:
    def again() -> None:
        count = int(stored(embedded)["metadata"].get("annotations", {}).get("beat", "0")) + 1
        embedded.store.modify(
            "nodes", "n1", "", lambda n: {**n, "metadata": {**n["metadata"], "annotations": {"beat": str(count)}}}
        )
        embedded.meddle = again

    embedded.meddle = again
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(Conflict, match="others changed it 20 times in a row"):
            await cordoned(cluster)
    assert not stored(embedded)["spec"].get("unschedulable")


async def test_nothing_to_do_sends_nothing(embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str) -> None:
    embedded.meddle = lambda: pytest.fail("a patch was sent")
    row = await change_node(cluster, node, lambda row: None)
    assert row.name == node
    embedded.meddle = None


async def test_an_answer_that_was_lost_is_not_written_twice(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str
) -> None:
    """The patch was carried out and its answer lost: doing it again finds it done."""
    embedded.faults.concerns = lambda method, path: method == "PATCH"
    embedded.faults.unanswered = 1
    with pytest.raises(Exception, match="cannot be reached"):
        await cordoned(cluster)
    version = stored(embedded)["metadata"]["annotations"][CORDON]
    row = await cordoned(cluster, run="r-9")
    assert row.cordoned_by_us
    assert row.annotations[CORDON] == version


async def test_deleting_a_node(embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str) -> None:
    row = await get_node(cluster, node)
    assert row is not None
    await delete_node(cluster, row)
    assert embedded.store.find("nodes", node) is None
    await delete_node(cluster, row)


async def test_a_node_that_registered_anew_under_the_name_is_not_deleted(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str
) -> None:
    old = await get_node(cluster, node)
    assert old is not None
    embedded.store.delete("nodes", node)
    embedded.store.create("nodes", {"metadata": {"name": node}})
    await delete_node(cluster, old)
    assert stored(embedded)["metadata"]["uid"] != old.uid


@pytest.mark.parametrize("change", [cordoned, accepted], ids=["quarantine", "acceptance"])
async def test_a_node_that_a_rollout_has_taken_meanwhile_is_its(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, node: str, change: Callable[[ClusterApi], Awaitable[NodeRow]]
) -> None:
    await claim_node(cluster, node, Claim("r", "upgrade", {}, "run-1", 1, Phase.DRAINING, "2026-11-23T12:00:00+00:00"))
    before = stored(embedded)
    with pytest.raises(RolloutInProgress, match="a rollout works on node n1"):
        await change(cluster)
    assert stored(embedded) == before


@pytest.mark.parametrize(
    ("written", "counts"),
    [
        pytest.param(timedelta(), True, id="an earlier run's"),
        pytest.param(timedelta(days=-400), False, id="before it came"),
        pytest.param(timedelta(days=36_500), False, id="in a hundred years"),
        pytest.param("yesterday", False, id="a word"),
        pytest.param("9999-12-31T23:59:59-23:59", False, id="beyond all calendars"),
    ],
)
async def test_when_a_node_has_left_is_no_ones_to_choose(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, written: timedelta | str, counts: bool
) -> None:
    node = embedded.store.create("nodes", {"metadata": {"name": "left"}})
    created = datetime.fromisoformat(node["metadata"]["creationTimestamp"])
    text = written if isinstance(written, str) else (created + written).isoformat()
    body = {"metadata": {"annotations": {LEAVING: text}}}
    await cluster.request("PATCH", "/api/v1/nodes/left", body=body, content_type=MERGE_PATCH)
    row, now = await get_node(cluster, "left"), created + timedelta(hours=1)
    assert row is not None
    assert await note_leaving(cluster, row, now) == (created if counts else now)
