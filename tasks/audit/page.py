"""A night's audit as one page, self-contained: no script, font or picture from anywhere else.

Every text from outside is escaped. What is coloured is said in a word as well. It stays small whatever the size of the
fleet: facts are counted by place and by stage, lists are cut and say by how much.
"""

from __future__ import annotations

import html
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from poolkeeper.tasks.audit.matrix import Cell, Spot, by_domain, by_site, count, places_by_name
from poolkeeper.tasks.audit.measured import Measured, Quality
from poolkeeper.tasks.audit.nights import BASELINE_AT_LEAST, Gone, Since, Told
from poolkeeper.tasks.audit.report import AuditReport, Place, counted
from poolkeeper.tasks.audit.stages import Stage, stages
from poolkeeper.tasks.audit.suspects import CLOUD
from poolkeeper.tasks.audit.telling import by_check, elsewhere, explained, lasted, moment, stands, verdict
from poolkeeper.tasks.outcomes import Severity
from poolkeeper.tasks.runs.markdown import commands

SHOWN_FINDINGS = 100
SHOWN_PATHS = 5
"""Examples of what a finding explains."""
SHOWN_SLOW = 50
SHOWN_ROWS = 100
"""At most so many of any other list."""
SHOWN_NOTES = 3
"""At the top; the others stand at the end."""
SHOWN_NAMES = 20
"""Hosts in one row."""
SHOWN_SITES = 30
"""At most so many sites' DNS stages; those with trouble come first."""
SHOWN_TARGETS = 3
MATRIX_UP_TO = 24
"""Places; of more, only the directions with trouble are shown: a wider matrix is neither read nor printed."""
OPEN_DOMAINS = 12
"""A bigger matrix of domains is folded; a bigger matrix of anything is printed across."""

_STYLE = """
:root{color-scheme:light dark;--bad:#b3261e;--warn:#8a5a00;--good:#1b6e3c;--dim:#5c5f66;--line:#8885;--back:#fff}
@media screen and (prefers-color-scheme:dark){:root{--bad:#ff8a80;--warn:#f2b84b;--good:#7bd39a;--dim:#a9adb5;
--back:#121212}body{background:var(--back);color:#e8e8e8}a{color:#8ab4f8}}
*{box-sizing:border-box}
body{font:1rem/1.5 system-ui,sans-serif;max-width:72rem;margin:1.5rem auto;padding:0 1rem;overflow-wrap:break-word}
h1{margin:0 0 .2rem;font-size:1.6rem;line-height:1.25}h2{margin:2.2rem 0 .5rem;font-size:1.3rem}
h3{margin:.9rem 0 .3rem;font-size:1.05rem}p{margin:.4rem 0}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:.8rem 0}nav a{padding:.25rem 0}
.verdict{font-size:1.25rem;font-weight:600;margin:.6rem 0 .2rem}.note{color:var(--dim)}
.fail,.blocker{color:var(--bad)}.slow,.unknown,.warning{color:var(--warn)}.ok,.good{color:var(--good)}
.info{color:var(--dim)}
article{border:1px solid var(--line);border-left:.35rem solid;border-radius:.3rem;padding:.6rem .9rem;margin:.7rem 0}
article h3{margin-top:0}article>*{color:CanvasText}article .tag{font-weight:600}article.blocker .tag{color:var(--bad)}
article.warning .tag{color:var(--warn)}article.info .tag{color:var(--dim)}
@media screen and (prefers-color-scheme:dark){article>*{color:#e8e8e8}}
dl{margin:.3rem 0;display:grid;grid-template-columns:max-content 1fr;gap:.15rem .9rem}dt{color:var(--dim)}
dd{margin:0;min-width:0;overflow-wrap:anywhere}
code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}dd code{background:#8882;padding:.05rem .3rem;
border-radius:.2rem}
details{margin:.5rem 0}summary{cursor:pointer;padding:.2rem 0}
:focus-visible{outline:3px solid #4a90d9;outline-offset:2px}
.wide{overflow-x:auto;margin:.4rem 0}table{border-collapse:collapse}.full{min-width:100%}
th,td{text-align:left;padding:.3rem .9rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.t{min-width:15rem;overflow-wrap:anywhere}td.h{min-width:9rem;overflow-wrap:anywhere}
.matrix th,.matrix td{padding:.3rem .6rem;border:1px solid var(--line);white-space:nowrap;
font-variant-numeric:tabular-nums}
.matrix td span{display:block;font-size:.85em;font-weight:600;line-height:1.35}
.matrix tbody th,.matrix .corner{position:sticky;left:0;background:var(--back);z-index:1;white-space:normal;
overflow-wrap:break-word;min-width:6.5rem;max-width:11rem}
.matrix td.isfail{background:#c332}.matrix td.isslow,.matrix td.isunknown{background:#c902}
.stages{width:100%;max-width:46rem;table-layout:fixed}.stages th:first-child{width:40%}
.stages td,.stages th{padding-right:.4rem}.stages tr.sub td{font-size:.9em;overflow-wrap:anywhere}
.stages tr.has td{border-bottom:0}
svg{display:block;width:100%;height:.7rem;margin-top:.15rem;opacity:.65}.nw{white-space:nowrap}
@media (max-width:34rem){dl{display:block}dd{margin-bottom:.35rem}.stages{font-size:.85rem}
.stages th:first-child{width:36%}}
@media print{:root{font-size:75%}body{margin:0;padding:0;max-width:none}nav{display:none}.wide{overflow:visible}
table{font-size:10px}td.t,td.h{min-width:0}.matrix th,.matrix td{padding:.15rem .3rem;min-width:0}
.matrix tbody th{position:static;min-width:0}
h2,h3,summary{break-after:avoid}tr,article{break-inside:avoid}.stages{max-width:none}
@page broad{size:A4 landscape}.broad{page:broad}.broad table{font-size:7px}
details::details-content{content-visibility:visible;block-size:auto}}
"""

