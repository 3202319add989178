"""Hosts behind a jump host: one login there for all, and its failures told as its own."""

from __future__ import annotations

import asyncio
import time

import asyncssh
import pytest

from poolkeeper.tasks.fleet.model import SshJump
from poolkeeper.tasks.hosts import Sessions, errors
from tests.contract.hosts.conftest import World
from tests.contract.hosts.servers import HangsInLogin, Obliging
from tests.contract.hosts.wires import nothing_listens, saying, wire_to


class Jump(Obliging):
    """Passes connections on."""

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True


def answering(reason: str) -> type[Obliging]:
    """One that could not connect, in the words of its sshd."""

    class CannotConnect(Obliging):
        def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, reason)

    return CannotConnect


class ForwardsNothing(Obliging):
    """As sshd with AllowTcpForwarding no."""

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "open failed")


def jump_at(port: int) -> SshJump:
    return SshJump("127.0.0.1", port, "ops")


async def test_many_hosts_over_one_connection(world: World, sessions: Sessions) -> None:
    async with world.server(Jump) as jump, world.server() as server:
        hosts = [world.host(server.port, f"n{number:02}", jump=jump_at(jump.port)) for number in range(10)]
        answers = await asyncio.gather(*(sessions.run(host, "echo in") for host in hosts))
        assert {answer.stdout for answer in answers} == {"in\n"}
        assert jump.seen.connections == 1
        assert server.seen.connections == 10


async def test_host_key_behind_it_is_checked(world: World, sessions: Sessions) -> None:
    async with world.server(Jump) as jump, world.server(trusted=False) as server:
        with pytest.raises(errors.HostKeyUnknown):
            await sessions.run(world.host(server.port, jump=jump_at(jump.port)), "true")


async def test_jump_hosts_own_key_is_checked(world: World, sessions: Sessions) -> None:
    async with world.server(Jump, trusted=False) as jump, world.server() as server:
        with pytest.raises(errors.JumpFailed, match="known_hosts has no key") as caught:
            await sessions.run(world.host(server.port, jump=jump_at(jump.port)), "true")
        assert "ssh-keyscan" in caught.value.next_step
        assert server.seen.connections == 0


async def test_trust_of_one_site_does_not_vouch_for_another(world: World, sessions: Sessions) -> None:
    async with world.server(Jump) as jump, world.server() as server:
        await sessions.run(world.host(server.port, jump=jump_at(jump.port)), "true")
        only_host = world.folder / "only-host"
        only_host.write_text(server.known_hosts_line())
        other = world.host(server.port, "n2", jump=jump_at(jump.port), known_hosts=only_host)
        with pytest.raises(errors.JumpFailed):
            await sessions.run(other, "true")


async def test_dead_jump_host_costs_all_behind_it_one_deadline(world: World, sessions: Sessions) -> None:
    async with saying(b"") as dead:
        hosts = [world.host(1, f"n{number:02}", jump=jump_at(dead), login_timeout_s=0.5) for number in range(10)]
        start = time.monotonic()
        outcomes = await asyncio.gather(*(sessions.run(host, "true") for host in hosts), return_exceptions=True)
        assert time.monotonic() - start < 2
    assert {type(outcome) for outcome in outcomes} == {errors.JumpFailed}


async def test_jump_host_refuses_connections(world: World, sessions: Sessions) -> None:
    with nothing_listens() as port, pytest.raises(errors.JumpFailed, match="refused"):
        await sessions.run(world.host(1, jump=jump_at(port)), "true")


async def test_jump_host_refuses_our_key(world: World, sessions: Sessions) -> None:
    async with world.server(Jump, lets_in=False) as jump:
        with pytest.raises(errors.JumpFailed, match="refused ops"):
            await sessions.run(world.host(1, jump=jump_at(jump.port)), "true")


async def test_jump_host_does_not_forward(world: World, sessions: Sessions) -> None:
    async with world.server(ForwardsNothing) as jump:
        with pytest.raises(errors.JumpFailed) as caught:
            await sessions.run(world.host(1, jump=jump_at(jump.port)), "true")
        assert "AllowTcpForwarding" in caught.value.next_step


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        pytest.param("Connection refused", errors.ConnectRefused, id="refused"),
        pytest.param("No route to host", errors.Unreachable, id="no route"),
        pytest.param("Network is unreachable", errors.Unreachable, id="no network"),
        pytest.param("Host is unreachable", errors.Unreachable, id="no route, in musl's words"),
        pytest.param("Connection timed out", errors.ConnectTimeout, id="no answer"),
        pytest.param("Operation timed out", errors.ConnectTimeout, id="no answer, in BSD's and musl's words"),
        pytest.param("Name or service not known", errors.HostError, id="no such name there"),
        pytest.param("open failed", errors.HostError, id="sshd does not say"),
        pytest.param("Connect failed", errors.HostError, id="another server does not say"),
        pytest.param("", errors.HostError, id="Dropbear says nothing"),
    ],
)
async def test_host_behind_it_cannot_be_reached(
    world: World, sessions: Sessions, reason: str, kind: type[errors.HostError]
) -> None:
    async with world.server(answering(reason)) as jump:
        with pytest.raises(errors.HostError, match="jump host cannot connect") as caught:
            await sessions.run(world.host(1, jump=jump_at(jump.port)), "true")
    assert type(caught.value) is kind
    assert "from the jump host" in caught.value.next_step


async def test_host_behind_it_hangs_and_the_others_do_not(world: World, sessions: Sessions) -> None:
    async with world.server(Jump) as jump, world.server(HangsInLogin) as bad, world.server() as good:
        via = jump_at(jump.port)
        outcomes = await asyncio.gather(
            sessions.run(world.host(bad.port, "bad", jump=via, login_timeout_s=0.5), "true"),
            sessions.run(world.host(good.port, "good", jump=via), "echo in"),
            return_exceptions=True,
        )
        assert isinstance(outcomes[0], errors.LoginTimeout)
        assert not isinstance(outcomes[1], BaseException)
        assert jump.seen.connections == 1


async def test_line_to_the_jump_host_breaks_and_is_made_anew(world: World, sessions: Sessions) -> None:
    async with world.server(Jump) as jump, world.server() as server, wire_to(jump.port) as wire:
        world.through(wire.port, jump)
        host = world.host(server.port, jump=jump_at(wire.port))
        await sessions.run(host, "true")
        wire.cut()
        assert (await sessions.run(host, "echo again")).stdout == "again\n"
        assert jump.seen.connections == 2


async def test_closing_ends_the_jump_hosts_connection(world: World, sessions: Sessions) -> None:
    async with world.server(Jump) as jump, world.server() as server:
        await sessions.run(world.host(server.port, jump=jump_at(jump.port)), "true")
        await sessions.close()
        await server.seen.until(lambda seen: seen.open == 0)
        await jump.seen.until(lambda seen: seen.open == 0)
