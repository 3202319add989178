"""What a good file means once defaults, levels and references are filled in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from poolkeeper.tasks.fleet import Mode, SecretRef, SshAccess
from poolkeeper.tasks.fleet.model import (
    AcceptedSystem,
    AckProvider,
    AuditName,
    AuditTarget,
    Freeze,
    KubeadmProvider,
    Limit,
    Service,
    SshJump,
    Window,
)
from tests.unit.fleet.builders import a_fleet, changed, problems_of

HOST = "n01: {address: 10.1.0.11, site: fra1, pool: general, domain: rack1}"
SITE = "    time_zone: Europe/Berlin\n"
POOL = "    max_unavailable: 10%\n"
FLEET_SSH = "  user: ops\n  key: {file: keys/ops}\n"


def ssh(fleet: str = FLEET_SSH, site: str = "", host: str = "") -> list[tuple[str, str]]:
    """Changes to the good file that set ssh at its three levels; n01 is at site fra1."""
    return [
        (FLEET_SSH, fleet),
        (SITE, SITE + (f"    ssh: {{{site}}}\n" if site else "")),
        (HOST, HOST.replace("domain: rack1", f"ssh: {{{host}}}") if host else HOST),
    ]


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        pytest.param(ssh(), {}, id="the fleet's alone"),
        pytest.param(ssh(site="user: eu"), {"user": "eu"}, id="a site's user wins"),
        pytest.param(
            ssh(site="user: eu", host="user: root"), {"user": "root"}, id="a host's user wins over the site's"
        ),
        pytest.param(ssh(site="port: 2200", host="sudo: false"), {"port": 2200, "sudo": False}, id="each by itself"),
        pytest.param(ssh(host="agent: true"), {"agent": True}, id="an agent beside the key"),
        pytest.param(
            ssh(host="key: {env: OTHER_KEY}"), {"key": SecretRef(env="OTHER_KEY")}, id="another key, kept elsewhere"
        ),
        pytest.param(
            ssh(site="connect_timeout: 3s, login_timeout: 1m30s", host="command_timeout: 2h, keepalive: 0s"),
            {"connect_timeout_s": 3.0, "login_timeout_s": 90.0, "command_timeout_s": 7200.0, "keepalive_s": 0.0},
            id="durations in seconds",
        ),
        pytest.param(
            ssh(site="jump: {address: jump.example.com}"),
            {"jump": SshJump("jump.example.com", 22, "ops")},
            id="a jump as the fleet's user",
        ),
        pytest.param(
            [
                *ssh("  jump: {address: jump.example.com}\n  key: {file: keys/ops}\n", site="user: eu"),
                ("      jump: {address: jump.example.com}", "      user: cn"),
            ],
            {"user": "eu", "jump": SshJump("jump.example.com", 22, "eu")},
            id="a jump of the fleet as the user of the site",
        ),
        pytest.param(
            ssh(site="jump: {address: jump.example.com, port: 2222, user: hop}", host="user: root"),
            {"user": "root", "jump": SshJump("jump.example.com", 2222, "hop")},
            id="a jump with a user of its own",
        ),
        pytest.param(
            ssh(site="jump: {address: a.example.com}", host="jump: {address: b.example.com}"),
            {"jump": SshJump("b.example.com", 22, "ops")},
            id="a host's jump in place of the site's",
        ),
    ],
)
def test_how_to_log_in_is_merged_from_fleet_site_and_host(tmp_path, changes, differs):
    base = SshAccess("ops", key=SecretRef(file=tmp_path / "keys/ops"))
    assert a_fleet(tmp_path, *changes).hosts["n01"].ssh == replace(base, **differs)


def test_a_port_beside_the_address_wins(tmp_path):
    fleet = a_fleet(tmp_path, *ssh(site="port: 2200", host="port: 2201"), ("n02: {", "n02: {port: 2202, "))
    assert [fleet.hosts[name].ssh.port for name in ("n01", "n02", "n03")] == [2201, 2202, 22]


def test_files_are_relative_to_the_fleet_file_and_tilde_is_a_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "known").touch()
    (tmp_path / "hosts").touch()
    fleet = a_fleet(tmp_path, *ssh(site="known_hosts: hosts, certificate: hosts", host="known_hosts: ~/known"))
    access = fleet.hosts["n01"].ssh
    assert (access.known_hosts, access.certificate) == (tmp_path / "home" / "known", tmp_path / "hosts")


@pytest.mark.parametrize(
    ("limit", "active_hosts", "nodes"),
    [
        (Limit(count=3), 100, 3),
        (Limit(count=3), 2, 3),
        (Limit(percent=10), 100, 10),
        (Limit(percent=10), 109, 10),
        (Limit(percent=10), 9, 1),
        (Limit(percent=10), 0, 1),
        (Limit(percent=1), 5_000, 50),
        (Limit(percent=100), 7, 7),
        (Limit(percent=29), 100, 29),  # in floating point, 100 * 0.29 is 28.999999999999996
    ],
)
def test_a_limit_is_a_number_or_the_floor_of_a_share_and_at_least_one(limit, active_hosts, nodes):
    assert limit.of(active_hosts) == nodes


@pytest.mark.parametrize(
    ("written", "limit"),
    [("1", Limit(count=1)), ("500", Limit(count=500)), ("7%", Limit(percent=7)), ('"100%"', Limit(percent=100))],
)
def test_limits_as_they_are_written(tmp_path, written, limit):
    fleet = a_fleet(
        tmp_path,
        ("max_unavailable: 10%", f"max_unavailable: {written}"),
        ("rack1: {site: fra1, max_unavailable: 1}", f"rack1: {{site: fra1, max_unavailable: {written}}}"),
    )
    assert fleet.pools["general"].max_unavailable == fleet.domains["rack1"].max_unavailable == limit
    assert fleet.domains["rack2"].max_unavailable == Limit(count=1)


@pytest.mark.parametrize(
    ("changes", "observed"),
    [
        pytest.param([], [], id="act everywhere"),
        pytest.param([("mode: act", "mode: observe")], ["n01", "n02", "n03"], id="the fleet observes"),
        pytest.param([(SITE, SITE + "    mode: observe\n")], ["n01", "n02"], id="a site observes"),
        pytest.param([(POOL, POOL + "    mode: observe\n")], ["n01", "n02", "n03"], id="a pool observes"),
        pytest.param(
            [("mode: act", "mode: observe"), (SITE, SITE + "    mode: act\n")],
            ["n01", "n02", "n03"],
            id="a site cannot act where the fleet observes",
        ),
    ],
)
def test_the_stricter_mode_counts(tmp_path, changes, observed):
    fleet = a_fleet(tmp_path, *changes)
    assert [host.name for host in fleet.hosts.values() if host.mode is Mode.OBSERVE] == observed


def test_a_host_has_what_is_declared_and_what_is_not(tmp_path):
    entry = "node_name: n01.example.com, node_address: 10.1.0.99, machine_id: abc, active: false, labels: {gpu: a100}"
    fleet = a_fleet(tmp_path, (HOST, HOST.replace("domain: rack1", entry)))
    given, default = fleet.hosts["n01"], fleet.hosts["n02"]
    assert (given.node_name, given.node_address, given.machine_id, given.active, given.labels, given.domain) == (
        "n01.example.com",
        ip_address("10.1.0.99"),
        "abc",
        False,
        {"gpu": "a100"},
        None,
    )
    assert (default.node_name, default.node_address, default.machine_id, default.active, default.labels) == (
        "n02",
        None,
        None,
        True,
        {},
    )
    assert default.domain is fleet.domains["rack1"]
    assert default.site is fleet.sites["fra1"]
    assert default.pool.cluster is fleet.clusters["main"]


def test_a_cluster_and_a_pool(tmp_path):
    more = "    min_memory: 512Mi\n    join: {parallel: 2, timeout: 1d2h3m4s}\n    rollout: {host_duration: 20m}\n"
    fleet = a_fleet(tmp_path, (POOL, POOL + more))
    cluster, pool = fleet.clusters["main"], fleet.pools["general"]
    assert cluster.provider == AckProvider("c-1", "eu-central-1")
    assert cluster.pod_cidrs == (ip_network("172.20.0.0/16"),)
    assert (cluster.container_cidr, cluster.node_mask) == (ip_network("10.100.0.0/16"), 24)
    assert pool.accepted == (AcceptedSystem("debian", ("12",), "5.10", ("amd64",)),)
    assert (pool.min_memory_bytes, pool.min_disk_free_bytes) == (512 * 1024**2, 20 * 1024**3)
    assert (pool.join.parallel, pool.join.timeout_s, pool.join.on_failure) == (2, 93784.0, "undo")
    assert pool.rollout.host_duration_s == 1200.0


def test_a_kubeadm_cluster_needs_nothing_more(tmp_path):
    provider = "      ack:\n        cluster_id: c-1\n        region: eu-central-1\n"
    fleet = a_fleet(tmp_path, (provider, "      kubeadm: {}\n"))
    cluster, pool = fleet.clusters["main"], fleet.pools["general"]
    assert (cluster.provider, cluster.by_kubeadm, cluster.test_image) == (KubeadmProvider(), True, "busybox:1.36")
    assert pool.expected_pods == ()


def test_what_a_kubeadm_cluster_may_say(tmp_path):
    provider = "      ack:\n        cluster_id: c-1\n        region: eu-central-1\n"
    kubeadm = """\
      kubeadm:
        cri_socket: unix:///run/crio/crio.sock
        ignore_preflight_errors: [SystemVerification, FileContent--proc-sys-net-ipv4-ip_forward]
        taints: ["dedicated=batch:NoSchedule", "example.com/gpu:NoExecute"]
