"""A lab with nodes to upgrade, as many pools of it as tests want, and runs that are watched while they go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.layout import LabFolder
from tests import warm
from tests.e2e.conftest import Cluster, Json
from tests.e2e.history import ACCEPTED, CLAIM, Event, Group, groups_of
from tests.e2e.observer import Observer
from tests.warm import Command, Ended

OLD, WANTED = "v1.35.4", "v1.36.3"
LEASE_S = "15"
"""The least that is allowed: a killed run is taken over after so long."""
TEST_POOL = "test-pool"
"""Label of Nodes, so that a workload stays in its test's pool."""
IMAGE = "registry.example/acs/busybox:v1.29.2"
WAIT_S = 60.0


@dataclass(frozen=True)
class TestPool:
    """A pool of one test's own, with a workload of three pods and a budget on its nodes."""

    name: str
    hosts: tuple[str, ...]

    __test__ = False

    @property
    def workload(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.name}/deployments/web"

    @property
    def selection(self) -> str:
        """Its hosts, as a selection has them."""
        return "|".join(self.hosts)

    @property
    def budgets(self) -> str:
        return f"/apis/policy/v1/namespaces/{self.name}/poddisruptionbudgets"


@dataclass(frozen=True)
class RolloutLab(Cluster):
    """A lab whose hosts are accepted nodes with an older kubelet."""

    free: list[str] = field(default_factory=list)
    """Hosts that no test has used yet."""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "POOLKEEPER_LEASE_S": LEASE_S}

    # pools and what runs in them

    def accept(self, host: str) -> None:
        """As an onboarding long ago has left its Node."""
        machine_id = self.nodes[host]["status"]["nodeInfo"]["machineID"]
        annotations = {ACCEPTED: json.dumps({"run": "long-ago"}), "poolkeeper.io/machine-id": machine_id}
        self.ask("PATCH", f"/api/v1/nodes/{host}", {"metadata": {"annotations": annotations}, "spec": {"taints": None}})

    def pool(self, name: str, hosts: int, *, at_once: int = 1, domain: str = "", replicas: int = 3) -> TestPool:
        """A pool of fresh hosts, in domains of its own, one a site, or all at one site in the domain that is named."""
        # those of one site from the end, so that others go on getting one of each site in turn
        fit = [host for host in reversed(self.free) if host.startswith("fra1")] if domain else self.free
        fit = fit[:hosts]
        assert len(fit) == hosts, "the lab has too few hosts: raise HOSTS"
        for host in fit:
            self.free.remove(host)
        made = TestPool(name, tuple(fit))

        def declare(document: Json) -> None:
            document["pools"][name] = {**document["pools"]["general"], "max_unavailable": at_once}
            for host in made.hosts:
                site = document["hosts"][host]["site"]
                place = domain or f"{name}-{site}"
                document["domains"].setdefault(place, {"site": site, "max_unavailable": at_once})
                document["hosts"][host].update(pool=name, domain=place)

        self.edit_fleet(declare)
        for host in made.hosts:
            self.ask("PATCH", f"/api/v1/nodes/{host}", {"metadata": {"labels": {TEST_POOL: name}}})
        if replicas:
            self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
            self.ask("POST", f"/apis/apps/v1/namespaces/{name}/deployments", _deployment(name, replicas))
            with Observer(self.folder) as observer:
                self.set_budget(made, replicas - 1)
                observer.wait_for(f"the budget of {name} counts its pods", _counts(name, replicas), WAIT_S)
        return made

    def set_budget(self, pool: TestPool, min_available: int, name: str = "web") -> None:
        """Make the pool's budget, or change it."""
        spec = {"minAvailable": min_available, "selector": {"matchLabels": {"app": "web"}}}
        there = {item["metadata"]["name"] for item in self.ask("GET", pool.budgets)["items"]}
        if name in there:
            self.ask("PATCH", f"{pool.budgets}/{name}", {"spec": spec})
        else:
            self.ask("POST", pool.budgets, {"metadata": {"name": name, "namespace": pool.name}, "spec": spec})

    def groups(self, *pools: TestPool) -> list[Group]:
        """Pools and domains that these stand in, with their limits."""
        document = yaml.safe_load(self.folder.fleet.read_text())
        hosts = {host for pool in pools for host in pool.hosts}
        return [group for group in groups_of(document) if group.nodes & hosts]

    def hosts_with_pods(self, pool: TestPool) -> list[str]:
        """Hosts of a pool on which its workload runs, once all of it is there and the budget has seen it."""
        path = f"/api/v1/namespaces/{pool.name}/pods"
        return sorted({pod["spec"]["nodeName"] for pod in self.ask("GET", path)["items"]})

    def kubelets(self, pool: TestPool) -> dict[str, str]:
        """Node -> its kubelet's version."""
        nodes = self.nodes
        return {host: nodes[host]["status"]["nodeInfo"]["kubeletVersion"] for host in pool.hosts}

    def unschedulable(self, pool: TestPool) -> list[str]:
        """Nodes that are cordoned, by whomever."""
        nodes = self.nodes
        return [host for host in pool.hosts if nodes[host]["spec"].get("unschedulable")]

    def claim(self, host: str) -> Json:
        """The rollout's claim on a Node; empty without one."""
        told: Json = json.loads(self.nodes[host]["metadata"]["annotations"].get(CLAIM, "{}"))
        return told

    # runs

    def upgrade(self, pool: TestPool, **parameters: str) -> Ended:
        """One upgrade of a pool, to its end."""
        return self.start_upgrade(pool, **parameters).end()

    def start_upgrade(self, pool: TestPool, environment: Mapping[str, str] | None = None, **parameters: str) -> Command:
        """One upgrade of a pool, which goes on while the test does something else."""
        return self.start(*upgrade_words(pool, **parameters), "--json", environment=environment)

    def start(self, *words: str, environment: Mapping[str, str] | None = None) -> Command:
        """Any command of poolkeeper's."""
        return warm.start(words, {**self.environment, **(environment or {})})

    def live_view(self, pool: TestPool, text: str) -> tuple[str, str]:
        """The id of the upgrade of a pool whose live view says something, and the view, as soon as it does."""
        found: list[tuple[str, str]] = []

        def says() -> bool:
            views = {file.parent.name: file.read_text() for file in (self.state / "runs").glob("*/live.md")}
            title = f"# upgrade of pool {pool.name}\n"
            found[:] = [(run, view) for run, view in views.items() if view.startswith(title) and text in view]
            return bool(found)

        until(says, f"no live view of {pool.name} says {text}")
        return found[0]

    def as_admin(self) -> dict[str, str]:
        """Environment of a run that the API server knows from every other one: it comes as another user."""
        document = yaml.safe_load(self.folder.fleet.read_text())
        document["clusters"]["main"]["kubeconfig"]["file"] = self.folder.admin_kubeconfig.name
        fleet = self.folder.path / "fleet-as-admin.yaml"
        fleet.write_text(yaml.safe_dump(document, sort_keys=False))
        return {"POOLKEEPER_FLEET": str(fleet)}

    def tell_stops(self, key: str, text: str | None) -> None:
        """A person's word, as the ConfigMap has it."""
        self._config_map("stops", {key: text})

    def _config_map(self, name: str, data: dict[str, str | None]) -> None:
        path = "/api/v1/namespaces/poolkeeper/configmaps"
        if name in {item["metadata"]["name"] for item in self.ask("GET", path)["items"]}:
            self.ask("PATCH", f"{path}/{name}", {"data": data})
        else:
            self.ask("POST", path, {"metadata": {"name": name, "namespace": "poolkeeper"}, "data": data})


