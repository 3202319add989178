"""The forecast of a drain, for scripts and for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from poolkeeper.deployments.terminal import console, table
from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.snapshot import read_snapshot
from poolkeeper.tasks.outcomes import Finding, Unknown
from poolkeeper.tasks.rollout import Effect, Forecast, NodeForecast, PodForecast, PodVerdict, forecast
from poolkeeper.tasks.rollout.forecast_findings import findings

_STYLES = {Effect.BLOCKED: "red", Effect.UNKNOWN: "magenta", Effect.LOSSY: "yellow", Effect.CLEAR: "green"}
_QUIET = (PodVerdict.EVICTABLE, PodVerdict.DAEMONSET, PodVerdict.STATIC, PodVerdict.FINISHED, PodVerdict.GOING)
"""Verdicts that are counted and not listed, on a terminal."""
_UNREAD_TOLD = 10


async def look(api: ClusterApi, nodes: Sequence[str], *, deadline_s: float) -> Forecast:
    """Read the cluster and forecast one wave. Raises NodesMistyped, ApiError and ClusterUnreachable."""
    return forecast(await read_snapshot(api), nodes, deadline_s=deadline_s, now=datetime.now(UTC))


def rows(made: Forecast) -> list[dict[str, Any]]:
    """The forecast in plain JSON types: one row a node, in the order they were given."""
    return [_node_row(made, node) for node in made.nodes]


def _node_row(made: Forecast, node: NodeForecast) -> dict[str, Any]:
    services = made.services
    unread = isinstance(services, Unknown)
    lost = [] if isinstance(services, Unknown) else [loss for loss in services.value if node.node in loss.nodes]
    return {
        "node": node.node,
        "verdict": str(node.effect),
        "pods": [_pod_row(each) for each in node.pods],
        "services": None
        if unread
        else [{"namespace": s.namespace, "name": s.name, "ready": s.ready, "left": s.left} for s in lost],
        "services_unknown": services.reason if isinstance(services, Unknown) else None,
        "findings": [finding.row() for finding in findings([node], made.seen_at)],
        "unread": list(made.unread),
        "seen_at": made.seen_at.isoformat(),
        "deadline_s": made.deadline_s,
    }


def _pod_row(each: PodForecast) -> dict[str, Any]:
    worst = each.reasons[0]
    return {
        "namespace": each.pod.namespace,
        "name": each.pod.name,
        "verdict": str(each.verdict),
        "reason": worst.text,
        "blocked_by": worst.blocked_by or None,
        "effect": str(each.effect),
        "reasons": [
            {"verdict": str(r.verdict), "reason": r.text, "blocked_by": r.blocked_by or None} for r in each.reasons
        ],
    }


def show(made: Forecast) -> None:
    """Each node with its pods that something is wrong with, blocked nodes first, and what to do."""
    terminal = console(markup=True)
    order = list(Effect)
    for node in sorted(made.nodes, key=lambda each: order.index(each.effect)):
        style = _STYLES[node.effect]
        terminal.print(f"[bold]{escape(node.node)}[/bold]: [{style}]{node.effect}[/{style}] ({_counts(node)})")
        listed = [each for each in node.pods if each.verdict not in _QUIET]
        if listed:
            _show_pods(listed)
        for finding in _worth_telling(findings([node], made.seen_at)):
            terminal.print(f"  next: {finding.subject}: {finding.next_step}", markup=False)
    _show_services(terminal, made)
    for told in made.unread[:_UNREAD_TOLD]:
        terminal.print(f"cannot be read: {told}", markup=False)
    if len(made.unread) > _UNREAD_TOLD:
        terminal.print(f"and {len(made.unread) - _UNREAD_TOLD} more objects that cannot be read")


def _counts(node: NodeForecast) -> str:
    verdicts = [each.verdict for each in node.pods]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in PodVerdict if v in verdicts)
    return counts or "no pods"


def _show_pods(pods: Sequence[PodForecast]) -> None:
    rows = [
        (each.pod.namespace, each.pod.name, str(each.verdict), "; ".join(reason.text for reason in each.reasons))
        for each in pods
    ]
    table(("namespace", "pod", "verdict", "why"), rows, styles=[_STYLES[each.effect] for each in pods])


def _worth_telling(found: Iterable[Finding]) -> list[Finding]:
    """One of each kind and next step: twenty pods with an emptyDir need one sentence."""
    told: dict[str, Finding] = {}
    for finding in found:
        told.setdefault(finding.id if finding.severity != "blocker" else f"{finding.id} {finding.subject}", finding)
    return list(told.values())


def _show_services(terminal: Console, made: Forecast) -> None:
    if isinstance(made.services, Unknown):
        terminal.print(f"which Services lose endpoints is unknown: {made.services.reason}", markup=False)
        return
    for loss in made.services.value:
        terminal.print(
            f"Service {loss.namespace}/{loss.name}: {loss.ready} Ready endpoints now, {loss.left} while"
            f" {', '.join(loss.nodes)} is drained",
            markup=False,
            style="red" if loss.left == 0 else None,
        )
