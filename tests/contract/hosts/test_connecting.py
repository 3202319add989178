"""From nothing to a login: ports and lines that do not do what a host's should."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from poolkeeper.tasks.hosts import Sessions, errors
from tests.contract.hosts.conftest import World
from tests.contract.hosts.servers import HangsInLogin
from tests.contract.hosts.wires import full_backlog, nothing_listens, saying, wire_to


async def test_connection_refused(world: World, sessions: Sessions) -> None:
    with nothing_listens() as port, pytest.raises(errors.ConnectRefused):
        await sessions.run(world.host(port), "true")


async def test_refused_at_every_address_of_a_name(
    world: World, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio tells such errors in a text of its own; both families are tried."""
    loop = asyncio.get_running_loop()

    async def both(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(loop, "getaddrinfo", both)
    with nothing_listens() as port, pytest.raises(errors.ConnectRefused):
        await sessions.run(world.host(port, address="both.example"), "true")


async def test_no_route(world: World, sessions: Sessions) -> None:
    """To the broadcast address the system itself says no; nothing is sent."""
    with pytest.raises(errors.Unreachable):
        await sessions.run(world.host(22, address="255.255.255.255"), "true")


async def test_nobody_takes_the_connection(world: World, sessions: Sessions) -> None:
    with full_backlog() as port:
        start = time.monotonic()
        with pytest.raises(errors.ConnectTimeout, match=r"within 0\.4 s"):
            await sessions.run(world.host(port, connect_timeout_s=0.4, login_timeout_s=5), "true")
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"], ids=["silent", "only a banner"])
async def test_connection_but_no_login(world: World, sessions: Sessions, words: bytes) -> None:
    async with saying(words) as port:
        with pytest.raises(errors.LoginTimeout, match=r"within 0\.4 s"):
            await sessions.run(world.host(port, connect_timeout_s=5, login_timeout_s=0.4), "true")


async def test_hangs_in_login(world: World, sessions: Sessions) -> None:
    async with world.server(HangsInLogin) as server:
        with pytest.raises(errors.LoginTimeout):
            await sessions.run(world.host(server.port, login_timeout_s=0.4), "true")
        await server.seen.until(lambda seen: seen.open == 0)


@pytest.mark.parametrize(
    "words",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 70_000, b"x" * 70_000],
    ids=["HTTP", "zeros", "one long line"],
)
async def test_something_else_answers(world: World, sessions: Sessions, words: bytes) -> None:
    async with saying(words) as port:
        with pytest.raises(errors.HostError):
            await sessions.run(world.host(port, login_timeout_s=0.5), "true")


@pytest.mark.parametrize("address", ["no-such-host.invalid", "a..b", "x" * 70, "ho st", "höst..", ""])
async def test_address_that_is_no_name(world: World, sessions: Sessions, address: str) -> None:
    with pytest.raises(errors.HostError):
        await sessions.run(world.host(1, address=address, connect_timeout_s=5), "true")


@pytest.mark.parametrize("times", [1, 3])
async def test_a_dropped_newcomer_comes_again(world: World, sessions: Sessions, times: int) -> None:
    async with world.server() as server, wire_to(server.port) as wire:
        world.through(wire.port, server)
        wire.drop_next = times
        assert (await sessions.run(world.host(wire.port), "echo in")).stdout == "in\n"
        assert wire.seen.connections == times + 1
        assert len(server.seen.programs) == 1


async def test_who_is_always_dropped_stays_out(world: World, sessions: Sessions) -> None:
    async with world.server() as server, wire_to(server.port) as wire:
        world.through(wire.port, server)
        wire.drop_next = 5
        with pytest.raises(errors.ConnectRefused, match="dropped the connection"):
            await sessions.run(world.host(wire.port), "true")
        assert wire.seen.connections == 4


async def test_a_refusal_is_not_tried_again(world: World, sessions: Sessions) -> None:
    async with world.server(lets_in=False) as server:
        with pytest.raises(errors.AuthRefused):
            await sessions.run(world.host(server.port), "true")
        assert server.seen.connections == 1


async def test_findings_name_cause_and_next_step(world: World, sessions: Sessions) -> None:
    from poolkeeper.tasks.outcomes import Severity, Subject

    with nothing_listens() as port, pytest.raises(errors.HostError) as caught:
        await sessions.run(world.host(port), "true")
    finding = caught.value.finding(Subject("host", "fra1-n01"))
    assert (finding.id, finding.severity) == ("hosts.ssh.refused", Severity.BLOCKER)
    assert str(port) in finding.evidence.observed
    assert finding.next_step
