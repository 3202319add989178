"""A reconciliation for a person: what to dispute first, then what is about to change, then the rest as counts."""

from __future__ import annotations

from collections.abc import Iterator

from poolkeeper.tasks.fees.bill.reconciliation import Compared, Reconciliation
from poolkeeper.tasks.fees.money import money_text, total
from poolkeeper.tasks.fleet.problems import counted

SHOWN = 40
"""At most so many lines of a kind; `--json` has all of them."""


def reconciled_words(found: Reconciliation) -> str:
    """All of it as lines of text."""
    return "\n".join(_sentences(found))


def _sentences(found: Reconciliation) -> Iterator[str]:
    currency = found.bill.currency
    yield (
        f"{found.statement.period.name} against {found.bill.source}: "
        + ", ".join(f"{count} {verdict}" for verdict, count in found.counts.items() if count)
        + ("" if found.compared else "no fee on either side")
    )
    disputable = found.disputable
    for one in disputable[:SHOWN]:
        yield f"DISPUTE {_told(one, currency)}"
    if len(disputable) > SHOWN:
        yield f"and {len(disputable) - SHOWN} more to dispute"
    others = [one for one in found.compared if one.reason and one not in disputable]
    # what thousands of nodes have in common is told once
    for reason in dict.fromkeys(one.reason for one in others):
        alike = [one for one in others if one.reason == reason]
        difference = money_text(total(one.difference for one in alike))
        first = f"{alike[0].item or alike[0].rule} of {alike[0].resource_id or 'no resource'}"
        more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        yield f"{first}{more}: {alike[0].verdict} ({currency} {difference}). {reason}"
    for finding in found.findings:
        yield f"{finding.severity}: {finding}"
    for resource in found.belonging[:SHOWN]:
        yield (
            f"{resource.belongs_as}: {resource.instance_id}, {resource.item}: {currency} {money_text(resource.charged)}"
        )
    if found.unknown:
        yield (
            f"{counted(len(found.unknown), 'resource')} on the bill of which nobody said that the cluster has it:"
            f" {currency} {money_text(total(one.charged for one in found.unknown))}"
        )
        for resource in found.unknown[:SHOWN]:
            yield f"  {resource.instance_id or 'no resource'}, {resource.product} {resource.item}:" + (
                f" {currency} {money_text(resource.charged)}"
            )
        if len(found.unknown) > SHOWN:
            yield f"  and {len(found.unknown) - SHOWN} more: --json has all"
    for other in found.others[:SHOWN]:
        yield f"another cluster of the account, not ours: {other.instance_id}: {currency} {money_text(other.charged)}"
    for id_ in found.unseen:
        yield f"declared and not on this bill: {id_}"
    yield from found.notes


def _told(one: Compared, currency: str) -> str:
    return (
        f"{one.item or one.rule} of {one.resource_id or 'no resource'}: here {currency} {money_text(one.here)}, on the"
        f" bill {currency} {money_text(one.there)}, differs by {money_text(one.difference)}. {one.reason}"
    )
