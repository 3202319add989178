"""Turns pydantic's errors into messages with a fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from poolkeeper.tasks.fleet.problems import Mistake, Path_, nearest, quoted_value
from poolkeeper.tasks.fleet.shape import FLEET, Shape

SECRET_KEYS = frozenset({"key", "kubeconfig", "access_key_id", "access_key_secret"})
"""The values of these keys are never shown: they may be secrets."""

_WHERE_IT_IS = "Write {file: PATH}, {env: NAME} or {block: NAME}."


def mistake_of(
    error: Mapping[str, Any], path: Path_, written: Callable[[Path_], str | None], shape: Shape[Any] = FLEET
) -> Mistake:
    """One error of pydantic's as a mistake.

    error: a row of `ValidationError.errors()`
    path: where it is in the file
    written: a value as it is written in the file
    shape: what the file is read as
    """
    kind, message, given, last = error["type"], str(error["msg"]), error.get("input"), path[-1]
    secret = is_secret(path)
    shown = "this" if secret else quoted_value(given, written(path))
    if kind in ("extra_forbidden", "unexpected_keyword_argument", "multiple_argument_values"):
        return Mistake(
            path, f"there is no key {str(last)[:60]} here.", nearest(str(last), known_keys(path, shape)), at_key=True
        )
    if kind == "missing":
        return Mistake(path, f"{last} is missing.", f"Add `{last}:`.")
    if given is None or kind == "string_too_short":
        thing, before = (last, f"`{last}:`") if isinstance(last, str) else ("this item of the list", "the dash")
        return Mistake(path, f"{thing} is empty.", f"Write a value behind {before}, or delete it.")
    if kind == "value_error":
        sentence, _, fix = message.removeprefix("Value error, ").partition("|")
        whole = sentence.replace("{}", shown) if "{}" in sentence else f"{shown} {sentence}"
        return Mistake(path, f"{whole}.", fix)
    if kind in ("enum", "literal_error"):
        choices = [word.strip(" '") for word in message.partition("should be ")[2].replace(" or ", ", ").split(", ")]
        near = nearest(given, choices) if isinstance(given, str) else ""
        return Mistake(
            path,
            f"{shown} is not one of {', '.join(choices)}.",
            near if near.startswith("Did") else f"Write {' or '.join(choices)}.",
        )
    if kind in ("model_type", "dataclass_type", "dict_type"):
        if secret and last in SECRET_KEYS:
            return Mistake(path, f"{last} must be a reference to the secret, and not the secret itself.", _WHERE_IT_IS)
        return Mistake(path, f"{shown} is not a block of keys.", "Write `key: value` lines below it.")
    if kind in ("list_type", "tuple_type"):
        return Mistake(path, f"{shown} is not a list.", "Write it as [a, b].")
    if kind == "string_type":
        quoted = isinstance(given, bool | int | float) and not secret
        fix = f'Write it in quotes: "{shown}".' if quoted else "Write a text."
        return Mistake(path, f"{shown} is not text.", fix)
    if kind == "string_pattern_mismatch":
        return Mistake(path, f"{shown} has several lines or control characters.", "Write it on one line, without them.")
    if kind in ("int_type", "int_parsing", "int_from_float"):
        return Mistake(path, f"{shown} is not a whole number.", "Write a whole number, without quotes.")
    if kind in ("bool_type", "bool_parsing"):
        return Mistake(path, f"{shown} is neither true nor false.", "Write true or false, without quotes.")
    if kind in ("greater_than_equal", "less_than_equal"):
        word = "less" if kind == "greater_than_equal" else "more"
        border = message.rpartition(" ")[2]
        return Mistake(
            path,
            f"{shown} is {word} than {border}.",
            f"Write a number of {border} or {'more' if word == 'less' else 'less'}.",
        )
    return Mistake(path, f"{message[0].lower()}{message[1:]}.", shape.compare_with)


def is_secret(path: Path_) -> bool:
    """Whether a secret's reference belongs at that path, or in it."""
    labels = "labels" in path
    names = path[2:] if path[0] != "ssh" else path
    return not labels and not SECRET_KEYS.isdisjoint(names)


def known_keys(path: Path_, shape: Shape[Any] = FLEET) -> list[str]:
    """The keys that the schema allows at the place of an unknown key."""
    here = [shape.schema]
    for part in path[:-1]:
        here = [below for schema in here for below in _below(schema, part, shape)]
    return [key for schema in here for choice in _choices(schema, shape) for key in choice.get("properties", ())]


def _below(schema: Mapping[str, Any], part: str | int, shape: Shape[Any]) -> Iterator[Mapping[str, Any]]:
    """What a part of a value may be: a key's value, an entry's, a list's item."""
    for choice in _choices(schema, shape):
        found = choice.get("properties", {}).get(part) or choice.get(
            "items" if isinstance(part, int) else "additionalProperties"
        )
        if found:
            yield found


def _choices(schema: Mapping[str, Any], shape: Shape[Any]) -> Iterator[Mapping[str, Any]]:
    """A schema's alternatives, each as it is defined."""
    if "$ref" in schema:
        schema = shape.schema["$defs"][schema["$ref"].rpartition("/")[2]]
    for choice in schema.get("anyOf", ()):
        yield from _choices(choice, shape)
    yield schema
