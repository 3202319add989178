"""Reads a tariff file: the tariff, or every problem of the file at once."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from pathlib import Path

from poolkeeper.tasks.fees.tariff.tariff_checks import check_tariff_draft
from poolkeeper.tasks.fees.tariff.tariff_model import Tariff
from poolkeeper.tasks.fleet.draft import MAX_MISTAKES, read_draft
from poolkeeper.tasks.fleet.problems import FileInvalid, Problems
from poolkeeper.tasks.fleet.shape import FileKind, Shape
from poolkeeper.tasks.fleet.source import TextInvalid, read_source
from poolkeeper.tasks.fleet.text import Positions

TARIFF_FILE = FileKind(
    name="tariff",
    begin="Begin with `tariff: NAME`, then title, currency, region, rounding, rules.",
    name_one="Name a tariff with --tariff: a file, or the name of a tariff that comes with poolkeeper.",
    large="Declare one tariff in each file.",
    fraction=Decimal,
)

TARIFF = Shape(
    document=Tariff,
    sections=("rules",),
    stand_ins={
        **dict.fromkeys(("tariff", "title", "region", "source", "reason"), "unread"),
        "currency": "XXX",
        "rounding": {"of": "none"},
        "of": "none",
        "rules": {},
        "unit": "per_node_day",
        "counts": "calendar_days_started",
        "prices": [],
        "from": "2000-01-01",
        "dated": "2000-01-01",
        "price": "0",
    },
    compare_with="Compare with a tariff that comes with poolkeeper, such as tasks/fees/tariff/shipped/ack-pro.yaml.",
)

SHIPPED = Path(__file__).parent / "shipped"


class TariffInvalid(FileInvalid):
    """A tariff file with problems."""

    id = "fees.tariff.invalid"
    expected = "a tariff file without problems"
    shown_by = "poolkeeper bill meter --tariff FILE"
    keys = frozenset({"tariff"} | {field.name for field in fields(Tariff)})


def shipped_tariffs() -> tuple[str, ...]:
    """The names of the tariffs that come with poolkeeper."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml")))


def tariff_path(given: str) -> Path:
    """The file of a tariff. given: the name of a tariff that comes with poolkeeper, else a path"""
    return SHIPPED / f"{given}.yaml" if given in shipped_tariffs() else Path(given).absolute()


def load_tariff(path: Path) -> Tariff:
    """The tariff in a file. Raises TariffInvalid with every problem."""
    tariff, problems = check_tariff(path)
    if tariff is None:
        raise TariffInvalid(path.name, problems)
    return tariff


def check_tariff(path: Path) -> tuple[Tariff | None, Problems]:
    """The tariff in a file, or None and the problems."""
    try:
        return tariff_of(read_source(path, TARIFF_FILE))
    except TextInvalid as error:
        return None, Problems.of([error.problem])


def tariff_of(text: str) -> tuple[Tariff | None, Problems]:
    """The tariff in a text, such as in a closed month, or None and the problems."""
    try:
        positions = Positions(text, TARIFF_FILE)
    except TextInvalid as error:
        return None, Problems.of([error.problem])
    draft = read_draft(positions.data, positions.written, TARIFF, text)
    mistakes = [*draft.mistakes, *check_tariff_draft(draft)]
    shown = mistakes[:MAX_MISTAKES]
    problems = Problems.of([*positions.problems, *map(positions.place, shown)], draft.more + len(mistakes) - len(shown))
    if problems or draft.document is None:
        return None, problems
    return draft.document.in_order(), problems
