"""Closed months: one file each in the state folder, written once, never changed.

`<state>/fees/<tariff>/<month>.jsonl`: the first row is the head of the month, with the text of the tariff and digests.
Each further row is a fee line with its inputs. The head alone shows whether a month needs corrections.

Invariant: a file is complete or it does not exist. It is written with a temporary name, synced, and linked to its own
name; the link fails when the file exists. A close that is killed leaves at most a temporary file, whose name begins
with a dot. The next close removes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any

from poolkeeper.tasks.fees.metering.fee_lines import FeeLine
from poolkeeper.tasks.fees.metering.statement import Statement, Unpriced
from poolkeeper.tasks.fees.money import money_text
from poolkeeper.tasks.fees.periods import Period, PeriodInvalid
from poolkeeper.tasks.fees.tariff.tariff_file import tariff_of
from poolkeeper.tasks.fees.tariff.tariff_model import Tariff
from poolkeeper.tasks.ledger import private_folder, sync_folder
from poolkeeper.tasks.outcomes import CannotGoOn

FORMAT = 1
"""Of the files; only keys are added to it."""


class ClosedMonthDamaged(CannotGoOn):
    """The file of a closed month is not as it was written."""

    id = "fees.closed.damaged"
    expected = "each closed month as it was written"
    next_step = "Restore the file from a backup."
    source = "state folder"


@dataclass(frozen=True, slots=True)
class Head:
    """What is kept of a closed month besides its lines."""

    period: Period
    digests: Mapping[str, str]
    """Resource -> digest of its evidence at the close. Where today's digest is equal, no correction is needed."""
    closed_at: datetime
    coverage: Decimal
    corrects: frozenset[str]
    """The ids of the lines of earlier months that this month corrects."""
    tariff_text: str

    @property
    def tariff(self) -> Tariff:
        """The tariff that it was closed with. Raises ValueError."""
        return _tariff(self.tariff_text)


