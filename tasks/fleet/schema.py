"""The JSON Schema of a fleet file, for editors: made of the model, with its docstrings as descriptions."""

from __future__ import annotations

import ast
import inspect
from dataclasses import is_dataclass
from textwrap import dedent
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from poolkeeper.tasks.fleet.model import Limit
from poolkeeper.tasks.fleet.shape import FLEET
from poolkeeper.tasks.fleet.values import DURATION, SIZE


def fleet_schema() -> dict[str, Any]:
    """The JSON Schema of a fleet file, for editors."""
    schema = FLEET.adapter.json_schema(schema_generator=_AsWritten)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "poolkeeper fleet file"
    return schema


class _AsWritten(GenerateJsonSchema):
    """With docstrings as descriptions, and defaults as they are written in a file: an editor offers them."""

    _docs: dict[str, str]
    """Of the fields of the class whose schema is being made."""

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        """A class: pydantic knows its docstring, and we those of its fields."""
        outer = getattr(self, "_docs", {})
        self._docs = _docstrings(schema["cls"])
        try:
            return super().dataclass_schema(schema)
        finally:
            self._docs = outer

    def dataclass_field_schema(self, schema: core_schema.DataclassField) -> JsonSchemaValue:
        """A field, by its own name."""
        found = super().dataclass_field_schema(schema)
        doc = self._docs.get(schema["name"])
        return {**found, "description": doc} if doc else found

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A default; none where it stands for absent, or for a block of keys, which tells its own."""
        found = super().default_schema(schema)
        default = schema.get("default")
        if isinstance(default, Limit):
            found["default"] = default.written
        elif default in (None, "") or is_dataclass(default):
            found.pop("default", None)
        elif found.get("pattern") == DURATION:
            found["default"] = _in_units(int(found["default"]), {"d": 86400, "h": 3600, "m": 60, "s": 1})
        elif found.get("pattern") == SIZE:
            found["default"] = _in_units(found["default"], {"Gi": 1024**3, "Mi": 1024**2, "Ki": 1024})
        return found


def _in_units(amount: int, units: dict[str, int]) -> str:
    """By the largest unit that leaves no rest."""
    unit = next(unit for unit, size in units.items() if amount % size == 0)
    return f"{amount // units[unit]}{unit}"


def _docstrings(cls: type) -> dict[str, str]:
    """What stands below each field of a class."""
    (tree,) = ast.parse(dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(doc.value.value).replace("\n", " ")
        for field, doc in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(doc, ast.Expr)
        and isinstance(doc.value, ast.Constant)
        and isinstance(doc.value.value, str)
    }
