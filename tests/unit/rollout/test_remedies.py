"""What becomes of what a killed run has left: by the pool's Lease and the host itself, never by the Node's word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poolkeeper.tasks.cluster.claims import Claim, Phase, claim_text
from poolkeeper.tasks.cluster.leases import Note
from poolkeeper.tasks.hosts.fence import HostIntent
from poolkeeper.tasks.outcomes import Known, Observed, Unknown
from poolkeeper.tasks.rollout.goal import Goal
from poolkeeper.tasks.rollout.remedies import Found, Remedy, intended, leftovers
from poolkeeper.tasks.rollout.rollout_state import Intent, begun, with_intent
from tests.unit.onboard.builders import NOW, a_host, a_node

UPGRADE = Goal("upgrade", "general", {"kubernetes": "v1.36.3"})
OFFBOARD, MAINTAIN, UNKNOWN = Goal("offboard", "general"), Goal("maintain", "general"), Goal("paint", "general")
FINISHES = {"upgrade": False, "offboard": True}
INTENT = Intent("fra1-n01", "m-1", "0123456789abcdef")
UNASKED = Unknown("ConnectTimeout: no answer", NOW)
UNCHANGED: Observed[HostIntent | None] = Known(None, NOW)


def changed_for(goal: Goal, token: str = INTENT.token) -> Observed[HostIntent | None]:
    """What a host says that was changed."""
    return Known(HostIntent(goal.id, token), NOW)


def claimed(phase: Phase, goal: Goal = UPGRADE) -> dict[str, Any]:
    """A node that says of itself that a run works on it."""
    claim = Claim(goal.id, goal.flow, goal.wanted, "run-1", 7, phase, "2026-11-23T11:00:00+00:00")
    annotations = {"poolkeeper.io/cordon": "{}", "poolkeeper.io/rollout": claim_text(claim)}
    return {"unschedulable": True, "annotations": annotations}


def a_lease(goal: Goal, intent: Intent | None = INTENT) -> Note:
    """What the pool's Lease says."""
    note = begun({}, goal, {}, NOW)
    return with_intent(note, goal.id, "fra1-n01", intent) if intent is not None else note


def judged(
    node: dict[str, Any] | None, note: Note, told: Observed[HostIntent | None] | None = UNCHANGED
) -> list[tuple[Remedy, str]]:
    """Remedies, each with its finding."""
    nodes = {"fra1-n01": a_node(**node)} if node is not None else {}
    hosts = {"fra1-n01": told} if told is not None else {}
    found: tuple[Found, ...] = leftovers([a_host()], nodes, note, hosts, FINISHES, NOW)
    return [(one.remedy, one.finding.id if one.finding else "") for one in found]


GONE: dict[str, Any] | None = None
DEAD = replace(INTENT, node_is_dead=True)


@pytest.mark.parametrize(
    ("node", "goal", "told", "remedy", "finding"),
    [
        pytest.param({}, UPGRADE, UNCHANGED, Remedy.FORGET, "", id="killed before the node was taken"),
        pytest.param(GONE, UPGRADE, UNCHANGED, Remedy.FORGET, "", id="and its Node was deleted since"),
        pytest.param(claimed(Phase.DRAINING), UPGRADE, UNCHANGED, Remedy.RETURN, "", id="draining"),
        pytest.param(claimed(Phase.CHANGING), UPGRADE, UNCHANGED, Remedy.RETURN, "", id="claimed, and not changed yet"),
        pytest.param(claimed(Phase.CHANGING), UPGRADE, changed_for(UPGRADE), Remedy.FINISH, "", id="half changed"),
        pytest.param(claimed(Phase.CHANGING), UPGRADE, changed_for(OFFBOARD), Remedy.RETURN, "", id="for an older goal"),
        pytest.param(
            claimed(Phase.CHANGING), UPGRADE, changed_for(UPGRADE, "f" * 16), Remedy.SKIP, "recover.host.other-intent",
            id="by another intent",
        ),
        pytest.param(claimed(Phase.CHANGING), UPGRADE, UNASKED, Remedy.SKIP, "recover.host.unknown", id="not told"),
        pytest.param(claimed(Phase.DRAINING), UPGRADE, UNASKED, Remedy.SKIP, "recover.host.unknown", id="draining, not told"),
        pytest.param(claimed(Phase.CHANGING), UPGRADE, None, Remedy.SKIP, "recover.host.unknown", id="not asked"),
        pytest.param(
            claimed(Phase.DRAINING), UPGRADE, changed_for(UPGRADE), Remedy.SKIP, "recover.claim.changed",
            id="the Node says draining, and the host was changed",
        ),
        pytest.param({}, UPGRADE, changed_for(UPGRADE), Remedy.SKIP, "recover.claim.changed", id="the claim was taken off"),
        pytest.param(GONE, UPGRADE, changed_for(UPGRADE), Remedy.SKIP, "recover.node.gone", id="changed, no Node"),
        pytest.param(GONE, OFFBOARD, changed_for(OFFBOARD), Remedy.FINISH, "", id="offboarded, no Node"),
        pytest.param(
            {**claimed(Phase.CHANGING), "machine_id": "m-2"}, UPGRADE, changed_for(UPGRADE), Remedy.SKIP,
            "recover.other-machine", id="another machine",
        ),
        pytest.param(claimed(Phase.FAILED), UPGRADE, changed_for(UPGRADE), Remedy.SKIP, "recover.failed", id="failed"),
        pytest.param(
            claimed(Phase.WITH_A_PERSON, MAINTAIN), MAINTAIN, UNCHANGED, Remedy.SKIP, "recover.with-a-person",
            id="a person's",
        ),
        pytest.param(
            claimed(Phase.CHANGING, UNKNOWN), UNKNOWN, changed_for(UNKNOWN), Remedy.SKIP, "recover.unknown-flow",
            id="of a flow that we have not",
        ),
    ],
)  # fmt: skip
def test_what_was_intended(
    node: dict[str, Any] | None, goal: Goal, told: Observed[HostIntent | None], remedy: Remedy, finding: str
) -> None:
    assert judged(node, a_lease(goal), told) == [(remedy, finding)]


