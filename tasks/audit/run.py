"""One run of the audit: what it works with, and its stages as plain async functions.

The flow in `flows/audit.py` calls them in order; the command line's `probe` uses the hosts' half. It changes
nothing of what it looks at. In the cluster it makes test pods, through the gate, and removes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from tasks.audit import history, testpod
from tasks.audit.asking import ask_host
from tasks.audit.concluding import Evening, Heard, conclude
from tasks.audit.nights import baselines
from tasks.audit.planning import NightPlan, View, plan_night
from tasks.audit.proving import Probed, choose_cloud_node, probe_node
from tasks.audit.questions import Sheet
from tasks.audit.report import AuditReport
from tasks.audit.testpod import PodAnswers
from tasks.cluster import ApiError, ClusterApi, ClusterUnreachable, connect
from tasks.cluster.dns import ClusterDns, read_cluster_dns
from tasks.cluster.nodes import list_nodes
from tasks.cluster.pods import delete_pod, pods_older_than
from tasks.cluster.stops import stops_guard
from tasks.fleet.guards import freeze_guard, observe_guard
from tasks.fleet.model import AuditTarget, Cluster, Fleet, Host, SecretRef
from tasks.hosts import HostError, Sessions
from tasks.outcomes import Gate, GateRefused, Secret, Subject
from tasks.runs.recording import Recorder
from tasks.settings import SecretMissing

DEADLINE_S = 15.0
"""For all questions of one host."""
JITTER_S = 2.0
"""Probes that start at once measure each other."""
PODS_AT_ONCE = 20
POD_TIMEOUT_S = 30.0
"""For a pod of an image that the node has had before. One that a line fault holds up is not waited for."""
LEFT_AFTER_S = 900.0
"""A test pod of ours that is older was left by a run that was killed: it has ended by itself by then."""


@dataclass(slots=True)
class AuditRun:
    """A run over chosen hosts. Make it with `open_run`."""

    fleet: Fleet
    hosts: Mapping[str, Host]
    plan: NightPlan
    views: Mapping[str, View]
    """By cluster."""
    unreached: Mapping[str, str]
    """Cluster -> why it does not answer here; its hosts may reach it all the same."""
    sessions: Sessions
    apis: Mapping[str, ClusterApi]
    gates: Mapping[str, Gate]
    recorder: Recorder
    notes: list[str]
    """What could not be looked at, as sentences."""

    async def ask(self, names: Sequence[str]) -> dict[str, Heard]:
        """Ask hosts at once; a bad one costs the others nothing."""
        return dict(zip(names, await asyncio.gather(*map(self._ask, names)), strict=True))

    async def _ask(self, name: str) -> Heard:
        sheet = Sheet(
            tuple(asked.question for asked in self.plan.asked[name]),
            self.plan.authorities[name],
            deadline_s=DEADLINE_S,
            jitter_s=JITTER_S if len(self.hosts) > 1 else 0.0,
        )
        try:
            return Heard(await ask_host(self.sessions, self.hosts[name], sheet))
        except HostError as error:
            return Heard(error=error)

    async def remove_left_pods(self) -> None:
        """Test pods that a killed run has left, in every cluster that answers."""
        before = datetime.now(UTC) - timedelta(seconds=LEFT_AFTER_S)
        for cluster, api in self.apis.items():
            try:
                for pod in await pods_older_than(api, testpod.NAMESPACE, testpod.SELECTOR, before):
                    await self._remove(cluster, api, pod)
            except (ApiError, ClusterUnreachable) as error:
                self.notes.append(f"Test pods that were left in cluster {cluster} could not be removed: {error}")

    async def _remove(self, cluster: str, api: ClusterApi, pod: str) -> None:
        subject = Subject("pod", f"{testpod.NAMESPACE}/{pod}")
        sentence = f"remove test pod {pod}, which a run that was killed has left"
        try:
            await self.gates[cluster].change(subject, sentence, lambda: delete_pod(api, testpod.NAMESPACE, pod))
        except GateRefused as refused:
            self.notes.append(str(refused))

    def nodes_to_try(self, limit: int) -> list[str]:
        """Hosts whose nodes are Ready: at most so many a night, others every night."""
        ready = [name for name, host in self.hosts.items() if self._is_ready(host)]
        start = self.recorder.started_at.toordinal() * limit % len(ready) if ready else 0
        return (ready[start:] + ready[:start])[:limit]

    def _is_ready(self, host: Host) -> bool:
        view = self.views.get(host.pool.cluster.name)
        node = view.nodes.get(host.node_name) if view else None
        return node is not None and bool(node.ready)

    async def try_pods(self, names: Sequence[str]) -> dict[str, Probed]:
        """Run a test pod on each host's node, some at a time; why one could not be run is in its answer."""
        slots = asyncio.Semaphore(PODS_AT_ONCE)

        async def one(name: str) -> Probed:
            async with slots:
                return await self._try_pod(self.hosts[name])

        return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))

    async def _try_pod(self, host: Host) -> Probed:
        cluster, node = host.pool.cluster, host.node_name
        nodes = self.views[cluster.name].nodes
        cloud_node = choose_cloud_node(nodes, node)
        try:
            return await probe_node(
                self.apis[cluster.name],
                self.gates[cluster.name],
                node,
                cluster.test_image,
                host.site.dns,
                cloud_node,
                next(iter(nodes[node].internal_ips), ""),
                timeout_s=POD_TIMEOUT_S,
            )
        except (GateRefused, ApiError, ClusterUnreachable) as error:
            return Probed(PodAnswers(), log_error=str(error))

    def conclude(self, heard: Mapping[str, Heard], tried: Mapping[str, Probed]) -> AuditReport:
        """What it comes to, against what earlier runs have left in the spool; its facts are written there."""
        spool = self.recorder.spool
        before = history.earlier(spool, self.recorder.started_at)
        evening = Evening(
            fleet=self.fleet,
            hosts=self.hosts,
            plan=self.plan,
            views=self.views,
            heard=heard,
            tried=tried,
            before=before.nights,
            usual=baselines(history.durations(spool, before)),
            run_id=self.recorder.run_id,
            started_at=self.recorder.started_at,
            notes=tuple(self.notes),
            unreached=self.unreached,
        )
        report = conclude(evening, datetime.now(UTC))
        sites = {name: host.site.name for name, host in self.hosts.items()}
        history.write_facts(spool, self.recorder.run_id, report.facts, sites, report.ended_at)
        history.write_carried(spool, self.recorder.run_id, report.compared.not_measured)
        self.recorder.findings("audit", "audit", [told.finding for told in report.compared.told])
        return report


