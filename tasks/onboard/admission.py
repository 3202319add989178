"""Admitting one host: join, quarantine, acceptance, release, and undoing what did not work.

Every call looks first and takes the host up where it stands, so that a run that was killed at any point is
finished by the next one. Each mutation passes the gate with a sentence. What a sentence covers is told in
it: a join includes cordoning its Node the moment it appears, because between the two the Node would take
workloads (those of hybrid pools tolerate ACK's taint).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from poolkeeper.tasks.acceptance.proof import Clients, NodeGone, Wanted, prove_node
from poolkeeper.tasks.cluster import ApiError, ClusterApi, ClusterUnreachable
from poolkeeper.tasks.cluster.claims import claim_of
from poolkeeper.tasks.cluster.nodes import (
    HYBRID_TAINT,
    NodeRow,
    RolloutInProgress,
    accept,
    cordon,
    get_node,
    list_nodes,
    wait_node,
)
from poolkeeper.tasks.cluster.pods import PodRow, pods_on
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import FactsRequest, HostError, HostFacts, Sessions, changes, read_facts
from poolkeeper.tasks.hosts.units import UnitRun, UnitState, forget_unit, start_unit, unit_state, wait_unit
from poolkeeper.tasks.onboard.host_cleanup import (
    JOIN_UNIT,
    LEAVE_UNIT,
    ResetFailed,
    clean_host,
    last_output,
    remove_node,
)
from poolkeeper.tasks.onboard.messages import removing
from poolkeeper.tasks.onboard.next_action import (
    JoinState,
    NextAction,
    Step,
    is_uncordoned,
    next_action,
    other_names,
    own_node,
    reason_not_to_undo,
)
from poolkeeper.tasks.outcomes import (
    Evidence,
    Finding,
    Gate,
    GateRefused,
    HostOutcome,
    HostState,
    Known,
    Observed,
    Secret,
    Severity,
    Subject,
    Unknown,
    by_severity,
)
from poolkeeper.tasks.provider import Provider, ProviderError
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.runs.watching import watcher

_log = logging.getLogger(__name__)


class NotAdmitted(Exception):
    """A host did not make it; the findings say why."""

    def __init__(self, summary: str, findings: Sequence[Finding], *, ends_as: HostState | None = None) -> None:
        super().__init__(summary)
        self.summary = summary
        self.findings = tuple(findings)
        self.ends_as = ends_as
        """How the host ends, where nothing is to be undone; None: what was begun is undone."""


@dataclass(frozen=True, slots=True)
class Look:
    """A host as it is right now."""

    facts: HostFacts
    node: NodeRow | None
    join: JoinState
    action: NextAction

    @property
    def joined_by_us(self) -> bool:
        """Whether a join of ours is on the host or made its Node, as that tells: a sign for people."""
        return self.join is not JoinState.NONE or (self.node is not None and self.node.joined_by_us)


class Admission:
    """What admitting hosts to one cluster needs; opened once a run."""

    def __init__(
        self,
        *,
        api: ClusterApi,
        sessions: Sessions,
        provider: Provider,
        gate: Gate,
        recorder: Recorder,
        request: FactsRequest,
    ) -> None:
        self.api = api
        self.sessions = sessions
        self.provider = provider
        self.gate = gate
        self.recorder = recorder
        self.request = request
        self.ineligible_now: Callable[[Host, Look], Sequence[Finding]] = lambda host, look: ()
        """What a join would destroy on a host, judged on the look just taken: preflight may be hours old."""
        self.excluded: Callable[[Host], Sequence[Finding]] = lambda host: ()
        """Why preflight keeps out a host that has joined: its Node is quarantined, and nothing more."""

    async def look(self, host: Host, node: NodeRow | None) -> Look:
        """Read a host and decide where it stands. Raises HostError."""
        facts, join = await asyncio.gather(read_facts(self.sessions, host, self.request), self._join_state(host))
        action = next_action(host, facts.machine_id, node, join, datetime.now(UTC))
        return Look(facts, node, join, action)

    async def _join_state(self, host: Host) -> JoinState:
        state, leaving = await asyncio.gather(
            unit_state(self.sessions, host, JOIN_UNIT), unit_state(self.sessions, host, LEAVE_UNIT)
        )
        if leaving.state is UnitRun.UNKNOWN:
            return JoinState.UNKNOWN
        if leaving.state is not UnitRun.ABSENT:
            return JoinState.FAILED  # an undoing that was cut off: it is finished before anything else
        return {
            UnitRun.ABSENT: JoinState.NONE,
            UnitRun.RUNNING: JoinState.RUNNING,
            UnitRun.SUCCEEDED: JoinState.SUCCEEDED,
            UnitRun.FAILED: JoinState.FAILED,
            UnitRun.UNKNOWN: JoinState.UNKNOWN,
        }[state.state]

    async def admit(self, host: Host) -> HostOutcome:
        """Bring one host from where it stands to acceptance, or tell why not.

        Raises HostError, ClusterUnreachable and ApiError when host or cluster cannot be reached: call it again.
        """
        async with self.recorder.phase(host.name, "look"):
            look = await self.look(host, await get_node(self.api, host.node_name))
        action = look.action
        if action.step is Step.NOTHING:
            return self._outcome(host, HostState.ACCEPTED, action.reason)
        if action.finding is not None:
            return self._outcome(host, HostState.STOPPED, action.reason, [action.finding])
        excluded = self.excluded(host)
        if excluded and not is_uncordoned(action, look.node, look.facts.machine_id):
            return self._outcome(host, HostState.STOPPED, _worst(excluded), excluded)
        started_early: list[Finding] = []
        try:
            if excluded:
                async with self.recorder.phase(host.name, "quarantine"):
                    started_early += await self._quarantine(host, look)
                ends_as = self.gate.seen(HostState.QUARANTINED, if_dry_run=HostState.STOPPED)
                raise NotAdmitted(_worst(excluded), excluded, ends_as=ends_as)
            if action.step is Step.UNDO_THEN_JOIN:
                async with self.recorder.phase(host.name, "undo"):
                    left = await self._undo(host, look.node, look.facts.machine_id)
                if left:
                    raise NotAdmitted("an earlier join could not be undone", left, ends_as=HostState.FAILED)
            if action.step is Step.JOIN and (ineligible := self.ineligible_now(host, look)):
                raise NotAdmitted("no longer fit to join", ineligible, ends_as=HostState.STOPPED)
            if action.step in (Step.JOIN, Step.UNDO_THEN_JOIN, Step.FOLLOW_JOIN):
                async with self.recorder.phase(host.name, "join"):
                    started_early += await self._join(host, look)
            elif action.step is Step.ACCEPT:
                async with self.recorder.phase(host.name, "quarantine"):
                    started_early += await self._quarantine(host, look)
            async with self.recorder.phase(host.name, "acceptance"):
                await self._prove(host)
            async with self.recorder.phase(host.name, "release"):
                kept = await self._release(host, look)
        except GateRefused as refused:
            if refused.refusal.temporary:  # the API server is away for a moment, which is no one's word
                raise ClusterUnreachable(refused.refusal.reason) from None
            return self._outcome(
                host,
                HostState.REFUSED,
                str(refused),
                [*started_early, refused.refusal.finding(Subject("host", host.name))],
            )
        except RolloutInProgress as taken:
            finding = self._finding(
                host,
                "rollout.node.taken",
                str(taken),
                "no rollout on it before it is accepted",
                "Run this again when the rollout has given it back.",
            )
            return self._outcome(host, HostState.STOPPED, str(taken), [*started_early, finding])
        except NotAdmitted as failure:
            return await self._give_up(host, look, failure, started_early)
        planned = HostState.PLANNED, f"{action.step}: {action.reason}"
        state, summary = self.gate.seen((HostState.ACCEPTED, "accepted and released"), if_dry_run=planned)
        return self._outcome(host, state, summary, [*started_early, *kept, *self._objections(host)])

    def _objections(self, host: Host) -> list[Finding]:
        """What guards have against the steps of a dry run."""
        here = Subject("host", host.name)
        found = self.gate.objections(here, Subject("node", host.node_name))
        return [refusal.finding(here, Severity.WARNING) for refusal in found]

    # joining

    async def _join(self, host: Host, look: Look) -> list[Finding]:
        """Start the provider's join script, or take up the one that runs, until the Node is there and cordoned."""
        pool, action = host.pool, look.action

        async def act() -> list[Finding]:
            script = None
            if action.step is not Step.FOLLOW_JOIN:
                script = await self.provider.join_script(host, self._arch(host, look))
                await changes.remember(self.sessions, host)
                await start_unit(self.sessions, host, JOIN_UNIT, script, timeout_s=pool.join.timeout_s)
                await changes.begun(self.sessions, host)
            return await self._follow(host, look, script)

        if (stale := action.stale_node) is not None:
            await self.gate.change(
                Subject("node", host.node_name),
                _stale_sentence(host),
                lambda: self._remove_stale(host, stale),
                if_dry_run=None,
            )
        try:
            return await self.gate.change(
                Subject("host", host.name), _join_sentence(host, action.step), act, if_dry_run=[]
            )
        except ProviderError as error:
            raise NotAdmitted(
                "no join script",
                [
                    self._finding(
                        host,
                        "onboard.join.script",
                        str(error),
                        "a join script from the provider",
                        "Mend what the provider names, then run this again; the host is unchanged.",
                    )
                ],
                ends_as=HostState.STOPPED,
            ) from None

    async def _remove_stale(self, host: Host, stale: NodeRow) -> None:
        """Delete the dead Node of an earlier life of this machine, if it still is what was looked at."""
        node = await get_node(self.api, host.node_name)
        if node is None:
            return
        if node.uid != stale.uid or node.ready or claim_of(node) is not None:
            became = "Ready again" if node.ready else "another one, or in a rollout's hands, by now"
            finding = self._finding(
                host,
                "onboard.identity.came-back",
                f"Node {node.name} is {became}",
                "the dead Node of this machine's earlier life",
                "Find out which machine has this name before anything else.",
            )
            raise NotAdmitted("its old Node came back", [finding], ends_as=HostState.STOPPED)
        await remove_node(self.api, self.recorder, host, node)

    def _arch(self, host: Host, look: Look) -> str:
        """The architecture to ask a script for: one for another would install programs that cannot run."""
        arch = look.facts.arch
        if isinstance(arch, Known):
            return arch.value
        raise NotAdmitted(
            "its architecture is not known",
            [
                self._finding(
                    host,
                    "onboard.join.arch",
                    f"unknown: {arch.reason}",
                    "the answer of `uname -m`",
                    "See that `uname -m` works for the login user on the host.",
                )
            ],
            ends_as=HostState.STOPPED,
        )

    async def _follow(self, host: Host, look: Look, script: Secret | None) -> list[Finding]:
        """Watch the Node and the joining unit at once; the first failure ends it."""
        timeout_s = host.pool.join.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                appearing = asyncio.create_task(self._cordon_as_it_appears(host, look))
                joining = asyncio.create_task(
                    wait_unit(self.sessions, host, JOIN_UNIT, timeout_s=timeout_s, script=script)
                )
                try:
                    pending = {appearing, joining}
                    while pending:
                        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                        if joining in done:
                            await self._join_ended(host)
                        if joining in done and joining.result().state is not UnitRun.SUCCEEDED:
                            raise self._join_failed(host, joining.result(), quotable=script is not None)
                        if appearing in done:
                            started_early = appearing.result()
                    return started_early
                finally:
                    appearing.cancel()
                    joining.cancel()
                    await asyncio.gather(appearing, joining, return_exceptions=True)
        except TimeoutError:
            raise await self._join_timed_out(host, look) from None

    async def _join_ended(self, host: Host) -> None:
        """Let the provider take back what the join had; only told where that fails: it expires by itself.

        Called once it is certain that nothing runs on the host any more that needs it. Wherever a run breaks off
        before, the join may go on, and is followed by the next run.
        """
        try:
            await self.provider.join_ended(host)
        except ProviderError as error:
            _log.warning("%s: %s", host.name, error)

    async def _join_timed_out(self, host: Host, look: Look) -> NotAdmitted:
        """No Node of its name in time; a joiner that gives names of its own is told apart by the machine id."""
        timeout_s, nodes = host.pool.join.timeout_s, await list_nodes(self.api)
        elsewhere = other_names(host, nodes.values(), look.facts.machine_id)
        if elsewhere:
            finding = self._finding(
                host,
                "onboard.join.other-name",
                f"it registered as node {elsewhere[0]}, which is not cordoned",
                f"node {host.node_name}",
                f"{_sentence(removing(host.pool.cluster, elsewhere[0]))}, set node_name: {elsewhere[0]} in the fleet"
                " file (or the hostname to the node name), and run this again.",
            )
            return NotAdmitted("it registered under another name", [finding])
        finding = self._finding(
            host,
            "onboard.join.timeout",
            f"no Node {host.node_name}, or the join script still runs, after {timeout_s:.0f} s",
            "the script ended and the Node registered",
            "Read the joiner's and the kubelet's log on the host (`journalctl -u kubelet -n 100`);"
            " set on_failure: keep in the pool's join settings to look at it as it stands.",
        )
        return NotAdmitted("the join did not end in time", [finding])

    async def _cordon_as_it_appears(self, host: Host, look: Look) -> list[Finding]:
        row = await wait_node(self.api, host.node_name, lambda row: row is not None and row.machine_id != "")
        machine_id = look.facts.machine_id
        if row is not None and isinstance(machine_id, Known) and row.machine_id != machine_id.value:
            raise NotAdmitted(
                "another machine registered under its name",
                [
                    self._finding(
                        host,
                        "onboard.identity.other-machine",
                        f"Node {row.name} registered with machine id {row.machine_id}",
                        f"machine id {machine_id.value}",
                        "Find out which machine joined under this name before anything else.",
                    )
                ],
            )
        return await self._cordon(host, look.facts, joined=True)

    async def _cordon(self, host: Host, facts: HostFacts, *, joined: bool) -> list[Finding]:
        """Cordon as ours, then tell which pods were quicker."""
        row = await cordon(
            self.api,
            host.node_name,
            why="quarantine until acceptance",
            run=self.recorder.run_id,
            at=datetime.now(UTC),
            joined=joined,
        )
        self.recorder.lifecycle(host, "joined", row, row.created_at, facts)
        guests = [pod for pod in await pods_on(self.api, row.name) if _is_guest(pod)]
        if not guests:
            return []
        names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in guests[:5])
        return [
            self._finding(
                host,
                "onboard.quarantine.started_early",
                f"{len(guests)} pods started_early before the cordon: {names}",
                "none until acceptance",
                "Decide whether they may stay; `kubectl delete pod` moves them elsewhere.",
                severity=Severity.WARNING,
            )
        ]

    async def _quarantine(self, host: Host, look: Look) -> list[Finding]:
        """Cordon a Node that has joined and was not cordoned yet, or is so already."""
        return await self.gate.change(
            Subject("node", host.node_name),
            _quarantine_sentence(host),
            lambda: self._cordon(host, look.facts, joined=look.joined_by_us),
            if_dry_run=[],
        )

    def _join_failed(self, host: Host, ended: UnitState, *, quotable: bool) -> NotAdmitted:
        """`quotable`: this run has the script, so that what the output quotes of it was redacted."""
        unseen = f"exit status {ended.exit_status}; its output may quote the script, which an earlier run had"
        return NotAdmitted(
            "the join script failed",
            [
                self._finding(
                    host,
                    "onboard.join.failed",
                    last_output(ended) if quotable else unseen,
                    "exit status 0",
                    "Mend what the joiner's last lines name, then run this again.",
                )
            ],
        )

    # acceptance

    async def _prove(self, host: Host) -> None:
        """Wait for the Node to settle, probe it, judge. Raises NotAdmitted with every blocker."""
        clients = Clients(self.api, self.sessions, self.gate, self.request)
        wanted = Wanted(host.pool.kubernetes_version, ready_within_s=host.pool.join.timeout_s)
        try:
            findings = await prove_node(clients, host, wanted)
        except NodeGone:
            raise NotAdmitted(
                "its Node is gone",
                [
                    self._finding(
                        host,
                        "onboard.node.gone",
                        f"Node {host.node_name} was deleted",
                        "the Node stays until acceptance",
                        "Find out who deleted it (audit log), then run this again.",
                    )
                ],
            ) from None
        if findings:
            raise NotAdmitted("not accepted", findings)

    async def _release(self, host: Host, look: Look) -> list[Finding]:
        """Write down what the join changed, write acceptance, give back our cordon; then look."""
        pool, name = host.pool, host.node_name
        seen = look.facts.machine_id
        machine_id = seen.value if isinstance(seen, Known) else ""
        await self.gate.change(
            Subject("host", host.name), _record_sentence(host), lambda: self._record_changes(host), if_dry_run=None
        )
        await self.gate.change(
            Subject("node", name),
            _release_sentence(host),
            lambda: accept(
                self.api,
                name,
                run=self.recorder.run_id,
                at=datetime.now(UTC),
                machine_id=machine_id,
                lift_taint=pool.lift_taint,
            ),
            if_dry_run=None,
            one_request=True,
        )
        return await self.gate.unless_dry_run(lambda: self._look_at_released(host, look), if_dry_run=[])

    async def _look_at_released(self, host: Host, look: Look) -> list[Finding]:
        name = host.node_name
        node = await get_node(self.api, name)
        if node is None or not node.accepted or node.cordoned_by_us:
            raise NotAdmitted(
                "release did not hold",
                [
                    self._finding(
                        host,
                        "onboard.release.not-held",
                        "the Node is gone" if node is None else "the Node is still cordoned by us",
                        "accepted and not cordoned by us",
                        f"Look at `kubectl get node {name} -o yaml` and at who else writes to it.",
                    )
                ],
            )
        # of an adopted node for the first time
        self.recorder.lifecycle(host, "joined", node, node.created_at, look.facts)
        self.recorder.lifecycle(host, "state:Ready", node, datetime.now(UTC))
        if not node.unschedulable:
            return []
        return [
            self._finding(
                host,
                "node.cordoned.by-others",
                "accepted, and still cordoned by someone else",
                "schedulable",
                f"If nobody wants that any more: `kubectl uncordon {name}`.",
                severity=Severity.INFO,
            )
        ]

    async def _record_changes(self, host: Host) -> None:
        await changes.record(self.sessions, host)
        await forget_unit(self.sessions, host, JOIN_UNIT)

    # undoing

    async def _give_up(
        self, host: Host, look: Look, failure: NotAdmitted, started_early: Sequence[Finding]
    ) -> HostOutcome:
        """Undo a failed join of ours, unless the pool says to keep it; a node that others joined is never reset."""
        findings = [*started_early, *failure.findings]
        self.recorder.findings(host.name, "failure", findings)
        if failure.ends_as is not None:
            return self._outcome(host, failure.ends_as, failure.summary, findings)
        step = look.action.step
        if step is Step.ADOPT:
            return self._outcome(host, HostState.FAILED, f"{failure.summary}; left in service", findings)
        if step is Step.ACCEPT and not await self._is_of_our_join(host, look):
            return self._outcome(host, HostState.QUARANTINED, f"{failure.summary}; it was a node before us", findings)
        if host.pool.join.on_failure == "keep":
            node = await get_node(self.api, host.node_name)
            state = HostState.QUARANTINED if node is not None else HostState.FAILED
            return self._outcome(host, state, f"{failure.summary}; kept for a look", findings)
        try:
            async with self.recorder.phase(host.name, "undo"):
                left = await self._undo(host, await get_node(self.api, host.node_name), look.facts.machine_id)
        except NotAdmitted as error:
            findings += error.findings
            return self._outcome(host, HostState.FAILED, f"{failure.summary}; {error.summary}", findings)
        except (GateRefused, HostError, ApiError, ClusterUnreachable, TimeoutError) as error:
            findings.append(self._not_undone(host, str(error) or "the reset did not end in time"))
            return self._outcome(host, HostState.FAILED, f"{failure.summary}; could not be undone", findings)
        return self._outcome(host, HostState.FAILED, f"{failure.summary}; undone", [*findings, *left])

    async def _is_of_our_join(self, host: Host, look: Look) -> bool:
        """Whether the host itself says so: only such a one is ever undone. Anybody may have written on its Node."""
        if look.join is not JoinState.NONE:
            return True
        try:
            return await changes.is_unfinished(self.sessions, host)
        except HostError as error:
            _log.warning("%s: %s", host.name, error)
            return False

    async def _undo(self, host: Host, found: NodeRow | None, machine_id: Observed[str]) -> list[Finding]:
        """The provider's reset, then our own record of changes, then the Node; tells what is left."""
        node = own_node(found, machine_id)

        async def act() -> tuple[str, ...]:
            await self._refuse_if_in_service(host, node, machine_id)
            script = self.provider.leave_script(host)
            try:
                kept = await clean_host(self.sessions, host, script, started=lambda: self._join_ended(host))
            except ResetFailed as failed:
                finding = self._not_undone(host, str(failed))
                raise NotAdmitted("could not be undone", [finding], ends_as=HostState.FAILED) from None
            if node is not None:
                await remove_node(self.api, self.recorder, host, node)
            await forget_unit(self.sessions, host, LEAVE_UNIT)
            return kept

        kept = await self.gate.change(Subject("host", host.name), _undo_sentence(host), act, if_dry_run=())
        left = await self.gate.unless_dry_run(lambda: self._leftovers(host), if_dry_run=())
        if not kept and not left:
            return []
        return [
            self._finding(
                host,
                "onboard.undo.leftovers",
                "; ".join((*kept, *left)),
                "nothing of the failed join",
                "Unmount what is mounted there, then remove it by the provider's reset before the next try.",
                severity=Severity.WARNING,
            )
        ]

    async def _leftovers(self, host: Host) -> tuple[str, ...]:
        leftovers = (await read_facts(self.sessions, host, self.request)).leftovers
        return () if isinstance(leftovers, Unknown) else leftovers.value

    async def _refuse_if_in_service(self, host: Host, node: NodeRow | None, machine_id: Observed[str]) -> None:
        """The last look before a reset: whoever has taken the machine into service meanwhile has pods on it."""
        nodes = await list_nodes(self.api)
        name, why = host.node_name, ""
        if elsewhere := other_names(host, nodes.values(), machine_id):
            name, why = elsewhere[0], f"this machine is in the cluster as node {elsewhere[0]}"
        elif node is not None and (now := nodes.get(name)) is not None:
            guests = [pod for pod in await pods_on(self.api, name) if _is_guest(pod)]
            why = reason_not_to_undo(now, len(guests))
        if why:
            finding = self._finding(
                host,
                "onboard.undo.in-service",
                why,
                "a Node that nobody else has taken over",
                f"Decide what node {name} is to be: keep it, or drain it and take it out by hand.",
            )
            raise NotAdmitted("left as it is", [finding], ends_as=HostState.FAILED)

    def _not_undone(self, host: Host, observed: str) -> Finding:
        return self._finding(
            host,
            "onboard.undo.failed",
            observed,
            "the host as it was before, and no Node",
            f"Run this again; or by hand: the provider's reset on the host, then `kubectl delete node"
            f" {host.node_name}`.",
        )

    # telling

    def _finding(
        self,
        host: Host,
        id: str,
        observed: str,
        expected: str,
        next_step: str,
        severity: Severity = Severity.BLOCKER,
    ) -> Finding:
        evidence = Evidence(observed, expected, "onboarding", datetime.now(UTC))
        return Finding(id, severity, Subject("host", host.name), evidence, next_step)

    def _outcome(self, host: Host, state: HostState, summary: str, findings: Iterable[Finding] = ()) -> HostOutcome:
        findings = tuple(findings)
        _log.info("%s: %s: %s", host.name, state, summary)
        self.recorder.findings(host.name, "outcome", findings)
        watcher().ended(host.name, state, summary)
        return HostOutcome(host.name, state, summary, findings, dict(self.recorder.phase_s.get(host.name, {})))


