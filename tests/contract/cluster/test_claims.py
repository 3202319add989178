"""Claims and cordons of a rollout, on Nodes that others write to as well."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from poolkeeper.deployments.lab.kubernetes import ApiServer
from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.api import MERGE_PATCH
from poolkeeper.tasks.cluster.claims import (
    Claim,
    ClaimedByOthers,
    Phase,
    Uncordoned,
    claim_node,
    claim_of,
    claim_text,
    release_node,
    update_claim,
)
from poolkeeper.tasks.cluster.nodes import CORDON, PATH, ROLLOUT, cordon, get_node
from tests.contract.cluster.conftest import SomeoneIsQuicker

CLAIM = Claim("0123456789ab", "upgrade", {}, "run-1", 7, Phase.DRAINING, "2026-05-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("meanwhile", "unschedulable"),
    [
        pytest.param(None, False, id="nothing happened meanwhile"),
        pytest.param({"spec": {"unschedulable": None}}, False, id="a person has uncordoned it"),
        pytest.param({"metadata": {"annotations": {CORDON: None}}}, True, id="a person has made the cordon theirs"),
    ],
)
async def test_nothing_of_ours_is_left_on_a_node_that_is_given_back(
    cluster: ClusterApi, embedded: ApiServer, meanwhile: dict[str, Any] | None, unschedulable: bool
) -> None:
    await cluster.request("POST", PATH, body={"metadata": {"name": "n1"}})
    assert (await claim_node(cluster, "n1", CLAIM)).cordoned_by_us
    if meanwhile is not None:
        await cluster.request("PATCH", f"{PATH}/n1", body=meanwhile, content_type=MERGE_PATCH)
    row = await release_node(cluster, "n1", CLAIM)
    assert row.unschedulable is unschedulable
    assert [name for name in row.annotations if name.startswith("poolkeeper.io/")] == []


@pytest.mark.parametrize("by", [CLAIM, None], ids=["by its rollout", "by a person's order"])
@pytest.mark.parametrize("phase", Phase)
async def test_what_has_gone_further_between_reading_and_writing_is_not_given_back_as_draining(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, phase: Phase, by: Claim | None
) -> None:
    await cluster.request("POST", PATH, body={"metadata": {"name": "n1"}})
    await claim_node(cluster, "n1", CLAIM)

    def go_on(node: dict[str, Any]) -> dict[str, Any]:
        annotations = {
            **node["metadata"]["annotations"],
            ROLLOUT: claim_text(replace(CLAIM, phase=phase, since="later")),
        }
        return {**node, "metadata": {**node["metadata"], "annotations": annotations}}

    embedded.meddle = lambda: embedded.store.modify("nodes", "n1", "", go_on)
    if phase is not Phase.DRAINING:
        with pytest.raises(ClaimedByOthers, match=f"node n1 is in phase {phase} now, and no longer in phase draining"):
            await release_node(cluster, "n1", by, Phase.DRAINING)
        assert (await get_node(cluster, "n1")).cordoned_by_us
    else:
        assert not (await release_node(cluster, "n1", by, Phase.DRAINING)).unschedulable


async def test_a_persons_order_gives_back_whatever_is_there(cluster: ClusterApi) -> None:
    await cluster.request("POST", PATH, body={"metadata": {"name": "n1"}})
    await claim_node(cluster, "n1", CLAIM)
    await update_claim(cluster, "n1", replace(CLAIM, fencing_token=8, phase=Phase.FAILED))
    with pytest.raises(ClaimedByOthers, match="was taken over"):
        await release_node(cluster, "n1", CLAIM)
    assert not (await release_node(cluster, "n1", None)).unschedulable


@pytest.mark.parametrize("phase", Phase)
async def test_what_takes_pods_again_is_neither_changed_nor_handed_over(cluster: ClusterApi, phase: Phase) -> None:
    await cluster.request("POST", PATH, body={"metadata": {"name": "n1"}})
    await claim_node(cluster, "n1", CLAIM)
    await cluster.request("PATCH", f"{PATH}/n1", body={"spec": {"unschedulable": None}}, content_type=MERGE_PATCH)
    further = replace(CLAIM, phase=phase)
    if phase in (Phase.CHANGING, Phase.WITH_A_PERSON):
        with pytest.raises(Uncordoned, match="someone has uncordoned node n1 while it was draining"):
            await update_claim(cluster, "n1", further)
    else:
        assert claim_of(await update_claim(cluster, "n1", further)) == further


async def test_what_another_rollout_has_is_neither_taken_nor_given_back(cluster: ClusterApi) -> None:
    """However great its fencing token: who has a node is told by the goal."""
    await cluster.request("POST", PATH, body={"metadata": {"name": "n1"}})
    before = await claim_node(cluster, "n1", CLAIM)
    another = replace(CLAIM, rollout="ba9876543210", run="run-2", fencing_token=8)
    for change in (claim_node, update_claim, release_node):
        with pytest.raises(ClaimedByOthers, match="n1 is worked on by rollout upgrade of run run-1"):
            await change(cluster, "n1", another)
    node = await get_node(cluster, "n1")
    assert node is not None
    assert (claim_of(node), node.cordoned_by_us) == (CLAIM, before.cordoned_by_us)


@pytest.mark.parametrize(
    ("in_quarantine", "why"),
    [
        pytest.param(False, "was cordoned by someone else in the meantime", id="a person has cordoned it"),
        pytest.param(True, "is in quarantine: it is not accepted yet", id="it is in quarantine"),
    ],
)
async def test_what_is_cordoned_already_is_not_taken(cluster: ClusterApi, in_quarantine: bool, why: str) -> None:
    spec = {"unschedulable": not in_quarantine}
    await cluster.request("POST", PATH, body={"metadata": {"name": "n1"}, "spec": spec})
    if in_quarantine:
        await cordon(cluster, "n1", why="quarantine", run="run-0", at=datetime.now(UTC))
    with pytest.raises(ClaimedByOthers, match=why):
        await claim_node(cluster, "n1", CLAIM)
    node = await get_node(cluster, "n1")
    assert node is not None
    assert (claim_of(node), node.cordoned_by_us) == (None, in_quarantine)


async def test_a_node_that_someone_has_given_back_is_not_claimed_again(cluster: ClusterApi) -> None:
    await cluster.request("POST", PATH, body={"metadata": {"name": "n1"}})
    await claim_node(cluster, "n1", CLAIM)
    await release_node(cluster, "n1", None)
    with pytest.raises(ClaimedByOthers, match="has no claim of this rollout any more: someone has released it"):
        await update_claim(cluster, "n1", CLAIM)
    node = await get_node(cluster, "n1")
    assert node is not None
    assert claim_of(node) is None
