"""The one table of flows: what is in the package, and what Prefect makes of it, is what the table says."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

from poolkeeper import flows
from poolkeeper.flows.parameters import REQUIRED, signature_of
from poolkeeper.flows.registry import COMMANDS, FLOWS, Registered

FOLDER = Path(flows.__file__).parent
EACH = [pytest.param(flow, id=name) for name, flow in FLOWS.items()]


def test_every_flow_of_the_package_is_registered() -> None:
    found = {
        keyword.value.value
        for path in FOLDER.glob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.AsyncFunctionDef)
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "flow"
        for keyword in decorator.keywords
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant)
    }
    assert found == set(FLOWS)


@pytest.mark.parametrize("flow", EACH)
def test_a_flow_is_what_the_table_says(flow: Registered) -> None:
    loaded = flow.load()
    assert (loaded.name, loaded.fn.__module__) == (flow.name, flow.module)
    signature = inspect.signature(loaded.fn, eval_str=True).parameters.values()
    read = signature_of(flow)
    assert [(p.name, p.type) for p in read.parameters] == [(p.name, p.annotation) for p in signature]
    assert [p.default for p in read.parameters] == [p.default for p in signature]
    assert loaded.description.startswith(read.about)


@pytest.mark.parametrize("flow", EACH)
def test_descriptions_are_those_of_the_form_in_the_ui(flow: Registered) -> None:
    form = flow.load().parameters.properties
    assert {p.name: p.about for p in signature_of(flow).parameters} == {
        name: " ".join(about["description"].split()) for name, about in form.items()
    }


@pytest.mark.parametrize("flow", [flow for flow in FLOWS.values() if flow.recovery], ids=lambda flow: flow.name)
def test_recover_finds_what_finishes_a_flow(flow: Registered) -> None:
    flow.load()
    assert callable(sys.modules[flow.module].finishing)


@pytest.mark.parametrize("flow", EACH)
def test_what_changes_hosts_is_a_dry_run_unless_it_is_told_otherwise(flow: Registered) -> None:
    defaults = {p.name: p.default for p in signature_of(flow).parameters}
    assert ("dry_run" in defaults) is flow.changes_hosts
    assert defaults.get("dry_run", True) is True


def test_choices_and_required_parameters() -> None:
    known = {p.name: p for p in signature_of(FLOWS["maintain"]).parameters}
    assert known["hosts"].default is REQUIRED
    assert known["on_blocked"].choices == ("stop", "skip", "force")
    assert issubclass(known["on_blocked"].type, Enum)
    assert {p.name: p.choices for p in signature_of(FLOWS["audit"]).parameters}["fail_on"][0] == "nothing"


def test_the_table_is_read_without_prefect() -> None:
    program = (
        "import sys; from poolkeeper.flows.parameters import signature_of; from poolkeeper.flows.registry import FLOWS;"
        "[signature_of(flow) for flow in FLOWS.values()]; sys.exit('prefect' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
    assert "ask-site" not in {flow.name for flow in COMMANDS}
