"""The outcome of a run on a terminal. What needs a person comes last, next to the prompt."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poolkeeper.deployments.cli.progress import GOOD, Progress
from poolkeeper.deployments.terminal import console, echo, table
from poolkeeper.tasks.outcomes import HostState

LISTED = 5
"""More hosts than this that ended well in the same way share one row."""
NAMED = 3
"""Hosts that such a row names, at most."""
IDLE = "nothing to do"
_PLAN = ("wave", "host", "would", "why", "window", "drain would meet")
"""Columns of a plan; an empty one is not shown."""
NAME = "NAME"
"""Stands for each host's name in a text about several hosts."""
LINES = 20
"""Lines about what a dry run would change, at most; summary.md has all of them."""
BANNER = "DRY RUN: this shows what a run would do. Nothing is changed."
CLOSING = "DRY RUN: nothing was changed."


def show(answer: Mapping[str, Any], progress: Progress | None = None, *, apply: str = "") -> None:
    """Print the outcome.

    progress: the events of the run: its plan, its log
    apply: the command that applies what a dry run has shown; empty: the run was not a dry run
    """
    hosts = answer["hosts"]
    planned = [host for host in hosts if host["state"] == HostState.PLANNED]
    if apply and progress is not None and planned:
        _show_plan(progress, {host["name"] for host in planned})
        hosts = [host for host in hosts if host["state"] != HostState.PLANNED]
    if hosts and "audit" not in answer:
        table(("host", "state", "summary", "took"), rows(hosts))
    terminal = console()
    for text in _findings(answer):
        terminal.print(text)
    terminal.print(answer["summary"], style="bold")
    for place in _places([*answer["files"], *([progress.log] if progress is not None and progress.log else [])]):
        terminal.print(place, soft_wrap=True)
    if apply:
        echo(f"{CLOSING} To apply it:\n  {apply}" if planned else f"{CLOSING} There is nothing to apply.")


def rows(hosts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """A row a host, those that need a person last.

    Hosts with nothing to do share a row, and so do many hosts that ended well in the same way.
    """
    alike: defaultdict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    own = []
    for host in sorted(hosts, key=lambda host: str(host["name"])):
        if host["state"] in GOOD and not host["findings"]:
            alike[host["state"], IDLE if _is_idle(host) else host["summary"]].append(host)
        else:
            own.append(host)
    found = []
    for (state, summary), together in alike.items():
        if len(together) > (1 if summary == IDLE else LISTED):
            names = [host["name"] for host in together]
            took = sorted(map(_took_s, together))
            between = f"{took[0]:.1f} to {took[-1]:.1f} s" if took[-1] else ""
            found.append((f"{len(together)} hosts", state, f"{summary}: {_some(names)}", between))
        else:
            own += together
    own.sort(key=lambda host: (host["state"] not in GOOD, host["name"]))
    return found + [(host["name"], host["state"], host["summary"], f"{_took_s(host):.1f} s") for host in own]


def _took_s(host: Mapping[str, Any]) -> float:
    return float(sum(host["phase_s"].values()))


def _is_idle(host: Mapping[str, Any]) -> bool:
    return not host["phase_s"].keys() - {"look"}


def _show_plan(progress: Progress, names: set[str]) -> None:
    """The hosts in their order, what each drain would meet, and the changes."""
    terminal = console()
    for plan in progress.plans:
        shown = [
            {"wave": str(p.wave), "host": p.host, "would": p.change, "why": p.why}
            | ({"window": p.window or "open", "drain would meet": p.drain} if p.drain else {})
            for p in plan.hosts
            if p.host in names
        ]
        columns = [column for column in _PLAN if any(row.get(column) for row in shown)]
        if shown:
            table(columns, [[row.get(column, "") for column in columns] for row in shown])
        for note in plan.notes:
            terminal.print(note)
    for text in would(progress.changes)[:LINES]:
        terminal.print(text)


def would(changes: Mapping[str, Sequence[str]]) -> list[str]:
    """What a dry run would change, in order; hosts with the same changes except for their names share a line."""
    alike: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for subject, sentences in changes.items():
        alike[tuple(sentence.replace(subject, NAME) for sentence in sentences)].append(subject)
    return [
        f"would, for {_some(subjects)}: {'; '.join(changes[subjects[0]] if len(subjects) == 1 else sentences)}"
        for sentences, subjects in alike.items()
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _findings(answer: Mapping[str, Any]) -> list[str]:
    """Findings with their next steps; hosts with the same finding and next step share it.

    An audit's findings are also about lines and resolvers.
    """
    if "audit" in answer:
        found = [(f"{f['subject']}, {f['status']}", "", f) for f in answer["audit"]["findings"]]
    else:
        found = [(host["name"], host["summary"], f) for host in answer["hosts"] for f in host["findings"]]
    alike: defaultdict[tuple[str, str, str], list[tuple[str, str, Mapping[str, Any]]]] = defaultdict(list)
    for about, summary, finding in found:
        if finding["severity"] != "info":
            what = (finding["severity"], finding["id"], finding["next_step"].replace(about, NAME))
            alike[what].append((about, summary, finding))
    lines = []
    for (severity, id, next_step), together in alike.items():
        first = together[0][2]
        lines.append(f"{_some([about for about, _, _ in together])}: {severity} {id}")
        if any(finding["evidence"]["observed"] not in summary for _, summary, finding in together):
            lines.append(f"  seen: {first['evidence']['observed']}")  # else the table has it
        lines.append(f"  next: {first['next_step'] if len(together) == 1 else next_step}")
    return lines


def _places(files: Sequence[str]) -> list[str]:
    """Files, those of one folder on one line; a page has its own line, so that a terminal can open it."""
    by_folder: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        by_folder[file if file.endswith(".html") else os.path.dirname(file)].append(file)
    return [
        _short(together[0])
        if len(together) == 1
        else f"{_short(folder)}: {', '.join(os.path.basename(file) for file in together)}"
        for folder, together in by_folder.items()
    ]


def _short(file: str) -> str:
    """A path, relative to the working folder if that is shorter."""
    here = os.path.relpath(file) if Path(file).is_absolute() else file
    return min(file, here, key=len)