@pytest.mark.parametrize(
    ("node", "remedy"),
    [
        pytest.param(claimed(Phase.DRAINING, OFFBOARD), Remedy.RETURN, id="draining"),
        pytest.param(claimed(Phase.CHANGING, OFFBOARD), Remedy.FINISH, id="its Node to be removed"),
        pytest.param({}, Remedy.FORGET, id="not taken yet"),
        pytest.param(GONE, Remedy.FINISH, id="its Node is removed"),
    ],
)
def test_of_a_machine_that_a_person_has_said_to_be_gone_nobody_is_asked(
    node: dict[str, Any] | None, remedy: Remedy
) -> None:
    assert judged(node, a_lease(OFFBOARD, DEAD), UNASKED) == [(remedy, "")]


def test_a_host_that_is_handed_over_is_not_asked() -> None:
    """It may be what a person is to mend: nothing was changed on it by us."""
    note = a_lease(MAINTAIN, replace(INTENT, hands_over=True))
    assert intended(note, [a_host()]) == {}
    assert judged(claimed(Phase.DRAINING, MAINTAIN), note, UNASKED) == [(Remedy.RETURN, "")]
    assert intended(a_lease(UPGRADE), [a_host()]) == {"fra1-n01": a_host()}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(
    ("goal", "note"),
    [
        pytest.param(UPGRADE, {}, id="no Lease"),
        pytest.param(UPGRADE, a_lease(UPGRADE, None), id="nothing begun on that host"),
        pytest.param(Goal("upgrade", "general", {"kubernetes": "v1.36.4"}), a_lease(UPGRADE, None), id="another goal"),
        pytest.param(OFFBOARD, a_lease(UPGRADE, None), id="another flow"),
    ],
)
def test_a_claim_alone_orders_nothing(phase: Phase, goal: Goal, note: Note) -> None:
    """Whoever may patch Nodes can write one, and a restored backup brings old ones; the host is not even asked."""
    assert judged(claimed(phase, goal), note, changed_for(goal)) == [(Remedy.SKIP, "recover.claim.unknown")]


def test_a_claim_beside_another_rollouts_intent_is_told_and_the_intent_judged_by_itself() -> None:
    found = judged(claimed(Phase.CHANGING, OFFBOARD), a_lease(UPGRADE))
    assert found == [(Remedy.FORGET, ""), (Remedy.SKIP, "recover.claim.unknown")]


def test_a_host_that_is_not_active_any_more_is_told() -> None:
    node = a_node(**claimed(Phase.CHANGING))
    hosts, told = [a_host(active=False)], {"fra1-n01": changed_for(UPGRADE)}
    (found,) = leftovers(hosts, {"fra1-n01": node}, a_lease(UPGRADE), told, FINISHES, NOW)
    assert found.finding is not None
    assert (found.remedy, found.finding.id) == (Remedy.SKIP, "recover.host.inactive")


def test_what_takes_long_comes_last() -> None:
    note = with_intent(a_lease(UPGRADE), UPGRADE.id, "fra1-n02", replace(INTENT, node="fra1-n02"))
    nodes = {"fra1-n01": a_node(**claimed(Phase.CHANGING)), "fra1-n02": a_node("fra1-n02", **claimed(Phase.DRAINING))}
    told = {"fra1-n01": changed_for(UPGRADE), "fra1-n02": UNCHANGED}
    found = leftovers([a_host(), a_host("fra1-n02")], nodes, note, told, FINISHES, NOW)
    assert [(one.host.name, one.remedy) for one in found] == [
        ("fra1-n02", Remedy.RETURN),
        ("fra1-n01", Remedy.FINISH),
    ]


def test_what_carries_nothing_of_ours_is_not_ours() -> None:
    nodes = {
        "fra1-n01": a_node(unschedulable=True),
        "fra1-n02": a_node("fra1-n02", annotations={"poolkeeper.io/cordon": "{}"}),
    }
    assert leftovers([a_host(), a_host("fra1-n02")], nodes, {}, {}, FINISHES, NOW) == ()
