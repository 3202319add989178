"""What a run that was killed has left, and what becomes of it: finished, given back, or left and told. Pure.

An intent on the pool's Lease says what was to be done, the host itself whether that was begun. What stands on a Node
is a sign for people: it makes nothing happen. Only pools are looked at whose lease nobody renews, and nothing new is
begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from poolkeeper.tasks.cluster.claims import Claim, Phase, claim_of
from poolkeeper.tasks.cluster.leases import Note
from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.fence import Begun
from poolkeeper.tasks.outcomes import Evidence, Finding, Observed, Severity, Subject, Unknown
from poolkeeper.tasks.rollout.goal import Goal
from poolkeeper.tasks.rollout.rollout_state import Intent, intents_of, unfinished

Hosts = Mapping[str, Observed[Begun | None]]
"""By host: for what it was changed last, as it tells itself."""


class Remedy(StrEnum):
    """What becomes of one host."""

    FORGET = "forget"
    """Nothing was begun, and nothing of it is on the Node: the intent goes."""
    RETURN = "return to service"
    """Nothing on the host was changed: remove claim and cordon."""
    FINISH = "finish"
    """The host may be half changed: go on with the change, prove it, give it back."""
    SKIP = "skip"
    """A person's, or for a person to decide; the finding says what."""


@dataclass(frozen=True, slots=True)
class Found:
    """One host that a rollout has left something of."""

    host: Host
    node: NodeRow | None
    goal: Goal
    intent: Intent | None
    """None: there is a claim on the Node, and no rollout of ours knows of it."""
    claim: Claim | None
    remedy: Remedy
    finding: Finding | None = None

    @property
    def node_is_dead(self) -> bool:
        """Whether a person has said, as it was begun, that the machine is gone."""
        return self.intent is not None and self.intent.node_is_dead

    @property
    def told(self) -> str:
        """How far it has come, for people."""
        return f"{self.claim.phase} since {self.claim.since}" if self.claim is not None else "nothing on its Node"


def intended(note: Note, hosts: Iterable[Host]) -> dict[str, Host]:
    """The hosts that some rollout of the pool has changed, or was about to, and that can tell."""
    names = {name for _, _, name, intent in intents_of(note) if intent.asks_host}
    return {host.name: host for host in hosts if host.name in names}


def leftovers(
    hosts: Iterable[Host],
    nodes: Mapping[str, NodeRow],
    note: Note,
    told: Hosts,
    finishes: Mapping[str, bool],
    now: datetime,
) -> tuple[Found, ...]:
    """What rollouts have left of these hosts.

    note: of the pool's Lease; told: what the hosts say that were intended to be changed
    finishes: flows whose changes can be finished -> whether that needs no Node
    """
    found = []
    for host in hosts:
        node = nodes.get(host.node_name)
        claim = claim_of(node) if node is not None else None
        known = [(rollout, one) for rollout, one in unfinished(note).items() if host.name in one.intents]
        for rollout, one in known:
            theirs = claim if claim is not None and claim.rollout == rollout else None
            goal = Goal(one.flow, host.pool.name, one.goal)
            looked = _Look(host, node, goal, one.intents[host.name], theirs, now)
            found.append(looked.judged(told.get(host.name), finishes))
        if claim is not None and claim.rollout not in dict(known):
            goal = Goal(claim.flow, host.pool.name, claim.goal)
            found.append(_Look(host, node, goal, None, claim, now).of_nobody())
    # what is quick comes first: to finish one may take hours
    return tuple(sorted(found, key=lambda one: one.remedy is Remedy.FINISH))


