"""Facts of hosts that lack the usual tools."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.hosts import FactsRequest, Sessions, read_facts
from poolkeeper.tasks.hosts.facts import Resolver
from poolkeeper.tasks.outcomes import Known
from tests.contract.hosts.conftest import World
from tests.contract.hosts.machines import Machine

ONE, TWO = ("10.1.0.2",), ("10.1.0.2", "10.1.0.3")
RESOLVES, DOES_NOT = "exit 0", "exit 2"
WHICH = "one of the resolvers answers, and there is no nslookup to tell which"


@pytest.mark.parametrize(
    ("resolvers", "getent", "answers", "reason"),
    [
        pytest.param(ONE, RESOLVES, True, "", id="the only resolver answers"),
        pytest.param(ONE, DOES_NOT, False, "", id="the only resolver does not"),
        pytest.param(TWO, RESOLVES, None, WHICH, id="one of two answers"),
        pytest.param(TWO, DOES_NOT, False, "", id="none of two answers"),
        pytest.param(ONE, None, None, "no nslookup to ask it with", id="nothing to ask with"),
    ],
)
async def test_resolvers_of_a_host_without_nslookup(
    resolvers: tuple[str, ...],
    getent: str | None,
    answers: bool | None,
    reason: str,
    world: World,
    sessions: Sessions,
) -> None:
    machine = Machine(world.folder / "machine")
    machine.put("/etc/resolv.conf", "".join(f"nameserver {address}\n" for address in resolvers))
    if getent is not None:
        machine.program("getent", getent)
    async with world.server(machine.behaviour()) as server:
        facts = await read_facts(sessions, world.host(server.port), FactsRequest())
    assert isinstance(facts.resolvers, Known)
    assert facts.resolvers.value == tuple(Resolver(address, answers, reason) for address in resolvers)
