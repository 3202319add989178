"""Onboarding real machines to a real cluster by kubeadm, with poolkeeper's own rights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.tasks.cluster import connect
from poolkeeper.tasks.cluster.nodes import get_node
from poolkeeper.tasks.fleet import load_fleet
from poolkeeper.tasks.hosts import FactsRequest, Sessions
from poolkeeper.tasks.outcomes import Gate
from poolkeeper.tasks.provider import open_provider
from poolkeeper.tasks.settings import secret_reader
from poolkeeper.tasks.upgrade import HostUpgrade, Pins, StepTimeouts, VersionGoal
from tests.contract.hosts.fences import fence
from tests.e2e.conftest import Json, MachinesCluster
from tests.warm import Ended

pytestmark = pytest.mark.tier("machines")

OLDER, NEWER = "1.35.4", "1.36.3"
EXPECTED = "completed with unfinished hosts: 5 accepted, 2 stopped of 7 hosts"


@pytest.fixture(scope="module")
def killed(machines: MachinesCluster) -> str:
    """A host whose join was begun by a run that was then killed: the join goes on without it."""
    host = machines.names[0]
    machines.kill("after program 2 of join host *", "run", "onboard", "-p", f"hosts={host}", "-p", "dry_run=false")
    return host


@pytest.fixture(scope="module")
def broken(machines: MachinesCluster) -> dict[Fault, str]:
    """Two machines with what preflight has to find."""
    faults = dict(zip((Fault.RESOLVER_DEAD, Fault.LEFTOVERS), machines.names[5:7], strict=True))
    for fault, host in faults.items():
        machines.break_host(host, fault)
    return faults


@pytest.fixture(scope="module")
def onboarded(machines: MachinesCluster, killed: str, broken: dict[Fault, str]) -> Ended:
    """One run over all machines but the spare one; one pool asks for the older kubelet."""

    def older(fleet: Json) -> None:
        fleet["pools"]["batch"]["kubernetes_version"] = OLDER

    machines.edit_fleet(older)
    ended = machines.onboard("|".join(machines.names[:7]))
    if ended.answer["summary"] != EXPECTED:
        print(ended.out, machines.kubectl("get", "nodes,pods", "--all-namespaces", "--output=wide"))
    return ended


@pytest.fixture(scope="module")
def accepted(machines: MachinesCluster, onboarded: Ended) -> list[str]:
    return machines.names[:5]


def row(ended: Ended, name: str) -> Json:
    return next(row for row in ended.answer["hosts"] if row["name"] == name)


def test_machines_become_nodes_also_one_whose_join_was_taken_up(
    machines: MachinesCluster, onboarded: Ended, accepted: list[str]
) -> None:
    assert onboarded.answer["summary"] == EXPECTED
    assert {name: row(onboarded, name)["state"] for name in accepted} == dict.fromkeys(accepted, "accepted")
    nodes = machines.nodes
    assert sorted(nodes) == sorted(accepted)
    for node in nodes.values():
        assert "poolkeeper.io/accepted" in node["metadata"]["annotations"]
        assert not node["spec"].get("unschedulable")
        assert not node["spec"].get("taints")


def test_a_pools_kubelets_are_of_the_version_that_it_declares(machines: MachinesCluster, accepted: list[str]) -> None:
    versions = {name: node["status"]["nodeInfo"]["kubeletVersion"] for name, node in machines.nodes.items()}
    older = machines.names_in("batch")
    assert versions == {name: f"v{OLDER}" if name in older else f"v{NEWER}" for name in accepted}


def test_preflight_stops_a_machine_whose_resolver_is_dead(onboarded: Ended, broken: dict[Fault, str]) -> None:
    stopped = row(onboarded, broken[Fault.RESOLVER_DEAD])
    assert (stopped["state"], blockers(stopped)) == ("stopped", {"hosts.resolvers.answer"})


def test_preflight_stops_a_machine_with_leftovers_of_another_cluster(
    machines: MachinesCluster, onboarded: Ended, broken: dict[Fault, str]
) -> None:
    host = broken[Fault.LEFTOVERS]
    stopped = row(onboarded, host)
    assert (stopped["state"], blockers(stopped)) == ("stopped", {"hosts.leftovers.none"})
    assert machines.shell(host, "cat /etc/kubernetes/pki/ca.crt; ls /var/lib/poolkeeper 2>&1 || true").startswith(
        "of another cluster"
    )


def blockers(host: Json) -> set[str]:
    return {finding["id"] for finding in host["findings"] if finding["severity"] == "blocker"}


def test_what_machines_share_or_lack_does_not_block_them(onboarded: Ended, accepted: list[str]) -> None:
    """They run on one kernel, with its clock, and firmware gives them no product uuid."""
    findings = {finding["id"]: finding["severity"] for name in accepted for finding in row(onboarded, name)["findings"]}
    assert "blocker" not in findings.values()


def test_no_token_of_ours_and_no_pod_of_ours_is_left(machines: MachinesCluster, killed: str, onboarded: Ended) -> None:
    secrets = machines.ask("GET", "/api/v1/namespaces/kube-system/secrets")["items"]
    labels = [(secret["metadata"].get("labels") or {}).get("poolkeeper.io/bootstrap-token") for secret in secrets]
    # the killed run's own token is nobody's any more, and ends with its expiry
    assert [label for label in labels if label] == [killed]
    machines.kubectl("wait", "--for=delete", "--timeout=30s", "--namespace=poolkeeper", "pod", "--all")
    assert machines.test_pods == []
    assert machines.shell(machines.names[1], "ls /run/poolkeeper 2>/dev/null | wc -l") == "0"


def test_a_second_run_finds_nothing_to_do(machines: MachinesCluster, accepted: list[str]) -> None:
    again = machines.onboard("|".join(accepted))
    assert again.code == 0, again.err[-2000:]
    assert {row(again, name)["summary"] for name in accepted} == {"accepted already"}


@pytest.fixture
def web(machines: MachinesCluster, accepted: list[str]) -> Iterator[Json]:
    """A pod that serves a page, on one of the onboarded machines."""
    name, path = "web", "/api/v1/namespaces/default/pods"
    pod = {
        "metadata": {"name": name},
        "spec": {
            "nodeName": accepted[1],
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "web",
                    "image": "registry.lab/busybox:1",
                    "command": ["sh", "-c", "cd /tmp; echo hello > index.html; exec httpd -f -p 8000 -h ."],
                    "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
                }
            ],
        },
    }
    machines.ask("POST", path, {"apiVersion": "v1", "kind": "Pod", **pod})
    machines.kubectl("wait", "--for=condition=Ready", "--timeout=60s", f"pod/{name}")
    yield machines.ask("GET", f"{path}/{name}")
    machines.ask("DELETE", f"{path}/{name}")


def test_a_pod_answers_from_another_host(machines: MachinesCluster, accepted: list[str], web: Json) -> None:
    address = web["status"]["podIP"]
    assert machines.shell(accepted[2], f"curl --silent --max-time 10 http://{address}:8000/") == "hello"


async def upgraded(machines: MachinesCluster, name: str, goal: VersionGoal) -> Pins:
    """A drained machine's upgrade from stage to proof, with poolkeeper's own rights; what was looked up for it."""
    fleet, secret = load_fleet(machines.folder.fleet), secret_reader()
    host = fleet.hosts[name]
    cluster = host.pool.cluster
    async with (
        open_provider(cluster, secret) as provider,
        connect(cluster, secret(cluster.kubeconfig)) as api,
        Sessions(fleet.ssh_limits, secret) as sessions,
    ):
        upgrade = HostUpgrade(
            api=api,
            sessions=sessions,
            provider=provider,
            gate=Gate(dry_run=False),
            goal=goal,
            request=FactsRequest(api_url=api.url, api_ca_pem=api.ca_pem),
            timeouts=StepTimeouts(stage_s=120, change_s=120, settle_s=90),
        )
        before = await get_node(api, host.node_name)
        assert before is not None
        assert not await upgrade.is_finished(host, before)
        assert await upgrade.stage(host) == ()
        machines.kubectl("drain", name, "--ignore-daemonsets", "--force", "--timeout=60s")
        assert await upgrade.change(host, fence()) == ()
        assert await upgrade.prove(host, before) == ()
        after = await get_node(api, host.node_name)
        assert after is not None
        assert await upgrade.is_finished(host, after)
        return upgrade.pins


def test_a_node_is_upgraded_by_packages_and_kubeadm(machines: MachinesCluster, accepted: list[str]) -> None:
    host = next(name for name in accepted if name in machines.names_in("batch"))
    holds, boot = machines.shell(host, "apt-mark showhold"), machines.shell(host, "cat /proc/sys/kernel/random/boot_id")
    pins = asyncio.run(upgraded(machines, host, VersionGoal("1.36")))
    assert pins.kubernetes == NEWER
    node = machines.nodes[host]
    assert node["status"]["nodeInfo"]["kubeletVersion"] == f"v{NEWER}"
    assert node["spec"]["unschedulable"], "the cordon is the rollout's"
    machines.kubectl("uncordon", host)
    told = machines.shell(host, "dpkg-query -W kubelet kubeadm | tr '\\t' '='; kubeadm version -o short")
    assert told.split() == [f"{name}={pins.packages[name]}" for name in ("kubeadm", "kubelet")] + [f"v{NEWER}"]
    assert machines.shell(host, "apt-mark showhold") == holds == "kubeadm\nkubelet"
    assert machines.shell(host, "cat /proc/sys/kernel/random/boot_id") == boot
    assert (
        machines.shell(host, "ls /run/poolkeeper 2>/dev/null | wc -l; cat /var/lib/poolkeeper/fencing-token") == "0\n1"
    )


def test_a_machine_that_lost_power_is_not_ready_and_comes_back(machines: MachinesCluster, accepted: list[str]) -> None:
    host = accepted[3]
    machines.break_host(host, Fault.POWER_LOST)
    machines.kubectl("wait", "--for=condition=Ready=Unknown", "--timeout=90s", f"node/{host}")
    machines.mend_host(host, Fault.POWER_LOST)
    machines.kubectl("wait", "--for=condition=Ready", "--timeout=90s", f"node/{host}")


def test_kubectl_of_the_same_build_shows_it_all(machines: MachinesCluster, accepted: list[str]) -> None:
    told = json.loads(machines.kubectl("get", "nodes,pods", "-A", "-o", "json"))
    kinds = [item["kind"] for item in told["items"]]
    assert kinds.count("Node") == 1 + len(accepted)
    running = {item["metadata"]["name"].rsplit("-", 1)[0] for item in told["items"] if item["kind"] == "Pod"}
    assert {"lab-cni", "kube-proxy", "node-local-dns"} <= running


def test_a_machine_leaves_for_good_and_joins_again(machines: MachinesCluster, accepted: list[str]) -> None:
    """The last of these tests: the machine's Node is another one afterwards."""
    host = accepted[4]
    words = ["run", "offboard", "-p", f"hosts={host}", "-p", "dry_run=false", "-p", "outside_windows=true", "--json"]
    ended = machines.poolkeeper(*words)
    assert row(ended, host)["state"] == "done", row(ended, host)
    assert {finding["id"] for finding in row(ended, host)["findings"]} == {"offboard.fleet-file"}
    assert host not in machines.nodes
    told = machines.shell(host, "systemctl is-enabled kubelet; systemctl is-active kubelet; true")
    assert told.split() == ["disabled", "inactive"]
    look = "find /etc/kubernetes /var/lib/kubelet /run/poolkeeper ! -type d 2>/dev/null; true"
    assert machines.shell(host, look) == ""
    again = machines.onboard(host)
    assert row(again, host)["state"] == "accepted", row(again, host)
    assert host in machines.nodes