@asynccontextmanager
async def open_run(
    fleet: Fleet,
    hosts: Sequence[Host],
    secret: Callable[[SecretRef], Secret],
    recorder: Recorder,
    *,
    required: Callable[[Cluster, str], tuple[AuditTarget, ...]],
    peers: Sequence[Host] = (),
) -> AsyncIterator[AuditRun]:
    """Everything a run works with, closed at the end. A cluster that does not answer does not stop the hosts' half.

    required: what a cluster's provider needs its nodes to reach, by the way that the fleet file names
    peers: other hosts that these ones connect to, and that are not asked themselves
    """
    notes: list[str] = []
    unreached: dict[str, str] = {}
    views: dict[str, View] = {}
    apis: dict[str, ClusterApi] = {}
    gates: dict[str, Gate] = {}
    async with AsyncExitStack() as open_, Sessions(fleet.ssh_limits, secret) as sessions:
        for name, cluster in {host.pool.cluster.name: host.pool.cluster for host in hosts}.items():
            inside = [host for host in hosts if host.pool.cluster.name == name]
            try:
                api = await open_.enter_async_context(connect(cluster, secret(cluster.kubeconfig)))
            except (ClusterUnreachable, SecretMissing) as error:
                notes.append(f"Cluster {name} could not be looked at: {error}")
                continue
            bare = View(api.url, api.ca_pem or "", required=required(cluster, fleet.audit.provider_endpoints))
            try:
                views[name] = await _read(api, bare, notes)
            except (ClusterUnreachable, ApiError) as error:
                views[name], unreached[name] = bare, str(error)
                continue
            apis[name] = api
            gates[name] = _gate(api, inside, recorder)
        named = {target.authority for target in fleet.audit.targets if target.authority}
        files = {str(path): path.read_text() for path in named}
        by_name = {host.name: host for host in hosts}
        all_of_them = [*hosts, *(peer for peer in peers if peer.name not in by_name)]
        plan = plan_night(fleet, all_of_them, views, recorder.started_at.toordinal(), files, only=by_name)
        yield AuditRun(fleet, by_name, plan, views, unreached, sessions, apis, gates, recorder, notes)


async def _read(api: ClusterApi, bare: View, notes: list[str]) -> View:
    """A cluster as it is now. Who may not read its DNS gets the rest. Raises ApiError and ClusterUnreachable."""
    nodes = await list_nodes(api)
    try:
        dns = await read_cluster_dns(api)
    except ApiError as error:
        notes.append(f"The cluster's DNS could not be read, so that it is not asked: {error}")
        dns = ClusterDns()
    return replace(bare, nodes=nodes, dns=dns)


def _gate(api: ClusterApi, hosts: Sequence[Host], recorder: Recorder) -> Gate:
    return Gate(
        [
            observe_guard(hosts),
            freeze_guard(hosts, now=lambda: datetime.now(UTC)),
            stops_guard(api, {host.name: host.node_name for host in hosts}),
        ],
        dry_run=False,  # nothing but test pods ever passes it
        told=recorder.change,
    )
