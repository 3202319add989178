"""From events to lifetimes: when each resource was there, in which state, how large.

What the events leave open stays open here (a beginning that nobody told, a size that was never seen) and becomes a
range when it is priced. What they contradict is a problem. The order in which events are given does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from poolkeeper.tasks.fees.periods import moment
from poolkeeper.tasks.fees.usage.events import BEGINS, RESIZED, STATE, Event, by_resource, place
from poolkeeper.tasks.fleet.problems import Problem


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a lifetime in which nothing changed. Sizes are None when no event of the lifetime told one."""

    start_us: int
    end_us: int | None
    """None: it goes on."""
    state: str
    """As told; empty before any state was told."""
    vcpus: int | None
    gpus: int | None


@dataclass(frozen=True, slots=True)
class Lifetime:
    """From creation or joining to release or leaving."""

    begins_us: int
    """Where its beginning was not told: the first instant at which it was surely there."""
    begin_is_told: bool
    ends_us: int | None
    """None: it had not ended when the evidence was gathered."""
    phases: tuple[Phase, ...]
    ends_after_us: int | None = None
    """Where nobody saw it end: it was surely there then, and surely gone at `ends_us`."""


@dataclass(frozen=True, slots=True)
class History:
    """All that is known of one resource."""

    resource_id: str
    kind: str
    lifetimes: tuple[Lifetime, ...]
    labels: Mapping[str, str]
    """As last told."""
    events: tuple[Event, ...]
    """In the order of time, each once."""


def histories_of(events: Iterable[Event], broken: Iterable[str] = ()) -> tuple[tuple[History, ...], list[Problem]]:
    """One history a resource, in the order of the ids, and every contradiction.

    broken: resources some of whose rows could not be read; what is missing there would look like a contradiction
    """
    histories: list[History] = []
    problems: list[Problem] = []
    left_out = set(broken)
    for resource_id, told in by_resource(events).items():
        if resource_id in left_out:
            continue
        found: list[Problem] = []
        history = _history(resource_id, told, found)
        problems += found
        if not found:
            histories.append(history)
    return tuple(histories), problems


def _history(resource_id: str, told: list[Event], problems: list[Problem]) -> History:
    kind = told[0].kind
    for event in told:
        if event.kind != kind:
            message = f"{resource_id} is a {event.kind} here and a {kind} {_on(told[0], event)}."
            problems.append(_problem(event, "kind", message, "Correct the kind or the id of one of the two."))
    if problems:
        return History(resource_id, kind, (), {}, ())
    events = list(_in_turn(list(_once(told, problems))))
    lifetimes = _lifetimes(events, problems) if not problems else ()
    labels: dict[str, str] = {}
    for event in events:
        labels.update(event.labels)
    return History(resource_id, kind, tuple(lifetimes), labels, tuple(events))


def _once(told: list[Event], problems: list[Problem]) -> Iterator[Event]:
    """Each event once, in the order of time, with what any of its rows tells."""
    same: dict[tuple[int, int, str], Event] = {}
    # the row told last comes last; rows alike in everything differ in nothing that is priced
    for event in sorted(told, key=lambda e: (e.told_at_us, e.source, e.line)):
        key = (event.at_us, _RANK.get(event.verb, 0 if event.begins else 3), event.state)
        first = same.get(key)
        same[key] = event if first is None else _merged(first, event, problems)
    states: dict[int, Event] = {}
    for _, event in sorted(same.items()):
        if event.verb == STATE:
            other = states.setdefault(event.at_us, event)
            if other is not event:
                message = (
                    f"{event.resource_id} is {event.state} here and {other.state} at the same time {_on(other, event)}."
                )
                problems.append(_problem(event, "event", message, "Keep the one that came to be, or correct a time."))
        yield event


_RANK = {RESIZED: 1, STATE: 2}


