"""Fee lines: an amount with the rule, the quantities and the events that it is computed from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from poolkeeper.tasks.fees.money import money_text
from poolkeeper.tasks.fees.periods import instant, moment
from poolkeeper.tasks.fees.tariff.units import UNITS, PriceUnit
from poolkeeper.tasks.fees.usage.events import UsageEvent


class SourceEvent(NamedTuple):
    """An event that a fee line is computed from, and where it is written."""

    event: str
    at_us: int
    vcpus: int | None
    gpus: int | None
    source: str
    line: int

    @classmethod
    def of(cls, event: UsageEvent) -> SourceEvent:
        """The reference to an event."""
        return cls(event.name, event.at_us, event.vcpus, event.gpus, event.source, event.line)


class Span(NamedTuple):
    """Billed time of one size: whole hours, days or months."""

    start_us: int
    end_us: int
    size: int


@dataclass(frozen=True, slots=True)
class FeeLine:
    """One line of a statement. `amount` is quantity times unit price, rounded where the tariff rounds lines."""

    id: str
    """Such as `2026-10-1f2e3d4c5b`. Invariant: it depends on period, tariff, rule, resource and price only."""
    rule: str
    resource_id: str
    kind: str
    """`cluster`, `node`, or `all` for a line that counts all resources together."""
    counting: str
    unit_name: str
    quantity: int
    unit_price: Decimal
    """As charged: 0 while the fee is waived."""
    list_price: Decimal | None
    """As published; None when the provider has published no price."""
    amount: Decimal
    low: Decimal
    high: Decimal
    start_us: int
    end_us: int
    waiver: str
    """Why the fee is not charged; empty where the fee is charged."""
    price_source: str
    gaps: tuple[str, ...]
    """What the evidence does not show, each as a clause. Without gaps, `low` and `high` are equal to the amount."""
    spans: tuple[Span, ...]
    evidence: tuple[SourceEvent, ...]
    labels: Mapping[str, str]
    corrects: str = ""
    """The id of the line in a closed month that this line corrects; empty for other lines."""
    because: str = ""
    """Why that line is corrected."""

    @property
    def unit(self) -> PriceUnit:
        """What the price is for."""
        return UNITS[self.unit_name]

    def row(self) -> dict[str, Any]:
        """The line for scripts: money as text, times in ISO 8601 in UTC."""
        row = {
            "id": self.id,
            "resource_id": self.resource_id,
            "rule": self.rule,
            "quantity": self.quantity,
            "unit": self.unit_name,
            "unit_price": money_text(self.unit_price),
            "list_price": None if self.list_price is None else money_text(self.list_price),
            "amount": money_text(self.amount),
            "low": money_text(self.low),
            "high": money_text(self.high),
            "from": _time(self.start_us),
            "to": _time(self.end_us),
            "waiver": self.waiver,
            "gaps": list(self.gaps),
            "labels": dict(self.labels),
        }
        return row | ({"corrects": self.corrects, "because": self.because} if self.corrects else {})

    def record(self) -> dict[str, Any]:
        """The whole line as JSON types, as a closed month keeps it."""
        return {
            **self.row(),
            "kind": self.kind,
            "counting": self.counting,
            "price_source": self.price_source,
            "spans": [[_time(span.start_us), _time(span.end_us), span.size] for span in self.spans],
            "evidence": [
                {
                    "event": event.event,
                    "at": _time(event.at_us),
                    "vcpus": event.vcpus,
                    "gpus": event.gpus,
                    "source": event.source,
                    "line": event.line,
                }
                for event in self.evidence
            ],
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> FeeLine:
        """The line of a `record()`. Raises KeyError or ValueError when the record is not of a line."""
        list_price = record["list_price"]
        return cls(
            id=record["id"],
            rule=record["rule"],
            resource_id=record["resource_id"],
            kind=record["kind"],
            counting=record["counting"],
            unit_name=record["unit"],
            quantity=record["quantity"],
            unit_price=Decimal(record["unit_price"]),
            list_price=None if list_price is None else Decimal(list_price),
            amount=Decimal(record["amount"]),
            low=Decimal(record["low"]),
            high=Decimal(record["high"]),
            start_us=_instant(record["from"]),
            end_us=_instant(record["to"]),
            waiver=record["waiver"],
            price_source=record["price_source"],
            gaps=tuple(record["gaps"]),
            spans=tuple(Span(_instant(start), _instant(end), size) for start, end, size in record["spans"]),
            evidence=tuple(
                SourceEvent(
                    event["event"], _instant(event["at"]), event["vcpus"], event["gpus"], event["source"], event["line"]
                )
                for event in record["evidence"]
            ),
            labels=record["labels"],
            corrects=record.get("corrects", ""),
            because=record.get("because", ""),
        )


def line_id(period: str, *parts: object) -> str:
    """A short id. It begins with the period, so that a line is found by its id alone."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
    return f"{period}-{digest[:12]}"


def _time(instant_us: int) -> str:
    return moment(instant_us).isoformat()


def _instant(text: str) -> int:
    return instant(datetime.fromisoformat(text))
