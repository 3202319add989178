"""The messages of an audit: markdown summary, rows, JSON. Invariant: text from outside is neither markdown nor HTML."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from poolkeeper.tasks.audit.measurements import Measurement, Quality
from poolkeeper.tasks.audit.nights.comparison import FindingChange, FindingStatus, PastFinding
from poolkeeper.tasks.audit.report.audit_report import AuditReport, counted
from poolkeeper.tasks.outcomes import Finding, HostOutcome, HostState, RunState, Severity
from poolkeeper.tasks.pages.markdown import plain, with_commands
from poolkeeper.tasks.pages.parts import moment

SHOWN_FINDINGS = 25
"""The most findings in the summary; the page and the JSON have more."""
SHOWN_ROWS = 15
"""The most rows of every other list."""


def status_text(change: FindingChange) -> str:
    """`new`, `still failing since 2026-11-20, 4 nights`, `flapping: back tonight`."""
    since = f"since {change.since:%Y-%m-%d}, {counted(change.nights, 'night')}"
    worse = f"; now a blocker, before: {change.was}" if _became_blocker(change) else ""
    match change.status:
        case FindingStatus.NEW:
            return "new"
        case FindingStatus.STILL:
            return f"still failing {since}{worse}"
        case FindingStatus.FLAPPING:
            return f"flapping: back {since if change.nights > 1 else 'tonight'}{worse}"


def _became_blocker(change: FindingChange) -> bool:
    """Whether the finding was there before, with a lower severity."""
    return change.finding.severity is Severity.BLOCKER and change.was not in ("", Severity.BLOCKER)


def explained(report: AuditReport, change: FindingChange) -> tuple[Measurement, ...]:
    """The measurements that a finding explains."""
    return report.explains.get((change.finding.id, change.finding.subject), ())


def by_check(facts: Sequence[Measurement]) -> str:
    """`380 connect.host, 32 dns.cache`."""
    counts = sorted(Counter(fact.check for fact in facts).items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(counts) - 6} other checks" if len(counts) > 6 else ""
    return ", ".join(f"{count:,} {check}" for check, count in counts[:6]) + more


def lasted(time: timedelta) -> str:
    """`4 min 12 s`."""
    minutes, seconds = divmod(round(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return " ".join(
        f"{value} {unit}" for value, unit in ((hours, "h"), (minutes, "min"), (seconds, "s")) if value or unit == "s"
    )


def verdict(report: AuditReport) -> str:
    """One sentence: whether anything is broken, as far as is known."""
    counts = report.counts
    looked_at = counts.total() - counts[Quality.UNKNOWN]
    if len(report.wrong) == 1:
        return f"One thing is broken: {status_text(report.wrong[0])}."
    if report.wrong:
        new = sum(one.status is FindingStatus.NEW for one in report.wrong)
        return f"{len(report.wrong):,} things are broken, {f'{new:,}' if new else 'none'} of them new."
    if not looked_at:
        return "Nothing could be measured: whether anything is broken is unknown."
    if report.failed:
        return f"{counted(report.failed, 'measurement')} failed, and no finding explains them."
    missing = bool(report.unread or report.notes or counts[Quality.UNKNOWN])
    return f"Nothing is broken{' in what could be measured' if missing else ''}."


def elsewhere(report: AuditReport) -> str:
    """How many past findings are outside the scope of a run over some hosts, as a sentence."""
    count = counted(len(report.compared.elsewhere), "finding")
    return f"Outside the scope of this run, and kept for the next one: {count}."


def markdown(report: AuditReport) -> str:
    """The summary that a person reads first: at most about 200 lines."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: AuditReport) -> Iterator[str]:
    yield from (f"# Audit of {plain(report.fleet)}, {moment(report.started_at)}", "")
    yield from (f"**{verdict(report)}**", "", f"{plain(report.summary)}.", "")
    for note in report.notes[:SHOWN_ROWS]:
        yield f"- {plain(note)}"
    yield from _more(len(report.notes), SHOWN_ROWS)
    if report.wrong:
        yield from ("", "## What is broken", "")
        for one in report.wrong[:SHOWN_FINDINGS]:
            yield from _finding(report, one)
        yield from _more(len(report.wrong), SHOWN_FINDINGS)
    if report.expected:
        yield from ("", "## Expected trouble", "")
        for one in report.expected[:SHOWN_ROWS]:
            yield f"- {plain(str(one.finding.subject))}: {plain(one.finding.evidence.observed)} ({status_text(one)})"
        yield from _more(len(report.expected), SHOWN_ROWS)
    yield from _gone("Fixed since last night", report.compared.fixed)
    yield from _gone("Not measured tonight: unknown whether these are fixed", report.compared.not_measured)
    if report.compared.elsewhere:
        yield from ("", elsewhere(report))
    if report.unread:
        yield from ("", "## Hosts not measured", "")
        for host, why in sorted(report.unread.items())[:SHOWN_ROWS]:
            yield f"- {plain(host)}: {plain(why)}"
        yield from _more(len(report.unread), SHOWN_ROWS)


