"""A rollout over two hosts whose changes are on disk, as the flows do it, and what the world tells of it afterwards."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from poolkeeper.tasks.cluster.api import MERGE_PATCH
from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host, Limit
from poolkeeper.tasks.hosts.fence import Fence, HostIntent
from poolkeeper.tasks.outcomes import Evidence, Finding, HostOutcome, HostState, Known, Observed, Severity, Subject
from poolkeeper.tasks.rollout import recovery
from poolkeeper.tasks.rollout.goal import Goal, Limits
from poolkeeper.tasks.rollout.host_runner import HostRunner
from poolkeeper.tasks.rollout.host_work import HostWork
from poolkeeper.tasks.rollout.maintenance import HandOver, Prove, ReturnToService
from poolkeeper.tasks.rollout.plan import PlannedHost
from poolkeeper.tasks.rollout.remedies import Remedy
from poolkeeper.tasks.rollout.rollout_state import shared_by
from poolkeeper.tasks.rollout.run import RolloutRun
from tests.contract.cluster.conftest import reach
from tests.contract.killed.runs import Ground
from tests.contract.killed.stories import Story
from tests.contract.killed.worlds import LEASES, World
from tests.contract.rollout.instant import open_run
from tests.e2e.history import Group, Step
from tests.unit.onboard.builders import a_host

Json = dict[str, Any]

OLD, WANTED = "v1.35.4", "v1.36.3"
GOAL = Goal("upgrade", "general", {"kubernetes": WANTED})
LIMITS = Limits(gate_timeout_s=5.0, headroom_timeout_s=5.0, drain_timeout_s=10.0)
NAMES = ("n0", "n1")
API_TIMEOUT_S = 10.0


def two_nodes(world: World) -> None:
    """Ready and accepted, each with a pod that something owns and that nothing brings back."""
    store = world.store
    store.create("namespaces", {"metadata": {"name": "shop"}})
    owner = store.create("configmaps", {"metadata": {"name": "owner", "namespace": "shop"}})
    owned = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "controller": True,
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    for name in NAMES:
        metadata = {"name": name, "annotations": {"poolkeeper.io/accepted": "{}"}}
        store.create("nodes", {"metadata": metadata, "status": world.kubelets.status(OLD)})
        spec = {"nodeName": name, "containers": [{"name": "c", "image": "i"}]}
        store.create(
            "pods", {"metadata": {"name": f"web-{name}", "namespace": "shop", "ownerReferences": [owned]}, "spec": spec}
        )
        Disk(world.folder, name).write(Record())


def two_hosts() -> list[Host]:
    """One pool, one rack: one of them may be unavailable."""
    hosts = [a_host(name, pool={"max_unavailable": Limit(count=1)}, domain="rack") for name in NAMES]
    for host in hosts:
        assert host.domain is not None
        object.__setattr__(host.domain, "max_unavailable", Limit(count=1))
    return hosts


@dataclass(frozen=True)
class Record:
    """What a host has on disk."""

    installed: str = OLD
    running: str = OLD
    fencing_token: int = 0
    begun: str = ""
    """The rollout and the token of what it was changed for."""


class Disk:
    """A host's disk: what is there now, and everything that was done, with the time."""

    def __init__(self, folder: Path, host: str) -> None:
        self._folder, self.host = folder, host

    @property
    def record(self) -> Record:
        return Record(**json.loads(self._path.read_text()))

    @property
    def _path(self) -> Path:
        return self._folder / f"disk-{self.host}"

    @property
    def broken(self) -> Path:
        """Where it is, no change succeeds."""
        return self._path.with_suffix(".broken")

    def write(self, record: Record) -> None:
        """All of it at once, as a rename does."""
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(record.__dict__))
        partial.replace(self._path)

    def log(self, what: str, run: str) -> None:
        """One more thing that was done."""
        with self._path.with_suffix(".log").open("a") as file:
            file.write(json.dumps([time.monotonic_ns(), what, run]) + "\n")

    @property
    def done(self) -> list[tuple[int, str, str]]:
        """When, what, and by which run."""
        path = self._path.with_suffix(".log")
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


