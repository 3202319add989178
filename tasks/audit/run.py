"""One run of the audit: its resources, and its stages as plain async functions.

The flow in `flows/audit.py` calls the stages in order; the command `poolkeeper probe` uses those for hosts. A run
changes no host and no node. In the cluster it creates test pods, through the gate, and removes them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from poolkeeper.tasks.acceptance import testpod
from poolkeeper.tasks.acceptance.pod_probe import Probed, choose_cloud_node, probe_node
from poolkeeper.tasks.acceptance.testpod import PodAnswers
from poolkeeper.tasks.audit.conclusion import AuditInput, Response, conclude
from poolkeeper.tasks.audit.nights import history
from poolkeeper.tasks.audit.nights.comparison import baselines
from poolkeeper.tasks.audit.planning.mesh import in_turn
from poolkeeper.tasks.audit.planning.plan import ClusterView, NightPlan, plan_night
from poolkeeper.tasks.audit.planning.questions import RequestBatch
from poolkeeper.tasks.audit.remote.protocol import ask_host
from poolkeeper.tasks.audit.remote.worker import WorkerAway, answers_of
from poolkeeper.tasks.audit.report.audit_report import AuditReport
from poolkeeper.tasks.cluster import ApiError, ClusterApi, ClusterUnreachable, connect
from poolkeeper.tasks.cluster.access import authorities
from poolkeeper.tasks.cluster.dns import ClusterDns, read_cluster_dns
from poolkeeper.tasks.cluster.kubeconfig import KubeconfigUnusable, read_bytes
from poolkeeper.tasks.cluster.nodes import ROLLOUT, get_node, list_nodes
from poolkeeper.tasks.cluster.pods import delete_pod, pods_older_than
from poolkeeper.tasks.fleet.model import AuditTarget, Cluster, Fleet, Host, SecretRef
from poolkeeper.tasks.hosts import HostError, Sessions
from poolkeeper.tasks.outcomes import Gate, GateRefused, Secret, Subject, named, quoted
from poolkeeper.tasks.runs.gate import gate_of
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.settings import SecretMissing

DEADLINE_S = 15.0
"""Deadline for all questions of one host."""
JITTER_S = 2.0
"""Probes that start at the same time slow each other down."""
PARALLEL = 32
"""Questions of one host at the same time: peers that are down must not use up the time of the others."""
PREFIX = "night-"
"""Prefix of the audit's test pods; an acceptance may test the same node at the same time, with another prefix."""
PODS_AT_ONCE = 10
POD_TIMEOUT_S = 30.0
"""Time for a pod of an image that the node already has. The audit does not wait for a pod that a line fault delays."""
ABANDONED_AFTER_S = 900.0
"""An older test pod of the audit was left by a run that was killed: its program has ended by then."""


