"""How the fields of a fleet are read whose meaning depends on others: paths, entries with names, references to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator

from poolkeeper.tasks.fleet.paths import from_folder
from poolkeeper.tasks.fleet.values import ReadAs, Text, by_name

if TYPE_CHECKING:
    from poolkeeper.tasks.fleet.model import Mode, SshAccess

T = TypeVar("T")


@dataclass(slots=True)
class Reading:
    """What a value's meaning depends on while a file is read."""

    path: Path
    """The file's own; others are relative to its folder."""
    mode: Mode
    """The fleet's."""
    ssh: SshAccess
    """The fleet's."""
    sections: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Section -> its entries, of those that were read so far."""


def kept(value: T, info: ValidationInfo[Reading]) -> T:
    """A value of the fleet's that values further down depend on."""
    setattr(info.context, str(info.field_name), value)
    return value


def _file(name: str, info: ValidationInfo[Reading]) -> Path:
    folder = info.context.path.parent
    try:
        return from_folder(folder, name)
    except ValueError:  # nobody's home: `tasks.fleet.references` reports that it is not there
        return Path(folder, name)


File = Annotated[Path, ReadAs(Text, _file)]


Defaults = Callable[[Mapping[str, Any], Reading], Mapping[str, Any]]
"""From an entry to what it says, as it is written, where a key is absent or empty."""


def section(defaults: Defaults | None = None) -> WrapValidator:
    """Entries that others refer to by their names."""

    def read(given: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo[Reading]) -> Any:
        if defaults and isinstance(given, dict):
            given = {name: with_defaults(entry, info.context) for name, entry in given.items()}
        info.context.sections[str(info.field_name)] = found = handler(by_name(given))
        return found

    def with_defaults(entry: Any, reading: Reading) -> Any:
        if not defaults or not isinstance(entry, dict):
            return entry
        return entry | {key: value for key, value in defaults(entry, reading).items() if entry.get(key) is None}

    return WrapValidator(read)


def named(section: str, blank: Callable[[str], T]) -> ReadAs:
    """A reference to an entry. One to nothing is read as a blank entry of that name, and reported by the rules."""

    def meant(name: str, info: ValidationInfo[Reading]) -> T:
        found: T | None = info.context.sections.get(section, {}).get(name)
        return blank(name) if found is None else found

    return ReadAs(Text, meant)
