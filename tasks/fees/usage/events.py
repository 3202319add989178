"""Events in the life of clusters and nodes: the evidence that a fee is computed from.

One row says that something happened to one resource at one time. Rows come from the spool's `lifecycle` table or from
a CSV file; both are read by `EventReader`, so that both are answered alike: every problem, each with line and fix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from poolkeeper.tasks.fees.periods import instant
from poolkeeper.tasks.fleet.problems import FileInvalid, nearest, quoted_value

COLUMNS = ("resource_id", "kind", "event", "at", "vcpus", "gpus", "labels")
REQUIRED = COLUMNS[:4]
NOT_BEFORE = "not_before"
"""A column that few rows have: of an end that nobody saw, the last time at which the resource was surely there."""

BEGINS = {"cluster": "created", "node": "joined"}
"""Kind -> the event that a lifetime begins with."""
ENDS = {"cluster": "released", "node": "left"}
"""Kind -> the event that a lifetime ends with."""
STATE = "state"
RESIZED = "resized"

MAX_SIZE = 100_000
"""vCPUs or GPUs of one node: more is a slip of the pen."""


def place(source: str, column: str) -> str:
    """The path of a problem: the column, and before it the batch where the source is one of the spool's many files."""
    return f"{source}: {column}" if "/" in source else column


class EvidenceInvalid(FileInvalid):
    """Evidence with problems; nothing was metered."""

    shown_by = "poolkeeper bill meter --events FILE"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one resource."""

    resource_id: str
    kind: str
    """`cluster` or `node`."""
    verb: str
    """`created`, `released`, `joined`, `left`, `resized` or `state`."""
    state: str
    """The new state, for `state`; else empty."""
    at_us: int
    vcpus: int | None
    """As seen at that time; None when the row does not tell."""
    gpus: int | None
    labels: Mapping[str, str]
    source: str
    """The file that the row stands in."""
    line: int
    told_at_us: int = 0
    """When the row was written down, where that is known: of two that differ, the later one is believed."""
    not_before_us: int | None = None
    """Of an end that nobody saw: the last time at which it was surely there. `at_us` is when it was surely gone."""

    @property
    def name(self) -> str:
        """The event as a row writes it: `joined`, `state:Ready`."""
        return f"{STATE}:{self.state}" if self.verb == STATE else self.verb

    @property
    def begins(self) -> bool:
        """Whether a lifetime begins with it."""
        return self.verb == BEGINS[self.kind]

    @property
    def ends(self) -> bool:
        """Whether a lifetime ends with it."""
        return self.verb == ENDS[self.kind]


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with one value of a row."""

    column: str
    message: str
    fix: str


