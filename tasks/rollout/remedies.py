"""What a killed run has left on hosts, and the remedy: finish it, return the node to service, or report it. Pure.

The intent on the pool's Lease says what was to be done; the host's own record says whether it was started. The claim
on a Node is for people and makes nothing happen. Recovery looks only at pools whose lease nobody renews, and starts
nothing new.
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
from poolkeeper.tasks.hosts.fence import HostIntent
from poolkeeper.tasks.outcomes import Evidence, Finding, Observed, Severity, Subject, Unknown
from poolkeeper.tasks.rollout.goal import Goal
from poolkeeper.tasks.rollout.rollout_state import Intent, intents_of, unfinished

Hosts = Mapping[str, Observed[HostIntent | None]]
"""By host: what it was changed for last, by its own record."""


class Remedy(StrEnum):
    """What recovery does with one host."""

    FORGET = "forget"
    """Nothing was started, and the Node has no claim: remove the intent."""
    RETURN = "return to service"
    """Nothing on the host was changed: remove claim and cordon."""
    FINISH = "finish"
    """The host may be half changed: continue the change, prove it, return it to service."""
    SKIP = "skip"
    """It is with a person, or a person has to decide; the finding says what."""


@dataclass(frozen=True, slots=True)
class Found:
    """One host on which a rollout has left something."""

    host: Host
    node: NodeRow | None
    goal: Goal
    intent: Intent | None
    """None: there is a claim on the Node that belongs to no rollout on the pool's Lease."""
    claim: Claim | None
    remedy: Remedy
    finding: Finding | None = None

    @property
    def node_is_dead(self) -> bool:
        """Whether a person has declared the machine gone when the rollout started on it."""
        return self.intent is not None and self.intent.node_is_dead

    @property
    def progress(self) -> str:
        """How far the host has come, for people."""
        return f"{self.claim.phase} since {self.claim.since}" if self.claim is not None else "no claim on its Node"


def intended(note: Note, hosts: Iterable[Host]) -> dict[str, Host]:
    """The hosts that a rollout of the pool has changed, or was about to change, and that keep a record of it."""
    names = {name for _, _, name, intent in intents_of(note) if intent.asks_host}
    return {host.name: host for host in hosts if host.name in names}


