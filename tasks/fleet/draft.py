"""What can be read of a file with mistakes in it, so that one mistake does not hide the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic

from pydantic import ValidationError
from pydantic_core import ArgsKwargs

from poolkeeper.tasks.fleet.messages import mistake_of
from poolkeeper.tasks.fleet.model import Fleet
from poolkeeper.tasks.fleet.problems import Mistake, Path_
from poolkeeper.tasks.fleet.shape import FLEET, D, Shape

SECTIONS = FLEET.sections

MAX_MISTAKES = 1_000
"""Values that are wrong by themselves: of a file with more, nothing else is looked at before these are mended."""


@dataclass(frozen=True)
class DraftOf(Generic[D]):
    """The readable part of a file. Rules ask `unread` before they judge a value: something may stand in for it."""

    document: D | None
    """Wrong values left out, or something standing in for them; None when nothing could be read."""
    mistakes: tuple[Mistake, ...]
    """What is wrong with single values."""
    names: Mapping[str, Collection[str]]
    """Section -> the names that it declares, also of entries that are broken."""
    broken: frozenset[Path_]
    """Where values could not be read as they are written."""
    more: int
    """So many mistakes more are only counted."""
    _read: Any
    """What the document was read from."""
    _above: frozenset[Path_]
    _left_out: Mapping[Path_, tuple[int, ...]]

    def unread(self, *path: str | int) -> bool:
        """Whether a value, something in it or something that it is in could not be read as it is written."""
        if not self.broken:
            return False
        return path in self._above or any(path[: n + 1] in self.broken for n in range(len(path)))

    def given(self, *path: str | int) -> Any:
        """What is written for a value of the document, or stands in for it; None where nothing is."""
        value = self._read
        for part in path:
            value = _part(value, part)
        return value

    def as_written(self, path: Path_) -> Path_:
        """A path into `document` as one into the file: list items that were left out are counted again."""
        if not self._left_out:
            return path
        found: Path_ = ()
        for part in path:
            if isinstance(part, int):
                for left_out in self._left_out.get(found, ()):
                    part += left_out <= part
            found = (*found, part)
        return found


Draft = DraftOf[Fleet]
"""The readable part of a fleet file."""


def read_draft(
    data: Any, written: Callable[[Path_], str | None], shape: Shape[D], *more: Any, context: Any = None
) -> DraftOf[D]:
    """Read plain data.

    written: gives a single value as it is written in the file
    more: the first fields of what is read, which are no part of the file
    context: what the reading of values depends on
    """
    mistakes: list[Mistake] = []
    broken: set[Path_] = set()
    remaining = data
    draft = _draft(shape, None, mistakes, data, broken, remaining)
    for attempt in range(8):
        try:
            document = shape.adapter.validate_python(ArgsKwargs(more, remaining), context=context)
            return _draft(shape, document, mistakes, data, broken, remaining)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_context=False)
        if attempt == 0 and len(errors) > MAX_MISTAKES:
            first = errors[:MAX_MISTAKES]
            mistakes += [mistake_of(row, tuple(row["loc"]), written, shape) for row in first]
            return _draft(shape, None, mistakes, data, broken, remaining, len(errors) - MAX_MISTAKES)
        paths = [draft.as_written(tuple(row["loc"])) for row in errors]
        if attempt == 0:
            mistakes += [mistake_of(row, path, written, shape) for row, path in zip(errors, paths, strict=True)]
        # a value with no stand-in that fails again takes what it is in with it
        broken |= {path[: max(1, len(path) - attempt)] for path in paths}
        remaining = _without(data, broken, shape)
        draft = _draft(shape, None, mistakes, data, broken, remaining)
    return draft


def _draft(
    shape: Shape[D],
    document: D | None,
    mistakes: Iterable[Mistake],
    data: Any,
    broken: set[Path_],
    read: Any,
    more: int = 0,
) -> DraftOf[D]:
    names = {section: tuple(data[section]) if isinstance(data.get(section), dict) else () for section in shape.sections}
    above = frozenset(path[:n] for path in broken for n in range(1, len(path)))
    left_out: dict[Path_, tuple[int, ...]] = {}
    for path in sorted((path for path in broken if isinstance(path[-1], int)), key=lambda path: int(path[-1])):
        left_out[path[:-1]] = (*left_out.get(path[:-1], ()), int(path[-1]))
    return DraftOf(document, tuple(mistakes), names, frozenset(broken), more, read, above, left_out)


def _without(data: Any, broken: Iterable[Path_], shape: Shape[Any]) -> Any:
    copy = _copied(data)
    # what is inside before what it is in, and the end of a list first, so that positions hold
    for path in sorted(broken, key=lambda path: [(isinstance(part, int), part) for part in path], reverse=True):
        holder: Any = copy
        for part in path[:-1]:
            holder = _part(holder, part)
        last = path[-1]
        if isinstance(holder, dict):
            holder.pop(last, None)
            named = len(path) == 2 and path[0] in shape.sections
            if last in shape.stand_ins and not named and "labels" not in path[:-1]:
                holder[last] = shape.stand_ins[str(last)]
        elif isinstance(holder, list) and isinstance(last, int) and last < len(holder):
            del holder[last]
    return copy


def _part(holder: Any, part: str | int) -> Any:
    if isinstance(holder, dict):
        return holder.get(part)
    return holder[part] if isinstance(holder, list) and isinstance(part, int) and part < len(holder) else None


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(child) for key, child in value.items()}
    return [_copied(child) for child in value] if isinstance(value, list) else value
