"""Every preflight check as rows of one table: what differs from a healthy host, and the whole answer to it."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolkeeper.tasks.cluster.nodes import MACHINE_ID
from poolkeeper.tasks.fleet.model import AcceptedSystem, KubeadmProvider, SiteDns
from poolkeeper.tasks.hosts.facts import Disk, OtherRuntime, Resolver, parse_facts
from poolkeeper.tasks.onboard.next_action import JoinState
from poolkeeper.tasks.onboard.preflight import REGISTRY, Check, HostView, run_check, run_checks
from poolkeeper.tasks.onboard.preflight.check import LONGEST_QUOTE
from poolkeeper.tasks.outcomes import NotKnown, Severity, Verdict
from tests.unit.onboard.builders import GIB, NOW, a_batch, a_node, a_view, unread

ANY_STEP = "any"
"""The sentence stands in full in another row of the same check."""


@dataclass(frozen=True)
class Row:
    """One case: a healthy host of a healthy fleet but for what is named, and what one check says to it."""

    check: str
    phrase: str
    verdict: Verdict
    severity: Severity | None = None
    observed: str = ""
    expected: str = ""
    next_step: str = ANY_STEP
    reason: str = ""
    view: dict[str, Any] = field(default_factory=dict)
    others: tuple[tuple[str, dict[str, Any]], ...] = ()
    nodes: tuple[Any, ...] = ()
    batch: dict[str, Any] = field(default_factory=dict)


def ok(check: str, phrase: str, **more: Any) -> Row:
    return Row(check, phrase, Verdict.OK, **_parts(more))


def blocks(check: str, phrase: str, observed: str, expected: str, next_step: str = ANY_STEP, **more: Any) -> Row:
    return Row(check, phrase, Verdict.FAIL, Severity.BLOCKER, observed, expected, next_step, **_parts(more))


def warns(check: str, phrase: str, observed: str, expected: str, next_step: str = ANY_STEP, **more: Any) -> Row:
    return Row(check, phrase, Verdict.FAIL, Severity.WARNING, observed, expected, next_step, **_parts(more))


def informs(check: str, phrase: str, observed: str, expected: str, next_step: str = ANY_STEP, **more: Any) -> Row:
    return Row(check, phrase, Verdict.FAIL, Severity.INFO, observed, expected, next_step, **_parts(more))


def unknown(check: str, phrase: str, severity: Severity, reason: str, next_step: str = "", **more: Any) -> Row:
    """Not knowing: what was expected is what the check is about."""
    skip = f"Make it readable on the host, or pass skip_checks={{'{check}': 'why it does not matter here'}}."
    return Row(
        check,
        phrase,
        Verdict.UNKNOWN,
        severity,
        f"unknown: {reason}",
        REGISTRY[check].about,
        next_step or skip,
        reason,
        **_parts(more),
    )


def _parts(more: dict[str, Any]) -> dict[str, Any]:
    apart = {name: more.pop(name) for name in ("others", "nodes", "batch") if name in more}
    return {**apart, "view": more}


BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO
UNREAD = unread()
READ_FAILED = "no such command"
NODE = a_node()
UBUNTU = AcceptedSystem("ubuntu", ("22.04", "24.04"), "5.15", ("amd64",))
ALINUX = AcceptedSystem("alinux")
ONLY_IPV6 = {"pod_cidrs": (ip_network("fd00:20::/64"),), "service_cidrs": (), "container_cidr": None}
BY_KUBEADM = {"cluster": {"provider": KubeadmProvider()}}
PROXY = {"https_proxy": "http://proxy.example:3128"}
CLUSTER_RANGES = "172.20.0.0/16,172.21.0.0/20,10.100.0.0/16"
LACKING = CLUSTER_RANGES.replace(",", ", ")
SYNCHRONISE = "Set the clock from the site's time server and keep it synchronised: `chronyc makestep`, `systemctl enable --now chronyd`."


def fleet_of(*clocks_s: float) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Other hosts of the batch, by their clocks."""
    return tuple((f"other-{n}", {"clock_offset_s": clock_s}) for n, clock_s in enumerate(clocks_s))