@dataclass(frozen=True, slots=True)
class _Look:
    """One host and one rollout."""

    host: Host
    node: NodeRow | None
    goal: Goal
    intent: Intent | None
    claim: Claim | None
    now: datetime

    def judged(self, told: Observed[Begun | None] | None, finishes: Mapping[str, bool]) -> Found:
        """What becomes of it."""
        intent, claim, node = self.intent, self.claim, self.node
        if intent is None:
            raise AssertionError("without an intent there is nothing to judge")
        if not self.host.active:
            return self._skipped(
                "recover.host.inactive",
                f"{self.goal.flow} was begun on it, and the fleet file says active: false since",
                f"Set active: true until it is finished, or, if it works, `poolkeeper release {self.host.node_name}`.",
            )
        if node is not None and node.machine_id != intent.machine_id:
            return self._skipped(
                "recover.other-machine",
                f"{self.goal.flow} was begun on machine id {intent.machine_id or 'unknown'}, and its Node tells"
                f" {node.machine_id or 'none'} now",
                f"Find out which machine is which, then `poolkeeper release {node.name}`.",
            )
        if claim is not None and claim.phase is Phase.WITH_A_PERSON:
            return self._skipped(
                "recover.with-a-person",
                f"a person has it since {claim.since}",
                f"When the work is done: `poolkeeper run {self.goal.flow} -p hosts={self.host.name} -p back=true"
                " -p dry_run=false`.",
                Severity.INFO,
            )
        if claim is not None and claim.phase is Phase.FAILED:
            return self._skipped(
                "recover.failed",
                f"flow {self.goal.flow} failed on it, in run {claim.run}, and keeps it cordoned since {claim.since}",
                f"Mend it, then start {self.goal.flow} again: it proves the node and gives it back.",
                Severity.WARNING,
            )
        if intent.node_is_dead:  # there is nobody to ask: a person's word stands on the Lease
            changed = node is None or (claim is not None and claim.phase is Phase.CHANGING)
        elif intent.hands_over:
            changed = False
        elif told is None or isinstance(told, Unknown):
            return self._skipped(
                "recover.host.unknown",
                f"whether {self.goal.flow} has changed it is unknown: {told.reason if told else 'it was not asked'}",
                f"See that {self.host.name} answers over SSH: the next recovery asks it again.{self._if_gone}",
                Severity.WARNING,
            )
        elif told.value is not None and told.value.rollout == self.goal.id and told.value.token != intent.token:
            return self._skipped(
                "recover.host.other-intent",
                f"it says that {self.goal.flow} was begun on it by another intent than the pool's Lease knows",
                f"Look at {self.host.name} and at who writes Leases in namespace poolkeeper; then start"
                f" {self.goal.flow} again once it is released (`poolkeeper release {self.host.node_name}`).",
            )
        else:
            changed = told.value == intent.begun(self.goal.id)
        if not changed:
            return self._found(Remedy.RETURN if claim is not None else Remedy.FORGET)
        return self._half_changed(finishes)

    def _half_changed(self, finishes: Mapping[str, bool]) -> Found:
        flow = self.goal.flow
        if flow not in finishes:
            return self._skipped(
                "recover.unknown-flow",
                f"flow {flow} was changing it, which this version cannot finish",
                f"Start {flow} again from the installation that began it.",
            )
        if self.node is None and finishes[flow]:
            return self._found(Remedy.FINISH)
        if self.node is None:
            return self._skipped(
                "recover.node.gone",
                f"{flow} was changing it, and its Node is gone",
                f"Onboard it again once it works: restart its kubelet, or reset it; then"
                f" `poolkeeper release {self.host.node_name}`.",
            )
        if self.claim is None or self.claim.phase is not Phase.CHANGING:
            seen = "is gone" if self.claim is None else f"says {self.claim.phase}"
            return self._skipped(
                "recover.claim.changed",
                f"{flow} was changing it, and the claim on its Node {seen}: pods may have come",
                f"Start {flow} again for it, or, if it works, `poolkeeper release {self.node.name}`.",
            )
        return self._found(Remedy.FINISH)

    @property
    def _if_gone(self) -> str:
        """What else to do where its machine is dead."""
        if self.goal.flow != "offboard":
            return ""
        command = f"poolkeeper run offboard -p hosts=name={self.host.name} -p host_is_gone=true -p dry_run=false"
        return f" If the machine is gone for good: `{command}`."

    def of_nobody(self) -> Found:
        """A claim that no rollout of ours knows of."""
        run = self.claim.run if self.claim is not None else "unknown"
        return self._skipped(
            "recover.claim.unknown",
            f"its Node says that run {run} of flow {self.goal.flow} works on it, and the pool's Lease knows nothing of"
            " that: someone else has written it, it is from a backup, or the Lease was deleted",
            f"Look at the host; when nobody works on it, `poolkeeper release {self.host.node_name}`.",
        )

    def _found(self, remedy: Remedy, finding: Finding | None = None) -> Found:
        return Found(self.host, self.node, self.goal, self.intent, self.claim, remedy, finding)

    def _skipped(self, id: str, observed: str, next_step: str, severity: Severity = Severity.BLOCKER) -> Found:
        source = f"pool's Lease, node {self.host.node_name}, /var/lib/poolkeeper/rollout"
        evidence = Evidence(observed, "nothing left of a rollout", source, self.now)
        return self._found(Remedy.SKIP, Finding(id, severity, Subject("host", self.host.name), evidence, next_step))
