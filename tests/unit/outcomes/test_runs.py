import asyncio

import pytest

from poolkeeper.tasks.outcomes import HostOutcome, HostState, RunState, in_slots, run_state


def outcome(name: str, state: HostState) -> HostOutcome:
    return HostOutcome(name, state, "")


A, S, P, F = HostState.ACCEPTED, HostState.STOPPED, HostState.PLANNED, HostState.FAILED


@pytest.mark.parametrize(
    ("asked", "outcomes", "state"),
    [
        pytest.param("ab", [outcome("a", A), outcome("b", A)], RunState.COMPLETED, id="all accepted"),
        pytest.param("ab", [outcome("a", P), outcome("b", A)], RunState.COMPLETED, id="planned is fine"),
        pytest.param("ab", [outcome("a", A), outcome("b", S)], RunState.UNFINISHED_HOSTS, id="one stopped"),
        pytest.param("ab", [outcome("a", A)], RunState.UNFINISHED_HOSTS, id="one silently missing"),
        pytest.param("ab", [outcome("a", F), outcome("b", S)], RunState.FAILED, id="none made it"),
        pytest.param("a", [], RunState.FAILED, id="no outcome at all"),
    ],
)
def test_a_runs_state_is_honest(asked, outcomes, state):
    assert run_state(asked, outcomes) is state


async def test_slots_bound_how_many_run_and_keep_the_order_of_results():
    running = most = 0
    slot = asyncio.Semaphore(3)

    async def work(item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return item * 2

    assert await in_slots(range(10), lambda item: slot, work) == [item * 2 for item in range(10)]
    assert most == 3
