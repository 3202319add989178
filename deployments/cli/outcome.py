"""How a run ended, for a terminal: what needs a person last, where the eye is."""

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
"""Of more hosts that ended well in the same way, one row tells."""
NAMED = 3
"""So many of them are named there."""
IDLE = "nothing to do"
_PLAN = ("wave", "host", "would", "why", "window", "drain would meet")
"""Columns of a plan; one that is empty is left out."""
NAME = "NAME"
"""In what is said of several hosts at once, the name of each."""
LINES = 20
"""So many lines tell what a dry run would change; summary.md has all of it."""
BANNER = "DRY RUN: this only shows what a run would do. Nothing is changed."
CLOSING = "DRY RUN: nothing was changed."


def show(answer: Mapping[str, Any], progress: Progress | None = None, *, apply: str = "") -> None:
    """The outcome.

    progress: what was heard of the run: its plan, its log
    apply: the command that carries out what a dry run has shown; empty: it was none
    """
    hosts = answer["hosts"]
    planned = [host for host in hosts if host["state"] == HostState.PLANNED]
    if apply and progress is not None and planned:
        _show_plan(progress, {host["name"] for host in planned})
        hosts = [host for host in hosts if host["state"] != HostState.PLANNED]
    if hosts and "audit" not in answer:
        table(("host", "state", "summary", "took"), rows(hosts))
    terminal = console()
    for told in _findings(answer):
        terminal.print(told)
    terminal.print(answer["summary"], style="bold")
    for told in _places([*answer["files"], *([progress.log] if progress is not None and progress.log else [])]):
        terminal.print(told, soft_wrap=True)
    if apply:
        echo(f"{CLOSING} To apply it:\n  {apply}" if planned else f"{CLOSING} There is nothing to apply.")


def rows(hosts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """A row a host, those that need a person last.

    Hosts that there was nothing to do for share a row, and so do many that ended well in the same way.
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
    """Who would be changed, in which order, what each drain would meet, and the changes themselves."""
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
    for told in would(progress.changes)[:LINES]:
        terminal.print(told)


def would(changes: Mapping[str, Sequence[str]]) -> list[str]:
    """What a dry run would change, in order; hosts for which that is the same but for their names share a line."""
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
    """What was found, and what to do; hosts for which both are the same share it.

    An audit's findings are about lines and resolvers as well as hosts.
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
    told = []
    for (severity, id, next_step), together in alike.items():
        first = together[0][2]
        told.append(f"{_some([about for about, _, _ in together])}: {severity} {id}")
        if any(finding["evidence"]["observed"] not in summary for _, summary, finding in together):
            told.append(f"  seen: {first['evidence']['observed']}")  # else the table has it
        told.append(f"  next: {first['next_step'] if len(together) == 1 else next_step}")
    return told


def _places(files: Sequence[str]) -> list[str]:
    """Files, those of one folder on one line; a page has its own, to be opened from there."""
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
    """A path as seen from the working folder, where that is shorter."""
    here = os.path.relpath(file) if Path(file).is_absolute() else file
    return min(file, here, key=len)
