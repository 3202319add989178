"""The messages of a reconciliation: lines to dispute first, then announced changes, then the rest as counts."""

from __future__ import annotations

from collections.abc import Iterator

from poolkeeper.tasks.fees.bill.reconciliation import ComparedFee, Reconciliation
from poolkeeper.tasks.fees.money import money_text, total
from poolkeeper.tasks.fleet.problems import counted

SHOWN = 40
"""At most so many lines of each kind; `--json` has all of them."""


def reconciliation_text(found: Reconciliation) -> str:
    """The whole reconciliation as lines of text."""
    return "\n".join(_sentences(found))


def _sentences(found: Reconciliation) -> Iterator[str]:
    currency = found.bill.currency
    yield (
        f"{found.statement.period.name} compared with {found.bill.source}: "
        + ", ".join(f"{count} {verdict}" for verdict, count in found.counts.items() if count)
        + ("" if found.compared else "no fee on either side")
    )
    disputable = found.disputable
    for one in disputable[:SHOWN]:
        yield f"DISPUTE {_sides(one, currency)}"
    if len(disputable) > SHOWN:
        yield f"and {len(disputable) - SHOWN} more to dispute"
    others = [one for one in found.compared if one.reason and one not in disputable]
    # a reason that thousands of nodes share is one line
    for reason in dict.fromkeys(one.reason for one in others):
        alike = [one for one in others if one.reason == reason]
        difference = money_text(total(one.difference for one in alike))
        first = f"{alike[0].item or alike[0].rule} of {alike[0].resource_id or 'no resource'}"
        more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        yield f"{first}{more}: {alike[0].verdict} ({currency} {difference}). {reason}"
    for finding in found.findings:
        yield f"{finding.severity}: {finding}"
    for resource in found.cluster_resources[:SHOWN]:
        yield (
            f"{resource.belongs_as}: {resource.instance_id}, {resource.item}: {currency} {money_text(resource.charged)}"
        )
    if found.unknown:
        yield (
            f"{counted(len(found.unknown), 'resource')} on the bill without a declared owner:"
            f" {currency} {money_text(total(one.charged for one in found.unknown))}"
        )
        for resource in found.unknown[:SHOWN]:
            yield f"  {resource.instance_id or 'no resource'}, {resource.product} {resource.item}:" + (
                f" {currency} {money_text(resource.charged)}"
            )
        if len(found.unknown) > SHOWN:
            yield f"  and {len(found.unknown) - SHOWN} more: --json has all"
    for other in found.other_clusters[:SHOWN]:
        yield f"another cluster of the account: {other.instance_id}: {currency} {money_text(other.charged)}"
    for id_ in found.not_on_bill:
        yield f"declared, but not on this bill: {id_}"
    yield from found.notes


def _sides(one: ComparedFee, currency: str) -> str:
    return (
        f"{one.item or one.rule} of {one.resource_id or 'no resource'}: metered {currency} {money_text(one.metered)},"
        f" billed {currency} {money_text(one.billed)}, difference {money_text(one.difference)}. {one.reason}"
    )
