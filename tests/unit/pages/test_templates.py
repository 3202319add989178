"""Templates: that none can turn escaping off, and that what they are not given is an error."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from jinja2 import Environment, UndefinedError, nodes

from poolkeeper.tasks import pages
from poolkeeper.tasks.pages.templates import SHARED, render

PRODUCT = Path(pages.__file__).parents[2]
TEMPLATES = sorted(path for folder in ("tasks", "flows", "deployments") for path in (PRODUCT / folder).rglob("*.jinja"))
SOURCES = sorted(path for folder in ("tasks", "flows", "deployments") for path in (PRODUCT / folder).rglob("*.py"))
FILTERS = {"number", "commands", "length", "format", "sum", "join", "capitalize"}
"""Those that templates use: none of them makes markup of a text."""


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(PRODUCT))) for path in TEMPLATES])
def test_no_template_makes_markup_of_a_text(path: Path) -> None:
    text = path.read_text()
    parsed = Environment(autoescape=True).parse(text)
    assert {found.name for found in parsed.find_all(nodes.Filter)} <= FILTERS
    assert not list(parsed.find_all((nodes.ScopedEvalContextModifier, nodes.MarkSafe, nodes.MarkSafeIfAutoescape)))
    assert not re.findall(r"=\s*\{\{", text), "an attribute without quotes"
    assert not re.findall(r"<script|\son\w+=|javascript:", text)
    if path.name.endswith(".css.jinja"):
        assert not list(parsed.find_all(nodes.Name)), "escaping is for HTML: a style takes no value"


def test_every_page_extends_the_one_layout() -> None:
    found = [path for path in TEMPLATES if path.parent != SHARED]
    assert len(found) >= 2
    for path in found:
        parsed = Environment(autoescape=True).parse(path.read_text())
        assert [getattr(one.template, "value", "") for one in parsed.find_all(nodes.Extends)] == ["layout.html.jinja"]


def test_only_plots_are_called_markup() -> None:
    makes = re.compile(
        r"\bMarkup\(|\b__html__\s*\(|\bdef __html__|select_autoescape|autoescape=(?!True)|</(?:td|p|div|html)>"
    )
    assert [path.name for path in SOURCES if makes.search(path.read_text())] == ["plots.py"]


def test_what_a_template_is_not_given_is_an_error(tmp_path: Path) -> None:
    template = tmp_path / "page.html.jinja"
    template.write_text('{% extends "layout.html.jinja" %}{% block body %}{{ found.reason }}{% endblock %}')
    with pytest.raises(UndefinedError):
        render(template, title="A page", sections={})
    assert "<main>\nbroken</main>" in render(template, title="A page", sections={}, found={"reason": "broken"})


def test_every_template_is_in_the_wheel() -> None:
    packaged = tomllib.loads((PRODUCT.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    patterns = [pattern for of_package in packaged.values() for pattern in of_package]
    assert [path.name for path in TEMPLATES if not any(fnmatch(path.name, pattern) for pattern in patterns)] == []
