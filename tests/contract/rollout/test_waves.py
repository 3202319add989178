"""Waves on a real Lease: what stops them, what is finished all the same, and what the next run finds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.leases import acquire_lease, get_lease
from poolkeeper.tasks.outcomes import Evidence, Finding, Gate, HostOutcome, HostState, Severity, Subject
from poolkeeper.tasks.rollout.goal import Goal, Limits, OnBlocked
from poolkeeper.tasks.rollout.live_view import LiveView
from poolkeeper.tasks.rollout.plan import Candidate, PlannedHost, plan_rollout
from poolkeeper.tasks.rollout.rollout_state import begun, spent_by
from poolkeeper.tasks.rollout.waves import Waves
from tests.contract.cluster.conftest import DEADLINE_S, SomeoneIsQuicker, admin, api, ca, cluster, embedded
from tests.unit.onboard.builders import a_host

__all__ = ["admin", "api", "ca", "cluster", "embedded"]

HOSTS = [f"h{n}" for n in range(7)]
"""Waves of 1, 2 and 4."""
TROUBLE = Finding("x.trouble", Severity.BLOCKER, Subject("pool", "p"), Evidence("trouble", "none", "test"), "Mend it.")


class Run:
    """One run of the plan, whose hosts end as the table says."""

    def __init__(self, cluster: ClusterApi, **settings: Any) -> None:
        self.cluster, self.settings = cluster, settings
        self.carried: list[str] = []
        self.at_once = self.most_at_once = 0

    async def run_host(self, planned: PlannedHost) -> HostOutcome:
        name = planned.host.name
        self.carried.append(name)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.cluster.request("GET", "/version")
        self.at_once -= 1
        state = self.settings.get("ends", {}).get(name, HostState.DONE)
        return HostOutcome(name, state, f"it is {state}")

    async def stopped(self) -> str:
        return self.settings.get("stops", {}).get(len(self.carried), "")

    async def _findings(self, when: str) -> Sequence[Finding]:
        return [TROUBLE] if len(self.carried) == self.settings.get(when) else []

    async def __call__(self) -> dict[str, str]:
        """Host -> how it ended."""
        half_done = self.settings.get("half_done", ())
        plan = plan_rollout(
            Goal("upgrade", "p"),
            self.settings.get("limits", Limits()),
            [Candidate(a_host(name), half_done=name in half_done) for name in HOSTS],
        )
        async with asyncio.timeout(DEADLINE_S):
            lease = await acquire_lease(
                self.cluster,
                "pool-p",
                "run/1",
                note=lambda before: begun(before, plan.goal, {}, datetime.now(UTC)),
            )
            self.waves = Waves(
                plan,
                lease,
                Gate(dry_run=False),
                LiveView("upgrade", "p", "run"),
                at_once=self.settings.get("at_once", 1),
                run_host=self.run_host,
                look_around=lambda: self._findings("trouble_before"),
                gates=lambda: self._findings("trouble_after"),
                stopped=self.stopped,
            )
            outcomes = await self.waves.run()
            await lease.release(lambda note: note)
        return {outcome.name: str(outcome.state) for outcome in outcomes}


@pytest.fixture(autouse=True)
def our_namespace(embedded: SomeoneIsQuicker) -> None:
    embedded.store.create("namespaces", {"metadata": {"name": "poolkeeper"}})


@pytest.mark.parametrize(
    ("settings", "carried", "halted"),
    [
        pytest.param({}, HOSTS, "", id="all well"),
        pytest.param({"ends": {"h0": HostState.FAILED}}, ["h0"], "budget of 1 is spent", id="the canary fails"),
        pytest.param(
            {"ends": {"h0": HostState.FAILED}, "limits": Limits(failure_budget=2)}, HOSTS, "", id="within the budget"
        ),
        pytest.param(
            {"ends": dict.fromkeys(HOSTS, HostState.FAILED), "limits": Limits(failure_budget=2)},
            HOSTS[:2],
            "budget of 2 is spent",
            id="the budget is cumulative over waves",
        ),
        pytest.param({"ends": {"h1": HostState.BLOCKED}}, HOSTS[:2], "h1 was blocked", id="a blocked drain stops"),
        pytest.param(
            {"ends": {"h1": HostState.BLOCKED}, "limits": Limits(on_blocked=OnBlocked.SKIP)}, HOSTS, "", id="or is skipped"
        ),
        pytest.param({"ends": {"h0": HostState.REFUSED}}, HOSTS[:1], "h0: it is refused", id="the gate says no"),
        pytest.param({"ends": {"h0": HostState.STOPPED}}, HOSTS, "", id="one that is left alone stops nobody"),
        pytest.param({"trouble_before": 0}, [], "x.trouble: trouble", id="others at work before the canary"),
        pytest.param({"trouble_before": 1}, HOSTS[:1], "x.trouble: trouble", id="before the second wave"),
        pytest.param({"trouble_after": 3}, HOSTS[:3], "x.trouble: trouble", id="a gate after the second wave"),
        pytest.param({"trouble_after": 7}, HOSTS, "x.trouble: trouble", id="a gate after the last wave is told too"),
        pytest.param({"stops": {2: "stopped by joe"}}, HOSTS[:2], "stopped by joe", id="a stop within a wave"),
        pytest.param({"stops": {0: "stopped by joe"}}, [], "stopped by joe", id="a stop before anything"),
    ],
)  # fmt: skip
async def test_what_stops(cluster: ClusterApi, settings: dict[str, Any], carried: list[str], halted: str) -> None:
    run = Run(cluster, **settings)
    ended = await run()
    assert sorted(run.carried) == sorted(carried)
    assert halted in run.waves.halted
    assert bool(halted) == bool(run.waves.halted)
    left = {name for name, state in ended.items() if state == "postponed"}
    assert left == set(HOSTS) - set(carried)


async def test_hosts_in_flight_end_when_the_budget_is_spent(cluster: ClusterApi) -> None:
    run = Run(cluster, ends=dict.fromkeys(HOSTS[3:], HostState.FAILED), at_once=2)
    await run()
    assert 4 <= len(run.carried) <= 5, "of the third wave the one that failed, and at most the other in flight"
    assert run.most_at_once == 2


async def test_what_was_spent_is_found_by_the_next_run_and_half_done_hosts_are_finished(cluster: ClusterApi) -> None:
    await Run(cluster, ends={"h0": HostState.FAILED})()
    row = await get_lease(cluster, "pool-p")
    assert row is not None
    assert spent_by(row.note, Goal("upgrade", "p").id) == {"h0": "it is failed"}
    again = Run(cluster, half_done=["h0"])
    ended = await again()
    assert again.carried == ["h0"]
    assert ended["h0"] == "done"
    assert "the failure budget of 1 is spent: h0" in again.waves.halted
