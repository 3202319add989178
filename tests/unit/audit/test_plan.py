"""What hosts are asked: by what is declared, by what the cluster has, by the night."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.audit.measurements import Part
from poolkeeper.tasks.audit.planning.plan import (
    NEGATIVE_TTL,
    NEGATIVE_TTL_S,
    ClusterView,
    NightPlan,
    PlannedQuestion,
    plan_night,
)
from poolkeeper.tasks.audit.planning.questions import Kind
from poolkeeper.tasks.cluster.dns import ClusterDns, DnsPod
from poolkeeper.tasks.cluster.nodes import POOL_TYPE_LABEL, NodeRow
from poolkeeper.tasks.fleet.model import AuditName, AuditSettings, AuditTarget, Fleet, Host, Service, SiteDns, SshAccess
from tests.unit.onboard.builders import CLUSTER, a_fleet, a_host, a_node

NIGHT = 740_000
SETTINGS = AuditSettings(names=(), targets=())
DB = Service("tcp", "db", 5432)
RESOLVER = {"dns": SiteDns(("10.1.0.2",))}


def fleet(hosts: list[Host], **audit: Any) -> Fleet:
    return replace(a_fleet(*hosts), name="acme", audit=replace(SETTINGS, **audit))


def planned(hosts: list[Host], view: ClusterView | None = None, night: int = NIGHT, **audit: Any) -> NightPlan:
    views = {} if view is None else {CLUSTER.name: view}
    return plan_night(fleet(hosts, **audit), hosts, views, night, {"ca.pem": "PEM"})


def checks(asked: tuple[PlannedQuestion, ...]) -> Counter[str]:
    return Counter(one.check for one in asked)


def a_view(*nodes: NodeRow, **more: Any) -> ClusterView:
    return ClusterView("https://api.example.com:6443", "CA", {node.name: node for node in nodes}, **more)


def test_a_host_without_a_cluster_is_asked_for_what_is_its_own() -> None:
    plan = planned([a_host("n1", site=RESOLVER)])
    assert checks(plan.asked["n1"]) == {"settings.search": 1, "dns.stub": 2, "dns.resolver": 4}
    assert plan.authorities == {"n1": {}}


def test_a_host_that_is_no_node_asks_nothing_of_the_clusters_dns() -> None:
    dns = ClusterDns(("172.21.0.10",), (DnsPod("coredns-1", "172.20.0.5", "cloud-1", True),), True)
    plan = planned([a_host("n1")], a_view(dns=dns))
    assert checks(plan.asked["n1"]) == {"settings.search": 1, "dns.stub": 2, "api": 1}
    (api,) = (one for one in plan.asked["n1"] if one.check == "api")
    assert (api.question.address, api.question.port, api.question.authority) == ("api.example.com", 6443, "cluster")
    assert plan.authorities["n1"] == {"cluster": "CA"}


def test_a_node_asks_every_stage_over_both_transports() -> None:
    cache = DnsPod("node-local-dns-1", "10.1.0.11", "n1", True)
    servers = (
        DnsPod("coredns-1", "172.20.0.5", "cloud-1", True),
        DnsPod("coredns-2", "172.20.0.6", "cloud-1", False),
        DnsPod("coredns-3", "", "", False),
    )
    dns = ClusterDns(("172.21.0.10",), servers, True, caches={"n1": cache})
    plan = planned([a_host("n1")], a_view(a_node("n1"), dns=dns))
    names = 3  # one of the cluster, one outside, one that must not be
    assert checks(plan.asked["n1"]) == {
        "settings.search": 1, "dns.stub": 2, "api": 1, "dns.service": 2 * names, "dns.server": 2, "dns.cache": 2 * names,
        "cache.metrics": 1,
    }  # fmt: skip
    (metrics,) = (one for one in plan.asked["n1"] if one.check == "cache.metrics")
    assert (metrics.question.kind, metrics.question.address) == (Kind.METRICS, "169.254.20.10")


def test_names_are_asked_where_they_can_be_known() -> None:
    names = (
        AuditName("a.svc.cluster.local", zone="in-cluster"),
        AuditName("b.example.com", frozenset({"ams1"})),
        AuditName("c.example.com", zone="on-prem", addresses=("10.1.9.9",)),
    )
    plan = planned([a_host("n1", site=RESOLVER)], names=names)
    asked = {one.question.name for one in plan.asked["n1"] if one.check == "dns.resolver"}
    assert asked == {"aliyun.com", "c.example.com", "poolkeeper-absent.invalid"}
    wants = {one.question.name: one.expected for one in plan.asked["n1"] if one.check == "dns.stub"}
    assert wants["c.example.com"].addresses == ("10.1.9.9",)
    assert [(name, w.compared, w.absent) for name, w in sorted(wants.items())] == [
        ("aliyun.com", False, False), ("c.example.com", True, False), ("poolkeeper-absent.invalid", False, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("declared", "record", "wanted"),
    [
        ((), "A", ()),
        (("10.1.9.9",), "A", ("10.1.9.9",)),
        (("10.1.9.9", "fd00::9"), "A", ("10.1.9.9",)),
        (("fd00::8", "fd00::9"), "AAAA", ("fd00::8", "fd00::9")),
    ],
)
def test_a_name_is_asked_for_the_addresses_that_are_declared(
    declared: tuple[str, ...], record: str, wanted: tuple[str, ...]
) -> None:
    dns = ClusterDns(("172.21.0.10",), (), True, caches={"n1": DnsPod("node-local-dns-1", "10.1.0.11", "n1", True)})
    names = (AuditName("c.example.com", zone="on-prem", addresses=declared),)
    asked = planned([a_host("n1", site=RESOLVER)], a_view(a_node("n1"), dns=dns), names=names).asked["n1"]
    told = {
        one.check: (one.question.record, one.expected.addresses) for one in asked if one.question.name == names[0].name
    }
    assert told == dict.fromkeys(("dns.stub", "dns.resolver", "dns.service", "dns.cache"), (record, wanted))
    others = {
        one.question.record for one in asked if one.question.kind is Kind.DNS and one.question.name != names[0].name
    }
    assert others == {"A"}


@pytest.mark.parametrize(
    ("target", "kind", "question"),
    [
        pytest.param(AuditTarget("t", tcp=DB), Kind.TCP, ("db", 5432, "", ""), id="tcp"),
        pytest.param(AuditTarget("t", url=Service("http", "w", 80)), Kind.HTTP, ("w", 80, "/", ""), id="a page"),
        pytest.param(
            AuditTarget("t", frozenset({"fra1"}), url=Service("https", "w", 443, "/ok"), authority=Path("ca.pem")),
            Kind.HTTPS,
            ("w", 443, "/ok", "ca.pem"),
            id="a page, verified by an authority of its own",
        ),
    ],
)
def test_a_declared_target(target: AuditTarget, kind: Kind, question: tuple[Any, ...]) -> None:
    plan = planned([a_host("n1")], targets=(target,))
    (asked,) = (one for one in plan.asked["n1"] if one.target == "t")
    q = asked.question
    assert (q.kind, (q.address, q.port, q.name, q.authority)) == (kind, question)
    assert asked.expected.expires_in_s == 14 * 86400
    assert plan.authorities["n1"] == ({"ca.pem": "PEM"} if target.authority else {})


def test_a_target_of_another_site_is_not_asked_for() -> None:
    plan = planned([a_host("n1")], targets=(AuditTarget("t", frozenset({"ams1"}), tcp=DB),))
    assert not [one for one in plan.asked["n1"] if one.target == "t"]


HERE = ip_address("10.9.0.2")
FORWARDED = {"address": "203.0.113.1", "ssh": SshAccess("ops", port=2202), "node_address": HERE}


@pytest.mark.parametrize(
    ("peer", "nodes", "connects", "kubelet"),
    [
        pytest.param({"address": "10.9.0.2"}, (), ("10.9.0.2", 22), False, id="where SSH goes"),
        pytest.param(
            {"address": "10.9.0.2", "ssh": SshAccess("ops", port=2222), "node_address": HERE},
            (a_node("n2"),),
            ("10.9.0.2", 2222),
            False,
            id="the node's own address is where SSH goes",
        ),
        pytest.param(FORWARDED, (a_node("n2"),), ("10.9.0.2", 10250), True, id="a forwarded port is no port of its own"),
        pytest.param(FORWARDED, (), None, False, id="that is no node"),
        pytest.param(FORWARDED, (a_node("n2", ready=False),), None, False, id="whose kubelet may not run"),
        pytest.param(
            {"address": "n2.example.com", "node_address": HERE}, (a_node("n2"),), ("10.9.0.2", 10250), True,
            id="nobody knows whether a name leads there",
        ),
    ],
)  # fmt: skip
def test_peers_are_reached_where_nodes_reach_each_other(
    peer: dict[str, Any], nodes: tuple[NodeRow, ...], connects: tuple[str, int] | None, kubelet: bool
) -> None:
    asked = planned([a_host("n1"), a_host("n2", **peer)], a_view(*nodes)).asked["n1"]
    found = [one for one in asked if one.check == "connect.host"]
    assert [(one.question.address, one.question.port) for one in found] == ([connects] if connects else [])
    assert [any(s.part is Part.KUBELET for s in one.candidates[""]) for one in found] == ([kubelet] if connects else [])
    (mtu,) = (one for one in asked if one.check == "mtu.host")
    assert (mtu.question.address, mtu.target, mtu.question.sizes) == ("10.9.0.2", "n2", (576, 1450, 1500))


def test_a_peer_of_another_cluster_is_looked_up_there() -> None:
    hosts = [a_host("n1"), a_host("n2", cluster={"name": "other"}, **FORWARDED)]
    views = {CLUSTER.name: a_view(), "other": a_view(a_node("n2"))}
    asked = plan_night(fleet(hosts), hosts, views, NIGHT, {}).asked["n1"]
    assert [one.question.port for one in asked if one.check == "connect.host"] == [10250]


def test_big_packets_go_to_one_host_a_site() -> None:
    hosts = [a_host(f"{site}-n{i}", site={"name": site}) for site in ("fra1", "ams1", "par1") for i in range(3)]
    asked = planned(hosts).asked["fra1-n0"]
    assert sorted(one.target[:4] for one in asked if one.check == "mtu.host") == ["ams1", "fra1", "par1"]
    later = planned(hosts, night=NIGHT + 1).asked["fra1-n0"]
    assert {o.target for o in asked if o.check == "mtu.host"} != {o.target for o in later if o.check == "mtu.host"}


def test_a_dns_server_in_the_pool_is_not_over_the_line() -> None:
    servers = (DnsPod("yurt-coredns-1", "10.100.0.5", "n2", True), DnsPod("coredns-1", "172.20.0.5", "cloud-1", True))
    cloud = a_node("cloud-1", labels={}, internal_ips=("192.168.0.5",))
    hybrid = a_node("n2", labels={POOL_TYPE_LABEL: "hybridcloud"})
    plan = planned([a_host("n1"), a_host("n2")], a_view(a_node("n1"), hybrid, cloud, dns=ClusterDns((), servers)))
    lines = {
        one.question.address: any(s.part is Part.LINE for s in one.candidates[""])
        for one in plan.asked["n1"]
        if one.check == "dns.server"
    }
    assert lines == {"10.100.0.5": False, "172.20.0.5": True}
    assert [one.question.address for one in plan.asked["n1"] if one.check == "connect.cloud"] == ["192.168.0.5"]


def test_a_node_without_a_cache_is_not_asked_for_one() -> None:
    dns = ClusterDns(("172.21.0.10",), (), has_cache=True)
    asked = planned([a_host("n1")], a_view(a_node("n1"), dns=dns)).asked["n1"]
    assert not [one.check for one in asked if one.check.startswith(("dns.cache", "cache."))]


def test_a_target_whose_authority_cannot_be_read_is_left_out() -> None:
    lost = AuditTarget("t", tls=Service("tls", "w", 443), authority=Path("gone.pem"))
    assert not [one for one in planned([a_host("n1")], targets=(lost,)).asked["n1"] if one.target == "t"]


def test_clusters_with_the_same_addresses_are_distinguished() -> None:
    dns = ClusterDns(("172.21.0.10",), (), has_cache=False)
    one = a_host("n1")
    several = replace(fleet([one]), clusters={"main": CLUSTER, "other": CLUSTER})
    view = a_view(a_node("n1"), dns=dns, label="main")
    plan = plan_night(several, [one], {CLUSTER.name: view}, NIGHT, {})
    targets = [asked.target for asked in plan.asked["n1"] if asked.check == "dns.service"]
    assert targets
    assert all(" at 172.21.0.10 of main " in target for target in targets)


def test_an_api_server_with_an_ipv6_address() -> None:
    assert ClusterView("https://[2001:db8::1]:6443", "").endpoint.name == "[2001:db8::1]:6443"


def test_an_api_server_with_a_path_and_a_name_of_its_own() -> None:
    view = ClusterView("https://10.0.0.1:8443/k8s/clusters/c-1", "CA", server_name="api.example")
    (asked,) = [one for one in planned([a_host("n1")], view).asked["n1"] if one.check == "api"]
    assert (asked.question.address, asked.question.name, asked.question.server_name) == (
        "10.0.0.1",
        "/k8s/clusters/c-1/readyz",
        "api.example",
    )


def test_how_long_an_absence_is_remembered_matters_in_a_zone_of_ones_own() -> None:
    names = (AuditName("absent.corp.example", absent=True),)
    asked = [one for one in planned([a_host("n1", site=RESOLVER)], names=names).asked["n1"] if one.expected.absent]
    assert {one.question.name: one.expected.negative_ttl_s for one in asked} == {
        "absent.corp.example": NEGATIVE_TTL_S,
        "poolkeeper-absent.invalid": 0,
    }
    blamed = {s for one in asked if one.check == "dns.resolver" for s in one.candidates[NEGATIVE_TTL]}
    assert {(s.part, s.name) for s in blamed} == {
        (Part.NAME, "absence of absent.corp.example"),
        (Part.NAME, "absence of poolkeeper-absent.invalid"),
    }


@pytest.mark.parametrize("night", range(NIGHT, NIGHT + 3))
def test_a_virtual_node_takes_no_machines_turn(night: int) -> None:
    virtual = [
        a_node(f"virtual-{n}", labels={"type": "virtual-kubelet"}, internal_ips=(f"192.168.1.{n}",)) for n in range(9)
    ]
    cloud = a_node("cloud-1", labels={}, internal_ips=("192.168.0.5",))
    hybrid = a_node("n1", labels={POOL_TYPE_LABEL: "hybridcloud"})
    asked = planned([a_host("n1")], a_view(hybrid, cloud, *virtual), night).asked["n1"]
    assert [one.question.address for one in asked if one.check == "connect.cloud"] == ["192.168.0.5"]
