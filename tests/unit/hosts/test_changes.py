"""What came and what went."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.hosts.changes import PATHS, compare


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param([], (), id="nothing known"),
        pytest.param(["before path a", "after path a"], (), id="nothing changed"),
        pytest.param(["after path b", "after path a"], ("added path a", "added path b"), id="came, in order"),
        pytest.param(
            ["before swap on", "after swap off"], ("added swap off", "removed swap on"), id="swap switched off"
        ),
        pytest.param(
            ["before package runc 1.1", "after package runc 1.2"],
            ("added package runc 1.2", "removed package runc 1.1"),
            id="another version",
        ),
        pytest.param(["after path a", "after path a"], ("added path a",), id="told twice"),
        pytest.param(["Welcome!", "", "before", "afterwards path a"], (), id="noise"),
        pytest.param(["after before path a"], ("added before path a",), id="only the first word counts"),
        pytest.param(["before end of record", "after end of record"], (), id="the last lines of both"),
    ],
)
def test_compare(found: list[str], expected: tuple[str, ...]) -> None:
    assert compare(found) == expected


def test_the_table_names_nothing_that_hosts_have_by_themselves() -> None:
    """A path of it is removed as a whole: each is at least two levels down, and none holds another's parent."""
    for path in PATHS.values():
        assert path.startswith("/")
        assert path.count("/") >= 2
        assert ".." not in path
        assert path.rstrip("/") == path
