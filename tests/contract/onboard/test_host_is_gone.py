"""What a machine looks like that the operator says is gone: it is silent, or something is there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from poolkeeper.tasks.fleet.model import KubeadmProvider, SshJump
from poolkeeper.tasks.hosts import FactsRequest
from poolkeeper.tasks.onboard.offboard_checks import MayNotLeave
from poolkeeper.tasks.onboard.offboarding import Offboarding
from poolkeeper.tasks.outcomes import Gate, Subject
from poolkeeper.tasks.provider.kubeadm import Kubeadm
from tests.contract.hosts.conftest import POOL, World, open_sessions
from tests.contract.hosts.test_jump_hosts import answering, jump_at

NO_CLUSTER = cast(Any, None)
"""It is not asked: there is no Node, and kubeadm keeps no list."""


@contextmanager
def silent_port() -> Iterator[int]:
    """A port whose connections nobody takes, and that has no room for another: the kernel drops what comes."""
    with socket.socket() as listener, socket.socket() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting.connect(listener.getsockname())
        yield listener.getsockname()[1]


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that nobody listens at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def is_gone(world: World, port: int, jump: SshJump | None = None) -> bool:
    async with open_sessions() as sessions:
        leaving = Offboarding(
            api=NO_CLUSTER,
            sessions=sessions,
            provider=Kubeadm(POOL.cluster, KubeadmProvider(), NO_CLUSTER),
            gate=Gate(),
            recorder=NO_CLUSTER,
            request=FactsRequest(),
            host_is_gone=True,
        )
        return await leaving.at_goal(world.host(port, jump=jump, connect_timeout_s=0.5), None)


async def test_a_silent_machine_may_be_gone(tmp_path: Path) -> None:
    with silent_port() as port:
        assert await is_gone(World(tmp_path), port)


async def test_a_refused_connection_is_an_answer(tmp_path: Path) -> None:
    """Whatever sends a reset is alive: a machine whose sshd is down, or a firewall before it."""
    with closed_port() as port, pytest.raises(MayNotLeave) as refused:
        await is_gone(World(tmp_path), port)
    finding = refused.value.finding(Subject("host", "fra1-n01"))
    assert finding.id == "offboard.host.not-silent"
    assert "refused" in finding.evidence.observed.lower()


@pytest.mark.parametrize("reason", ["No route to host", "Connection timed out"])
async def test_a_machine_that_its_jump_host_hears_nothing_of_may_be_gone(tmp_path: Path, reason: str) -> None:
    world = World(tmp_path)
    async with world.server(answering(reason)) as jump:
        assert await is_gone(world, 22, jump_at(jump.port))


@pytest.mark.parametrize("reason", ["Connection refused", "Name or service not known", "open failed", ""])
async def test_what_else_a_jump_host_says_is_no_silence(tmp_path: Path, reason: str) -> None:
    world = World(tmp_path)
    async with world.server(answering(reason)) as jump:
        with pytest.raises(MayNotLeave) as refused:
            await is_gone(world, 22, jump_at(jump.port))
    assert refused.value.finding(Subject("host", "fra1-n01")).id == "offboard.host.not-silent"
