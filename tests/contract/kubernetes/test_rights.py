"""What poolkeeper may do: the manifests' rights are enough for all it does, each of them is needed, the rest is refused.

Everything here is done as the manifests' ServiceAccount, with a token that the API server has issued.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from poolkeeper import deployments
from poolkeeper.tasks.acceptance.testpod import peer_pod, way_back_pod
from poolkeeper.tasks.cluster import ApiError, ClusterApi
from poolkeeper.tasks.cluster.approvals import Approval, read_approvals, write_approval
from poolkeeper.tasks.cluster.bootstrap import (
    CLUSTER_INFO,
    SECRETS,
    BootstrapToken,
    create_token,
    read_cluster_info,
    require_configuration,
    revoke_token,
    token_object,
    wait_cluster_info,
)
from poolkeeper.tasks.cluster.leases import PATH as LEASES
from poolkeeper.tasks.cluster.leases import acquire_lease, get_lease, list_leases
from poolkeeper.tasks.cluster.nodes import accept, cordon, delete_node, get_node, list_nodes, wait_node
from poolkeeper.tasks.cluster.pods import create_pod, delete_pod, pod_log, pods_on, wait_pods_on
from poolkeeper.tasks.cluster.snapshot import read_snapshot
from poolkeeper.tasks.cluster.stops import Stop, freeze, hold, read_stops, thaw, unhold
from poolkeeper.tasks.outcomes import Secret, Unknown
from tests.contract.cluster.conftest import reach
from tests.contract.kubernetes.conftest import (
    DEADLINE_S,
    MERGE,
    Api,
    Client,
    LoggingNode,
    report_pod,
    tls,
    write_kubeconfig,
)

Json = dict[str, Any]

MANIFESTS = [Path(deployments.__path__[0], "kubernetes", name) for name in ("poolkeeper.yaml", "kubeadm.yaml")]
OBJECTS: list[Json] = [each for manifest in MANIFESTS for each in yaml.safe_load_all(manifest.read_text())]
NAMESPACE = "poolkeeper"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
    "Role": f"{RBAC}/namespaces/{{}}/roles",
    "RoleBinding": f"{RBAC}/namespaces/{{}}/rolebindings",
}
IMAGE = "registry.example/busybox:1"
NOW = datetime(2026, 8, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Right:
    """One verb of one rule, on one name where the rule has names."""

    verb: str
    resource: str
    namespace: str
    """Empty: everywhere."""
    name: str = ""
    group: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{self.name and f' {self.name}'}{self.namespace and f' in {self.namespace}'}"

    @property
    def rule(self) -> Json:
        """The rule that gives this right alone."""
        names = {"resourceNames": [self.name]} if self.name else {}
        return {"apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb], **names}


def rights_of(objects: list[Json]) -> list[Right]:
    return [
        Right(verb, resource, role["metadata"].get("namespace", ""), name, group)
        for role in objects
        if role["kind"] in ("Role", "ClusterRole")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    ]


def path_of(each: Json) -> str:
    return PATHS[each["kind"]].format(each["metadata"].get("namespace", ""))


@dataclass(frozen=True)
class Place:
    """What an operation meets."""

    admin: Client
    node: str
    """Made by the admin, Ready, with a kubelet that serves logs."""
    pod: str
    """Runs on that node, in poolkeeper's namespace."""


Operation = Callable[[ClusterApi, Place], Awaitable[Any]]


async def look_at_a_node(api: ClusterApi, place: Place) -> None:
    found = await get_node(api, place.node)
    assert found is not None
    assert found.name == place.node


async def look_at_all_nodes(api: ClusterApi, place: Place) -> None:
    assert place.node in await list_nodes(api)


async def wait_for_a_node(api: ClusterApi, place: Place) -> None:
    """The change comes when the list has been read, so that only the watch can tell of it."""
    looks = itertools.count(1)
    async with Meanwhile(place.admin, f"/api/v1/nodes/{place.node}") as listed:
        await wait_node(api, place.node, lambda _: listed() and next(looks) > 1)


async def cordon_a_node(api: ClusterApi, place: Place) -> None:
    assert (await cordon(api, place.node, why="test", run="r", at=NOW)).cordoned_by_us


async def accept_a_node(api: ClusterApi, place: Place) -> None:
    assert (await accept(api, place.node, run="r", at=NOW, machine_id="m", lift_taint=True)).accepted


