"""The result of a run, for people and scripts: one row per host, a readable summary, and a file."""

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
"""The rows that an artifact has at most; the file has all."""


def outcome_rows(outcomes: Sequence[HostOutcome]) -> list[dict[str, Any]]:
    """The outcomes, one row per host; hosts that need attention come first."""
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
    HostState.POSTPONED,
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
    run_findings: Sequence[Finding] = (),
) -> str:
    """The summary in Markdown: what happened, what is wrong, and what to do.

    run_findings: findings about no host
    """
    lines = [f"# {title}", "", f"**{with_commands(summary)}**", ""]
    troubled = [outcome for outcome in outcomes if outcome.findings]
    if troubled or run_findings:
        lines += ["## What needs attention", ""]
    lines += _found(run_findings)
    for outcome in sorted(troubled, key=lambda o: (_WORST_FIRST.index(o.state), o.name)):
        lines.append(f"### {outcome.name}: {outcome.state}")
        lines.append("")
        lines += _found(outcome.findings)
    return "\n".join([*lines, *_changes(records, dry_run=dry_run)]) + "\n"


def _changes(records: Sequence[ChangeRecord], *, dry_run: bool) -> list[str]:
    """Lines for the changes that were made, that failed, and that were refused; of a dry run for the planned ones."""
    planned, made, failed, refused = list[str](), list[str](), list[str](), list[str]()
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
                failed.append(f"{line} (failed{times}: {plain(one.why)})")
            case ChangeState.REFUSED:
                refused.append(f"{line} (refused{times}: {plain(one.why)})")
    if dry_run:
        more = [f"- and {len(planned) - TABLE_ROWS} more"] if len(planned) > TABLE_ROWS else []
        return ["## What would be changed", "", *(planned[:TABLE_ROWS] or ["- nothing"]), *more]
    lines = ["## What was changed", "", *(made or ["- nothing"])]
    if failed:
        lines += ["", "## Changes that failed; parts of them may have taken effect", "", *failed]
    return [*lines, "", "## Changes that were refused", "", *refused] if refused else lines


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
class RunResult:
    """How a run ended: what `poolkeeper run --json` prints, and the text for people.

    Rows may still be unwritten when it is made: `state`, `summary` and `text` add what could not be written down.
    """

    flow: str
    recorder: Recorder
    state_so_far: RunState
    summary_so_far: str
    outcomes: tuple[HostOutcome, ...]
    text_so_far: str
    """Empty if the flow writes pages of its own."""
    halted: str = ""
    """Why the run stopped starting work on further hosts; empty: it did not."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of this flow's answer that other flows do not have."""
    extra_files: tuple[str, ...] = ()

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
    ) -> RunResult:
        """The result of a run over hosts.

        halted: why the run stopped starting work on further hosts
        failed: why the run failed, independent of its hosts' outcomes
        """
        state = RunState.FAILED if failed else run_state(asked, outcomes)
        starts = gate.seen("is started", if_dry_run="would be started")
        parts = [summary_line(outcomes), f"nothing new {starts}: {halted}" if halted else "", failed]
        summary = f"{state}: {'; '.join(filter(None, parts))}"
        text = markdown(flow, summary, outcomes, gate.records, dry_run=gate.dry_run, run_findings=recorder.run_findings)
        return cls(flow, recorder, state, summary, tuple(outcomes), text, halted)

    @classmethod
    def without_hosts(cls, flow: str, recorder: Recorder, state: RunState, error: PoolkeeperError) -> RunResult:
        """The result of a run that ended before it reached its hosts."""
        lines = [f"# {flow}", "", f"**{state}** `{error.id}`", "", "```", error.observed, "```", ""]
        lines += [f"Expected: {plain(error.expected)}.", ""]
        lines += [f"**Next:** {with_commands(error.next_step)}", ""] if error.next_step else []
        return cls(flow, recorder, state, error.summary, (), "\n".join(lines), extra={"error": error.row()})

    @classmethod
    def refused(cls, flow: str, recorder: Recorder, asked: Sequence[str], findings: Sequence[Finding]) -> RunResult:
        """The result of a run that started nothing because its goal is not allowed."""
        worst = by_severity(findings)
        summary = f"{worst[0].id}: {worst[0].evidence.observed}"
        outcomes = tuple(HostOutcome(name, HostState.STOPPED, summary, worst) for name in asked)
        whole = f"{RunState.FAILED}: {summary}"
        text = markdown(flow, whole, outcomes, (), dry_run=False, run_findings=recorder.run_findings)
        return cls(flow, recorder, RunState.FAILED, whole, outcomes, text)

    @property
    def state(self) -> RunState:
        """The final state. A run whose record is incomplete is not completed, whatever it has done."""
        done = self.state_so_far not in (RunState.FAILED, RunState.INVALID)
        return RunState.UNRECORDED if done and self.recorder.unrecorded else self.state_so_far

    @property
    def summary(self) -> str:
        """The result in one line, with what could not be written down."""
        if not (unrecorded := self.recorder.unrecorded):
            return visible(self.summary_so_far)
        rest = self.summary_so_far.removeprefix(f"{self.state_so_far}: ")
        return visible(f"{self.state}: {rest}; {unrecorded}")

    @property
    def text(self) -> str:
        """The readable summary."""
        if not (unrecorded := self.recorder.unrecorded):
            return visible(self.text_so_far)
        lines = [self.text_so_far, "## What could not be written down", "", f"{plain(unrecorded)}.", ""]
        lines += ["Free disk space there. Later runs, audits and bills do not have these rows."]
        if events := self.recorder.unrecorded_events:
            lines += ["Bills need these events; put them into a file for `--events`:", "", "```", *events, "```"]
        return visible("\n".join(lines) + "\n")

    def write(self, folder: Path) -> list[str]:
        """Write the summary, the answer and the run's row. The files' paths; they are in the run's own folder."""
        self.recorder.write_rest()
        folder = folder / self.recorder.run_id
        summary, outcome = folder / "summary.md", folder / "outcome.json"
        files = [*([str(summary)] if self.text_so_far else []), str(outcome), *self.extra_files]
        answer = {
            "flow": self.flow,
            "run_id": self.recorder.run_id,
            "state": str(self.state),
            "summary": self.summary,
            "hosts": [host.row() for host in self.outcomes],
            "files": files,
            **self.extra,
        }
        if self.text_so_far:
            self.recorder.file(summary, self.text)
        self.recorder.file(outcome, json.dumps(answer, indent=2))
        self.recorder.end(self.flow, str(self.state), self.summary, self.outcomes)
        return files
