"""Removing one host from its pool for good, as the work of a rollout: the reverse of onboarding.

The host is cleaned first and its Node is deleted last, so that the claim on the Node shows the next run that a run was
killed. A host without a Node that is not clean is finished by our record or unit on it. Each change passes the gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.nodes import NodeRow, delete_node, get_node, list_nodes, wait_node
from poolkeeper.tasks.cluster.pods import PodRow, pods_on, wait_pods_on
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import FactsRequest, HostError, Sessions, read_facts
from poolkeeper.tasks.hosts.errors import ConnectTimeout, Unreachable
from poolkeeper.tasks.hosts.fence import Fence, FencedOff, write_fence
from poolkeeper.tasks.hosts.kubelet import read_trace, switch_off
from poolkeeper.tasks.hosts.units import forget_unit, unit_state
from poolkeeper.tasks.onboard.host_cleanup import JOIN_UNIT, LEAVE_UNIT, ResetFailed, clean_host, record_leaving
from poolkeeper.tasks.onboard.offboard_checks import (
    MayNotLeave,
    Remains,
    finding,
    host_alive,
    leftovers_stay,
    lost_pods,
    may_come_back,
    not_cleaned,
    pods_still_bound,
    reason_to_stay,
    still_declared,
    unsure_if_gone,
)
from poolkeeper.tasks.outcomes import Finding, Gate, Observed, Subject, failed_if
from poolkeeper.tasks.provider import Provider, ProviderError
from poolkeeper.tasks.runs.recording import Recorder

SILENCE = (ConnectTimeout, Unreachable)
"""How a machine that is gone looks from here, or from its jump host where that reports it. A machine that refuses a
connection or a login is there."""
STAYS_AWAY_S = 12.0
"""How long a deleted Node is watched: systemd restarts a kubelet that has ended after ten seconds."""
PODS_GONE_WITHIN_S = 120.0
"""How long pods may stay bound to a deleted Node: the pod garbage collector looks every 20 s, and deletes pods whose
Node it has missed for 40 s. A kubelet that joins earlier under that name would adopt them with an outdated status."""
REMOVAL_TIMEOUT_S = 600.0
"""How long the provider may take to remove a node from its list."""


class Offboarding:
    """Removes hosts from one cluster; made once a run.

    host_is_gone: the operator says that the machines are dead; refused where one answers
    absent_s: how long a Node must stay deleted, in seconds
    """

    hands_over = False
    works_on_not_ready = True
    works_without_node = True
    one_by_one = False

    def __init__(
        self,
        *,
        api: ClusterApi,
        sessions: Sessions,
        provider: Provider,
        gate: Gate,
        recorder: Recorder,
        request: FactsRequest,
        host_is_gone: bool = False,
        absent_s: float = STAYS_AWAY_S,
    ) -> None:
        self.api, self.sessions, self.provider = api, sessions, provider
        self.gate, self.recorder, self.request = gate, recorder, request
        self._host_is_gone, self._absent_s = host_is_gone, absent_s
        self._removing = asyncio.Lock()
        """The provider removes one node of a pool at a time; the timeout of each starts with its turn."""
        self._notes: dict[str, list[Finding]] = {}
        """Host -> findings of its change that do not stop it."""

    # looking

    async def at_goal(self, host: Host, node: NodeRow | None) -> bool:
        """Whether there is no Node, no entry in the provider's list, and nothing left on the host.

        Raises MayNotLeave for a machine that must not be changed, and other HostErrors.
        """
        if self._host_is_gone:
            await self._refuse_if_alive(host, node)
        else:
            remains = await self._look(host, node)
            if not remains.is_clean:
                return False
        return node is None and not await self.provider.lists_node(host)

    async def _look(self, host: Host, node: NodeRow | None) -> Remains:
        """What is left on a host. Raises MayNotLeave if it is not the machine to remove, and other HostErrors."""
        try:
            remains = await self._remains(host)
        except FencedOff:
            raise
        except HostError as error:
            error.next_step += f" If the machine is gone for good: `{_gone_command(host)}`."
            raise
        nodes = await list_nodes(self.api)
        if (found := reason_to_stay(host, node, nodes.values(), remains, datetime.now(UTC))) is not None:
            raise MayNotLeave(found)
        return remains

    async def _remains(self, host: Host) -> Remains:
        facts, trace, joining, leaving = await asyncio.gather(
            read_facts(self.sessions, host, self.request),
            read_trace(self.sessions, host),
            unit_state(self.sessions, host, JOIN_UNIT),
            unit_state(self.sessions, host, LEAVE_UNIT),
        )
        return Remains(facts.machine_id, trace, joining.state, leaving.state)

    async def _refuse_if_alive(self, host: Host, node: NodeRow | None) -> None:
        """Raises MayNotLeave if a machine that should be gone answers, or if that is unknown."""
        answered: Observed[str] | None = None
        try:
            answered = (await read_facts(self.sessions, host, self.request)).machine_id
        except SILENCE:
            pass
        except HostError as error:
            raise MayNotLeave(unsure_if_gone(host, error, datetime.now(UTC))) from None
        if (found := host_alive(host, node, answered, datetime.now(UTC))) is not None:
            raise MayNotLeave(found)

    async def prepare(self, host: Host) -> tuple[Finding, ...]:
        """Nothing: the look has decided whether the host may leave."""
        return ()

    def remembered(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def remember(self, what: Mapping[str, Any]) -> None:
        """Nothing."""

    # acting

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        """Clean the host, then remove its node. Blockers: what failed; the Node is then still there.

        Raises GateRefused, FencedOff, HostError, ClusterUnreachable and ApiError: call it again.
        """
        notes = self._notes[host.name] = []
        node = await get_node(self.api, host.node_name)
        try:
            if self._host_is_gone:
                await self._refuse_if_alive(host, node)
            else:
                await self._look(host, node)
        except MayNotLeave as refused:
            return (refused.finding(Subject("host", host.name)),)
        if not self._host_is_gone and (failed := await self._clean(host, fence)):
            return failed
        if self._host_is_gone and node is not None:
            lost = lost_pods(host, await pods_on(self.api, node.name), datetime.now(UTC))
            notes += [lost] if lost else []
        return await self._remove(host, node)

    async def _clean(self, host: Host, fence: Fence) -> tuple[Finding, ...]:
        """Run the provider's reset, revert our record, switch the kubelet off. Blockers: why the node may come back."""

        async def still_ours() -> None:
            await write_fence(self.sessions, host, fence)

        async def act() -> tuple[str, ...]:
            script = self.provider.leave_script(host)
            kept = await clean_host(self.sessions, host, script, still_ours=still_ours)
            await still_ours()
            await switch_off(self.sessions, host)
            await forget_unit(self.sessions, host, LEAVE_UNIT)
            return kept

        try:
            kept = await self.gate.change(Subject("host", host.name), _clean_sentence(host), act, if_dry_run=())
        except ResetFailed as failed:
            return (self._not_cleaned(host, str(failed)),)
        except TimeoutError:
            return (self._not_cleaned(host, "the provider's reset did not end in time"),)
        if kept:
            self._notes[host.name].append(leftovers_stay(host, kept, datetime.now(UTC)))
        again: list[Finding] = await self.gate.unless_dry_run(lambda: self._look_again(host), if_dry_run=[])
        return tuple(found for found in again if found.id == "offboard.kubelet.on")

    async def _look_again(self, host: Host) -> list[Finding]:
        facts, trace = await asyncio.gather(
            read_facts(self.sessions, host, self.request), read_trace(self.sessions, host)
        )
        return may_come_back(host, trace, facts.leftovers, datetime.now(UTC))

    def _not_cleaned(self, host: Host, observed: str) -> Finding:
        return finding(
            host,
            "offboard.host.reset",
            observed,
            "a host without the provider's parts",
            f"Correct what the last lines name on {host.name}, then run this again; its node stays cordoned.",
            datetime.now(UTC),
        )

    async def _remove(self, host: Host, node: NodeRow | None) -> tuple[Finding, ...]:
        """Remove the node from the provider's list, then delete the Node; two changes: the first may take minutes."""
        here = Subject("node", host.node_name)

        async def unlist() -> str:
            if node is not None:
                await record_leaving(self.api, self.recorder, host, node)
            if not await self.provider.lists_node(host):
                return ""
            async with self._removing, asyncio.timeout(REMOVAL_TIMEOUT_S):
                return await self.provider.remove_node(host)

        try:
            why = await self.gate.change(here, _remove_sentence(host), unlist, if_dry_run="", end=failed_if)
        except ProviderError as error:
            why = error.summary
        except TimeoutError:
            why = f"the removal did not end within {REMOVAL_TIMEOUT_S:.0f} s"
        if not why and node is not None:
            await self.gate.change(
                here, _delete_sentence(host), lambda: delete_node(self.api, node), if_dry_run=None, one_request=True
            )
        if not why:
            return ()
        return (
            finding(
                host,
                "offboard.provider.refused",
                why,
                f"node {host.node_name} is not in the provider's list",
                "Correct what the provider names, then run this again. If ACK does not accept this call for your pool,"
                " set `removal` of the cluster's `ack` in the fleet file.",
                datetime.now(UTC),
                source="provider",
            ),
        )

    # afterwards

    async def prove(self, host: Host, before: NodeRow | None) -> tuple[Finding, ...]:
        """Read again that neither kubelet nor Node comes back. Findings: also what stays on the host."""
        found = [*self._notes.pop(host.name, [])]
        if self._host_is_gone:
            found.append(not_cleaned(host, datetime.now(UTC)))
        else:
            found += await self.gate.unless_dry_run(lambda: self._look_again(host), if_dry_run=[])
        back = await self.gate.unless_dry_run(lambda: self._comes_back(host), if_dry_run=None)
        if back is not None:
            found.append(
                finding(
                    host,
                    "offboard.node.came-back",
                    f"Node {back.name} is there again, with machine id {back.machine_id or 'unknown'}",
                    "no Node of that name",
                    "Find out which machine has that name and stop its kubelet; then run this again.",
                    datetime.now(UTC),
                    source="Kubernetes API",
                )
            )
        elif stay := await self.gate.unless_dry_run(lambda: self._bound_pods(host), if_dry_run=()):
            found.append(pods_still_bound(host, stay, datetime.now(UTC)))
        return (*found, still_declared(host, datetime.now(UTC)))

    async def _comes_back(self, host: Host) -> NodeRow | None:
        """The Node, if it is there again within `absent_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._absent_s):
                return await wait_node(self.api, host.node_name, lambda row: row is not None)
        return None

    async def _bound_pods(self, host: Host) -> tuple[PodRow, ...]:
        """Pods that are still bound to the deleted Node after PODS_GONE_WITHIN_S."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PODS_GONE_WITHIN_S):
                return await wait_pods_on(self.api, host.node_name, lambda pods: not pods)
        return await pods_on(self.api, host.node_name)


def _clean_sentence(host: Host) -> str:
    return (
        f"clean host {host.name}: run the provider's reset, revert what the record on it says that the join changed,"
        " and switch its kubelet off"
    )


def _gone_command(host: Host) -> str:
    return f"poolkeeper run offboard --hosts name={host.name} --host-is-gone --apply"


def _remove_sentence(host: Host) -> str:
    return f"remove node {host.node_name} from the provider's list of pool {host.pool.name}"


def _delete_sentence(host: Host) -> str:
    return f"delete Node {host.node_name}"