async def remove_a_node(api: ClusterApi, place: Place) -> None:
    row = await get_node(api, place.node)
    assert row is not None
    await delete_node(api, row)
    assert await get_node(api, place.node) is None


async def look_at_pods_of_a_node(api: ClusterApi, place: Place) -> None:
    assert place.pod in [row.name for row in await pods_on(api, place.node)]


async def wait_for_pods_of_a_node(api: ClusterApi, place: Place) -> None:
    looks = itertools.count(1)
    async with Meanwhile(place.admin, f"/api/v1/namespaces/{NAMESPACE}/pods/{place.pod}") as listed:
        await wait_pods_on(api, place.node, lambda _: listed() and next(looks) > 1)


async def run_a_test_pod(api: ClusterApi, place: Place) -> None:
    await create_pod(api, way_back_pod(place.node, place.node, IMAGE, "192.0.2.1"), timeout_s=10)


async def remove_a_test_pod(api: ClusterApi, place: Place) -> None:
    await delete_pod(api, NAMESPACE, place.pod)
    assert all(row.deleting for row in await pods_on(api, place.node) if row.name == place.pod)


async def read_a_test_pods_log(api: ClusterApi, place: Place) -> None:
    assert (await pod_log(api, NAMESPACE, place.pod)).endswith("hello\n")