class OnDisk:
    """Work that is done at once and is on the host's disk: a build is installed, then the kubelet starts with it.

    Which build is assessed up by each run anew, and another one each time: hosts of one rollout share it all the same.
    """

    hands_over = False
    works_on_not_ready = False
    works_without_node = False
    one_by_one = False

    def __init__(self, ground: Ground, run: RolloutRun) -> None:
        self.ground, self.run, self._shared = ground, run, dict[str, Any]()

    def disk(self, host: Host) -> Disk:
        return Disk(self.ground.folder, host.name)

    async def at_goal(self, host: Host, node: NodeRow | None) -> bool:
        return self.disk(host).record.running.startswith(WANTED)

    async def prepare(self, host: Host) -> tuple[Finding, ...]:
        self._shared.setdefault("build", f"{WANTED}+{self.ground.run_id}")
        return ()

    def remembered(self) -> Mapping[str, Any]:
        return self._shared

    def remember(self, what: Mapping[str, Any]) -> None:
        self._shared.update(what)

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        here, disk, build = Subject("host", host.name), self.disk(host), self._shared["build"]
        if fence.fencing_token < disk.record.fencing_token:
            return (finding(host, f"fencing token {fence.fencing_token} after {disk.record.fencing_token}"),)
        disk.write(
            replace(
                disk.record, fencing_token=fence.fencing_token, begun=f"{fence.intent.rollout} {fence.intent.token}"
            )
        )
        if disk.record.installed != build:
            await self.run.gate.change(
                here, f"install {WANTED} on host {host.name}", lambda: self.install(host, build), if_dry_run=None
            )
        if disk.broken.exists():
            return (finding(host, "it does not start"),)
        if disk.record.running != build:
            await self.run.gate.change(
                here, f"restart the kubelet of host {host.name}", lambda: self.restart(host), if_dry_run=None
            )
        return ()

    async def install(self, host: Host, build: str) -> None:
        disk = self.disk(host)
        disk.log("install", self.ground.run_id)
        disk.write(replace(disk.record, installed=build))

    async def restart(self, host: Host) -> None:
        """The kubelet tells its version by itself."""
        disk = self.disk(host)
        disk.log("restart", self.ground.run_id)
        disk.write(replace(disk.record, running=disk.record.installed))
        async with reach(self.ground.folder / "kubelet") as kubelet:
            told = {"status": {"nodeInfo": {"kubeletVersion": WANTED}}}
            await kubelet.request("PATCH", f"/api/v1/nodes/{host.name}/status", body=told, content_type=MERGE_PATCH)

    async def prove(self, host: Host, before: NodeRow | None) -> tuple[Finding, ...]:
        if not self.disk(host).record.running.startswith(WANTED):
            return (finding(host, "the kubelet is the old one"),)
        self.disk(host).log("proof", self.ground.run_id)
        return ()


def finding(host: Host, observed: str) -> Finding:
    """Something that is wrong with a host."""
    return Finding(
        "x.wrong", Severity.BLOCKER, Subject("host", host.name), Evidence(observed, "right", "test"), "Mend it."
    )


class OnDisks(RolloutRun):
    """A run over hosts that are disks."""

    folder: Path

    async def prove_works(self, host: Host) -> tuple[Finding, ...]:
        return ()

    async def begun_on(self, host: Host) -> Observed[HostIntent | None]:
        begun = Disk(self.folder, host.name).record.begun
        return Known(HostIntent(*begun.split()) if begun else None, datetime.now(UTC))

    async def fence_off(self, host: Host, fencing_token: int) -> Observed[HostIntent | None]:
        disk = Disk(self.folder, host.name)
        disk.write(replace(disk.record, fencing_token=max(fencing_token, disk.record.fencing_token)))
        return await self.begun_on(host)

    async def forget(self, host: Host, rollout: str) -> None:
        disk = Disk(self.folder, host.name)
        if disk.record.begun.startswith(rollout):
            disk.write(replace(disk.record, begun=""))


