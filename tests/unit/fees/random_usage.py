"""Random events that make sense: a node leaves before it joins again. Times are whole minutes, in many zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

START = datetime(2026, 10, 22, 16, tzinfo=UTC)
"""Midnight in UTC+8, three days before clocks are put back in Europe (2026-10-25T01:00Z)."""

ZONES = [UTC, *map(ZoneInfo, ("Asia/Shanghai", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham"))]

Row = tuple[Any, ...]

# borders are where rules go wrong: whole hours come up as often as any other minute
_times = st.integers(0, 6 * 24 * 60) | st.integers(0, 6 * 24).map(lambda hour: hour * 60)


@st.composite
def a_cluster(draw: st.DrawFn, name: str) -> list[Row]:
    """Created, perhaps released, through states."""
    times = sorted(draw(st.sets(_times, min_size=1, max_size=6)))
    rows: list[Row] = [(name, "cluster", "created", _at(draw, times[0]))]
    ends = len(times) > 1 and draw(st.booleans())
    for minute in times[1 : -1 if ends else None]:
        state = draw(st.sampled_from(["Running", "Upgrading", "Inactive", "Failed", "Draining"]))
        rows.append((name, "cluster", f"state:{state}", _at(draw, minute)))
    return [*rows, (name, "cluster", "released", _at(draw, times[-1]))] if ends else rows


@st.composite
def a_node(draw: st.DrawFn, name: str) -> list[Row]:
    """Joined and left, perhaps several times, resized and in states in between."""
    rows: list[Row] = []
    there = False
    size = st.integers(1, 300)
    for minute in sorted(draw(st.sets(_times, min_size=1, max_size=8))):
        verb = "joined" if not there else draw(st.sampled_from(["left", "resized", "state:NotReady", "state:Ready"]))
        sized = verb in ("joined", "resized")
        vcpus, gpus = (draw(size), draw(size)) if sized else ("", "")
        rows.append((name, "node", verb, _at(draw, minute), vcpus, gpus, f"pool={draw(st.sampled_from('ab'))}" if verb == "joined" and not rows else ""))  # fmt: skip
        there = verb != "left"
    return rows


def _at(draw: st.DrawFn, minute: int) -> str:
    # one day earlier than the period, so that some were there before it
    at = START - timedelta(days=1) + timedelta(minutes=minute)
    return at.astimezone(draw(st.sampled_from(ZONES))).isoformat()


@st.composite
def rows(draw: st.DrawFn, kinds: str = "cn", most: int = 3) -> list[Row]:
    """Rows of some clusters and nodes, shuffled, some of them twice."""
    found: list[Row] = []
    for number in range(draw(st.integers(1, most))):
        kind = draw(st.sampled_from(kinds))
        found += draw(a_cluster(f"c{number}") if kind == "c" else a_node(f"n{number}"))
    found += draw(st.lists(st.sampled_from(found), max_size=2))
    return draw(st.permutations(found))