class _Bad(Exception):
    """A value that cannot be read: what is wrong, and how to mend it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message, self.fix = message, fix


@dataclass
class EventReader:
    """Rows to events, checking every value. One reader remembers what it has read, because rows repeat themselves."""

    until_us: int
    """Until when evidence was gathered: what is later lies in the future."""
    _verbs: dict[tuple[Any, Any], tuple[str, str]] = field(default_factory=dict)
    _sizes: dict[Any, int | None] = field(default_factory=dict)
    _labels: dict[Any, Mapping[str, str]] = field(default_factory=dict)

    def read(self, row: Mapping[str, Any], source: str, line: int, told_at_us: int = 0) -> Event | tuple[Wrong, ...]:
        """The event, or everything that is wrong with the row. Values are texts, or typed as the spool keeps them."""
        kind, verb = row.get("kind"), row.get("event")
        try:
            # the usual row: known words, a good time; anything else is looked at value by value
            verb, state = self._verbs.get((kind, verb)) or self._verb(kind, verb)
            event = Event(
                _resource(row.get("resource_id")),
                kind,  # type: ignore[arg-type]  # `_verb` knows the kind
                verb,
                state,
                self._at(row.get("at")),
                self._size(row.get("vcpus"), "vCPUs"),
                self._size(row.get("gpus"), "GPUs"),
                self._labels_of(row.get("labels")),
                source,
                line,
                told_at_us,
                self._at(row[NOT_BEFORE]) if row.get(NOT_BEFORE) else None,
            )
        except _Bad:
            return tuple(self._wrong(row))
        return event if not (wrong := tuple(_together(event))) else wrong

    def _wrong(self, row: Mapping[str, Any]) -> Iterator[Wrong]:
        kind = row.get("kind")
        for column, read in (
            ("resource_id", _resource),
            ("kind", _kind),
            ("event", lambda verb: self._verb(kind, verb) if kind in BEGINS else _any_verb(verb)),
            ("at", self._at),
            (NOT_BEFORE, lambda value: self._at(value) if value else None),
            ("vcpus", lambda value: self._size(value, "vCPUs")),
            ("gpus", lambda value: self._size(value, "GPUs")),
            ("labels", self._labels_of),
        ):
            try:
                read(row.get(column))
            except _Bad as bad:
                yield Wrong(column, bad.message, bad.fix)

    def _verb(self, kind: Any, verb: Any) -> tuple[str, str]:
        known = _kind(kind)
        found = _any_verb(verb)
        if found[0] in _of_other_kinds(known):
            begins, ends = BEGINS[known], ENDS[known]
            raise _Bad(f"a {known} is not {found[0]}.", f"A {known}'s life is told by {begins} and {ends}.")
        self._verbs[kind, verb] = found
        return found

    def _at(self, value: Any) -> int:
        at = value if isinstance(value, datetime) else _moment(value)
        if at.tzinfo is None:
            raise _Bad(
                f"{quoted_value(str(value))} has no time zone; where clocks are put back, an hour comes twice.",
                f"Write its offset from UTC, like {at.isoformat()}+08:00, or Z for UTC.",
            )
        at_us = instant(at)
        if at_us > self.until_us:
            raise _Bad(
                f"{quoted_value(str(value))} lies in the future.",
                "Correct the time, its offset, or the clock that wrote it.",
            )
        return at_us

    def _size(self, value: Any, what: str) -> int | None:
        if value is None or value == "":
            return None
        if isinstance(value, str):
            if value not in self._sizes:
                self._sizes[value] = int(value) if re.fullmatch(r"[0-9]{1,6}", value) else -1
            size = self._sizes[value]
        else:
            size = value if isinstance(value, int) and not isinstance(value, bool) else -1
        if size is None or not 0 <= size <= MAX_SIZE:
            raise _Bad(
                f"{quoted_value(value)} is not a number of {what}.",
                f"Write a whole number from 0 to {MAX_SIZE:,}, or nothing where it is not known.",
            )
        return size

    def _labels_of(self, value: Any) -> Mapping[str, str]:
        if not value:
            return _NO_LABELS
        # one mapping for all rows that say the same
        if isinstance(value, str):
            found = self._labels.get(value)
            if found is None:
                found = self._labels[value] = _labels(value)
            return found
        pairs = tuple(sorted((str(key), str(text)) for key, text in dict(value).items()))
        return self._labels.setdefault(pairs, dict(pairs))


_NO_LABELS: Mapping[str, str] = {}


def _resource(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Bad("resource_id is empty.", "Write the id of the cluster or node.")
    return value.strip()


def _kind(value: Any) -> str:
    if not isinstance(value, str) or value not in BEGINS:
        raise _Bad(f"{quoted_value(value or '')} is not a kind of resource.", "Write cluster or node.")
    return value


def _any_verb(value: Any) -> tuple[str, str]:
    text = value if isinstance(value, str) else ""
    verb, colon, state = text.partition(":")
    if verb == STATE and state.strip():
        return STATE, state.strip()
    if colon == "" and verb in _VERBS:
        return verb, ""
    if verb == STATE:
        raise _Bad(f"{quoted_value(text)} names no state.", "Write it with the state behind it, like state:Ready.")
    raise _Bad(f"{quoted_value(text)} is not an event.", nearest(text, [*_VERBS, "state:<name>"]))


_VERBS = (*BEGINS.values(), *ENDS.values(), RESIZED)


def _of_other_kinds(kind: str) -> set[str]:
    return {verb for words in (BEGINS, ENDS) for other, verb in words.items() if other != kind}


def _moment(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise _Bad(
            f"{quoted_value(value or '')} is not a time in ISO 8601.", "Write it like 2026-10-05T10:20:00+08:00."
        ) from None


def _labels(text: str) -> Mapping[str, str]:
    """`{"pool": "general"}` or `pool=general;team=web`."""
    if text.lstrip().startswith("{"):
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            raise _Bad("these labels are not JSON.", _LABELS_FIX) from None
        if not all(isinstance(value, str | int) for value in given.values()):
            raise _Bad("a label's value is no text.", _LABELS_FIX)
        return {key: str(value) for key, value in given.items()}
    labels: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise _Bad(f"{quoted_value(part)} is not a label.", _LABELS_FIX)
        if labels.setdefault(key.strip(), value.strip()) != value.strip():
            raise _Bad(f"the label {key.strip()[:40]} stands twice.", "Keep one of the two.")
    return labels


_LABELS_FIX = 'Write labels like pool=general;team=web, or as JSON: {"pool": "general"}.'


def _together(event: Event) -> Iterator[Wrong]:
    """What single values do not show."""
    if event.kind == "node" and event.vcpus == 0:
        yield Wrong("vcpus", "a node has at least one vCPU.", "Leave it empty where it is not known.")
    if event.verb == RESIZED and event.vcpus is None and event.gpus is None:
        yield Wrong("vcpus", "a resized event tells no size.", "Write the new vcpus, gpus, or both.")

    if event.not_before_us is not None and not event.ends:
        yield Wrong(NOT_BEFORE, f"{event.verb} is no end, and only an end may be unseen.", "Leave it empty.")
    elif event.not_before_us is not None and event.not_before_us > event.at_us:
        yield Wrong(NOT_BEFORE, "it lies after the time at which it was gone.", "Exchange the two times.")


def by_resource(events: Iterable[Event]) -> dict[str, list[Event]]:
    """Events by the resource they happened to, in the order of the ids."""
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.resource_id, []).append(event)
    return dict(sorted(found.items()))
