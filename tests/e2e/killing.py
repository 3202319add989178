"""Where a command kills itself, as a power cut would: at a change that passes the gate, told by its sentence.

    before cordon node *                     its guards have said yes, and nothing was sent
    after evict pod *                        it was made, and nothing has followed yet
    after change 2 of release node *         the second such change
    after program 3 of clean host *          on its way: the third program that a host was sent for it has ended
    before write 1 of join host *            on its way: the first request that changes something in the cluster
    before the answer                        all is done, and the run's answer is not written yet

Nothing is replaced: every function does its work, and the process just ends there, without any clean-up. That every
change there is may be the last one is shown in `tests/contract/killed`, by counting; here are the kinds of changes that
take a host, an API server with kubelets, or Prefect.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import signal
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.hosts import Sessions
from poolkeeper.tasks.outcomes import Gate, Subject
from poolkeeper.tasks.runs.result import RunResult

ANSWER = "the answer"
_PLACE = re.compile(r"(before|after) (?:(program|write) (\d+) of )?(?:change (\d+) of )?(.+)")


@dataclass(frozen=True)
class Place:
    """One such line, read."""

    when: str
    step: str
    """`program` or `write` on the way of a change; empty: the change itself."""
    steps: int
    change: int
    sentence: str

    @classmethod
    def read(cls, text: str) -> Place:
        """Raises ValueError."""
        match = _PLACE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no place")
        when, step, steps, change, sentence = match.groups()
        return cls(when, step or "", int(steps or 0), int(change or 1), sentence)


def arm(text: str) -> None:
    """Make this process end at a place. Raises ValueError."""
    place = Place.read(text)
    if place.sentence == ANSWER:
        _wrap(RunResult, "write", place.when, lambda *_: True)
        return
    on_the_way, changes, steps = ContextVar("on_the_way", default=False), 0, 0
    change = Gate.change

    async def watched(
        gate: Gate, subject: Subject, sentence: str, act: Callable[[], Awaitable[Any]], **named: Any
    ) -> Any:
        async def acted() -> Any:
            nonlocal changes
            changes += 1
            here = changes == place.change
            _die_if(here and not place.step and place.when == "before")
            on_the_way.set(here)
            value = await act()
            on_the_way.set(False)
            _die_if(here and not place.step and place.when == "after")
            return value

        fits = not gate.dry_run and fnmatchcase(sentence, place.sentence)
        return await change(gate, subject, sentence, acted if fits else act, **named)

    def is_step(*given: Any) -> bool:
        """Whether the call that is made is the one: given are the object and what it is called with."""
        nonlocal steps
        if not on_the_way.get() or (place.step == "write" and given[1] == "GET"):
            return False
        steps += 1
        return steps == place.steps

    Gate.change = watched  # type: ignore[method-assign]
    if place.step == "program":
        _wrap(Sessions, "run", place.when, is_step)
    elif place.step == "write":
        _wrap(ClusterApi, "request", place.when, is_step)


def _wrap(owner: type, name: str, when: str, is_it: Callable[..., bool]) -> None:
    """End before or after the call of a method that is the one."""
    method = getattr(owner, name)

    @functools.wraps(method)
    async def awaited(*given: Any, **named: Any) -> Any:
        here = is_it(*given)
        _die_if(here and when == "before")
        value = await method(*given, **named)
        _die_if(here and when == "after")
        return value

    @functools.wraps(method)
    def called(*given: Any, **named: Any) -> Any:
        here = is_it(*given)
        _die_if(here and when == "before")
        value = method(*given, **named)
        _die_if(here and when == "after")
        return value

    setattr(owner, name, awaited if inspect.iscoroutinefunction(method) else called)


def _die_if(now: bool) -> None:
    if now:
        os.kill(os.getpid(), signal.SIGKILL)