_SIGNS = {Quality.OK: "✓", Quality.SLOW: "◷", Quality.FAIL: "✗", Quality.UNKNOWN: "?"}
_SEVERITIES = {Severity.BLOCKER: "✗ blocker", Severity.WARNING: "! warning", Severity.INFO: "i info"}
_NUMBERS = frozenset(["tonight", "usual", "times", "nights", "all", "how many", *Quality])
_TEXTS = frozenset({"why", "last observed", "hosts"})

Row = Sequence[str]


def page(report: AuditReport) -> str:
    """The page."""
    return "\n".join(_parts(report)) + "\n"


def _parts(report: AuditReport) -> Iterator[str]:
    title = f"Audit of {report.fleet}, {report.started_at:%Y-%m-%d}"
    by_name = places_by_name(report.hosts)
    yield (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{_e(title)}</title><style>{_STYLE}</style><main><h1>{_e(f'Audit of {report.fleet},')}"
        f" <span class=nw>{report.started_at:%Y-%m-%d}</span></h1>"
    )
    yield from _headline(report)
    sections = {
        "broken": ("What is broken", _broken(report)),
        "gone": ("Gone since last night", _gone(report)),
        "connections": ("Connections between sites", _connections(report, by_name)),
        "dns": ("DNS, stage by stage", _dns(report, by_name)),
        "latency": ("Slower than usual", _latency(report)),
        "hosts": ("Hosts not measured", _hosts(report)),
        "method": ("How it was measured", _method(report)),
    }
    links = (f"<a href='#{anchor}'>{_e(name)}</a>" for anchor, (name, _) in sections.items())
    yield f"<nav aria-label='Sections of this page'>{''.join(links)}</nav>"
    for anchor, (name, body) in sections.items():
        yield from (f"<section id={anchor}><h2>{_e(name)}</h2>", *body, "</section>")
    yield "</main></html>"


def _headline(report: AuditReport) -> Iterator[str]:
    counts = report.counts
    looked_at = counts.total() - counts[Quality.UNKNOWN]
    bad = bool(report.wrong or report.failed)
    css, sign = ("fail", "✗") if bad else ("ok", "✓") if looked_at else ("unknown", "?")
    yield f"<p class='verdict {css}'><span aria-hidden=true>{sign}</span> {_e(verdict(report))}</p>"
    yield f"<p>{_e(report.summary)}.</p>"
    missing = []
    if counts[Quality.UNKNOWN]:
        missing.append(f"{counted(counts[Quality.UNKNOWN], 'question')} without an answer")
    if report.unread:
        missing.append(f"{counted(len(report.unread), 'host')} that could not be asked")
    if missing or report.notes:
        yield f"<p><strong>Not known:</strong> {_e(' and '.join(missing) or 'what the notes name')}.</p>"
        yield from (f"<p>{_e(note)}</p>" for note in report.notes[:SHOWN_NOTES])
        if len(report.notes) > SHOWN_NOTES:
            yield f"<p><a href='#method'>and {len(report.notes) - SHOWN_NOTES:,} more notes</a></p>"
    against = (
        f"Compared with {counted(report.earlier_nights, 'earlier night')}."
        if report.earlier_nights
        else "There is no earlier night to compare with, so that everything counts as new."
    )
    yield (
        f"<p class=note>Begun {_e(moment(report.started_at))}, took"
        f" {_e(lasted(report.ended_at - report.started_at))}. {_e(against)} Run <code>{_e(report.run_id)}</code>.</p>"
    )


