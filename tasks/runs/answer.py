"""A run's outcome for people and scripts: one row a host, a readable summary, a file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poolkeeper.tasks.outcomes import (
    ChangeRecord,
    ChangeState,
    Finding,
    Gate,
    HostOutcome,
    HostState,
    PoolkeeperError,
    RunState,
    by_severity,
    run_state,
    visible,
)
from poolkeeper.tasks.pages.markdown import plain, with_commands
from poolkeeper.tasks.runs.recording import Recorder

TABLE_ROWS = 500
"""At most so many rows in an artifact; they all stand in the file."""


def outcome_rows(outcomes: Sequence[HostOutcome]) -> list[dict[str, Any]]:
    """The outcome, one row a host, those that need a person first."""
    rank = {state: position for position, state in enumerate(_WORST_FIRST)}
    ordered = sorted(outcomes, key=lambda outcome: (rank[outcome.state], outcome.name))
    return [
        {
            "host": outcome.name,
            "state": str(outcome.state),
            "summary": outcome.summary,
            "findings": "; ".join(f"{f.id}: {f.evidence.observed}" for f in by_severity(outcome.findings)),
            "next step": next((f.next_step for f in by_severity(outcome.findings)), ""),
            **{f"{phase} s": round(seconds, 1) for phase, seconds in outcome.phase_s.items()},
        }
        for outcome in ordered
    ]


_WORST_FIRST = (
    HostState.FAILED,
    HostState.QUARANTINED,
    HostState.BLOCKED,
    HostState.REFUSED,
    HostState.STOPPED,
    HostState.LEFT,
    HostState.PLANNED,
    HostState.HANDED_OVER,
    HostState.DONE,
    HostState.ACCEPTED,
)


def summary_line(outcomes: Sequence[HostOutcome]) -> str:
    """`10 accepted, 2 stopped of 12 hosts`."""
    counts = Counter(outcome.state for outcome in outcomes)
    parts = [f"{counts[state]} {state}" for state in reversed(_WORST_FIRST) if counts[state]]
    return f"{', '.join(parts) or 'nothing done'} of {len(outcomes)} hosts"


def markdown(
    title: str,
    summary: str,
    outcomes: Sequence[HostOutcome],
    records: Sequence[ChangeRecord],
    *,
    dry_run: bool,
    beside: Sequence[Finding] = (),
) -> str:
    """The summary that a person reads: what happened, what is wrong, what to do.

    beside: what is wrong with no host
    """
    lines = [f"# {title}", "", f"**{with_commands(summary)}**", ""]
    troubled = [outcome for outcome in outcomes if outcome.findings]
    if troubled or beside:
        lines += ["## What needs a look", ""]
    lines += _found(beside)
    for outcome in sorted(troubled, key=lambda o: (_WORST_FIRST.index(o.state), o.name)):
        lines.append(f"### {outcome.name}: {outcome.state}")
        lines.append("")
        lines += _found(outcome.findings)
    return "\n".join([*lines, *_changes(records, dry_run=dry_run)]) + "\n"


def _changes(records: Sequence[ChangeRecord], *, dry_run: bool) -> list[str]:
    """Lines for what was changed, and for what was tried and has taken no effect, or not all of it."""
    planned, made, ended_badly, not_made = list[str](), list[str](), list[str](), list[str]()
    for one in records:
        line = f"- {plain(one.change.sentence)}"
        times = f", {one.attempts} times" if one.attempts > 1 else ""
        match one.state:
            case ChangeState.DRY_RUN:
                planned.append(f"{line} (would be refused now: {plain(one.why)})" if one.why else line)
            case ChangeState.DONE:
                made.append(line)
            case ChangeState.UNKNOWN:
                made.append(f"{line} (it may or may not have taken effect: {plain(one.why) or 'its end was not seen'})")
            case ChangeState.FAILED:
                ended_badly.append(f"{line} (failed{times}: {plain(one.why)})")
            case ChangeState.REFUSED:
                not_made.append(f"{line} (refused{times}: {plain(one.why)})")
    if dry_run:
        more = [f"- and {len(planned) - TABLE_ROWS} more"] if len(planned) > TABLE_ROWS else []
        return ["## What would be changed", "", *(planned[:TABLE_ROWS] or ["- nothing"]), *more]
    lines = ["## What was changed", "", *(made or ["- nothing"])]
    if ended_badly:
        lines += ["", "## What was begun and did not end well; part of it may have taken effect", "", *ended_badly]
    return [*lines, "", "## What was tried and not done", "", *not_made] if not_made else lines


def _found(findings: Sequence[Finding]) -> list[str]:
    """Lines for findings, the worst first."""
    lines = []
    for finding in by_severity(findings):
        seen = finding.evidence
        lines.append(f"- **{finding.severity}** `{finding.id}`: {plain(seen.observed)}")
        lines.append(f"  (expected: {plain(seen.expected)}; read from {plain(seen.source)})")
        lines.append(f"  **Next:** {with_commands(finding.next_step)}")
    return [*lines, ""] if lines else []


@dataclass(frozen=True, slots=True)
class Answer:
    """A run's end: what `poolkeeper run --json` answers, and the text that people read."""

    flow: str
    recorder: Recorder
    reached: RunState
    told: str
    """The summary, as far as the run itself knew."""
    outcomes: tuple[HostOutcome, ...]
    page: str
    """The text, as far as the run itself knew; empty where the flow has pages of its own."""
    halted: str = ""
    """Why, at some point, nothing new was to start."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What this flow answers beside what every flow does."""
    more_files: tuple[str, ...] = ()

    @classmethod
    def of_run(
        cls,
        flow: str,
        recorder: Recorder,
        asked: Sequence[str],
        outcomes: Sequence[HostOutcome],
        gate: Gate,
        *,
        halted: str = "",
        failed: str = "",
    ) -> Answer:
        """The end of a run over hosts.

        halted: why at some point nothing new was started
        failed: why the run has failed whatever its hosts' outcomes are
        """
        state = RunState.FAILED if failed else run_state(asked, outcomes)
        starts = gate.seen("is started", if_dry_run="would be started")
        parts = [summary_line(outcomes), f"nothing new {starts}: {halted}" if halted else "", failed]
        summary = f"{state}: {'; '.join(filter(None, parts))}"
        text = markdown(flow, summary, outcomes, gate.records, dry_run=gate.dry_run, beside=recorder.beside)
        return cls(flow, recorder, state, summary, tuple(outcomes), text, halted)

    @classmethod
    def without_hosts(cls, flow: str, recorder: Recorder, state: RunState, error: PoolkeeperError) -> Answer:
        """The end of a run that did not come as far as its hosts."""
        lines = [f"# {flow}", "", f"**{state}** `{error.id}`", "", "```", error.observed, "```", ""]
        lines += [f"Expected: {plain(error.expected)}.", ""]
        lines += [f"**Next:** {with_commands(error.next_step)}", ""] if error.next_step else []
        return cls(flow, recorder, state, error.summary, (), "\n".join(lines), more={"error": error.row()})

    @classmethod
    def refused(cls, flow: str, recorder: Recorder, asked: Sequence[str], findings: Sequence[Finding]) -> Answer:
        """The end of a run that nothing was begun of, since what it wants may not be."""
        worst = by_severity(findings)
        summary = f"{worst[0].id}: {worst[0].evidence.observed}"
        outcomes = tuple(HostOutcome(name, HostState.STOPPED, summary, worst) for name in asked)
        told = f"{RunState.FAILED}: {summary}"
        text = markdown(flow, told, outcomes, (), dry_run=False, beside=recorder.beside)
        return cls(flow, recorder, RunState.FAILED, told, outcomes, text)

    @property
    def state(self) -> RunState:
        """How it ended; a run that could not be written down did not end well, whatever it has done."""
        done = self.reached not in (RunState.FAILED, RunState.INVALID)
        return RunState.UNRECORDED if done and self.recorder.unrecorded else self.reached

    @property
    def summary(self) -> str:
        """The end in one line, with what could not be written down."""
        if not (unrecorded := self.recorder.unrecorded):
            return visible(self.told)
        told = self.told.removeprefix(f"{self.reached}: ")
        return visible(f"{self.state}: {told}; {unrecorded}")

    @property
    def text(self) -> str:
        """What people read."""
        if not (unrecorded := self.recorder.unrecorded):
            return visible(self.page)
        lines = [self.page, "## What could not be written down", "", f"{plain(unrecorded)}.", ""]
        lines += ["Make room there. Runs after this one, audits and bills know nothing of it."]
        if events := self.recorder.unrecorded_events:
            lines += ["A bill misses these; give it them as events:", "", "```", *events, "```"]
        return visible("\n".join(lines) + "\n")

    def write(self, folder: Path) -> list[str]:
        """Summary and answer as files in the run's own folder, and the run's row; their paths."""
        self.recorder.try_again()
        folder = folder / self.recorder.run_id
        summary, outcome = folder / "summary.md", folder / "outcome.json"
        files = [*([str(summary)] if self.page else []), str(outcome), *self.more_files]
        answer = {
            "flow": self.flow,
            "run_id": self.recorder.run_id,
            "state": str(self.state),
            "summary": self.summary,
            "hosts": [host.row() for host in self.outcomes],
            "files": files,
            **self.more,
        }
        if self.page:
            self.recorder.file(summary, self.text)
        self.recorder.file(outcome, json.dumps(answer, indent=2))
        self.recorder.end(self.flow, str(self.state), self.summary, self.outcomes)
        return files