@asynccontextmanager
async def opened(ground: Ground) -> AsyncIterator[RolloutRun]:
    """A run over the two hosts, or those on machines, whose gate counts."""
    async with reach(ground.kubeconfig, timeout_s=API_TIMEOUT_S) as api:
        kind = RolloutRun if ground.hosts else OnDisks
        run = await open_run(api, ground.hosts or two_hosts(), ground.state, ground.run_id, kind)
        if isinstance(run, OnDisks):
            run.folder = ground.folder
        run.gate = ground.gate(run.gate)
        yield run


async def rolled(
    run: RolloutRun, goal: Goal, limits: Limits, work: HostWork, names: tuple[str, ...] = NAMES
) -> dict[str, str]:
    """One goal from look to end, as `flows/rolling.py` carries it out: host -> how it ended."""
    assessed = await run.assess(names, goal, limits, work)
    forecasts = await run.forecast_drains(assessed.values(), limits)
    plan = run.plan(goal, limits, assessed.values(), forecasts)
    planned, goes = {one.host.name for one in plan.hosts}, work.works_without_node
    outcomes = [run.without_work(one) for name, one in assessed.items() if name not in planned]
    done = {outcome.name for outcome in outcomes if outcome.state is HostState.DONE}
    if not plan.hosts:
        await run.forget_finished(plan, done)
    else:
        async with run.pool_lease(plan, nodes_go=goes) as lease:
            plan = await run.resumed(plan, lease, done, nodes_go=goes)
            unfit = await run.prepare(plan, work, lease)
            runner = run.host_runner(goal, limits, work, lease)

            async def run_host(one: PlannedHost) -> HostOutcome:
                return await runner.run_host(one.host)

            fit = plan.without({outcome.name for outcome in unfit})
            carried, halted = await run.run_waves(fit, lease, run_host, nodes_go=goes, one_by_one=work.one_by_one)
            print(f"halted: {halted or 'no'}")
            outcomes += [*unfit, *carried]
    return {outcome.name: str(outcome.state) for outcome in outcomes}


@dataclass(frozen=True)
class Upgrade:
    """Both hosts to the wanted version."""

    work: Callable[[Ground, RolloutRun], HostWork] = OnDisk

    async def __call__(self, ground: Ground) -> Json:
        async with opened(ground) as run:
            return await rolled(run, GOAL, LIMITS, self.work(ground, run))


@dataclass(frozen=True)
class Recover:
    """What `flows/recover.py` does in the pool."""

    work: Callable[[Ground, RolloutRun], HostWork] = OnDisk

    async def __call__(self, ground: Ground) -> Json:
        outcomes = {}
        async with opened(ground) as run:
            if not await run.leftovers({GOAL.flow: False}) and not await run.lease_is_held():
                return {}
            async with run.recovery_lease() as lease:
                await run.read_again()
                for one in await run.leftovers({GOAL.flow: False}):
                    work: HostWork = ReturnToService(proven_at_once(ground))
                    if one.remedy is Remedy.FINISH:
                        work = self.work(ground, run)
                        work.remember(shared_by(lease.note, one.goal.id))
                    runner = run.host_runner(one.goal, LIMITS, work, lease)

                    async def run_host(planned: PlannedHost, runner: HostRunner = runner) -> HostOutcome:
                        return await runner.run_host(planned.host)

                    postponed = partial(run.postponed, one.host)
                    outcome = await recovery.recover(one, runner, lease, run_host, postponed)
                    outcomes[outcome.name] = str(outcome.state)
        return outcomes


def proven_at_once(ground: Ground) -> Prove:
    """A proof that takes no time, and stands in the host's log."""

    async def prove(host: Host) -> tuple[Finding, ...]:
        Disk(ground.folder, host.name).log("proof", ground.run_id)
        return ()

    return prove


MAINTAIN = Goal("maintain", "general")
BY_HAND = replace(LIMITS, works_on_cordoned=True)


async def out(ground: Ground) -> Json:
    """The first host to a person."""
    async with opened(ground) as run:
        return await rolled(run, MAINTAIN, BY_HAND, HandOver(), NAMES[:1])


async def back(ground: Ground) -> Json:
    """The first host from a person, who did something to it."""
    async with opened(ground) as run:
        return await rolled(run, MAINTAIN, BY_HAND, ReturnToService(proven_at_once(ground)), NAMES[:1])