# What is broken, and what is gone


def _broken(report: AuditReport) -> Iterator[str]:
    wrong, expected = report.wrong, report.expected
    if not wrong:
        yield f"<p>{_e(verdict(report))}</p>"
    yield from (_finding(report, one) for one in wrong[:SHOWN_FINDINGS])
    yield from _cut(len(wrong), SHOWN_FINDINGS)
    if expected:
        yield f"<details><summary>Expected trouble: {counted(len(expected), 'finding')} (info)</summary>"
        yield from (_finding(report, one) for one in expected[:SHOWN_FINDINGS])
        yield from (*_cut(len(expected), SHOWN_FINDINGS), "</details>")


def _finding(report: AuditReport, told: Told) -> str:
    one = told.finding
    note = report.hosts[one.subject.name].note if one.subject.name in report.hosts else ""
    about = f" <span class=note>({_e(note)})</span>" if note else ""
    seen = f"; seen {_e(moment(one.evidence.seen_at))}" if one.evidence.seen_at else ""
    state = stands(told) if told.stands is not Since.NEW or report.earlier_nights else "new: no earlier night is known"
    rows = [
        ("State", f"<strong>{_e(state)}</strong>"),
        ("Observed", _marked(one.evidence.observed)),
        ("Expected", _marked(one.evidence.expected)),
    ]
    if facts := explained(report, told):
        rows.append(("Explains", _explains(facts)))
    rows += [
        ("Next step", _marked(one.next_step)),
        ("Read from", f"<span class=note>{_marked(one.evidence.source)}{seen}</span>"),
    ]
    body = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return (
        f"<article class={one.severity}><h3><span class=tag>{_e(_SEVERITIES[one.severity])}</span>:"
        f" {_e(one.subject)}{about}</h3><code class=note>{_e(one.id)}</code><dl>{body}</dl></article>"
    )


def _explains(facts: Sequence[Measured]) -> str:
    shown = "".join(
        f"<li>{_e(fact.check)}: {_e(fact.source)} → {_e(fact.target)}: {_e(fact.evidence)}</li>"
        for fact in facts[:SHOWN_PATHS]
    )
    how_many = "all" if len(facts) <= SHOWN_PATHS else f"the first {SHOWN_PATHS}"
    return (
        f"{counted(len(facts), 'measurement')}: {_e(by_check(facts))}"
        f"<details><summary>Show {how_many}</summary><ul>{shown}</ul></details>"
    )


def _gone(report: AuditReport) -> Iterator[str]:
    fixed, unknown = report.compared.fixed, report.compared.not_measured
    if not report.earlier_nights:
        yield "<p>There is no earlier night to compare with.</p>"
    elif not fixed and not unknown and not report.compared.elsewhere:
        yield "<p>Nothing was found last night that is not found tonight.</p>"
    if fixed:
        yield f"<h3 class=good>✓ Fixed: {len(fixed):,}</h3>"
        yield from _gone_table(fixed)
    if unknown:
        yield f"<h3 class=unknown>? Not measured tonight, nobody knows whether fixed: {len(unknown):,}</h3>"
        yield from _gone_table(unknown)
    if report.compared.elsewhere:
        yield f"<p>{_e(elsewhere(report))}</p>"


def _gone_table(gone: Sequence[Gone]) -> Iterator[str]:
    yield from _table(
        ("subject", "finding", "last observed"), [(str(one.subject), one.id, one.observed) for one in gone]
    )


# Matrix