@dataclass(slots=True)
class Clusters:
    """What a run has read from its clusters, by name of the cluster."""

    views: dict[str, ClusterView] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    """Cluster -> why it could not be read."""
    unreached: set[str] = field(default_factory=set)
    """The unread clusters whose API server does not answer poolkeeper; their hosts may reach it nevertheless."""
    apis: dict[str, ClusterApi] = field(default_factory=dict)
    """Of the clusters that answered."""
    gates: dict[str, Gate] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What could not be measured, as sentences."""


class AuditRun:
    """A run over chosen hosts, and the responses that it has so far. Make it with `open_run`.

    Its tasks take names of hosts only: Prefect inspects every parameter of a task, and the data of a night is large.
    """

    def __init__(
        self,
        fleet: Fleet,
        hosts: Sequence[Host],
        plan: NightPlan,
        sessions: Sessions,
        clusters: Clusters,
        recorder: Recorder,
    ) -> None:
        self.fleet, self.plan, self.sessions, self.recorder = fleet, plan, sessions, recorder
        self.hosts = {host.name: host for host in hosts}
        self.clusters, self.views, self.notes = clusters, clusters.views, clusters.notes
        self.responses: dict[str, Response] = {}
        self.tested: dict[str, Probed] = {}
        self.workers: dict[str, str] = {}
        self._report: AuditReport | None = None

    @property
    def report(self) -> AuditReport:
        """The report; there is one after `conclude`."""
        assert self._report is not None
        return self._report

    def by_work_pool(self) -> dict[str, list[str]]:
        """Hosts by the work pool of their site; empty: poolkeeper probes them from here."""
        pools = defaultdict[str, list[str]](list)
        for name, host in self.hosts.items():
            pools[host.site.work_pool or ""].append(name)
        return pools

    async def ask(self, names: Sequence[str]) -> None:
        """Probe hosts at the same time. Invariant: each has a response; a failed host does not affect the others."""
        self.responses |= dict(zip(names, await asyncio.gather(*map(self._ask, names)), strict=True))

    def request_batch(self, name: str) -> RequestBatch:
        """All that a host is asked, with its limits."""
        return RequestBatch(
            tuple(asked.question for asked in self.plan.asked[name]),
            self.plan.authorities[name],
            deadline_s=DEADLINE_S,
            parallel=PARALLEL,
            jitter_s=JITTER_S if len(self.hosts) > 1 else 0.0,
        )

    async def _ask(self, name: str) -> Response:
        try:
            return Response(await ask_host(self.sessions, self.hosts[name], self.request_batch(name)))
        except HostError as error:
            return Response(error=error)
        except Exception as error:  # of one host: the others continue
            return Response(error=HostError(f"the probe was aborted: {named(error)}"))

    def asked_by_worker(self, pool: str, names: Iterable[str], replies: Mapping[str, Any]) -> None:
        """Take the replies of a worker in a site, by host, as responses of the hosts `names`."""
        self.workers.setdefault(pool, "")
        for name in names:
            try:
                response = Response(answers_of(replies.get(name), self.request_batch(name)))
            except HostError as error:
                response = Response(error=error)
            self.responses[name] = replace(response, by=f"worker of {pool}")

    def not_asked(self, pool: str, names: Iterable[str], why: str) -> None:
        """No worker has probed these hosts. why: as a sentence"""
        self.workers[pool] = why
        self.responses |= {name: Response(error=WorkerAway(why), by=f"worker of {pool}") for name in names}

    async def remove_abandoned_pods(self) -> None:
        """Remove test pods that a killed run has left, in every cluster that answers."""
        before = datetime.now(UTC) - timedelta(seconds=ABANDONED_AFTER_S)
        for cluster, api in self.clusters.apis.items():
            try:
                for pod in await pods_older_than(api, testpod.NAMESPACE, testpod.SELECTOR, before):
                    await self._remove(cluster, api, pod)
            except (ApiError, ClusterUnreachable) as error:
                self.notes.append(
                    f"Test pods that an earlier run left in cluster {cluster} could not be removed: {error.summary}"
                )

    async def _remove(self, cluster: str, api: ClusterApi, pod: str) -> None:
        subject = Subject("pod", f"{testpod.NAMESPACE}/{pod}")
        sentence = f"remove test pod {pod}, which a killed run has left"
        try:
            await self.clusters.gates[cluster].change(
                subject, sentence, lambda: delete_pod(api, testpod.NAMESPACE, pod), if_dry_run=None
            )
        except GateRefused as refused:
            self.notes.append(refused.summary)

    def nodes_to_test(self, limit: int) -> list[str]:
        """At most `limit` hosts whose nodes are Ready and that no run works on; every night the next ones."""
        ready = [name for name, host in self.hosts.items() if self._may_be_tested(host)]
        return list(in_turn(ready, self.recorder.started_at.toordinal(), max(0, limit)))

    def _may_be_tested(self, host: Host) -> bool:
        view = self.views.get(host.pool.cluster.name)
        node = view.nodes.get(host.node_name) if view else None
        return node is not None and bool(node.ready) and not node.cordoned_by_us and ROLLOUT not in node.annotations

    async def run_test_pods(self, names: Sequence[str]) -> None:
        """Run a test pod on each host's node, some at a time. Where one could not run, its result has the reason."""
        slots = asyncio.Semaphore(PODS_AT_ONCE)

        async def one(name: str) -> Probed:
            async with slots:
                return await self._run_test_pod(self.hosts[name])

        self.tested |= dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))

    async def _run_test_pod(self, host: Host) -> Probed:
        cluster = host.pool.cluster.name
        api, nodes = self.clusters.apis[cluster], self.views[cluster].nodes
        try:
            node = await get_node(api, host.node_name)
            if node is None or ROLLOUT in node.annotations:
                return Probed(PodAnswers(), log_error="the node is gone, or a rollout has claimed it meanwhile")
            return await probe_node(
                api,
                self.clusters.gates[cluster],
                host,
                node,
                choose_cloud_node(nodes, host.node_name),
                timeout_s=POD_TIMEOUT_S,
                prefix=PREFIX,
            )
        except Exception as error:  # of one node: the others continue
            return Probed(PodAnswers(), log_error=quoted(error) or type(error).__name__)

    def conclude(self) -> AuditReport:
        """Make the report against earlier runs of the spool; write this run's measurements and findings there."""
        spool = self.recorder.spool
        before = history.earlier(spool, self.fleet, self.recorder.run_id, self.recorder.started_at)
        inputs = AuditInput(
            fleet=self.fleet,
            hosts=self.hosts,
            plan=self.plan,
            views=self.views,
            responses=self.responses,
            tested=self.tested,
            before=before,
            usual=baselines(history.durations(spool, before, self.hosts)),
            run_id=self.recorder.run_id,
            started_at=self.recorder.started_at,
            notes=tuple(self.notes),
            unread_clusters=self.clusters.unread,
            unreached_clusters=self.clusters.unreached,
            workers=self.workers,
        )
        report = self._report = conclude(inputs, datetime.now(UTC))
        sites = {name: host.site.name for name, host in self.hosts.items()}
        history.write_facts(self.recorder, report.facts, sites, report.ended_at)
        history.write_findings(self.recorder, report.compared)
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
    """Open sessions and clusters for a run, and close them at its end. Hosts are probed also where a cluster is down.

    required: the endpoints that a cluster's provider requires its nodes to reach, of the kind that the fleet file names
    peers: other hosts that `hosts` connect to; they are not probed themselves
    """
    async with AsyncExitStack() as open_, Sessions(fleet.ssh_limits, secret) as sessions:
        clusters = Clusters()
        for name, cluster in {host.pool.cluster.name: host.pool.cluster for host in hosts}.items():
            inside = [host for host in hosts if host.pool.cluster.name == name]
            try:
                api = await open_.enter_async_context(connect(cluster, secret(cluster.kubeconfig)))
                endpoints = required(cluster, fleet.audit.provider_endpoints)
                label = name if len(fleet.clusters) > 1 else ""
                bare = ClusterView(
                    api.url, api.ca_pem or "", required=endpoints, label=label, server_name=api.server_name
                )
                clusters.notes += (f"{finding}" for finding in api.findings)
            except (ClusterUnreachable, SecretMissing, OSError, ValueError) as error:
                clusters.unread[name] = str(error)
                continue
            try:
                clusters.views[name] = await _read(name, api, bare, clusters.notes)
            except (ApiError, ClusterUnreachable) as error:
                clusters.views[name], clusters.unread[name] = bare, str(error)
                if isinstance(error, ClusterUnreachable) or error.status >= 500:
                    clusters.unreached.add(name)
                continue
            clusters.apis[name] = api
            clusters.gates[name] = gate_of(api, inside, recorder, dry_run=False)  # only changes of test pods pass it
        named = {target.authority for target in fleet.audit.targets if target.authority}
        files = {str(path): pem for path in named if (pem := _pem(path, clusters.notes)) is not None}
        own = {host.name for host in hosts}
        all_of_them = [*hosts, *(peer for peer in peers if peer.name not in own)]
        plan = plan_night(fleet, all_of_them, clusters.views, recorder.started_at.toordinal(), files, only=own)
        yield AuditRun(fleet, hosts, plan, sessions, clusters, recorder)


def _pem(path: Path, notes: list[str]) -> str | None:
    """A file of certificates; None where it cannot be read: then its targets are not measured."""
    try:
        return authorities(read_bytes(path))
    except KubeconfigUnusable as error:
        notes.append(
            f"The certificates in {path.name} cannot be read, so the targets that need them are not measured: {error}"
        )
        return None


async def _read(name: str, api: ClusterApi, bare: ClusterView, notes: list[str]) -> ClusterView:
    """A cluster as it is now; its DNS may be missing, with a note. Raises ApiError and ClusterUnreachable."""
    nodes = await list_nodes(api)
    notes += [f"Node {node.name} cannot be read: {node.ready_message}." for node in nodes.values() if node.unread]
    try:
        dns = await read_cluster_dns(api)
    except ApiError as error:
        notes.append(f"The DNS of cluster {name} could not be read, so it is not measured: {error.summary}")
        dns = ClusterDns()
    return replace(bare, nodes=nodes, dns=dns)
