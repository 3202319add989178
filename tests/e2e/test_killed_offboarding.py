"""Offboarding killed on its way, and run again or recovered: the end is the same as if nothing had happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.tasks.ledger import LIFECYCLE, Spool
from tests.e2e.conftest import Cluster, Json
from tests.e2e.rollouts import until
from tests.e2e.test_killed import files_of_ours, ids

BEFORE_ANYTHING = ("after cordon node *",)
"""Only a run of its own goes on from there: to recover it is to give it back."""
ON_THE_WAY = ("after program 6 of clean host *", "after write 1 of remove node * from *")
"""The provider's reset has begun on the host; its Node tells since when it has left."""
AT_THE_END = ("before the answer",)
DEAD = ("after record phase changing on node *", "after remove node * from *")
"""On the way of a machine that was said to be gone."""
PLACES = (*BEFORE_ANYTHING, *ON_THE_WAY, *AT_THE_END)
FENCE = {"var/lib/poolkeeper/fencing-token", "var/lib/poolkeeper/fencing-token.lock"}
"""What stays on a host, so that a run which was left behind does not touch it any more."""
RECOVERED = ON_THE_WAY[:1]
"""Finished by `recover` in place of a run of its own."""


def roomy(document: Json) -> None:
    for part in (*document["pools"].values(), *document["domains"].values()):
        part["max_unavailable"] = "100%"
    document["ssh"] |= {"connect_timeout": "3s"}  # a machine without power is waited for


def run(flow: str, **parameters: str) -> list[str]:
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
    return ["run", flow, *words, "-p", "dry_run=false"]


def kill(cluster: Cluster, host: str, place: str, **parameters: str) -> None:
    """Run offboarding of one host and see it die at a place."""
    cluster.kill(place, *run("offboard", hosts=host, **parameters))


def is_ready(node: Json) -> bool:
    return any((c["type"], c["status"]) == ("Ready", "True") for c in node["status"]["conditions"])


def give_back_leases(cluster: Cluster) -> None:
    """What a person does who knows that the run is dead and does not want to wait until its leases lapse."""
    path = "/apis/coordination.k8s.io/v1/namespaces/poolkeeper/leases"
    for lease in cluster.ask("GET", path)["items"]:
        cluster.ask("PATCH", f"{path}/{lease['metadata']['name']}", {"spec": {"holderIdentity": ""}})


def test_offboarding_is_finished_by_the_next_run_or_recovered(new_lab: Callable[[int], Cluster]) -> None:
    cluster = new_lab(2 * len(PLACES) + 6)
    cluster.edit_fleet(roomy)
    hosts = dict(zip(PLACES, cluster.names_in("general"), strict=False))
    assert len(hosts) == len(PLACES)
    onboarded = cluster.onboard("|".join(hosts.values()))
    assert onboarded.code == 0, onboarded.answer["summary"]

    for place, host in hosts.items():
        kill(cluster, host, place)
        give_back_leases(cluster)
    recovered = [hosts[place] for place in RECOVERED]
    others = [host for host in hosts.values() if host not in recovered]
    again = cluster.poolkeeper(*run("offboard", hosts="|".join(others)), "--json")
    assert {row["name"]: row["state"] for row in again.answer["hosts"]} == dict.fromkeys(others, "done"), again.answer
    told = cluster.poolkeeper("run", "recover", "--json")
    assert {row["name"]: row["state"] for row in told.answer["hosts"]} == dict.fromkeys(recovered, "planned")
    plan = next(Path(file) for file in told.answer["files"] if file.endswith("summary.md")).read_text()
    assert all(f"- delete Node {host}\n" in plan for host in recovered), plan
    rest = cluster.poolkeeper(*run("recover"), "--json")
    assert {row["name"]: row["state"] for row in rest.answer["hosts"]} == dict.fromkeys(recovered, "done"), rest.answer

    assert cluster.nodes == {}
    rows = list(Spool(cluster.state / "spool").rows(LIFECYCLE))
    for place, host in hosts.items():
        assert set(files_of_ours(cluster, host)) == FENCE, place
        told = Counter(row["at"] for row in rows if row["event"] == "left" and f"/{host}/" in row["resource_id"])
        assert len(told) == 1, f"{place}: each node has left once, at one moment"
    back = cluster.onboard("|".join(hosts.values()))
    assert back.code == 0, back.answer["summary"]


def test_what_a_person_said_of_a_dead_machine_is_gone_by(new_lab: Callable[[int], Cluster]) -> None:
    """`recover` finishes by the word that was given. Without one it says the command; against it speaks an answer."""
    cluster = new_lab(2 * (len(DEAD) + 1))
    cluster.edit_fleet(roomy)
    said = dict(zip(DEAD, cluster.names_in("general"), strict=False))
    unsaid, answers = cluster.names_in("batch")[:2]
    hosts = [*said.values(), unsaid, answers]
    onboarded = cluster.onboard("|".join(hosts))
    assert onboarded.code == 0, onboarded.answer["summary"]
    kill(cluster, unsaid, DEAD[0])
    give_back_leases(cluster)
    for host in hosts:
        cluster.break_host(host, Fault.NEVER_READY)
        cluster.break_host(host, Fault.POWER_LOST)
    until(lambda: not any(is_ready(node) for node in cluster.nodes.values()))
    for place, host in [*said.items(), (DEAD[0], answers)]:
        kill(cluster, host, place, host_is_gone="true")
        give_back_leases(cluster)
    cluster.mend_host(answers, Fault.POWER_LOST)

    with ThreadPoolExecutor(2) as two:
        recovered = two.map(lambda pool: cluster.poolkeeper(*run("recover", pool=pool), "--json"), ("general", "batch"))
        finished, not_finished = ({row["name"]: row for row in ended.answer["hosts"]} for ended in recovered)
    gone = list(said.values())
    assert {name: row["state"] for name, row in finished.items()} == dict.fromkeys(gone, "done"), finished
    assert "offboard.host.not-cleaned" in ids(finished[said[DEAD[0]]])
    assert {name: row["state"] for name, row in not_finished.items()} == {unsaid: "stopped", answers: "failed"}
    assert ids(not_finished[unsaid]) == ["recover.host.unknown"]
    assert ids(not_finished[answers]) == ["offboard.host.alive"]
    assert cluster.nodes.keys() == {unsaid, answers}
    (finding,) = not_finished[unsaid]["findings"]
    command = finding["next_step"].rpartition("`poolkeeper ")[2].partition("`")[0]
    assert command.split()[:2] == ["run", "offboard"], finding["next_step"]
    by_command = cluster.poolkeeper(*command.split(), "--json")
    assert {row["name"]: row["state"] for row in by_command.answer["hosts"]} == {unsaid: "done"}, by_command.answer
    assert cluster.nodes.keys() == {answers}
    rows = [row for row in Spool(cluster.state / "spool").rows(LIFECYCLE) if row["event"] == "left"]
    assert sorted({row["resource_id"].split("/")[1] for row in rows}) == sorted([*said.values(), unsaid])
