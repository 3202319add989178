"""What an API server's history says about a rollout: questions, each of which can be answered with a violation.

Pure, and written from the design and not from the code that it judges: none of poolkeeper's own modules is used.
An empty answer means that nothing of the kind was seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace, empty where there is none, and name."""

POOLKEEPER = "system:serviceaccount:poolkeeper:poolkeeper"
CORDON, CLAIM, ACCEPTED = "poolkeeper.io/cordon", "poolkeeper.io/rollout", "poolkeeper.io/accepted"
FENCING = "poolkeeper.io/fencing-token"


@dataclass(frozen=True)
class Event:
    """One object as it became."""

    version: int
    resource: str
    key: Key
    object: Json | None
    """None: it is gone."""


@dataclass(frozen=True)
class Write:
    """One request of the audit log that was to change something."""

    version: int
    """The newest resourceVersion when it was answered."""
    at: str
    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int

    @classmethod
    def of(cls, line: Json) -> Write:
        return cls(**{name: line[name] for name in cls.__dataclass_fields__})

    @property
    def landed(self) -> bool:
        """Whether it was carried out."""
        return 200 <= self.code < 300

    def __str__(self) -> str:
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.user.rpartition(':')[2]}: {self.verb} {what} {self.namespace}/{self.name}: {self.code}"


@dataclass(frozen=True)
class Group:
    """Nodes of which so many may be down at once: a pool or a domain."""

    name: str
    nodes: frozenset[str]
    limit: int


@dataclass(frozen=True)
class Step:
    """One event with what was there just before it, and everything as it is after it."""

    event: Event
    before: Json | None
    world: Mapping[tuple[str, Key], Json]

    def all(self, resource: str) -> dict[Key, Json]:
        return {key: obj for (kind, key), obj in self.world.items() if kind == resource}


