"""Offboarding killed at each of its steps, and run again or recovered: the end is the same as if nothing had happened."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest

from tasks.ledger import LIFECYCLE, Spool
from tests.e2e.conftest import Cluster, Json
from tests.e2e.killed_run import find
from tests.e2e.test_killed import SIGKILL, files_of_ours

BEFORE_ANYTHING = (
    "tasks.rollout.carrying:take_node:before:1",
    "tasks.rollout.carrying:take_node:after:1",
)
"""Only a run of its own goes on from there: to recover it is to give it back."""
ON_THE_WAY = (
    "tasks.rollout.carrying:write_mark:after:2",
    "tasks.onboard.offboarding:claim:after:1",
    "tasks.onboard.leaving:start_unit:before:1",
    "tasks.onboard.leaving:start_unit:after:1",
    "tasks.hosts.changes:undo:before:1",
    "tasks.hosts.changes:undo:after:1",
    "tasks.onboard.offboarding:switch_off:after:1",
    "tasks.onboard.offboarding:forget_unit:after:1",
    "tasks.onboard.leaving:note_leaving:after:1",
    "tasks.provider.ack:Ack.remove_node:before:1",
)
AT_THE_END = (
    "tasks.provider.ack:Ack.remove_node:after:1",
    "tasks.onboard.offboarding:delete_node:after:1",
    "tasks.onboard.offboarding:Offboarding.prove:after:1",
    "tasks.runs.answer:Answer.write:before:1",
)
PLACES = (*BEFORE_ANYTHING, *ON_THE_WAY, *AT_THE_END)
FENCE = {"var/lib/poolkeeper/generation", "var/lib/poolkeeper/generation.lock"}
"""What stays on a host, so that a run which was left behind does not touch it any more."""
RECOVERED = ON_THE_WAY[1::3]
"""Some are finished by `recover` in place of a run of their own."""


def roomy(document: Json) -> None:
    for part in (*document["pools"].values(), *document["domains"].values()):
        part["max_unavailable"] = "100%"


def run(flow: str, **parameters: str) -> list[str]:
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
    return ["run", flow, *words, "-p", "dry_run=false"]


def kill(cluster: Cluster, host: str, place: str) -> None:
    """Run offboarding of one host and see it die at a place."""
    ended = cluster.python("-m", "tests.e2e.killed_run", place, *run("offboard", hosts=host))
    assert ended.code == SIGKILL, f"{place} was not reached: {ended.out[-500:]} {ended.err[-2000:]}"


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


@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_in_the_code(place: str) -> None:
    """A place that was renamed would otherwise only be noticed after minutes."""
    assert re.fullmatch(r"[\w.]+:[\w.]+:(before|after):[1-9]", place)
    assert callable(getattr(*find(place)))
