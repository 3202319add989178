"""Upgrading one host: what is fetched before its drain, the change itself, and the proof that it may serve again.

A rollout calls these in turn and holds lease, cordon and slot itself. Each looks first, so that whichever was cut off
can be called again: what was fetched stays fetched, a unit that runs is followed by its name, what is done is not done
twice. Every mutation passes the gate. Findings that are blockers say why it does not go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from poolkeeper.tasks.acceptance.identity import another_machine
from poolkeeper.tasks.acceptance.proof import Clients
from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.nodes import NodeRow, get_node, wait_node
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import FactsRequest, Sessions
from poolkeeper.tasks.hosts.fence import Fence, claim
from poolkeeper.tasks.hosts.packages import PackageError, download, hold_again, no_room, pins, read_need, read_packages
from poolkeeper.tasks.hosts.units import forget_unit
from poolkeeper.tasks.outcomes import Finding, Gate, GateRefused, Severity, Subject, blockers, failed_by
from poolkeeper.tasks.provider import Provider, ProviderError
from poolkeeper.tasks.provider.upgrading import ByCall, HandOff, OnHost, Way
from poolkeeper.tasks.upgrade.carrying import UPGRADE_UNIT, call_provider, run_script, wait_for_person
from poolkeeper.tasks.upgrade.goal import Goal
from poolkeeper.tasks.upgrade.pinning import Pins
from poolkeeper.tasks.upgrade.proof import is_at, prove_upgrade
from poolkeeper.tasks.upgrade.resolving import Resolver
from poolkeeper.tasks.upgrade.scripts import end_mark, upgrade_script
from poolkeeper.tasks.upgrade.skew import SkewPlan, plan_steps
from poolkeeper.tasks.upgrade.telling import blocker, node_gone, provider_refused

_log = logging.getLogger(__name__)

SHOWS_WITHIN_S = 30.0
"""In which a Node tells what its restarted kubelet is: it writes its status as it starts, and every 10 s."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each step may take, in seconds."""

    stage_s: float = 1800.0
    """Fetching the packages."""
    change_s: float = 1800.0
    """The host's script, or the provider's task."""
    hand_off_s: float = 4 * 3600.0
    """A person's work."""
    settle_s: float = 600.0
    """Until the Node tells its new versions, is Ready and has its pods; then what is there is judged."""


