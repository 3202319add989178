"""The log of a run that was started at a shell: a file beside the run's others, and with -v the terminal too."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from poolkeeper.deployments.terminal import echo
from poolkeeper.tasks.ledger import private_folder
from poolkeeper.tasks.outcomes import visible

_WITH_OWN_HANDLERS = ("", "uvicorn", "fastapi")
"""Loggers that Prefect gives a handler which writes to the terminal; the first is the root."""
KEPT = 1000
"""Lines that are kept until it is known which run they are of."""


class RunLog(logging.Handler):
    """Keeps lines until `begin` says where they belong. What cannot be written there goes to stderr.

    heard: gets each message of a run
    """

    def __init__(self, *, verbose: bool, heard: Callable[[str], None]) -> None:
        super().__init__()
        self._verbose, self._heard = verbose, heard
        self._kept: list[str] = []
        self._file: IO[str] | None = None
        self._begun = False
        self.path: Path | None = None
        formatter = logging.Formatter("%(asctime)s %(levelname)s %(source)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def begin(self, folder: Path) -> None:
        """The run's own folder is known."""
        self._begun, self.path = True, folder / "log.txt"
        try:
            private_folder(folder)
            self._file = open(self.path, "a", encoding="utf-8", opener=_for_its_owner)  # noqa: SIM115 - until `close`
        except OSError:
            self.path = None
        self._write_kept()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # Prefect's records tell the task or the flow that they are of
            record.source = getattr(record, "task_run_name", getattr(record, "flow_run_name", record.name))
            line = visible(self.format(record))
            if self._verbose:
                echo(line, err=True)
            if record.name.startswith(("prefect.flow_runs", "prefect.task_runs")):
                self._heard(record.getMessage())
            self._kept.append(line)
            if self._begun:
                self._write_kept()
            else:
                del self._kept[:-KEPT]
        except Exception:
            self.handleError(record)

    def _write_kept(self) -> None:
        lines, self._kept = self._kept, list[str]()
        if self._file is not None:
            try:
                self._file.writelines(f"{line}\n" for line in lines)
                self._file.flush()
                return
            except OSError:  # a full disk: whoever watches reads it all the same
                self._file, self.path = None, None
        if not self._verbose:
            for line in lines:
                echo(line, err=True)

    def end(self) -> None:
        """The run is over. Lines of one that has never begun go to stderr: they say why."""
        self._begun = True
        self._write_kept()

    def close(self) -> None:
        self.end()
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()


def log_to(log: RunLog) -> None:
    """From now on whatever is logged in this process goes there and not to the terminal: Prefect logs at its end, too.

    Prefect's server gets it all the same.
    """
    for logger in map(logging.getLogger, _WITH_OWN_HANDLERS):
        for handler in logger.handlers:
            if isinstance(handler, RunLog):
                handler.close()
        logger.handlers[:] = [log]


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
