"""Upgrading one host: fetching packages before its drain, the change itself, and the proof that it may serve again.

A rollout calls these steps in turn; lease, cordon and slot are the rollout's. The invariant: each step looks before it
acts, so a step that was interrupted is simply called again. Fetched packages stay fetched, a running unit is followed
by its name, nothing is done twice. Every mutation passes the gate. A blocker says why a step has stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from poolkeeper.tasks.acceptance.identity import another_machine
from poolkeeper.tasks.acceptance.proof import Clients
from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.nodes import NodeRow, get_node, wait_node
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import FactsRequest, Sessions
from poolkeeper.tasks.hosts.fence import Fence, write_fence
from poolkeeper.tasks.hosts.units import forget_unit
from poolkeeper.tasks.outcomes import Finding, Gate, GateRefused, Severity, Subject, blockers, failed_by
from poolkeeper.tasks.packages.apt.downloads import download, read_need
from poolkeeper.tasks.packages.apt.installing import hold_again
from poolkeeper.tasks.packages.apt.lists import read_packages
from poolkeeper.tasks.packages.apt.shell import pins
from poolkeeper.tasks.packages.errors import PackageError
from poolkeeper.tasks.packages.scripts import run_script
from poolkeeper.tasks.packages.space import too_little_space
from poolkeeper.tasks.packages.versions import MISSING
from poolkeeper.tasks.provider import Provider, ProviderError
from poolkeeper.tasks.provider.upgrading import ByCall, HandOff, OnHost, Way
from poolkeeper.tasks.upgrade.goal import VersionGoal
from poolkeeper.tasks.upgrade.messages import blocker, node_gone
from poolkeeper.tasks.upgrade.pinning import Pins
from poolkeeper.tasks.upgrade.proof import is_at, prove_upgrade
from poolkeeper.tasks.upgrade.resolving import Resolver
from poolkeeper.tasks.upgrade.scripts import upgrade_script
from poolkeeper.tasks.upgrade.skew import SkewPlan, plan_steps
from poolkeeper.tasks.upgrade.ways import UPGRADE_UNIT, call_provider, script_findings, wait_for_person

_log = logging.getLogger(__name__)

REPORTED_WITHIN_S = 30.0
"""Within it a Node reports its restarted kubelet's version: a kubelet writes its status at its start and every 10 s."""


@dataclass(frozen=True, slots=True)
class StepTimeouts:
    """How long each step may take, in seconds."""

    stage_s: float = 1800.0
    """Fetching the packages."""
    change_s: float = 1800.0
    """The host's script, or the provider's task."""
    hand_off_s: float = 4 * 3600.0
    """A person's work."""
    settle_s: float = 600.0
    """Until the Node reports its new versions, is Ready and has its pods; the state at that time is judged."""


