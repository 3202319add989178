"""From events to usage records: when each resource existed, in which state, with which size.

What the events do not show (a beginning, a size) is a gap here, and becomes a range when it is priced. Events that
contradict each other are problems. Invariant: the order in which events are given does not change the records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from poolkeeper.tasks.fees.periods import moment
from poolkeeper.tasks.fees.usage.events import BEGINS, RESIZED, STATE, UsageEvent, by_resource, place
from poolkeeper.tasks.fleet.problems import Problem


@dataclass(frozen=True, slots=True)
class UsagePhase:
    """An interval of a lifetime in which nothing changed. A size is None when no event of the lifetime has one."""

    start_us: int
    end_us: int | None
    """None: the phase has not ended."""
    state: str
    """As in the event; empty before the first event with a state."""
    vcpus: int | None
    gpus: int | None


@dataclass(frozen=True, slots=True)
class Lifetime:
    """From creation or joining to release or leaving."""

    begins_us: int
    """Where no event reports the beginning: the first instant at which the resource certainly existed."""
    begin_is_known: bool
    ends_us: int | None
    """None: the lifetime had not ended when the evidence was gathered."""
    phases: tuple[UsagePhase, ...]
    ends_after_us: int | None = None
    """For an end that was not observed: the resource certainly existed then, and was certainly gone at `ends_us`."""


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """Everything that is known of the usage of one resource."""

    resource_id: str
    kind: str
    lifetimes: tuple[Lifetime, ...]
    labels: Mapping[str, str]
    """Of each label, the value in the last event that has it."""
    events: tuple[UsageEvent, ...]
    """Each event once, in order of time."""


def usage_records_of(
    events: Iterable[UsageEvent], broken: Iterable[str] = ()
) -> tuple[tuple[UsageRecord, ...], list[Problem]]:
    """One record for each resource, sorted by id, and every contradiction.

    broken: resources with rows that could not be read. They are skipped: a missing event looks like a contradiction.
    """
    records: list[UsageRecord] = []
    problems: list[Problem] = []
    skipped = set(broken)
    for resource_id, own in by_resource(events).items():
        if resource_id in skipped:
            continue
        found: list[Problem] = []
        record = _usage_record(resource_id, own, found)
        problems += found
        if not found:
            records.append(record)
    return tuple(records), problems


def _usage_record(resource_id: str, given: list[UsageEvent], problems: list[Problem]) -> UsageRecord:
    kind = given[0].kind
    for event in given:
        if event.kind != kind:
            message = f"{resource_id} is a {event.kind} here and a {kind} {_on(given[0], event)}."
            problems.append(_problem(event, "kind", message, "Correct the kind or the id of one of the two."))
    if problems:
        return UsageRecord(resource_id, kind, (), {}, ())
    events = list(_in_turn(list(_once(given, problems))))
    lifetimes = _lifetimes(events, problems) if not problems else ()
    labels: dict[str, str] = {}
    for event in events:
        labels.update(event.labels)
    return UsageRecord(resource_id, kind, tuple(lifetimes), labels, tuple(events))


def _once(given: list[UsageEvent], problems: list[Problem]) -> Iterator[UsageEvent]:
    """Each event once, in order of time, with the values of all of its rows."""
    same: dict[tuple[int, int, str], UsageEvent] = {}
    # the row that was written last comes last; rows that are equal here have equal prices
    for event in sorted(given, key=lambda e: (e.recorded_at_us, e.source, e.line)):
        key = (event.at_us, _RANK.get(event.verb, 0 if event.begins else 3), event.state)
        first = same.get(key)
        same[key] = event if first is None else _merged(first, event, problems)
    states: dict[int, UsageEvent] = {}
    for _, event in sorted(same.items()):
        if event.verb == STATE:
            other = states.setdefault(event.at_us, event)
            if other is not event:
                message = (
                    f"{event.resource_id} is {event.state} here and {other.state} at the same time {_on(other, event)}."
                )
                problems.append(_problem(event, "event", message, "Keep one of the two, or correct a time."))
        yield event


_RANK = {RESIZED: 1, STATE: 2}


def _merged(first: UsageEvent, later: UsageEvent, problems: list[Problem]) -> UsageEvent:
    """One event of two rows. Where they differ, the later row counts, if it is known to be later."""
    later_is_known = later.recorded_at_us > first.recorded_at_us
    for column in ("vcpus", "gpus"):
        one, other = getattr(first, column), getattr(later, column)
        if one is not None and other is not None and one != other and not later_is_known:
            differing = f"with {other} {column} here and {one} {_on(first, later)}"
            message = f"{later.name} of {later.resource_id} is given twice, {differing}."
            problems.append(_problem(later, column, message, "Delete the wrong row, or correct the time of one."))
    for label in sorted(first.labels.keys() & later.labels.keys()):
        if first.labels[label] != later.labels[label] and not later_is_known:
            message = (
                f"{later.name} of {later.resource_id} is given twice, with another label {label} {_on(first, later)}."
            )
            problems.append(_problem(later, "labels", message, "Delete the wrong row, or give both the same label."))
    return replace(
        later,
        vcpus=first.vcpus if later.vcpus is None else later.vcpus,
        gpus=first.gpus if later.gpus is None else later.gpus,
        labels={**first.labels, **later.labels},
    )


def _in_turn(events: list[UsageEvent]) -> Iterator[UsageEvent]:
    """Events in order of time. Of events at one instant, the end of a lifetime that has begun comes first."""
    alive = False
    position = 0
    while position < len(events):
        end = position + 1
        while end < len(events) and events[end].at_us == events[position].at_us:
            end += 1
        together = events[position:end]
        if alive and together[0].begins and together[-1].ends and len(together) > 1:
            together = [together[-1], *together[:-1]]
        yield from together
        for event in together:
            alive = not event.ends
        position = end


def _lifetimes(events: list[UsageEvent], problems: list[Problem]) -> list[Lifetime]:
    lifetimes: list[Lifetime] = []
    open_: list[UsageEvent] = []
    last: list[UsageEvent] = []
    """The events of the previous lifetime."""
    ended: UsageEvent | None = None
    for event in events:
        if event.begins and (open_ or (ended and not lifetimes[-1].begin_is_known)):
            problems.append(_begins_wrongly(event, open_[0] if open_ else ended or event))
            return []
        if not event.begins and not open_ and ended is not None and ended.not_before_us is not None and not event.ends:
            # its end was not observed, and this event shows that it still exists
            lifetimes.pop()
            open_, ended = last[:-1], None
        if not event.begins and not open_ and ended is not None:
            if event.ends and event.not_before_us is not None and event.not_before_us <= ended.at_us:
                continue  # the same end, reported again
            message = (
                f"{event.resource_id} {_did(event)} after it {ended.verb} {_on(ended, event)}."
                if not event.ends
                else f"{event.resource_id} {event.verb} again; it {ended.verb} {_on(ended, event)} already."
            )
            begins = BEGINS[event.kind]
            problems.append(
                _problem(event, "event", message, f"Correct a time, or add the {begins} event between the two.")
            )
            return []
        open_.append(event)
        if event.ends:
            lifetimes.append(_lifetime(open_))
            last, open_, ended = open_, [], event
    if open_:
        lifetimes.append(_lifetime(open_))
    return lifetimes


def _begins_wrongly(event: UsageEvent, earlier: UsageEvent) -> Problem:
    if earlier.begins:
        message = (
            f"{event.resource_id} {event.verb} again; it {earlier.verb} {_on(earlier, event)} and has not ended since."
        )
        return _problem(event, "event", message, "Delete the row, or add the event by which it ended in between.")
    message = f"{earlier.resource_id} {_did(earlier)} before it {event.verb} {_on(event, earlier)}."
    fix = f"Correct the time of one of the two, or add the {event.verb} event that came first."
    return _problem(earlier, "at", message, fix)


def _lifetime(events: list[UsageEvent]) -> Lifetime:
    first, last = events[0], events[-1]
    ends_us = last.at_us if last.ends else None
    # a resource existed just before its end
    begins_us = first.at_us - 1 if first.ends else first.at_us
    # a size from a later event counts from the beginning on: no event has another size
    vcpus = next((event.vcpus for event in events if event.vcpus is not None), None)
    gpus = next((event.gpus for event in events if event.gpus is not None), None)
    phases: list[UsagePhase] = []
    start_us, state = begins_us, ""
    for event in events:
        changed = (
            event.state if event.verb == STATE else state,
            vcpus if event.vcpus is None else event.vcpus,
            gpus if event.gpus is None else event.gpus,
        )
        if changed != (state, vcpus, gpus) and not event.ends:
            if event.at_us > start_us:
                phases.append(UsagePhase(start_us, event.at_us, state, vcpus, gpus))
            start_us, (state, vcpus, gpus) = event.at_us, changed
    if ends_us is None or ends_us > start_us:
        phases.append(UsagePhase(start_us, ends_us, state, vcpus, gpus))
    unseen = last.not_before_us if last.ends else None
    return Lifetime(
        begins_us, first.begins, ends_us, tuple(phases), unseen if unseen is None else max(unseen, begins_us)
    )


def _did(event: UsageEvent) -> str:
    return f"was {event.state}" if event.verb == STATE else event.verb if event.ends else f"was {event.verb}"


def _on(event: UsageEvent, seen_from: UsageEvent) -> str:
    """Where an event is written, as seen from another row."""
    where = f"on line {event.line}" if event.source == seen_from.source else f"in {event.source}"
    return f"{where} ({moment(event.at_us).isoformat(timespec='seconds')})"


def _problem(event: UsageEvent, column: str, message: str, fix: str) -> Problem:
    return Problem(event.line, 1, place(event.source, column), message, fix)
