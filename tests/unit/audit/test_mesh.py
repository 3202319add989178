"""Who connects to whom: everyone while that is cheap; above it few a night, and everyone in time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolkeeper.tasks.audit.planning.mesh import CORE_SHARE, Mesh, in_turn, plan_mesh
from poolkeeper.tasks.fleet.model import Host
from tests.unit.onboard.builders import a_host

NIGHT = 740_000


def fleet(count: int, sites: int = 1, domains: int = 1) -> list[Host]:
    return [
        a_host(f"n{i:04}", site={"name": f"s{i % sites}"}, domain=f"s{i % sites}-d{i // sites % domains}")
        for i in range(count)
    ]


def planned(hosts: list[Host], night: int = NIGHT, limit: int = 0, k: int = 8) -> Mesh:
    return plan_mesh(hosts, night, every_pair_up_to=limit, neighbours=k)


@pytest.mark.parametrize(("count", "limit", "k"), [(1, 500, 8), (2, 500, 8), (40, 40, 8), (9, 1, 8), (3, 1, 8)])
def test_every_pair_while_that_is_cheap(count: int, limit: int, k: int) -> None:
    mesh = planned(fleet(count), limit=limit, k=k)
    assert mesh.nights_to_cover == 1
    assert mesh.pairs == count * (count - 1)
    assert all(host not in targets for host, targets in mesh.targets.items())


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 70), st.integers(1, 4), st.integers(1, 3), st.integers(1, 9), st.integers(0, 10**6))
def test_every_pair_is_measured_in_the_reported_nights(
    count: int, sites: int, domains: int, k: int, night: int
) -> None:
    hosts = fleet(count, sites, domains)
    first = planned(hosts, night, k=k)
    met = {
        (a, b)
        for n in range(first.nights_to_cover)
        for a, bs in planned(hosts, night + n, k=k).targets.items()
        for b in bs
    }
    assert met == {(a.name, b.name) for a in hosts for b in hosts if a is not b}
    if count > k + 1:
        assert all(len(targets) <= k for targets in first.targets.values())


def test_a_stable_core_gives_a_history() -> None:
    hosts = fleet(200, sites=3)
    nights = [planned(hosts, NIGHT + n).targets for n in range(12)]
    for host in hosts:
        kept = set.intersection(*(set(night[host.name]) for night in nights))
        assert len(kept) >= 8 // CORE_SHARE
        assert all(set(a[host.name]) != set(b[host.name]) for a, b in pairwise(nights))


def test_a_new_host_changes_the_core_of_the_few_before_it() -> None:
    hosts = fleet(200)
    core = 8 // CORE_SHARE
    before = planned(hosts).targets
    after = planned([*hosts, a_host("new")]).targets
    moved = [host.name for host in hosts if before[host.name][:core] != after[host.name][:core]]
    assert len(moved) <= core


def test_each_host_leaves_its_site_and_its_domain_every_night() -> None:
    hosts = fleet(120, sites=3, domains=4)
    by_name = {host.name: host for host in hosts}
    pairs = set()
    for night in range(NIGHT, NIGHT + 4):
        for name, targets in planned(hosts, night).targets.items():
            here = by_name[name]
            there = [by_name[target] for target in targets]
            assert any(host.site.name != here.site.name for host in there)
            assert any(host.site.name == here.site.name and host.domain != here.domain for host in there)
            pairs |= {(here.site.name, host.site.name) for host in there}
    assert len(pairs) == 9


def test_the_cost_is_that_of_the_neighbours() -> None:
    assert planned(fleet(1000)).pairs <= 8 * 1000
    assert planned(fleet(2000)).pairs <= 8 * 2000


@pytest.mark.parametrize(
    ("rows", "count", "nights"),
    [
        ("abcde", 2, ["ab", "cd", "ea", "bc", "de", "ab"]),
        ("abc", 1, ["a", "b", "c", "a"]),
        ("ab", 4, ["ab", "ab"]),
        ("abc", 0, ["", ""]),
        ("", 2, ["", ""]),
    ],
)
def test_everyone_has_a_turn(rows: str, count: int, nights: list[str]) -> None:
    assert ["".join(in_turn(rows, night, count)) for night in range(len(nights))] == nights
