"""The parameters of a flow, read from its source: names, types, defaults, descriptions, and its first sentence.

Importing a flow imports Prefect, which takes two seconds: too long for `--help` and for completion. So signature and
docstring are read as text, and only the names of the types are imported. tests/unit/test_registry.py compares the
result with what Prefect reads of the same function.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args, get_origin

from poolkeeper.flows.registry import Registered

_ARGUMENT = re.compile(r"^ {4}(\w+): (.*)$")
REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a flow."""

    name: str
    type: Any
    default: Any
    """REQUIRED if there is none."""
    about: str
    """Its description; one line."""

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off."""
        return self.type is bool

    @property
    def is_mapping(self) -> bool:
        """Whether it maps names to values."""
        return any(get_origin(part) is dict for part in (self.type, *get_args(self.type)))

    @property
    def choices(self) -> tuple[str, ...]:
        """All allowed values; empty: any value of its type."""
        if isinstance(self.type, type) and issubclass(self.type, Enum):
            return tuple(str(each.value) for each in self.type)
        return get_args(self.type) if get_origin(self.type) is Literal else ()


@dataclass(frozen=True, slots=True)
class Signature:
    """What a flow does, in one sentence, and its parameters in their order."""

    about: str
    parameters: tuple[Parameter, ...]


@cache
def signature_of(flow: Registered) -> Signature:
    """The signature of a registered flow."""
    package, _, name = flow.module.rpartition(".")
    module = ast.parse(files(package).joinpath(f"{name}.py").read_text(encoding="utf-8"))
    name = flow.entrypoint.rpartition(".")[2]
    function = next(node for node in module.body if isinstance(node, ast.AsyncFunctionDef) and node.name == name)
    docstring = inspect.cleandoc(ast.get_docstring(function) or "")
    about, names = dict(_described(docstring)), _imported(module, function)
    arguments = function.args.args
    defaults = [None] * (len(arguments) - len(function.args.defaults)) + list(function.args.defaults)
    return Signature(
        docstring.partition("\n")[0],
        tuple(
            Parameter(
                argument.arg,
                _value(argument.annotation, names),
                REQUIRED if default is None else _value(default, names),
                about.get(argument.arg, ""),
            )
            for argument, default in zip(arguments, defaults, strict=True)
        ),
    )


def _described(docstring: str) -> Iterator[tuple[str, str]]:
    """Each entry of the section `Args:`, on one line."""
    name, words = "", list[str]()
    for line in docstring.partition("Args:\n")[2].splitlines():
        if found := _ARGUMENT.match(line):
            if name:
                yield name, " ".join(words)
            name, words = found[1], [found[2]]
        else:
            words.append(line.strip())
    if name:
        yield name, " ".join(words).strip()


def _imported(module: ast.Module, function: ast.AsyncFunctionDef) -> dict[str, Any]:
    """The imported names that the signature uses."""
    parts = [*(argument.annotation for argument in function.args.args), *function.args.defaults]
    used = {node.id for part in parts if part for node in ast.walk(part) if isinstance(node, ast.Name)}
    return {
        alias.name: getattr(importlib.import_module(node.module), alias.name)
        for node in module.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if alias.name in used
    }


def _value(expression: ast.expr | None, names: dict[str, Any]) -> Any:
    if expression is None:
        raise TypeError("a parameter of a flow has a type")
    return eval(compile(ast.Expression(expression), "<signature>", "eval"), dict(names))  # noqa: S307 - our own source