def _finding(report: AuditReport, change: FindingChange) -> Iterator[str]:
    one = change.finding
    yield f"- **{one.severity}** {plain(str(one.subject))}, {status_text(change)}: {plain(one.evidence.observed)}"
    yield f"  (expected: {plain(one.evidence.expected)}; `{one.id}`)"
    if facts := explained(report, change):
        yield f"  Explains {counted(len(facts), 'measurement')}: {plain(by_check(facts))}."
    yield f"  **Next:** {with_commands(one.next_step)}"


def _gone(title: str, gone: Sequence[PastFinding]) -> Iterator[str]:
    if gone:
        yield from ("", f"## {title}", "")
        for one in gone[:SHOWN_ROWS]:
            yield f"- {plain(str(one.subject))}: `{one.id}`, last seen: {plain(one.observed)}"
        yield from _more(len(gone), SHOWN_ROWS)


def _more(count: int, shown: int) -> Iterator[str]:
    if count > shown:
        yield f"- and {count - shown:,} more: see the page"


def host_outcomes(report: AuditReport) -> tuple[HostOutcome, ...]:
    """One outcome per host: measured, or why not; with the findings about it."""
    about: defaultdict[str, list[Finding]] = defaultdict(list)
    for change in report.compared.changes:
        if change.finding.subject.kind == "host":
            about[change.finding.subject.name].append(change.finding)
    return tuple(
        HostOutcome(
            name,
            HostState.FAILED if name in report.unread else HostState.DONE,
            report.unread.get(name, "measured"),
            tuple(about[name]),
        )
        for name in report.hosts
    )


def run_state(report: AuditReport, fail_on: str) -> RunState:
    """The final state of the run: it depends on what could not be measured, and on findings only by `fail_on`.

    fail_on: `blockers`, `new-blockers` (new, or with a lower severity before), or anything else for neither
    """
    blockers = [change for change in report.compared.changes if change.finding.severity is Severity.BLOCKER]
    new = any(change.since == report.started_at or _became_blocker(change) for change in blockers)
    failed = {"blockers": bool(blockers), "new-blockers": new}.get(fail_on, False)
    if failed or len(report.unread) == len(report.hosts):
        return RunState.FAILED
    return RunState.UNFINISHED_HOSTS if report.unread or report.unread_clusters else RunState.COMPLETED


def finding_rows(report: AuditReport) -> list[dict[str, Any]]:
    """One row per finding, the worst first."""
    return [
        {
            "finding": one.finding.id,
            "severity": str(one.finding.severity),
            "subject": str(one.finding.subject),
            "status": str(one.status),
            "since": moment(one.since),
            "observed": one.finding.evidence.observed,
            "next step": one.finding.next_step,
        }
        for one in report.compared.changes
    ]


def as_json(report: AuditReport) -> dict[str, Any]:
    """The report without its measurements, as plain JSON types."""
    return {
        "fleet": report.fleet,
        "run_id": report.run_id,
        "started_at": report.started_at.isoformat(),
        "ended_at": report.ended_at.isoformat(),
        "summary": report.summary,
        "findings": [
            {
                **one.finding.row(),
                "status": str(one.status),
                "since": one.since.isoformat(),
                "nights": one.nights,
                "explains": len(explained(report, one)),
            }
            for one in report.compared.changes
        ],
        "fixed": [_gone_row(one) for one in report.compared.fixed],
        "not_measured": [_gone_row(one) for one in report.compared.not_measured],
        "elsewhere": [_gone_row(one) for one in report.compared.elsewhere],
        "silent": dict(report.silent),
        "unread": dict(report.unread),
        "unread_clusters": dict(report.unread_clusters),
        "counts": {str(quality): report.counts[quality] for quality in Quality},
        "pairs": report.pairs,
        "nights_to_cover": report.nights_to_cover,
        "earlier_nights": report.earlier_nights,
        "caches": report.caches,
        "notes": list(report.notes),
    }


def _gone_row(gone: PastFinding) -> dict[str, str]:
    return {"id": gone.id, "subject": str(gone.subject), "observed": gone.observed}
