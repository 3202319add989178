"""What a pod asks of the node that it may run on.

Rules: the kube-scheduler's plugins NodeResourcesFit, NodeAffinity, TaintToleration, NodePorts, InterPodAffinity and
PodTopologySpread (k8s.io/kubernetes v1.36, pkg/scheduler/framework/plugins). What is only preferred is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolkeeper.tasks.cluster.api import Json
from poolkeeper.tasks.cluster.fields import pairs, required, section, sections, text, texts, whole
from poolkeeper.tasks.cluster.quantities import thousandths
from poolkeeper.tasks.cluster.selectors import (
    NodeTerms,
    Requirement,
    Selector,
    parse_node_terms,
    parse_selector,
)

Amounts = tuple[tuple[str, int], ...]
"""(resource, thousandths of its unit), by name."""

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
"""Key of the taint that a cordon stands for."""
REPELLING = ("NoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Taint:
    """What keeps pods away from a node."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that a pod does not mind."""

    key: str
    """Empty: any."""
    operator: str
    """`Equal` or `Exists`."""
    value: str
    effect: str
    """Empty: any."""

    def covers(self, taint: Taint) -> bool:
        """Whether it is for this taint."""
        if self.effect not in ("", taint.effect) or self.key not in ("", taint.key):
            return False
        if self.operator == "Exists":
            return True
        return self.operator == "Equal" and self.key != "" and self.value == taint.value


CORDON = Taint(UNSCHEDULABLE, "", "NoSchedule")


@dataclass(frozen=True, slots=True)
class PodTerm:
    """Required affinity or anti-affinity to pods that share a domain of the topology."""

    selector: Selector
    topology_key: str
    namespaces: frozenset[str] | None
    """None: all."""
    certain: bool = True
    """False: it chooses namespaces by their labels, which are not read."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A topology spread constraint that must be met (`DoNotSchedule`)."""

    selector: Selector
    topology_key: str
    max_skew: int
    min_domains: int
    honors_affinity: bool
    """Only nodes that the pod's node selector and affinity admit count as domains."""
    honors_taints: bool
    """Only nodes whose taints the pod tolerates count."""


@dataclass(frozen=True, slots=True, eq=False)
class Needs:
    """What one pod asks for. Within a snapshot equal needs are one object, so that it is its own key."""

    requests: Amounts = ()
    """`pods` is not among them: each pod takes one."""
    tolerations: tuple[Toleration, ...] = ()
    node_labels: tuple[tuple[str, str], ...] = ()
    """nodeSelector."""
    node_terms: NodeTerms | None = None
    together: tuple[PodTerm, ...] = ()
    apart: tuple[PodTerm, ...] = ()
    spreads: tuple[Spread, ...] = ()
    host_ports: tuple[tuple[str, str, int], ...] = ()
    """(protocol, address, port)."""
    claims_devices: bool = False
    """It uses dynamic resource allocation, which is not simulated."""

    def tolerates(self, taint: Taint) -> bool:
        """Whether it may be put on a node with this taint."""
        return any(toleration.covers(taint) for toleration in self.tolerations)


NeedsKey = tuple[object, ...]


def parse_needs(spec: Json, namespace: str, labels: Mapping[str, str], made: dict[NeedsKey, Needs]) -> Needs:
    """The needs of a pod's spec.

    made: those that there are already, which an equal one is taken from; grows by a new one
    Raises Malformed, and ValueError for a request that is no quantity.
    """
    affinity = section(spec, "affinity")
    key: NeedsKey = (
        _requests(spec),
        tuple(
            Toleration(text(t, "key"), text(t, "operator") or "Equal", text(t, "value"), text(t, "effect"))
            for t in sections(spec, "tolerations")
        ),
        tuple(sorted(pairs(spec, "nodeSelector").items())),
        parse_node_terms(section(affinity, "nodeAffinity").get(_REQUIRED)),
        _pod_terms(section(affinity, "podAffinity"), namespace),
        _pod_terms(section(affinity, "podAntiAffinity"), namespace),
        tuple(
            _spread(each, labels)
            for each in sections(spec, "topologySpreadConstraints")
            if text(each, "whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule"
        ),
        tuple(_host_ports(spec)),
        bool(spec.get("resourceClaims")),
    )
    found = made.get(key)
    if found is None:
        found = made[key] = Needs(*key)  # type: ignore[arg-type]
    return found


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def _requests(spec: Json) -> Amounts:
    """What is reserved for the pod: the sum of its containers, or what starting it takes, if that is more.

    Rule: k8s.io/component-helpers `resource.PodRequests`: an init container that keeps running (restartPolicy Always)
    counts with the containers and with every init container after it.
    """
    total: dict[str, int] = {}
    for container in sections(spec, "containers"):
        _add(total, container)
    if spec.get("initContainers"):
        sidecars: dict[str, int] = {}
        starting: dict[str, int] = {}
        for container in sections(spec, "initContainers"):
            step = dict(sidecars)
            _add(step, container)
            for name, value in step.items():
                starting[name] = max(starting.get(name, 0), value)
            if container.get("restartPolicy") == "Always":
                _add(total, container)
                _add(sidecars, container)
        for name, value in starting.items():
            total[name] = max(total.get(name, 0), value)
    for name, quantity in section(section(spec, "resources"), "requests").items():
        total[name] = thousandths(quantity)
    for name, quantity in section(spec, "overhead").items():
        total[name] = total.get(name, 0) + thousandths(quantity)
    return tuple(sorted((name, value) for name, value in total.items() if value))


def _add(total: dict[str, int], container: Json) -> None:
    for name, quantity in section(section(container, "resources"), "requests").items():
        total[name] = total.get(name, 0) + thousandths(quantity)


def _pod_terms(affinity: Json, namespace: str) -> tuple[PodTerm, ...]:
    return tuple(_pod_term(term, namespace) for term in sections(affinity, _REQUIRED))


def _pod_term(term: Json, namespace: str) -> PodTerm:
    """Namespaces that are listed and those that are selected by labels add up; without both it is the pod's own.

    The API server has put `matchLabelKeys` into the selector already.
    """
    chosen = term.get("namespaceSelector")
    namespaces: frozenset[str] | None = frozenset(texts(term, "namespaces"))
    if chosen is None and not namespaces:
        namespaces = frozenset((namespace,))
    elif chosen == {}:
        namespaces = None
    selector = parse_selector(term.get("labelSelector"))
    return PodTerm(selector, required(term, "topologyKey"), namespaces, certain=not chosen)


def _spread(each: Json, labels: Mapping[str, str]) -> Spread:
    selector = parse_selector(each.get("labelSelector"))
    for key in texts(each, "matchLabelKeys"):
        wanted = Requirement(key, "In", (labels[key],)) if key in labels else None
        if wanted is not None and wanted not in selector.requirements:
            selector = Selector(selector.equal, (*selector.requirements, wanted), selector.nothing)
    return Spread(
        selector,
        required(each, "topologyKey"),
        whole(each, "maxSkew", 1),
        whole(each, "minDomains", 1),
        honors_affinity=text(each, "nodeAffinityPolicy", "Honor") == "Honor",
        honors_taints=text(each, "nodeTaintsPolicy", "Ignore") == "Honor",
    )


def _host_ports(spec: Json) -> Iterable[tuple[str, str, int]]:
    stay = (c for c in sections(spec, "initContainers") if c.get("restartPolicy"))
    for container in (*sections(spec, "containers"), *stay):
        for port in sections(container, "ports"):
            if number := whole(port, "hostPort"):
                yield text(port, "protocol", "TCP"), text(port, "hostIP") or "0.0.0.0", number  # noqa: S104
