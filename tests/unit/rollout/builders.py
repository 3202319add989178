"""Builders of a small cluster that name only what differs: three nodes with room, one Deployment's pods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from poolkeeper.tasks.cluster.budgets import Budget
from poolkeeper.tasks.cluster.quantities import thousandths
from poolkeeper.tasks.cluster.scheduling import Amounts, Needs
from poolkeeper.tasks.cluster.selectors import Selector
from poolkeeper.tasks.cluster.snapshot import Node, Snapshot
from poolkeeper.tasks.cluster.workloads import Owner, Pod, Workload
from poolkeeper.tasks.outcomes import Known, Unknown
from poolkeeper.tasks.rollout import Forecast, forecast

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DEADLINE_S = 300.0
WEB = {"app": "web", "pod-template-hash": "abc12"}
WEB_SETS = Owner("apps/v1", "ReplicaSet", "web-abc12")
SELECTS_WEB = Selector((("app", "web"),))


def amounts(**quantities: str) -> Amounts:
    """`amounts(cpu="500m", memory="1Gi")`."""
    return tuple(sorted((name, thousandths(quantity)) for name, quantity in quantities.items()))


def a_node(name: str, **more: Any) -> Node:
    """A Ready node with 4 CPUs, 8 GiB and room for 110 pods."""
    fields: dict[str, Any] = {
        "labels": {"kubernetes.io/hostname": name, "zone": "a"},
        "allocatable": amounts(cpu="4", memory="8Gi", pods="110"),
    }
    return Node(name, **{**fields, **more})


def a_pod(name: str = "web-1", node: str = "n1", **more: Any) -> Pod:
    """A Ready pod of Deployment web in namespace shop, that asks for next to nothing; `needs` are those of Needs."""
    needs = Needs(**{"requests": amounts(cpu="100m"), **more.pop("needs", {})})
    return Pod(
        **{"namespace": "shop", "name": name, "node": node, "labels": WEB, "owner": WEB_SETS, **more, "needs": needs}
    )


def a_budget(name: str = "web", **more: Any) -> Budget:
    """A budget over the pods of web; its counts are what its controller would have written unless given."""
    return Budget(**{"namespace": "shop", "name": name, "selector": SELECTS_WEB, **more})


def web(replicas: int) -> Workload:
    """Deployment web."""
    return Workload("Deployment", "shop", "web", replicas, SELECTS_WEB)


def a_snapshot(pods: Iterable[Pod] = (), nodes: Sequence[Node] | None = None, **parts: Any) -> Snapshot:
    """A cluster of n1, n2, n3 with these pods. A part is given as its rows, or as a text: why it cannot be read."""
    placed = [a_node(name) for name in ("n1", "n2", "n3")] if nodes is None else nodes
    rows: dict[str, Any] = {
        "budgets": (),
        "workloads": (web(5),),
        "daemonsets": frozenset({("kube-system", "cni")}),
        "claims": {},
        "volumes": {},
        "services": (),
        "slices": (),
    }
    rows |= parts
    observed = {k: Unknown(v, NOW) if isinstance(v, str) else Known(v, NOW) for k, v in rows.items()}
    return Snapshot(seen_at=NOW, nodes={node.name: node for node in placed}, pods=list(pods), **observed)


def seen(snapshot: Snapshot, *nodes: str, deadline_s: float = DEADLINE_S) -> Forecast:
    """The forecast of a wave, n1 unless told."""
    return forecast(snapshot, nodes or ("n1",), deadline_s=deadline_s, now=NOW)


def verdicts(made: Forecast) -> dict[str, list[str]]:
    """Pod -> its verdicts, worst first; `evictable` is not worth a word beside others."""
    return {each.pod.name: [str(r.verdict) for r in each.reasons] for node in made.nodes for each in node.pods}