class ClosedMonths:
    """The closed months of one tariff."""

    def __init__(self, folder: Path) -> None:
        """folder: the folder of the tariff; the first close makes it"""
        self.folder = folder

    @classmethod
    def of(cls, state: Path, tariff: Tariff) -> ClosedMonths:
        """The closed months of a tariff in the state folder."""
        return cls(state / "fees" / tariff.name)

    def periods(self) -> tuple[Period, ...]:
        """The closed months, in order. Raises ClosedMonthDamaged for a file whose name is not a period."""
        found = []
        for path in self.folder.glob(f"[!.]*{_SUFFIX}"):
            try:
                found.append(Period.of(path.name.removesuffix(_SUFFIX)))
            except PeriodInvalid:
                raise ClosedMonthDamaged(
                    f"the name of {path} is not a month", next_step="Move the file out of this folder."
                ) from None
        return tuple(sorted(found))

    def head(self, period: Period) -> Head:
        """The head of a closed month. Raises ClosedMonthDamaged, also when the month is open."""
        with self._reading(period) as path, path.open("rb") as file:
            return _head_of(path, _head_row(path, file.readline()))

    def read(self, period: Period) -> Statement | None:
        """The statement of a closed month; None when the month is open. Raises ClosedMonthDamaged."""
        if not self._path(period).exists():
            return None
        with self._reading(period) as path:
            head, rows = _verified(path)
            unpriced: tuple[Unpriced, ...] = ()  # a month with a missing price cannot be closed
            return Statement(head.period, head.tariff, _lines(rows), unpriced, head.coverage, head.period.end_us)

    def lines_of(self, period: Period, resources: Set[str]) -> tuple[FeeLine, ...]:
        """The lines of some resources in a closed month, without its corrections. Raises ClosedMonthDamaged."""
        with self._reading(period) as path:
            rows = _verified(path)[1]
            return _lines(row for row in rows if _CORRECTS not in row and _resource_of(row) in resources)

    def corrections(self, period: Period) -> tuple[FeeLine, ...]:
        """The lines of a closed month that correct earlier months. Raises ClosedMonthDamaged."""
        with self._reading(period) as path:
            return _lines(row for row in _verified(path)[1] if _CORRECTS in row)

    def write(self, statement: Statement, digests: Mapping[str, str], closed_at: datetime) -> bool:
        """Write a closed month, durably. False when the month was closed before; then nothing changes."""
        path = self._path(statement.period)
        lines = "".join(_row_text(line.record()) for line in statement.lines).encode()
        head = _head_record(statement, digests, closed_at) | {"lines_digest": _digest(lines)}
        head["digest"] = _digest(_row_text(head).encode())
        partial = self.folder / f".{path.name}.{os.getpid()}"
        with partial.open("wb") as file:
            file.write(_row_text(head).encode())
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o400)
        try:
            os.link(partial, path)
        except FileExistsError:
            return False
        finally:
            partial.unlink()
        sync_folder(self.folder)
        return True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One close at a time. Temporary files of a killed close are removed."""
        private_folder(self.folder)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for leftover in self.folder.glob(f".*{_SUFFIX}.*"):
                leftover.unlink()
            yield

    def _path(self, period: Period) -> Path:
        return self.folder / f"{period.name}{_SUFFIX}"

    @contextmanager
    def _reading(self, period: Period) -> Iterator[Path]:
        path = self._path(period)
        try:
            yield path
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
            raise ClosedMonthDamaged(f"{path} cannot be read ({type(error).__name__}: {error})") from None


_SUFFIX = ".jsonl"
_CORRECTS = b'"corrects":'
"""Only the row of a correction contains it: within a text the quotes would be escaped."""
_RESOURCE = re.compile(rb'"resource_id":("(?:[^"\\]|\\.)*")')


def _resource_of(row: bytes) -> str:
    found = _RESOURCE.search(row)
    if found is None:
        raise ValueError("a line has no resource_id")
    return str(json.loads(found[1]))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _row_text(row: dict[str, Any]) -> str:
    return json.dumps(row, separators=(",", ":")) + "\n"


def _changed(path: Path) -> ClosedMonthDamaged:
    return ClosedMonthDamaged(f"{path} was changed after the month was closed")


def _head_record(statement: Statement, digests: Mapping[str, str], closed_at: datetime) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "period": statement.period.name,
        "tariff": statement.tariff.name,
        "currency": statement.tariff.currency,
        "total": money_text(statement.total),
        "coverage": str(statement.coverage),
        "closed_at": closed_at.isoformat(),
        "evidence": digests,
        "corrects": [line.corrects for line in statement.lines if line.corrects],
        "tariff_text": statement.tariff.text,
    }


def _head_row(path: Path, text: bytes) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(text)
    digest = row.pop("digest")
    if digest != _digest(_row_text(row).encode()):
        raise _changed(path)
    return row


def _head_of(path: Path, row: dict[str, Any]) -> Head:
    period = Period.of(row["period"])
    if path.name != f"{period.name}{_SUFFIX}":
        raise ClosedMonthDamaged(
            f"{path} is the file of {period.name}", next_step=f"Rename it to {period.name}{_SUFFIX}."
        )
    return Head(
        period,
        row["evidence"],
        datetime.fromisoformat(row["closed_at"]),
        Decimal(row["coverage"]),
        frozenset(row["corrects"]),
        row["tariff_text"],
    )


def _verified(path: Path) -> tuple[Head, list[bytes]]:
    """The head of a file and the rows of its lines, checked against their digests."""
    first, _, rest = path.read_bytes().partition(b"\n")
    row = _head_row(path, first)
    if row["lines_digest"] != _digest(rest):
        raise _changed(path)
    return _head_of(path, row), rest.splitlines()


def _lines(rows: Iterable[bytes]) -> tuple[FeeLine, ...]:
    return tuple(FeeLine.of_record(json.loads(row)) for row in rows)


@cache
def _tariff(text: str) -> Tariff:
    tariff, problems = tariff_of(text)
    if tariff is None:
        raise ValueError(f"its tariff has {len(problems)} problems")
    return tariff