class Upgrade:
    """What upgrading hosts of one cluster to one goal needs; opened once a run."""

    def __init__(
        self,
        *,
        api: ClusterApi,
        sessions: Sessions,
        provider: Provider,
        gate: Gate,
        show: Callable[[str], None],
        goal: Goal,
        request: FactsRequest,
        limits: Limits | None = None,
        pinned: Pins | None = None,
    ) -> None:
        """show: puts a line where people watch; pinned: what an earlier run of the same rollout has looked up"""
        self.api = api
        self.sessions = sessions
        self.provider = provider
        self.gate = gate
        self.show = show
        self.goal = goal
        self.request = request
        self.limits = limits or Limits()
        self._resolver = Resolver(sessions, provider, gate, goal, pinned or Pins())

    @property
    def pins(self) -> Pins:
        """What was looked up so far, for every host alike: to be kept with the rollout's plan."""
        return self._resolver.pins

    def pin(self, pins: Pins) -> None:
        """Go on with what an earlier run of the same rollout has looked up."""
        self._resolver.pins = pins

    async def finished(self, host: Host, node: NodeRow) -> bool:
        """Whether node and host are at the goal, so that nothing is to be done.

        Not where that cannot be told for want of the goal's newest patch: `stage` says why. Raises GateRefused and
        HostError.
        """
        try:
            version = await self._resolver.version(host)
        except (PackageError, ProviderError):
            return False
        if not is_at(node, version, self.goal.packages):
            return False
        if not self.goal.packages:
            return True
        # another machine's packages tell nothing of this Node: `stage` and `change` say which machine it is
        return await self._another_machine(host) is None and await self._packages_are_there(host)

    # before the drain

    async def stage(self, host: Host) -> tuple[Finding, ...]:
        """See that the machine is the Node's, fetch what the change will install, and see that there is room.

        Nothing on the host is disturbed. Blockers keep the host out: it is not to be drained. Raises GateRefused,
        HostError, ClusterUnreachable and ApiError.
        """
        try:
            return await self._stage(host)
        except PackageError as error:
            return (error.finding(Subject("host", host.name)),)
        except ProviderError as error:
            return (provider_refused(host, error),)

    async def _stage(self, host: Host) -> tuple[Finding, ...]:
        if (other := await self._another_machine(host)) is not None:
            return (other,)
        if self._resolver.names:
            await self._resolver.update_lists(host)
        version = await self._resolver.version(host, lists_are_fresh=True)
        if version is not None and (refused := blockers((await self._skew(host, version)).findings)):
            return refused
        way = self._way(host, version, {})
        if isinstance(way, ByCall) and (why := await way.refuses()):
            return (
                blocker(
                    host,
                    "upgrade.provider.goal",
                    why,
                    f"a cluster at {version}: the provider brings nodes to the cluster's own version alone",
                    "Choose the cluster's version as the goal, or upgrade the cluster first.",
                ),
            )
        choice, lacking = await self._resolver.choose(host, version)
        if lacking:
            # a dry run has fetched no lists: what they lack may be there
            missing = "upgrade.packages.missing"
            warnings = tuple(replace(f, severity=Severity.WARNING) if f.id == missing else f for f in lacking)
            return self.gate.seen(lacking, if_dry_run=warnings)
        need = await read_need(self.sessions, host, choice.versions)
        share = self.provider.upgrade_rule.min_disk_free_share if version else 0.0
        if why := no_room(need, min_free_share=share):
            return (
                blocker(
                    host,
                    "upgrade.disk.room",
                    why,
                    "room for the upgrade",
                    "Make room on it (`apt-get clean`, `crictl rmi --prune`, old logs), or enlarge the file system.",
                    source="df",
                ),
            )
        if need.download_bytes:
            await self.gate.change(
                Subject("host", host.name),
                f"fetch {', '.join(pins(choice.versions))} onto host {host.name}, installing nothing",
                lambda: download(self.sessions, host, choice.versions, timeout_s=self.limits.stage_s),
                if_dry_run=None,
            )
        return ()

    # while it is drained

    async def change(self, host: Host, fence: Fence) -> tuple[Finding, ...]:
        """Upgrade a drained host, or take up what an earlier call has begun; blockers: it failed, or was not begun.

        fence: what the host is shown; see `tasks.hosts.fence`
        Raises GateRefused, FencedOff (a later run has the host), HostError, ClusterUnreachable and ApiError.
        """
        return await self.gate.change(
            Subject("host", host.name),
            self.sentence(host),
            lambda: self._change(host, fence),
            if_dry_run=(),
            end=failed_by,
        )

    async def _change(self, host: Host, fence: Fence) -> tuple[Finding, ...]:
        if (other := await self._another_machine(host)) is not None:
            return (other,)  # which is neither drained nor to be told our fencing token
        await claim(self.sessions, host, fence)
        try:
            version = await self._resolver.version(host)
            if version is not None and (refused := await self._refused_by_skew(host, version)):
                return refused
            choice, lacking = await self._resolver.choose(host, version)
            if lacking:
                return lacking
            way = self._way(host, version, choice.versions)
            return await self._carry_out(host, version, way, fence)
        except PackageError as error:
            return (error.finding(Subject("host", host.name)),)
        except ProviderError as error:
            return (provider_refused(host, error),)

    async def _carry_out(self, host: Host, version: str | None, way: Way | None, fence: Fence) -> tuple[Finding, ...]:
        limits, digest = self.limits, self._resolver.digest(version)
        script = upgrade_script(self.goal.packages, way if isinstance(way, OnHost) else None, digest)
        if script is not None:
            mark = end_mark(digest)
            failed = await run_script(
                self.sessions,
                host,
                script,
                mark=mark,
                still_ours=lambda: claim(self.sessions, host, fence),
                shows=lambda: self._shows(host, version if isinstance(way, OnHost) else None),
                timeout_s=limits.change_s,
                show=self.show,
            )
            if failed:
                return failed
        if isinstance(way, ByCall) and version is not None:
            sentence = f"call the provider to upgrade node {host.node_name}"
            return await call_provider(
                self.api,
                host,
                way,
                version,
                may_call=lambda: self.gate.ask_again(Subject("node", host.node_name), sentence),
                timeout_s=limits.change_s,
            )
        if isinstance(way, HandOff) and version is not None:
            return await wait_for_person(self.api, host, way, version, timeout_s=limits.hand_off_s, show=self.show)
        return ()

    async def _another_machine(self, host: Host) -> Finding | None:
        return await another_machine(self.api, self.sessions, host)

    async def _shows(self, host: Host, version: str | None) -> bool:
        """Whether host and Node are at the goal; a Node is given a moment, its kubelet may have just been restarted."""

        def at_the_goal(row: NodeRow | None) -> bool:
            return row is not None and is_at(row, version, self.goal.packages)

        try:
            async with asyncio.timeout(min(SHOWS_WITHIN_S, self.limits.settle_s)):
                await wait_node(self.api, host.node_name, at_the_goal)
        except TimeoutError:
            return False
        return await self._packages_are_there(host)

    async def _packages_are_there(self, host: Host) -> bool:
        if not self.goal.packages:
            return True
        here = await read_packages(self.sessions, host, self.goal.packages)
        return all(here[name].installed == version for name, version in self.goal.packages.items())

    async def _skew(self, host: Host, version: str) -> SkewPlan:
        """What the versions as they are now allow: the control plane may have moved since the plan."""
        node = await get_node(self.api, host.node_name)
        if node is None:
            return SkewPlan({}, (node_gone(host),))
        return plan_steps(
            version,
            cluster=host.pool.cluster.name,
            api_server=str((await self.api.request("GET", "/version")).get("gitVersion", "")),
            kubelets={node.name: node.kubelet_version},
            rule=self.provider.upgrade_rule,
        )

    async def _refused_by_skew(self, host: Host, version: str) -> tuple[Finding, ...]:
        """What forbids the change, or asks for a step before it."""
        plan = await self._skew(host, version)
        if found := blockers(plan.findings):
            return found
        first, *rest = plan.steps[host.node_name] or (version,)
        if not rest:
            return ()
        return (
            blocker(
                host,
                "upgrade.skew.steps",
                f"{version} is {len(rest) + 1} minors newer than its kubelet",
                f"one minor at a time ({self.provider.upgrade_rule.source})",
                f"Upgrade to {first} first, then go on to {', then to '.join(rest)}.",
            ),
        )

    # afterwards

    async def prove(self, host: Host, before: NodeRow) -> tuple[Finding, ...]:
        """Read afresh whether the node is at the goal and may take workloads again; no finding: it is proven.

        before: its Node as it was before the change
        Raises GateRefused, HostError, ClusterUnreachable and ApiError.
        """
        clients = Clients(self.api, self.sessions, self.gate, self.request)
        try:
            version = await self._resolver.version(host)
        except PackageError as error:
            return (error.finding(Subject("host", host.name)),)
        except ProviderError as error:
            return (provider_refused(host, error),)
        findings = await prove_upgrade(
            clients, host, before, version, self.goal.packages, settle_s=self.limits.settle_s
        )
        if not findings:
            await self._forget(host)
        return findings

    async def _forget(self, host: Host) -> None:
        """Clear away the ended unit. It is in nobody's way: where the gate refuses, it stays."""
        held = ", and hold again what it was to hold" if self._resolver.names else ""

        async def act() -> None:
            if held:
                await hold_again(self.sessions, host)
            await forget_unit(self.sessions, host, UPGRADE_UNIT)

        try:
            await self.gate.change(
                Subject("host", host.name),
                f"clear away the ended unit {UPGRADE_UNIT} on host {host.name}{held}",
                act,
                if_dry_run=None,
            )
        except GateRefused as refused:
            _log.warning("%s: %s", host.name, refused)

    def _way(self, host: Host, version: str | None, versions: Mapping[str, str]) -> Way | None:
        if version is None:
            return None
        carriers = {name: versions[name] for name in self.provider.upgrade_packages if name in versions}
        return self.provider.upgrade_way(host, version, carriers)

    def sentence(self, host: Host) -> str:
        """What the gate is told of the change; a dry run tells the same."""
        way = self._way(host, self.pins.kubernetes or self.goal.kubernetes, {})
        if isinstance(way, HandOff):
            rest = f", after installing {', '.join(pins(self.goal.packages))}" if self.goal.packages else ""
            return f"hand host {host.name} over to a person for its upgrade to {self.goal}{rest}, and wait for the Node"
        by = " by a call to the provider" if isinstance(way, ByCall) else ""
        return f"upgrade host {host.name} to {self.goal}{by}"