async def remove_stops(admin: Client) -> None:
    """With whatever stands there."""
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/stops"
    await admin("PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE)
    await admin("DELETE", path)


async def freeze_for_the_first_time(api: ClusterApi, place: Place) -> None:
    await remove_stops(place.admin)
    await freeze(api, Stop("ops", NOW.isoformat(), "test"))


async def hold_and_let_go(api: ClusterApi, place: Place) -> None:
    stops = {"metadata": {"name": "stops"}, "data": {}}
    await place.admin("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", stops)
    await hold(api, place.node, Stop("ops", NOW.isoformat(), "test"))
    assert await unhold(api, place.node)
    await thaw(api)


async def ask_for_stops(api: ClusterApi, place: Place) -> None:
    await read_stops(api)


async def make_a_token(api: ClusterApi, place: Place) -> None:
    token = await create_token(api, place.node, lives=timedelta(minutes=1))
    await place.admin("DELETE", f"{SECRETS}/bootstrap-token-{token.id}")


async def revoke_a_token(api: ClusterApi, place: Place) -> None:
    made = token_object("abcdef", "0123456789abcdef", place.node, datetime.now(UTC) + timedelta(minutes=1))
    uid = (await place.admin("POST", SECRETS, made)).body["metadata"].get("uid", "")
    if not uid:  # of a time that it was refused
        uid = (await place.admin("GET", f"{SECRETS}/bootstrap-token-abcdef")).body["metadata"]["uid"]
    await revoke_token(api, BootstrapToken("abcdef", Secret(""), uid, NOW))
    assert (await place.admin("GET", f"{SECRETS}/bootstrap-token-abcdef")).code == 404


async def ask_for_cluster_info(api: ClusterApi, place: Place) -> None:
    assert (await read_cluster_info(api)).authorities


async def wait_for_cluster_info(api: ClusterApi, place: Place) -> None:
    looks = itertools.count(1)
    async with Meanwhile(place.admin, f"{CLUSTER_INFO}/cluster-info") as listed:
        await wait_cluster_info(api, lambda _: listed() and next(looks) > 1)


async def look_for_the_clusters_configuration(api: ClusterApi, place: Place) -> None:
    await require_configuration(api, "kubeadm-config")


async def look_for_the_kubelets_configuration(api: ClusterApi, place: Place) -> None:
    await require_configuration(api, "kubelet-config")


async def evict_a_pod(api: ClusterApi, place: Place) -> None:
    body = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": place.pod}}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{place.pod}/eviction"
    await api.request("POST", path, body=body, query={"dryRun": "All"})


async def known_part(api: ClusterApi, part: str) -> None:
    """A part of the snapshot must be known; what kept it from being read is raised."""
    observed = getattr(await read_snapshot(api), part)
    if isinstance(observed, Unknown):
        status = re.search(r"HTTP (\d+)", observed.reason)
        assert status is not None
        raise ApiError(int(status[1]), part, None, None)


async def forecast_budgets(api: ClusterApi, place: Place) -> None:
    await known_part(api, "budgets")


async def forecast_replicas(api: ClusterApi, place: Place) -> None:
    await known_part(api, "workloads")


async def forecast_daemons(api: ClusterApi, place: Place) -> None:
    await known_part(api, "daemonsets")


async def forecast_claims(api: ClusterApi, place: Place) -> None:
    await known_part(api, "claims")


async def forecast_volumes(api: ClusterApi, place: Place) -> None:
    await known_part(api, "volumes")


async def forecast_services(api: ClusterApi, place: Place) -> None:
    await known_part(api, "services")


async def forecast_endpoints(api: ClusterApi, place: Place) -> None:
    await known_part(api, "slices")


async def look_for_a_lease(api: ClusterApi, place: Place) -> None:
    assert await get_lease(api, "no-such-lease") is None


async def look_at_all_leases(api: ClusterApi, place: Place) -> None:
    await list_leases(api)


async def take_a_new_lease(api: ClusterApi, place: Place) -> None:
    await place.admin("DELETE", f"{LEASES}/pool-test")
    assert (await acquire_lease(api, "pool-test", "run-1")).holder == "run-1"


async def renew_a_lease(api: ClusterApi, place: Place) -> None:
    await place.admin("POST", LEASES, {"metadata": {"name": "pool-test"}, "spec": {}})
    await place.admin("PATCH", f"{LEASES}/pool-test", {"spec": {"holderIdentity": None}}, kind=MERGE)
    await (await acquire_lease(api, "pool-test", "run-1")).release()


async def wait_for_a_lease(api: ClusterApi, place: Place) -> None:
    await place.admin("POST", LEASES, {"metadata": {"name": "pool-watched"}, "spec": {}})
    looks = itertools.count(1)
    async with Meanwhile(place.admin, f"{LEASES}/pool-watched") as listed:
        async for _ in api.changes(LEASES, query={"fieldSelector": "metadata.name=pool-watched"}):
            if listed() and next(looks) > 1:
                return


async def ask_for_approvals(api: ClusterApi, place: Place) -> None:
    await read_approvals(api)


async def ask_for_a_word(api: ClusterApi, place: Place) -> None:
    there = {"metadata": {"name": "approvals"}, "data": {}}
    await place.admin("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", there)
    await write_approval(api, Approval("k", "run-1", {}, NOW.isoformat()))


NEEDED_FOR: dict[str, tuple[Operation, ...]] = {
    "get nodes": (look_at_a_node,),
    "list nodes": (look_at_all_nodes, wait_for_a_node),
    "watch nodes": (wait_for_a_node,),
    "patch nodes": (cordon_a_node, accept_a_node),
    "delete nodes": (remove_a_node,),
    "list pods": (look_at_pods_of_a_node, wait_for_pods_of_a_node),
    "watch pods": (wait_for_pods_of_a_node,),
    "create pods/eviction": (evict_a_pod,),
    "list poddisruptionbudgets": (forecast_budgets,),
    "list deployments": (forecast_replicas,),
    "list statefulsets": (forecast_replicas,),
    "list daemonsets": (forecast_daemons,),
    "list persistentvolumeclaims": (forecast_claims,),
    "list persistentvolumes": (forecast_volumes,),
    "list services": (forecast_services,),
    "list endpointslices": (forecast_endpoints,),
    "create pods in poolkeeper": (run_a_test_pod,),
    "delete pods in poolkeeper": (remove_a_test_pod,),
    "get pods/log in poolkeeper": (read_a_test_pods_log,),
    "get leases in poolkeeper": (look_for_a_lease,),
    "list leases in poolkeeper": (look_at_all_leases, wait_for_a_lease),
    "watch leases in poolkeeper": (wait_for_a_lease,),
    "create leases in poolkeeper": (take_a_new_lease,),
    "patch leases in poolkeeper": (renew_a_lease,),
    "get configmaps approvals in poolkeeper": (ask_for_approvals,),
    "patch configmaps approvals in poolkeeper": (ask_for_a_word,),
    "create configmaps in poolkeeper": (freeze_for_the_first_time,),
    "get configmaps stops in poolkeeper": (ask_for_stops, hold_and_let_go),
    "patch configmaps stops in poolkeeper": (hold_and_let_go,),
    "create secrets in kube-system": (make_a_token,),
    "delete secrets in kube-system": (revoke_a_token,),
    "get configmaps kubeadm-config in kube-system": (look_for_the_clusters_configuration,),
    "get configmaps kubelet-config in kube-system": (look_for_the_kubelets_configuration,),
    "get configmaps cluster-info in kube-public": (ask_for_cluster_info,),
    "list configmaps cluster-info in kube-public": (wait_for_cluster_info,),
    "watch configmaps cluster-info in kube-public": (wait_for_cluster_info,),
}
"""Right -> what fails without it."""
OPERATIONS = list(dict.fromkeys(operation for each in NEEDED_FOR.values() for operation in each))


class Meanwhile:
    """Changes an object as soon as `listed()` has been called once; leaves nothing running."""

    def __init__(self, admin: Client, path: str) -> None:
        self._admin, self._path = admin, path
        self._asked = asyncio.Event()

    def listed(self) -> bool:
        self._asked.set()
        return True

    async def _change(self) -> None:
        await self._asked.wait()
        await self._admin("PATCH", self._path, {"metadata": {"labels": {"x": "y"}}}, kind=MERGE)

    async def __aenter__(self) -> Callable[[], bool]:
        self._task = asyncio.create_task(self._change())
        return self.listed

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Cluster:
    """A cluster with the manifest applied, in which ServiceAccounts can be given parts of its rights."""

    def __init__(self, api: Api, admin: Client, folder: Path) -> None:
        self._api, self._admin, self._folder = api, admin, folder
        self._stack = AsyncExitStack()

    async def apply(self) -> None:
        """The manifest, which other tests may have applied already."""
        for each in OBJECTS:
            assert (await self._admin("POST", path_of(each), each)).code in (201, 409)
        accounts = PATHS["ServiceAccount"]
        await self._admin.until(accounts, bool, fieldSelector="metadata.name=default")

    async def connect(self, account: str, rights: list[Right]) -> ClusterApi:
        """As a ServiceAccount, as soon as these rights of it count."""
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = await self._admin("POST", f"{PATHS['ServiceAccount']}/{account}/token", request)
        assert answer.code == 201, answer.body
        token = answer.body["status"]["token"]
        kubeconfig = self._folder / f"{account}.kubeconfig"
        write_kubeconfig(kubeconfig, self._api.url, self._api.ca_file.read_text(), token)
        connector = aiohttp.TCPConnector(ssl=tls(self._api))
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            asyncio.timeout(DEADLINE_S),
            aiohttp.ClientSession(self._api.url, headers=headers, connector=connector) as session,
        ):
            for right in rights:
                while not await has(Client(session), right):
                    pass
        return await self._stack.enter_async_context(reach(kubeconfig))

    async def without(self, right: Right) -> ClusterApi:
        """As a ServiceAccount of its own that has all rights but one."""
        name = f"without-{uuid.uuid4().hex[:8]}"
        for each in OBJECTS:
            if each["kind"] == "Namespace":
                continue
            changed = reduced(copy.deepcopy(each), right)
            changed["metadata"]["name"] = name
            for reference in (changed.get("roleRef", {}), *changed.get("subjects", ())):
                reference["name"] = name
            answer = await self._admin("POST", path_of(each), changed)
            assert answer.code == 201, answer.body
        return await self.connect(name, [each for each in rights_of(OBJECTS) if each != right])

    async def aclose(self) -> None:
        await self._stack.aclose()


