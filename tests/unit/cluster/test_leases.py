"""A Lease as a row: what its holder, or somebody else, has written on it."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.cluster.leases import DURATION_S, LONGEST_S, parse_lease


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        pytest.param(None, DURATION_S, id="absent"),
        pytest.param(60, 60, id="as declared"),
        pytest.param(LONGEST_S + 1, LONGEST_S, id="longer than any holder of ours has"),
        pytest.param(2**31 - 1, LONGEST_S, id="the API's greatest"),
        pytest.param(0, DURATION_S, id="zero"),
        pytest.param(-5, DURATION_S, id="negative"),
    ],
)
def test_a_duration_is_bounded(duration: int | None, expected: int) -> None:
    """Else a Lease that somebody edited would block its pool for years; its note stays readable."""
    lease: dict[str, Any] = {
        "metadata": {"name": "pool-a", "resourceVersion": "1", "annotations": {"poolkeeper.io/rollout": '{"goal": 1}'}},
        "spec": {"holderIdentity": "someone", "leaseDurationSeconds": duration},
    }
    row = parse_lease(lease)
    assert (row.duration_s, row.holder, row.note, row.unreadable) == (expected, "someone", {"goal": 1}, "")
