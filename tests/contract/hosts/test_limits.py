"""How much at once: handshakes and open sessions per site and in all, counted by the servers; and leaving nothing."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack

import pytest

from poolkeeper.tasks.fleet.model import SshLimits
from poolkeeper.tasks.hosts import Sessions, errors
from tests.contract.hosts.conftest import World, open_sessions, site_of
from tests.contract.hosts.servers import HangsAfterLogin, HangsInLogin, Obliging, Seen
from tests.contract.hosts.wires import saying


class SlowToLogIn(Obliging):
    """Lets nobody in before as many as may be there at once are there, or nobody else comes."""

    async def begin_auth(self, username: str) -> bool:
        for _ in range(20):  # turns of the loop in which others would have come, if they were let
            await asyncio.sleep(0)
        return True


async def test_handshakes_per_site_and_in_all(world: World) -> None:
    in_all = Seen()
    async with (
        world.server(SlowToLogIn, seen=in_all) as server,
        open_sessions(SshLimits(handshakes=5, sessions=100)) as sessions,
    ):
        sites = [site_of(f"site{number}", handshakes=3) for number in range(3)]
        hosts = [
            world.host(server.port, f"{site.name}-n{number:02}", site=site) for site in sites for number in range(10)
        ]
        await asyncio.gather(*(sessions.run(host, "true") for host in hosts))
        assert in_all.connections == 30
        assert in_all.most_handshaking <= 5


async def test_handshakes_of_one_site(world: World) -> None:
    async with world.server(SlowToLogIn) as server, open_sessions() as sessions:
        site = site_of("small", handshakes=3)
        hosts = [world.host(server.port, f"n{number:02}", site=site) for number in range(15)]
        await asyncio.gather(*(sessions.run(host, "true") for host in hosts))
        assert server.seen.most_handshaking <= 3


@pytest.mark.parametrize(
    ("per_site", "in_all", "most"), [(4, 100, 8), (100, 5, 5)], ids=["each site's", "of all sites"]
)
async def test_open_sessions(world: World, per_site: int, in_all: int, most: int) -> None:
    limits = SshLimits(handshakes=32, sessions=in_all)
    async with world.server() as server, open_sessions(limits) as sessions:
        sites = [site_of("a", sessions=per_site), site_of("b", sessions=per_site)]
        hosts = [
            world.host(server.port, f"{site.name}{number:02}", site=site) for site in sites for number in range(12)
        ]
        answers = await asyncio.gather(*(sessions.run(host, f"echo {host.name}") for host in hosts))
        assert [answer.stdout.strip() for answer in answers] == [host.name for host in hosts]
        # a connection that gave way may be closed a moment after its successor has begun
        assert server.seen.most_open <= most + 4


async def test_idle_connection_gives_way_and_a_busy_one_does_not(world: World) -> None:
    async with AsyncExitStack() as stack:
        busy = await stack.enter_async_context(world.server(HangsAfterLogin))
        idle = await stack.enter_async_context(world.server())
        other = await stack.enter_async_context(world.server())
        sessions = await stack.enter_async_context(open_sessions(SshLimits(32, 2)))
        hanging = asyncio.create_task(sessions.run(world.host(busy.port, "busy"), "sleep 60"))
        await busy.seen.until(lambda seen: len(seen.programs) == 1)
        await sessions.run(world.host(idle.port, "idle"), "true")
        await sessions.run(world.host(other.port, "other"), "true")
        await idle.seen.until(lambda seen: seen.open == 0)
        assert busy.seen.open == 1
        assert not hanging.done()
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)


async def test_waiting_for_room_counts_against_no_deadline(world: World) -> None:
    async with world.server() as server, open_sessions(SshLimits(32, 1)) as sessions:
        hosts = [
            world.host(server.port, f"n{number}", command_timeout_s=0.9, connect_timeout_s=0.9) for number in range(4)
        ]
        answers = await asyncio.gather(*(sessions.run(host, "sleep 0.4; echo in") for host in hosts))
        assert {answer.stdout for answer in answers} == {"in\n"}


async def test_dead_hosts_cost_the_others_only_their_slots(world: World) -> None:
    """12 dead ones, 4 slots: 3 login deadlines, and everybody else is served."""
    async with saying(b"") as dead, world.server() as server, open_sessions() as sessions:
        site = site_of("mixed", handshakes=4)
        hosts = [
            world.host(dead if number < 12 else server.port, f"n{number:02}", site=site, login_timeout_s=0.5)
            for number in range(40)
        ]
        start = asyncio.get_running_loop().time()
        outcomes = await asyncio.gather(*(sessions.run(host, "echo in") for host in hosts), return_exceptions=True)
        assert asyncio.get_running_loop().time() - start < 3 * 0.5 + 3
        assert [type(outcome) for outcome in outcomes[:12]] == [errors.LoginTimeout] * 12
        assert not [outcome for outcome in outcomes[12:] if isinstance(outcome, BaseException)]


@pytest.mark.parametrize("behaviour", [HangsInLogin, HangsAfterLogin], ids=["in login", "in a command"])
async def test_cancellation_leaves_nothing(world: World, behaviour: type[Obliging]) -> None:
    async with world.server(behaviour) as server:
        descriptors, tasks = len(os.listdir("/proc/self/fd")), asyncio.all_tasks()
        async with open_sessions(SshLimits(4, 6)) as sessions:
            running = [
                asyncio.create_task(sessions.run(world.host(server.port, f"n{number:02}"), "true"))
                for number in range(10)
            ]
            expected = 4 if behaviour is HangsInLogin else 6
            await server.seen.until(lambda seen: seen.connections == expected)
            for task in running:
                task.cancel()
            assert {type(outcome) for outcome in await asyncio.gather(*running, return_exceptions=True)} == {
                asyncio.CancelledError
            }
        await server.seen.until(lambda seen: seen.open == 0)
        left = [task for task in asyncio.all_tasks() - tasks if "/tasks/hosts/" in _file_of(task)]
        assert not left
        assert len(os.listdir("/proc/self/fd")) <= descriptors


def _file_of(task: asyncio.Task[object]) -> str:
    return task.get_coro().cr_code.co_filename


async def test_slots_come_back_after_cancellation(world: World) -> None:
    async with (
        world.server(HangsInLogin) as hanging,
        world.server() as server,
        open_sessions(SshLimits(2, 2)) as sessions,
    ):
        running = [
            asyncio.create_task(sessions.run(world.host(hanging.port, f"h{number}"), "true")) for number in range(6)
        ]
        await hanging.seen.until(lambda seen: seen.connections == 2)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        hosts = [world.host(server.port, f"n{number}") for number in range(4)]
        async with asyncio.timeout(10):
            await asyncio.gather(*(sessions.run(host, "true") for host in hosts))


async def test_closing_ends_what_runs_and_what_waits(world: World) -> None:
    async with world.server(HangsAfterLogin) as server:
        sessions = open_sessions(SshLimits(4, 2))
        running = [
            asyncio.create_task(sessions.run(world.host(server.port, f"n{number}"), "true")) for number in range(4)
        ]
        await server.seen.until(lambda seen: len(seen.programs) == 2)
        await sessions.close()
        outcomes = await asyncio.gather(*running, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {errors.ConnectionLost}
        await server.seen.until(lambda seen: seen.open == 0)


async def test_closing_twice(world: World, sessions: Sessions) -> None:
    async with world.server() as server:
        await sessions.run(world.host(server.port), "true")
        await sessions.close()
        await sessions.close()
        with pytest.raises(RuntimeError):
            await sessions.run(world.host(server.port), "true")