def upgrade_words(pool: TestPool, **parameters: str) -> list[str]:
    """The command that upgrades a pool."""
    chosen = {"kubernetes": WANTED.removeprefix("v"), "pool": pool.name, "dry_run": "false", **parameters}
    return ["run", "upgrade", *(word for name, value in chosen.items() for word in ("-p", f"{name}={value}"))]


@contextmanager
def rollout_lab(place: Path, prefect_api_url: str, hosts: int) -> Iterator[RolloutLab]:
    """A lab with so many accepted nodes of the older version, and no workload that tests do not know of."""
    folder = LabFolder(place / "lab")
    try:
        lifecycle.up(folder, hosts, kubelet=OLD, joined=True)
        lab = RolloutLab(folder, prefect_api_url, place / "state", Cluster(folder, "", place).names)
        lab.ask("DELETE", "/apis/apps/v1/namespaces/shop/deployments/web")
        with Observer(folder) as observer:
            for host in lab.names:
                observer.wait_for(f"{host} is Ready", _is_ready(host), WAIT_S)
                lab.accept(host)
        yield lab
    finally:
        with suppress(lifecycle.NotALab):
            lifecycle.down(folder)


# what a test waits for


def claimed(pool: TestPool, phase: str) -> Callable[[Event], bool]:
    """A node of the pool has a claim of this phase."""

    def holds(event: Event) -> bool:
        if event.resource != "nodes" or event.object is None or event.key[1] not in pool.hosts:
            return False
        told = event.object["metadata"].get("annotations", {}).get(CLAIM, "{}")
        return bool(json.loads(told).get("phase") == phase)

    return holds


def _is_ready(host: str) -> Callable[[Event], bool]:
    def holds(event: Event) -> bool:
        if (event.resource, event.key[1]) != ("nodes", host) or event.object is None:
            return False
        conditions = event.object.get("status", {}).get("conditions") or ()
        return any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)

    return holds


def _counts(namespace: str, healthy: int) -> Callable[[Event], bool]:
    def holds(event: Event) -> bool:
        if (event.resource, event.key[0]) != ("poddisruptionbudgets", namespace) or event.object is None:
            return False
        return bool((event.object.get("status") or {}).get("currentHealthy") == healthy)

    return holds


def first_claimed(observer: Observer, pool: TestPool, phase: str, since: int = 0) -> tuple[str, str]:
    """The first node of a pool that comes so far, and by which run."""
    event = observer.wait_for(f"a node of {pool.name} is {phase}", claimed(pool, phase), WAIT_S, since)
    assert event.object is not None
    return event.key[1], json.loads(event.object["metadata"]["annotations"][CLAIM])["run"]


def until(holds: Callable[[], bool], what: str = "") -> None:
    """Ask from outside until it is so: for what no watch tells."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, what or "it did not come about"
        time.sleep(0.2)


def states(ended: Ended) -> dict[str, str]:
    """Host -> how the run ended for it."""
    return {row["name"]: row["state"] for row in ended.answer["hosts"]}


def findings(ended: Ended, host: str) -> list[str]:
    """The ids of a host's findings."""
    row = next(row for row in ended.answer["hosts"] if row["name"] == host)
    return [finding["id"] for finding in row["findings"]]


def _deployment(name: str, replicas: int) -> Json:
    labels = {"app": "web"}
    spec: Json = {
        "containers": [{"name": "web", "image": IMAGE, "command": ["sh", "-c", "exec sleep infinity"]}],
        "terminationGracePeriodSeconds": 1,
        "nodeSelector": {TEST_POOL: name},
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "metadata": {"name": "web", "namespace": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }
