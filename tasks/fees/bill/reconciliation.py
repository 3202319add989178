"""What a month should cost against what the vendor's bill says, line by line, with the likely reason for a difference.

Both sides are put together by resource and fee: the bill has one row a billing item where the meter may have several
lines, cut where a price changes. Corrections of other months stand apart on both sides. Compared is what is charged;
the bill's own list amount and deductions tell whether usage, price or an agreement of the account makes the difference.
Whatever else is on the bill is a cloud resource: it is shown with the bill's price, and belongs to the cluster only
where its provider or a person says so by its id. An account may have other clusters: their fees stand apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from poolkeeper.tasks.fees.bill.bill_findings import bill_findings
from poolkeeper.tasks.fees.bill.difference_reasons import Around, Sides, likely_reason
from poolkeeper.tasks.fees.bill.vendor_bill import Bill, BillRow
from poolkeeper.tasks.fees.metering.fee_lines import FeeLine
from poolkeeper.tasks.fees.metering.meter import Statement
from poolkeeper.tasks.fees.money import money_text, total
from poolkeeper.tasks.fees.periods import Period
from poolkeeper.tasks.fees.tariff.model import Rule, Tariff
from poolkeeper.tasks.outcomes import Finding, Invalid, Severity


class NotReconcilable(Invalid):
    """A statement that no bill can be compared with; the message says why and what to do."""


class Verdict(StrEnum):
    """How the two sides of one line stand to each other."""

    AGREES = "agrees"
    DIFFERS = "differs"
    MISSING_HERE = "missing here"
    """The bill has it, the statement does not."""
    MISSING_THERE = "missing there"
    """The statement has it, the bill does not."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One fee of one resource, on both sides."""

    resource_id: str
    instance_id: str
    """What the bill calls the resource."""
    rule: str
    """Empty for a billing item that no rule of the tariff names."""
    item: str
    """The bill's word for it; empty where neither the tariff nor a row tells one."""
    is_adjustment: bool
    """Whether it corrects other months."""
    here: Decimal
    there: Decimal
    verdict: Verdict
    reason: str
    """The likely reason, as a sentence; empty where both agree."""
    is_explained: bool
    """Whether the reason accounts for all of the difference, so that there is nothing to dispute."""
    lines: tuple[FeeLine, ...]
    rows: tuple[BillRow, ...]

    @property
    def difference(self) -> Decimal:
        """What the bill has more; below zero, less."""
        return total((self.there, self.here.copy_negate()))

    def row(self) -> dict[str, Any]:
        """For scripts: money as text."""
        return {
            "resource_id": self.resource_id,
            "instance_id": self.instance_id,
            "rule": self.rule,
            "item": self.item,
            "adjustment": self.is_adjustment,
            "verdict": self.verdict.value,
            "here": money_text(self.here),
            "there": money_text(self.there),
            "difference": money_text(self.difference),
            "explained": self.is_explained,
            "reason": self.reason,
            "lines": [line.id for line in self.lines],
            "bill_lines": [row.line for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class CloudResource:
    """Something else on the bill. Its price is the bill's: there is no other source for it here."""

    instance_id: str
    product: str
    item: str
    belongs_as: str | None
    """What someone said it is to the cluster; None where nobody did."""
    gross: Decimal
    charged: Decimal
    rows: tuple[BillRow, ...]

    def row(self) -> dict[str, Any]:
        """For scripts: money as text."""
        return {
            "instance_id": self.instance_id,
            "product": self.product,
            "item": self.item,
            "belongs_as": self.belongs_as,
            "gross": money_text(self.gross),
            "amount": money_text(self.charged),
            "bill_lines": [row.line for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class OtherCluster:
    """Another cluster that the same account pays for: on the bill, and compared with nothing."""

    instance_id: str
    charged: Decimal
    rows: tuple[BillRow, ...]

    def row(self) -> dict[str, Any]:
        """For scripts: money as text."""
        return {
            "instance_id": self.instance_id,
            "items": sorted({row.item for row in self.rows}),
            "amount": money_text(self.charged),
            "bill_lines": [row.line for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One month, compared."""

    statement: Statement
    bill: Bill
    compared: tuple[Compared, ...]
    resources: tuple[CloudResource, ...]
    others: tuple[OtherCluster, ...]
    """Clusters of the account that are not ours."""
    findings: tuple[Finding, ...]
    unseen: tuple[str, ...]
    """Ids that were declared and that the bill does not have."""
    notes: tuple[str, ...]
    """What could not be judged, as sentences."""

    @property
    def disputable(self) -> tuple[Compared, ...]:
        """The lines whose difference has no sufficient reason."""
        return tuple(one for one in self.compared if one.difference and not one.is_explained)

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """How many lines have each verdict."""
        return {verdict: sum(one.verdict is verdict for one in self.compared) for verdict in Verdict}

    @property
    def summary(self) -> str:
        """One line for a person."""
        told = [f"{count} {verdict}" for verdict, count in self.counts.items() if count]
        words = f"against the bill {', '.join(told) or 'no fee on either side'}"
        return f"{words}, {len(self.disputable)} to dispute" if self.disputable else words

    @property
    def belonging(self) -> tuple[CloudResource, ...]:
        """The cloud resources that belong to the cluster."""
        return tuple(one for one in self.resources if one.belongs_as is not None)

    @property
    def unknown(self) -> tuple[CloudResource, ...]:
        """Those of which nobody said so."""
        return tuple(one for one in self.resources if one.belongs_as is None)

    @property
    def needs_a_person(self) -> bool:
        """Whether there is something to dispute, or something about to change."""
        return bool(self.disputable) or any(finding.severity is not Severity.INFO for finding in self.findings)

    def row(self) -> dict[str, Any]:
        """The answer of `poolkeeper bill reconcile --json`."""
        return {
            "period": self.statement.period.name,
            "tariff": self.statement.tariff.name,
            "currency": self.bill.currency,
            "bill": self.bill.source,
            "fees": {
                "here": money_text(total(one.here for one in self.compared)),
                "there": money_text(total(one.there for one in self.compared)),
                "difference": money_text(total(one.difference for one in self.compared)),
                "disputable": len(self.disputable),
                **{verdict.value: count for verdict, count in self.counts.items()},
            },
            "resources": {
                "of_the_cluster": money_text(total(one.charged for one in self.belonging)),
                "unknown": money_text(total(one.charged for one in self.unknown)),
                "declared_and_not_on_the_bill": list(self.unseen),
            },
            "bill_total": money_text(self.bill.charged),
            "lines": [one.row() for one in self.compared],
            "cloud_resources": [one.row() for one in self.resources],
            "other_clusters": [one.row() for one in self.others],
            "findings": [finding.row() for finding in self.findings],
            "notes": list(self.notes),
        }


def reconcile(
    statement: Statement,
    bill: Bill,
    *,
    read_at: datetime,
    names: Mapping[str, str] | None = None,
    belonging: Mapping[str, str] | None = None,
    clusters: frozenset[str] | None = None,
    before: Bill | None = None,
    unasked: Iterable[str] = (),
) -> Reconciliation:
    """Compare a month with its bill.

    read_at: when the bill was read; until noon of the third day after the month it is not final
    names: what the bill calls a resource -> what the evidence calls it, where they differ (`c-7f3a` -> `main`)
    belonging: instance id -> what it is to the cluster, such as `load balancer of the API server`
    clusters: ids of all clusters that are ours, metered or not; None: nobody said
    before: an earlier month's bill, to know which billing items are new
    unasked: what could not be learnt about `belonging`, as sentences
    Raises NotReconcilable.
    """
    _check(statement, bill)
    names, belonging = names or {}, belonging or {}
    fees = _FeeRows(statement, bill, names, clusters)
    here: dict[tuple[str, str, bool], list[FeeLine]] = defaultdict(list)
    for line in statement.lines:
        here[line.resource_id, line.rule, bool(line.corrects)].append(line)
    there: dict[tuple[str, str, bool], list[BillRow]] = defaultdict(list)
    # of an item that no rule names, each has its own line
    strange: dict[tuple[str, str, bool], list[BillRow]] = defaultdict(list)
    for row in fees.rows:
        rule = fees.rule_of(row)
        resource = fees.resource_of(row)
        if rule is None:
            strange[resource, row.item, row.adjusts].append(row)
        else:
            there[resource, rule.name, row.adjusts].append(row)
    rules = {rule.name: rule for rule in statement.tariff.rules}
    around = Around.of(statement, bill, read_at, map(fees.resource_of, bill.rows))
    compared = [
        _compared(around, key, rules.get(key[1]), here.get(key, ()), there.get(key, ()))
        for key in sorted({*here, *there})
    ]
    compared += [_compared(around, key, None, (), strange[key]) for key in sorted(strange)]
    resources = _resources(fees.resources, belonging)
    seen = {row.instance_id for row in bill.rows}
    return Reconciliation(
        statement,
        bill,
        tuple(compared),
        resources,
        tuple(_others(fees.of_others)),
        # a fee that begins for another cluster of the account will begin for this one
        bill_findings(statement, bill, (*fees.rows, *fees.of_others), belonging, before),
        tuple(sorted(id_ for id_ in belonging if id_ not in seen)),
        (*unasked, *_notes(statement, bill, before)),
    )


def check_asked(tariff: Tariff, period: Period) -> None:
    """Refuse what no bill can be compared with, before one is asked for. Raises NotReconcilable."""
    if tariff.comparator:
        raise NotReconcilable(
            f"tariff {tariff.name} is a comparator: nobody is billed by it. Reconcile by the tariff of your cluster."
        )
    if not period.is_month:
        raise NotReconcilable(f"{period.name} is no month, and bills are made by the month. Name one, like 2026-10.")


def _check(statement: Statement, bill: Bill) -> None:
    tariff = statement.tariff
    check_asked(tariff, statement.period)
    if bill.period != statement.period:
        raise NotReconcilable(
            f"the bill is of {bill.period.name} and the statement of {statement.period.name}. Name one month for both."
        )
    if bill.currency != tariff.currency:
        raise NotReconcilable(
            f"the bill is in {bill.currency} and tariff {tariff.name} in {tariff.currency}."
            " Take the bill of the account that pays, or the tariff in its currency."
        )


class _FeeRows:
    """Which rows of a bill are fees: by the item's name, the resource's id, or the product that a fee belongs to."""

    def __init__(
        self, statement: Statement, bill: Bill, names: Mapping[str, str], clusters: frozenset[str] | None
    ) -> None:
        self._names = names
        self._rules: dict[str, Rule] = {}
        for rule in statement.tariff.rules:
            if rule.bill_item:
                self._rules[rule.bill_item.casefold()] = rule
        metered = {line.resource_id for line in statement.lines} | {one.resource_id for one in statement.unpriced}
        # a fee that is new, or whose waiver ends, may come under any id; its product is that of the fees known
        products = {row.product_code for row in bill.rows if row.product_code and self.rule_of(row)}
        strangers = self._strangers(statement, bill, metered, clusters)
        fees: list[BillRow] = []
        resources: list[BillRow] = []
        of_others: list[BillRow] = []
        for row in bill.rows:
            if self.resource_of(row) in strangers:
                of_others.append(row)
            elif self.rule_of(row) or self.resource_of(row) in metered or row.product_code in products:
                fees.append(row)
            else:
                resources.append(row)
        self.rows: tuple[BillRow, ...] = tuple(fees)
        self.resources: tuple[BillRow, ...] = tuple(resources)
        self.of_others: tuple[BillRow, ...] = tuple(of_others)

    def _strangers(
        self, statement: Statement, bill: Bill, metered: set[str], clusters: frozenset[str] | None
    ) -> set[str]:
        """Clusters on the bill that are not ours. Where nobody said which are, only once all of the evidence's own
        are found on the bill: until then it may be one of them by another name."""
        rows = [row for row in bill.rows if row.instance_id and (rule := self.rule_of(row)) and _is_of_clusters(rule)]
        billed = {self.resource_of(row) for row in rows}
        if clusters is not None:
            return billed - metered - {self._names.get(id_, id_) for id_ in clusters}
        ours = {line.resource_id for line in statement.lines if line.kind == "cluster" and not line.corrects}
        return billed - metered if ours and ours <= billed else set()

    def rule_of(self, row: BillRow) -> Rule | None:
        """The rule whose bill item it is, by the item's name or code."""
        return self._rules.get(row.item.casefold()) or self._rules.get(row.item_code.casefold())

    def resource_of(self, row: BillRow) -> str:
        """The resource as the evidence calls it."""
        return self._names.get(row.instance_id, row.instance_id)


def _is_of_clusters(rule: Rule) -> bool:
    return rule.unit.kind == "cluster"


def _compared(
    around: Around,
    key: tuple[str, str, bool],
    rule: Rule | None,
    lines: Sequence[FeeLine],
    rows: Sequence[BillRow],
) -> Compared:
    resource_id, name, is_adjustment = key
    here, there = total(line.amount for line in lines), total(row.charged for row in rows)
    if not lines:
        verdict = Verdict.MISSING_HERE
    elif not rows:
        verdict = Verdict.MISSING_THERE
    else:
        verdict = Verdict.AGREES if here == there else Verdict.DIFFERS
    reason, is_explained = "", True
    if verdict is not Verdict.AGREES:
        sides = Sides(around, rule, resource_id, is_adjustment, tuple(lines), tuple(rows))
        reason, is_explained = likely_reason(sides)
    return Compared(
        resource_id=resource_id,
        instance_id=rows[0].instance_id if rows else "",
        rule=rule.name if rule else name if lines else "",
        item=rows[0].item if rows else rule.bill_item if rule else "",
        is_adjustment=is_adjustment,
        here=here,
        there=there,
        verdict=verdict,
        reason=reason,
        is_explained=is_explained,
        lines=tuple(lines),
        rows=tuple(rows),
    )


def _resources(rows: Iterable[BillRow], belonging: Mapping[str, str]) -> tuple[CloudResource, ...]:
    """Everything on the bill that is no fee: of the cluster first, then what is unknown, dearest first."""
    grouped: dict[tuple[str, str, str], list[BillRow]] = defaultdict(list)
    for row in rows:
        grouped[row.instance_id, row.product_name or row.product_code, row.item].append(row)
    found = [
        CloudResource(
            instance_id=instance_id,
            product=product,
            item=item,
            belongs_as=belonging.get(instance_id),
            gross=total(row.gross for row in of_it),
            charged=total(row.charged for row in of_it),
            rows=tuple(of_it),
        )
        for (instance_id, product, item), of_it in grouped.items()
    ]
    return tuple(sorted(found, key=lambda one: (one.belongs_as is None, -one.charged, one.instance_id, one.item)))


def _others(rows: Iterable[BillRow]) -> Iterable[OtherCluster]:
    """Other clusters, dearest first."""
    by_id: dict[str, list[BillRow]] = defaultdict(list)
    for row in rows:
        by_id[row.instance_id].append(row)
    found = [OtherCluster(id_, total(row.charged for row in of_it), tuple(of_it)) for id_, of_it in by_id.items()]
    return sorted(found, key=lambda one: (-one.charged, one.instance_id))


def _notes(statement: Statement, bill: Bill, before: Bill | None) -> Iterable[str]:
    if bill.untold:
        yield f"The bill does not tell {', '.join(bill.untold)}: differences are seen, and less of them explained."
    if before is None:
        yield "Without the bill of an earlier month it is not known which cloud resources have a new billing item."
    if not statement.is_whole:
        yield "The month is not over: both sides still grow."
    if statement.unpriced:
        yield f"{len(statement.unpriced)} usages have no price here and are compared with nothing."
    if not bill.rows:
        yield "The bill has no rows: it is of another account, or not made yet."
