"""Events in the lifetime of clusters and nodes: the evidence that fees are computed from.

One row is one event of one resource at one time. Rows come from the spool's `lifecycle` table or from a CSV file.
`EventReader` reads both, so that both get the same answer to wrong rows: every problem, each with its line and fix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from poolkeeper.tasks.fees.csv_records import BadValue
from poolkeeper.tasks.fees.periods import instant
from poolkeeper.tasks.fleet.problems import FileInvalid, nearest, quoted_value

EVENT_COLUMNS = ("resource_id", "kind", "event", "at", "vcpus", "gpus", "labels")
REQUIRED = EVENT_COLUMNS[:4]
NOT_BEFORE = "not_before"
"""An optional column, for an end that was not observed: the last time at which the resource certainly existed."""

BEGINS = {"cluster": "created", "node": "joined"}
"""Kind -> the event that a lifetime begins with."""
ENDS = {"cluster": "released", "node": "left"}
"""Kind -> the event that a lifetime ends with."""
STATE = "state"
RESIZED = "resized"

MAX_SIZE = 100_000
"""vCPUs or GPUs of one node; a larger number is a typing error."""


def place(source: str, column: str) -> str:
    """The path of a problem: the column; in the spool, which has many files, the file before it."""
    return f"{source}: {column}" if "/" in source else column


class EvidenceInvalid(FileInvalid):
    """Events with problems. Nothing was metered."""

    id = "fees.evidence.invalid"
    expected = "events that can be read and that do not contradict each other"
    shown_by = "poolkeeper bill meter --events FILE"


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One event of one resource."""

    resource_id: str
    kind: str
    """`cluster` or `node`."""
    verb: str
    """`created`, `released`, `joined`, `left`, `resized` or `state`."""
    state: str
    """The new state, for `state`; else empty."""
    at_us: int
    vcpus: int | None
    """As seen at that time; None when the row has no size."""
    gpus: int | None
    labels: Mapping[str, str]
    source: str
    """The file that has the row."""
    line: int
    recorded_at_us: int = 0
    """When the row was written; 0 where that is not known. Of two rows that differ, the later one counts."""
    not_before_us: int | None = None
    """For an end that was not observed: the last time at which the resource certainly existed. At `at_us` it was
    certainly gone."""

    @property
    def name(self) -> str:
        """The event as in a row: `joined`, `state:Ready`."""
        return f"{STATE}:{self.state}" if self.verb == STATE else self.verb

    @property
    def begins(self) -> bool:
        """Whether a lifetime begins with it."""
        return self.verb == BEGINS[self.kind]

    @property
    def ends(self) -> bool:
        """Whether a lifetime ends with it."""
        return self.verb == ENDS[self.kind]