# what the world tells


def end(world: World) -> Json:
    """What is there, without run ids and times."""
    store = world.store
    return {
        **{f"node {node['metadata']['name']}": _node(node) for node in store.list("nodes")},
        **{f"lease {lease['metadata']['name']}": _lease(lease) for lease in store.list(LEASES, "poolkeeper")},
        "pods": sorted(
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']} on {pod['spec'].get('nodeName')}"
            for pod in store.list("pods")
        ),
        "words": sorted(
            f"{map_['metadata']['name']}: {key}"
            for map_ in store.list("configmaps", "poolkeeper")
            if map_["metadata"]["name"] != "kube-root-ca.crt"
            for key in map_.get("data") or {}
        ),
        **{f"host {name}": _host(Disk(world.folder, name)) for name in NAMES},
    }


def _node(node: Json) -> Json:
    annotations = node["metadata"].get("annotations") or {}
    claim = json.loads(annotations.get("poolkeeper.io/rollout", "{}"))
    return {
        "annotations": sorted(key for key in annotations if key.startswith("poolkeeper.io/")),
        "labels": node["metadata"].get("labels") or {},
        "phase": claim.get("phase"),
        "unschedulable": bool(node["spec"].get("unschedulable")),
        "kubelet": node["status"]["nodeInfo"]["kubeletVersion"],
    }


def _lease(lease: Json) -> Json:
    note = json.loads((lease["metadata"].get("annotations") or {}).get("poolkeeper.io/rollout", "{}"))
    unfinished = note.get("unfinished", {}).values()
    return {
        "held": bool(lease["spec"].get("holderIdentity")),
        "spent": sorted({host for one in unfinished for host in one["spent"]}),
        "intents": sorted({host for one in unfinished for host in one["intents"]}),
        "members": sorted(note.get("members", ())),
    }


def _host(disk: Disk) -> Json:
    record = disk.record
    versions = {"installed": record.installed.partition("+")[0], "running": record.running.partition("+")[0]}
    return {**versions, "begun": bool(record.begun)}


GROUPS = tuple(Group(f"{kind} of both", frozenset(NAMES), 1) for kind in ("pool", "rack"))


def wrong(world: World, story: Story, version: str = WANTED) -> list[str]:
    """What never holds in a rollout over the two hosts, whoever was killed. version: of nodes that are given back"""
    seen = world.history
    told = seen.over_limit(GROUPS) + seen.smaller_fencing_tokens() + seen.broken_budgets()
    # of one that was never changed nothing is to be proven, however far its Node said that it had come
    told += [said for said in seen.freed_unproven(version) if Disk(world.folder, said.split()[0]).done]
    told += [f"at most one may be down, and {sorted(down)} were" for g in GROUPS if len(down := seen.most_down(g)) > 1]
    evicted = Counter(w.name for w in seen.writes if w.subresource == "eviction" and w.landed)
    told += [f"pod {name} was evicted {times} times" for name, times in evicted.items() if times > 1]
    builds = set()
    for name in NAMES:
        disk = Disk(world.folder, name)
        done = Counter(what for _, what, _ in disk.done)
        told += [f"{what} was done {done[what]} times on {name}" for what in ("install", "restart") if done[what] > 1]
        builds |= {disk.record.running} - {OLD}
    if len(builds) > 1:
        told.append(f"hosts of one rollout have different builds: {sorted(builds)}")
    told += [said for step in seen.steps("nodes") if (said := _freed_too_early(step, world))]
    return told


def _freed_too_early(step: Step, world: World) -> str:
    """A node that takes pods again with something on its host that was changed and not proven since."""
    now, before = step.event.object, step.before
    if now is None or before is None or not before["spec"].get("unschedulable") or now["spec"].get("unschedulable"):
        return ""
    at_ns, name = world.at_ns[step.event.version], step.event.key[1]
    done = [what for done_ns, what, _ in Disk(world.folder, name).done if done_ns < at_ns]
    if not done or done[-1] == "proof":
        return ""
    return f"{name} was uncordoned after {', '.join(done)}, with no proof since"
