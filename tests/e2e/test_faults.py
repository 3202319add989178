"""Every fault of the lab at once, each on a host of its own: one clear finding each, and the others are accepted."""

from __future__ import annotations

from collections.abc import Callable

from poolkeeper.deployments.lab.faults import MACHINES_ONLY, OF_UPGRADES, Fault
from tests.e2e.conftest import Cluster, Json

EXPECTED = {
    Fault.CLOCK: ("stopped", {"hosts.clock.api", "hosts.clock.fleet"}),
    Fault.DISK_FULL: ("stopped", {"hosts.disk.free"}),
    Fault.RESOLVER_DEAD: ("stopped", {"hosts.resolvers.answer"}),
    Fault.WRONG_HOST_KEY: ("stopped", {"hosts.ssh.host-key-changed"}),
    Fault.AUTH_REFUSED: ("stopped", {"hosts.ssh.auth-refused"}),
    Fault.HANGS_AFTER_LOGIN: ("stopped", {"hosts.ssh.command-timeout"}),
    Fault.FLOODS: ("stopped", {"hosts.ssh.output-flood"}),
    Fault.DROPS_MID_COMMAND: ("stopped", {"hosts.ssh.connection-lost"}),
    Fault.SUDO_PASSWORD: ("stopped", {"hosts.ssh.sudo-password"}),
    Fault.LEFTOVERS: ("stopped", {"hosts.leftovers.none"}),
    Fault.JOIN_FAILS: ("failed", {"onboard.join.failed"}),
    Fault.NEVER_READY: ("failed", {"node.ready"}),
    Fault.CNI_MISSING: ("failed", {"node.ready", "node.pods.terway", "node.pods.node-local-dns"}),
    Fault.NAME_DUPLICATED: ("stopped", {"onboard.identity.other-machine"}),
    Fault.API_UNREACHABLE: ("stopped", {"hosts.api.reachable"}),
    Fault.POWER_LOST: ("stopped", {"hosts.ssh.connect-timeout"}),
}
"""Fault -> how its host ends, and the blockers that it has: these and no others."""

SOUND = 3


def blockers(row: Json) -> set[str]:
    return {finding["id"] for finding in row["findings"] if finding["severity"] == "blocker"}


def test_each_fault_has_its_finding_and_costs_the_others_nothing(new_lab: Callable[[int], Cluster]) -> None:
    assert EXPECTED.keys() == set(Fault) - {*MACHINES_ONLY, *OF_UPGRADES}, "a new fault wants a row"
    cluster = new_lab(len(EXPECTED) + SOUND)

    def impatient(document: Json) -> None:
        document["ssh"] |= {"connect_timeout": "3s", "login_timeout": "3s", "command_timeout": "8s"}
        for pool in document["pools"].values():
            pool["join"] |= {"timeout": "15s", "parallel": 9}

    cluster.edit_fleet(impatient)
    broken = dict(zip(cluster.names, EXPECTED, strict=False))
    for host, fault in broken.items():
        cluster.break_host(host, fault)
    before = cluster.nodes

    ended = cluster.onboard()
    rows = {row["name"]: row for row in ended.answer["hosts"]}
    assert rows.keys() == set(cluster.names), "no host is missing silently"
    seen = {fault: (rows[host]["state"], blockers(rows[host])) for host, fault in broken.items()}
    assert seen == EXPECTED
    sound = [name for name in cluster.names if name not in broken]
    assert {name: (rows[name]["state"], rows[name]["findings"]) for name in sound} == dict.fromkeys(
        sound, ("accepted", [])
    )
    assert (ended.code, ended.answer["state"]) == (1, "completed with unfinished hosts")

    for row in rows.values():
        for finding in row["findings"]:
            assert finding["next_step"], finding
            assert finding["evidence"]["observed"], finding
    assert cluster.nodes.keys() == {*sound, *before}, "nothing of a failed host stays in the cluster"
    assert cluster.test_pods == []

    for host in broken:
        cluster.mend_host(host)
    again = cluster.onboard()
    assert {row["name"]: row["summary"] for row in again.answer["hosts"] if row["state"] != "accepted"} == {}
    assert (again.code, again.answer["summary"]) == (0, f"completed: {len(rows)} accepted of {len(rows)} hosts")
