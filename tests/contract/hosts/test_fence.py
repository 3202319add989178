"""Fencing tokens on a real shell, with flock and without: the greatest number stays, whoever comes at the same moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import HostError, Sessions
from poolkeeper.tasks.hosts.fence import (
    FencedOff,
    HostIntent,
    fence_earlier_runs,
    forget_intent,
    read_intent,
    write_fence,
)
from poolkeeper.tasks.outcomes import Known, Unknown
from tests.contract.hosts.conftest import World
from tests.contract.hosts.fences import INTENT, fence
from tests.contract.hosts.machines import SHELLS, TOOLS, Machine

FILE = "var/lib/poolkeeper/fencing-token"
WITH, WITHOUT = (*TOOLS, "flock"), TOOLS
BOTH = pytest.mark.parametrize("tools", [pytest.param(WITH, id="flock"), pytest.param(WITHOUT, id="no flock")])


@asynccontextmanager
async def host_on(world: World, tools: Iterable[str], shell: str = "dash") -> AsyncIterator[tuple[Host, Machine]]:
    machine = Machine(world.folder / "machine", shell=shell, tools=tools)
    async with world.server(machine.behaviour()) as server:
        yield world.host(server.port), machine


@BOTH
@pytest.mark.parametrize("shell", SHELLS)
async def test_it_only_grows(world: World, sessions: Sessions, tools: tuple[str, ...], shell: str) -> None:
    async with host_on(world, tools, shell) as (host, machine):
        for mine in (3, 3, 12):
            await write_fence(sessions, host, fence(mine))
            assert machine.at(FILE).read_text() == f"{mine}\n"
        with pytest.raises(FencedOff, match="a later run, with fencing token 12, works on this host; this run has 9"):
            await write_fence(sessions, host, fence(9))
        assert machine.at(FILE).read_text() == "12\n"
        left = {path.name for path in machine.at(FILE).parent.iterdir()}
        assert left <= {"fencing-token", "fencing-token.lock", "rollout"}


@BOTH
async def test_many_at_once(world: World, sessions: Sessions, tools: tuple[str, ...]) -> None:
    """Whoever passes does so before anyone greater has: the last one on the host is the greatest that came."""
    passed: list[int] = []
    numbers = list(range(1, 13))
    random.Random(7).shuffle(numbers)

    async with host_on(world, tools) as (host, machine):

        async def come(mine: int) -> None:
            try:
                await write_fence(sessions, host, fence(mine))
            except FencedOff:
                return
            passed.append(mine)

        await asyncio.gather(*map(come, numbers))
        assert max(numbers) in passed
        assert machine.at(FILE).read_text() == f"{max(numbers)}\n"


async def test_a_dead_ones_lock_is_in_nobodys_way(world: World, sessions: Sessions) -> None:
    async with host_on(world, WITHOUT) as (host, machine):
        machine.put(f"{FILE}.held", "4194303 12345\n")
        await write_fence(sessions, host, fence(5))
        assert {path.name for path in machine.at(FILE).parent.iterdir()} == {"fencing-token", "rollout"}


@pytest.mark.parametrize("text", ["", "later\n", "1x\n", "012\n", "-3\n", "99999999999999999999\n"])
async def test_what_is_no_number_is_for_a_person(world: World, sessions: Sessions, text: str) -> None:
    async with host_on(world, WITH) as (host, machine):
        machine.put(FILE, text)
        with pytest.raises(HostError, match="which is not a fencing token") as caught:
            await write_fence(sessions, host, fence(5))
        assert not isinstance(caught.value, FencedOff)
        assert machine.at(FILE).read_text() == text


@BOTH
async def test_where_it_cannot_be_written(world: World, sessions: Sessions, tools: tuple[str, ...]) -> None:
    async with host_on(world, tools) as (host, machine):
        machine.put("var/lib/poolkeeper", "a file in place of the folder")
        with pytest.raises(HostError, match="could not be compared"):
            await write_fence(sessions, host, fence(5))


@pytest.mark.parametrize("fencing_token", [0, -1, 10**18])
async def test_numbers_that_are_none_of_ours(world: World, sessions: Sessions, fencing_token: int) -> None:
    with pytest.raises(ValueError, match="not a fenc"):
        await write_fence(sessions, world.host(1), fence(fencing_token))


ANOTHER = HostIntent("ba9876543210", "fedcba9876543210")
ROLLOUT = "var/lib/poolkeeper/rollout"


@BOTH
@pytest.mark.parametrize("shell", SHELLS)
async def test_a_host_tells_for_what_it_was_changed(
    world: World, sessions: Sessions, tools: tuple[str, ...], shell: str
) -> None:
    """Until that is forgotten, by the rollout that it was; of one that was turned away it knows nothing."""
    async with host_on(world, tools, shell) as (host, machine):

        async def told() -> HostIntent | None:
            known = await read_intent(sessions, host)
            assert isinstance(known, Known)
            return known.value

        assert await told() is None
        for fencing_token, begun in ((3, INTENT), (3, INTENT), (3, ANOTHER), (4, INTENT)):
            await write_fence(sessions, host, fence(fencing_token, begun))
            assert await told() == begun
        with pytest.raises(FencedOff):
            await write_fence(sessions, host, fence(3, ANOTHER))
        await forget_intent(sessions, host, ANOTHER.rollout)
        assert await told() == INTENT
        await forget_intent(sessions, host, INTENT.rollout)
        assert (await told(), machine.has(ROLLOUT)) == (None, False)
        await forget_intent(sessions, host, INTENT.rollout)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("0123456789ab\n", id="half"),
        pytest.param("0123456789ab 0123456789abcdeg\n", id="no token"),
        pytest.param("; reboot\n", id="a command"),
        pytest.param("x" * 100_000, id="huge"),
        pytest.param("\x1b[2J\n", id="an escape"),
    ],
)
async def test_what_a_host_says_otherwise_is_unknown(world: World, sessions: Sessions, text: str) -> None:
    async with host_on(world, WITH) as (host, machine):
        machine.put(ROLLOUT, text)
        known = await read_intent(sessions, host)
    assert isinstance(known, Unknown)
    assert text.strip() not in known.reason or not text


@BOTH
async def test_who_recovers_is_told_and_no_earlier_run_begins_anything_any_more(
    world: World, sessions: Sessions, tools: tuple[str, ...]
) -> None:
    """A run that sleeps on its way to its first change wakes up, when its node has been given back."""
    async with host_on(world, tools) as (host, machine):
        told = await fence_earlier_runs(sessions, host, 8)
        assert isinstance(told, Known)
        assert told.value is None
        with pytest.raises(FencedOff):
            await write_fence(sessions, host, fence(7))
        assert not machine.has(ROLLOUT)
        await write_fence(sessions, host, fence(9))
        told = await fence_earlier_runs(sessions, host, 9)
        assert isinstance(told, Known)
        assert told.value == INTENT
        with pytest.raises(FencedOff):
            await fence_earlier_runs(sessions, host, 8)
        machine.put(ROLLOUT, "")
        assert isinstance(await fence_earlier_runs(sessions, host, 10), Unknown)
