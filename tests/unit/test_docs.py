"""README, docs and the other pages name what exists: files, headings, flows, parameters, commands and their options."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from poolkeeper.deployments.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("deployments/*.md"))]
ENTRYPOINTS = {entry["entrypoint"] for entry in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
FLOWS = {entrypoint.rpartition(".")[2]: entrypoint.rpartition(".")[0] for entrypoint in sorted(ENTRYPOINTS)}

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(poolkeeper [^`]+)`")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _links() -> Iterator[Any]:
    for page in PAGES:
        for target in LINK.findall(FENCE.sub("", page.read_text())):
            if "://" not in target:
                yield pytest.param(page, target, id=f"{_name(page)}: {target}")


def _anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "target"), list(_links()))
def test_link_leads_to_something(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    assert found.exists()
    assert found.is_relative_to(ROOT)
    assert not anchor or anchor in _anchors(found)


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent == ROOT / "docs"], ids=_name)
def test_page_is_linked_from_another(page: Path) -> None:
    others = {other: LINK.findall(other.read_text()) for other in PAGES if other != page}
    assert any((other.parent / link.partition("#")[0]).resolve() == page for other in others for link in others[other])


def _parameters(flow: str) -> dict[str, str]:
    """Parameter -> its default as a page has it."""
    chosen = getattr(importlib.import_module(FLOWS[flow]), flow)
    known = inspect.signature(chosen.fn).parameters
    return {name: _default(parameter.default) for name, parameter in known.items()}


def _default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, str):
        return f"`{value.value if hasattr(value, 'value') else value}`" if value else "empty"
    return f"`{json.dumps(value)}`"


@pytest.mark.parametrize("flow", FLOWS)
def test_flow_has_its_page_with_its_parameters(flow: str) -> None:
    text = (ROOT / f"docs/{flow}.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| ", text, re.MULTILINE)
    assert dict(rows) == _parameters(flow)
    assert f"(docs/{flow}.md)" in (ROOT / "README.md").read_text()
    for heading in ("What it does to machines", "After a kill", "What is read back", "Limits"):
        assert f"\n## {heading}\n" in text


def _lines_of_fences(text: str) -> Iterator[str]:
    for fence in FENCE.findall(text):
        for line in fence.replace("\\\n", " ").splitlines():
            if (words := line.strip().removeprefix("$ ")).startswith("poolkeeper "):
                yield words


def _commands() -> list[Any]:
    found: dict[str, Any] = {}
    for page in PAGES:
        text = page.read_text()
        spans = (" ".join(span.split()) for span in INLINE.findall(FENCE.sub("", text)))
        for written in [*_lines_of_fences(text), *spans]:
            found.setdefault(written, pytest.param(written, id=f"{_name(page)}: {written[:60]}"))
    return list(found.values())


@cache
def _command(path: tuple[str, ...]) -> tuple[click.Command, int]:
    """The command that these words begin with, and how many words are its name."""
    command: click.Command = main
    for taken, word in enumerate(path):
        if not isinstance(command, click.Group):
            return command, taken
        context = click.Context(command)
        name = command.list_commands(context)[0] if word.isupper() else word  # `run FLOW` is any of them
        below = command.get_command(context, name)
        assert below is not None, f"`poolkeeper {' '.join(path[: taken + 1])}` is no command"
        command = below
    return command, len(path)


@pytest.mark.parametrize("written", _commands())
def test_command_exists(written: str) -> None:
    words = shlex.split(written, comments=True)[1:]
    names = tuple(word for word in words if not word.startswith("-"))
    if not names:  # `poolkeeper --help`
        return
    command, taken = _command(names[: 1 + next((i for i, word in enumerate(names) if word.isupper()), len(names))])
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    asked = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert asked <= options | {"--help"}
    flow = next((word for word in names[taken - 1 : taken + 1] if word in FLOWS), "")
    if names[0] == "run" and names[1:] and not names[1].isupper():
        assert flow
        given = [words[at + 1] for at, word in enumerate(words) if word == "-p"]
        assert {each.partition("=")[0] for each in given} <= _parameters(flow).keys()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_make_targets_exist(page: Path) -> None:
    text = page.read_text()
    spans = [*re.findall(r"`make ([a-z]+)`", text), *re.findall(r"^make ([a-z]+)", text, re.MULTILINE)]
    assert set(spans) <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


EXCERPTS = re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)


@pytest.mark.parametrize(("file", "excerpt"), EXCERPTS)
def test_excerpt_is_in_its_file(file: str, excerpt: str) -> None:
    for part in excerpt.split("...\n"):
        assert part in (ROOT / file).read_text()


def test_make_help_names_every_target() -> None:
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    assert sorted(re.findall(r"^make (\w+) +\S", done.stdout, re.MULTILINE)) == sorted(targets[1].split())


@pytest.mark.parametrize("record", sorted((ROOT / "docs/adr").iterdir()), ids=_name)
def test_decision_has_its_parts_and_is_linked(record: Path) -> None:
    text = record.read_text()
    assert text.startswith(f"# {int(record.name[:4])}. ")
    for part in ("**Decision.**", "**Why.**", "**Consequences.**"):
        assert part in text
    assert f"(docs/adr/{record.name})" in (ROOT / "ARCHITECTURE.md").read_text()


HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]


def test_hooks_before_a_commit_fetch_nothing() -> None:
    assert [repo["repo"] for repo in HOOKS] == ["local"]
    for hook in HOOKS[0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")
