"""Each single mistake in a good fleet file, and exactly what is told about it."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.fleet import Problem
from tests.unit.fleet.builders import GOOD, changed, problems_of

N01 = "  n01: {address: 10.1.0.11, site: fra1, pool: general, domain: rack1}"
N02 = "  n02: {address: 10.1.0.12, site: fra1, pool: general, domain: rack1}"
N03 = "  n03: {address: 10.2.0.11, site: sha1, pool: general, domain: rack2}"
POOLS = GOOD[GOOD.index("pools:") : GOOD.index("hosts:")]
DOMAINS = GOOD[GOOD.index("domains:") : GOOD.index("pools:")]
PROVIDER = GOOD[GOOD.index("    provider:") : GOOD.index("    kubeconfig:")]
REGION = "        region: eu-central-1\n"
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----"

NAMES = "Use up to 63 lower-case letters, digits and dashes, beginning and ending with a letter or digit."
PATHS = "Put it there, or correct the path; paths are relative to the fleet file's folder (FOLDER)."
KEPT = "Write {file: PATH}, {env: NAME} or {block: NAME}."
ROTATE = (
    "Remove it, rotate it (others may know it by now), and name where the new one is kept:"
    " {file: PATH}, {env: NAME} or {block: NAME}."
)
DISJOINT = "Choose ranges that have no address in common."
A_CHECK = "a check needs either a command, or a query with its Prometheus server."
COMMAND_OR_QUERY = "Write command: [PROGRAM, ARGUMENT], or prometheus: URL and query: PROMQL."
ADDRESS = "Write it like 10.1.0.11 or n01.example.com."


def n01(old: str, new: str) -> tuple[str, str]:
    return N01, N01.replace(old, new)


def n02(old: str, new: str) -> tuple[str, str]:
    return N02, N02.replace(old, new)


def row(phrase: str, changes: list[tuple[str, str]], *problems: tuple[int, int, str, str, str]) -> Any:
    return pytest.param(changes, problems, id=phrase)


ROWS = [
    # shape
    row(
        "unknown key at the top, with the nearest",
        [("mode: act", "mod: act")],
        (2, 1, "mod", "there is no key mod here.", "Did you mean mode?"),
    ),
    row(
        "unknown key of a host, with what there is",
        [n01("domain: rack1", "zzz: rack1")],
        (
            41,
            56,
            "hosts.n01.zzz",
            "there is no key zzz here.",
            "There are: active, address, domain, labels, machine_id, node_address, node_name, pool, port, site, ssh.",
        ),
    ),
    row(
        "a name in an entry, whose key is its name, and a path in the file, which has one",
        [n01("domain: rack1", "name: n02"), ("mode: act", "path: other.yaml")],
        (
            2,
            1,
            "path",
            "there is no key path here.",
            "There are: audit, clusters, domains, fleet, hosts, mode, pools, sites, ssh, ssh_limits.",
        ),
        (41, 56, "hosts.n01.name", "there is no key name here.", "Did you mean node_name?"),
    ),
    row(
        "unknown key in a list of accepted systems",
        [("kernel_min:", "kernel:")],
        (39, 40, "pools.general.accepted[0].kernel", "there is no key kernel here.", "Did you mean kernel_min?"),
    ),
    row(
        "unknown key below a site that is named like a key",
        [
            ("  sha1:\n    time_zone: Asia/Shanghai", "  ssh:\n    tme_zone: x\n    time_zone: Asia/Shanghai"),
            ("rack2: {site: sha1}", "rack2: {site: ssh}"),
            ("n03: {address: 10.2.0.11, site: sha1", "n03: {address: 10.2.0.11, site: ssh"),
        ],
        (26, 5, "sites.ssh.tme_zone", "there is no key tme_zone here.", "Did you mean time_zone?"),
    ),
    row(
        "missing fleet name",
        [("fleet: acme\n", "")],
        (1, 1, "fleet", "fleet is missing.", "Add `fleet:`."),
    ),
    row(
        "missing address",
        [n01("address: 10.1.0.11, ", "")],
        (41, 3, "hosts.n01.address", "address is missing.", "Add `address:`."),
    ),
    row(
        "missing section",
        [(POOLS, "")],
        (1, 1, "pools", "pools is missing.", "Add `pools:`."),
    ),
    row(
        "empty section",
        [(DOMAINS, "domains:\n"), n01(", domain: rack1", ""), n02(", domain: rack1", ""), (", domain: rack2", "")],
        (30, 9, "domains", "domains is empty.", "Write a value behind `domains:`, or delete it."),
    ),
    row(
        "section of nothing",
        [(f"{N01}\n{N02}\n{N03}", " {}")],
        (40, 1, "hosts", "there are no hosts.", "Declare at least one of the hosts."),
    ),
    row(
        "empty fleet name",
        [("fleet: acme", "fleet: ''")],
        (1, 8, "fleet", "fleet is empty.", "Write a value behind `fleet:`, or delete it."),
    ),
    row(
        "wrong mode, with the nearest",
        [("mode: act", "mode: obsrve")],
        (2, 7, "mode", "'obsrve' is not one of act, observe.", "Did you mean observe?"),
    ),
    row(
        "wrong mode, nothing near",
        [("mode: act", "mode: 7")],
        (2, 7, "mode", "7 is not one of act, observe.", "Write act or observe."),
    ),
    row(
        "wrong architecture",
        [("[amd64]", "[x86_64]")],
        (
            39,
            67,
            "pools.general.accepted[0].arch[0]",
            "'x86_64' is not one of amd64, arm64, arm.",
            "Write amd64 or arm64 or arm.",
        ),
    ),
    row(
        "text where keys belong",
        [(PROVIDER, "    provider: ack\n")],
        (
            8,
            15,
            "clusters.main.provider",
            "'ack' is not a block of keys.",
            "Write `key: value` lines below it.",
        ),
    ),
    row(
        "a list where keys belong",
        [n01("{address: 10.1.0.11, site: fra1, pool: general, domain: rack1}", "[10.1.0.11]")],
        (41, 3, "hosts.n01", "a list is not a block of keys.", "Write `key: value` lines below it."),
    ),
    row(
        "text where a list belongs",
        [("cidrs: [10.1.0.0/16]", "cidrs: 10.1.0.0/16")],
        (20, 12, "sites.fra1.cidrs", "'10.1.0.0/16' is not a list.", "Write it as [a, b]."),
    ),
    row(
        "a number where text belongs keeps its zeros",
        [('versions: ["12"]', "versions: [24.10]")],
        (
            39,
            33,
            "pools.general.accepted[0].versions[0]",
            "24.10 is not text.",
            'Write it in quotes: "24.10".',
        ),
    ),
    row(
        "a truth value where text belongs",
        [n01("domain: rack1", "domain: rack1, labels: {gpu: true}")],
        (41, 85, "hosts.n01.labels.gpu", "true is not text.", 'Write it in quotes: "true".'),
    ),
    row(
        "a list where text belongs",
        [("nodepool_id: np-1", "nodepool_id: [np-1]")],
        (36, 5, "pools.general.nodepool_id", "a list is not text.", "Write a text."),
    ),
    row(
        "nothing where text belongs",
        [("nodepool_id: np-1", "nodepool_id:")],
        (
            36,
            17,
            "pools.general.nodepool_id",
            "nodepool_id is empty.",
            "Write a value behind `nodepool_id:`, or delete it.",
        ),
    ),
    row(
        "nothing where a level of ssh says something",
        [("  user: ops\n", "  user: ops\n  port:\n")],
        (5, 8, "ssh.port", "port is empty.", "Write a value behind `port:`, or delete it."),
    ),
    row(
        "text where a number belongs",
        [("node_mask: 24", 'node_mask: "24"')],
        (16, 16, "clusters.main.node_mask", "'24' is not a whole number.", "Write a whole number, without quotes."),
    ),
    row(
        "yes is not true",
        [n01("domain: rack1", "active: yes")],
        (41, 64, "hosts.n01.active", "'yes' is neither true nor false.", "Write true or false, without quotes."),
    ),
    row(
        "port beyond the last",
        [n01("domain: rack1", "port: 65536")],
        (41, 62, "hosts.n01.port", "65536 is more than 65535.", "Write a number of 65535 or less."),
    ),
    row(
        "port zero",
        [n01("domain: rack1", "port: 0")],
        (41, 62, "hosts.n01.port", "0 is less than 1.", "Write a number of 1 or more."),
    ),
    row(
        "several lines where one belongs",
        [("nodepool_id: np-1", 'nodepool_id: "a\\nb"')],
        (
            36,
            18,
            "pools.general.nodepool_id",
            "'a\\nb' has several lines or control characters.",
            "Write it on one line, without them.",
        ),
    ),
    row(
        "an unknown tag",
        [("mode: act", "mode: !env act")],
        (2, 7, "mode", "there is a tag (!) here.", "Write the value without it."),
    ),
    row(
        "a key that stands twice",
        [("mode: act\n", "mode: act\nfleet: again\n")],
        (
            3,
            1,
            "fleet",
            "fleet is already on line 1.",
            "Keep one of the two, or give this one another name.",
        ),
    ),
    row(
        "a host that stands twice",
        [(N02, N02.replace("n02", "n01"))],
        (
            42,
            3,
            "hosts.n01",
            "n01 is already on line 41.",
            "Keep one of the two, or give this one another name.",
        ),
    ),
    # values
    row(
        "no duration",
        [("duration: 4h", "duration: 4 hours")],
        (
            22,
            54,
            "sites.fra1.windows[0].duration",
            "'4 hours' is not a duration.",
            "Write it like 90s, 15m, 4h or 1d12h.",
        ),
    ),
    row(
        "a duration beyond bounds",
        [("duration: 4h", "duration: 999999d")],
        (
            22,
            54,
            "sites.fra1.windows[0].duration",
            "'999999d' is not a duration.",
            "Write it like 90s, 15m, 4h or 1d12h.",
        ),
    ),
    row(
        "a timeout of no time",
        [("  user: ops\n", "  user: ops\n  connect_timeout: 0s\n")],
        (5, 20, "ssh.connect_timeout", "'0s' is no time at all.", "Write a duration of at least 1s."),
    ),
    row(
        "a size without a unit",
        [("    max_unavailable: 10%\n", "    max_unavailable: 10%\n    min_memory: 20\n")],
        (38, 17, "pools.general.min_memory", "20 is not a size.", "Write it with its unit, like 20Gi or 512Mi."),
    ),
    row(
        "limit of 0",
        [("max_unavailable: 10%", "max_unavailable: 0")],
        (
            37,
            22,
            "pools.general.max_unavailable",
            "0 would never allow work on a node.",
            "Write 1 or more, or a percent like 10%; to keep a pool or site from being changed, set its mode: observe.",
        ),
    ),
    row(
        "limit of 0%",
        [("max_unavailable: 10%", "max_unavailable: 0%")],
        (
            37,
            22,
            "pools.general.max_unavailable",
            "'0%' would never allow work on a node.",
            "Write 1 or more, or a percent like 10%; to keep a pool or site from being changed, set its mode: observe.",
        ),
    ),
    row(
        "limit of 101%",
        [("max_unavailable: 10%", "max_unavailable: 101%")],
        (
            37,
            22,
            "pools.general.max_unavailable",
            "'101%' is neither a number of nodes nor a percent of them.",
            "Write it like 2 or 10%, at most 100%.",
        ),
    ),
    row(
        "limit below 0",
        [("max_unavailable: 10%", "max_unavailable: -1")],
        (
            37,
            22,
            "pools.general.max_unavailable",
            "-1 is neither a number of nodes nor a percent of them.",
            "Write it like 2 or 10%, at most 100%.",
        ),
    ),
    row(
        "limit of a domain that is a fraction",
        [("rack1: {site: fra1, max_unavailable: 1}", "rack1: {site: fra1, max_unavailable: 0.5}")],
        (
            31,
            40,
            "domains.rack1.max_unavailable",
            "0.5 is neither a number of nodes nor a percent of them.",
            "Write it like 2 or 10%, at most 100%.",
        ),
    ),
    row(
        "no time of day",
        [('start: "02:00"', 'start: "24:00"')],
        (
            22,
            35,
            "sites.fra1.windows[0].start",
            "'24:00' is not a time of day.",
            'Write it with hours and minutes, like "02:00".',
        ),
    ),
    row(
        "no day",
        [("[sat, sun]", "[sat, sunny]")],
        (
            22,
            22,
            "sites.fra1.windows[0].days[1]",
            "'sunny' is not one of mon, tue, wed, thu, fri, sat, sun.",
            "Did you mean sun?",
        ),
    ),
    row(
        "a moment without a zone",
        [("from: 2026-12-20T00:00:00+01:00", "from: 2026-12-20")],
        (
            24,
            16,
            "sites.fra1.freezes[0].from",
            "'2026-12-20' has no time zone.",
            "Write it like 2026-12-20T00:00:00+01:00, or with Z at its end for UTC.",
        ),
    ),
    row(
        "a moment that is no date",
        [("from: 2026-12-20T00:00:00+01:00", "from: 2026-13-20T00:00:00Z")],
        (
            24,
            16,
            "sites.fra1.freezes[0].from",
            "'2026-13-20T00:00:00Z' is not a date with a time.",
            "Write it like 2026-12-20T00:00:00+01:00.",
        ),
    ),
    row(
        "a moment out of bounds",
        [("from: 2026-12-20T00:00:00+01:00", "from: 0001-01-01T00:00:00+14:00")],
        (
            24,
            16,
            "sites.fra1.freezes[0].from",
            "'0001-01-01T00:00:00+14:00' lies outside of the years 1970 to 9998.",
            "Correct the year.",
        ),
    ),
    row(
        "a network with bits behind its mask",
        [("cidrs: [10.1.0.0/16]", "cidrs: [10.1.0.5/16]")],
        (20, 13, "sites.fra1.cidrs[0]", "'10.1.0.5/16' has bits set to the right of its mask.", "Write 10.1.0.0/16."),
    ),
    row(
        "a network without a mask",
        [("cidrs: [10.1.0.0/16]", "cidrs: [10.1.0.0]")],
        (20, 13, "sites.fra1.cidrs[0]", "'10.1.0.0' has no mask.", "Write the whole network, like 10.1.0.0/16."),
    ),
    row(
        "no network",
        [("pod_cidrs: [172.20.0.0/16]", "pod_cidrs: [172.20.0.0/33]")],
        (
            13,
            17,
            "clusters.main.pod_cidrs[0]",
            "'172.20.0.0/33' is not a network.",
            "Write it in CIDR form, like 10.1.0.0/16.",
        ),
    ),
    row(
        "a number for a network",
        [("container_cidr: 10.100.0.0/16", "container_cidr: 10")],
        (15, 21, "clusters.main.container_cidr", "10 is not a network.", "Write it in CIDR form, like 10.1.0.0/16."),
    ),
    row(
        "a number for an address",
        [n01("domain: rack1", "node_address: 5")],
        (41, 70, "hosts.n01.node_address", "5 is not an IP address.", "Write it like 10.1.0.11."),
    ),
    row(
        "an address with an octet too large",
        [n01("10.1.0.11", "10.1.0.311")],
        (41, 18, "hosts.n01.address", "'10.1.0.311' is neither an IP address nor a DNS name.", ADDRESS),
    ),
    row(
        "an address with a port",
        [n01("10.1.0.11", '"10.1.0.11:22"')],
        (
            41,
            18,
            "hosts.n01.address",
            "'10.1.0.11:22' has a port or brackets in it.",
            "Write the address alone, and the port with `port:`.",
        ),
    ),
    row(
        "an address with a user",
        [n01("10.1.0.11", "ops@10.1.0.11")],
        (
            41,
            18,
            "hosts.n01.address",
            "'ops@10.1.0.11' has a user in it.",
            "Write the address alone, and the user under ssh: {user: ...}.",
        ),
    ),
    row(
        "a URL for an address",
        [n01("10.1.0.11", "ssh://10.1.0.11")],
        (
            41,
            18,
            "hosts.n01.address",
            "'ssh://10.1.0.11' is a URL or path, not an address.",
            "Write the address or DNS name alone.",
        ),
    ),
    row(
        "a jump host with a port in its address",
        [("jump.example.com", '"jump.example.com:2222"')],
        (
            29,
            23,
            "sites.sha1.ssh.jump.address",
            "'jump.example.com:2222' has a port or brackets in it.",
            "Write the address alone, and the port with `port:`.",
        ),
    ),
    row(
        "a URL for an endpoint",
        [(REGION, REGION + "        endpoint: https://cs.example.com\n")],
        (
            12,
            19,
            "clusters.main.provider.ack.endpoint",
            "'https://cs.example.com' is not an endpoint.",
            "Write it as host or host:port, without https://.",
        ),
    ),
    row(
        "no resolver's address",
        [("    cidrs: [10.1.0.0/16]", "    dns: {resolvers: [dns.example.com]}\n    cidrs: [10.1.0.0/16]")],
        (20, 23, "sites.fra1.dns.resolvers[0]", "'dns.example.com' is not an IP address.", "Write it like 10.1.0.11."),
    ),
    row(
        "a kernel that is no version",
        [('"5.10"', "newest")],
        (
            39,
            52,
            "pools.general.accepted[0].kernel_min",
            "'newest' is not a version.",
            'Write it in quotes, like "5.10" or "1.36.3".',
        ),
    ),
    row(
        "a package's version in place of one of Kubernetes",
        [("    nodepool_id: np-1\n", "    nodepool_id: np-1\n    kubernetes_version: 1.36.3-1.1\n")],
        (
            37,
            25,
            "pools.general.kubernetes_version",
            "'1.36.3-1.1' is not a version of Kubernetes.",
            'Write it in quotes, like "1.36.3", and without a package\'s revision.',
        ),
    ),
    row(
        "no prefix length",
        [("node_mask: 24", "node_mask: 129")],
        (16, 16, "clusters.main.node_mask", "129 is more than 128.", "Write a number of 128 or less."),
    ),
    # names and references
    row(
        "a name with capitals",
        [(N01, N01.replace("n01", "N01"))],
        (41, 3, "hosts.N01", "'N01' cannot be a name here.", NAMES),
    ),
    row(
        "a host named all",
        [(N01, N01.replace("n01", "all"))],
        (41, 3, "hosts.all", "a host cannot be named all, because all selects every host.", "Give it another name."),
    ),
    row(
        "a name of 64 letters",
        [(N01, N01.replace("n01", "n" * 64))],
        (
            41,
            3,
            "hosts.nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
            "'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn'... cannot be a name here.",
            NAMES,
        ),
    ),
    row(
        "no such pool, with the nearest",
        [n01("pool: general", "pool: genral")],
        (41, 47, "hosts.n01.pool", "there is no pool 'genral'.", "Did you mean general?"),
    ),
    row(
        "no such site",
        [n01("site: fra1", "site: muc9")],
        (41, 35, "hosts.n01.site", "there is no site 'muc9'.", "There are: fra1, sha1."),
    ),
    row(
        "no such domain",
        [n01("domain: rack1", "domain: rack9")],
        (41, 64, "hosts.n01.domain", "there is no domain 'rack9'.", "Did you mean rack2?"),
    ),
    row(
        "no domains at all",
        [(DOMAINS, ""), n02(", domain: rack1", ""), (", domain: rack2", "")],
        (38, 64, "hosts.n01.domain", "there is no domain 'rack1'.", "Declare it under domains."),
    ),
    row(
        "no such cluster of a pool",
        [("    cluster: main\n", "    cluster: mian\n")],
        (35, 14, "pools.general.cluster", "there is no cluster 'mian'.", "Did you mean main?"),
    ),
    row(
        "no such site of a domain",
        [("rack2: {site: sha1}", "rack2: {site: sha2}")],
        (32, 17, "domains.rack2.site", "there is no site 'sha2'.", "Did you mean sha1?"),
    ),
    row(
        "a domain at another site",
        [n01("domain: rack1", "domain: rack2")],
        (
            41,
            64,
            "hosts.n01.domain",
            "domain rack2 is at site sha1, the host at fra1.",
            "Name a domain of the host's own site, or correct the host's site.",
        ),
    ),
    row(
        "a node name with an underscore",
        [n01("domain: rack1", "node_name: n_01")],
        (
            41,
            67,
            "hosts.n01.node_name",
            "'n_01' cannot be a node's name.",
            "Use up to 253 lower-case letters, digits, dashes and dots; each part between dots begins and ends with a letter or digit.",
        ),
    ),
    row(
        "a container runtime without its scheme",
        [(PROVIDER, "    provider:\n      kubeadm:\n        cri_socket: /run/containerd/containerd.sock\n")],
        (
            10,
            21,
            "clusters.main.provider.kubeadm.cri_socket",
            "'/run/containerd/containerd.sock' is not the socket of a container runtime.",
            "Write it like unix:///run/containerd/containerd.sock.",
        ),
    ),
    row(
        "every check of kubeadm's ignored",
        [(PROVIDER, "    provider:\n      kubeadm:\n        ignore_preflight_errors: [all]\n")],
        (
            10,
            35,
            "clusters.main.provider.kubeadm.ignore_preflight_errors[0]",
            "'all' would ignore every check of kubeadm's.",
            "Name those that do not matter on these hosts.",
        ),
    ),
    row(
        "two checks of kubeadm's in one text",
        [(PROVIDER, "    provider:\n      kubeadm:\n        ignore_preflight_errors: ['Swap,NumCPU']\n")],
        (
            10,
            35,
            "clusters.main.provider.kubeadm.ignore_preflight_errors[0]",
            "'Swap,NumCPU' is not the name of a check of kubeadm's.",
            "Write it as kubeadm does, like SystemVerification.",
        ),
    ),
    row(
        "a taint without effect",
        [(PROVIDER, "    provider:\n      kubeadm:\n        taints: [dedicated=batch]\n")],
        (
            10,
            18,
            "clusters.main.provider.kubeadm.taints[0]",
            "'dedicated=batch' is not a taint.",
            "Write it as kubectl does, like dedicated=batch:NoSchedule.",
        ),
    ),
    row(
        "a pool's id that no label can have",
        [(PROVIDER, "    provider:\n      kubeadm: {}\n"), ("nodepool_id: np-1", "nodepool_id: 'a,b=c'")],
        (
            34,
            18,
            "pools.general.nodepool_id",
            "'a,b=c' cannot be the value of a label, and in a kubeadm cluster it is one.",
            "Use up to 63 letters, digits, dashes, dots and underscores, beginning and ending with a letter or digit.",
        ),
    ),
    row(
        "a node name that ACK refuses",
        [n01("domain: rack1", "node_name: localhost.n01")],
        (
            41,
            67,
            "hosts.n01.node_name",
            "names of nodes must not start with localhost (ACK refuses them).",
            "Choose another node_name.",
        ),
    ),
    row(
        "a host's name that ACK refuses as a node's",
        [(N01, N01.replace("n01", "localhost-1"))],
        (
            41,
            3,
            "hosts.localhost-1",
            "names of nodes must not start with localhost (ACK refuses them).",
            "Choose another node_name.",
        ),
    ),
    row(
        "two hosts of one node name",
        [n02("domain: rack1", "node_name: n01")],
        (
            42,
            67,
            "hosts.n02.node_name",
            "host n01 has the node name n01 already.",
            "Give each host of a cluster its own node_name.",
        ),
    ),
    row(
        "two hosts of one address",
        [n02("10.1.0.12", "10.1.0.11")],
        (
            42,
            18,
            "hosts.n02.address",
            "host n01 has the address 10.1.0.11 already.",
            "Correct one of the two; one machine is one host.",
        ),
    ),
    row(
        "two hosts of one DNS name",
        [n01("10.1.0.11", "N.example.com"), n02("10.1.0.12", "n.example.com.")],
        (
            42,
            18,
            "hosts.n02.address",
            "host n01 has the address n.example.com. already.",
            "Correct one of the two; one machine is one host.",
        ),
    ),
    row(
        "two hosts of one node address",
        [n01("domain: rack1", "node_address: 10.1.0.9"), n02("domain: rack1", "node_address: 10.1.0.9")],
        (
            42,
            70,
            "hosts.n02.node_address",
            "host n01 has the node address 10.1.0.9 already.",
            "Correct one of the two.",
        ),
    ),
    row(
        "an address outside of the site",
        [n01("10.1.0.11", "10.2.0.99")],
        (
            41,
            18,
            "hosts.n01.address",
            "10.2.0.99 is in none of site fra1's networks.",
            "Correct the address or the site, or add its network to sites.fra1.cidrs.",
        ),
    ),
    # ranges
    row(
        "the service range in the pod range",
        [("service_cidrs: [172.21.0.0/20]", "service_cidrs: [172.20.16.0/20]")],
        (
            14,
            21,
            "clusters.main.service_cidrs[0]",
            "172.20.16.0/20 (service range) overlaps 172.20.0.0/16 (pod range) in cluster main.",
            DISJOINT,
        ),
    ),
    row(
        "the container range over a site's network",
        [("container_cidr: 10.100.0.0/16", "container_cidr: 10.2.0.0/16")],
        (
            27,
            13,
            "sites.sha1.cidrs[0]",
            "10.2.0.0/16 (network of site sha1) overlaps 10.2.0.0/16 (container range) in cluster main.",
            DISJOINT,
        ),
    ),
    row(
        "two sites' networks",
        [("cidrs: [10.2.0.0/16]", "cidrs: [10.2.0.0/16, 10.1.128.0/17]")],
        (
            27,
            26,
            "sites.sha1.cidrs[1]",
            "10.1.128.0/17 (network of site sha1) overlaps 10.1.0.0/16 (network of site fra1) in cluster main.",
            DISJOINT,
        ),
    ),
    row(
        "a range over Alibaba's services",
        [("pod_cidrs: [172.20.0.0/16]", "pod_cidrs: [100.64.0.0/16]")],
        (
            13,
            17,
            "clusters.main.pod_cidrs[0]",
            "100.64.0.0/16 (pod range) overlaps 100.64.0.0/10, where Alibaba Cloud's own services are.",
            "Choose a range outside of it, or ask ACK for PrivateLink endpoints.",
        ),
    ),
    row(
        "a mask that does not fit",
        [("node_mask: 24", "node_mask: 8")],
        (
            16,
            16,
            "clusters.main.node_mask",
            "a /8 for each node does not fit into 10.100.0.0/16.",
            "Choose a mask between 16 and 32.",
        ),
    ),
    row(
        "more hosts than the range has room for",
        [("container_cidr: 10.100.0.0/16", "container_cidr: 10.100.0.0/23")],
        (
            15,
            21,
            "clusters.main.container_cidr",
            "3 active hosts are declared, but 10.100.0.0/23 in parts of /24 is enough for 2 nodes.",
            "Declare fewer hosts, a larger range, or a smaller part for each node (a larger node_mask).",
        ),
    ),
    # windows and freezes
    row(
        "no such time zone, with the nearest",
        [("Europe/Berlin", "Europe/Belin")],
        (19, 16, "sites.fra1.time_zone", "there is no time zone 'Europe/Belin'.", "Did you mean Europe/Berlin?"),
    ),
    row(
        "no such time zone, nothing near",
        [("Europe/Berlin", "CET-1")],
        (
            19,
            16,
            "sites.fra1.time_zone",
            "there is no time zone 'CET-1'.",
            "Write an IANA name, like Europe/Berlin or Asia/Shanghai.",
        ),
    ),
    row(
        "a time zone that climbs out of its folder",
        [("Europe/Berlin", "../../etc/passwd")],
        (
            19,
            16,
            "sites.fra1.time_zone",
            "there is no time zone '../../etc/passwd'.",
            "Write an IANA name, like Europe/Berlin or Asia/Shanghai.",
        ),
    ),
    row(
        "a window without days",
        [("days: [sat, sun]", "days: []")],
        (
            22,
            10,
            "sites.fra1.windows[0].days",
            "a window without days can never open.",
            "Name at least one day, or leave days out for every day.",
        ),
    ),
    row(
        "a window of no length",
        [("duration: 4h", "duration: 0h")],
        (
            22,
            54,
            "sites.fra1.windows[0].duration",
            "this window can never open: it has no length.",
            "Write a duration like 4h.",
        ),
    ),
    row(
        "a window of more than a week",
        [("duration: 4h", "duration: 8d")],
        (
            22,
            54,
            "sites.fra1.windows[0].duration",
            "a window longer than a week overlaps itself.",
            "Write a shorter one, or delete the site's windows: without any, work may start at any time.",
        ),
    ),
    row(
        "a freeze that ends before it begins",
        [("to: 2027-01-03", "to: 2025-01-03")],
        (24, 47, "sites.fra1.freezes[0].to", "this freeze ends before it begins.", "Put `to` after `from`."),
    ),
    row(
        "a freeze of more than ten years",
        [("to: 2027-01-03", "to: 2047-01-03")],
        (
            24,
            47,
            "sites.fra1.freezes[0].to",
            "under a freeze of more than ten years no window can ever open.",
            "Use mode: observe for a site that must not be changed.",
        ),
    ),
    # secrets and logins
    row(
        "a secret kept nowhere",
        [("key: {file: keys/ops}", "key: {}")],
        (5, 3, "ssh.key", "a secret needs exactly one of file, env and block; here is none.", KEPT),
    ),
    row(
        "a secret kept in two places",
        [("{env: MAIN_KUBECONFIG}", "{env: MAIN_KUBECONFIG, block: main}")],
        (
            12,
            5,
            "clusters.main.kubeconfig",
            "a secret needs exactly one of file, env and block; here are env and block.",
            KEPT,
        ),
    ),
    row(
        "a path in place of a reference",
        [("key: {file: keys/ops}", "key: keys/ops")],
        (5, 8, "ssh.key", "key must be a reference to the secret, and not the secret itself.", KEPT),
    ),
    row(
        "a password in place of a variable's name",
        [("{env: MAIN_KUBECONFIG}", "{env: hunter-2!}")],
        (
            12,
            23,
            "clusters.main.kubeconfig.env",
            "this is not the name of an environment variable.",
            "Write its name alone, like POOLKEEPER_SSH_KEY.",
        ),
    ),
    row(
        "a password in place of a file",
        [("key: {file: keys/ops}", "key: {file: hunter2}")],
        (5, 15, "ssh.key.file", "the file named here is not there.", PATHS),
    ),
    row(
        "half an access key",
        [(REGION, REGION + "        access_key_id: {env: ID}\n")],
        (
            9,
            7,
            "clusters.main.provider.ack",
            "only one half of the access key is given.",
            "Give both access_key_id and access_key_secret, or neither for the SDK's own credential chain.",
        ),
    ),
    row(
        "upgrades by a command that is not given",
        [(REGION, REGION + "        upgrade: command\n")],
        (
            12,
            18,
            "clusters.main.provider.ack.upgrade",
            "the command that upgrades a host is missing.",
            "Write it with upgrade_command:, with {version} where the version belongs.",
        ),
    ),
    row(
        "a command that no upgrade runs",
        [(REGION, REGION + "        upgrade_command: edgeadm upgrade\n")],
        (
            12,
            9,
            "clusters.main.provider.ack.upgrade_command",
            "a command is never run with upgrade: hand-off.",
            "Write upgrade: command, or delete it.",
        ),
    ),
    *(
        row(
            f"ACK without TLS, {phrase}",
            [(REGION, f"{REGION}        protocol: http\n{more}")],
            (
                12,
                19,
                "clusters.main.provider.ack.protocol",
                "with http anyone on the network path can answer instead of ACK, and hosts run the answer as root.",
                "Delete it, because ACK uses https. Only an endpoint on this machine (127.0.0.1:PORT) may use http.",
            ),
        )
        for phrase, more in (
            ("at the region's endpoint", ""),
            ("at another machine", "        endpoint: 10.0.0.1:80\n"),
            (
                "at another machine for the bill",
                "        endpoint: 127.0.0.1:1\n        billing_endpoint: b.example:1\n",
            ),
        )
    ),
    row(
        "another way to upgrade",
        [(REGION, REGION + "        upgrade: by-hand\n")],
        (
            12,
            18,
            "clusters.main.provider.ack.upgrade",
            "'by-hand' is not one of hand-off, command, call.",
            "Write hand-off or command or call.",
        ),
    ),
    row(
        "two providers",
        [("    provider:\n", "    provider:\n      kubeadm: {}\n")],
        (8, 5, "clusters.main.provider", "a cluster has exactly one provider.", "Write ack: {...} or kubeadm: {}."),
    ),
    row(
        "no provider",
        [(PROVIDER, "    provider: {}\n")],
        (8, 5, "clusters.main.provider", "a cluster has exactly one provider.", "Write ack: {...} or kubeadm: {}."),
    ),
    row(
        "no user anywhere",
        [("  user: ops\n", "")],
        (
            17,
            3,
            "sites.fra1",
            "no SSH user is set for 2 hosts of this site (n01, n02).",
            "Set ssh: {user: NAME} for the fleet, the site or the host.",
        ),
        (
            24,
            3,
            "sites.sha1",
            "no SSH user is set for 1 host of this site (n03).",
            "Set ssh: {user: NAME} for the fleet, the site or the host.",
        ),
    ),
    row(
        "no key anywhere",
        [("  key: {file: keys/ops}\n", "")],
        (
            17,
            3,
            "sites.fra1",
            "no SSH key is set for 2 hosts of this site (n01, n02).",
            "Set ssh: {key: {file: PATH}} or ssh: {agent: true} for the fleet, the site or the host.",
        ),
        (
            24,
            3,
            "sites.sha1",
            "no SSH key is set for 1 host of this site (n03).",
            "Set ssh: {key: {file: PATH}} or ssh: {agent: true} for the fleet, the site or the host.",
        ),
    ),
    row(
        "an agent that the host switches off",
        [("  key: {file: keys/ops}\n", "  agent: true\n"), n01("domain: rack1", "ssh: {agent: false}")],
        (
            18,
            3,
            "sites.fra1",
            "no SSH key is set for 1 host of this site (n01).",
            "Set ssh: {key: {file: PATH}} or ssh: {agent: true} for the fleet, the site or the host.",
        ),
    ),
    row(
        "a certificate without its key",
        [("  key: {file: keys/ops}\n", "  agent: true\n  certificate: keys/ops\n")],
        (
            6,
            16,
            "ssh.certificate",
            "a certificate without its key is never used.",
            "Name the certificate's private key with key: {file: PATH} beside it.",
        ),
    ),
    row(
        "a key file that is not there",
        [("keys/ops", "keys/oops")],
        (5, 15, "ssh.key.file", "the file 'keys/oops' is not there.", PATHS),
    ),
    row(
        "a key file that is a folder",
        [("file: keys/ops", "file: keys/")],
        (5, 15, "ssh.key.file", "the file 'keys/' is a folder.", PATHS),
    ),
    row(
        "a key file in nobody's home",
        [("keys/ops", "~nobody-such/ops")],
        (
            5,
            15,
            "ssh.key.file",
            "the file '~nobody-such/ops' cannot be looked at (~nobody-such/ops begins with the home of a user who is not known).",
            PATHS,
        ),
    ),
    row(
        "a path too long for any file",
        [("keys/ops", "keys/" + "x" * 300)],
        (
            5,
            15,
            "ssh.key.file",
            "the file 'keys/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'... cannot be looked at (File name too long).",
            PATHS,
        ),
    ),
    row(
        "host keys that are not checked",
        [("  user: ops\n", "  user: ops\n  known_hosts: /dev/null\n")],
        (
            5,
            16,
            "ssh.known_hosts",
            "host keys are always checked.",
            "Name a known_hosts file with the hosts' keys in it.",
        ),
    ),
    row(
        "a calendar that is not there",
        [("    cidrs: [10.1.0.0/16]", "    freeze_calendars: [holidays.ics]\n    cidrs: [10.1.0.0/16]")],
        (20, 24, "sites.fra1.freeze_calendars[0]", "the file 'holidays.ics' is not there.", PATHS),
    ),
    row(
        "a calendar that is none",
        [("    cidrs: [10.1.0.0/16]", "    freeze_calendars: [keys/ops]\n    cidrs: [10.1.0.0/16]")],
        (
            20,
            24,
            "sites.fra1.freeze_calendars[0]",
            "'keys/ops' is no usable calendar: it does not begin with BEGIN:VCALENDAR.",
            "Correct that event, or export the calendar again as iCalendar (.ics).",
        ),
    ),
    # merges
    row(
        "a private key",
        [("key: {file: keys/ops}", "key: |\n    " + PEM + "\n    b3BlbnNzaC1rZXktdjEAAAAA")],
        (5, 8, "ssh.key", "a private key is pasted into the file.", ROTATE),
    ),
    row(
        "an access key id in place of a reference",
        [(REGION, REGION + "        access_key_id: LTAI5tSomeAccessKeyId00\n        access_key_secret: {env: S}\n")],
        (12, 24, "clusters.main.provider.ack.access_key_id", "an access key id is pasted into the file.", ROTATE),
    ),
    row(
        "an access key secret as a variable's name",
        [("{env: MAIN_KUBECONFIG}", "{env: aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1}")],
        (12, 23, "clusters.main.kubeconfig.env", "an access key secret is pasted into the file.", ROTATE),
    ),
    row(
        "a bootstrap token in a command",
        [(REGION, REGION + "        reset_command: kubeadm join --token abcdef.0123456789abcdef\n")],
        (12, 24, "clusters.main.provider.ack.reset_command", "a bootstrap token is pasted into the file.", ROTATE),
    ),
    row(
        "a bearer token as a label",
        [n01("domain: rack1", "labels: {t: eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJl}")],
        (41, 68, "hosts.n01.labels.t", "a bearer token is pasted into the file.", ROTATE),
    ),
    row(
        "a kubeconfig's key",
        [("{env: MAIN_KUBECONFIG}", "{block: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQo=}")],
        (12, 25, "clusters.main.kubeconfig.block", "a private key is pasted into the file.", ROTATE),
    ),
    row(
        "a password in a URL",
        [n01("10.1.0.11", "ssh://ops:hunter2@10.1.0.11")],
        (41, 18, "hosts.n01.address", "a password is pasted into the file.", ROTATE),
    ),
    row(
        "an access key id as a host's name",
        [(N01, N01.replace("n01", "LTAI5tSomeAccessKeyId00"))],
        (41, 3, "hosts.(hidden)", "an access key id is pasted into the file.", ROTATE),
    ),
    row(
        "an access key id in a comment",
        [("mode: act", "mode: act # LTAI5tSomeAccessKeyId00")],
        (2, 11, "", "an access key id is in a comment.", ROTATE),
    ),
    row(
        "key material",
        [("nodepool_id: np-1", "nodepool_id: b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAA")],
        (36, 18, "pools.general.nodepool_id", "key material is pasted into the file.", ROTATE),
    ),
    row(
        "an alias to a wrong value is told where it is used",
        [n01("pool: general", "pool: &p genral"), n02("pool: general", "pool: *p")],
        (41, 47, "hosts.n01.pool", "there is no pool 'genral'.", "Did you mean general?"),
        (42, 41, "hosts.n02.pool", "there is no pool 'genral'.", "Did you mean general?"),
    ),
    row(
        "a wrong value that is merged in",
        [
            (N01, "  n01: &all {address: 10.1.0.11, site: fra1, pool: genral, domain: rack1}"),
            (N02, "  n02: {<<: *all, address: 10.1.0.12}"),
        ],
        (41, 52, "hosts.n01.pool", "there is no pool 'genral'.", "Did you mean general?"),
        (41, 52, "hosts.n02.pool", "there is no pool 'genral'.", "Did you mean general?"),
    ),
    row(
        "a broken list item keeps the others' positions",
        [("cidrs: [10.2.0.0/16]", "cidrs: [10.2.0.0/99, 10.1.0.0/17]")],
        (27, 13, "sites.sha1.cidrs[0]", "'10.2.0.0/99' is not a network.", "Write it in CIDR form, like 10.1.0.0/16."),
        (
            27,
            26,
            "sites.sha1.cidrs[1]",
            "10.1.0.0/17 (network of site sha1) overlaps 10.1.0.0/16 (network of site fra1) in cluster main.",
            DISJOINT,
        ),
    ),
    # one mistake is told once, whatever depends on it
    row(
        "a misspelt user, which every host lacks then",
        [("  user: ops", "  usr: ops")],
        (4, 3, "ssh.usr", "there is no key usr here.", "Did you mean user?"),
    ),
    row(
        "pools that are no keys, which every host names",
        [(POOLS, "pools: general\n")],
        (33, 8, "pools", "'general' is not a block of keys.", "Write `key: value` lines below it."),
    ),
    row(
        "a host of nothing, beside one with its address",
        [(N01, "  n01:"), n02("10.1.0.12", "10.1.0.11")],
        (41, 7, "hosts.n01", "n01 is empty.", "Write a value behind `n01:`, or delete it."),
    ),
    row(
        "a port that is none, beside a host of the same address at another port",
        [n01("domain: rack1", "port: ssh"), n02("10.1.0.12", "10.1.0.11")],
        (41, 62, "hosts.n01.port", "'ssh' is not a whole number.", "Write a whole number, without quotes."),
    ),
    row(
        "a domain without a site, with hosts in it",
        [("rack1: {site: fra1, max_unavailable: 1}", "rack1: {max_unavailable: 1}")],
        (31, 3, "domains.rack1.site", "site is missing.", "Add `site:`."),
    ),
    row(
        "a missing address, and a label that is named like a key",
        [n01("address: 10.1.0.11, ", ""), ("domain: rack2}", "domain: rack2, labels: {key: 5}}")],
        (41, 3, "hosts.n01.address", "address is missing.", "Add `address:`."),
        (43, 85, "hosts.n03.labels.key", "5 is not text.", 'Write it in quotes: "5".'),
    ),
    row(
        "a check that is both, and one that is neither",
        [
            (
                "    max_unavailable: 10%\n",
                "    max_unavailable: 10%\n    rollout:\n      checks:\n"
                "        - {name: both, command: [x], prometheus: 'http://p', query: up}\n"
                "        - {name: neither}\n        - {name: fine, command: [x]}\n"
                "        - {name: no-url, prometheus: p, query: up}\n",
            )
        ],
        (40, 11, "pools.general.rollout.checks[0]", A_CHECK, COMMAND_OR_QUERY),
        (41, 11, "pools.general.rollout.checks[1]", A_CHECK, COMMAND_OR_QUERY),
        (
            43,
            38,
            "pools.general.rollout.checks[3].prometheus",
            "a Prometheus server has a URL.",
            "Write it like http://host:9090.",
        ),
    ),
    row(
        "targets and names of the audit",
        [
            (
                "hosts:\n",
                "audit:\n  targets:\n    - {name: db, tcp: '10.1.9.20'}\n    - {name: two, tcp: 'a:1', tls: 'a:1'}\n"
                "    - {name: plain, url: 'http://a/', ca: fleet.yaml}\n    - {name: plain, url: 'https://u@a/'}\n"
                "    - {name: far, tls: 'a:443', sites: [fra9]}\n    - {name: far, tcp: 'a:443', at: ams9}\n  names:\n"
                "    - {name: 10.1.1.1}\n    - {name: a.example, absent: true, addresses: [10.1.1.1]}\nhosts:\n",
            )
        ],
        (
            42,
            23,
            "audit.targets[0].tcp",
            "'10.1.9.20' is not a place with a port.",
            "Write it like 10.1.9.20:5432 or db.example.com:5432.",
        ),
        (
            43,
            7,
            "audit.targets[1]",
            "a target needs exactly one of tcp, tls and url; here are tcp and tls.",
            "Write tcp: HOST:PORT, tls: HOST:PORT or url: https://HOST/PATH.",
        ),
        (
            44,
            43,
            "audit.targets[2].ca",
            "this target verifies no certificate.",
            "Write tls: or an https URL, or delete it.",
        ),
        (
            45,
            26,
            "audit.targets[3].url",
            "'https://u@a/' is not a URL of a web server.",
            "Write it like https://app.example.com/healthz, without a user.",
        ),
        (46, 41, "audit.targets[4].sites[0]", "there is no site 'fra9'.", "Did you mean fra1?"),
        (47, 14, "audit.targets[5].name", "there is a target 'far' already.", "Give each its own name."),
        (47, 37, "audit.targets[5].at", "there is no site 'ams9'.", "There are: fra1, sha1."),
        (49, 14, "audit.names[0].name", "'10.1.1.1' is not a DNS name.", "Write it in full, like db.example.com."),
        (
            50,
            25,
            "audit.names[1].absent",
            "a name that must not be found has no right address.",
            "Delete absent or addresses.",
        ),
    ),
    row(
        "several mistakes in one entry",
        [n01("{address: 10.1.0.11, site: fra1, pool: general, domain: rack1}", "{site: fra9, pool: genral, prot: 1}")],
        (41, 3, "hosts.n01.address", "address is missing.", "Add `address:`."),
        (41, 15, "hosts.n01.site", "there is no site 'fra9'.", "Did you mean fra1?"),
        (41, 27, "hosts.n01.pool", "there is no pool 'genral'.", "Did you mean general?"),
        (41, 35, "hosts.n01.prot", "there is no key prot here.", "Did you mean port?"),
    ),
]


@pytest.mark.parametrize(("changes", "problems"), ROWS)
def test_a_mistake_is_told_at_its_place_with_its_fix(tmp_path, changes, problems):
    found = problems_of(tmp_path, changed(*changes))
    told = [Problem(p.line, p.column, p.path, p.message, p.fix.replace(str(tmp_path), "FOLDER")) for p in found]
    assert told == [Problem(*problem) for problem in problems]


def test_the_good_file_has_no_mistake(tmp_path):
    assert problems_of(tmp_path, GOOD) == ()
