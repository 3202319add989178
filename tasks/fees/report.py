"""The fees of a month as one page, self-contained: no script, font or picture from anywhere else.

`Month` is what the page, the files and the artifacts are made of; `month_of` puts it together, the rest only shows it.
"""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tasks.fees.allocation import Allocation, ShareKey, allocate
from tasks.fees.closed import ClosedPeriods
from tasks.fees.closing import statement_of
from tasks.fees.evidence import Evidence
from tasks.fees.focus import COLUMNS, focus_rows
from tasks.fees.metering import Statement
from tasks.fees.money import money_text
from tasks.fees.outlook import month_end
from tasks.fees.periods import Period, moment
from tasks.fees.tariff import Tariff

BY = ("site", "pool", "team")
"""Labels that the page splits by."""
TREND_MONTHS = 12
SHOWN_LINES = 200
"""At most so many lines on the page; the CSV has all of them."""


@dataclass(frozen=True, slots=True)
class Month:
    """A month's fees, whole: what is charged and why, for whom, since when, and how it will end."""

    statement: Statement
    is_closed: bool
    allocations: Mapping[str, Allocation]
    """Per label of `BY` that any resource carries."""
    trend: Sequence[tuple[str, Decimal]]
    """Closed months and this one: name and total."""
    outlook: Statement | None
    """The month as it will be when it is over; None when it is."""

    @property
    def summary(self) -> str:
        """One line for a person."""
        s = self.statement
        kind = "closed" if self.is_closed else "open" if s.is_whole else "still running"
        waived = sum(1 for line in s.lines if line.waiver)
        parts = [f"{s.period.name} ({kind}): {s.tariff.currency} {money_text(s.total)}"]
        if s.low != s.high:
            parts.append(f"between {money_text(s.low)} and {money_text(s.high)}")
        parts.append(f"{len(s.lines)} lines, {waived} of them waived")
        parts.append(f"evidence for {float(s.coverage):.1%}")
        return ", ".join(parts)


def month_of(
    evidence: Evidence, tariff: Tariff, period: Period, now_us: int, closed: ClosedPeriods, key: ShareKey
) -> Month:
    """Meter a month, or read it as it was closed. Raises ClosedDamaged."""
    statement, is_closed = statement_of(evidence, tariff, period, now_us, closed)
    labels = [label for label in BY if any(line.labels.get(label) for line in statement.lines)]
    kept = [closed.read(earlier) for earlier in closed.periods() if earlier < period][-TREND_MONTHS + 1 :]
    trend = [(month.period.name, month.total) for month in kept if month is not None]
    return Month(
        statement,
        is_closed,
        {label: allocate(statement, evidence, label, key) for label in labels},
        [*trend, (period.name, statement.total)],
        None if statement.is_whole else month_end(evidence, tariff, period),
    )


def write(month: Month, folder: Path) -> list[str]:
    """The page, every line as CSV, and the FOCUS export; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"fees-{month.statement.period.name}"
    files = {
        f"{name}.html": page(month),
        f"{name}.csv": _csv(LINE_COLUMNS, line_rows(month.statement)),
        f"{name}-focus.csv": _csv(COLUMNS, focus_rows(month.statement)),
    }
    for file, text in files.items():
        partial = folder / f".{file}.part"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / file)
    return [str(folder / file) for file in files]


LINE_COLUMNS = (
    "id",
    "resource_id",
    "rule",
    "quantity",
    "unit",
    "unit_price",
    "list_price",
    "amount",
    "low",
    "high",
    "from",
    "to",
    "waiver",
    "gaps",
    "labels",
    "corrects",
    "because",
)


def line_rows(statement: Statement) -> list[dict[str, Any]]:
    """Every line, dearest first, as flat rows of text and numbers."""
    lines = sorted(statement.lines, key=lambda line: (-abs(line.amount), line.resource_id, line.id))
    rows = [line.row() for line in lines]
    return [{**row, "gaps": "; ".join(row["gaps"]), "labels": json.dumps(row["labels"])} for row in rows]


def _csv(columns: Sequence[str], rows: Any) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: _no_formula(value) for column, value in row.items()} for row in rows)
    return text.getvalue()


def _no_formula(value: Any) -> Any:
    """Labels come from hosts and people: a spreadsheet must not take one for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "@", "\t") else value


_STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{margin-bottom:.2rem}h2{margin-top:2rem}.sum{font-size:1.3rem}.note{opacity:.75}
figure{margin:0}svg{max-width:100%;height:auto}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .8rem .3rem 0;
border-bottom:1px solid #8884;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
@media print{body{margin:0;max-width:none}h2{break-after:avoid}tr{break-inside:avoid}}
"""


def page(month: Month) -> str:
    """The page. Every text from outside is escaped."""
    s = month.statement
    title = f"Fees of {s.period.name}"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{_e(title)}</title><style>{_STYLE}</style><h1>{_e(title)}</h1>",
        f"<p class=sum>{_e(month.summary)}</p>",
        f"<p class=note>By tariff {_e(s.tariff.title)} ({_e(s.tariff.region)}). Metered until"
        f" {_e(moment(s.metered_until_us).isoformat())}. An estimate of the provider's bill, and no invoice.</p>",
    ]
    if s.tariff.comparator:
        parts.append("<p><strong>A comparator: these are prices of another product.</strong></p>")
    parts += [_outlook(month), _unpriced(s), "<h2>Trend</h2>", _trend(month)]
    for label, allocation in month.allocations.items():
        rows = [(group or "(none)", amount) for group, amount in allocation.totals().items()]
        parts += [f"<h2>By {_e(label)}</h2>", _table((label, "amount"), rows)]
    corrections = [line for line in s.lines if line.corrects]
    if corrections:
        corrected = [(line.corrects, line.because, line.amount) for line in corrections]
        parts += ["<h2>Adjustments of closed months</h2>", _table(("corrects", "because", "amount"), corrected)]
    parts += ["<h2>By part</h2>", _table(("part", "lines", "amount"), _by_rule(s)), "<h2>Lines</h2>", _lines(s)]
    return "\n".join(part for part in parts if part) + "\n"


def _outlook(month: Month) -> str:
    if month.outlook is None:
        return ""
    end, currency = month.outlook, month.statement.tariff.currency
    return (
        f"<p>When the month is over it will come to some {_e(currency)} {money_text(end.total)}, from"
        f" {money_text(end.low)} to {money_text(end.high)}.</p>"
    )


def _unpriced(statement: Statement) -> str:
    if not statement.unpriced:
        return ""
    rows = [(usage.rule, usage.resource_id, usage.reason) for usage in statement.unpriced]
    return "<h2>In no total: no price</h2>" + _table(("part", "resource", "why"), rows)


def _by_rule(statement: Statement) -> list[tuple[str, str, Decimal]]:
    rows = []
    for rule in statement.tariff.rules:
        lines = [line for line in statement.lines if line.rule == rule.name]
        reasons = sorted({line.waiver for line in lines if line.waiver})
        what = f"{rule.title} ({'; '.join(reasons)})" if reasons else rule.title
        rows.append((what, f"{len(lines)}", sum((line.amount for line in lines), Decimal(0))))
    return rows


def _lines(statement: Statement) -> str:
    rows = line_rows(statement)
    keys = ("id", "resource_id", "rule", "quantity", "unit", "unit_price", "amount")
    shown = [
        tuple("waived" if key == "unit_price" and row["waiver"] else str(row[key]) for key in keys)
        for row in rows[:SHOWN_LINES]
    ]
    cut = f"<p class=note>The first {SHOWN_LINES} of {len(rows)}; the CSV has all.</p>"
    more = cut if len(rows) > SHOWN_LINES else ""
    return _table(keys, shown) + more + "<p class=note>Any line in words: <code>poolkeeper bill explain ID</code></p>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str | Decimal]]) -> str:
    numbers = {"amount", "quantity", "unit_price", "lines"}
    css = [" class=n" if column in numbers else "" for column in columns]
    head = "".join(f"<th{c}>{_e(column.replace('_', ' '))}</th>" for c, column in zip(css, columns, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{c}>{_e(_cell(value))}</td>" for c, value in zip(css, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(value: str | Decimal) -> str:
    return money_text(value) if isinstance(value, Decimal) else value


def _trend(month: Month) -> str:
    """Totals of the last months as an inline SVG."""
    import matplotlib  # a second to import: only whoever makes a page pays

    matplotlib.use("svg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.add_subplot()
    names, totals = [name for name, _ in month.trend], [float(total) for _, total in month.trend]
    bars = axes.bar(names, totals, color="#4477aa", width=0.6)
    axes.bar_label(bars, [money_text(total) for _, total in month.trend], color="#888888")
    axes.set_xlim(-0.6, max(len(names), 6) - 0.4)
    axes.set_ylabel(month.statement.tariff.currency, color="#888888")
    axes.tick_params(colors="#888888")
    for side in axes.spines.values():
        side.set_visible(False)
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return f"<figure role=img aria-label='Totals of the last months'>{svg[svg.index('<svg') :]}</figure>"


def _e(text: str) -> str:
    return html.escape(str(text), quote=True)
