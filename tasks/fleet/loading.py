"""From a file to a fleet, or to every problem of the file at once."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from poolkeeper.tasks.fleet.draft import MAX_MISTAKES, read_draft
from poolkeeper.tasks.fleet.model import Fleet, Mode, SshAccess
from poolkeeper.tasks.fleet.pasted import hidden, pasted_secrets, secrets_in_comments
from poolkeeper.tasks.fleet.problems import FileInvalid, Problems
from poolkeeper.tasks.fleet.reading import Reading
from poolkeeper.tasks.fleet.rules import check_draft
from poolkeeper.tasks.fleet.shape import FLEET
from poolkeeper.tasks.fleet.source import TextInvalid, read_source
from poolkeeper.tasks.fleet.text import Positions


class FleetInvalid(FileInvalid):
    """A fleet file with problems."""

    id = "fleet.file.invalid"
    expected = "a valid fleet file"
    source = "fleet file"

    keys = frozenset({"fleet"} | {field.name for field in fields(Fleet)})


def load_fleet(path: Path) -> Fleet:
    """The fleet that a file declares. Raises FleetInvalid with every problem."""
    fleet, problems = check_fleet(path)
    if fleet is None:
        raise FleetInvalid(path.name, problems)
    return fleet


def check_fleet(path: Path) -> tuple[Fleet | None, Problems]:
    """The fleet, or None and its problems."""
    try:
        text = read_source(path)
        positions = Positions(text)
    except TextInvalid as error:
        return None, Problems.of([error.problem])
    secrets = pasted_secrets(positions.data)
    reading = Reading(path, Mode.ACT, SshAccess())
    draft = read_draft(positions.data, positions.written, FLEET, path, context=reading)
    mistakes = [*draft.mistakes, *check_draft(draft, path.parent)]
    pasted_at = {secret.path for secret in secrets}
    # other mistakes of a pasted secret go away with it, and would show it
    mistakes = [mistake for mistake in mistakes if mistake.path not in pasted_at]
    mistakes[:0] = [secret.mistake for secret in secrets]
    shown = mistakes[:MAX_MISTAKES]
    placed = [*positions.problems, *secrets_in_comments(text), *map(positions.place, shown)]
    if placed or draft.document is None:
        return None, Problems.of(hidden(placed, secrets), draft.more + len(mistakes) - len(shown))
    return draft.document, Problems.of(())
