"""The page of an audit. Its size does not grow with the fleet: measurements are counted by place and by stage, and each
list ends with the number of rows that it does not show.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from poolkeeper.tasks.audit.measurements import Measurement, Quality
from poolkeeper.tasks.audit.nights.comparison import BASELINE_AT_LEAST, FindingChange, FindingStatus, PastFinding
from poolkeeper.tasks.audit.places import CLOUD, Place
from poolkeeper.tasks.audit.report.audit_report import AuditReport, counted
from poolkeeper.tasks.audit.report.dns_stages import Stage, stages
from poolkeeper.tasks.audit.report.matrix import Cell, Spot, by_domain, by_site, count, places_by_name
from poolkeeper.tasks.audit.report.messages import by_check, elsewhere, explained, lasted, status_text, verdict
from poolkeeper.tasks.pages.parts import (
    SHOWN_ROWS,
    Bar,
    Card,
    ColumnKind,
    Content,
    Fact,
    Matrix,
    Status,
    Table,
    Tile,
    Tone,
    card_of,
    columns,
    first_rows,
    moment,
)
from poolkeeper.tasks.pages.templates import render

SHOWN_FINDINGS = 100
SHOWN_PATHS = 5
"""Examples of what a finding explains."""
SHOWN_SLOW = 50
SHOWN_NOTES = 3
"""At the top; the others state at the end."""
SHOWN_NAMES = 20
"""Hosts in one row."""
SHOWN_SITES = 30
"""Sites whose DNS stages are shown; those with failures come first."""
SHOWN_TARGETS = 3
MATRIX_UP_TO = 24
"""Places in a matrix; of more, only the directions with failures are shown."""
OPEN_DOMAINS = 12
"""A bigger matrix of domains is collapsed."""

SECTIONS = {
    "broken": "What is broken",
    "gone": "Gone since last night",
    "connections": "Connections between sites",
    "dns": "DNS, stage by stage",
    "latency": "Slower than usual",
    "hosts": "Hosts not measured",
    "method": "How it was measured",
}
_TONES = {Quality.OK: Tone.GOOD, Quality.SLOW: Tone.WARN, Quality.FAIL: Tone.BAD, Quality.UNKNOWN: Tone.WARN}
_SIGNS = {Quality.OK: "✓", Quality.SLOW: "◷", Quality.FAIL: "✗", Quality.UNKNOWN: "?"}
_HEADLINE_SIGNS = {Tone.GOOD: "✓", Tone.BAD: "✗", Tone.WARN: "?"}

_TEXT, _NUMBER, _NAME, _SENTENCE = ColumnKind.TEXT, ColumnKind.NUMBER, ColumnKind.NAME, ColumnKind.SENTENCE
_GONE = columns({"subject": _NAME, "finding": _TEXT, "last observed": _SENTENCE})
_TROUBLED = columns({"from": _NAME, "to": _NAME, "ok/all": _TEXT, "not ok": _TEXT})
_STAGES = columns({"stage": _NAME, "asked": _NUMBER, "not ok": _NUMBER, "median": _NUMBER, "p95": _NUMBER})
_SLOW = columns({"from": _NAME, "to": _NAME, "check": _TEXT, "tonight": _NUMBER, "usual": _NUMBER, "times": _NUMBER})
_UNREAD = columns({"site": _TEXT, "how many": _NUMBER, "hosts": _SENTENCE, "why": _SENTENCE})
_SILENT = columns({"host": _NAME, "site": _TEXT, "nights": _NUMBER})
_CHECKS = columns({"check": _TEXT, "all": _NUMBER, **dict.fromkeys(Quality, _NUMBER)})


def page(report: AuditReport) -> str:
    """The page."""
    by_name = places_by_name(report.hosts)
    headline = _headline(report)
    return render(
        Path(__file__).with_name("page.html.jinja"),
        title=f"Audit of {report.fleet}, {report.started_at:%Y-%m-%d}",
        sections=SECTIONS,
        report=report,
        verdict=headline,
        sign=_HEADLINE_SIGNS[headline.tone],
        not_known=_not_known(report),
        against=_against(report),
        wrong=_cards(report, report.wrong),
        expected=_cards(report, report.expected),
        fixed=_gone(report.compared.fixed),
        not_measured=_gone(report.compared.not_measured),
        elsewhere=elsewhere(report) if report.compared.elsewhere else "",
        not_ok=[_status(quality) for quality in (Quality.FAIL, Quality.SLOW, Quality.UNKNOWN)],
        sites=_connections("Connections from site to site", report, by_name, by_site),
        domains=_domains(report, by_name),
        dns=_dns(report, by_name),
        slow=_slow(report),
        unread=_unread(report),
        silent=_silent(report),
        checks=_checks(report),
        baseline_nights=BASELINE_AT_LEAST,
        open_domains=OPEN_DOMAINS,
        shown_notes=SHOWN_NOTES,
        shown_rows=SHOWN_ROWS,
        shown_sites=SHOWN_SITES,
        counted=counted,
        moment=moment,
        lasted=lasted,
    )


def _status(quality: Quality, words: str = "") -> Status:
    return Status(_TONES[quality], f"{_SIGNS[quality]} {words or quality}")


def _headline(report: AuditReport) -> Status:
    looked_at = report.counts.total() - report.counts[Quality.UNKNOWN]
    bad = bool(report.wrong or report.failed)
    return Status(Tone.BAD if bad else Tone.GOOD if looked_at else Tone.WARN, verdict(report))


def _not_known(report: AuditReport) -> str:
    """What could not be measured; empty: everything was."""
    missing = []
    if unanswered := report.counts[Quality.UNKNOWN]:
        missing.append(f"{counted(unanswered, 'question')} without an answer")
    if report.unread:
        missing.append(f"{counted(len(report.unread), 'host')} that could not be measured")
    return " and ".join(missing) or ("see the notes" if report.notes else "")


def _against(report: AuditReport) -> str:
    if report.earlier_nights:
        return f"Compared with {counted(report.earlier_nights, 'earlier night')}."
    return "There is no earlier night to compare with, so every finding counts as new."


# What is broken, and what is gone


def _cards(report: AuditReport, found: Sequence[FindingChange]) -> list[Card]:
    return [_card(report, one) for one in found[:SHOWN_FINDINGS]]


def _card(report: AuditReport, change: FindingChange) -> Card:
    subject = change.finding.subject.name
    note = report.hosts[subject].note if subject in report.hosts else ""
    known = change.status is not FindingStatus.NEW or report.earlier_nights
    state = status_text(change) if known else "new: no earlier night is known"
    facts = explained(report, change)
    return card_of(change.finding, *([_explains(facts)] if facts else []), state=state, note=note)


def _explains(facts: Sequence[Measurement]) -> Fact:
    examples = [f"{fact.check}: {fact.source} → {fact.target}: {fact.evidence}" for fact in facts[:SHOWN_PATHS]]
    text = f"{counted(len(facts), 'measurement')}: {by_check(facts)}"
    return Fact("Explains", text, examples=examples, more_examples=len(facts) - len(examples))


def _gone(gone: Sequence[PastFinding]) -> Table | None:
    return first_rows(_GONE, [(str(one.subject), one.id, one.observed) for one in gone]) if gone else None


# Connections


@dataclass(frozen=True, slots=True)
class _Connections:
    """Between places of one kind: all of them, or of many only the directions that have trouble."""

    places: int
    measured: int
    """Directions."""
    matrix: Matrix | None
    troubled: Table


def _connections(
    label: str, report: AuditReport, by_name: Mapping[str, Place], by: Callable[[Place], Spot]
) -> _Connections | None:
    """None: nothing was measured."""
    cells = count(report.facts, by_name, by)
    if not cells:
        return None
    spots = _spots(cells, map(by, report.hosts.values()))
    labels = _labels(spots)
    is_small = len(spots) <= MATRIX_UP_TO
    return _Connections(
        len(spots), len(cells), _matrix(label, cells, labels) if is_small else None, _troubled(cells, labels)
    )


def _domains(report: AuditReport, by_name: Mapping[str, Place]) -> _Connections | None:
    """None: none is declared, or nothing was measured."""
    declared = any(place.domain for place in report.hosts.values())
    return _connections("Connections from domain to domain", report, by_name, by_domain) if declared else None


def _spots(cells: Iterable[tuple[Spot, Spot]], declared: Iterable[Spot]) -> list[Spot]:
    """In order, the cloud last."""
    return sorted(
        {(CLOUD, ""), *declared, *(spot for pair in cells for spot in pair)}, key=lambda s: (s == (CLOUD, ""), s)
    )


def _labels(spots: Sequence[Spot]) -> dict[Spot, str]:
    """A domain by its name alone, where no other site has one of that name."""
    names = Counter(domain for _, domain in spots)
    split = len(spots) > len({site for site, _ in spots})
    return {
        (site, domain): (domain if names[domain] == 1 else f"{site} / {domain}")
        if domain
        else (f"{site}, no domain" if split and site != CLOUD else site)
        for site, domain in spots
    }


def _matrix(label: str, cells: Mapping[tuple[Spot, Spot], Cell], labels: Mapping[Spot, str]) -> Matrix:
    rows = [(name, [_tile(cells.get((source, target))) for target in labels]) for source, name in labels.items()]
    return Matrix(label, "from \\ to", list(labels.values()), rows)


def _tile(cell: Cell | None) -> Tile:
    worst = cell.worst if cell else None
    if cell is None or worst is None:
        return Tile("-")
    if worst is Quality.OK:
        return Tile(f"{_ratio(cell.connects)} ", Tone.GOOD, [Status(Tone.GOOD, "✓")])
    return Tile(_ratio(cell.connects), _TONES[worst], list(_not_ok(cell)))


def _not_ok(cell: Cell) -> Iterator[Status]:
    for quality in (Quality.FAIL, Quality.UNKNOWN, Quality.SLOW):
        if number := cell.connects[quality]:
            yield _status(quality, f"{number:,} {quality}")
    if cell.big[Quality.FAIL]:
        yield _status(Quality.FAIL, f"big {_ratio(cell.big)}")


def _ratio(qualities: Counter[Quality]) -> str:
    return f"{qualities[Quality.OK]:,}/{qualities.total():,}" if qualities.total() else "-"


def _troubled(cells: Mapping[tuple[Spot, Spot], Cell], labels: Mapping[Spot, str]) -> Table:
    found = sorted(
        ((way, cell) for way, cell in cells.items() if cell.not_ok), key=lambda item: (-item[1].not_ok, item[0])
    )
    rows = [
        (labels[source], labels[target], _ratio(cell.connects), "; ".join(status.words for status in _not_ok(cell)))
        for (source, target), cell in found[:SHOWN_ROWS]
    ]
    return Table(_TROUBLED, rows, len(found))


# DNS


@dataclass(frozen=True, slots=True)
class _Dns:
    """The stages of one site."""

    name: str
    asked: int
    not_ok: int
    table: Table

    @property
    def status(self) -> Status:
        if self.not_ok:
            return _status(Quality.FAIL, f"{self.not_ok:,} of {self.asked:,} not ok")
        return _status(Quality.OK, f"{self.asked:,} ok")


def _dns(report: AuditReport, by_name: Mapping[str, Place]) -> list[_Dns]:
    """By name those that have trouble, then by name those that have none."""
    sites = [_dns_of(site, of_it) for site, of_it in stages(report.facts, by_name).items()]
    return sorted(sites, key=lambda site: not site.not_ok)


def _dns_of(site: str, of_it: Sequence[Stage]) -> _Dns:
    scale = max((stage.p95_ms or 0.0 for stage in of_it), default=0.0)
    rows = [row for stage in of_it for row in _stage_rows(stage, scale)]
    asked, not_ok = sum(stage.qualities.total() for stage in of_it), sum(stage.not_ok for stage in of_it)
    return _Dns(site, asked, not_ok, Table(_STAGES, rows))


def _stage_rows(stage: Stage, scale: float) -> Iterator[Sequence[Content]]:
    not_ok = _status(Quality.FAIL, f"{stage.not_ok:,}") if stage.not_ok else "0"
    asked = f"{stage.qualities.total():,}"
    yield _with_bar(stage, scale), asked, not_ok, _ms(stage.median_ms), _ms(stage.p95_ms)
    if stage.troubled:
        how = ", ".join(f"{stage.qualities[q]:,} {q}" for q in Quality if q is not Quality.OK and stage.qualities[q])
        worst = sorted(stage.troubled.items(), key=lambda item: (-item[1], item[0]))
        named = "; ".join(f"{target}: {number:,}" for target, number in worst[:SHOWN_TARGETS])
        more = f"; and {len(worst) - SHOWN_TARGETS:,} more" if len(worst) > SHOWN_TARGETS else ""
        yield (f"{how}; asked for {named}{more}",)


def _with_bar(stage: Stage, scale: float) -> Content:
    if stage.median_ms is None or stage.p95_ms is None or not scale:
        return stage.title
    return Bar(stage.title, *(max(0.5, 100 * value / scale) for value in (stage.median_ms, stage.p95_ms)))


# Latency, hosts, method


def _slow(report: AuditReport) -> Table | None:
    slow = [fact for fact in report.facts if fact.quality is Quality.SLOW]
    usual = {fact.path: report.usual[fact.path].median_ms for fact in slow if fact.path in report.usual}

    def left_it(fact: Measurement) -> tuple[float, float, tuple[str, str, str]]:
        took = fact.duration_ms or 0.0
        return -took / max(usual[fact.path], 0.1) if fact.path in usual else 0.0, -took, fact.path

    rows = []
    for fact in sorted(slow, key=left_it)[:SHOWN_SLOW]:
        median = usual.get(fact.path)
        times = f"{fact.duration_ms / median:.1f} x" if median and fact.duration_ms is not None else "-"
        before = _ms(median) if median is not None else "no baseline"
        rows.append((fact.source, fact.target, fact.check, _ms(fact.duration_ms), before, times))
    return Table(_SLOW, rows, len(slow)) if rows else None


def _unread(report: AuditReport) -> Table | None:
    """Hosts that have the same reason in one row."""
    groups: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for host, why in sorted(report.unread.items()):
        place = report.hosts.get(host, Place("", ""))
        groups[place.site, why, place.note].append(host)
    rows = [
        (site, f"{len(hosts):,}", _named(hosts), f"{why}{f' ({note})' if note else ''}")
        for (site, why, note), hosts in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    return first_rows(_UNREAD, rows) if rows else None


def _silent(report: AuditReport) -> Table | None:
    silent = sorted(report.silent.items(), key=lambda item: (-item[1], item[0]))
    sites = {host: place.site for host, place in report.hosts.items()}
    rows = [(host, sites.get(host, ""), f"{nights}") for host, nights in silent]
    return first_rows(_SILENT, rows) if rows else None


def _named(hosts: Sequence[str]) -> str:
    more = f" and {len(hosts) - SHOWN_NAMES:,} more" if len(hosts) > SHOWN_NAMES else ""
    return ", ".join(hosts[:SHOWN_NAMES]) + more


def _checks(report: AuditReport) -> Table | None:
    checks: defaultdict[str, Counter[Quality]] = defaultdict(Counter)
    for fact in report.facts:
        checks[fact.check][fact.quality] += 1
    if not checks:
        return None
    rows = [_counts_row("all checks", report.counts), *(_counts_row(*item) for item in sorted(checks.items()))]
    return first_rows(_CHECKS, rows, SHOWN_ROWS + 1)


def _counts_row(check: str, counts: Counter[Quality]) -> Sequence[str]:
    return check, f"{counts.total():,}", *(f"{counts[quality]:,}" for quality in Quality)


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"
