"""From where to where a fact goes, and what is counted of it."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.audit.measurements import Quality
from poolkeeper.tasks.audit.report.matrix import Cell, by_domain, by_site, count, is_connect, places, places_by_name
from tests.unit.audit.reports import HOSTS, a_fact

BY_NAME = places_by_name(HOSTS)


@pytest.mark.parametrize(
    ("source", "target", "way"),
    [
        pytest.param("fra1-n01", "ams1-n01", ("fra1", "ams1"), id="host to host"),
        pytest.param("fra1-n01", "fra1-n02", ("fra1", "fra1"), id="within a site"),
        pytest.param("api-server", "fra1-n01", ("cloud", "fra1"), id="API server to host"),
        pytest.param("fra1-n01", "api.example:6443", ("fra1", "cloud"), id="host to endpoint"),
        pytest.param("pod on fra1-n02", "pod on cn-1", ("fra1", "cloud"), id="pod to pod in the cloud"),
        pytest.param("pod on ams1-n01", "fra1-n01", ("ams1", "fra1"), id="pod to host"),
    ],
)
def test_places(source: str, target: str, way: tuple[str, str]) -> None:
    here, there = places(a_fact(source=source, target=target), BY_NAME)
    assert (here.site, there.site) == way


@pytest.mark.parametrize(
    ("check", "connects"),
    [
        ("connect.host", True),
        ("connect.kubelet", True),
        ("pods.to-cloud", True),
        ("connect.api", True),
        ("tls.api", False),
        ("pods.dns", False),
        ("dns.stub", False),
        ("mtu.host", False),
    ],
)
def test_what_is_a_connection(check: str, connects: bool) -> None:
    assert is_connect(check) is connects


def test_counts() -> None:
    facts = [
        a_fact(),
        a_fact(source="fra1-n02", quality=Quality.FAIL),
        a_fact("mtu.host", quality=Quality.UNKNOWN),
        a_fact("dns.stub", quality=Quality.FAIL),
        a_fact(source="ams1-n01", target="fra1-n01", quality=Quality.SLOW),
    ]
    sites = count(facts, BY_NAME, by_site)
    assert set(sites) == {(("fra1", ""), ("ams1", "")), (("ams1", ""), ("fra1", ""))}
    there = sites[("fra1", ""), ("ams1", "")]
    assert (there.connects[Quality.OK], there.connects.total(), there.worst, there.not_ok) == (1, 2, Quality.FAIL, 1)
    assert set(count(facts, BY_NAME, by_domain)) == {
        (("fra1", "fra1-a"), ("ams1", "ams1-a")),
        (("fra1", "fra1-b"), ("ams1", "ams1-a")),
        (("ams1", "ams1-a"), ("fra1", "fra1-a")),
    }


@pytest.mark.parametrize(
    ("connects", "big", "worst"),
    [
        pytest.param([], [], None, id="nothing"),
        pytest.param([Quality.OK], [], Quality.OK, id="ok"),
        pytest.param([Quality.OK, Quality.SLOW], [], Quality.SLOW, id="slow"),
        pytest.param([Quality.SLOW, Quality.UNKNOWN], [], Quality.UNKNOWN, id="unknown is worse than slow"),
        pytest.param([Quality.UNKNOWN, Quality.FAIL], [], Quality.FAIL, id="fail is worst"),
        pytest.param([Quality.OK], [Quality.FAIL], Quality.FAIL, id="big packets fail"),
        pytest.param([Quality.OK], [Quality.UNKNOWN], Quality.OK, id="big packets count only where they fail"),
    ],
)
def test_the_worst_of_a_cell(connects: list[Quality], big: list[Quality], worst: Quality | None) -> None:
    cell = Cell()
    cell.connects.update(connects)
    cell.big.update(big)
    assert cell.worst is worst
