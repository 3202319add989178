"""How long one host takes, measured on earlier runs, and how a plan says so."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from poolkeeper.tasks.ledger import RUNS, STEPS, Spool
from poolkeeper.tasks.outcomes import HostState

ENOUGH = 5
"""Hosts that must have been measured."""
RUNS_LOOKED_AT = 20


@dataclass(frozen=True, slots=True)
class TimedPhases:
    """Which hosts and which of their phases count."""

    state: HostState
    """How the run ended for a host that counts."""
    phases: tuple[str, ...]
    """Phases whose durations are added up."""
    required: tuple[str, ...]
    """Phases that a host that counts has gone through: others had less to do than the usual host."""


def measured_s(spool: Spool, flow: str, hosts: Collection[str], timed: TimedPhases) -> float | None:
    """The 95th percentile over the latest runs of a flow on these hosts, in seconds; None: too few were measured.

    None as well where the spool cannot be read: a broken file of it never stops a run.
    """
    try:
        return percentile_s(spool.rows(RUNS), lambda run: spool.rows(STEPS, run), flow, hosts, timed)
    except (OSError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return None


def percentile_s(
    runs: Iterable[Mapping[str, Any]],
    steps_of: Callable[[str], Iterable[Mapping[str, Any]]],
    flow: str,
    hosts: Collection[str],
    timed: TimedPhases,
) -> float | None:
    """The same from rows. Pure but for `steps_of`."""
    of_flow = sorted(
        (run for run in runs if run["flow"] == flow and not run.get("dry_run")),
        key=lambda run: run["ended_at"],
        reverse=True,
    )
    samples: list[float] = []
    for run in of_flow[:RUNS_LOOKED_AT]:
        done = {name for name, state in (run["hosts"] or {}).items() if state == timed.state and name in hosts}
        spent: defaultdict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for step in steps_of(run["run_id"]):
            if step["host"] in done and step["phase"] in timed.phases:
                spent[step["host"]][step["phase"]] += step["duration_s"]
        samples += [sum(phases.values()) for phases in spent.values() if phases.keys() >= set(timed.required)]
    if len(samples) < ENOUGH:
        return None
    return statistics.quantiles(samples, n=20, method="inclusive")[-1]


def expected(needed_s: float, host_s: float, at_once: int) -> str:
    """How long a plan takes, as a sentence of it.

    needed_s: for all hosts
    at_once: hosts that are worked on at the same time, at most
    """
    return f"expected: {in_words(needed_s)}, with {in_words(host_s)} a host and at most {at_once} at once"


def in_words(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
