"""The claim that a rollout writes on a Node while it works on it, as information and to keep other runs off.

A claim alone starts no work, because anyone who may patch Nodes can write one: unfinished work is read from the pool's
Lease and from the host (`tasks.rollout`). A claim is written in one patch with our cordon; a node that was cordoned
before gets the claim only, and its cordon stays. A claim with a greater fencing token is never overwritten: its run has
taken the node over.
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
    """The progress of a rollout on one node; it decides what may be undone."""

    DRAINING = "draining"
    """Cordoned; nothing on the host was changed."""
    CHANGING = "changing"
    """The host may be half changed."""
    WITH_A_PERSON = "with a person"
    """Drained and handed over to a person; only that person, or a run that they start, ends this phase."""
    FAILED = "failed"
    """It was changed and could not be proven; kept cordoned for a look."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Which rollout works on a node, its goal and its phase, as written on the Node."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    rollout: Word
    """Id of the rollout: derived from the goal and the pool."""
    flow: Word
    goal: Mapping[str, Any]
    """The flow's parameters that define the goal."""
    run: Word
    fencing_token: Annotated[int, Field(ge=0, le=LAST_FENCING_TOKEN)]
    phase: Phase
    since: Word
    """ISO 8601, UTC: when this phase began."""


_CLAIM = TypeAdapter(Claim)
UNREADABLE = Claim("unreadable", "unknown", {}, "unknown", 0, Phase.FAILED, "unknown")
"""Replaces a claim that cannot be read: of an unknown rollout."""


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
    """The claim as text of the annotation."""
    return json.dumps(asdict(claim), sort_keys=True)


def now_text() -> str:
    """The current time, in the format of claims."""
    return datetime.now(UTC).isoformat(timespec="seconds")


async def claim_node(api: ClusterApi, name: str, claim: Claim, *, even_if_cordoned: bool = False) -> NodeRow:
    """Cordon and claim a node in one patch. A later run of the same rollout takes its claim over.

    even_if_cordoned: also claim a node that somebody else has cordoned; the claim does not own that cordon
    Raises ClaimedByOthers, NotFound, ClusterUnreachable and ApiError.
    """

    def patch(row: NodeRow) -> Json:
        _refuse_others(row, claim)
        annotations = {ROLLOUT: claim_text(claim)}
        if row.unschedulable:
            if not row.cordoned_by_us and claim_of(row) is None and not even_if_cordoned:
                raise ClaimedByOthers(name, None, "was cordoned by someone else in the meantime")
            if row.cordoned_by_us and claim_of(row) is None:
                raise ClaimedByOthers(name, None, "is in quarantine: it is not accepted yet")
            return {"metadata": {"annotations": annotations}}
        owner = json.dumps({"why": f"rollout {claim.flow}", "run": claim.run, "since": claim.since, "joined": False})
        return {"metadata": {"annotations": {**annotations, CORDON: owner}}, "spec": {"unschedulable": True}}

    return await change_node(api, name, patch)


async def update_claim(api: ClusterApi, name: str, claim: Claim) -> NodeRow:
    """Write the phase that a rollout has reached on a node.

    Raises ClaimedByOthers, also if somebody has removed the claim; Uncordoned if the new phase needs a cordoned node.
    """

    def patch(row: NodeRow) -> Json:
        _refuse_others(row, claim)
        there = claim_of(row)
        if there is None:
            raise ClaimedByOthers(name, None, "has no claim of this rollout any more: someone has released it")
        if claim.phase in (Phase.CHANGING, Phase.WITH_A_PERSON) and not row.unschedulable:
            raise Uncordoned(f"someone has uncordoned node {name} while it was {there.phase}")
        return {"metadata": {"annotations": {ROLLOUT: claim_text(claim)}}}

    return await change_node(api, name, patch)


async def release_node(api: ClusterApi, name: str, claim: Claim | None, only: Phase | None = None) -> NodeRow:
    """Remove the claim and the cordon that belongs to it; another cordon stays.

    claim: the claim of the rollout that releases the node; None: an operator's instruction, for any rollout's claim
    only: release the node in this phase only; in a later phase its host may be changed, or a person works on it
    Raises ClaimedByOthers if another rollout or a later run has claimed it, or if it is in a later phase.
    """

    def patch(row: NodeRow) -> Json | None:
        there = claim_of(row)
        if there is None:
            return None
        if claim is not None:
            _refuse_others(row, claim)
        if only is not None and there.phase is not only:
            raise ClaimedByOthers(name, there, f"is in phase {there.phase} now, and no longer in phase {only}")
        # if somebody has uncordoned it, our cordon annotation must go too: it would own that person's next cordon
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