def _merged(first: Event, later: Event, problems: list[Problem]) -> Event:
    """Two rows of one event. Where they differ the later one is right, if it is known to be later."""
    later_is_known = later.told_at_us > first.told_at_us
    for column in ("vcpus", "gpus"):
        one, other = getattr(first, column), getattr(later, column)
        if one is not None and other is not None and one != other and not later_is_known:
            differing = f"with {other} {column} here and {one} {_on(first, later)}"
            message = f"{later.name} of {later.resource_id} is told twice, {differing}."
            problems.append(_problem(later, column, message, "Delete the wrong row, or correct the time of one."))
    for label in sorted(first.labels.keys() & later.labels.keys()):
        if first.labels[label] != later.labels[label] and not later_is_known:
            message = (
                f"{later.name} of {later.resource_id} is told twice, with another label {label} {_on(first, later)}."
            )
            problems.append(_problem(later, "labels", message, "Delete the wrong row, or make them alike."))
    return replace(
        later,
        vcpus=first.vcpus if later.vcpus is None else later.vcpus,
        gpus=first.gpus if later.gpus is None else later.gpus,
        labels={**first.labels, **later.labels},
    )


def _in_turn(events: list[Event]) -> Iterator[Event]:
    """Events in the order of time; of one instant, in the only order that makes sense: who is there leaves first."""
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


def _lifetimes(events: list[Event], problems: list[Problem]) -> list[Lifetime]:
    lifetimes: list[Lifetime] = []
    open_: list[Event] = []
    last: list[Event] = []
    """The events of the lifetime before."""
    ended: Event | None = None
    for event in events:
        if event.begins and (open_ or (ended and not lifetimes[-1].begin_is_told)):
            problems.append(_begins_wrongly(event, open_[0] if open_ else ended or event))
            return []
        if not event.begins and not open_ and ended is not None and ended.not_before_us is not None and not event.ends:
            # nobody saw it end, and here it is
            lifetimes.pop()
            open_, ended = last[:-1], None
        if not event.begins and not open_ and ended is not None:
            if event.ends and event.not_before_us is not None and event.not_before_us <= ended.at_us:
                continue  # the same end, noticed again
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


def _begins_wrongly(event: Event, earlier: Event) -> Problem:
    if earlier.begins:
        message = (
            f"{event.resource_id} {event.verb} again; it {earlier.verb} {_on(earlier, event)} and has not ended since."
        )
        return _problem(event, "event", message, "Delete the row, or add the event by which it ended in between.")
    message = f"{earlier.resource_id} {_did(earlier)} before it {event.verb} {_on(event, earlier)}."
    fix = f"Correct the time of one of the two, or add the {event.verb} event that came first."
    return _problem(earlier, "at", message, fix)


def _lifetime(events: list[Event]) -> Lifetime:
    first, last = events[0], events[-1]
    ends_us = last.at_us if last.ends else None
    # whoever leaves was there just before
    begins_us = first.at_us - 1 if first.ends else first.at_us
    # a size that is told later holds back to the beginning: nothing says that it was another
    vcpus = next((event.vcpus for event in events if event.vcpus is not None), None)
    gpus = next((event.gpus for event in events if event.gpus is not None), None)
    phases: list[Phase] = []
    start_us, state = begins_us, ""
    for event in events:
        changed = (
            event.state if event.verb == STATE else state,
            vcpus if event.vcpus is None else event.vcpus,
            gpus if event.gpus is None else event.gpus,
        )
        if changed != (state, vcpus, gpus) and not event.ends:
            if event.at_us > start_us:
                phases.append(Phase(start_us, event.at_us, state, vcpus, gpus))
            start_us, (state, vcpus, gpus) = event.at_us, changed
    if ends_us is None or ends_us > start_us:
        phases.append(Phase(start_us, ends_us, state, vcpus, gpus))
    unseen = last.not_before_us if last.ends else None
    return Lifetime(
        begins_us, first.begins, ends_us, tuple(phases), unseen if unseen is None else max(unseen, begins_us)
    )


def _did(event: Event) -> str:
    return f"was {event.state}" if event.verb == STATE else event.verb if event.ends else f"was {event.verb}"


def _on(event: Event, seen_from: Event) -> str:
    """Where an event is told, as seen from another row."""
    where = f"on line {event.line}" if event.source == seen_from.source else f"in {event.source}"
    return f"{where} ({moment(event.at_us).isoformat(timespec='seconds')})"


def _problem(event: Event, column: str, message: str, fix: str) -> Problem:
    return Problem(event.line, 1, place(event.source, column), message, fix)
