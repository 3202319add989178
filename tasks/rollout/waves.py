"""Carrying a plan out: wave by wave, within the failure budget, with a look around before and gates after each."""

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
"""Between two looks for a stop while nothing else happens."""


@dataclass(slots=True)
class FailureBudget:
    """What the whole rollout may spend on failures; kept on the lease, so that a killed run's are remembered."""

    allowed: int
    spent: dict[str, str] = field(default_factory=dict)
    """Host -> what failed."""

    @property
    def gone(self) -> bool:
        """Whether nothing new may start."""
        return len(self.spent) >= self.allowed


class Waves:
    """One run of a plan.

    run_host: works on one host; whatever it meets becomes that host's outcome
    look_around: findings that keep a wave from starting
    gates: findings after a wave that keep the next from starting
    stopped: why nothing new is to start; empty: go on
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
        """Why nothing new starts; empty while it does. A dry run goes on all the same: it shows every host."""
        self._findings: list[Finding] = []
        """What kept waves from starting."""

    @property
    def _is_halted(self) -> bool:
        return self._gate.seen(bool(self.halted), if_dry_run=False)

    async def run(self) -> list[HostOutcome]:
        """Every host of the plan, each with its outcome."""
        outcomes: list[HostOutcome] = []
        waves = self._plan.waves
        for number, wave in enumerate(waves, 1):
            await self._before(number, len(waves), wave)
            outcomes += await in_slots(wave, lambda planned: self._slots, self._start)
            await self._after(number, len(waves))
        return outcomes

    async def _before(self, number: int, of: int, wave: Sequence[PlannedHost]) -> None:
        if self.budget.gone:
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
        """Let time pass; a stop ends it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(soak_s):
                while not self.halted:
                    await asyncio.sleep(STOP_LOOK_S)
                    self._halt(await self._stopped())

    async def _start(self, planned: PlannedHost) -> HostOutcome:
        """One host, unless nothing new is to start. What was begun before is finished in any case but a stop's."""
        if self._is_halted and not planned.half_done:
            return self._left(planned)
        if why := await self._stopped():
            self._halt(why)
            return self._left(planned)
        outcome = await self._run_host(planned)
        await self._judge(outcome)
        return outcome

    async def _judge(self, outcome: HostOutcome) -> None:
        if outcome.state is HostState.FAILED:
            self.budget.spent[outcome.name] = outcome.summary[:200]
            if self.budget.gone:
                self._halt(f"the failure budget of {self.budget.allowed} is spent")
            try:
                what = self.budget.spent[outcome.name]
                await self._lease.change(lambda note: with_spent(note, self._plan.goal.id, outcome.name, what))
            except (LeaseLost, ClusterUnreachable, ApiError) as error:  # what is in flight goes on to its own end
                self._halt(f"that {outcome.name} failed could not be written down: {error}")
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

    def _left(self, planned: PlannedHost) -> HostOutcome:
        summary = f"nothing was begun: {self.halted}"
        self._live.end_host(planned.host.name, HostState.POSTPONED, summary)
        return HostOutcome(planned.host.name, HostState.POSTPONED, summary, tuple(self._findings))


def _is_held(outcome: HostOutcome) -> bool:
    """Whether it is this one node that a person holds: that says nothing about the others."""
    return any(finding.id == "gate.hold" for finding in outcome.findings)
