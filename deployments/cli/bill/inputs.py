"""The inputs of the `bill` commands: prices, evidence, periods; and the answers to wrong input."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from poolkeeper.deployments.cli.asking import BAD_INPUT, WRONG_OUT_THERE
from poolkeeper.deployments.terminal import echo

if TYPE_CHECKING:
    from poolkeeper.tasks.fees.metering.statement import Statement
    from poolkeeper.tasks.fees.periods import Period
    from poolkeeper.tasks.fees.tariff.tariff_model import Tariff
    from poolkeeper.tasks.fees.usage.evidence import UsageEvidence
    from poolkeeper.tasks.fleet.problems import FileInvalid

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def inputs(command: F) -> F:
    """The options of every command: prices and evidence."""
    for option in (
        click.option(
            "--tariff",
            default="ack-pro",
            show_default=True,
            help="Tariff file, or the name of a tariff that comes with poolkeeper.",
        ),
        click.option("--events", type=click.Path(), help="CSV file of events. Default: the spool of the state folder."),
        click.option("--until", help="When the events were gathered: ISO 8601 with a zone. Default: now."),
    ):
        command = option(command)
    return command


period_option = click.option("--period", required=True, help="Month like 2026-10; to see fees, also a day or a year.")
against_closed_option = click.option(
    "--against-closed", is_flag=True, help="With --events: use closed months and adjustments, as `close` does."
)


@dataclass(frozen=True)
class Case:
    """The inputs of a command: prices, evidence, the time, and the closed months."""

    tariff: Tariff
    evidence: UsageEvidence
    now_us: int

    @property
    def closed(self) -> Any:
        from poolkeeper.tasks.fees.closing.closed_months import ClosedMonths
        from poolkeeper.tasks.settings import state_folder

        return ClosedMonths.of(state_folder(), self.tariff)

    def statement(self, period: Period, *, fresh: bool) -> tuple[Statement, bool]:
        """The statement of a period, and whether the period is closed.

        fresh: metered as if no month were closed
        """
        from poolkeeper.tasks.fees.closing.close import statement_of
        from poolkeeper.tasks.fees.metering.statement import meter

        if fresh:
            return meter(self.evidence, self.tariff, period, self.now_us), False
        return from_closed_months(lambda: statement_of(self.evidence, self.tariff, period, self.now_us, self.closed))


def read_case(tariff: str, events: str | None, until: str | None, as_json: bool) -> Case:
    """Read prices and evidence. Every problem of a wrong file is shown, and ends the command."""
    from poolkeeper.tasks.fees.periods import instant
    from poolkeeper.tasks.fees.tariff.tariff_file import load_tariff, tariff_path
    from poolkeeper.tasks.fees.usage.evidence import evidence_of_csv, evidence_of_spool
    from poolkeeper.tasks.fleet.problems import FileInvalid
    from poolkeeper.tasks.ledger import Spool
    from poolkeeper.tasks.settings import state_folder

    now = datetime.now(UTC)
    gathered = _moment(until) if until else now
    if gathered > now:
        bad_input(f"--until {until} is in the future")
    try:
        prices = load_tariff(tariff_path(tariff))
        if events:
            evidence = evidence_of_csv(Path(events), gathered)
        else:
            evidence = evidence_of_spool(Spool(state_folder() / "spool"), gathered)
    except FileInvalid as error:
        bad_file(error, as_json)
    return Case(prices, evidence, instant(now))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        bad_input(f"--until {text}: write a time in ISO 8601 with a zone, like 2026-10-20T00:00:00Z")
    if moment.tzinfo is None:
        bad_input(f"--until {text} has no time zone: write {text}Z, or another offset")
    return moment


def a_period(text: str) -> Period:
    from poolkeeper.tasks.fees.periods import Period, PeriodInvalid

    try:
        return Period.of(text)
    except PeriodInvalid as error:
        bad_input(error.summary)


def from_closed_months(read: Callable[[], T]) -> T:
    """The result of `read`, which reads closed months. A damaged month ends the command."""
    from poolkeeper.tasks.fees.closing.closed_months import ClosedMonthDamaged

    try:
        return read()
    except ClosedMonthDamaged as error:
        echo(error.summary, err=True)
        sys.exit(WRONG_OUT_THERE)


def bad_file(error: FileInvalid, as_json: bool) -> NoReturn:
    """Show every problem of a file, and end the command."""
    if as_json:
        rows = [
            {"line": p.line, "column": p.column, "path": p.path, "message": p.message, "fix": p.fix}
            for p in error.problems
        ]
        echo(json.dumps({"ok": False, "problems": rows}, indent=2))
    echo(error.in_full, err=True)
    sys.exit(BAD_INPUT)


def bad_input(message: str) -> NoReturn:
    echo(message, err=True)
    sys.exit(BAD_INPUT)
