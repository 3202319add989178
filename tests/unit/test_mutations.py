"""The breaks of `tests.mutations` fit the product as it is: each can be made, and has a test that is there."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.mutations.__main__ import BROKEN, CHECKOUT, NOTICED, SURVIVED, Run, verdict_of
from tests.mutations.breaks import BREAKS, Break


@pytest.mark.parametrize("one", [pytest.param(one, id=one.id) for one in BREAKS])
def test_it_can_be_made(one: Break) -> None:
    text = (CHECKOUT / one.file).read_text(encoding="utf-8")
    assert text.count(one.old) == 1
    assert one.new != one.old
    if one.file.endswith(".py"):
        ast.parse(text.replace(one.old, one.new))


@pytest.mark.parametrize("test", sorted({one.test for one in BREAKS}))
def test_its_test_is_there(test: str) -> None:
    file, *names = test.split("::")
    tree = ast.parse((CHECKOUT / file).read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert {name.partition("[")[0] for name in names} <= functions


def test_each_is_told_from_the_others() -> None:
    assert [id for id, count in Counter(one.id for one in BREAKS).items() if count > 1] == []
    assert [one for one, count in Counter((b.file, b.old, b.new) for b in BREAKS).items() if count > 1] == []


@pytest.mark.parametrize(
    ("status", "passed", "failures", "verdict"),
    [
        pytest.param(1, 3, ("assert 1 == 2",), NOTICED, id="a test has failed"),
        pytest.param(0, 4, (), SURVIVED, id="all passed"),
        pytest.param(0, 0, (), BROKEN, id="all were skipped"),
        pytest.param(1, 0, (), BROKEN, id="a set-up has failed"),
        pytest.param(1, 0, ("ImportError: cannot import name 'x'",), BROKEN, id="an import within a test"),
        pytest.param(1, 0, ("NameError: name 'x' is not defined",), BROKEN, id="a break without sense"),
        pytest.param(2, 0, (), BROKEN, id="it cannot be collected"),
        pytest.param(4, 0, (), BROKEN, id="there is no such test"),
        pytest.param(None, 0, (), BROKEN, id="no end"),
    ],
)
def test_what_a_run_shows(status: int | None, passed: int, failures: tuple[str, ...], verdict: str) -> None:
    assert verdict_of(Run(status, passed, failures, 1.0, ""))[0] == verdict
