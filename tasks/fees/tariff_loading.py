"""From a file to a tariff, or to every problem of the file at once."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path

from poolkeeper.tasks.fees import tariff as model
from poolkeeper.tasks.fees.tariff_document import TARIFF, TARIFF_FILE, UNKNOWN, PriceEntry, RuleEntry, TariffDocument
from poolkeeper.tasks.fees.tariff_rules import check_tariff_draft
from poolkeeper.tasks.fees.units import UNITS
from poolkeeper.tasks.fleet.draft import MAX_MISTAKES, read_draft
from poolkeeper.tasks.fleet.problems import FileInvalid, Problems
from poolkeeper.tasks.fleet.source import TextInvalid, read_source
from poolkeeper.tasks.fleet.text import Positions

SHIPPED = Path(__file__).parent / "tariffs"


class TariffInvalid(FileInvalid):
    """A tariff file with problems."""

    told_by = "poolkeeper bill meter --tariff FILE"
    keys = frozenset(TariffDocument.model_fields)


def shipped_tariffs() -> tuple[str, ...]:
    """The names of the tariffs that come with poolkeeper."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml")))


def tariff_path(given: str) -> Path:
    """The file of a tariff: the name of one that comes with poolkeeper, else a path."""
    return SHIPPED / f"{given}.yaml" if given in shipped_tariffs() else Path(given).absolute()


def load_tariff(path: Path) -> model.Tariff:
    """The tariff that a file declares. Raises TariffInvalid with every problem."""
    tariff, problems = check_tariff(path)
    if tariff is None:
        raise TariffInvalid(path.name, problems)
    return tariff


def check_tariff(path: Path) -> tuple[model.Tariff | None, Problems]:
    """The tariff, or None and its problems."""
    try:
        return tariff_of(read_source(path, TARIFF_FILE))
    except TextInvalid as error:
        return None, Problems.of([error.problem])


def tariff_of(text: str) -> tuple[model.Tariff | None, Problems]:
    """The same of a text, such as a closed period has kept."""
    try:
        positions = Positions(text, TARIFF_FILE)
    except TextInvalid as error:
        return None, Problems.of([error.problem])
    draft = read_draft(positions.data, positions.written, TARIFF)
    mistakes = [*draft.mistakes, *check_tariff_draft(draft)]
    told = mistakes[:MAX_MISTAKES]
    problems = Problems.of([*positions.problems, *map(positions.place, told)], draft.more + len(mistakes) - len(told))
    if problems or draft.document is None:
        return None, problems
    return _resolve(draft.document, text), problems


def _resolve(document: TariffDocument, text: str) -> model.Tariff:
    return model.Tariff(
        document.tariff,
        document.title,
        document.currency,
        document.region,
        document.comparator,
        model.Rounding(document.rounding.of, document.rounding.places, document.rounding.mode),
        tuple(_rule(name, entry) for name, entry in document.rules.items()),
        text,
    )


def _rule(name: str, entry: RuleEntry) -> model.Rule:
    prices = sorted(entry.prices, key=lambda price: price.start)
    # a price without an end holds until the next one begins
    ends: list[date | None] = [price.end or later.start for price, later in pairwise(prices)]
    ends += [price.end for price in prices[-1:]]
    return model.Rule(
        name,
        entry.title,
        UNITS[entry.unit],
        entry.counts,
        frozenset(state.lower() for state in entry.states.billed),
        frozenset(state.lower() for state in entry.states.free),
        tuple(_price(price, end) for price, end in zip(prices, ends, strict=True)),
        tuple(
            model.Waiver(waiver.start, waiver.end, waiver.reason, model.Source(waiver.source, waiver.dated))
            for waiver in sorted(entry.waivers, key=lambda waiver: waiver.start)
        ),
        entry.bill_item or "",
        entry.note or "",
    )


def _price(entry: PriceEntry, end: date | None) -> model.Price:
    if entry.tiers is not None:
        tiers = tuple(model.Tier(tier.up_to, tier.price) for tier in entry.tiers)
    elif entry.price is None or entry.price == UNKNOWN:
        tiers = ()
    else:
        assert not isinstance(entry.price, str)
        tiers = (model.Tier(None, entry.price),)
    return model.Price(entry.start, end, tiers, model.Source(entry.source, entry.dated))
