"""A rollout's plan for people: versions, what each drain would meet, duration against the windows. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.calendars import CalendarInvalid
from poolkeeper.tasks.fleet.model import Site
from poolkeeper.tasks.fleet.windows import open_intervals
from poolkeeper.tasks.rollout.goal import Goal
from poolkeeper.tasks.rollout.plan import Plan
from poolkeeper.tasks.rollout.start_windows import WINDOWS_AHEAD, start_refusal
from poolkeeper.tasks.rollout.verdicts import Effect, NodeForecast
from poolkeeper.tasks.runs.durations import expected, in_words
from poolkeeper.tasks.runs.watching import HostPlan, RunPlan


def preview_plan(
    plan: Plan,
    nodes: Mapping[str, NodeRow],
    drains: Mapping[str, NodeForecast],
    *,
    at_once: int,
    host_s: float,
    now: datetime,
) -> RunPlan:
    """The plan for people.

    drains: by node, what draining it alone would do
    at_once: hosts that may be changed at the same time
    host_s: how long one is expected to take, in seconds
    """
    sites = {planned.host.site.name: planned.host.site for planned in plan.hosts}
    closed = {} if plan.limits.outside_windows else {n: start_refusal(s, now, host_s) for n, s in sites.items()}
    rows = tuple(
        HostPlan(
            planned.host.name,
            planned.wave,
            _change(plan.goal, nodes.get(planned.host.node_name)),
            drain=_drain(drains.get(planned.host.node_name)),
            window=closed.get(planned.host.site.name, ""),
        )
        for planned in plan.hosts
    )
    needed_s = duration_s(plan, at_once, host_s)
    notes = [expected(needed_s, host_s, at_once)] if rows else []
    if not plan.limits.outside_windows:
        notes += [note for _, site in sorted(sites.items()) if (note := _window(site, now, needed_s))]
    return RunPlan(plan.summary, rows, host_s, tuple(notes))


def duration_s(plan: Plan, at_once: int, host_s: float) -> float:
    """How long a plan takes if every host takes as long as expected, and no wave waits for anything."""
    return host_s * sum(math.ceil(len(wave) / max(1, at_once)) for wave in plan.waves)


def _change(goal: Goal, node: NodeRow | None) -> str:
    version, packages = goal.wanted.get("kubernetes"), goal.wanted.get("packages") or {}
    parts = [f"{node.kubelet_version if node else 'no node'} -> {version}"] if version else []
    parts += [f"{name} -> {wanted}" for name, wanted in packages.items()]
    return ", ".join(parts) or goal.flow


def _drain(forecast: NodeForecast | None) -> str:
    """The effect, and the worst pod with its reason."""
    if forecast is None:
        return "none"
    if forecast.effect is Effect.CLEAR:
        return f"clear, {len(forecast.pods)} pods"
    worst = forecast.pods[0]
    more = sum(pod.effect is not Effect.CLEAR for pod in forecast.pods) - 1
    also = f", and {more} more" if more else ""
    return f"{forecast.effect}: {worst.pod.namespace}/{worst.pod.name}: {worst.reasons[0].text}{also}"


def _window(site: Site, now: datetime, needed_s: float) -> str:
    """Whether all of it fits into what is left of the window; empty: none is open now, or it has no end."""
    try:
        ahead = open_intervals(site, now, now + WINDOWS_AHEAD)
    except (OSError, CalendarInvalid):
        return ""  # each host's row says so
    if not ahead or ahead[0].start > now or ahead[0].end >= now + WINDOWS_AHEAD:
        return ""
    left_s = (ahead[0].end - now).total_seconds()
    fits = "it fits" if needed_s <= left_s else "the rest waits for a later run"
    return f"site {site.name} has its window for {in_words(left_s)} more: {fits}"
