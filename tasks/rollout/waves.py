"""Runs a plan wave by wave, within the failure budget: checks before each wave, gates after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from poolkeeper.tasks.cluster import ApiError, ClusterUnreachable
from poolkeeper.tasks.cluster.leases import HeldLease, LeaseLost
from poolkeeper.tasks.outcomes import Finding, Gate, HostOutcome, HostState, in_slots
from poolkeeper.tasks.rollout.goal import OnBlocked
from poolkeeper.tasks.rollout.host_drain import NodeLost
from poolkeeper.tasks.rollout.live_view import LiveView
from poolkeeper.tasks.rollout.plan import Plan, PlannedHost
from poolkeeper.tasks.rollout.rollout_state import spent_by, with_spent

STOP_LOOK_S = 5.0
"""How often a stop is looked for during a soak, in seconds."""


@dataclass(slots=True)
class FailureBudget:
    """How many hosts of the whole rollout may fail. Kept on the Lease, so that a killed run's failures count too."""

    allowed: int
    spent: dict[str, str] = field(default_factory=dict)
    """By host: what failed."""

    @property
    def is_spent(self) -> bool:
        """Whether nothing new may start."""
        return len(self.spent) >= self.allowed


class Waves:
    """One run of a plan.

    run_host: runs one host; every error becomes that host's outcome
    look_around: findings that keep a wave from starting
    gates: findings after a wave that keep the next one from starting
    stopped: why a person wants nothing new to start; empty: continue
    """

    def __init__(
        self,
        plan: Plan,
        lease: HeldLease,
        gate: Gate,
        live: LiveView,
        *,
        at_once: int,
        run_host: Callable[[PlannedHost], Awaitable[HostOutcome]],
        look_around: Callable[[], Awaitable[Sequence[Finding]]],
        gates: Callable[[], Awaitable[Sequence[Finding]]],
        stopped: Callable[[], Awaitable[str]],
    ) -> None:
        self._plan, self._lease, self._gate, self._live = plan, lease, gate, live
        self._run_host, self._look_around, self._gates, self._stopped = run_host, look_around, gates, stopped
        self._slots = asyncio.Semaphore(max(1, at_once))
        self.budget = FailureBudget(plan.limits.failure_budget, spent_by(lease.note, plan.goal.id))
        self.halted = ""
        """Why nothing new starts; empty: it does. A dry run continues all the same, to show every host."""
        self._findings: list[Finding] = []
        """The findings that kept waves from starting."""

    @property
    def _is_halted(self) -> bool:
        return self._gate.seen(bool(self.halted), if_dry_run=False)

    async def run(self) -> list[HostOutcome]:
        """Every host's outcome, in the plan's order."""
        outcomes: list[HostOutcome] = []
        waves = self._plan.waves
        for number, wave in enumerate(waves, 1):
            await self._before(number, len(waves), wave)
            outcomes += await in_slots(wave, lambda planned: self._slots, self._start)
            await self._after(number, len(waves))
        return outcomes

    async def _before(self, number: int, of: int, wave: Sequence[PlannedHost]) -> None:
        if self.budget.is_spent:
            self._halt(f"the failure budget of {self.budget.allowed} is spent: {', '.join(sorted(self.budget.spent))}")
        if not self._is_halted:
            self._halt(await self._stopped())
        if not self._is_halted:
            self._halt_by(await self._gate.unless_dry_run(self._look_around, if_dry_run=()))
        if not self._is_halted:
            self._live.show_wave(number, of, (planned.host.name for planned in wave))

    async def _after(self, number: int, of: int) -> None:
        soak_s = self._plan.limits.soak_s
        if not self._is_halted and soak_s and number < of:
            self._live.show(f"soaks for {soak_s:.0f} s after wave {number} of {of}")
            await self._gate.unless_dry_run(partial(self._soak, soak_s), if_dry_run=None)
        if not self._is_halted:
            self._live.show(f"gates after wave {number} of {of}")
            self._halt_by(await self._gate.unless_dry_run(self._gates, if_dry_run=()))

    async def _soak(self, soak_s: float) -> None:
        """Let time pass, until a person stops the run."""
        with suppress(TimeoutError):
            async with asyncio.timeout(soak_s):
                while not self.halted:
                    await asyncio.sleep(STOP_LOOK_S)
                    self._halt(await self._stopped())

    async def _start(self, planned: PlannedHost) -> HostOutcome:
        """Run one host, unless nothing new may start. Half changed hosts finish after a halt, not after a stop."""
        if self._is_halted and not planned.half_done:
            return self._postponed(planned)
        if why := await self._stopped():
            self._halt(why)
            return self._postponed(planned)
        outcome = await self._run_host(planned)
        await self._judge(outcome)
        return outcome

    async def _judge(self, outcome: HostOutcome) -> None:
        if outcome.state is HostState.FAILED:
            self.budget.spent[outcome.name] = outcome.summary[:200]
            if self.budget.is_spent:
                self._halt(f"the failure budget of {self.budget.allowed} is spent")
            try:
                what = self.budget.spent[outcome.name]
                await self._lease.change(lambda note: with_spent(note, self._plan.goal.id, outcome.name, what))
            except (
                LeaseLost,
                ClusterUnreachable,
                ApiError,
            ) as error:  # hosts that are running still go to their own end
                self._halt(f"that {outcome.name} failed could not be written to the Lease: {error}")
        elif outcome.state is HostState.BLOCKED and self._plan.limits.on_blocked is OnBlocked.STOP:
            self._halt(f"the drain of {outcome.name} was blocked, and on_blocked is stop")
        elif outcome.state is HostState.STOPPED and any(f.id == NodeLost.id for f in outcome.findings):
            self._halt(f"{outcome.name}: {outcome.summary}")  # someone deletes Nodes of this pool
        elif outcome.state is HostState.REFUSED and not _is_held(outcome):
            self._halt(f"{outcome.name}: {outcome.summary}")

    def _halt(self, why: str) -> None:
        if why and not self.halted:
            self.halted = why
            starts = self._gate.seen("starts", if_dry_run="would start")
            self._live.show(f"nothing new {starts}: {why}")

    def _halt_by(self, findings: Sequence[Finding]) -> None:
        self._findings += findings
        if findings:
            self._halt(f"{findings[0].id}: {findings[0].evidence.observed}")

    def _postponed(self, planned: PlannedHost) -> HostOutcome:
        summary = f"nothing was started: {self.halted}"
        self._live.end_host(planned.host.name, HostState.POSTPONED, summary)
        return HostOutcome(planned.host.name, HostState.POSTPONED, summary, tuple(self._findings))


def _is_held(outcome: HostOutcome) -> bool:
    """Whether a person holds this one node, which does not concern the other hosts."""
    return any(finding.id == "gate.hold" for finding in outcome.findings)