@dataclass(frozen=True)
class History:
    """Everything that happened while somebody watched, in order.

    The first events are what was there in the beginning.
    """

    events: list[Event]
    writes: list[Write] = field(default_factory=list)

    def steps(self, *resources: str) -> Iterator[Step]:
        """One after the other; `world` is the same object each time."""
        world: dict[tuple[str, Key], Json] = {}
        for event in self.events:
            before = world.get((event.resource, event.key))
            if event.object is None:
                world.pop((event.resource, event.key), None)
            else:
                world[event.resource, event.key] = event.object
            if not resources or event.resource in resources:
                yield Step(event, before, world)

    # how many are down

    def most_down(self, group: Group) -> frozenset[str]:
        """The greatest set of a group's nodes that were down at once. A Node that is not there is not counted."""
        most: frozenset[str] = frozenset()
        for step in self.steps("nodes"):
            down = _down(step, group)
            if len(down) > len(most):
                most = down
        return most

    def over_limit(self, groups: Iterable[Group]) -> list[str]:
        """Cordons of ours with which more nodes of a group were down than it allows."""
        told = []
        for step in self.steps("nodes"):
            if not _is_new_cordon(step):
                continue
            name = step.event.key[1]
            for group in groups:
                down = _down(step, group)
                if name in group.nodes and len(down) > group.limit and not _was_down(step):
                    told.append(f"{name} was cordoned, with which {sorted(down)} of {group.name} were down")
        return told

    # cordons

    def cordoned(self) -> list[str]:
        """Nodes that a rollout has cordoned, in that order; one that was cordoned again is there again."""
        return [step.event.key[1] for step in self.steps("nodes") if _is_new_cordon(step)]

    def freed_unproven(self, version: str) -> list[str]:
        """Nodes whose slot was freed before they were Ready with the wanted kubelet.

        One that is given back with nothing changed on it has the kubelet that it was cordoned with, and its claim
        says that it was only being drained.
        """
        told = []
        kubelet_when_cordoned: dict[str, str] = {}
        for step in self.steps("nodes"):
            name, now, before = step.event.key[1], step.event.object, step.before
            if _is_new_cordon(step) and now is not None:
                kubelet_when_cordoned[name] = _kubelet(now)
            if now is None or before is None:
                continue
            uncordoned = _cordon_is_ours(before) and not _unschedulable(now)
            if not uncordoned and not (_claim(before) and not _claim(now)):
                continue
            if _in_quarantine(before) or (_kubelet(now) == version and _ready(now)):
                continue
            untouched = _kubelet(now) == kubelet_when_cordoned.get(name, _kubelet(now))
            if not (untouched and _claim(before).get("phase") == "draining"):
                told.append(f"{name} was freed with kubelet {_kubelet(now)}, Ready {_ready(now)}, {_claim(before)}")
        return told

    def others_cordons_touched(self) -> list[str]:
        """Nodes whose cordon was not ours, and was lifted, or claimed as ours."""
        told = []
        for step in self.steps("nodes"):
            before, now = step.before, step.event.object
            if before is None or now is None or not _unschedulable(before) or CORDON in _annotations(before):
                continue
            if not _unschedulable(now):
                told.append(f"{step.event.key[1]}: a cordon that was not ours was lifted")
            elif CORDON in _annotations(now):
                told.append(f"{step.event.key[1]}: a cordon that was not ours was claimed")
        return told

    def left_on_nodes(self) -> list[str]:
        """What of ours is on Nodes in the end."""
        world: Mapping[tuple[str, Key], Json] = {}
        for step in self.steps("nodes"):
            world = step.world
        return sorted(
            f"{key[1]}: {annotation}"
            for (resource, key), obj in world.items()
            if resource == "nodes"
            for annotation in (CORDON, CLAIM)
            if annotation in _annotations(obj)
        )

    # budgets

    def broken_budgets(self) -> list[str]:
        """Budgets that had fewer healthy pods than they want because of us.

        Counted twice: from the pods themselves, and as the budget's own status tells. It is because of us if one of
        the pods that it lost since it was well was removed by poolkeeper, or was on a node that a rollout had taken.
        """
        told = []
        lost: dict[Key, dict[str, bool]] = {}
        was_well: dict[Key, tuple[bool, bool]] = {}
        for step in self.steps("pods", "poddisruptionbudgets"):
            for key, budget in step.all("poddisruptionbudgets").items():
                if step.event.resource == "pods" and not _selects(budget, key, step):
                    continue
                if step.event.resource == "pods" and _loses(step):
                    lost.setdefault(key, {})[step.event.key[1]] = self._is_ours(step)
                well = _well_by_pods(step, key, budget), _well_by_status(budget)
                had_been, was_well[key] = was_well.get(key, (False, False)), well
                ours = ", ".join(sorted(name for name, is_ours in lost.get(key, {}).items() if is_ours))
                for source, before, now in zip(("its pods", "its status"), had_been, well, strict=True):
                    if before and not now and ours:
                        told.append(f"PDB {'/'.join(key)} by {source}: lost {ours}")
                if all(well):
                    lost.pop(key, None)
        return told

    def _is_ours(self, step: Step) -> bool:
        namespace, name = step.event.key
        if any(
            w.user == POOLKEEPER and w.landed and (w.namespace, w.name) == (namespace, name)
            and (w.subresource == "eviction" or (w.resource, w.verb) == ("pods", "delete"))
            for w in self.writes
        ):  # fmt: skip
            return True
        pod = step.event.object or step.before or {}
        node = step.world.get(("nodes", ("", pod.get("spec", {}).get("nodeName", ""))))
        return node is not None and CLAIM in _annotations(node)

    # who wrote

    def writes_to_node(self, node: str, user: str = POOLKEEPER, since: int = 0) -> list[str]:
        """Requests of a user that changed a Node or a pod on it, from a version on."""
        pods = {
            event.key
            for event in self.events
            if event.resource == "pods" and event.object and event.object.get("spec", {}).get("nodeName") == node
        }
        return [
            str(w)
            for w in self.writes_by(user, since)
            if (w.resource == "nodes" and w.name == node) or (w.resource == "pods" and (w.namespace, w.name) in pods)
        ]

    def writes_by(self, user: str, since: int = 0) -> list[Write]:
        """Requests of a user that changed anything, after a version."""
        return [w for w in self.writes if w.user == user and w.version > since and w.landed]

    def claimed_by(self, run: str, since: int = 0) -> list[str]:
        """Nodes whose claim became one of this run after a version."""
        told = []
        for step in self.steps("nodes"):
            now = _claim(step.event.object or {})
            if step.event.version > since and now.get("run") == run and now != _claim(step.before or {}):
                told.append(f"{step.event.key[1]}: {now.get('phase')}")
        return told

    def smaller_fencing_tokens(self) -> list[str]:
        """Claims and leases on which a fencing token was followed by a smaller one."""
        told = []
        for step in self.steps("nodes", "leases"):
            before, now = _fencing_token(step.event, step.before), _fencing_token(step.event, step.event.object)
            if before is not None and now is not None and now < before:
                told.append(f"{step.event.resource} {step.event.key[1]}: {before}, then {now}")
        return told

    def holders(self, lease: str) -> list[str]:
        """Who held a lease, one after the other; empty where it was free."""
        holders: list[str] = []
        for step in self.steps("leases"):
            if step.event.key[1] == lease:
                holder = ((step.event.object or {}).get("spec") or {}).get("holderIdentity") or ""
                if not holders or holders[-1] != holder:
                    holders.append(holder)
        return holders

    @property
    def version(self) -> int:
        """Of the newest event: what comes `since` it has not happened yet."""
        return max((event.version for event in self.events), default=0)


