"""`poolkeeper release`, `hold` and `unhold`, as a person types them, against a real API server's answers."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.claims import Claim, Phase, claim_node, update_claim
from poolkeeper.tasks.cluster.leases import acquire_lease, list_leases
from poolkeeper.tasks.cluster.nodes import PATH, list_nodes
from poolkeeper.tasks.cluster.stops import read_stops
from poolkeeper.tasks.rollout.goal import Goal
from poolkeeper.tasks.rollout.rollout_state import Intent, begun, intents_by, with_intent
from tests.contract.cluster.conftest import SomeoneIsQuicker
from tests.unit.fleet.builders import a_file, changed

POOLKEEPER = Path(sys.executable).with_name("poolkeeper")
CLAIM = Claim("0123456789ab", "upgrade", {}, "run-1", 7, Phase.DRAINING, "2026-05-01T00:00:00+00:00")


class Typed:
    """A command that was typed, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def asks(self) -> str:
        """What it has said on stderr when it waits for a yes."""
        assert self._process.stderr is not None
        async with asyncio.timeout(30):
            return (await self._process.stderr.readuntil(b"[y/N]:")).decode()

    async def ends(self, answer: str = "") -> tuple[int, str, str]:
        """Its exit code, stdout and stderr, after that answer."""
        async with asyncio.timeout(30):
            out, err = await self._process.communicate(answer.encode())
        return self._process.returncode or 0, out.decode(), err.decode()


Type = Callable[..., Any]


@pytest.fixture
def poolkeeper(api: Any, tmp_path: Path) -> Type:
    """Types a command in a folder whose fleet file knows the cluster: host n01 is node `node-1`."""
    a_file(
        tmp_path,
        changed(
            ("{env: MAIN_KUBECONFIG}", f"{{file: {api.kubeconfig}}}"),
            ("n01: {address: 10.1.0.11,", "n01: {address: 10.1.0.11, node_name: node-1,"),
        ),
    )

    async def typed(*arguments: str) -> Typed:
        process = await asyncio.create_subprocess_exec(
            POOLKEEPER,
            *arguments,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return Typed(process)

    return typed


async def draining(cluster: ClusterApi, *names: str) -> None:
    """Nodes that a rollout is draining."""
    for name in names:
        await cluster.request("POST", PATH, body={"metadata": {"name": name}})
        await claim_node(cluster, name, CLAIM)


async def cordoned(cluster: ClusterApi) -> list[str]:
    return [name for name, node in (await list_nodes(cluster)).items() if node.unschedulable]


async def test_what_a_run_has_gone_on_with_while_the_question_stood_is_left(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, poolkeeper: Type
) -> None:
    await draining(cluster, "node-1", "node-2")
    release = await poolkeeper("release")
    await release.asks()
    await update_claim(cluster, "node-1", replace(CLAIM, phase=Phase.CHANGING))
    code, out, _ = await release.ends("y\n")
    assert code == 1
    assert out.splitlines()[-2:] == [
        "node node-1 is in phase changing now, and no longer in phase draining: it is not released;"
        " `poolkeeper release node-1` releases it in any phase",
        "released: 1",
    ]
    assert await cordoned(cluster) == ["node-1"]


async def test_a_node_that_is_named_is_given_back_however_far_it_has_come(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, poolkeeper: Type
) -> None:
    await draining(cluster, "node-1")
    release = await poolkeeper("release", "node-1")
    await release.asks()
    await update_claim(cluster, "node-1", replace(CLAIM, phase=Phase.FAILED))
    code, out, _ = await release.ends("y\n")
    assert (code, out.splitlines()[-1]) == (0, "released: 1")
    assert await cordoned(cluster) == []


GOAL = Goal("upgrade", "general", {"kubernetes": "1.36.3"})


async def test_what_a_rollout_has_begun_on_a_named_node_is_forgotten(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, poolkeeper: Type
) -> None:
    """Also where that Node is gone: nobody is to finish it any more. What was begun on others stays."""
    embedded.store.create("namespaces", {"metadata": {"name": "poolkeeper"}})
    await draining(cluster, "node-1")
    nodes = {"n01": "node-1", "n02": "node-2", "n03": "node-3"}
    held = await acquire_lease(cluster, "pool-general", "run-1", note=lambda _: begun({}, GOAL, {}, datetime.now(UTC)))
    for host, node in nodes.items():
        intent = Intent.of(node, None)
        await held.change(partial(with_intent, rollout=GOAL.id, host=host, intent=intent))
    await held.release(lambda note: note)
    for node in ("node-1", "node-2"):
        code, out, _ = await (await poolkeeper("release", node, "--yes")).ends()
        assert (code, out.splitlines()[-1]) == (0, "released: 1")
    assert "intent node-2: upgrade {'kubernetes': '1.36.3'} was started on host n02" in out
    (lease,) = (await list_leases(cluster)).values()
    assert list(intents_by(lease.note, GOAL.id)) == ["n03"]
    code, out, _ = await (await poolkeeper("release", "--yes")).ends()
    assert code == 0
    assert "no Node has its claim (released only if the node is named)" in out
    assert await cordoned(cluster) == []


async def test_a_name_of_no_node_is_bad_input_and_nothing_is_given_back(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, poolkeeper: Type
) -> None:
    await draining(cluster, "node-1")
    code, out, err = await (await poolkeeper("release", "node-1", "nod-1", "else", "--yes")).ends()
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "there is no node nod-1: did you mean node-1?",
        "there is no node else: run `kubectl get nodes` for the names.",
    ]
    assert await cordoned(cluster) == ["node-1"]