def reduced(each: Json, right: Right) -> Json:
    """A role of the manifest without one right."""
    if each["kind"] in ("Role", "ClusterRole"):
        each["rules"] = [other.rule for other in rights_of([each]) if other != right]
    return each


async def has(account: Client, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": right.namespace,
        "name": right.name,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await account("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    return bool(answer.body["status"]["allowed"])


@pytest.fixture
async def cluster(api: Api, admin: Client, tmp_path: Path) -> AsyncIterator[Cluster]:
    made = Cluster(api, admin, tmp_path)
    await made.apply()
    yield made
    await made.aclose()


@pytest.fixture
async def place(admin: Client, cluster: Cluster, logging_node: LoggingNode, joinable: None) -> AsyncIterator[Place]:
    node = logging_node.name
    there = peer_pod(node, node, IMAGE, "127.0.0.1")
    pod, path = there["metadata"]["name"], f"/api/v1/namespaces/{NAMESPACE}/pods"
    assert (await admin("POST", path, there)).code == 201
    await report_pod(admin, NAMESPACE, pod, ready=True)
    yield Place(admin, node, pod)
    of_the_node = {"fieldSelector": f"spec.nodeName={node}"}
    await admin("DELETE", path, {"gracePeriodSeconds": 0}, **of_the_node)
    await remove_stops(admin)


def test_the_table_is_about_the_manifest() -> None:
    assert sorted(map(str, rights_of(OBJECTS))) == sorted(NEEDED_FOR)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
async def test_the_rights_are_enough(cluster: Cluster, place: Place, operation: Operation) -> None:
    ours = await cluster.connect("poolkeeper", rights_of(OBJECTS))
    async with asyncio.timeout(DEADLINE_S):
        await operation(ours, place)


@pytest.mark.parametrize("right", rights_of(OBJECTS), ids=str)
async def test_each_right_is_needed(cluster: Cluster, place: Place, right: Right) -> None:
    ours = await cluster.without(right)
    for operation in NEEDED_FOR[str(right)]:
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(ApiError) as caught:
                await operation(ours, place)
        assert caught.value.status == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("GET", "/api/v1/nodes/{node}/proxy/healthz", id="a kubelet through the API server"),
        pytest.param("GET", "/api/v1/nodes/{node}/stats/summary", id="another way to a kubelet"),
        pytest.param("PATCH", "/api/v1/nodes/{node}/status", id="what a node reports"),
        pytest.param("PUT", "/api/v1/nodes/{node}", id="a node whole"),
        pytest.param("POST", "/api/v1/nodes", id="a new node"),
        pytest.param("DELETE", "/api/v1/nodes", id="all nodes at once"),
        pytest.param("GET", "/api/v1/secrets", id="secrets"),
        pytest.param("GET", "/api/v1/namespaces/kube-system/secrets", id="secrets beside its tokens"),
        pytest.param("GET", "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef", id="a token"),
        pytest.param("PATCH", "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef", id="changing a token"),
        pytest.param("DELETE", "/api/v1/namespaces/kube-system/secrets", id="all secrets at once"),
        pytest.param("GET", "/api/v1/namespaces/kube-system/configmaps/other", id="another ConfigMap of the system"),
        pytest.param("PATCH", "/api/v1/namespaces/kube-public/configmaps/cluster-info", id="changing cluster-info"),
        pytest.param("GET", "/api/v1/namespaces/poolkeeper/secrets", id="secrets of its own namespace"),
        pytest.param("POST", "/api/v1/namespaces/default/pods", id="pods elsewhere"),
        pytest.param("DELETE", "/api/v1/namespaces/kube-system/pods/p", id="deleting pods elsewhere"),
        pytest.param("GET", "/api/v1/namespaces/kube-system/pods/p/log", id="logs of others"),
        pytest.param("POST", "/api/v1/namespaces/poolkeeper/pods/{pod}/exec", id="exec in its own pod"),
        pytest.param("POST", "/api/v1/namespaces/default/pods/p/exec", id="exec elsewhere"),
        pytest.param("GET", "/apis/apps/v1/replicasets", id="ReplicaSets, which no forecast needs"),
        pytest.param("PATCH", "/apis/policy/v1/namespaces/default/poddisruptionbudgets/p", id="a budget"),
        pytest.param("GET", "/api/v1/namespaces/poolkeeper/configmaps/other", id="another ConfigMap"),
        pytest.param("GET", "/api/v1/namespaces/poolkeeper/configmaps", id="all ConfigMaps"),
        pytest.param("DELETE", "/api/v1/namespaces/poolkeeper/configmaps/stops", id="deleting the stops"),
        pytest.param("POST", "/api/v1/namespaces/poolkeeper/serviceaccounts/poolkeeper/token", id="a token of its own"),
        pytest.param("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", id="a role"),
        pytest.param("POST", "/api/v1/namespaces", id="a namespace"),
    ],
)
async def test_everything_else_is_refused(cluster: Cluster, place: Place, method: str, path: str) -> None:
    ours = await cluster.connect("poolkeeper", rights_of(OBJECTS))
    with pytest.raises(ApiError) as caught:
        await ours.request(method, path.format(node=place.node, pod=place.pod), body=None if method == "GET" else {})
    assert caught.value.status == 403, caught.value
