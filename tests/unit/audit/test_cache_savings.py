"""What caches keep off the line, and how sure that is."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.audit.report.cache_savings import CacheSavings, cache_savings

ONE = {"hits": "90", "misses": "10"}


@pytest.mark.parametrize(
    ("counters", "places", "crossing"),
    [
        pytest.param([ONE], ["cloud", "cloud"], (10, 10, 10), id="all servers are over the line"),
        pytest.param([ONE], ["fra1", "fra1"], (0, 0, 0), id="all servers are in pools"),
        pytest.param([ONE, ONE], ["fra1", "cloud"], (0, 10, 20), id="one of two: a chance, and a range"),
        pytest.param(
            [ONE, {"hits": "1"}, {"misses": "x", "hits": "2"}], ["cloud"], (10, 10, 10), id="one has no misses"
        ),
    ],
)
def test_what_crosses_the_line(
    counters: list[dict[str, str]], places: list[str], crossing: tuple[int, int, int]
) -> None:
    found = cache_savings(counters, places)
    assert found is not None
    assert found.crossing == crossing


@pytest.mark.parametrize(
    ("counters", "places"),
    [
        pytest.param([], ["cloud"], id="no cache"),
        pytest.param([{"hits": "0", "misses": "0"}], ["cloud"], id="not used yet"),
        pytest.param([ONE], [], id="no server is known"),
    ],
)
def test_no_savings_without_counters(counters: list[dict[str, str]], places: list[str]) -> None:
    assert cache_savings(counters, places) is None


def test_the_sentence_has_the_range() -> None:
    assert str(CacheSavings(2, 180, 20, 2, 1)) == (
        "The caches of 2 nodes answered 90% of 200 questions from memory since they started. Of the other 20, about 10"
        " (between 0 and 20) crossed the line to the cloud, where 1 of 2 DNS servers are."
    )
