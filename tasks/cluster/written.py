"""Reads the JSON texts that poolkeeper keeps in annotations, Leases and ConfigMaps.

Others may write there too, so the name of the annotation proves nothing. Each text is read by its types and within
bounds. A text that cannot be read counts as absent, and affects only the object that has it.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError

from poolkeeper.tasks.outcomes import PoolkeeperError

T = TypeVar("T")

LONGEST = 256 * 1024
"""Bytes; the API server allows no more for all annotations of one object."""
LAST_FENCING_TOKEN = 10**15
"""Greater ones are malformed: a token is milliseconds since 1970, or one more than that of the holder before."""

Short = Annotated[str, StringConstraints(max_length=253)]
"""A name, an id or a moment; as long as names of Kubernetes may be."""

Word = Annotated[str, StringConstraints(max_length=253, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/+-]*$")]
"""The same, safe to show in a command that an operator is asked to type."""

JsonObject: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


STRICT = ConfigDict(strict=True, extra="ignore")
"""Strict types; fields that another version has added are ignored."""


class UnreadableText(PoolkeeperError, ValueError):
    """A text in the cluster is not as poolkeeper writes it. The message is the reason, without its words."""

    id = "cluster.text.unreadable"
    expected = "text as poolkeeper writes it"
    source = "Kubernetes API"


def read_written(text: str, shape: TypeAdapter[T]) -> T:
    """JSON text as `shape`. Raises UnreadableText for any other text, however long or deep."""
    if len(text) > LONGEST:
        raise UnreadableText(f"it is longer than {LONGEST} characters")
    try:
        return shape.validate_json(text)
    except ValidationError as error:
        raise UnreadableText(_why(error)) from None


def read_part(value: object, shape: TypeAdapter[T]) -> T:
    """The same for a part of a JSON value that was read before, such as one entry of many."""
    return read_written(json.dumps(value), shape)


def _why(error: ValidationError) -> str:
    """The first error, with the field that has it."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = f"{first['loc'][0]}: " if first["loc"] else ""
    return f"{place}{first['msg']}"[:200]