def leftovers(
    hosts: Iterable[Host],
    nodes: Mapping[str, NodeRow],
    note: Note,
    records: Hosts,
    finishes: Mapping[str, bool],
    now: datetime,
) -> tuple[Found, ...]:
    """What rollouts have left of these hosts.

    note: of the pool's Lease; records: of the hosts that were intended to be changed
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
            case = _Case(host, node, goal, one.intents[host.name], theirs, now)
            found.append(case.judged(records.get(host.name), finishes))
        if claim is not None and claim.rollout not in dict(known):
            goal = Goal(claim.flow, host.pool.name, claim.goal)
            found.append(_Case(host, node, goal, None, claim, now).without_intent())
    # quick remedies first: to finish a host may take hours
    return tuple(sorted(found, key=lambda one: one.remedy is Remedy.FINISH))


@dataclass(frozen=True, slots=True)
class _Case:
    """One host and one rollout that has something on it."""

    host: Host
    node: NodeRow | None
    goal: Goal
    intent: Intent | None
    claim: Claim | None
    now: datetime

    def judged(self, record: Observed[HostIntent | None] | None, finishes: Mapping[str, bool]) -> Found:
        """What recovery does with it. record: the host's own, None: it was not asked."""
        intent, claim, node = self.intent, self.claim, self.node
        if intent is None:
            raise AssertionError("without an intent there is nothing to judge")
        if not self.host.active:
            return self._skipped(
                "recover.host.inactive",
                f"{self.goal.flow} was started on it, and the fleet file has set it to active: false since",
                f"Set active: true until it is finished. If it works: `poolkeeper release {self.host.node_name}`.",
            )
        if node is not None and node.machine_id != intent.machine_id:
            return self._skipped(
                "recover.other-machine",
                f"{self.goal.flow} was started on machine id {intent.machine_id or 'unknown'}, and its Node reports"
                f" {node.machine_id or 'none'} now",
                f"Find out which machine has this Node, then `poolkeeper release {node.name}`.",
            )
        if claim is not None and claim.phase is Phase.WITH_A_PERSON:
            return self._skipped(
                "recover.with-a-person",
                f"it is with a person since {claim.since}",
                f"When the work is done: `poolkeeper run {self.goal.flow} --hosts {self.host.name} --back --apply`.",
                Severity.INFO,
            )
        if claim is not None and claim.phase is Phase.FAILED:
            return self._skipped(
                "recover.failed",
                f"run {claim.run} of flow {self.goal.flow} failed on it and keeps it cordoned since {claim.since}",
                f"Repair it, then start {self.goal.flow} again: it proves the node and returns it to service.",
                Severity.WARNING,
            )
        if intent.node_is_dead:  # the host cannot be asked: a person has declared it gone, and the Lease says so
            changed = node is None or (claim is not None and claim.phase is Phase.CHANGING)
        elif intent.hands_over:
            changed = False
        elif record is None or isinstance(record, Unknown):
            return self._skipped(
                "recover.host.unknown",
                f"whether {self.goal.flow} has changed it is unknown: {record.reason if record else 'not asked'}",
                f"Make {self.host.name} answer over SSH, then run `poolkeeper run recover --apply`.{self._if_gone}",
                Severity.WARNING,
            )
        elif record.value is not None and record.value.rollout == self.goal.id and record.value.token != intent.token:
            return self._skipped(
                "recover.host.other-intent",
                f"its own record names an intent of {self.goal.flow} that is not the one on the pool's Lease",
                f"Check {self.host.name}, and who writes Leases in namespace poolkeeper. Then"
                f" `poolkeeper release {self.host.node_name}`, and start {self.goal.flow} again.",
            )
        else:
            changed = record.value == intent.begun(self.goal.id)
        if not changed:
            return self._found(Remedy.RETURN if claim is not None else Remedy.FORGET)
        return self._half_changed(finishes)

    def _half_changed(self, finishes: Mapping[str, bool]) -> Found:
        flow = self.goal.flow
        if flow not in finishes:
            return self._skipped(
                "recover.unknown-flow",
                f"flow {flow} was changing it, and this version cannot finish that flow",
                f"Start {flow} again from the installation that started it.",
            )
        if self.node is None and finishes[flow]:
            return self._found(Remedy.FINISH)
        if self.node is None:
            return self._skipped(
                "recover.node.gone",
                f"{flow} was changing it, and its Node is gone",
                "Restart its kubelet, or reset it and onboard it again; then"
                f" `poolkeeper release {self.host.node_name}`.",
            )
        if self.claim is None or self.claim.phase is not Phase.CHANGING:
            seen = "is gone" if self.claim is None else f"has phase {self.claim.phase}"
            return self._skipped(
                "recover.claim.changed",
                f"{flow} was changing it, and the claim on its Node {seen}: pods may run there now",
                f"Start {flow} again for it. If the host works: `poolkeeper release {self.node.name}`.",
            )
        return self._found(Remedy.FINISH)

    @property
    def _if_gone(self) -> str:
        """What else to do if the machine is gone."""
        if self.goal.flow != "offboard":
            return ""
        command = f"poolkeeper run offboard --hosts name={self.host.name} --host-is-gone --apply"
        return f" If the machine is gone for good: `{command}`."

    def without_intent(self) -> Found:
        """A claim that belongs to no rollout on the pool's Lease."""
        run = self.claim.run if self.claim is not None else "unknown"
        return self._skipped(
            "recover.claim.unknown",
            f"its Node has a claim of run {run} of flow {self.goal.flow}, and the pool's Lease has no intent for it:"
            " someone else wrote the claim, it is from a backup, or the Lease was deleted",
            f"Check the host. If nobody works on it: `poolkeeper release {self.host.node_name}`.",
        )

    def _found(self, remedy: Remedy, finding: Finding | None = None) -> Found:
        return Found(self.host, self.node, self.goal, self.intent, self.claim, remedy, finding)

    def _skipped(self, id: str, observed: str, next_step: str, severity: Severity = Severity.BLOCKER) -> Found:
        source = f"pool's Lease, node {self.host.node_name}, /var/lib/poolkeeper/rollout"
        evidence = Evidence(observed, "nothing left by a rollout", source, self.now)
        return self._found(Remedy.SKIP, Finding(id, severity, Subject("host", self.host.name), evidence, next_step))