async def test_a_server_that_goes_away_half_way_does_not_hide_what_was_given_back(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, poolkeeper: Type
) -> None:
    await draining(cluster, "node-1", "node-2", "node-3")
    embedded.meddle = lambda: setattr(embedded.faults, "down", True)  # after this first patch
    code, out, _ = await (await poolkeeper("release", "--yes")).ends()
    embedded.faults.down = False
    second, third, given = out.splitlines()[-3:]
    assert second.startswith("node node-2 may not be released: the API server at ")
    assert third.startswith("node node-3 may not be released: the API server at ")
    assert (code, given) == (1, "released: 1")
    assert await cordoned(cluster) == ["node-2", "node-3"]


@pytest.mark.parametrize("word", [["hold", "--reason", "disk swap"], ["unhold"]], ids=lambda word: word[0])
async def test_the_name_of_a_host_whose_node_has_another_one_holds_nothing(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, poolkeeper: Type, word: list[str]
) -> None:
    code, out, err = await (await poolkeeper(*word, "n01")).ends()
    assert (code, out) == (2, "")
    assert err.strip() == f"n01 is a host, and its node is named node-1: `poolkeeper {word[0]} node-1`"
    assert (await read_stops(cluster)).holds == {}


@pytest.mark.parametrize(
    "node",
    [
        pytest.param("node-1", id="a node's own name"),
        pytest.param("n02", id="a host and its node have one name"),
        pytest.param("cloud-1", id="no host of the fleet"),
    ],
)
async def test_hold_and_unhold(embedded: SomeoneIsQuicker, cluster: ClusterApi, poolkeeper: Type, node: str) -> None:
    await cluster.request("POST", PATH, body={"metadata": {"name": "cloud-1"}})
    assert (await (await poolkeeper("hold", node, "--reason", "disk swap")).ends())[0] == 0
    assert list((await read_stops(cluster)).holds) == [node]
    assert (await (await poolkeeper("unhold", node)).ends())[:2] == (0, f"{node} is not held any more\n")


async def test_a_name_that_is_mistyped_holds_nothing(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, poolkeeper: Type
) -> None:
    code, out, err = await (await poolkeeper("hold", "node-l", "--reason", "disk swap")).ends()
    told = "there is no node node-l, neither in the cluster nor in the fleet file. Did you mean node-1?"
    assert (code, out, err.strip()) == (2, "", told)
    assert (await read_stops(cluster)).holds == {}


async def test_a_host_name_that_is_another_hosts_node_name_means_that_node(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, poolkeeper: Type, tmp_path: Path
) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(fleet.read_text().replace("n03: {", "n03: {node_name: n01, "))
    assert (await (await poolkeeper("hold", "n01", "--reason", "disk swap")).ends())[0] == 0
    assert list((await read_stops(cluster)).holds) == ["n01"]
