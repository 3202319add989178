"""Reads fields of the API server's objects, each as the type that the API declares for it.

An absent field and null are empty, as in the API. A field of another type raises Malformed. A parser that is `total`
never raises: an object that cannot be read becomes a row that says so. One malformed object therefore fails no list,
and a decision that depends on this object assumes the worst.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from poolkeeper.tasks.outcomes import PoolkeeperError

Json = dict[str, Any]
T = TypeVar("T")
P = ParamSpec("P")


class Malformed(PoolkeeperError, ValueError):
    """A field of an object has another type than the API declares; the message names the field."""

    id = "cluster.object.malformed"
    expected = "each field has the type that the Kubernetes API declares"
    source = "Kubernetes API"


_SHAPE_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a parser raises when it reads an object of another shape."""
_WHY_CHARS = 200
_NAME_CHARS = 253


def section(parent: Json, key: str) -> Json:
    """A field that is an object."""
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"{key} is no object")
    return value


def sections(parent: Json, key: str) -> Sequence[Json]:
    """A field that is a list of objects."""
    value = parent.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Malformed(f"{key} is no list of objects")
    return value


def text(parent: Json, key: str, default: str = "") -> str:
    """A field that is a text."""
    value = parent.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        raise Malformed(f"{key} is no text")
    return value


def required(parent: Json, key: str) -> str:
    """A text that every object has, such as its name."""
    value = text(parent, key)
    if not value:
        raise Malformed(f"it has no {key}")
    return value


def texts(parent: Json, key: str) -> Sequence[str]:
    """A field that is a list of texts."""
    value = parent.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Malformed(f"{key} is no list of texts")
    return value


def pairs(parent: Json, key: str) -> Mapping[str, str]:
    """A field that is a map of texts, such as labels."""
    value = section(parent, key)
    if not all(isinstance(each, str) for each in value.values()):
        raise Malformed(f"{key} is no map of texts")
    return value


def truth(parent: Json, key: str) -> bool:
    """A field that is true or false."""
    value = parent.get(key)
    if value is not None and not isinstance(value, bool):
        raise Malformed(f"{key} is neither true nor false")
    return value is True


def whole(parent: Json, key: str, default: int = 0) -> int:
    """A field that is a whole number."""
    value = parent.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(f"{key} is no whole number")
    return value


def moment(parent: Json, key: str) -> datetime | None:
    """A field that is a moment, aware, in UTC; None where it is absent."""
    value = text(parent, key)
    if not value:
        return None
    try:
        found = datetime.fromisoformat(value)
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed(f"{key} is no moment") from None


def at(item: object, *path: str) -> object:
    """What stands at a path of keys, of whatever type; None where nothing does."""
    for key in path:
        item = item.get(key) if isinstance(item, dict) else None
    return item


def text_at(item: object, *path: str) -> str:
    """The text at a path; empty where there is none."""
    found = at(item, *path)
    return found if isinstance(found, str) else ""


@dataclass(frozen=True, slots=True)
class Unread:
    """An object that cannot be read as its kind, with the parts that can be read."""

    item: object
    why: str
    """A clause, such as `taints is no list of objects`."""

    @property
    def namespace(self) -> str:
        """Its namespace; empty if it cannot be read."""
        return self.text("metadata", "namespace")

    @property
    def name(self) -> str:
        """Its name, or a placeholder."""
        return self.text("metadata", "name") or "(without a name)"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}: {self.why}".removeprefix("/")

    def text(self, *path: str) -> str:
        """The text at a path; empty where there is none."""
        return text_at(self.item, *path)[:_NAME_CHARS]

    def pairs(self, *path: str) -> Mapping[str, str]:
        """The texts of the map at a path; empty where there is none."""
        found = at(self.item, *path)
        return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def total(
    otherwise: Callable[Concatenate[Unread, P], T],
) -> Callable[[Callable[Concatenate[Json, P], T]], Callable[Concatenate[Json, P], T]]:
    """Makes a parser total: it returns the row that `otherwise` makes of an object that it cannot read."""

    def made(parse: Callable[Concatenate[Json, P], T]) -> Callable[Concatenate[Json, P], T]:
        @wraps(parse)
        def read(item: Json, /, *args: P.args, **named: P.kwargs) -> T:
            try:
                if not isinstance(item, dict):
                    raise Malformed("it is no object")
                return parse(item, *args, **named)
            except Malformed as error:
                why = str(error)
            except _SHAPE_ERRORS as error:
                why = f"{type(error).__name__}: {error}"
            return otherwise(Unread(item, why[:_WHY_CHARS]), *args, **named)

        return read

    return made