def _connections(report: AuditReport, by_name: Mapping[str, Place]) -> Iterator[str]:
    sites = count(report.facts, by_name, by_site)
    if not sites:
        yield "<p>No connection between hosts was measured tonight.</p>"
        return
    yield (
        "<p class=note>Row: from; column: to. In a cell, how many connections were ok, of how many; below it, what was"
        f" not: {_qualities_key()}; -: nothing was measured. Big: the same for packets of full size, if some failed."
        " What is no host of the fleet, the API server among it, is in the cloud.</p>"
    )
    spots = _spots(sites, (by_site(place) for place in report.hosts.values()))
    yield from _matrix("Connections from site to site", sites, spots)
    if not any(place.domain for place in report.hosts.values()):
        yield "<p class=note>No domains are declared, so that none are compared.</p>"
        return
    domains = count(report.facts, by_name, by_domain)
    spots = _spots(domains, (by_domain(place) for place in report.hosts.values()))
    if len(spots) > OPEN_DOMAINS:
        yield f"<details><summary>Connections between {len(spots)} domains</summary>"
    else:
        yield "<h3>Connections between domains</h3>"
    yield from _matrix("Connections from domain to domain", domains, spots)
    if len(spots) > OPEN_DOMAINS:
        yield "</details>"


def _qualities_key() -> str:
    return ", ".join(f"<span class={q}>{_SIGNS[q]} {q}</span>" for q in (Quality.FAIL, Quality.SLOW, Quality.UNKNOWN))


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


