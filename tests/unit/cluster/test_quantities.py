"""Quantities as `resource.ParseQuantity` has them; what is absurd costs no more than what is not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from poolkeeper.tasks.cluster.quantities import scaled_up, thousandths

MOST = (2**63 - 1) * 1000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250m", 250), ("4", 4000), ("0.5", 500), ("1n", 1), ("1001u", 2), ("128974848", 128974848000), ("0", 0), ("1M", 10**9),
        ("192k", 192 * 10**6), ("5k", 5 * 10**6), ("1G", 10**12), ("1T", 10**15), ("1P", 10**18), ("1E", 10**21),
        ("2Gi", 2**31 * 1000), ("1.5Gi", 3 * 2**29 * 1000), ("0.1Ki", 102_400), ("4Ti", 2**42 * 1000), ("7Ei", 7 * 2**60 * 1000),
        ("1e3", 10**6), ("1E3", 10**6), ("1e+3", 10**6), ("12E-1", 1200), ("+1", 1000), ("-1", -1000), ("-1500m", -1500),
        ("1.", 1000), (".5", 500), ("007", 7000), (" 1 ", 1000), ("Ki", 0), ("+", 0), (".", 0), ("0e99999999999", 0),
        # beyond what 64 bits hold, and below what can be told from nothing
        ("8Ei", MOST), ("18446744073709551616", MOST), ("-9E99", -MOST), ("1e1000000", MOST), ("-1e1000000", -MOST), ("1e-1000000", 1),
        ("1" + "0" * 100_000, MOST), ("0." + "0" * 100_000 + "1", 1), ("1" + "0" * 50 + "n", MOST), ("0" * 100_000 + "1", 1000),
        # as JSON may have them
        (4, 4000), (1.5, 1500), (None, 0),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_quantities(text: Any, value: int) -> None:
    began = time.perf_counter()
    assert thousandths(text) == value
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "much", "1Zi", "1ki", "1i", "1K", "1.2.3", "--1", "1 2", "1e", "1e1.5", "1e5k", "1k5", "1EE5", "0x10", "1_000",
        "nan", "inf", "Infinity", "\u0661", "1e9223372036854775808", "1e" + "9" * 5000, True, [], {}, float("nan"), float("inf"),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_what_is_no_quantity(text: Any) -> None:
    with pytest.raises(ValueError, match="is no quantity") as caught:
        thousandths(text)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    ("count", "total", "value"),
    [(2, 10, 2), ("30%", 7, 3), ("50%", 4, 2), ("0%", 7, 0), ("100%", 7, 7), ("1%", 1, 1)],
)
def test_percentages_round_up(count: int | str, total: int, value: int) -> None:
    assert scaled_up(count, total) == value


@pytest.mark.parametrize(
    "count", ["half", "%", "-1%", "1.5%", "\u0663%", "9" * 5000 + "%"], ids=lambda count: count[:10]
)
def test_what_is_no_percentage(count: str) -> None:
    with pytest.raises(ValueError, match="is neither a number nor a percentage"):
        scaled_up(count, 10)
