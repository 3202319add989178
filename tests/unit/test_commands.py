"""The one table of commands: each is there, and nothing that is a command is missing."""

from __future__ import annotations

import importlib
import pkgutil

import click
import pytest

from poolkeeper.deployments import cli
from poolkeeper.deployments.cli import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_found_by_its_name(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert (command.name, bool(command.get_short_help_str())) == (name, True)


def test_every_command_of_the_package_is_registered() -> None:
    found = {
        f".{module.name}:{attribute}"
        for module in pkgutil.iter_modules(cli.__path__)
        if not module.ispkg  # `bill` registers its own
        for attribute, value in vars(importlib.import_module(f"{cli.__name__}.{module.name}")).items()
        if isinstance(value, click.Command)
    }
    assert found == set(COMMANDS.values()) - {COMMANDS["lab"], COMMANDS["bill"]}


def test_an_installation_may_be_without_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "lab", "..no_such_package.cli:lab")
    context = click.Context(main)
    assert "lab" not in main.list_commands(context)
    assert main.get_command(context, "lab") is None