def _is_guest(pod: PodRow) -> bool:
    """A pod that a scheduler put there and that runs: no DaemonSet's, no static one, none of our own."""
    runs = pod.phase not in ("Succeeded", "Failed")
    return runs and pod.owner_kind not in ("DaemonSet", "Node") and pod.namespace != "poolkeeper"


def _worst(findings: Iterable[Finding]) -> str:
    worst = by_severity(findings)[0]
    return f"{worst.id}: {worst.evidence.observed}"


def _sentence(clause: str) -> str:
    return clause[:1].upper() + clause[1:]


# what the gate is told; a dry run tells the same


def _join_sentence(host: Host, step: Step) -> str:
    verb = "follow the running join of" if step is Step.FOLLOW_JOIN else "join"
    new_token = host.pool.cluster.by_kubeadm and step is not Step.FOLLOW_JOIN
    token = " with a bootstrap token made for it and revoked afterwards," if new_token else ""
    return f"{verb} host {host.name} to pool {host.pool.name}{token} and cordon node {host.node_name} as it appears"


def _quarantine_sentence(host: Host) -> str:
    return f"keep node {host.node_name} cordoned until acceptance"


def _record_sentence(host: Host) -> str:
    return f"write the record of what the join changed on host {host.name}"


def _release_sentence(host: Host) -> str:
    lift = f" and lift the taint {HYBRID_TAINT}" if host.pool.lift_taint else ""
    return f"release node {host.node_name}: write acceptance, give back our cordon{lift}"


def _stale_sentence(host: Host) -> str:
    return f"delete the dead Node {host.node_name} of this machine's earlier life"


def _undo_sentence(host: Host) -> str:
    return f"undo the failed join of host {host.name} and delete its Node if there is one"
