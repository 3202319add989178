"""What was observed and done, written down as it happens."""

from poolkeeper.tasks.ledger.files import private_folder, sync_folder, write_whole
from poolkeeper.tasks.ledger.spool import RowInvalid, Spool
from poolkeeper.tasks.ledger.tables import (
    CHANGES,
    FINDINGS,
    HOST_FACTS,
    LIFECYCLE,
    PROBES,
    RUNS,
    SKIPS,
    STEPS,
    TABLES,
    Table,
)

__all__ = [
    "CHANGES",
    "FINDINGS",
    "HOST_FACTS",
    "LIFECYCLE",
    "PROBES",
    "RUNS",
    "SKIPS",
    "STEPS",
    "TABLES",
    "RowInvalid",
    "Spool",
    "Table",
    "private_folder",
    "sync_folder",
    "write_whole",
]