class HostUpgrade:
    """Upgrades hosts of one cluster to one goal, one host a call; made once a run."""

    def __init__(
        self,
        *,
        api: ClusterApi,
        sessions: Sessions,
        provider: Provider,
        gate: Gate,
        goal: VersionGoal,
        request: FactsRequest,
        timeouts: StepTimeouts | None = None,
        pinned: Pins | None = None,
    ) -> None:
        """pinned: versions that an earlier run of the same rollout has looked up"""
        self.api = api
        self.sessions = sessions
        self.provider = provider
        self.gate = gate
        self.goal = goal
        self.request = request
        self.timeouts = timeouts or StepTimeouts()
        self._resolver = Resolver(sessions, provider, gate, goal, pinned or Pins())

    @property
    def pins(self) -> Pins:
        """The versions that were looked up so far, the same for every host: the rollout keeps them on its Lease."""
        return self._resolver.pins

    def pin(self, pins: Pins) -> None:
        """Use the versions that an earlier run of the same rollout has looked up."""
        self._resolver.pins = pins

    async def is_finished(self, host: Host, node: NodeRow) -> bool:
        """Whether node and host are at the goal, so that there is nothing to do.

        False also where the goal's newest patch cannot be looked up: `stage` reports why. Raises GateRefused and
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
        # packages of another machine say nothing about this Node; `stage` and `change` report which machine it is
        return await self._another_machine(host) is None and await self._packages_are_installed(host)

    # before the drain

    async def stage(self, host: Host) -> tuple[Finding, ...]:
        """Check that the machine is the Node's and has enough space, and fetch the packages that the change installs.

        Nothing that runs on the host is disturbed. A host with a blocker must not be drained. Raises GateRefused,
        HostError, ClusterUnreachable and ApiError.
        """
        try:
            return await self._stage(host)
        except PackageError as error:
            return (error.finding(Subject("host", host.name)),)
        except ProviderError as error:
            return (error.finding(Subject("host", host.name)),)

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
                    f"a cluster at {version}; the provider upgrades nodes only to the cluster's own version",
                    "Choose the cluster's version as the goal, or upgrade the cluster first.",
                ),
            )
        choice, lacking = await self._resolver.choose(host, version)
        if lacking:
            # a dry run fetches no lists, so a version that is missing in them may exist
            warnings = tuple(replace(f, severity=Severity.WARNING) if f.id == MISSING else f for f in lacking)
            return self.gate.seen(lacking, if_dry_run=warnings)
        need = await read_need(self.sessions, host, choice.versions)
        share = self.provider.upgrade_rule.min_disk_free_share if version else 0.0
        if why := too_little_space(need, min_free_share=share):
            return (
                blocker(
                    host,
                    "upgrade.disk.space",
                    why,
                    "enough free space for the upgrade",
                    "Free space on it (`apt-get clean`, `crictl rmi --prune`, old logs), or enlarge the file system.",
                    source="df",
                ),
            )
        if need.download_bytes:
            await self.gate.change(
                Subject("host", host.name),
                f"fetch {', '.join(pins(choice.versions))} onto host {host.name}, installing nothing",
                lambda: download(self.sessions, host, choice.versions, timeout_s=self.timeouts.stage_s),
                if_dry_run=None,
            )
        return ()

    # while it is drained

    async def change(self, host: Host, fence: Fence) -> tuple[Finding, ...]:
        """Upgrade a drained host, or continue what an earlier call has started; blockers: it failed or did not start.

        fence: see `tasks.hosts.fence`
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
            return (other,)  # this machine is neither drained nor this rollout's, so the fence is not written to it
        await write_fence(self.sessions, host, fence)
        try:
            version = await self._resolver.version(host)
            if version is not None and (refused := await self._refused_by_skew(host, version)):
                return refused
            choice, lacking = await self._resolver.choose(host, version)
            if lacking:
                return lacking
            way = self._way(host, version, choice.versions)
            return await self._run(host, version, way, fence)
        except PackageError as error:
            return (error.finding(Subject("host", host.name)),)
        except ProviderError as error:
            return (error.finding(Subject("host", host.name)),)

    async def _run(self, host: Host, version: str | None, way: Way | None, fence: Fence) -> tuple[Finding, ...]:
        timeouts, digest = self.timeouts, self._resolver.digest(version)
        script = upgrade_script(self.goal.packages, way if isinstance(way, OnHost) else None, digest)
        if script is not None:
            ended = await run_script(
                self.sessions,
                host,
                UPGRADE_UNIT,
                script,
                digest=digest,
                is_at_goal=lambda: self._is_at_goal(host, version if isinstance(way, OnHost) else None),
                may_start=lambda: write_fence(self.sessions, host, fence),
                timeout_s=timeouts.change_s,
            )
            if failed := script_findings(host, ended, timeouts.change_s):
                return failed
        if isinstance(way, ByCall) and version is not None:
            sentence = f"call the provider to upgrade node {host.node_name}"
            return await call_provider(
                self.api,
                host,
                way,
                version,
                may_call=lambda: self.gate.ask_again(Subject("node", host.node_name), sentence),
                timeout_s=timeouts.change_s,
            )
        if isinstance(way, HandOff) and version is not None:
            return await wait_for_person(self.api, host, way, version, timeout_s=timeouts.hand_off_s)
        return ()

    async def _another_machine(self, host: Host) -> Finding | None:
        return await another_machine(self.api, self.sessions, host)

    async def _is_at_goal(self, host: Host, version: str | None) -> bool:
        """Whether host and Node are at the goal; waits a little, for a kubelet that was restarted just now."""

        def at_goal(row: NodeRow | None) -> bool:
            return row is not None and is_at(row, version, self.goal.packages)

        try:
            async with asyncio.timeout(min(REPORTED_WITHIN_S, self.timeouts.settle_s)):
                await wait_node(self.api, host.node_name, at_goal)
        except TimeoutError:
            return False
        return await self._packages_are_installed(host)

    async def _packages_are_installed(self, host: Host) -> bool:
        if not self.goal.packages:
            return True
        here = await read_packages(self.sessions, host, self.goal.packages)
        return all(here[name].installed == version for name, version in self.goal.packages.items())

    async def _skew(self, host: Host, version: str) -> SkewPlan:
        """What the versions allow now: the control plane may have been upgraded since the plan."""
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
        """What forbids the change, or requires another step before it."""
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
                f"Upgrade to {first} first, then to {', then to '.join(rest)}.",
            ),
        )

    # afterwards

    async def prove(self, host: Host, before: NodeRow) -> tuple[Finding, ...]:
        """Read afresh whether the node is at the goal and may take workloads again; no finding: the node is proven.

        before: its Node as it was before the change
        Raises GateRefused, HostError, ClusterUnreachable and ApiError.
        """
        clients = Clients(self.api, self.sessions, self.gate, self.request)
        try:
            version = await self._resolver.version(host)
        except PackageError as error:
            return (error.finding(Subject("host", host.name)),)
        except ProviderError as error:
            return (error.finding(Subject("host", host.name)),)
        findings = await prove_upgrade(
            clients, host, before, version, self.goal.packages, settle_s=self.timeouts.settle_s
        )
        if not findings:
            await self._forget(host)
        return findings

    async def _forget(self, host: Host) -> None:
        """Remove the ended unit; where the gate refuses, it stays and does no harm."""
        held = ", and hold its packages again" if self._resolver.names else ""

        async def act() -> None:
            if held:
                await hold_again(self.sessions, host)
            await forget_unit(self.sessions, host, UPGRADE_UNIT)

        try:
            await self.gate.change(
                Subject("host", host.name),
                f"remove the ended unit {UPGRADE_UNIT} from host {host.name}{held}",
                act,
                if_dry_run=None,
            )
        except GateRefused as refused:
            _log.warning("%s: %s", host.name, refused)

    def _way(self, host: Host, version: str | None, versions: Mapping[str, str]) -> Way | None:
        if version is None:
            return None
        chosen = {name: versions[name] for name in self.provider.upgrade_packages if name in versions}
        return self.provider.upgrade_way(host, version, chosen)

    def sentence(self, host: Host) -> str:
        """The sentence with which the change passes the gate."""
        way = self._way(host, self.pins.kubernetes or self.goal.kubernetes, {})
        if isinstance(way, HandOff):
            rest = f", after installing {', '.join(pins(self.goal.packages))}" if self.goal.packages else ""
            return f"hand host {host.name} over to a person for its upgrade to {self.goal}{rest}, and wait for the Node"
        by = " by a call to the provider" if isinstance(way, ByCall) else ""
        return f"upgrade host {host.name} to {self.goal}{by}"
