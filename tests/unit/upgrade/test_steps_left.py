"""Which minors on the way earlier runs have left hosts at: told by the pool's Lease, and by no Node."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from poolkeeper.flows.upgrade import _left_behind
from poolkeeper.tasks.cluster.claims import Claim, Phase, claim_text
from poolkeeper.tasks.cluster.leases import Note
from poolkeeper.tasks.rollout.goal import Goal
from poolkeeper.tasks.rollout.rollout_state import Intent, begun, with_intent
from poolkeeper.tasks.rollout.run import RolloutRun
from poolkeeper.tasks.upgrade.goal import Goal as Versions
from tests.unit.onboard.builders import NOW, a_host, a_node

STEP = Goal("upgrade", "general", Versions("1.35").row())


def left(note: Note, claim: Claim | None = None) -> dict[str, str]:
    """What is told of one host, on its way from 1.34 to 1.36.3."""
    annotations = {"poolkeeper.io/rollout": claim_text(claim)} if claim is not None else {}
    node = a_node(kubelet_version="v1.34.2", annotations=annotations)
    run = SimpleNamespace(note=note, hosts={"fra1-n01": a_host()}, nodes={"fra1-n01": node})
    return _left_behind(cast(RolloutRun, run), Versions("1.36.3"))


def test_a_step_that_was_begun_on_a_host_comes_first() -> None:
    note = begun({}, STEP, {}, NOW)
    assert left(note) == {}
    assert left(with_intent(note, STEP.id, "fra1-n01", Intent.of("fra1-n01", a_node()))) == {"fra1-n01": "1.35"}
    assert left(with_intent(note, STEP.id, "another", Intent.of("another", None))) == {}


def test_a_claim_alone_chooses_no_step_for_a_pool() -> None:
    assert left({}, Claim(STEP.id, "upgrade", STEP.wanted, "run-0", 1, Phase.CHANGING, "now")) == {}
