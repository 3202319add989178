"""The claim that a rollout leaves on a Node while it works on it: a sign for people, and for other runs to keep off.

It orders nothing: who may patch Nodes can write one. What is to be finished stands on the pool's Lease and on the host
(`tasks.rollout.rollout_state`). A claim is written in one patch with our cordon. A cordon that was there before stays
someone else's: then there is a claim and no cordon of ours. A claim with a greater fencing token is never overwritten:
its run has taken over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter

from poolkeeper.tasks.cluster.api import ClusterApi, Json
from poolkeeper.tasks.cluster.nodes import CORDON, ROLLOUT, NodeRow, change_node
from poolkeeper.tasks.cluster.written import LAST_FENCING_TOKEN, STRICT, UnreadableText, Word, read_written
from poolkeeper.tasks.outcomes import PoolkeeperError


class Phase(StrEnum):
    """How far a node has come; each says what may be undone."""

    DRAINING = "draining"
    """Cordoned; nothing on the host was changed."""
    CHANGING = "changing"
    """The host may be half changed."""
    WITH_A_PERSON = "with a person"
    """Drained and handed over; nobody but that person, or a run that they start, ends this."""
    FAILED = "failed"
    """It was changed and could not be proven; kept cordoned for a look."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who works on a node, towards what, and how far they came, as the Node tells it."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    rollout: Word
    """Id of the rollout: the same goal for the same pool has the same."""
    flow: Word
    goal: Mapping[str, Any]
    """The flow's own parameters that decide what is to be true in the end."""
    run: Word
    fencing_token: Annotated[int, Field(ge=0, le=LAST_FENCING_TOKEN)]
    phase: Phase
    since: Word
    """ISO 8601, UTC: when this phase began."""


_CLAIM = TypeAdapter(Claim)
UNREADABLE = Claim("unreadable", "unknown", {}, "unknown", 0, Phase.FAILED, "unknown")
"""What stands in for one that cannot be read: of a rollout that nobody knows."""


class ClaimedByOthers(PoolkeeperError):
    """Another rollout has claimed this node, or a later run has taken it over."""

    id = "cluster.node.claimed-by-others"
    expected = "the node is claimed by this rollout, or by none"
    next_step = "See who works on it with `kubectl get node -o yaml`; run this again when that rollout has ended."
    source = "Kubernetes API"

    def __init__(self, node: str, claim: Claim | None, why: str) -> None:
        super().__init__(f"node {node} {why}")
        self.node, self.claim = node, claim


class Uncordoned(PoolkeeperError):
    """Someone has uncordoned a node that a rollout works on. Pods may run there, so the host must not be changed."""

    id = "cluster.node.uncordoned"
    expected = "the node stays cordoned while a rollout works on it"
    next_step = "Find out who uncordoned it, then run this again."
    source = "Kubernetes API"


def claim_of(node: NodeRow) -> Claim | None:
    """The claim on a node, None without one."""
    text = node.annotations.get(ROLLOUT)
    if text is None:
        return None
    try:
        return read_written(text, _CLAIM)
    except UnreadableText:
        return UNREADABLE


def claim_text(claim: Claim) -> str:
    """As it stands in the annotation."""
    return json.dumps(asdict(claim), sort_keys=True)


def now_text() -> str:
    """The present moment, as claims have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


async def claim_node(api: ClusterApi, name: str, claim: Claim, *, even_if_cordoned: bool = False) -> NodeRow:
    """Cordon a node and claim it, in one patch. Taking it again, by the same rollout, takes it over.

    even_if_cordoned: a node that someone else has cordoned is claimed; their cordon stays theirs
    Raises ClaimedByOthers, NotFound, ClusterUnreachable and ApiError.
    """

    def patch(row: NodeRow) -> Json:
        _refuse_others(row, claim)
        annotations = {ROLLOUT: claim_text(claim)}
        if row.unschedulable:
            if not row.cordoned_by_us and claim_of(row) is None and not even_if_cordoned:
                raise ClaimedByOthers(name, None, "was cordoned by someone else meanwhile")
            if row.cordoned_by_us and claim_of(row) is None:
                raise ClaimedByOthers(name, None, "is in quarantine: it was not accepted yet")
            return {"metadata": {"annotations": annotations}}
        owner = json.dumps({"why": f"rollout {claim.flow}", "run": claim.run, "since": claim.since, "joined": False})
        return {"metadata": {"annotations": {**annotations, CORDON: owner}}, "spec": {"unschedulable": True}}

    return await change_node(api, name, patch)


async def update_claim(api: ClusterApi, name: str, claim: Claim) -> NodeRow:
    """Note how far a node has come.

    Raises ClaimedByOthers, also where someone has removed our claim; Uncordoned, where what comes next is no more to be
    done on a node that takes pods.
    """

    def patch(row: NodeRow) -> Json:
        _refuse_others(row, claim)
        there = claim_of(row)
        if there is None:
            raise ClaimedByOthers(name, None, "has lost our claim: someone has given it back")
        if claim.phase in (Phase.CHANGING, Phase.WITH_A_PERSON) and not row.unschedulable:
            raise Uncordoned(f"someone has uncordoned node {name} while it was {there.phase}")
        return {"metadata": {"annotations": {ROLLOUT: claim_text(claim)}}}

    return await change_node(api, name, patch)


async def release_node(api: ClusterApi, name: str, claim: Claim | None, only: Phase | None = None) -> NodeRow:
    """Remove our claim and our cordon, no other one.

    claim: of the rollout that gives it back; None: a person's order, whoever works on it
    only: give it back in this phase alone; what has come further may be changed, or a person's
    Raises ClaimedByOthers where another rollout or a later run has it, or where it has come further.
    """

    def patch(row: NodeRow) -> Json | None:
        there = claim_of(row)
        if there is None:
            return None
        if claim is not None:
            _refuse_others(row, claim)
        if only is not None and there.phase is not only:
            raise ClaimedByOthers(name, there, f"is {there.phase} by now, and no longer {only}")
        # where a person has uncordoned it meanwhile, our claim must not outlive that: it would own their next cordon
        body: Json = {"metadata": {"annotations": {ROLLOUT: None, CORDON: None}}}
        if row.cordoned_by_us:
            body["spec"] = {"unschedulable": None}
        return body

    return await change_node(api, name, patch)


def _refuse_others(row: NodeRow, mine: Claim) -> None:
    theirs = claim_of(row)
    if theirs is None:
        return
    if theirs.rollout != mine.rollout:
        raise ClaimedByOthers(row.name, theirs, f"is worked on by rollout {theirs.flow} of run {theirs.run}")
    if theirs.fencing_token > mine.fencing_token:
        raise ClaimedByOthers(row.name, theirs, f"was taken over by run {theirs.run}")
