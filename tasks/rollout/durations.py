"""How long one host takes: measured on earlier runs where there are enough, else as the fleet file declares."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from poolkeeper.tasks.ledger import RUNS, STEPS, Spool

PHASES = ("drain", "change", "prove", "give back")
"""What takes a node out of service; waiting for room comes before it."""
ENOUGH = 5
"""Hosts that must have been measured."""
RUNS_LOOKED_AT = 20


def measured_s(spool: Spool, flow: str, hosts: Collection[str]) -> float | None:
    """The 95th percentile over the latest runs of a flow on these hosts, in seconds; None: too few to tell.

    None as well where the spool cannot be read: what is left on a node is not left there because of a broken file.
    """
    try:
        return percentile_s(spool.rows(RUNS), lambda run: spool.rows(STEPS, run), flow, hosts)
    except (OSError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return None


def percentile_s(
    runs: Iterable[Mapping[str, Any]],
    steps_of: Callable[[str], Iterable[Mapping[str, Any]]],
    flow: str,
    hosts: Collection[str],
) -> float | None:
    """The same from rows. Pure but for `steps_of`. A host counts where its run changed and proved it."""
    mine = sorted(
        (run for run in runs if run["flow"] == flow and not run.get("dry_run")),
        key=lambda run: run["ended_at"],
        reverse=True,
    )
    samples: list[float] = []
    for run in mine[:RUNS_LOOKED_AT]:
        done = {name for name, state in (run["hosts"] or {}).items() if state == "done" and name in hosts}
        spent: defaultdict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for step in steps_of(run["run_id"]):
            if step["host"] in done and step["phase"] in PHASES:
                spent[step["host"]][step["phase"]] += step["duration_s"]
        samples += [sum(phases.values()) for phases in spent.values() if "drain" in phases and "change" in phases]
    if len(samples) < ENOUGH:
        return None
    return statistics.quantiles(samples, n=20, method="inclusive")[-1]
