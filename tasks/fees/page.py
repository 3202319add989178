"""The fees of a month as one page, self-contained: no script, font or picture from anywhere else.

Every text from outside is escaped. Tables are wider than a phone: each scrolls in a box of its own, and is printed
small and broken rather than cut.
"""

from __future__ import annotations

import html
import io
from collections.abc import Iterator, Sequence
from decimal import Decimal

from poolkeeper.tasks.fees.metering import Statement
from poolkeeper.tasks.fees.money import money_text, total
from poolkeeper.tasks.fees.month import Month
from poolkeeper.tasks.fees.periods import moment
from poolkeeper.tasks.fees.reconciling import Compared, Reconciliation

SHOWN_LINES = 200
"""At most so many lines of a table; the CSV has all of them."""
ALIKE = 5
"""From so many lines on that differ in nothing but the resource, they are one row."""

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;overflow-wrap:break-word}
td{overflow-wrap:normal}
h1{margin:0 0 .2rem}h2{margin:2rem 0 .5rem}h3{margin:1.2rem 0 .3rem}
.sum{font-size:1.2rem}.note{opacity:.75}.hypo{border-left:.3rem solid #b80;padding-left:.7rem}
figure{margin:0}svg{max-width:100%;height:auto}
.wide{overflow-x:auto;margin:.4rem 0}table{border-collapse:collapse;min-width:100%}
th,td{text-align:left;padding:.3rem 1rem .3rem 0;border-bottom:1px solid #8884;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.id{white-space:nowrap}td.t{min-width:18rem}td.r{max-width:26rem;min-width:15rem;overflow-wrap:anywhere}
tr.bad td{background:#b002}
@media print{body{margin:0;max-width:none;font-size:12px}.wide{overflow:visible}table{font-size:10px;width:100%}
th,td{padding-right:.5rem}td.t,td.r{min-width:0;max-width:none}
h2,h3{break-after:avoid}tr,figure{break-inside:avoid}}
"""

_NUMBERS = frozenset(["amount", "quantity", "unit price", "list price", "lines", "here", "on the bill", "difference"])
_IDS = frozenset({"line", "verdict", "month", "severity"})
"""Never broken, so that they can be copied and searched for."""
_RESOURCES = frozenset({"resource"})
_TEXTS = frozenset({"reason", "seen", "next step", "why", "because", "what it is"})

Row = Sequence[str | Decimal]


def page(month: Month) -> str:
    """The page."""
    return "\n".join(_parts(month)) + "\n"


def _parts(month: Month) -> Iterator[str]:
    s = month.statement
    title = f"Fees of {s.period.name}"
    yield (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{_e(title)}</title><style>{_STYLE}</style><h1>{_e(title)}</h1>"
    )
    yield f"<p class=sum>{_e(month.headline)}</p>"
    yield (
        f"<p class=note>By tariff {_e(s.tariff.title)} ({_e(s.tariff.region)}). Metered until"
        f" {_e(moment(s.metered_until_us).isoformat(timespec='seconds'))}. An estimate of the provider's bill, and no"
        " invoice.</p>"
    )
    if s.tariff.comparator:
        yield "<p><strong>A comparator: these are prices of another product.</strong></p>"
    yield _table(("part", "lines", "amount"), _by_rule(s))
    yield from _unpriced(s)
    if month.reconciliation:
        yield from _reconciled(month.reconciliation)
    yield from _outlook(month)
    yield from ("<h2>Trend</h2>", _trend(month))
    for label, allocation in month.allocations.items():
        groups = [(group or "(none)", amount) for group, amount in allocation.totals().items()]
        yield from (f"<h2>By {_e(label)}</h2>", _table((label, "amount"), groups))
    corrections = [(line.corrects, line.because, line.amount) for line in s.lines if line.corrects]
    if corrections:
        yield from ("<h2>Adjustments of closed months</h2>", _table(("line", "because", "amount"), corrections))
    yield from ("<h2>Lines</h2>", *_lines(s))


def _unpriced(statement: Statement) -> Iterator[str]:
    if statement.unpriced:
        rows = [(usage.rule, usage.resource_id, usage.reason) for usage in statement.unpriced]
        yield "<h2>In no total: no price</h2>"
        yield from _cut_table(("part", "resource", "why"), rows)


def _reconciled(found: Reconciliation) -> Iterator[str]:
    yield "<h2>Against the vendor's bill</h2>"
    currency = found.bill.currency
    here, there = total(one.here for one in found.compared), total(one.there for one in found.compared)
    yield (
        f"<p>{_e(found.bill.source)}: fees here {_e(currency)} {money_text(here)}, on the bill {money_text(there)}."
        f" {_e(found.summary.capitalize())}.</p>"
    )
    if found.findings:
        yield "<h3>What announces a change</h3>"
        rows = [
            (str(f.severity), f"{f.subject} ({f.id})", f"{f.evidence.observed}; {f.evidence.source}", f.next_step)
            for f in found.findings
        ]
        yield _table(("severity", "what", "seen", "next step"), rows, marked=[row[0] != "info" for row in rows])
    yield "<h3>Fees, line by line</h3>"
    yield from _compared(found)
    if found.belonging:
        yield f"<h3>Cloud resources of the cluster: {_e(currency)} {_sum(one.charged for one in found.belonging)}</h3>"
        yield from _cut_table(
            ("resource", "what it is", "billing item", "list price", "amount"),
            [(one.instance_id, one.belongs_as or "", one.item, one.gross, one.charged) for one in found.belonging],
        )
    if found.unknown:
        yield f"<h3>Nobody said whose: {_e(currency)} {_sum(one.charged for one in found.unknown)}</h3>"
        yield from _cut_table(
            ("resource", "product", "billing item", "list price", "amount"),
            [
                (one.instance_id or "no resource", one.product, one.item, one.gross, one.charged)
                for one in found.unknown
            ],
        )
    if found.others:
        yield f"<h3>Other clusters of the account: {_e(currency)} {_sum(one.charged for one in found.others)}</h3>"
        yield from _cut_table(("resource", "amount"), [(one.instance_id, one.charged) for one in found.others])
    if found.unseen:
        yield f"<p>Of the cluster and not on this bill: {_e(', '.join(found.unseen))}.</p>"
    yield from (f"<p class=note>{_e(note)}</p>" for note in found.notes)


def _compared(found: Reconciliation) -> Iterator[str]:
    """What is to be disputed first; of what many have in common and nobody has to look at, one row."""
    disputable = {id(one) for one in found.disputable}
    compared = sorted(
        found.compared, key=lambda one: (id(one) not in disputable, -abs(one.difference), one.resource_id)
    )
    alike: dict[object, list[Compared]] = {}
    for one in compared:
        key = (one.verdict, one.rule or one.item, one.reason, one.is_adjustment)
        alike.setdefault(id(one) if id(one) in disputable else key, []).append(one)
    rows: list[Row] = []
    marked = []
    for group in alike.values():
        shown = [[one] for one in group] if len(group) < ALIKE else [group]
        for of_it in shown:
            first = of_it[0]
            more = f" and {len(of_it) - 1} more" if len(of_it) > 1 else ""
            marked.append(id(first) in disputable)
            rows.append(
                (
                    f"{'DISPUTE: ' if marked[-1] else ''}{first.verdict}",
                    (first.resource_id or "no resource") + more,
                    (first.rule or first.item) + (" (correction)" if first.is_adjustment else ""),
                    total(one.here for one in of_it),
                    total(one.there for one in of_it),
                    total(one.difference for one in of_it),
                    first.reason,
                )
            )
    columns = ("verdict", "resource", "part", "here", "on the bill", "difference", "reason")
    yield from _cut_table(columns, rows, marked)


def _outlook(month: Month) -> Iterator[str]:
    if not month.outlook:
        return
    s = month.statement
    yield "<h2>Outlook</h2>"
    for one in month.outlook:
        end = one.end
        amount = f"{_e(s.tariff.currency)} {money_text(end.total)}"
        if end.low != end.high:
            amount += f", from {money_text(end.low)} to {money_text(end.high)}"
        if one.price:
            verb = "would have come" if s.is_whole else "would come"
            yield (
                "<p class=hypo><strong>Hypothetical, nobody has published this price:</strong>"
                f" {_e(end.tariff.rules[0].title)} of {_e(s.tariff.currency)} {_e(one.price)} {verb} to {amount},"
                " beside the total.</p>"
            )
        elif not s.is_whole:
            yield f"<p>When the month is over it will come to some {amount}.</p>"
        if end.unpriced:
            yield f"<p class=note>{len(end.unpriced)} usages without a price are in no total.</p>"
        if one.changes:
            label = "The planned change, at the hypothetical price" if one.price else "The planned change"
            rows = [(cost.period.name, cost.amount, cost.after) for cost in one.changes]
            yield from (f"<p>{label}:</p>", _table(("month", "difference", "amount"), rows))


def _by_rule(statement: Statement) -> list[Row]:
    rows: list[Row] = []
    for rule in statement.tariff.rules:
        lines = [line for line in statement.lines if line.rule == rule.name]
        reasons = sorted({line.waiver for line in lines if line.waiver})
        what = f"{rule.title} ({'; '.join(reasons)})" if reasons else rule.title
        rows.append((what, f"{len(lines)}", total(line.amount for line in lines)))
    return rows


def _lines(statement: Statement) -> Iterator[str]:
    lines = sorted(statement.lines, key=lambda line: (-abs(line.amount), line.resource_id, line.id))
    rows = [
        (
            line.id,
            line.resource_id,
            line.rule,
            line.unit.amount_of(line.quantity),
            "waived" if line.waiver else line.unit_price,
            line.amount,
        )
        for line in lines
    ]
    yield from _cut_table(("line", "resource", "part", "quantity", "unit price", "amount"), rows)
    yield "<p class=note>Any line in words: <code>poolkeeper bill explain LINE</code></p>"


def _cut_table(columns: Sequence[str], rows: Sequence[Row], marked: Sequence[bool] = ()) -> Iterator[str]:
    """A table of the first rows, and how many more there are."""
    yield _table(columns, rows[:SHOWN_LINES], marked)
    if len(rows) > SHOWN_LINES:
        yield f"<p class=note>The first {SHOWN_LINES} of {len(rows)}; the CSV has all.</p>"


def _table(columns: Sequence[str], rows: Sequence[Row], marked: Sequence[bool] = ()) -> str:
    """marked: the rows that need a person"""
    css = [_css(column) for column in columns]
    head = "".join(f"<th{c}>{_e(column)}</th>" for c, column in zip(css, columns, strict=True))
    body = "".join(
        ("<tr class=bad>" if number < len(marked) and marked[number] else "<tr>")
        + "".join(f"<td{c}>{_e(_cell(value))}</td>" for c, value in zip(css, row, strict=True))
        + "</tr>"
        for number, row in enumerate(rows)
    )
    return f"<div class=wide tabindex=0><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _css(column: str) -> str:
    for names, css in ((_NUMBERS, "n"), (_IDS, "id"), (_RESOURCES, "r"), (_TEXTS, "t")):
        if column in names:
            return f" class={css}"
    return ""


def _cell(value: str | Decimal) -> str:
    return money_text(value) if isinstance(value, Decimal) else value


def _sum(amounts: Iterator[Decimal]) -> str:
    return money_text(total(amounts))


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