ROWS = [
    # who it is
    ok("hosts.name.valid", "a plain name"),
    ok("hosts.name.valid", "a domain name", host={"node_name": "n1.fra1.example.com"}),
    ok("hosts.name.valid", "63 characters fit into a label", host={"node_name": "n" * 63}),
    blocks(
        "hosts.name.valid",
        "64 do not",
        "n" * 64,
        "at most 63 lower-case letters, digits, dots and dashes, not starting with localhost",
        "Give the host another node_name in the fleet file.",
        host={"node_name": "n" * 64},
    ),
    *(
        blocks(
            "hosts.name.valid",
            phrase,
            name,
            "at most 63 lower-case letters, digits, dots and dashes, not starting with localhost",
            host={"node_name": name},
        )
        for phrase, name in [
            ("capitals", "Node-1"),
            ("an underscore", "node_1"),
            ("a dash at the end", "node-"),
            ("an empty part", "node..example"),
            ("ACK's joiner refuses localhost", "localhost-1"),
            ("empty", ""),
        ]
    ),
    ok("hosts.name.own", "hostname in capitals is registered in small letters", hostname="FRA1-N01"),
    ok("hosts.name.own", "a node already, under the declared name", hostname="other", node=NODE),
    ok("hosts.name.own", "its join runs", hostname="other", join=JoinState.RUNNING),
    warns(
        "hosts.name.own",
        "hostname with its domain",
        "fra1-n01.example.com",
        "fra1-n01",
        "Run `hostnamectl set-hostname fra1-n01`, or set node_name to the name that ACK will give it.",
        hostname="fra1-n01.example.com",
    ),
    ok("hosts.name.own", "kubeadm is told the node's name", hostname="other", host=BY_KUBEADM),
    unknown("hosts.name.own", "hostname not read", INFO, READ_FAILED, hostname=UNREAD),
    ok("hosts.machine-id.unique", "its own", others=(("b", {"machine_id": "m-2"}),)),
    ok("hosts.machine-id.unique", "its own Node has it", node=NODE),
    ok("hosts.machine-id.unique", "the others' are not known", others=(("b", {"machine_id": UNREAD}),)),
    blocks(
        "hosts.machine-id.unique",
        "a cloned image",
        "m-1, as on b, c",
        "a unique value",
        "Give all but one of them a new id: `rm /etc/machine-id && systemd-machine-id-setup`, then reboot.",
        others=(("b", {}), ("c", {})),
    ),
    blocks(
        "hosts.machine-id.unique",
        "a clone of a host that was onboarded earlier",
        "m-1, as node fra1-n09",
        "a unique value",
        "If fra1-n09 is this machine under an older name, remove that node in ACK's console; if it is another one,"
        " give this host a new id: `rm /etc/machine-id && systemd-machine-id-setup`, then reboot.",
        nodes=(a_node("fra1-n09"),),
    ),
    blocks(
        "hosts.machine-id.unique",
        "a clone of a host that was joined by kubeadm",
        "m-1, as node fra1-n09",
        "a unique value",
        "If fra1-n09 is this machine under an older name, remove that node (`kubectl delete node fra1-n09`); if it is"
        " another one, give this host a new id: `rm /etc/machine-id && systemd-machine-id-setup`, then reboot.",
        nodes=(a_node("fra1-n09"),),
        host=BY_KUBEADM,
    ),
    unknown("hosts.machine-id.unique", "not readable", BLOCKER, "it is empty", machine_id=unread("it is empty")),
    ok("hosts.product-uuid.unique", "its own", others=(("b", {"product_uuid": "p-2"}),)),
    warns(
        "hosts.product-uuid.unique",
        "a series of boards with one uuid",
        "p-1, as on b",
        "a unique value",
        "Give a virtual machine a unique UUID in its hypervisor; for a board, ask its maker for a tool that sets one.",
        others=(("b", {}),),
    ),
    unknown("hosts.product-uuid.unique", "only root may read it", INFO, READ_FAILED, product_uuid=UNREAD),
    ok("hosts.hostname.unique", "its own", others=(("b", {}),)),
    warns(
        "hosts.hostname.unique",
        "everything is called debian",
        "debian, as on b",
        "a unique value",
        "Rename one of them: `hostnamectl set-hostname NAME`.",
        hostname="debian",
        others=(("b", {"hostname": "debian"}),),
    ),
    unknown("hosts.hostname.unique", "not read", WARNING, READ_FAILED, hostname=UNREAD),
    ok("hosts.boot-id.unique", "its own", others=(("b", {"boot_id": "b-2"}),)),
    blocks(
        "hosts.boot-id.unique",
        "one machine under two names",
        "b-1, as on b",
        "a unique value",
        "Two entries of the fleet file lead to the same machine: correct one address.",
        others=(("b", {}),),
    ),
    unknown("hosts.boot-id.unique", "not read", WARNING, READ_FAILED, boot_id=UNREAD),
    ok("hosts.node-name.free", "no Node of that name"),
    ok("hosts.node-name.free", "a Node that tells its machine id is compared by that", node=NODE),
    ok(
        "hosts.node-name.free",
        "a Node that was accepted for a machine id",
        node=a_node(machine_id="", annotations={MACHINE_ID: "m-1"}),
    ),
    blocks(
        "hosts.node-name.free",
        "a Node that tells none",
        "Node fra1-n01 exists and has no machine id",
        "no Node of that name, or one with this host's machine id",
        "Find out what it is (`kubectl describe node fra1-n01`) and remove it, or choose another node_name.",
        node=a_node(machine_id=""),
    ),
    ok("hosts.node-pool.declared", "no Node yet"),
    ok("hosts.node-pool.declared", "a Node of the pool", node=a_node(labels={"alibabacloud.com/nodepool-id": "np-1"})),
    ok("hosts.node-pool.declared", "a Node that does not tell its pool yet", node=NODE),
    blocks(
        "hosts.node-pool.declared",
        "a Node of another pool",
        "Node fra1-n01 is in node pool np-default",
        "np-1, as pool general says",
        "Declare the host in that pool, or remove the node in ACK's console and onboard it again.",
        node=a_node(labels={"alibabacloud.com/nodepool-id": "np-default"}),
    ),
    ok("hosts.node-address.free", "its own Node has it", node=NODE),
    ok("hosts.node-address.free", "other Nodes have others", nodes=(a_node("b", internal_ips=("10.1.0.12",)),)),
    blocks(
        "hosts.node-address.free",
        "a stale Node has it",
        "10.1.0.11 is the address of node b",
        "a unique address",
        "If its machine is gone, remove the stale node in ACK's console; else give the host another address.",
        nodes=(a_node("b"),),
    ),
    ok(
        "hosts.node-address.free",
        "the declared address counts, not where SSH goes",
        host={"node_address": ip_address("10.1.0.50")},
        nodes=(a_node("b"),),
    ),
    blocks(
        "hosts.node-address.free",
        "IPv6 written in another way",
        "2001:db8::1 is the address of node b",
        "a unique address",
        host={"node_address": ip_address("2001:db8::1")},
        nodes=(a_node("b", internal_ips=("2001:DB8:0::1",)),),
    ),
    blocks(
        "hosts.node-address.free",
        "behind a name, any of its own addresses",
        "10.1.0.11 is the address of node b",
        "a unique address",
        host={"address": "n01.example.com"},
        nodes=(a_node("b"),),
    ),
    unknown(
        "hosts.node-address.free",
        "behind a name, addresses not read",
        WARNING,
        READ_FAILED,
        host={"address": "n01.example.com"},
        addresses=UNREAD,
    ),
    # what it is made of
    ok("hosts.system.accepted", "the pool takes any system"),
    ok("hosts.system.accepted", "any system, and this one has no version", os_version=UNREAD),
    ok("hosts.system.accepted", "a row fits", host={"pool": {"accepted": (ALINUX, UBUNTU)}}),
    ok("hosts.system.accepted", "the oldest kernel of a row", kernel="5.15", host={"pool": {"accepted": (UBUNTU,)}}),
    ok(
        "hosts.system.accepted",
        "a row that asks for no version",
        os_id="alinux",
        os_version=UNREAD,
        host={"pool": {"accepted": (UBUNTU, ALINUX)}},
    ),
    blocks(
        "hosts.system.accepted",
        "a kernel too old",
        "ubuntu 22.04, kernel 5.14.21, amd64",
        "one of: ubuntu 22.04 or 24.04, kernel 5.15 or newer, amd64; alinux any version, any arch",
        "Reinstall the host with an accepted system, or add a row to the pool's `accepted`.",
        kernel="5.14.21",
        host={"pool": {"accepted": (UBUNTU, ALINUX)}},
    ),
    blocks(
        "hosts.system.accepted",
        "another system, whatever its version",
        "centos unknown, kernel 5.15.0-91-generic, amd64",
        "one of: ubuntu 22.04 or 24.04, kernel 5.15 or newer, amd64",
        os_id="centos",
        os_version=UNREAD,
        host={"pool": {"accepted": (UBUNTU,)}},
    ),
    blocks(
        "hosts.system.accepted",
        "another architecture",
        "ubuntu 22.04, kernel 5.15.0-91-generic, arm64",
        "one of: ubuntu 22.04 or 24.04, kernel 5.15 or newer, amd64",
        arch="arm64",
        host={"pool": {"accepted": (UBUNTU,)}},
    ),
    unknown(
        "hosts.system.accepted",
        "the version matters and is not known",
        BLOCKER,
        READ_FAILED,
        os_version=UNREAD,
        host={"pool": {"accepted": (UBUNTU,)}},
    ),
    ok("hosts.arch.supported", "amd64"),
    ok("hosts.arch.supported", "arm64", arch="arm64"),
    ok("hosts.arch.supported", "apt knows its own", arch="riscv64", host=BY_KUBEADM),
    blocks(
        "hosts.arch.supported",
        "riscv64",
        "riscv64",
        "amd64 or arm64",
        "Remove the host from the fleet file: ACK has no kubelet for it.",
        arch="riscv64",
    ),
    unknown("hosts.arch.supported", "not read", BLOCKER, READ_FAILED, arch=UNREAD),
    ok("hosts.cpus.enough", "just enough", cpus=2),
    blocks(
        "hosts.cpus.enough",
        "one fewer",
        "1 CPUs",
        "at least 2",
        "Give the host more CPUs, or lower the pool's min_cpus.",
        cpus=1,
    ),
    unknown("hosts.cpus.enough", "not read", BLOCKER, READ_FAILED, cpus=UNREAD),
    ok("hosts.memory.enough", "a small host whose crash kernel keeps its share", memory_bytes=2 * GIB - 300 * 2**20),
    ok(
        "hosts.memory.enough",
        "a large one, a twentieth less",
        memory_bytes=608 * GIB,
        host={"pool": {"min_memory_bytes": 640 * GIB}},
    ),
    blocks(
        "hosts.memory.enough",
        "a byte less than that",
        "1.7 GiB",
        "at least 2.0 GiB",
        "Give the host more memory, or lower the pool's min_memory.",
        memory_bytes=2 * GIB - 300 * 2**20 - 1,
    ),
    unknown("hosts.memory.enough", "not read", BLOCKER, READ_FAILED, memory_bytes=UNREAD),
    ok("hosts.disk.free", "just enough", disks=(Disk("/", 40 * GIB, 20 * GIB),)),
    blocks(
        "hosts.disk.free",
        "one of two is full",
        "/var/log: 0.0 MiB of 10.0 GiB free",
        "at least 20.0 GiB free",
        "Free space or grow the disk; see what is large: `du -xh -d2 /var/log | sort -h | tail`.",
        disks=(Disk("/", 200 * GIB, 100 * GIB), Disk("/var/log", 10 * GIB, 0)),
    ),
    unknown("hosts.disk.free", "not read", BLOCKER, READ_FAILED, disks=UNREAD),
    ok("hosts.cgroup.v2", "version 2"),
    blocks(
        "hosts.cgroup.v2",
        "version 1 under a kubelet that needs 2",
        "cgroup v1",
        "cgroup v2",
        "Boot with `systemd.unified_cgroup_hierarchy=1` on the kernel's command line.",
        cgroup_version=1,
        batch={"api_version": "v1.35.0"},
    ),
    warns(
        "hosts.cgroup.v2",
        "version 1 under one that does not yet",
        "cgroup v1",
        "cgroup v2",
        cgroup_version=1,
        batch={"api_version": "v1.34.9-aliyun.1"},
    ),
    warns(
        "hosts.cgroup.v2",
        "the pool's version counts, not the API server's",
        "cgroup v1",
        "cgroup v2",
        cgroup_version=1,
        host={"pool": {"kubernetes_version": "1.34.1"}},
    ),
    blocks(
        "hosts.cgroup.v2",
        "version 1 and no version to go by",
        "cgroup v1",
        "cgroup v2",
        cgroup_version=1,
        batch={"api_version": ""},
    ),
    unknown("hosts.cgroup.v2", "not read", BLOCKER, READ_FAILED, cgroup_version=UNREAD),
    ok("hosts.swap.off", "none"),
    blocks(
        "hosts.swap.off",
        "a little",
        "4.0 MiB of swap",
        "none",
        "Run `swapoff -a`, and remove the swap lines from /etc/fstab or mask the units that `systemctl list-units"
        " --type=swap` names.",
        swap_bytes=4 * 2**20,
    ),
    unknown("hosts.swap.off", "not read", BLOCKER, READ_FAILED, swap_bytes=UNREAD),
    ok("hosts.ports.free", "other ports", listening_ports=(22, 10249, 10251)),
    ok("hosts.ports.free", "a node's own kubelet", listening_ports=(10248, 10250), node=NODE),
    ok("hosts.ports.free", "a join of ours runs", listening_ports=(10250,), join=JoinState.RUNNING),
    ok("hosts.ports.free", "a node, ports not read", listening_ports=UNREAD, node=NODE),
    blocks(
        "hosts.ports.free",
        "another kubelet",
        "TCP 10248, 10250 in use",
        "TCP 10248, 10250 free",
        "Find the process that listens, and stop it: `ss -ltnp 'sport = :10248'`.",
        listening_ports=(22, 9100, 10248, 10250),
    ),
    informs(
        "hosts.ports.free",
        "the site's own node exporter",
        "TCP 9100 in use",
        "TCP 9100 free for ACK's node exporter",
        "Move your own node exporter to another port if ACK's monitoring is installed in the cluster.",
        listening_ports=(9100,),
    ),
    unknown("hosts.ports.free", "not read", BLOCKER, READ_FAILED, listening_ports=UNREAD),
    ok("hosts.leftovers.none", "clean"),
    ok("hosts.leftovers.none", "a node's own", leftovers=("/var/lib/kubelet/pki",), node=NODE),
    ok("hosts.leftovers.none", "of a join of ours", leftovers=("/etc/kubernetes/pki",), join=JoinState.FAILED),
    ok("hosts.leftovers.none", "a node, not read", leftovers=UNREAD, node=NODE),
    blocks(
        "hosts.leftovers.none",
        "of an earlier cluster",
        "/etc/kubernetes/pki, /etc/cni/net.d",
        "none",
        "Run the reset of the cluster that the host was in (`edgeadm reset` or `kubeadm reset`), then start again.",
        leftovers=("/etc/kubernetes/pki", "/etc/cni/net.d"),
    ),
    blocks(
        "hosts.leftovers.none",
        "something is mounted below them",
        "/var/lib/kubelet/pki, mount /var/lib/kubelet/pods/1/etc",
        "none",
        "Unmount what is mounted below /var/lib/kubelet first (/var/lib/kubelet/pods/1/etc), else its data is deleted"
        " with the tree; then run the reset of the cluster that the host was in (`edgeadm reset` or `kubeadm reset`),"
        " then start again.",
        leftovers=("/var/lib/kubelet/pki",),
        kubelet_mounts=("/var/lib/kubelet/pods/1/etc",),
    ),
    blocks(
        "hosts.leftovers.none",
        "nothing but a mount",
        "mount /var/lib/kubelet/pods/1/etc",
        "none",
        kubelet_mounts=("/var/lib/kubelet/pods/1/etc",),
    ),
    blocks(
        "hosts.leftovers.none",
        "leftovers, and mounts that cannot be read",
        "/var/lib/kubelet/pki",
        "none",
        "Check that nothing is mounted below /var/lib/kubelet (`findmnt -R /var/lib/kubelet`); then run the reset of"
        " the cluster that the host was in (`edgeadm reset` or `kubeadm reset`), then start again.",
        leftovers=("/var/lib/kubelet/pki",),
        kubelet_mounts=UNREAD,
    ),
    blocks("hosts.leftovers.none", "a kubelet still runs", "a running kubelet", "none", kubelet_running=True),
    warns(
        "hosts.leftovers.none",
        "podman's network",
        "/etc/cni/net.d",
        "none",
        "Find out what wrote /etc/cni/net.d (podman does); remove it if it is from an earlier cluster.",
        leftovers=("/etc/cni/net.d",),
    ),
    unknown("hosts.leftovers.none", "not read", BLOCKER, READ_FAILED, leftovers=UNREAD),
    unknown("hosts.leftovers.none", "none seen, but mounts not read", BLOCKER, READ_FAILED, kubelet_mounts=UNREAD),
    ok("hosts.systemd.there", "systemd"),
    warns(
        "hosts.systemd.there",
        "another init",
        "no systemd",
        "systemd as process 1",
        "Ask the provider whether its joiner supports this init.",
        systemd=False,
    ),
    unknown("hosts.systemd.there", "not read", WARNING, READ_FAILED, systemd=UNREAD),
    *(ok("hosts.packages.manager", name, package_manager=name) for name in ("apt-get", "dnf", "yum")),
    ok("hosts.packages.manager", "a node needs none any more", package_manager="zypper", node=NODE),
    warns(
        "hosts.packages.manager",
        "zypper",
        "zypper",
        "apt or yum",
        "Install by hand what the joiner would: iproute, chrony, pciutils, socat, ebtables, iptables, conntrack-tools.",
        package_manager="zypper",
    ),
    ok("hosts.packages.manager", "kubeadm by apt", host=BY_KUBEADM),
    warns(
        "hosts.packages.manager",
        "kubeadm by nothing but apt",
        "dnf",
        "apt",
        "Install containerd, kubelet and kubeadm by hand, in versions that fit the API server.",
        package_manager="dnf",
        host=BY_KUBEADM,
    ),
    unknown("hosts.packages.manager", "none found", INFO, READ_FAILED, package_manager=UNREAD),
    ok("hosts.reboot.none-pending", "none"),
    warns(
        "hosts.reboot.none-pending",
        "pending",
        "a reboot is required",
        "none pending",
        "Reboot the host before it has workloads.",
        reboot_required=True,
    ),
    unknown("hosts.reboot.none-pending", "not told", INFO, READ_FAILED, reboot_required=UNREAD),
    ok("hosts.forwarding.on", "on"),
    informs(
        "hosts.forwarding.on",
        "off",
        "net.ipv4.ip_forward is 0",
        "1",
        "Check that no hardening baseline disables it again after the join.",
        ip_forward=False,
    ),
    blocks(
        "hosts.forwarding.on",
        "off, which kubeadm refuses",
        "net.ipv4.ip_forward is 0",
        "1",
        "Write net.ipv4.ip_forward = 1 into a file below /etc/sysctl.d and run `sysctl --system`.",
        ip_forward=False,
        host=BY_KUBEADM,
    ),
    informs(
        "hosts.forwarding.on",
        "off on a node already",
        "net.ipv4.ip_forward is 0",
        "1",
        ip_forward=False,
        node=NODE,
        host=BY_KUBEADM,
    ),
    unknown("hosts.forwarding.on", "not read", INFO, READ_FAILED, ip_forward=UNREAD),
    ok("hosts.open-files.enough", "the usual limit", open_files_limit=1024),
    warns(
        "hosts.open-files.enough",
        "one fewer",
        "1023",
        "at least 1024",
        "Raise nofile in /etc/security/limits.conf.",
        open_files_limit=1023,
    ),
    unknown("hosts.open-files.enough", "not read", INFO, READ_FAILED, open_files_limit=UNREAD),
    # versions and runtime
    ok("hosts.kubelet.skew", "none installed"),
    ok("hosts.kubelet.skew", "the same version", kubelet_version="v1.36.3"),
    ok("hosts.kubelet.skew", "a newer patch", kubelet_version="v1.36.9"),
    ok("hosts.kubelet.skew", "three minors older", kubelet_version="v1.33.0"),
    blocks(
        "hosts.kubelet.skew",
        "four minors older",
        "kubelet v1.32.9",
        "at most three minors older than the API server's v1.36.3, never newer",
        "Remove the kubelet package; the join installs the right one.",
        kubelet_version="v1.32.9",
    ),
    blocks(
        "hosts.kubelet.skew",
        "a minor newer",
        "kubelet v1.37.0",
        "at most three minors older than the API server's v1.36.3, never newer",
        kubelet_version="v1.37.0",
    ),
    blocks(
        "hosts.kubelet.skew",
        "a node's kubelet is not simply removed",
        "kubelet v1.32.9",
        "at most three minors older than the API server's v1.36.3, never newer",
        "Upgrade its pool: `poolkeeper run upgrade`.",
        kubelet_version="v1.32.9",
        node=NODE,
    ),
    unknown("hosts.kubelet.skew", "not read", BLOCKER, READ_FAILED, kubelet_version=UNREAD),
    unknown(
        "hosts.kubelet.skew",
        "a version without numbers",
        BLOCKER,
        "cannot compare kubelet v-next with API server v1.36.3",
        "Compare `kubelet --version`, kubernetes_version in the fleet file and `kubectl version` by hand.",
        kubelet_version="v-next",
    ),
    ok("pools.version.skew", "the pool asks for none"),
    ok("pools.version.skew", "three minors older", host={"pool": {"kubernetes_version": "1.33.1-aliyun.1"}}),
    blocks(
        "pools.version.skew",
        "newer than the API server",
        "kubernetes_version 1.37.0",
        "at most three minors older than the API server's v1.36.3, never newer",
        "Correct kubernetes_version of the pool in the fleet file.",
        host={"pool": {"kubernetes_version": "1.37.0"}},
    ),
    unknown(
        "pools.version.skew",
        "an API server that tells none",
        BLOCKER,
        "cannot compare kubelet 1.36.0 with API server of unknown version",
        "Compare `kubelet --version`, kubernetes_version in the fleet file and `kubectl version` by hand.",
        host={"pool": {"kubernetes_version": "1.36.0"}},
        batch={"api_version": ""},
    ),
    ok("hosts.runtime.known", "none"),
    ok("hosts.runtime.known", "containerd", runtime="containerd 1.7.2"),
    ok("hosts.runtime.known", "a node's own", runtime="docker", node=NODE),
    blocks(
        "hosts.runtime.known",
        "docker, with all that runs in it",
        "docker",
        "containerd or none",
        "Move the containers of docker to another host, then uninstall it: the joiner replaces it without asking.",
        runtime="docker",
    ),
    blocks(
        "hosts.runtime.known",
        "cri-o where containerd is declared",
        "cri-o, and no containerd",
        "what listens at unix:///run/containerd/containerd.sock",
        "Install containerd, or set cri_socket of the cluster in the fleet file to the socket of this runtime.",
        runtime="cri-o",
        host=BY_KUBEADM,
    ),
    ok(
        "hosts.runtime.known",
        "cri-o as declared",
        runtime="cri-o",
        host={"cluster": {"provider": KubeadmProvider(cri_socket="unix:///run/crio/crio.sock")}},
    ),
    blocks(
        "hosts.runtime.known",
        "docker beside containerd",
        "docker 27.3.1 with 3 containers",
        "containerd or none",
        "Move the containers of docker to another host, then uninstall it: the joiner replaces it without asking.",
        runtime="containerd 1.7.24",
        other_runtimes=(OtherRuntime("docker", "27.3.1", 3),),
    ),
    blocks(
        "hosts.runtime.known",
        "several, and nobody counts what runs in one",
        "docker, cri-o 1.30.0 with 1 container, snap microk8s",
        "containerd or none",
        "Move the containers of docker, cri-o, snap microk8s to another host, then uninstall it: the joiner replaces it without asking.",
        runtime="docker",
        other_runtimes=(OtherRuntime("cri-o", "1.30.0", 1), OtherRuntime("snap microk8s", "", None)),
    ),
    blocks(
        "hosts.runtime.known",
        "podman with a container, whether it runs or not",
        "podman 4.9.3 with 1 container",
        "containerd or none",
        other_runtimes=(OtherRuntime("podman", "4.9.3", 1),),
    ),
    informs(
        "hosts.runtime.known",
        "podman, as some systems bring it",
        "podman 4.9.3 with 0 containers",
        "containerd or none",
        other_runtimes=(OtherRuntime("podman", "4.9.3", 0),),
    ),
    informs(
        "hosts.runtime.known",
        "docker beside containerd, where nothing is replaced",
        "docker 27.3.1 with 3 containers",
        "one container runtime",
        "Check that it does not disturb pods: docker drops forwarded packets (`iptables -S FORWARD`).",
        runtime="containerd 1.7.24",
        other_runtimes=(OtherRuntime("docker", "27.3.1", 3),),
        host=BY_KUBEADM,
    ),
    unknown("hosts.runtime.known", "not read", WARNING, READ_FAILED, runtime=UNREAD),
    unknown("hosts.runtime.known", "others not read", WARNING, READ_FAILED, other_runtimes=UNREAD),
    ok("hosts.runtime.cri", "it serves, or is not there"),
    ok("hosts.runtime.cri", "a node's own", cri_disabled=True, node=NODE),
    blocks(
        "hosts.runtime.cri",
        "as docker's package brings it",
        "containerd is configured without its CRI plugin (disabled_plugins)",
        "the CRI plugin enabled",
        "Remove the plugin from disabled_plugins in /etc/containerd/config.toml (or start from `containerd config"
        " default`), then `systemctl restart containerd`.",
        cri_disabled=True,
    ),
    unknown("hosts.runtime.cri", "not read", WARNING, READ_FAILED, cri_disabled=UNREAD),
    # names
    ok("hosts.resolvers.answer", "one that answers"),
    ok("hosts.resolvers.answer", "a stub that answers", resolvers=(Resolver("127.0.0.53", True),)),
    blocks(
        "hosts.resolvers.answer",
        "none at all",
        "no resolver is configured",
        "every resolver answers aliyun.com",
        "On the host, try `nslookup aliyun.com`; repair the resolver, or replace it in /etc/resolv.conf or in the"
        " program that writes that file.",
        resolvers=(),
    ),
    blocks(
        "hosts.resolvers.answer",
        "the only one is dead",
        "10.1.0.2 does not answer",
        "every resolver answers aliyun.com",
        resolvers=(Resolver("10.1.0.2", False),),
    ),
    blocks(
        "hosts.resolvers.answer",
        "all are dead",
        "10.1.0.2, 10.1.0.3 do not answer",
        "every resolver answers aliyun.com",
        resolvers=(Resolver("10.1.0.2", False), Resolver("10.1.0.3", False)),
    ),
    blocks(
        "hosts.resolvers.answer",
        "one is dead, of the other it is not known",
        "10.1.0.2 does not answer",
        "every resolver answers aliyun.com",
        resolvers=(Resolver("10.1.0.2", False), Resolver("10.1.0.3", None, "no nslookup")),
    ),
    warns(
        "hosts.resolvers.answer",
        "one of two is dead",
        "10.1.0.2 does not answer",
        "every resolver answers aliyun.com",
        resolvers=(Resolver("10.1.0.2", False), Resolver("10.1.0.3", True)),
    ),
    *(
        blocks(
            "hosts.resolvers.answer",
            phrase,
            f"nameserver {written}: not an IP address; some programs skip it, others fail",
            "an IP address after each nameserver",
            "Write one address per line, without a port, in /etc/resolv.conf or in the program that writes that file.",
            resolvers=(Resolver(written, answers),),
        )
        for phrase, written, answers in [
            ("a name", "localhost", True),
            ("two in one", "10.0.0.2,10.0.0.3", False),
            ("with a port", "[2001:db8::53]:53", None),
        ]
    ),
    warns(
        "hosts.resolvers.answer",
        "a name beside one that answers",
        "nameserver ns1.example.com: not an IP address; some programs skip it, others fail",
        "an IP address after each nameserver",
        resolvers=(Resolver("10.1.0.2", True), Resolver("ns1.example.com", False)),
    ),
    unknown("hosts.resolvers.answer", "not read", WARNING, READ_FAILED, resolvers=UNREAD),
    unknown(
        "hosts.resolvers.answer",
        "a minimal host without nslookup",
        WARNING,
        "whether 10.1.0.2 answers: no nslookup to ask it with",
        resolvers=(Resolver("10.1.0.2", None, "no nslookup to ask it with"),),
    ),
    ok("hosts.resolvers.declared", "the site declares none"),
    ok("hosts.resolvers.declared", "as declared", host={"site": {"dns": SiteDns(("10.1.0.2",))}}),
    ok(
        "hosts.resolvers.declared",
        "as declared, and one more",
        host={"site": {"dns": SiteDns(("10.1.0.2",))}},
        resolvers=(Resolver("10.1.0.9", True), Resolver("10.1.0.2", True)),
    ),
    warns(
        "hosts.resolvers.declared",
        "others",
        "uses 9.9.9.9",
        "10.1.0.2, as the fleet file says",
        "Correct the host's resolvers, or the site's dns.resolvers.",
        host={"site": {"dns": SiteDns(("10.1.0.2",))}},
        resolvers=(Resolver("9.9.9.9", True),),
    ),
    ok(
        "hosts.resolvers.declared",
        "as declared, written in another way",
        host={"site": {"dns": SiteDns(("2001:db8::53", "fe80::1"))}},
        resolvers=(Resolver("2001:DB8:0::53", True), Resolver("fe80::1%eth0", True)),
    ),
    warns(
        "hosts.resolvers.declared",
        "a name",
        "uses localhost",
        "10.1.0.2, as the fleet file says",
        host={"site": {"dns": SiteDns(("10.1.0.2",))}},
        resolvers=(Resolver("localhost", True),),
    ),
    unknown(
        "hosts.resolvers.declared",
        "systemd-resolved's stub",
        INFO,
        "127.0.0.53 is a stub on the host itself",
        "Look at `resolvectl status` on the host, and check that kubelet uses the resolv.conf behind the stub.",
        host={"site": {"dns": SiteDns(("10.1.0.2",))}},
        resolvers=(Resolver("127.0.0.53", True),),
    ),
    ok("hosts.name.resolves", "it does"),
    warns(
        "hosts.name.resolves",
        "it does not",
        "its own hostname does not resolve",
        "its own address",
        "Add a line `ADDRESS HOSTNAME` to the host's /etc/hosts.",
        own_name_resolves=False,
    ),
    unknown("hosts.name.resolves", "no getent", INFO, READ_FAILED, own_name_resolves=UNREAD),
    # routes and addresses
    ok("hosts.routes.apart", "the site's own"),
    ok("hosts.routes.apart", "default routes of all kinds", routes=("default", "0.0.0.0/0", "::/0")),
    ok("hosts.routes.apart", "a VPN's two halves of a default route", routes=("0.0.0.0/1", "128.0.0.0/1")),
    ok("hosts.routes.apart", "docker's bridge beside the pod range", routes=("172.17.0.0/16",)),
    ok("hosts.routes.apart", "the neighbour of a range", routes=("10.99.0.0/16", "10.101.0.0/16")),
    ok("hosts.routes.apart", "the CNI's on a node", routes=("10.100.3.0/24",), node=NODE),
    ok(
        "hosts.routes.apart", "the CNI's on a host whose join runs", routes=("10.100.3.0/24",), join=JoinState.SUCCEEDED
    ),
    ok(
        "hosts.routes.apart",
        "IPv4 routes beside an IPv6 cluster",
        routes=("10.100.3.0/24",),
        host={"cluster": ONLY_IPV6},
    ),
    ok("hosts.routes.apart", "the private line to Alibaba's services", routes=("100.64.0.0/10",)),
    blocks(
        "hosts.routes.apart",
        "docker's bridge in the pod range",
        "route 172.17.0.0/16 in pod range 172.16.0.0/12",
        "no overlap",
        "Remove the route (`ip route`; docker's by its `bip`) or move the site's network; the cluster's ranges cannot"
        " be changed afterwards.",
        routes=("default", "172.17.0.0/16"),
        host={"cluster": {"pod_cidrs": (ip_network("172.16.0.0/12"),), "service_cidrs": ()}},
    ),
    blocks(
        "hosts.routes.apart",
        "exactly a range, as flannel leaves it",
        "route 10.100.0.0/16 in container range 10.100.0.0/16",
        "no overlap",
        routes=("10.100.0.0/16",),
    ),
    blocks(
        "hosts.routes.apart",
        "one address of the service range",
        "route 172.21.0.10/32 in service range 172.21.0.0/20",
        "no overlap",
        routes=("172.21.0.10/32",),
    ),
    blocks(
        "hosts.routes.apart",
        "IPv6",
        "route fd00:20::/80 in pod range fd00:20::/64",
        "no overlap",
        routes=("fe80::/64", "fd00:20::/80"),
        host={"cluster": ONLY_IPV6},
    ),
    warns(
        "hosts.routes.apart",
        "the line to the cloud, wider than a range",
        "route 10.0.0.0/8 around container range 10.100.0.0/16",
        "no overlap, except the route to the cloud",
        "Check that no machine of the site has an address in that range: a pod could get the same address.",
        routes=("default", "10.0.0.0/8"),
    ),
    unknown("hosts.routes.apart", "not read", BLOCKER, READ_FAILED, routes=UNREAD),
    ok("hosts.address.apart", "outside"),
    ok(
        "hosts.address.apart",
        "SSH goes elsewhere",
        host={"address": "10.100.0.9", "node_address": ip_address("10.1.0.11")},
    ),
    ok("hosts.address.apart", "a name, own addresses outside", host={"address": "n01.example.com"}),
    ok("hosts.address.apart", "the last address before a range", host={"address": "10.99.255.255"}),
    blocks(
        "hosts.address.apart",
        "the first address of a range",
        "10.100.0.0 lies in container range 10.100.0.0/16",
        "outside",
        "Give the host an address of the site's own range.",
        host={"address": "10.100.0.0"},
    ),
    blocks(
        "hosts.address.apart",
        "the declared one in the service range",
        "172.21.15.255 lies in service range 172.21.0.0/20",
        "outside",
        host={"node_address": ip_address("172.21.15.255")},
    ),
    unknown(
        "hosts.address.apart",
        "a name, own addresses not read",
        WARNING,
        READ_FAILED,
        host={"address": "n01.example.com"},
        addresses=UNREAD,
    ),
    ok("hosts.alibaba-services.apart", "nothing there"),
    ok("hosts.alibaba-services.apart", "the way there over the private line", routes=("default", "100.64.0.0/10")),
    ok("hosts.alibaba-services.apart", "a wider way there", routes=("100.0.0.0/8",)),
    warns(
        "hosts.alibaba-services.apart",
        "Tailscale",
        "address 100.101.1.2, route 100.101.1.0/24",
        "nothing of the site in 100.64.0.0/10",
        "Check from the host that the registry's and OSS' internal names resolve and answer (`curl -v`); if they do"
        " not, use PrivateLink endpoints.",
        addresses=("10.1.0.11", "100.101.1.2"),
        routes=("default", "100.101.1.0/24"),
    ),
    unknown("hosts.alibaba-services.apart", "not read", WARNING, READ_FAILED, routes=UNREAD),
    ok("hosts.address.own", "none declared"),
    ok("hosts.address.own", "declared and there", host={"node_address": ip_address("10.1.0.11")}),
    blocks(
        "hosts.address.own",
        "behind address translation",
        "127.0.0.1, 10.1.0.11, fe80::1",
        "203.0.113.7",
        "Correct node_address in the fleet file.",
        host={"node_address": ip_address("203.0.113.7")},
    ),
    unknown(
        "hosts.address.own",
        "not read",
        BLOCKER,
        READ_FAILED,
        host={"node_address": ip_address("10.1.0.11")},
        addresses=UNREAD,
    ),
    ok("hosts.mtu.enough", "just enough", mtus={"eth0": 1450}),
    ok("hosts.mtu.enough", "tunnels are small by trade", mtus={"eth0": 1500, "wg0": 1420, "tailscale0": 1280}),
    warns(
        "hosts.mtu.enough",
        "a VPN's path",
        "eth0 1400",
        "at least 1450 bytes",
        "Raise the MTU, or set the CNI's MTU below it.",
        mtus={"lo": 65536, "eth0": 1400, "eth1": 9000},
    ),
    unknown("hosts.mtu.enough", "not read", INFO, READ_FAILED, mtus=UNREAD),
    # clocks
    ok("hosts.clock.fleet", "one host is its own median", clock_offset_s=500.0),
    ok("hosts.clock.fleet", "two that disagree have no majority", clock_offset_s=0.0, others=fleet_of(500.0)),
    ok("hosts.clock.fleet", "nor have two halves", clock_offset_s=0.0, others=fleet_of(0.0, 500.0, 500.0)),
    ok("hosts.clock.fleet", "30 s off is within", clock_offset_s=30.0, others=fleet_of(0.0, 0.0)),
    ok(
        "hosts.clock.fleet",
        "all off together is the control plane's clock",
        clock_offset_s=500.0,
        others=fleet_of(500.0, 500.0),
    ),
    blocks(
        "hosts.clock.fleet",
        "more than 30 s ahead of two others",
        "+31 s from the fleet's median",
        "within 30 s",
        SYNCHRONISE,
        clock_offset_s=30.6,
        others=fleet_of(0.0, 0.0),
    ),
    blocks(
        "hosts.clock.fleet",
        "behind",
        "-599 s from the fleet's median",
        "within 30 s",
        clock_offset_s=-600.0,
        others=fleet_of(0.0, 1.0, -1.0),
    ),
    unknown("hosts.clock.fleet", "not read", BLOCKER, READ_FAILED, clock_offset_s=UNREAD, others=fleet_of(0.0)),
    ok("hosts.clock.api", "60 s off is within", clock_offset_s=60.0),
    ok("hosts.clock.api", "ours is off, theirs agree", clock_offset_s=600.0, batch={"api_ahead_s": 600.0}),
    blocks(
        "hosts.clock.api",
        "more than 60 s ahead",
        "+61 s from the API server's Date",
        "within 60 s",
        "Set the clock from the site's time server: `chronyc makestep`, then `chronyc tracking`.",
        clock_offset_s=60.6,
    ),
    blocks(
        "hosts.clock.api",
        "the API server is ahead",
        "-61 s from the API server's Date",
        "within 60 s",
        clock_offset_s=0.0,
        batch={"api_ahead_s": 61.0},
    ),
    unknown("hosts.clock.api", "not read", BLOCKER, READ_FAILED, clock_offset_s=UNREAD),
    ok("hosts.clock.synchronised", "kept"),
    warns(
        "hosts.clock.synchronised",
        "not kept",
        "not synchronised",
        "synchronised",
        "Enable a time service: `systemctl enable --now chronyd`.",
        clock_synchronised=False,
    ),
    unknown("hosts.clock.synchronised", "no timedatectl", INFO, READ_FAILED, clock_synchronised=UNREAD),
    # the way to the API server
    ok("hosts.api.reachable", "it answers"),
    blocks(
        "hosts.api.reachable",
        "another certificate in between",
        "curl: (60) SSL certificate problem",
        "an answer, verified with the cluster's CA",
        "Check route, firewall and the load balancer's access list from the site to the API server; a certificate"
        " error means that another server answers in its place.",
        api_answer="curl: (60) SSL certificate problem",
    ),
    unknown("hosts.api.reachable", "no curl", BLOCKER, "no curl", api_answer=unread("no curl")),
    ok("hosts.proxy.bypassed", "no proxy"),
    ok("hosts.proxy.bypassed", "no_proxy without a proxy", proxies={"NO_PROXY": "example.com"}),
    ok("hosts.proxy.bypassed", "a proxy that is set empty", proxies={"http_proxy": ""}),
    ok("hosts.proxy.bypassed", "everything is excluded", proxies={**PROXY, "no_proxy": "*"}),
    ok("hosts.proxy.bypassed", "each is named", proxies={**PROXY, "NO_PROXY": f" 10.0.0.1 , {CLUSTER_RANGES}"}),
    ok("hosts.proxy.bypassed", "wider ranges", proxies={**PROXY, "no_proxy": "10.0.0.0/8,172.16.0.0/12"}),
    ok(
        "hosts.proxy.bypassed",
        "the API server by its domain",
        proxies={**PROXY, "no_proxy": f".aliyuncs.com,{CLUSTER_RANGES}"},
        batch={"api_host": "c1.aliyuncs.com"},
    ),
    warns(
        "hosts.proxy.bypassed",
        "the service range is missing",
        "https_proxy=http://proxy.example:3128; no_proxy lacks 172.21.0.0/20",
        "no proxy, or all of them in no_proxy",
        "Add 172.21.0.0/20 to no_proxy where the proxy is set (/etc/environment, the login user's profile).",
        proxies={**PROXY, "no_proxy": "10.0.0.0/8,172.20.0.0/16,172.21.0.0/24"},
    ),
    warns(
        "hosts.proxy.bypassed",
        "a name that only ends alike",
        "https_proxy=http://proxy.example:3128; no_proxy lacks c1.notaliyuncs.com",
        "no proxy, or all of them in no_proxy",
        proxies={**PROXY, "no_proxy": f"aliyuncs.com,{CLUSTER_RANGES}"},
        batch={"api_host": "c1.notaliyuncs.com"},
    ),
    warns(
        "hosts.proxy.bypassed",
        "no no_proxy at all",
        "all_proxy=socks5://proxy.example; no_proxy lacks 10.0.0.1, 172.20.0.0/16, 172.21.0.0/20, 10.100.0.0/16",
        "no proxy, or all of them in no_proxy",
        proxies={"ALL_PROXY": "socks5://proxy.example"},
    ),
    warns(
        "hosts.proxy.bypassed",
        "the runtime's own, which a login's no_proxy does not reach",
        f"containerd.service: https_proxy=http://proxy.example:3128; no_proxy lacks 10.0.0.1, {LACKING}",
        "no proxy, or all of them in no_proxy",
        f"Add 10.0.0.1,{CLUSTER_RANGES} to no_proxy where the proxy is set (`systemctl cat containerd.service`).",
        proxies={"no_proxy": "*"},
        service_proxies={"containerd.service": PROXY},
    ),
    warns(
        "hosts.proxy.bypassed",
        "a login's, and that of all units",
        f"https_proxy=http://proxy.example:3128; no_proxy lacks 10.0.0.1, {LACKING};"
        f" /etc/systemd/system.conf: https_proxy=http://proxy.example:3128; no_proxy lacks {LACKING}",
        "no proxy, or all of them in no_proxy",
        f"Add 10.0.0.1,{CLUSTER_RANGES} to no_proxy where the proxy is set (/etc/environment, the login user's profile;"
        " /etc/systemd/system.conf).",
        proxies=PROXY,
        service_proxies={"/etc/systemd/system.conf": {**PROXY, "NO_PROXY": "10.0.0.1"}},
    ),
    ok(
        "hosts.proxy.bypassed",
        "the runtime's own, past which the cluster is reached",
        service_proxies={"containerd.service": {**PROXY, "no_proxy": f"10.0.0.1,{CLUSTER_RANGES}"}},
    ),
    unknown("hosts.proxy.bypassed", "not read", INFO, READ_FAILED, proxies=UNREAD),
    unknown("hosts.proxy.bypassed", "units not read", INFO, READ_FAILED, service_proxies=UNREAD),
    ok("pools.container-range.enough", "no range declared", host={"cluster": {"container_cidr": None}}),
    ok(
        "pools.container-range.enough",
        "the last part is its own",
        host={"cluster": {"container_cidr": ip_network("10.100.0.0/23")}},
        nodes=(a_node("b"), a_node("cloud-1", labels={})),
    ),
    ok(
        "pools.container-range.enough",
        "a node has its part already",
        host={"cluster": {"container_cidr": ip_network("10.100.0.0/24")}},
        node=NODE,
        nodes=(a_node("b"),),
    ),
    blocks(
        "pools.container-range.enough",
        "one too many",
        "3 hybrid nodes, including the hosts of this run",
        "at most 2: 10.100.0.0/23 in blocks of /24",
        "Join 1 fewer hosts, or extend the container range before the join.",
        host={"cluster": {"container_cidr": ip_network("10.100.0.0/23")}},
        others=(("b", {}),),
        nodes=(a_node("c"),),
    ),
    blocks(
        "pools.container-range.enough",
        "a mask wider than the range",
        "1 hybrid nodes, including the hosts of this run",
        "at most 0: 10.100.0.0/24 in blocks of /23",
        host={"cluster": {"container_cidr": ip_network("10.100.0.0/24"), "node_mask": 23}},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.check}: {row.phrase}")
def test_what_a_check_says(row: Row) -> None:
    view = a_view(**copy.deepcopy(row.view))
    batch = a_batch(view, *(a_view(name, **facts) for name, facts in row.others), nodes=row.nodes, **row.batch)
    before = copy.deepcopy((view, batch))
    checked = run_check(REGISTRY[row.check], view, batch)
    assert (view, batch) == before, "a check changed what it was given"
    assert (checked.check, checked.verdict, checked.reason) == (row.check, row.verdict, row.reason)
    assert str(checked.subject) == "host fra1-n01"
    if row.severity is None:
        assert checked.finding is None
        return
    assert checked.finding is not None
    evidence = checked.finding.evidence
    assert (checked.finding.id, checked.finding.severity) == (row.check, row.severity)
    assert (evidence.observed, evidence.expected, evidence.seen_at) == (row.observed, row.expected, NOW)
    assert row.next_step in (checked.finding.next_step, ANY_STEP)


NEVER_UNKNOWN = {
    "hosts.name.valid",
    "hosts.node-name.free",
    "hosts.node-pool.declared",
    "pools.container-range.enough",
}
"""They look at the fleet file and the cluster's Nodes, which are there or the run has not begun."""


@pytest.mark.parametrize("check", REGISTRY)
def test_a_new_check_has_rows(check: str) -> None:
    rows = [row for row in ROWS if row.check == check]
    told = {row.verdict for row in rows}
    needed = {Verdict.OK, Verdict.FAIL} | ({Verdict.UNKNOWN} if check not in NEVER_UNKNOWN else set())
    assert told >= needed
    assert any(row.verdict is Verdict.FAIL and row.next_step != ANY_STEP for row in rows)


def test_checks_without_rows_for_unknown_read_no_facts() -> None:
    assert {REGISTRY[check].source for check in NEVER_UNKNOWN} == {"fleet file and cluster"}


def test_a_healthy_host_passes_every_check() -> None:
    view = a_view()
    assert {c.check: c.verdict for c in run_checks(view, a_batch(view), {})} == dict.fromkeys(REGISTRY, Verdict.OK)


@pytest.mark.parametrize("row", [row for row in ROWS if row.verdict is not Verdict.OK], ids=lambda row: row.check)
def test_a_next_step_is_a_sentence_to_act_on(row: Row) -> None:
    if row.next_step != ANY_STEP:
        assert row.next_step[0].isupper()
        assert row.next_step.endswith(".")
        assert "\n" not in row.next_step


def test_a_check_skipped_by_name_says_why_and_is_not_made() -> None:
    view = a_view(swap_bytes=GIB)
    (checked,) = (
        c for c in run_checks(view, a_batch(view), {"hosts.swap.off": "zram only"}) if c.check == "hosts.swap.off"
    )
    assert (checked.verdict, checked.reason, checked.finding) == (Verdict.SKIPPED, "zram only", None)


def test_every_check_says_what_it_is_about_and_where_it_looks() -> None:
    for check in REGISTRY.values():
        assert check.about
        assert check.source
        assert check.look.__doc__, f"{check.id}: say why"


# what hosts tell may be anything


@pytest.mark.parametrize(
    "error",
    [ValueError("'localhost' is no address"), KeyError("n09"), RecursionError("too deep"), TypeError("x" * 10_000)],
    ids=lambda error: type(error).__name__,
)
def test_what_a_check_stumbles_over_is_its_unknown_on_that_host_alone(error: Exception) -> None:
    def stumbles(view: HostView, batch: Any) -> None:
        if view.host.name == "a":
            raise error

    checks = {**REGISTRY, "hosts.made-up": Check("hosts.made-up", "it passes", BLOCKER, WARNING, "nothing", stumbles)}
    views = [a_view(name, machine_id=name, boot_id=name, product_uuid=name) for name in ("a", "b")]
    batch = a_batch(*views)
    for view in views:
        verdicts = {c.check: c for c in run_checks(view, batch, {}, checks)}
        assert {id: verdicts[id].verdict for id in REGISTRY} == dict.fromkeys(REGISTRY, Verdict.OK)
    assert verdicts["hosts.made-up"].verdict is Verdict.OK
    (broken,) = (c for c in run_checks(views[0], batch, {}, checks) if c.check == "hosts.made-up")
    assert (broken.verdict, broken.finding and broken.finding.severity) == (Verdict.UNKNOWN, WARNING)
    assert f"the check cannot read the host's answer ({type(error).__name__}: " in broken.reason
    assert len(broken.reason) <= LONGEST_QUOTE
    assert broken.finding is not None
    assert "skip_checks" in broken.finding.next_step


LINES = (Path(__file__).parents[1] / "hosts/recorded/dash.txt").read_text().splitlines()[2:-1]
NAMES = sorted({line.split()[1] for line in LINES})
VALUES = st.one_of(
    st.text(max_size=30),
    st.ip_addresses().map(str),
    st.ip_addresses().map(lambda address: f"[{address}]:53"),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(
        [
            "",
            "localhost",
            "::/0",
            "0.0.0.0/0",
            "fe80::1%eth0",
            "10.0.0.2,10.0.0.3 yes",
            "localhost yes",
            "::1%x no",
            "9" * 4000,
            "v1." + "9" * 4000,
            "v",
            "containerd",
            "docker",
            "? - snap x",
            "1 2 3",
            "http://u:p@h",
            "a/b Environment='",
            "\x1b[2J",
        ]
    ),
)
ANY_FACTS = st.lists(
    st.one_of(st.sampled_from(LINES), st.builds("fact {} {}".format, st.sampled_from(NAMES), VALUES)), max_size=60
)
SITES = st.sampled_from([{}, {"dns": SiteDns(("10.1.0.2", "2001:db8::53"))}])
POOLS = st.sampled_from([{}, {"accepted": (UBUNTU, ALINUX)}, {"kubernetes_version": "1.36"}])
CLUSTERS = st.sampled_from([{}, ONLY_IPV6, BY_KUBEADM["cluster"]])


@settings(max_examples=150, deadline=None)
@given(st.lists(ANY_FACTS, min_size=1, max_size=3), SITES, POOLS, CLUSTERS, st.sampled_from(["v1.36.3", "", "v1"]))
def test_no_check_stumbles_over_any_answer(answers, site, pool, cluster, api_version) -> None:
    """Not even where the guard around it would hold it."""
    views = []
    for number, lines in enumerate(answers):
        text = "\n".join(["poolkeeper-facts begin", *lines, "poolkeeper-facts end", ""])
        host = a_view(f"n{number}", host={"site": site, "pool": pool, "cluster": cluster, "address": "n.example"}).host
        views.append(HostView(host, parse_facts(text, NOW), None, JoinState.NONE))
    batch = a_batch(*views, api_version=api_version)
    for view in views:
        for check in REGISTRY.values():
            with suppress(NotKnown):
                check.look(view, batch)
            checked = run_check(check, view, batch)
            assert checked.finding is None or len(checked.finding.evidence.observed) <= LONGEST_QUOTE + len("unknown: ")
