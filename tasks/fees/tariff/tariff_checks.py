"""Checks of a tariff that need more than one value: dates in order, units that fit the way of counting."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from poolkeeper.tasks.fees.tariff.tariff_model import Dated, Price, Rule, Tariff
from poolkeeper.tasks.fees.tariff.units import UNITS, Counting
from poolkeeper.tasks.fleet.draft import DraftOf
from poolkeeper.tasks.fleet.problems import Mistake, Path_, quoted_value

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

TariffDraft = DraftOf[Tariff]


def check_tariff_draft(draft: TariffDraft) -> Iterator[Mistake]:
    """Every mistake in a combination of values. Values that could not be read are not checked."""
    document = draft.document
    if document is None:
        return
    for mistake in _mistakes(draft, document):
        yield Mistake(draft.as_written(mistake.path), mistake.message, mistake.fix, mistake.at_key)


def _mistakes(draft: TariffDraft, tariff: Tariff) -> Iterator[Mistake]:
    if not _is_name(tariff.name) and not draft.unread("tariff"):
        yield Mistake(("tariff",), f"{quoted_value(tariff.name)} is not a valid name for a tariff.", _NAME_FIX)
    if not draft.names["rules"] and not draft.unread("rules"):
        yield Mistake(("rules",), "there are no rules.", "Declare at least one fee.")
    for name in draft.names["rules"]:
        if not _is_name(name):
            yield Mistake(
                ("rules", name), f"{quoted_value(name)} is not a valid name for a rule.", _NAME_FIX, at_key=True
            )
    for rule in tariff.rules:
        yield from _counting(draft, rule)
        yield from _states(draft, rule)
        yield from _prices(draft, rule)
        yield from _dates(draft, ("rules", rule.name, "waivers"), rule.waivers, "waiver")


_NAME_FIX = "Use up to 63 lower-case letters, digits and dashes, beginning and ending with a letter or digit."


def _is_name(text: str) -> bool:
    return len(text) <= 63 and _NAME.fullmatch(text) is not None


def _counting(draft: TariffDraft, rule: Rule) -> Iterator[Mistake]:
    if draft.unread("rules", rule.name, "unit") or draft.unread("rules", rule.name, "counts"):
        return
    if rule.counting not in rule.unit.counted_by:
        fitting = [other.name for other in UNITS.values() if rule.counting in other.counted_by]
        yield Mistake(
            ("rules", rule.name, "counts"),
            f"a price {rule.unit.name} cannot be counted by {rule.counting}.",
            f"Write counts: {' or '.join(rule.unit.counted_by)}, or one of the units {', '.join(fitting)}.",
        )


def _states(draft: TariffDraft, rule: Rule) -> Iterator[Mistake]:
    path: Path_ = ("rules", rule.name, "states", "free")
    for position, state in enumerate(draft.given(*path) or ()):
        if state.lower() in rule.states.billed:
            yield Mistake(
                (*path, position),
                f"{quoted_value(state)} is also in the list billed.",
                "Keep it in one of the two lists.",
            )


def _prices(draft: TariffDraft, rule: Rule) -> Iterator[Mistake]:
    path: Path_ = ("rules", rule.name, "prices")
    if not rule.prices and not draft.unread(*path):
        yield Mistake(path, "there is no price.", "Write at least one, with from, price, source and dated.")
    for position, price in enumerate(rule.prices):
        here = (*path, position)
        if draft.unread(*draft.as_written(here)):
            continue
        has_table = draft.given(*here, "tiers") is not None
        if (draft.given(*here, "price") is not None) == has_table:
            yield Mistake(
                here,
                "a price needs exactly one of price and tiers.",
                "Write price: 0.09, or tiers: [{up_to: 100, price: 2}, {price: 1}].",
            )
        elif has_table:
            yield from _tiers(draft, (*here, "tiers"), rule, price)
    yield from _dates(draft, path, rule.prices, "price")


def _tiers(draft: TariffDraft, path: Path_, rule: Rule, price: Price) -> Iterator[Mistake]:
    tiers = price.tiers
    if rule.counting != Counting.DAILY_MAXIMUM and not draft.unread("rules", rule.name, "counts"):
        yield Mistake(
            path,
            f"tiers need counts: {Counting.DAILY_MAXIMUM}, but this rule has counts: {rule.counting}.",
            f"Write counts: {Counting.DAILY_MAXIMUM}, or a single price.",
            at_key=True,
        )
    if not tiers:
        yield Mistake(path, "the table of tiers is empty.", "Write at least one step, or a single price.")
        return
    for position, (lower, upper) in enumerate(pairwise(tiers)):
        if lower.up_to is None:
            yield Mistake(
                (*path, position),
                "a step without up_to has no limit, but another step follows it.",
                "Add up_to, or make it the last step.",
            )
        elif upper.up_to is not None and upper.up_to <= lower.up_to:
            yield Mistake(
                (*path, position + 1, "up_to"),
                f"{upper.up_to} is not greater than the up_to of the step before it, {lower.up_to}.",
                "Put the steps in order.",
            )
    if tiers[-1].up_to is not None:
        yield Mistake(
            (*path, len(tiers) - 1, "up_to"),
            f"there is no price for units above {tiers[-1].up_to}.",
            "Remove up_to from the last step.",
        )


def _dates(draft: TariffDraft, path: Path_, parts: Sequence[Dated], what: str) -> Iterator[Mistake]:
    """Each end is after its beginning; one figure is valid on a day; between prices each day has a price."""
    readable = [
        (part.start, position, part)
        for position, part in enumerate(parts)
        if not draft.unread(*draft.as_written((*path, position)), "from")
        and not draft.unread(*draft.as_written((*path, position)), "to")
    ]
    for start, position, part in readable:
        if part.end is not None and part.end <= start:
            yield Mistake(
                (*path, position, "to"),
                f"this {what} ends on {part.end}, which is not after it begins.",
                "Write a `to` after `from`: the first day on which the figure is no longer valid.",
            )
    ordered = sorted(readable, key=lambda row: row[:2])
    for (start, _, part), (later, position, _) in pairwise(ordered):
        here = (*path, position, "from")
        if later == start:
            yield Mistake(
                here, f"two {what}s overlap: both begin on {later}.", "Keep one of the two, or correct a date."
            )
        elif part.end is not None and part.end > later:
            yield Mistake(
                here,
                f"two {what}s overlap: the one from {start} is valid until {part.end}, and this one begins on {later}.",
                f"End the first one on {later}, or begin this one on {part.end}.",
            )
        elif what == "price" and part.end is not None and start < part.end < later:
            yield Mistake(
                here,
                f"there is no price from {part.end} to {later}.",
                f"Begin this one on {part.end}, or add a row with price: unknown for the days between.",
            )
        elif what == "waiver" and part.end is None:
            yield Mistake(
                here, f"two waivers overlap: the one from {start} has no end.", f"End it on {later} or before."
            )
