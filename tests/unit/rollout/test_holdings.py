"""What of ours is held, the plain commands for it, and what is only given back by name."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.cluster.claims import Claim, Phase, claim_text
from poolkeeper.tasks.cluster.leases import LeaseRow
from poolkeeper.tasks.rollout.holdings import all_holdings
from tests.unit.onboard.builders import a_node

CORDON = {"poolkeeper.io/cordon": "{}"}


def claim(phase: Phase) -> dict[str, str]:
    return {
        "poolkeeper.io/rollout": claim_text(Claim("r", "upgrade", {}, "run-1", 7, phase, "2026-11-24T12:00:00+00:00"))
    }


@pytest.mark.parametrize(
    ("phase", "proven"),
    [(Phase.DRAINING, True), (Phase.CHANGING, False), (Phase.FAILED, False), (Phase.WITH_A_PERSON, False)],
)
def test_a_claimed_node(phase: Phase, proven: bool) -> None:
    (held,) = all_holdings([a_node("n1", unschedulable=True, annotations=CORDON | claim(phase))], {}, ())
    assert (held.kind, held.releasable) == ("node", proven)
    assert held.commands == (
        "kubectl annotate node n1 poolkeeper.io/rollout-",
        "kubectl annotate node n1 poolkeeper.io/cordon-",
        "kubectl uncordon n1",
    )


def test_a_cordon_of_someone_elses_is_not_lifted() -> None:
    (held,) = all_holdings([a_node("n1", unschedulable=True, annotations=claim(Phase.DRAINING))], {}, ())
    assert held.commands == ("kubectl annotate node n1 poolkeeper.io/rollout-",)


def test_quarantine_is_shown_and_a_persons_cordon_is_not() -> None:
    nodes = [a_node("n1", unschedulable=True, annotations=CORDON), a_node("n2", unschedulable=True), a_node("n3")]
    assert [(held.kind, held.name, held.releasable) for held in all_holdings(nodes, {}, ())] == [
        ("quarantine", "n1", False)
    ]


def test_leases_come_first_and_free_ones_are_not_held() -> None:
    leases = {name: LeaseRow(name, "1", holder, 40, 1, {}) for name, holder in (("pool-a", "run-1/x"), ("pool-b", ""))}
    held = all_holdings([a_node("n1", unschedulable=True, annotations=CORDON | claim(Phase.DRAINING))], leases, ())
    assert [(one.kind, one.name) for one in held] == [("lease", "pool-a"), ("node", "n1")]
    assert held[0].commands[0].startswith("kubectl patch lease -n poolkeeper pool-a ")
