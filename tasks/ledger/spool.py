"""The spool: rows as small files, each written whole or not at all.

A file is one batch of one run: `<table>/<run id>/<batch>.jsonl`. Writing a batch again replaces it, so that a repeated
step leaves one copy. The batch's name has the host, the phase and the attempt. A reader never sees half a file: it is
written under another name, synced, and renamed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolkeeper.tasks.ledger.files import write_whole
from poolkeeper.tasks.ledger.tables import TEXT, TIME, Table
from poolkeeper.tasks.outcomes import PoolkeeperError

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]


class RowInvalid(PoolkeeperError):
    """A row does not fit its table; the message names the table, the column and the type of the value."""

    id = "ledger.row.invalid"
    expected = "the columns and types of the table"
    source = "spool"


class Spool:
    """A folder of batches."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def append(self, table: Table, run_id: str, batch: str, rows: Sequence[Row]) -> Path:
        """Write one batch, durably and atomically; the same batch again replaces it.

        Raises RowInvalid for a column that the table has not or a time without a zone, and OSError.
        """
        written_at = datetime.now(UTC)
        lines = [
            json.dumps(
                {"run_id": run_id, "batch": batch, "written_at": written_at, **_checked(table, row)},
                default=_plain,
            )
            for row in rows
        ]
        path = self.root / table.name / _file_name(run_id) / f"{_file_name(batch)}.jsonl"
        write_whole(path, "".join(f"{line}\n" for line in lines))
        return path

    def rows(self, table: Table, run_id: str | None = None) -> Iterator[dict[str, Any]]:
        """All rows of a table (of one run), times as aware datetimes, in the order of run and batch.

        A row that was written before a column was added has null there.
        """
        pattern = f"{_file_name(run_id) if run_id else '*'}/*.jsonl"
        for path in sorted((self.root / table.name).glob(pattern)):
            with path.open(encoding="utf-8") as file:
                for line in file:
                    yield _parsed(table, json.loads(line))

    def frame(self, table: Table, run_id: str | None = None) -> pd.DataFrame:
        """The same as a pandas frame with every column of the table, also when there are no rows."""
        import pandas as pd  # takes a second to import

        columns = ["run_id", "batch", "written_at", *table.columns]
        return pd.DataFrame(list(self.rows(table, run_id)), columns=columns)


def _checked(table: Table, row: Row) -> dict[str, Any]:
    for column, value in row.items():
        if column not in table.columns:
            raise RowInvalid(f"table {table.name} has no column {column}")
        if isinstance(value, datetime) and value.tzinfo is None:
            raise RowInvalid(f"{table.name}.{column} is a time without a zone")
        if table.columns[column] == TEXT and value is not None and not isinstance(value, str):
            raise RowInvalid(f"{table.name}.{column} is {type(value).__name__}, not text")
    return {column: row.get(column) for column in table.columns}


def _parsed(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    for column, kind in (*table.columns.items(), ("written_at", TIME)):
        value = row.setdefault(column, None)
        if kind == TIME and value:
            row[column] = datetime.fromisoformat(value)
    return row


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written to the spool")


def _file_name(text: str) -> str:
    """`text` as a file name. Unsafe characters become `%` and their code, so two texts never have the same name."""
    return re.sub(r"[^A-Za-z0-9_.=-]|^\.", lambda found: f"%{ord(found.group()):02X}", text)
