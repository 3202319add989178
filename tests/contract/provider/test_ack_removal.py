"""How a node leaves ACK's list, and the vendor's reset behind a look at what is mounted."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from poolkeeper.tasks.provider import OutcomeUnknown
from poolkeeper.tasks.provider.ack import Ack
from tests.contract.cluster.faulty import FaultyServer
from tests.contract.hosts.machines import SHELLS, Machine
from tests.contract.provider.conftest import DEADLINE_S, HOST, ack_at, refused

Start = Callable[..., Awaitable[Ack]]
Json = dict[str, Any]

HERE: Json = {"node_name": HOST.node_name, "instance_id": "i-7", "state": "running"}
REMOVING: Json = {**HERE, "state": "removing"}
SOMEONE_ELSE: Json = {**HERE, "node_name": "other"}
CLUSTER_PATH = "/clusters/c-poolkeeper-lab"


class Listing(FaultyServer):
    """Lists nodes as they come, the last list for ever; takes removals and tells of their task."""

    def __init__(self, *lists: list[Json], removal: Any = None, task: Json | None = None) -> None:
        super().__init__()
        self.lists = list(lists)
        self.removal = {"task_id": "T-1"} if removal is None else removal
        self.task = task or {"state": "success"}
        self.removals: list[tuple[str, str, Json]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET" and request.path.endswith("/nodes"):
            return web.json_response({"nodes": self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]})
        if request.method == "GET":
            return web.json_response(self.task)
        given = json.loads(await request.text() or "{}") or dict(request.query)
        self.removals.append((request.method, request.path, given))
        if isinstance(self.removal, int):
            return web.json_response({"code": "NotSupported", "message": "No hybrid pools."}, status=self.removal)
        return web.json_response(self.removal)


async def removed(ack: Ack) -> str:
    async with asyncio.timeout(DEADLINE_S):
        return await ack.remove_node(HOST)


@pytest.mark.parametrize(
    ("removal", "method", "path", "given"),
    [
        pytest.param(
            "cluster",
            "POST",
            f"{CLUSTER_PATH}/nodes",
            {"nodes": [HOST.node_name], "drain_node": False, "release_node": False},
            id="DeleteClusterNodes, by its node name",
        ),
        pytest.param(
            "pool",
            "DELETE",
            f"{CLUSTER_PATH}/nodepools/np-general/nodes",
            {"instance_ids": '["i-7"]', "drain_node": "false", "release_node": "false"},
            id="RemoveNodePoolNodes, by the instance id that is listed",
        ),
    ],
)
async def test_by_which_call(faulty: Start, removal: str, method: str, path: str, given: Json) -> None:
    server = Listing([HERE])
    ack = await faulty(server, removal=removal)
    assert await ack.lists_node(HOST)
    assert await removed(ack) == ""
    assert server.removals == [(method, path, given)]


@pytest.mark.parametrize(
    ("lists", "more", "why", "calls"),
    [
        pytest.param([[]], {}, "", 0, id="not listed"),
        pytest.param([[SOMEONE_ELSE]], {}, "", 0, id="a filter that is passed over"),
        pytest.param([[REMOVING], [REMOVING], []], {}, "", 0, id="an earlier call is waited for"),
        pytest.param([[REMOVING], [HERE]], {}, "", 1, id="an earlier call that came to nothing"),
        pytest.param(
            [[HERE]],
            {"task": {"state": "fail", "error": {"code": "NodeBusy", "message": "pods run"}}},
            "task T-1 ended as fail: NodeBusy pods run",
            1,
            id="a task that fails",
        ),
    ],
)
async def test_how_a_removal_ends(faulty: Start, lists: Any, more: Any, why: str, calls: int) -> None:
    server = Listing(*lists, **more)
    assert await removed(await faulty(server)) == why
    assert len(server.removals) == calls


async def test_a_refusal_is_told_in_acks_words(faulty: Start) -> None:
    error = await refused(removed(await faulty(Listing([HERE], removal=400))))
    assert "DeleteClusterNodes: NotSupported" in error.summary


async def test_answers_that_are_none(faulty: Start) -> None:
    assert isinstance(await refused(removed(await faulty(Listing([HERE], removal={})))), OutcomeUnknown)
    listing = Listing([])
    listing.lists = [None]  # type: ignore[list-item]
    await refused(removed(await faulty(listing)))


async def test_without_a_call_there_is_no_list(faulty: Start) -> None:
    server = Listing([HERE])
    ack = await faulty(server, removal="none")
    assert not await ack.lists_node(HOST)
    assert await removed(ack) == ""
    assert server.removals == []


SUBPATH = "/dev/vda1 /var/lib/kubelet/pods/p1/volume-subpaths/etc/c/0 ext4 rw 0 0"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("mounts", "is_reset"),
    [
        pytest.param([], True, id="nothing"),
        pytest.param([SUBPATH], False, id="a folder of the host"),
        pytest.param(["tmpfs /var/lib/kubelet/pods/p1/volumes/x tmpfs rw 0 0"], True, id="a token, in memory"),
        pytest.param(["tmpfs /var/lib/kubelet/pods/p1/a tmpfs rw 0 0", SUBPATH], False, id="both"),
        pytest.param(["/dev/vdb /var/lib/kubelet xfs rw 0 0"], True, id="its own disk"),
        pytest.param(["nas:/v /var/lib/kubelet2/pods nfs4 rw 0 0"], True, id="beside it"),
        pytest.param(["nas:/v /data/kubelet/pods/p1/v nfs4 rw 0 0"], True, id="elsewhere"),
    ],
)
def test_a_reset_does_not_delete_through_a_mount(tmp_path: Path, shell: str, mounts: list[str], is_reset: bool) -> None:
    machine = Machine(tmp_path, shell=shell)
    machine.put("/var/lib/kubelet/pods/p1/file")
    check(machine, mounts, is_reset)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_linked_folder_is_known_by_where_it_is(tmp_path: Path, shell: str) -> None:
    machine = Machine(tmp_path, shell=shell)
    machine.put("/data/kubelet/pods/p1/file")
    machine.at("/var/lib/kubelet").symlink_to(machine.at("/data/kubelet"))
    check(machine, ["nas:/v /data/kubelet/pods/p1/v nfs4 rw 0 0"], False)
    check(machine, ["nas:/v /var/lib/kubelet2 nfs4 rw 0 0"], True)


def test_mounts_that_cannot_be_read(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.at("/proc/mounts").unlink()
    ended = run(machine)
    assert (ended.returncode, ended.stderr) == (1, "the mounts cannot be read, so nothing is removed\n")
    assert not machine.has("/reset")


def check(machine: Machine, mounts: list[str], is_reset: bool) -> None:
    machine.at("/reset").unlink(missing_ok=True)
    machine.mounts("/dev/vda1 / ext4 rw 0 0", *mounts)
    ended = run(machine)
    assert (ended.returncode == 0, machine.has("/reset")) == (is_reset, is_reset), ended.stderr


def run(machine: Machine) -> subprocess.CompletedProcess[str]:
    """The script that leaves a host, on it."""
    script = ack_at("127.0.0.1:1", reset_command='touch "$POOLKEEPER_ROOT/reset"').leave_script(HOST).reveal()
    environment = {"PATH": str(machine.programs), "POOLKEEPER_ROOT": str(machine.root)}
    command = [os.path.join(machine.programs, "sh"), "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10, check=False)