class _Unreadable(Exception):
    """A value that cannot be read: what is wrong, and how to correct it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message, self.fix = message, fix


@dataclass
class EventReader:
    """Makes events of rows and checks every value. It caches parsed values, because rows repeat them."""

    until_us: int
    """When the evidence was gathered; a later time is in the future."""
    _verbs: dict[tuple[Any, Any], tuple[str, str]] = field(default_factory=dict)
    _sizes: dict[Any, int | None] = field(default_factory=dict)
    _labels: dict[Any, Mapping[str, str]] = field(default_factory=dict)

    def read(
        self, row: Mapping[str, Any], source: str, line: int, recorded_at_us: int = 0
    ) -> UsageEvent | tuple[BadValue, ...]:
        """The event, or everything that is wrong with the row. Values are texts, or typed as in the spool."""
        kind, verb = row.get("kind"), row.get("event")
        try:
            # the fast path for valid rows; `_wrong` checks an invalid row value by value
            verb, state = self._verbs.get((kind, verb)) or self._verb(kind, verb)
            event = UsageEvent(
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
                recorded_at_us,
                self._at(row[NOT_BEFORE]) if row.get(NOT_BEFORE) else None,
            )
        except _Unreadable:
            return tuple(self._wrong(row))
        return event if not (wrong := tuple(_together(event))) else wrong

    def _wrong(self, row: Mapping[str, Any]) -> Iterator[BadValue]:
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
            except _Unreadable as bad:
                yield BadValue(column, bad.message, bad.fix)

    def _verb(self, kind: Any, verb: Any) -> tuple[str, str]:
        known = _kind(kind)
        found = _any_verb(verb)
        if found[0] in _of_other_kinds(known):
            begins, ends = BEGINS[known], ENDS[known]
            raise _Unreadable(
                f"a {known} is not {found[0]}.", f"The lifetime of a {known} begins with {begins} and ends with {ends}."
            )
        self._verbs[kind, verb] = found
        return found

    def _at(self, value: Any) -> int:
        at = value if isinstance(value, datetime) else _moment(value)
        if at.tzinfo is None:
            raise _Unreadable(
                f"{quoted_value(str(value))} has no time zone.",
                f"Write its offset from UTC, like {at.isoformat()}+08:00, or Z for UTC.",
            )
        at_us = instant(at)
        if at_us > self.until_us:
            raise _Unreadable(
                f"{quoted_value(str(value))} is in the future.",
                "Correct the time or its offset, or the clock of the machine that wrote it.",
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
            raise _Unreadable(
                f"{quoted_value(value)} is not a number of {what}.",
                f"Write a whole number from 0 to {MAX_SIZE:,}, or leave it empty when it is not known.",
            )
        return size

    def _labels_of(self, value: Any) -> Mapping[str, str]:
        if not value:
            return _NO_LABELS
        # rows with equal labels share one mapping
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
        raise _Unreadable("resource_id is empty.", "Write the id of the cluster or node.")
    return value.strip()


def _kind(value: Any) -> str:
    if not isinstance(value, str) or value not in BEGINS:
        raise _Unreadable(f"{quoted_value(value or '')} is not a kind of resource.", "Write cluster or node.")
    return value


def _any_verb(value: Any) -> tuple[str, str]:
    text = value if isinstance(value, str) else ""
    verb, colon, state = text.partition(":")
    if verb == STATE and state.strip():
        return STATE, state.strip()
    if colon == "" and verb in _VERBS:
        return verb, ""
    if verb == STATE:
        raise _Unreadable(f"{quoted_value(text)} has no state.", "Write the state after the colon, like state:Ready.")
    raise _Unreadable(f"{quoted_value(text)} is not an event.", nearest(text, [*_VERBS, "state:<name>"]))


_VERBS = (*BEGINS.values(), *ENDS.values(), RESIZED)


def _of_other_kinds(kind: str) -> set[str]:
    return {verb for words in (BEGINS, ENDS) for other, verb in words.items() if other != kind}


def _moment(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise _Unreadable(
            f"{quoted_value(value or '')} is not a time in ISO 8601.", "Write it like 2026-10-05T10:20:00+08:00."
        ) from None


def _labels(text: str) -> Mapping[str, str]:
    """`{"pool": "general"}` or `pool=general;team=web`."""
    if text.lstrip().startswith("{"):
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            raise _Unreadable("these labels are not JSON.", _LABELS_FIX) from None
        if not all(isinstance(value, str | int) for value in given.values()):
            raise _Unreadable("the value of a label is not text.", _LABELS_FIX)
        return {key: str(value) for key, value in given.items()}
    labels: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise _Unreadable(f"{quoted_value(part)} is not a label.", _LABELS_FIX)
        if labels.setdefault(key.strip(), value.strip()) != value.strip():
            raise _Unreadable(f"the label {key.strip()[:40]} is given twice.", "Keep one of the two.")
    return labels


_LABELS_FIX = 'Write labels like pool=general;team=web, or as JSON: {"pool": "general"}.'


def _together(event: UsageEvent) -> Iterator[BadValue]:
    """Problems of values that are valid on their own."""
    if event.kind == "node" and event.vcpus == 0:
        yield BadValue("vcpus", "a node has at least one vCPU.", "Leave it empty when it is not known.")
    if event.verb == RESIZED and event.vcpus is None and event.gpus is None:
        yield BadValue("vcpus", "a resized event without a size.", "Write the new vcpus, gpus, or both.")

    if event.not_before_us is not None and not event.ends:
        yield BadValue(
            NOT_BEFORE, f"{event.verb} is not an end of a lifetime, so {NOT_BEFORE} has no meaning.", "Leave it empty."
        )
    elif event.not_before_us is not None and event.not_before_us > event.at_us:
        yield BadValue(NOT_BEFORE, "it is after `at`, the time of the end.", "Exchange the two times.")


def by_resource(events: Iterable[UsageEvent]) -> dict[str, list[UsageEvent]]:
    """Resource id -> its events, sorted by id."""
    found: dict[str, list[UsageEvent]] = {}
    for event in events:
        found.setdefault(event.resource_id, []).append(event)
    return dict(sorted(found.items()))