def groups_of(fleet: Json) -> list[Group]:
    """The pools and domains of a fleet file, with how many nodes of each may be down.

    A percentage is the floor of the active hosts, and at least one.
    """
    told = []
    for kind in ("pool", "domain"):
        for name, entry in (fleet.get(f"{kind}s") or {}).items():
            hosts = {n: h for n, h in fleet["hosts"].items() if h.get(kind) == name}
            limit = entry.get("max_unavailable", 1)
            if isinstance(limit, str):
                active = sum(1 for host in hosts.values() if host.get("active", True))
                limit = max(1, active * int(limit.rstrip("%")) // 100)
            nodes = frozenset(host.get("node_name") or n for n, host in hosts.items())
            told.append(Group(f"{kind} {name}", nodes, limit))
    return told


def _annotations(obj: Json) -> Json:
    found: Json = obj.get("metadata", {}).get("annotations") or {}
    return found


def _claim(node: Json) -> Json:
    found: Json = json.loads(_annotations(node).get(CLAIM, "{}"))
    return found


def _unschedulable(node: Json) -> bool:
    return bool(node.get("spec", {}).get("unschedulable"))


def _cordon_is_ours(node: Json) -> bool:
    return _unschedulable(node) and CORDON in _annotations(node)


def _in_quarantine(node: Json) -> bool:
    """Joined, cordoned by us, and never accepted: it has not carried anything yet."""
    return _cordon_is_ours(node) and ACCEPTED not in _annotations(node)


def _is_new_cordon(step: Step) -> bool:
    """Whether a rollout has cordoned a node in this step."""
    now, before = step.event.object, step.before
    if step.event.resource != "nodes" or now is None or before is None or _in_quarantine(now):
        return False
    return _cordon_is_ours(now) and not _unschedulable(before)


def _ready(obj: Json) -> bool:
    conditions = obj.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _kubelet(node: Json) -> str:
    return str(node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", ""))


def _is_down(node: Json) -> bool:
    return not _in_quarantine(node) and (_unschedulable(node) or not _ready(node))


def _was_down(step: Step) -> bool:
    return step.before is not None and _is_down(step.before)


def _down(step: Step, group: Group) -> frozenset[str]:
    return frozenset(name for (_, name), node in step.all("nodes").items() if name in group.nodes and _is_down(node))


def _healthy(pod: Json) -> bool:
    return _ready(pod) and "deletionTimestamp" not in pod["metadata"]


def _loses(step: Step) -> bool:
    """Whether a pod that was healthy is not any more."""
    after = step.event.object
    return step.before is not None and _healthy(step.before) and (after is None or not _healthy(after))


def _selects(budget: Json, key: Key, step: Step) -> bool:
    pod = step.event.object or step.before or {}
    return step.event.key[0] == key[0] and _matches(budget, pod)


def _matches(budget: Json, pod: Json) -> bool:
    wanted, labels = budget["spec"]["selector"]["matchLabels"], pod["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in wanted.items())


def _well_by_pods(step: Step, key: Key, budget: Json) -> bool:
    pods = (pod for (namespace, _), pod in step.all("pods").items() if namespace == key[0] and _matches(budget, pod))
    desired: int = (budget.get("status") or {}).get("desiredHealthy", 0)
    return sum(map(_healthy, pods)) >= desired


def _well_by_status(budget: Json) -> bool:
    status = budget.get("status") or {}
    return bool(status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0))


def _fencing_token(event: Event, obj: Json | None) -> int | None:
    if obj is None:
        return None
    if event.resource == "leases":
        told = _annotations(obj).get(FENCING)
        return int(told) if told else None
    return _claim(obj).get("fencing_token")
