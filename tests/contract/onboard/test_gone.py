"""What a machine looks like that the operator says is gone: it is silent, or something is there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from tasks.fleet.model import KubeadmProvider
from tasks.hosts import FactsRequest
from tasks.onboard.leavers import MayNotLeave
from tasks.onboard.offboarding import Offboarding
from tasks.outcomes import Gate, Subject
from tasks.provider.kubeadm import Kubeadm
from tests.contract.hosts.conftest import POOL, World, open_sessions

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


async def is_gone(world: World, port: int) -> bool:
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
        return await leaving.at_goal(world.host(port, connect_timeout_s=0.5), None)


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
