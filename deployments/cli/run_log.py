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
"""Loggers that get a handler for the terminal from Prefect; the first one is the root."""
KEPT = 1000
"""Lines that are kept until the id of their run is known, at most."""


class RunLog(logging.Handler):
    """Keeps lines until `begin` names their folder. A line that cannot be written there goes to stderr.

    on_message: called with each message of a run
    """

    def __init__(self, *, verbose: bool, on_message: Callable[[str], None]) -> None:
        super().__init__()
        self._verbose, self._on_message = verbose, on_message
        self._kept: list[str] = []
        self._file: IO[str] | None = None
        self._started = False
        self.path: Path | None = None
        formatter = logging.Formatter("%(asctime)s %(levelname)s %(source)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def begin(self, folder: Path) -> None:
        """The run has a folder: write the kept lines there, and all later ones."""
        self._started, self.path = True, folder / "log.txt"
        try:
            private_folder(folder)
            self._file = open(self.path, "a", encoding="utf-8", opener=_for_its_owner)  # noqa: SIM115 - until `close`
        except OSError:
            self.path = None
        self._write_kept()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # Prefect's records name their task or flow
            record.source = getattr(record, "task_run_name", getattr(record, "flow_run_name", record.name))
            line = visible(self.format(record))
            if self._verbose:
                echo(line, err=True)
            if record.name.startswith(("prefect.flow_runs", "prefect.task_runs")):
                self._on_message(record.getMessage())
            self._kept.append(line)
            if self._started:
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
            except OSError:  # a full disk: the lines go to stderr
                self._file, self.path = None, None
        if not self._verbose:
            for line in lines:
                echo(line, err=True)

    def end(self) -> None:
        """The run is over. Lines of a run that has not started go to stderr: they say why."""
        self._started = True
        self._write_kept()

    def close(self) -> None:
        self.end()
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()


def log_to(log: RunLog) -> None:
    """From now on all log records of this process go to `log` and not to the terminal, also those at Prefect's end.

    Prefect's server still gets them.
    """
    for logger in map(logging.getLogger, _WITH_OWN_HANDLERS):
        for handler in logger.handlers:
            if isinstance(handler, RunLog):
                handler.close()
        logger.handlers[:] = [log]


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
