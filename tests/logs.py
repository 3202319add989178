"""What our own modules log, for tests that wait for a line or look for one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Lines(logging.Handler):
    def __init__(self, hears: Callable[[str], None]) -> None:
        super().__init__()
        self._hears = hears

    def emit(self, record: logging.LogRecord) -> None:
        self._hears(record.getMessage())


@contextmanager
def logged(hears: Callable[[str], None]) -> Iterator[None]:
    """Within it `hears` gets each line that `poolkeeper.tasks` logs."""
    logger, handler = logging.getLogger("poolkeeper.tasks"), _Lines(hears)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
