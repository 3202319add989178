"""Lets the command line watch a run in its own process. A run elsewhere has no watcher.

A watcher gets events of the moment. The lasting record is in the spool, in the run's files and in its artifacts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from poolkeeper.tasks.outcomes import HostState


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What is planned for one host, as text for a table."""

    host: str
    wave: int
    change: str
    """Such as `v1.35.4 -> v1.36.3`, or `join`."""
    why: str = ""
    """Why it is changed, if `change` does not show it."""
    drain: str = ""
    """The forecast of its drain."""
    window: str = ""
    """Why it may not start now; empty: it may."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run is about to do."""

    summary: str
    hosts: tuple[HostPlan, ...]
    host_s: float | None = None
    """How long one host is expected to take, in seconds; None: not known."""
    notes: tuple[str, ...] = ()
    """Sentences such as the expected duration, and the time that is left in the maintenance window."""

    @property
    def waves(self) -> int:
        """How many there are."""
        return max((planned.wave for planned in self.hosts), default=0)


class Watcher:
    """Gets what a run does. This one does nothing with it."""

    def planned(self, plan: RunPlan) -> None:
        """The plan is made. A run that goes to several goals has one for each."""

    def doing(self, what: str) -> None:
        """What the run as a whole does now."""

    def wave(self, number: int, hosts: tuple[str, ...]) -> None:
        """A wave begins. number: from 1"""

    def phase(self, host: str, what: str) -> None:
        """What is done with one host now."""

    def phase_ended(self, host: str, what: str) -> None:
        """A phase is over, however it ended."""

    def change(self, subject: str, sentence: str) -> None:
        """A change of a host or a node has passed the gate; in a dry run it is not made."""

    def ended(self, host: str, state: HostState, summary: str) -> None:
        """How the run ended for one host."""


_NOBODY = Watcher()
_watching: ContextVar[Watcher] = ContextVar("watching", default=_NOBODY)


def watcher() -> Watcher:
    """Whoever watches this run."""
    return _watching.get()


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Runs that begin inside the block are watched."""
    before = _watching.set(watcher)
    try:
        yield
    finally:
        _watching.reset(before)
