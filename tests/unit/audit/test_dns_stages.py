"""DNS by site, stage and transport."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.audit.measurements import Quality
from poolkeeper.tasks.audit.report.dns_stages import stages, transport
from poolkeeper.tasks.audit.report.matrix import places_by_name
from tests.unit.audit.reports import HOSTS, a_fact


@pytest.mark.parametrize(
    ("target", "way"),
    [
        ("10.0.0.2 example.com udp", "udp"),
        ("10.0.0.2 example.com TCP", "tcp"),
        ("10.0.0.2 udp/53 example.com", "udp"),
        ("udp.example.com", ""),
        ("10.0.0.2 tcp.example.com udp", "udp"),
        ("example.com", ""),
        ("", ""),
    ],
)
def test_the_transport_is_a_separate_word(target: str, way: str) -> None:
    assert transport(target) == way


def test_times_are_of_what_was_answered() -> None:
    facts = [a_fact("dns.cache", target=f"name-{i} udp", duration_ms=float(i)) for i in range(1, 21)]
    facts += [a_fact("dns.cache", target="bad udp", quality=Quality.FAIL, duration_ms=3000.0)] * 2
    facts += [a_fact("dns.cache", target="unasked udp", quality=Quality.UNKNOWN, duration_ms=None)]
    (stage,) = stages(facts, places_by_name(HOSTS))["fra1"]
    assert (stage.title, stage.median_ms, stage.p95_ms) == ("node-local cache UDP", 10.5, 19.0)
    assert (stage.not_ok, stage.qualities.total(), dict(stage.troubled)) == (3, 23, {"bad udp": 2, "unasked udp": 1})


def test_order_of_stages_and_of_what_has_no_place_among_them() -> None:
    checks = ["dns.zebra", "dns.resolver", "dns.server", "dns.stub", "dns.service", "dns.cache", "connect.host"]
    facts = [a_fact(check, target=f"x {way}") for check in checks for way in ("tcp", "udp")]
    found = [(stage.check, stage.transport) for stage in stages(facts, places_by_name(HOSTS))["fra1"]]
    ordered = ["dns.stub", "dns.cache", "dns.service", "dns.server", "dns.resolver", "dns.zebra"]
    assert found == [(check, way) for check in ordered for way in ("udp", "tcp")]


def test_pods_ask_from_where_their_node_is() -> None:
    facts = [a_fact("dns.service", "pod on ams1-n01", "x udp"), a_fact("dns.service", "pod on cn-1", "x udp")]
    assert set(stages(facts, places_by_name(HOSTS))) == {"ams1", "cloud"}