"""
    image = "    kubeconfig: {env: MAIN_KUBECONFIG}\n"
    pods = POOL + "    expected_pods: [cilium]\n"
    fleet = a_fleet(
        tmp_path, (provider, kubeadm), (image, image + "    test_image: registry.example/b:1\n"), (POOL, pods)
    )
    assert fleet.clusters["main"].provider == KubeadmProvider(
        "unix:///run/crio/crio.sock",
        ("SystemVerification", "FileContent--proc-sys-net-ipv4-ip_forward"),
        (("dedicated", "batch", "NoSchedule"), ("example.com/gpu", "", "NoExecute")),
    )
    assert fleet.clusters["main"].test_image == "registry.example/b:1"
    assert fleet.pools["general"].expected_pods == ("cilium",)


def test_pods_that_every_ack_node_has_are_expected_unless_others_are_named(tmp_path):
    assert a_fleet(tmp_path).pools["general"].expected_pods == ("terway", "node-local-dns")
    none = (POOL, POOL + "    expected_pods: []\n")
    assert a_fleet(tmp_path, none).pools["general"].expected_pods == ()


def test_the_mask_is_24_where_none_is_given(tmp_path):
    assert a_fleet(tmp_path, ("    node_mask: 24\n", "")).clusters["main"].node_mask == 24


def test_windows_and_freezes_of_a_site(tmp_path):
    site = a_fleet(tmp_path, ("[sat, sun]", "[Saturday, SUN]")).sites["fra1"]
    assert site.windows == (Window(frozenset({5, 6}), time(2), timedelta(hours=4)),)
    (freeze,) = site.freezes
    assert freeze == Freeze(
        datetime(2026, 12, 19, 23, tzinfo=UTC), datetime(2027, 1, 2, 23, tzinfo=UTC), "no reason given"
    )
    assert freeze.start.tzinfo is UTC


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param('start: "02:00"', "start: 22:30", id="a time of day without quotes is no base-60 number"),
        pytest.param("nodepool_id: np-1", "nodepool_id: no", id="no is a name"),
        pytest.param("nodepool_id: np-1", "nodepool_id: 2026-01-01", id="a date is a name"),
        pytest.param("node_mask: 24", "node_mask: 024", id="a leading zero is not octal"),
        pytest.param("n01: {", "123: {", id="a number is a name"),
        pytest.param("n01: {", "on: {", id="on is a name"),
        pytest.param("10.1.0.11", "n_01.example.com", id="a DNS name"),
    ],
)
def test_what_other_readers_of_yaml_stumble_on(tmp_path, old, new):
    assert problems_of(tmp_path, changed((old, new))) == ()


def test_merge_keys_and_aliases_fill_in_what_is_not_written(tmp_path):
    fleet = a_fleet(
        tmp_path,
        (HOST, "n01: &all {address: 10.1.0.11, site: fra1, pool: general, labels: &l {gpu: a100}}"),
        ("n02: {address: 10.1.0.12, site: fra1, pool: general, domain: rack1}", "n02: {<<: *all, address: 10.1.0.12}"),
        (
            "n03: {address: 10.2.0.11, site: sha1, pool: general, domain: rack2}",
            "n03: {<<: [{site: sha1}, *all], address: 10.2.0.11, labels: *l}",
        ),
    )
    assert [(h.address, h.site.name, h.labels) for h in fleet.hosts.values()] == [
        ("10.1.0.11", "fra1", {"gpu": "a100"}),
        ("10.1.0.12", "fra1", {"gpu": "a100"}),
        ("10.2.0.11", "sha1", {"gpu": "a100"}),
    ]


def test_sites_behind_jump_hosts_of_their_own_may_use_the_same_addresses(tmp_path):
    text = changed(("cidrs: [10.2.0.0/16]", "cidrs: []"), ("10.2.0.11", "10.1.0.11"))
    assert problems_of(tmp_path, text) == ()


def test_loading_keeps_the_path_and_the_order(tmp_path):
    fleet = a_fleet(tmp_path)
    assert (fleet.name, fleet.path, list(fleet.hosts)) == ("acme", Path(tmp_path / "fleet.yaml"), ["n01", "n02", "n03"])


def test_where_the_account_is_billed_and_for_what(tmp_path):
    region = "        region: eu-central-1\n"
    cluster = a_fleet(tmp_path).clusters["main"]
    assert isinstance(cluster.provider, AckProvider)
    assert (cluster.provider.account_site, cluster.provider.billing_endpoint) == ("international", None)
    assert cluster.billed_resources == {}
    own = [
        (region, f"{region}        account_site: china\n        billing_endpoint: 127.0.0.1:8081\n"),
        ("    kubeconfig:", "    billed_resources: {vbr-1: line to fra1}\n    kubeconfig:"),
    ]
    cluster = a_fleet(tmp_path, *own).clusters["main"]
    assert isinstance(cluster.provider, AckProvider)
    assert (cluster.provider.account_site, cluster.provider.billing_endpoint) == ("china", "127.0.0.1:8081")
    assert cluster.billed_resources == {"vbr-1": "line to fra1"}


AUDIT = """\
audit:
  every_pair_up_to: 50
  path_mtu: 1450
  targets:
    - {name: db, sites: [fra1], tcp: 10.1.9.20:5432}
    - {name: web, url: "https://App.example.com/healthz?deep=1", ca: keys/ops, expires_in: 30d}
    - {name: plain, url: "http://[fd00::1]:8080"}
    - {name: ldap, at: sha1, tls: "[fd00::2]:636"}
  names:
    - {name: DB.example.com., addresses: [10.1.9.21, 10.1.9.20]}
    - {name: gone.example.com, zone: on-prem, absent: true}
hosts:
"""


def test_what_the_audit_measures(tmp_path):
    audit = a_fleet(tmp_path, ("hosts:\n", AUDIT)).audit
    assert (audit.every_pair_up_to, audit.neighbours, audit.path_mtu, audit.silent_nights) == (50, 8, 1450, 3)
    assert audit.provider_endpoints == "none"
    assert audit.targets == (
        AuditTarget("db", frozenset({"fra1"}), tcp=Service("tcp", "10.1.9.20", 5432)),
        AuditTarget(
            "web",
            url=Service("https", "App.example.com", 443, "/healthz?deep=1"),
            authority=tmp_path / "keys/ops",
            expires_in_s=30 * 86400.0,
        ),
        AuditTarget("plain", url=Service("http", "fd00::1", 8080)),
        AuditTarget("ldap", tls=Service("tls", "fd00::2", 636), at="sha1"),
    )
    assert audit.names == (
        AuditName("db.example.com", addresses=("10.1.9.20", "10.1.9.21")),
        AuditName("gone.example.com", zone="on-prem", absent=True),
    )
