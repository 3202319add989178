"""Where the replacements of drained pods would find room: the scheduler's filters, simulated one pod after another.

Rules: the kube-scheduler's plugins NodeUnschedulable, TaintToleration, NodeAffinity, NodeResourcesFit, NodePorts,
VolumeBinding (bound volumes), InterPodAffinity and PodTopologySpread (k8s.io/kubernetes v1.36). Which of the nodes that
pass is taken is the scheduler's choice; here it is the emptiest. Preemption, volume limits and pods that wait for a
node already are not simulated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from poolkeeper.tasks.cluster.scheduling import CORDON, REPELLING, Needs, PodTerm, Spread
from poolkeeper.tasks.cluster.selectors import NodeTerms, any_holds
from poolkeeper.tasks.cluster.snapshot import Node
from poolkeeper.tasks.cluster.workloads import Pod
from poolkeeper.tasks.rollout.snapshot_index import SnapshotIndex

Terms = tuple[NodeTerms, ...]
"""Node selectors of bound volumes: every one must hold."""

_POD = 1000
"""One pod in thousandths, as `pods` is counted in a node's allocatable."""


@dataclass(frozen=True, slots=True)
class NoRoom:
    """Why no other node takes a pod."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unsure:
    """Why it cannot be told whether one does."""

    reason: str


Destination = str | NoRoom | Unsure
"""The name of a node with room, or why there is none."""


@dataclass(frozen=True, slots=True)
class _Tally:
    """What is counted by domain: the pods that a term means, or the pods that carry it."""

    term: PodTerm
    carriers: bool = False
    eligible: Needs | None = None
    """Only nodes that these needs choose count; None: all."""


class Rooms:
    """What nodes have left and who is in which domain, as the snapshot has it. Shared by all waves of it."""

    def __init__(self, world: SnapshotIndex) -> None:
        self.world = world
        self.nodes = world.snapshot.nodes
        self.free: dict[str, dict[str, int]] = {}
        self.ports: dict[str, set[tuple[str, str, int]]] = {}
        for name, node in self.nodes.items():
            free = dict(node.allocatable)
            ports: set[tuple[str, str, int]] = set()
            for pod in world.pods_on.get(name, ()):
                if not pod.finished:
                    take(free, pod.needs)
                    ports.update(pod.needs.host_ports)
            if any(pod.unread for pod in world.pods_on.get(name, ())):
                free = dict.fromkeys(free, 0)  # nobody knows what is left beside it
            self.free[name], self.ports[name] = free, ports
        self._emptiest = sorted(self.nodes.values(), key=lambda node: (-self._share(node), node.name))
        self._by_label: dict[str, dict[str, list[Node]]] = {}
        self._open_to: dict[object, list[Node]] = {}
        self._admitted: dict[object, list[Node]] = {}
        self._reaching: dict[NodeTerms, list[Node]] = {}
        self._fitting: dict[object, _Lazily] = {}
        self._against: dict[object, Counter[str]] = {}
        self._tallies: dict[_Tally, Counter[str]] = {}
        self._domains: dict[object, Counter[str]] = {}
        self._carrying: dict[PodTerm, list[Pod]] | None = None
        self._terms_in: dict[str | None, list[PodTerm]] = {}
        self._repelling: dict[tuple[str, int], tuple[PodTerm, ...]] = {}

    def _share(self, node: Node) -> float:
        """The scarcest resource's free share."""
        free = self.free[node.name]
        return min((free[name] / has for name, has in node.allocatable if has), default=0.0)

    def admitting(self, needs: Needs, volumes: Terms) -> list[Node]:
        """The nodes whose readiness, taints, labels and volumes admit a pod, emptiest first."""
        key = (needs.tolerations, *self.affinity_key(needs), volumes)
        found = self._admitted.get(key)
        if found is None:
            open_to = self._open(needs)
            candidates = self._narrowed(needs, volumes)
            chosen = [node for node in candidates if self.chosen(node, needs)] if candidates is not None else None
            base = open_to if chosen is None else [node for node in chosen if self._is_open(node, needs)]
            found = [
                node
                for node in base
                if (chosen is not None or self.chosen(node, needs))
                and all(any_holds(terms, node.name, node.labels) for terms in volumes)
            ]
            self._admitted[key] = found
        return found

    def fitting(self, needs: Needs, volumes: Terms) -> _Lazily:
        """Those of them that have room as things are now; what waves do to nodes only takes room away."""
        key = (needs, volumes)
        found = self._fitting.get(key)
        if found is None:
            nodes = self.admitting(needs, volumes)
            fits = (node for node in nodes if not lacking(self.free[node.name], needs))
            found = self._fitting[key] = _Lazily(fits)
        return found

    def against(self, needs: Needs, volumes: Terms) -> Counter[str]:
        """How many nodes do not fit a pod as things are now, by why."""
        key = (needs, volumes)
        found = self._against.get(key)
        if found is None:
            reasons = (self.why_not(node, needs, volumes) for node in self.nodes.values())
            found = self._against[key] = Counter(why for why in reasons if why is not None)
        return found

    def why_not(self, node: Node, needs: Needs, volumes: Terms) -> str | None:
        """The first thing that keeps a pod off a node as things are now; None: it would fit."""
        if node.ready is not True:
            return "not Ready"
        if node.unschedulable and not needs.tolerates(CORDON):
            return "cordoned"
        if self.repelled(node, needs):
            return "taint not tolerated"
        if not self.chosen(node, needs):
            return "node selector or affinity"
        if not all(any_holds(terms, node.name, node.labels) for terms in volumes):
            return "cannot reach its volume"
        short = lacking(self.free[node.name], needs)
        return f"too little {short[0]}" if short else None

    def affinity_key(self, needs: Needs) -> tuple[object, ...]:
        """What two pods with the same choice of nodes have in common."""
        return needs.node_labels, needs.node_terms

    def chosen(self, node: Node, needs: Needs) -> bool:
        """Whether node selector and node affinity of a pod hold for a node."""
        labels = node.labels
        return all(labels.get(key) == value for key, value in needs.node_labels) and any_holds(
            needs.node_terms, node.name, labels
        )

    def _open(self, needs: Needs) -> list[Node]:
        key = needs.tolerations
        if key not in self._open_to:
            self._open_to[key] = [node for node in self._emptiest if self._is_open(node, needs)]
        return self._open_to[key]

    def _is_open(self, node: Node, needs: Needs) -> bool:
        return node.ready is True and not self.repelled(node, needs)

    def repelled(self, node: Node, needs: Needs) -> bool:
        """Whether a taint keeps the pod off the node; a cordon counts as the taint that stands for it."""
        if node.unschedulable and not needs.tolerates(CORDON):
            return True
        return any(taint.effect in REPELLING and not needs.tolerates(taint) for taint in node.taints)

    def _narrowed(self, needs: Needs, volumes: Terms) -> list[Node] | None:
        """The few nodes that come into question by one label that is asked for; None: no label narrows it down."""
        wanted = [(key, (value,)) for key, value in needs.node_labels]
        for terms in (*volumes, *((needs.node_terms,) if needs.node_terms is not None else ())):
            if len(terms) == 1:
                wanted += [(r.key, r.values) for r in terms[0].labels if r.operator == "In"]
        best: list[Node] | None = None
        for key, values in wanted:
            found = [node for value in values for node in self.labelled(key).get(value, ())]
            if best is None or len(found) < len(best):
                best = found
        return best

    def reaching(self, terms: NodeTerms) -> list[Node]:
        """The nodes that a volume can be reached from, whatever else is against them."""
        found = self._reaching.get(terms)
        if found is None:
            candidates = self._narrowed(Needs(), (terms,))
            base = self._emptiest if candidates is None else candidates
            found = self._reaching[terms] = [node for node in base if any_holds(terms, node.name, node.labels)]
        return found

    def labelled(self, key: str) -> dict[str, list[Node]]:
        """The nodes by their value of a label, each emptiest first."""
        if key not in self._by_label:
            by_value: dict[str, list[Node]] = {}
            for node in self._emptiest:
                if key in node.labels:
                    by_value.setdefault(node.labels[key], []).append(node)
            self._by_label[key] = by_value
        return self._by_label[key]

    # pods and the domains that they are in

    def tally(self, tally: _Tally) -> Counter[str]:
        """Pods by domain, as the snapshot has them."""
        found = self._tallies.get(tally)
        if found is None:
            found = Counter()
            for pod in self._meant(tally):
                node = self.nodes.get(pod.node)
                if node is not None and counts(tally, pod):
                    domain = self.domain(tally, node)
                    if domain is not None:
                        found[domain] += 1
            self._tallies[tally] = found
        return found

    def _meant(self, tally: _Tally) -> Iterable[Pod]:
        """Those who may count, and some who do not."""
        if tally.carriers:
            return self._carriers().get(tally.term, ())
        spaces = self.world.pods_in if tally.term.namespaces is None else tally.term.namespaces
        return chain.from_iterable(self.world.selected(space, tally.term.selector) for space in spaces)

    def domain(self, tally: _Tally, node: Node) -> str | None:
        """The domain that pods of a node count in; None: none."""
        if tally.eligible is not None and not self.chosen(node, tally.eligible):
            return None
        return node.labels.get(tally.term.topology_key)

    def domains(self, spread: Spread, needs: Needs) -> Counter[str]:
        """How many nodes each domain has that counts for a spread constraint."""
        key = (
            spread.topology_key,
            self.affinity_key(needs) if spread.honors_affinity else None,
            needs.tolerations if spread.honors_taints else None,
        )
        found = self._domains.get(key)
        if found is None:
            found = self._domains[key] = Counter(
                node.labels[spread.topology_key]
                for node in self._emptiest
                if spread.topology_key in node.labels
                and (not spread.honors_affinity or self.chosen(node, needs))
                and not (spread.honors_taints and self.repelled(node, needs))
            )
        return found

    def repelling(self, pod: Pod) -> tuple[PodTerm, ...]:
        """Anti-affinity of other pods that is against this one."""
        key = pod.namespace, id(pod.labels)
        found = self._repelling.get(key)
        if found is None:
            found = tuple(term for term in self._terms_against(pod.namespace) if term.selector.matches(pod.labels))
            self._repelling[key] = found
        return found

    def _terms_against(self, namespace: str) -> Iterable[PodTerm]:
        """The terms of anti-affinity that look at a namespace."""
        self._carriers()
        return (*self._terms_in.get(None, ()), *self._terms_in.get(namespace, ()))

    def _carriers(self) -> dict[PodTerm, list[Pod]]:
        """Every term of anti-affinity with the pods that carry it."""
        if self._carrying is None:
            self._carrying = {}
            for pod in self.world.snapshot.pods:
                for term in pod.needs.apart:
                    carriers = self._carrying.setdefault(term, [])
                    if not carriers:
                        for space in (None,) if term.namespaces is None else term.namespaces:
                            self._terms_in.setdefault(space, []).append(term)
                    carriers.append(pod)
        return self._carrying


