"""Compares a month with the vendor's bill, line by line, with the likely reason for each difference.

Both sides are grouped by resource and fee: the bill has one row for each billing item, where the meter may have several
lines, cut where a price changes. Corrections of other months are compared apart. The compared amount is the charge; the
list amount and the deductions on the bill show whether usage, price or a discount makes the difference.

All other rows of the bill are cloud resources, shown with their charge. Invariant: a cloud resource belongs to the
cluster only when its provider or a person gives its id. Fees of other clusters of the account are shown apart.
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
from poolkeeper.tasks.fees.bill.difference_reasons import BillContext, Sides, likely_reason
from poolkeeper.tasks.fees.bill.vendor_bill import Bill, BillRow
from poolkeeper.tasks.fees.metering.fee_lines import FeeLine
from poolkeeper.tasks.fees.metering.statement import Statement
from poolkeeper.tasks.fees.money import money_text, total
from poolkeeper.tasks.fees.periods import Period
from poolkeeper.tasks.fees.tariff.tariff_model import Rule, Tariff
from poolkeeper.tasks.fleet.problems import counted
from poolkeeper.tasks.outcomes import Finding, Invalid, Severity


class NotComparable(Invalid):
    """A statement that cannot be compared with the bill."""

    id = "fees.bill.not-comparable"
    expected = "the statement and the bill of the same month in the same currency"


class FeeVerdict(StrEnum):
    """The result of comparing one fee of one resource."""

    AGREES = "agrees"
    DIFFERS = "differs"
    NOT_METERED = "not metered"
    """Only the bill has it."""
    NOT_BILLED = "not billed"
    """Only the statement has it."""


@dataclass(frozen=True, slots=True)
class ComparedFee:
    """One fee of one resource, in the statement and on the bill."""

    resource_id: str
    instance_id: str
    """The id of the resource on the bill."""
    rule: str
    """Empty for a billing item without a rule in the tariff."""
    item: str
    """The billing item; empty when neither the tariff nor a row has one."""
    is_adjustment: bool
    """Whether it corrects other months."""
    metered: Decimal
    """The amount of the statement."""
    billed: Decimal
    """The amount of the bill."""
    verdict: FeeVerdict
    reason: str
    """The likely reason for a difference, as a sentence; empty where both agree."""
    is_explained: bool
    """Whether the reason explains the whole difference; then there is nothing to dispute."""
    lines: tuple[FeeLine, ...]
    rows: tuple[BillRow, ...]

    @property
    def difference(self) -> Decimal:
        """Billed minus metered."""
        return total((self.billed, self.metered.copy_negate()))

    def row(self) -> dict[str, Any]:
        """For scripts: money as text."""
        return {
            "resource_id": self.resource_id,
            "instance_id": self.instance_id,
            "rule": self.rule,
            "item": self.item,
            "adjustment": self.is_adjustment,
            "verdict": self.verdict.value,
            "metered": money_text(self.metered),
            "billed": money_text(self.billed),
            "difference": money_text(self.difference),
            "explained": self.is_explained,
            "reason": self.reason,
            "lines": [line.id for line in self.lines],
            "bill_lines": [row.line for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class BilledResource:
    """A cloud resource on the bill. Its price is known from the bill only."""

    instance_id: str
    product: str
    item: str
    belongs_as: str | None
    """What it is for the cluster, as its provider or a person declared; None when it is not declared."""
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
    """Another cluster on the bill, which the same account pays for. It is not compared."""

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
    """The result of comparing one month with its bill."""

    statement: Statement
    bill: Bill
    compared: tuple[ComparedFee, ...]
    resources: tuple[BilledResource, ...]
    other_clusters: tuple[OtherCluster, ...]
    """Clusters of the account that are not in the fleet."""
    findings: tuple[Finding, ...]
    not_on_bill: tuple[str, ...]
    """Declared ids that the bill does not have."""
    notes: tuple[str, ...]
    """What could not be compared, as sentences."""

    @property
    def disputable(self) -> tuple[ComparedFee, ...]:
        """The fees with a difference that no reason explains."""
        return tuple(one for one in self.compared if one.difference and not one.is_explained)

    @property
    def counts(self) -> Mapping[FeeVerdict, int]:
        """Verdict -> number of fees."""
        return {verdict: sum(one.verdict is verdict for one in self.compared) for verdict in FeeVerdict}

    @property
    def summary(self) -> str:
        """One line for a person."""
        counts = [f"{count} {verdict}" for verdict, count in self.counts.items() if count]
        text = f"compared with the bill: {', '.join(counts) or 'no fee on either side'}"
        return f"{text}, {len(self.disputable)} to dispute" if self.disputable else text

    @property
    def cluster_resources(self) -> tuple[BilledResource, ...]:
        """The cloud resources that belong to the cluster."""
        return tuple(one for one in self.resources if one.belongs_as is not None)

    @property
    def unknown(self) -> tuple[BilledResource, ...]:
        """The cloud resources without a declaration."""
        return tuple(one for one in self.resources if one.belongs_as is None)

    @property
    def needs_a_person(self) -> bool:
        """Whether there is a fee to dispute, or a finding of a change."""
        return bool(self.disputable) or any(finding.severity is not Severity.INFO for finding in self.findings)

    def row(self) -> dict[str, Any]:
        """The output of `poolkeeper bill reconcile --json`."""
        return {
            "period": self.statement.period.name,
            "tariff": self.statement.tariff.name,
            "currency": self.bill.currency,
            "bill": self.bill.source,
            "fees": {
                "metered": money_text(total(one.metered for one in self.compared)),
                "billed": money_text(total(one.billed for one in self.compared)),
                "difference": money_text(total(one.difference for one in self.compared)),
                "disputable": len(self.disputable),
                **{verdict.value: count for verdict, count in self.counts.items()},
            },
            "resources": {
                "of_the_cluster": money_text(total(one.charged for one in self.cluster_resources)),
                "unknown": money_text(total(one.charged for one in self.unknown)),
                "declared_and_not_on_the_bill": list(self.not_on_bill),
            },
            "bill_total": money_text(self.bill.charged),
            "lines": [one.row() for one in self.compared],
            "cloud_resources": [one.row() for one in self.resources],
            "other_clusters": [one.row() for one in self.other_clusters],
            "findings": [finding.row() for finding in self.findings],
            "notes": list(self.notes),
        }


def reconcile(
    statement: Statement,
    bill: Bill,
    *,
    read_at: datetime,
    names: Mapping[str, str] | None = None,
    cluster_resources: Mapping[str, str] | None = None,
    clusters: frozenset[str] | None = None,
    before: Bill | None = None,
    provider_notes: Iterable[str] = (),
) -> Reconciliation:
    """Compare a month with its bill.

    read_at: when the bill was read; until noon of the third day after the month it is not final
    names: id on the bill -> id in the evidence, where they differ (`c-7f3a` -> `main`)
    cluster_resources: instance id -> what it is for the cluster, such as `load balancer of the API server`
    clusters: ids of all clusters of the fleet, metered or not; None: not known
    before: the bill of an earlier month, which shows which billing items are new
    provider_notes: what the providers could not answer about `cluster_resources`, as sentences
    Raises NotComparable.
    """
    _check(statement, bill)
    names, cluster_resources = names or {}, cluster_resources or {}
    fees = _FeeRows(statement, bill, names, clusters)
    lines: dict[tuple[str, str, bool], list[FeeLine]] = defaultdict(list)
    for line in statement.lines:
        lines[line.resource_id, line.rule, bool(line.corrects)].append(line)
    rows: dict[tuple[str, str, bool], list[BillRow]] = defaultdict(list)
    # each billing item without a rule is compared on its own
    unnamed: dict[tuple[str, str, bool], list[BillRow]] = defaultdict(list)
    for row in fees.rows:
        rule = fees.rule_of(row)
        resource = fees.resource_of(row)
        if rule is None:
            unnamed[resource, row.item, row.adjusts].append(row)
        else:
            rows[resource, rule.name, row.adjusts].append(row)
    rules = {rule.name: rule for rule in statement.tariff.rules}
    context = BillContext.of(statement, bill, read_at, map(fees.resource_of, bill.rows))
    compared = [
        _compared(context, key, rules.get(key[1]), lines.get(key, ()), rows.get(key, ()))
        for key in sorted({*lines, *rows})
    ]
    compared += [_compared(context, key, None, (), unnamed[key]) for key in sorted(unnamed)]
    resources = _resources(fees.resources, cluster_resources)
    seen = {row.instance_id for row in bill.rows}
    return Reconciliation(
        statement,
        bill,
        tuple(compared),
        resources,
        tuple(_other_clusters(fees.of_other_clusters)),
        # a fee that begins for another cluster of the account will begin for this one too
        bill_findings(statement, bill, (*fees.rows, *fees.of_other_clusters), cluster_resources, before),
        tuple(sorted(id_ for id_ in cluster_resources if id_ not in seen)),
        (*provider_notes, *_notes(statement, bill, before)),
    )


def check_comparable(tariff: Tariff, period: Period) -> None:
    """Refuse a tariff or a period without a bill, before the bill is requested. Raises NotComparable."""
    if tariff.comparator:
        raise NotComparable(
            f"tariff {tariff.name} has prices of another product, which no bill uses",
            next_step="Name the tariff of your cluster with --tariff.",
        )
    if not period.is_month:
        raise NotComparable(
            f"{period.name} is not a month, and bills are monthly", next_step="Name a month like 2026-10."
        )


def _check(statement: Statement, bill: Bill) -> None:
    tariff = statement.tariff
    check_comparable(tariff, statement.period)
    if bill.period != statement.period:
        raise NotComparable(
            f"the bill is of {bill.period.name}, but the statement is of {statement.period.name}",
            next_step="Use the same month for both.",
        )
    if bill.currency != tariff.currency:
        raise NotComparable(
            f"the bill is in {bill.currency}, but tariff {tariff.name} is in {tariff.currency}",
            next_step="Use the bill of the account that pays, or a tariff in the currency of the bill.",
        )


class _FeeRows:
    """The rows of a bill that are fees: by billing item, by resource id, or by the product of other fees."""

    def __init__(
        self, statement: Statement, bill: Bill, names: Mapping[str, str], clusters: frozenset[str] | None
    ) -> None:
        self._names = names
        self._rules: dict[str, Rule] = {}
        for rule in statement.tariff.rules:
            if rule.bill_item:
                self._rules[rule.bill_item.casefold()] = rule
        metered = {line.resource_id for line in statement.lines} | {one.resource_id for one in statement.unpriced}
        # a new fee, or one whose waiver has ended, may have any id; it has the product of the known fees
        products = {row.product_code for row in bill.rows if row.product_code and self.rule_of(row)}
        strangers = self._ids_of_other_clusters(statement, bill, metered, clusters)
        fees: list[BillRow] = []
        resources: list[BillRow] = []
        of_other_clusters: list[BillRow] = []
        for row in bill.rows:
            if self.resource_of(row) in strangers:
                of_other_clusters.append(row)
            elif self.rule_of(row) or self.resource_of(row) in metered or row.product_code in products:
                fees.append(row)
            else:
                resources.append(row)
        self.rows: tuple[BillRow, ...] = tuple(fees)
        self.resources: tuple[BillRow, ...] = tuple(resources)
        self.of_other_clusters: tuple[BillRow, ...] = tuple(of_other_clusters)

    def _ids_of_other_clusters(
        self, statement: Statement, bill: Bill, metered: set[str], clusters: frozenset[str] | None
    ) -> set[str]:
        """Ids of clusters on the bill that are not in the fleet.

        Without `clusters`, an unknown cluster is another one only when the bill has all clusters of the evidence:
        otherwise it may be one of them with another id.
        """
        rows = [row for row in bill.rows if row.instance_id and (rule := self.rule_of(row)) and _is_of_clusters(rule)]
        billed = {self.resource_of(row) for row in rows}
        if clusters is not None:
            return billed - metered - {self._names.get(id_, id_) for id_ in clusters}
        ours = {line.resource_id for line in statement.lines if line.kind == "cluster" and not line.corrects}
        return billed - metered if ours and ours <= billed else set()

    def rule_of(self, row: BillRow) -> Rule | None:
        """The rule with the billing item of the row, by name or code."""
        return self._rules.get(row.item.casefold()) or self._rules.get(row.item_code.casefold())

    def resource_of(self, row: BillRow) -> str:
        """The id of the resource in the evidence."""
        return self._names.get(row.instance_id, row.instance_id)


def _is_of_clusters(rule: Rule) -> bool:
    return rule.unit.kind == "cluster"


def _compared(
    context: BillContext,
    key: tuple[str, str, bool],
    rule: Rule | None,
    lines: Sequence[FeeLine],
    rows: Sequence[BillRow],
) -> ComparedFee:
    resource_id, name, is_adjustment = key
    metered, billed = total(line.amount for line in lines), total(row.charged for row in rows)
    if not lines:
        verdict = FeeVerdict.NOT_METERED
    elif not rows:
        verdict = FeeVerdict.NOT_BILLED
    else:
        verdict = FeeVerdict.AGREES if metered == billed else FeeVerdict.DIFFERS
    reason, is_explained = "", True
    if verdict is not FeeVerdict.AGREES:
        sides = Sides(context, rule, resource_id, is_adjustment, tuple(lines), tuple(rows))
        reason, is_explained = likely_reason(sides)
    return ComparedFee(
        resource_id=resource_id,
        instance_id=rows[0].instance_id if rows else "",
        rule=rule.name if rule else name if lines else "",
        item=rows[0].item if rows else rule.bill_item if rule else "",
        is_adjustment=is_adjustment,
        metered=metered,
        billed=billed,
        verdict=verdict,
        reason=reason,
        is_explained=is_explained,
        lines=tuple(lines),
        rows=tuple(rows),
    )


def _resources(rows: Iterable[BillRow], cluster_resources: Mapping[str, str]) -> tuple[BilledResource, ...]:
    """Everything on the bill that is not a fee: resources of the cluster first, then by charge, highest first."""
    grouped: dict[tuple[str, str, str], list[BillRow]] = defaultdict(list)
    for row in rows:
        grouped[row.instance_id, row.product_name or row.product_code, row.item].append(row)
    found = [
        BilledResource(
            instance_id=instance_id,
            product=product,
            item=item,
            belongs_as=cluster_resources.get(instance_id),
            gross=total(row.gross for row in of_it),
            charged=total(row.charged for row in of_it),
            rows=tuple(of_it),
        )
        for (instance_id, product, item), of_it in grouped.items()
    ]
    return tuple(sorted(found, key=lambda one: (one.belongs_as is None, -one.charged, one.instance_id, one.item)))


def _other_clusters(rows: Iterable[BillRow]) -> Iterable[OtherCluster]:
    """Other clusters, by charge, highest first."""
    by_id: dict[str, list[BillRow]] = defaultdict(list)
    for row in rows:
        by_id[row.instance_id].append(row)
    found = [OtherCluster(id_, total(row.charged for row in of_it), tuple(of_it)) for id_, of_it in by_id.items()]
    return sorted(found, key=lambda one: (-one.charged, one.instance_id))


def _notes(statement: Statement, bill: Bill, before: Bill | None) -> Iterable[str]:
    if bill.missing_columns:
        yield f"The bill has no {', '.join(bill.missing_columns)}: differences are found, but fewer are explained."
    if before is None:
        yield "New billing items of cloud resources are not known: there is no bill of an earlier month."
    if not statement.is_whole:
        yield "The month is not over: both amounts will still grow."
    if statement.unpriced:
        yield f"{counted(len(statement.unpriced), 'usage')} without a price in the tariff: not compared."
    if not bill.rows:
        yield "The bill has no rows: it is of another account, or does not exist yet."