def _matrix(title: str, cells: Mapping[tuple[Spot, Spot], Cell], spots: Sequence[Spot]) -> Iterator[str]:
    labels = _labels(spots)
    if len(spots) > MATRIX_UP_TO:
        yield from _troubled(cells, labels)
        return
    head = "".join(f"<th scope=col>{_e(labels[spot])}</th>" for spot in spots)
    body = "".join(
        f"<tr><th scope=row>{_e(labels[source])}</th>"
        + "".join(_cell(cells.get((source, target))) for target in spots)
        + "</tr>"
        for source in spots
    )
    yield (
        f"<div class='wide{' broad' if len(spots) > OPEN_DOMAINS else ''}' tabindex=0 role=region"
        f" aria-label='{_e(title)}'><table class=matrix>"
        f"<thead><tr><th class=corner>from \\ to</th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell: Cell | None) -> str:
    worst = cell.worst if cell else None
    if cell is None or worst is None:
        return "<td class=note>-</td>"
    if worst is Quality.OK:
        return f"<td>{_ratio(cell.connects)} <b class=ok>✓</b></td>"
    return f"<td class=is{worst}>{_ratio(cell.connects)}{''.join(f'<span{c}>{w}</span>' for c, w in _said(cell))}</td>"


def _said(cell: Cell) -> Iterator[tuple[str, str]]:
    """What is not ok in a cell: class, words."""
    for quality in (Quality.FAIL, Quality.UNKNOWN, Quality.SLOW):
        if cell.connects[quality]:
            yield f" class={quality}", f"{_SIGNS[quality]} {cell.connects[quality]:,} {quality}"
    if cell.big[Quality.FAIL]:
        yield " class=fail", f"✗ big {_ratio(cell.big)}"


def _ratio(qualities: Counter[Quality]) -> str:
    return f"{qualities[Quality.OK]:,}/{qualities.total():,}" if qualities.total() else "-"


def _troubled(cells: Mapping[tuple[Spot, Spot], Cell], labels: Mapping[Spot, str]) -> Iterator[str]:
    """Of many places, the directions in which not everything is ok."""
    found = sorted(
        ((way, cell) for way, cell in cells.items() if cell.not_ok), key=lambda item: (-item[1].not_ok, item[0])
    )
    yield (
        f"<p>Of {len(labels):,} places only the directions that have trouble are shown: {len(found):,} of the"
        f" {len(cells):,} that were measured.</p>"
    )
    rows = [
        (labels[source], labels[target], _ratio(cell.connects), "; ".join(words for _, words in _said(cell)))
        for (source, target), cell in found
    ]
    if rows:
        yield from _table(("from", "to", "ok/all", "not ok"), rows)


# DNS


def _dns(report: AuditReport, by_name: Mapping[str, Place]) -> Iterator[str]:
    found = stages(report.facts, by_name)
    if not found:
        yield "<p>No DNS was measured tonight.</p>"
        return
    yield (
        "<p class=note>From a host's own lookup inwards. Every stage was asked by itself, so that the times of two do"
        " not add up. Bar: up to the median; line: on to the 95th percentile; the scale is each site's own. Times are"
        " of what was answered.</p>"
    )
    if report.caches:
        yield f"<p>{_e(report.caches)}</p>"
    # stable: by name where they have trouble, then by name where they have none
    sites = sorted(found.items(), key=lambda item: not any(stage.not_ok for stage in item[1]))
    for site, of_it in sites[:SHOWN_SITES]:
        asked, not_ok = sum(s.qualities.total() for s in of_it), sum(s.not_ok for s in of_it)
        state = f"<span class=fail>✗ {not_ok:,} of {asked:,} not ok</span>" if not_ok else f"✓ {asked:,} ok"
        is_open = " open" if not_ok or len(sites) <= 4 else ""
        yield f"<details{is_open}><summary><strong>{_e(site)}</strong>: {state}</summary>"
        yield from (_stage_table(of_it), "</details>")
    if len(sites) > SHOWN_SITES:
        left = [stage for _, of_it in sites[SHOWN_SITES:] for stage in of_it]
        yield (
            f"<p class=note>{len(sites) - SHOWN_SITES:,} more sites are not shown, in which"
            f" {sum(stage.not_ok for stage in left):,} of {sum(s.qualities.total() for s in left):,} are not ok.</p>"
        )


def _stage_table(of_it: Sequence[Stage]) -> str:
    scale = max((stage.p95_ms or 0.0 for stage in of_it), default=0.0)
    rows = "".join(_stage_rows(stage, scale) for stage in of_it)
    return (
        "<table class=stages><thead><tr><th>stage<th class=n>asked<th class=n>not ok<th class=n>median"
        f"<th class=n>p95</tr></thead><tbody>{rows}</tbody></table>"
    )


def _stage_rows(stage: Stage, scale: float) -> str:
    not_ok = f"<b class=fail>✗ {stage.not_ok:,}</b>" if stage.not_ok else "0"
    row = (
        f"<tr{' class=has' if stage.troubled else ''}><td>{_e(stage.title)}{_bar(stage, scale)}"
        f"<td class=n>{stage.qualities.total():,}<td class=n>{not_ok}"
        f"<td class=n>{_ms(stage.median_ms)}<td class=n>{_ms(stage.p95_ms)}</tr>"
    )
    if not stage.troubled:
        return row
    how = ", ".join(f"{stage.qualities[q]:,} {q}" for q in Quality if q is not Quality.OK and stage.qualities[q])
    worst = sorted(stage.troubled.items(), key=lambda item: (-item[1], item[0]))
    named = "; ".join(f"{target}: {number:,}" for target, number in worst[:SHOWN_TARGETS])
    more = f"; and {len(worst) - SHOWN_TARGETS:,} more" if len(worst) > SHOWN_TARGETS else ""
    return f"{row}<tr class=sub><td colspan=5>{_e(how)}; asked for {_e(named)}{more}</tr>"


def _bar(stage: Stage, scale: float) -> str:
    if stage.median_ms is None or stage.p95_ms is None or not scale:
        return ""
    median, p95 = (max(0.5, 100 * value / scale) for value in (stage.median_ms, stage.p95_ms))
    return (
        "<svg viewBox='0 0 100 10' preserveAspectRatio=none aria-hidden=true fill=currentColor>"
        f"<rect y=2 width={median:.1f} height=6 /><rect y=4.4 width={p95:.1f} height=1.2 opacity=.6 /></svg>"
    )


# Latency, hosts, method


def _latency(report: AuditReport) -> Iterator[str]:
    slow = [fact for fact in report.facts if fact.quality is Quality.SLOW]
    if not slow:
        if report.usual:
            yield f"<p>No path left its baseline; {counted(len(report.usual), 'path')} have one.</p>"
        else:
            yield f"<p>Not known yet: a path has a baseline after {BASELINE_AT_LEAST} nights, and none has one.</p>"
        return
    usual = {fact.path: report.usual[fact.path].median_ms for fact in slow if fact.path in report.usual}

    def left_it(fact: Measured) -> tuple[float, float, tuple[str, str, str]]:
        took = fact.duration_ms or 0.0
        return -took / max(usual[fact.path], 0.1) if fact.path in usual else 0.0, -took, fact.path

    rows = []
    for fact in sorted(slow, key=left_it)[:SHOWN_SLOW]:
        median = usual.get(fact.path)
        times = f"{fact.duration_ms / median:.1f} x" if median and fact.duration_ms is not None else "-"
        before = _ms(median) if median is not None else "no baseline"
        rows.append((fact.source, fact.target, fact.check, _ms(fact.duration_ms), before, times))
    yield f"<p>{counted(len(slow), 'path')} took much longer than usual; those that changed the most come first.</p>"
    yield from _table(("from", "to", "check", "tonight", "usual", "times"), rows)
    yield from _cut(len(slow), SHOWN_SLOW)


def _hosts(report: AuditReport) -> Iterator[str]:
    if not report.unread and not report.silent:
        yield (
            f"<p>None: all {counted(len(report.hosts), 'host')} could be asked.</p>"
            if report.hosts
            else ("<p>No host was asked for.</p>")
        )
    if report.unread:
        groups: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
        for host, why in sorted(report.unread.items()):
            place = report.hosts.get(host, Place("", ""))
            groups[place.site, why, place.note].append(host)
        rows = [
            (site, f"{len(hosts):,}", _named(hosts), f"{why}{f' ({note})' if note else ''}")
            for (site, why, note), hosts in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
        ]
        yield f"<p>{len(report.unread):,} of {counted(len(report.hosts), 'host')} could not be asked tonight.</p>"
        yield from _table(("site", "how many", "hosts", "why"), rows)
    if report.silent:
        yield "<h3 class=unknown>! Silent for too many nights</h3>"
        silent = sorted(report.silent.items(), key=lambda item: (-item[1], item[0]))
        sites = {host: place.site for host, place in report.hosts.items()}
        quiet = [(host, sites.get(host, ""), f"{nights}") for host, nights in silent]
        yield from _table(("host", "site", "nights"), quiet)


def _named(hosts: Sequence[str]) -> str:
    more = f" and {len(hosts) - SHOWN_NAMES:,} more" if len(hosts) > SHOWN_NAMES else ""
    return ", ".join(hosts[:SHOWN_NAMES]) + more


def _method(report: AuditReport) -> Iterator[str]:
    if report.nights_to_cover > 1:
        cover = f"every host has connected to every other one in {report.nights_to_cover:,} nights"
    else:
        cover = "every host to every other one"
    yield f"<p>{counted(report.pairs, 'connection')} between hosts were planned for tonight: {_e(cover)}.</p>"
    checks: defaultdict[str, Counter[Quality]] = defaultdict(Counter)
    for fact in report.facts:
        checks[fact.check][fact.quality] += 1
    rows = [_counts_row(check, counts) for check, counts in sorted(checks.items())]
    if rows:
        rows = [*rows[:SHOWN_ROWS], _counts_row("all checks", report.counts)]
        yield from _table(("check", "all", *Quality), rows, limit=len(rows))
        yield from _cut(len(checks), SHOWN_ROWS)
    else:
        yield "<p>Nothing was measured.</p>"
    yield (
        "<p class=note>Slow: it passed, and took much longer than it does as a rule. Unknown: it could not be"
        " measured, and is neither a pass nor a failure.</p>"
    )
    if report.notes:
        items = "".join(f"<li>{_e(note)}</li>" for note in report.notes[:SHOWN_ROWS])
        yield f"<h3>What could not be looked at</h3><ul>{items}</ul>"
        yield from _cut(len(report.notes), SHOWN_ROWS)


def _counts_row(check: str, counts: Counter[Quality]) -> Row:
    return check, f"{counts.total():,}", *(f"{counts[quality]:,}" for quality in Quality)


# Parts


def _table(columns: Sequence[str], rows: Sequence[Row], *, limit: int = SHOWN_ROWS) -> Iterator[str]:
    """A table of the first rows, and how many more there are."""
    css = [_css(column) for column in columns]
    head = "".join(f"<th scope=col{c}>{_e(column)}</th>" for c, column in zip(css, columns, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{c}>{_e(value)}</td>' for c, value in zip(css, row, strict=True))}</tr>"
        for row in rows[:limit]
    )
    label = _e(", ".join(columns))
    yield (
        f"<div class=wide tabindex=0 role=region aria-label='{label}'><table class=full><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
    yield from _cut(len(rows), limit)


def _css(column: str) -> str:
    if column in _NUMBERS:
        return " class=n"
    return " class=t" if column in _TEXTS else " class=h" if column in ("from", "to", "subject") else ""


def _cut(there_are: int, shown: int) -> Iterator[str]:
    if there_are > shown:
        yield f"<p class=note>The first {shown:,} of {there_are:,}; {there_are - shown:,} more are not shown.</p>"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"


def _marked(text: str) -> str:
    """A sentence with its commands marked as such."""
    return "".join(f"<code>{_e(part)}</code>" if code else _e(part) for code, part in commands(text))


def _e(text: object) -> str:
    return html.escape(str(text), quote=True)