class _Lazily:
    """An iterator that can be walked many times, each element found once."""

    def __init__(self, source: Iterator[Node]) -> None:
        self._source = source
        self._found: list[Node] = []

    def __iter__(self) -> Iterator[Node]:
        yield from self._found
        for node in self._source:
            self._found.append(node)
            yield node


def counts(tally: _Tally, pod: Pod) -> bool:
    """Whether a pod is one of those that a tally counts. One that ends or is being deleted is none."""
    if pod.finished or pod.deleting_at is not None:
        return False
    term = tally.term
    if tally.carriers:
        return term in pod.needs.apart
    return (term.namespaces is None or pod.namespace in term.namespaces) and term.selector.matches(pod.labels)


def take(free: dict[str, int], needs: Needs) -> None:
    """Take what a pod asks for."""
    for name, amount in needs.requests:
        free[name] = free.get(name, 0) - amount
    free["pods"] = free.get("pods", 0) - _POD


def lacking(free: dict[str, int], needs: Needs) -> list[str]:
    """The resources of which too little is left for a pod."""
    short = [name for name, amount in needs.requests if amount > free.get(name, 0)]
    return [*short, "pods"] if free.get("pods", 0) < _POD else short


class Placement:
    """One wave's replacements being placed on the nodes outside it."""

    def __init__(self, rooms: Rooms, leaving: Sequence[str]) -> None:
        self._rooms = rooms
        self._leaving = frozenset(leaving)
        self._moves: dict[str, list[tuple[Pod, str, int]]] = {}
        """(pod, node, +1 or -1), by namespace."""
        self._free: dict[str, dict[str, int]] = {}
        self._ports: dict[str, set[tuple[str, str, int]]] = {}
        self._changes: dict[_Tally, Counter[str]] = {}

    def leave(self, pod: Pod) -> None:
        """The pod goes from its node: its domain counts it no more."""
        self._move(pod, pod.node, -1)

    def place(self, pod: Pod, volumes: Terms = ()) -> Destination:
        """Put the pod's replacement somewhere outside the wave, or say why nowhere."""
        needs = pod.needs
        if needs.claims_devices:
            return Unsure("it claims devices (resourceClaims), which are not simulated")
        if not all(term.certain for term in (*needs.together, *needs.apart)):
            return Unsure("its affinity chooses namespaces by their labels, which are not read")
        against: Counter[str] = Counter()
        tallies = self._tallies_of(pod)
        for node in self._rooms.fitting(needs, volumes):
            if node.name in self._leaving:
                continue
            why = self._why_not(pod, node, tallies)
            if why is None:
                self._settle(pod, node)
                return node.name
            against[why] += 1
        return NoRoom(self._told(needs, volumes, against))

    def _settle(self, pod: Pod, node: Node) -> None:
        free = self._free.setdefault(node.name, dict(self._rooms.free[node.name]))
        take(free, pod.needs)
        if pod.needs.host_ports:
            self._ports.setdefault(node.name, set()).update(pod.needs.host_ports)
        self._move(pod, node.name, 1)

    def _move(self, pod: Pod, node: str, step: int) -> None:
        self._moves.setdefault(pod.namespace, []).append((pod, node, step))
        for tally, change in self._changes.items():
            spaces = tally.term.namespaces
            if spaces is None or tally.carriers or pod.namespace in spaces:
                self._count(tally, change, pod, node, step)

    def _count(self, tally: _Tally, change: Counter[str], pod: Pod, node: str, step: int) -> None:
        found = self._rooms.nodes.get(node)
        if found is None or not counts(tally, pod):
            return
        domain = self._rooms.domain(tally, found)
        if domain is not None:
            change[domain] += step

    def _by_domain(self, tally: _Tally) -> Counter[str]:
        """Pods by domain, with what has been moved so far."""
        base = self._rooms.tally(tally)
        change = self._changes.get(tally)
        if change is None:
            change = self._changes[tally] = Counter()
            spaces = tally.term.namespaces
            for space in self._moves if spaces is None or tally.carriers else spaces:
                for pod, node, step in self._moves.get(space, ()):
                    self._count(tally, change, pod, node, step)
        if not any(change.values()):
            return base
        total = base.copy()
        total.update(change)
        return total

    def _tallies_of(self, pod: Pod) -> _Tallies:
        needs = pod.needs
        apart = [(term.topology_key, self._by_domain(_Tally(term))) for term in needs.apart] + [
            (term.topology_key, self._by_domain(_Tally(term, carriers=True))) for term in self._rooms.repelling(pod)
        ]
        together: list[tuple[str, Counter[str], bool]] = []
        for term in needs.together:
            there = self._by_domain(_Tally(term))
            own = counts(_Tally(term), pod)
            # the first of a group that wants to be together may start it anywhere
            together.append((term.topology_key, there, own and not any(value > 0 for value in there.values())))
        spreads: list[tuple[Spread, Counter[str], int, int]] = []
        for spread in needs.spreads:
            term = PodTerm(spread.selector, spread.topology_key, frozenset((pod.namespace,)))
            eligible = needs if spread.honors_affinity else None
            there = self._by_domain(_Tally(term, eligible=eligible))
            domains = self._rooms.domains(spread, needs)
            least = min((max(0, there[domain]) for domain in domains), default=0)
            if len(domains) < spread.min_domains:
                least = 0
            spreads.append((spread, there, least, int(spread.selector.matches(pod.labels))))
        return _Tallies(apart, together, spreads)

    def _why_not(self, pod: Pod, node: Node, tallies: _Tallies) -> str | None:
        needs = pod.needs
        free = self._free.get(node.name)
        if free is not None:
            short = lacking(free, needs)
            if short:
                return f"too little {short[0]} left once this wave's other pods are there"
        if needs.host_ports and _ports_clash(
            needs.host_ports, self._rooms.ports[node.name] | self._ports.get(node.name, set())
        ):
            return "the host port is taken"
        labels = node.labels
        for key, there in tallies.apart:
            if key in labels and there[labels[key]] > 0:
                return "anti-affinity"
        for key, there, starts in tallies.together:
            if key not in labels or not (starts or there[labels[key]] > 0):
                return "affinity to pods that are not there"
        for spread, there, least, own in tallies.spreads:
            if spread.topology_key not in labels:
                return "topology spread"
            if max(0, there[labels[spread.topology_key]]) + own - least > spread.max_skew:
                return "topology spread"
        return None

    def _told(self, needs: Needs, volumes: Terms, against: Counter[str]) -> str:
        """Why nowhere, counted as the scheduler tells it."""
        others = len(self._rooms.nodes) - len(self._leaving)
        if not others:
            return "there is no node outside this wave"
        told = self._rooms.against(needs, volumes) + against
        for name in self._leaving:
            why = self._rooms.why_not(self._rooms.nodes[name], needs, volumes)
            if why is not None:
                told[why] -= 1
        reasons = sorted(((count, why) for why, count in told.items() if count), key=lambda each: (-each[0], each[1]))
        return f"none of the {others} other nodes can run it ({', '.join(f'{count} {why}' for count, why in reasons)})"


@dataclass(frozen=True, slots=True)
class _Tallies:
    """What is asked of a node's domains for one pod."""

    apart: list[tuple[str, Counter[str]]]
    together: list[tuple[str, Counter[str], bool]]
    spreads: list[tuple[Spread, Counter[str], int, int]]


def _ports_clash(wanted: Sequence[tuple[str, str, int]], taken: set[tuple[str, str, int]]) -> bool:
    """Whether one of the ports is in use: on the same address, or on all of them."""
    everywhere = "0.0.0.0"  # noqa: S104
    return any(
        protocol == other_protocol and port == other_port and (address == other or everywhere in (address, other))
        for protocol, address, port in wanted
        for other_protocol, other, other_port in taken
    )
