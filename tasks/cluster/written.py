"""Reading back what stands in annotations, Leases and ConfigMaps: by us, or by whoever may write there.

Nothing of such a text is believed for having our name on it. It is read within bounds and by its types, or not at all,
and what cannot be read costs the object that it stands on and no other one.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError

T = TypeVar("T")

LONGEST = 256 * 1024
"""Bytes of all annotations of one object, which the API server allows at most."""
LAST_FENCING_TOKEN = 10**15
"""Greater ones are nobody's: they are milliseconds since 1970, or one more than another run's."""

Short = Annotated[str, StringConstraints(max_length=253)]
"""A name, an id or a moment; as long as names of Kubernetes may be."""

Word = Annotated[str, StringConstraints(max_length=253, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/+-]*$")]
"""The same where it may stand in a command that people are told to type."""

JsonObject: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


STRICT = ConfigDict(strict=True, extra="ignore")
"""Field by field, as it is; what another version has added is left out."""


class Unreadable(ValueError):
    """That text is not what we write there; says why, and quotes nothing of it."""


def read_written(text: str, shape: TypeAdapter[T]) -> T:
    """JSON text as what it is to be. Raises Unreadable, however deep, long or odd it is."""
    if len(text) > LONGEST:
        raise Unreadable(f"it is longer than {LONGEST} characters")
    try:
        return shape.validate_json(text)
    except ValidationError as error:
        raise Unreadable(_why(error)) from None


def read_part(value: object, shape: TypeAdapter[T]) -> T:
    """The same of a part of what was read already, such as one entry of many."""
    return read_written(json.dumps(value), shape)


def _why(error: ValidationError) -> str:
    """The first thing that is wrong, and in which of our fields."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = f"{first['loc'][0]}: " if first["loc"] else ""
    return f"{place}{first['msg']}"[:200]
