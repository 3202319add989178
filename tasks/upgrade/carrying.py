"""Carrying a change out on a drained host, by each kind of way: a script there, a call to the provider, a person."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.nodes import NodeRow, get_node, wait_node
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.fleet.versions import same_version
from poolkeeper.tasks.hosts import Sessions
from poolkeeper.tasks.hosts.units import UnitRun, UnitState, forget_unit, start_unit, unit_state, wait_unit
from poolkeeper.tasks.outcomes import Finding, Secret
from poolkeeper.tasks.provider.upgrading import ByCall, HandOff
from poolkeeper.tasks.upgrade.telling import blocker, node_gone

UPGRADE_UNIT = "poolkeeper-upgrade"
GRACE_S = 30.0
"""How long a unit is waited for beyond its own limit: systemd ends it there, and that shows how far it came."""


async def run_script(
    sessions: Sessions,
    host: Host,
    script: Secret,
    *,
    mark: str,
    shows: Callable[[], Awaitable[bool]],
    still_ours: Callable[[], Awaitable[None]],
    timeout_s: float,
    show: Callable[[str], None],
) -> tuple[Finding, ...]:
    """Run a script as the unit, or follow the one that runs; one that has ended well for the same goal was enough,
    if what it did shows.

    mark: last line of a script that ended well for this goal
    shows: whether host and Node are at the goal
    still_ours: raises FencedOff when a later run has the host; asked before a unit is ended or started
    The unit stays as it ended, for whoever looks and for the next call. Raises HostError.
    """
    state = await unit_state(sessions, host, UPGRADE_UNIT)
    if state.state is UnitRun.RUNNING:
        show(f"{host.name}: following the upgrade that runs")
        state = await _ended(sessions, host, timeout_s)
    if state.state is UnitRun.SUCCEEDED and mark in state.output.splitlines() and await shows():
        return ()
    if state.state in (UnitRun.UNKNOWN, UnitRun.RUNNING):
        return (_unfinished(host, state, timeout_s),)
    await still_ours()
    if state.state is not UnitRun.ABSENT:  # an earlier try, one for another goal, or one that came to nothing
        await forget_unit(sessions, host, UPGRADE_UNIT)
    await start_unit(sessions, host, UPGRADE_UNIT, script, timeout_s=timeout_s)
    state = await _ended(sessions, host, timeout_s)
    return () if state.state is UnitRun.SUCCEEDED else (_unfinished(host, state, timeout_s),)


async def _ended(sessions: Sessions, host: Host, timeout_s: float) -> UnitState:
    """The unit once it has ended; still running when time is up."""
    try:
        return await wait_unit(sessions, host, UPGRADE_UNIT, timeout_s=timeout_s + GRACE_S)
    except TimeoutError:
        return UnitState(UnitRun.RUNNING)


def _unfinished(host: Host, state: UnitState, timeout_s: float) -> Finding:
    """Why a unit that was waited for is no success."""
    look = f"Log in to {host.name}: `systemctl status {UPGRADE_UNIT}`, and /run/poolkeeper/{UPGRADE_UNIT}/output."
    if state.state is UnitRun.FAILED:
        last = " / ".join(line.strip() for line in state.output.strip().splitlines()[-3:]) or "it said nothing"
        status = "it was ended from outside" if state.exit_status is None else f"exit status {state.exit_status}"
        return blocker(
            host,
            "upgrade.change.failed",
            f"{status}: {last}"[:600],
            "exit status 0",
            "Mend what its last lines name, then start again; the node stays cordoned until it is proven.",
        )
    if state.state is UnitRun.RUNNING:
        return blocker(
            host,
            "upgrade.change.timeout",
            f"it runs, or the host does not answer, after {timeout_s:.0f} s",
            "the end of the upgrade",
            f"{look} Start again to go on waiting for it.",
        )
    observed = "nothing of it is there any more" if state.state is UnitRun.ABSENT else "it cannot be told"
    return blocker(
        host,
        "upgrade.change.lost",
        f"{observed}: the host may have restarted meanwhile",
        "how the upgrade ended",
        f"{look} Then start again: it finishes what was cut off.",
    )


async def call_provider(
    api: ClusterApi,
    host: Host,
    way: ByCall,
    version: str,
    *,
    may_call: Callable[[], Awaitable[object]],
    timeout_s: float,
) -> tuple[Finding, ...]:
    """Have the provider do it, unless the Node tells the version already.

    may_call: asked right before the call, which others of the pool may have kept waiting
    timeout_s: for waiting, and again from the call on
    Raises ProviderError, and what `may_call` raises.
    """

    async def done() -> bool:
        node = await get_node(api, host.node_name)
        if node is not None and same_version(node.kubelet_version, version):
            return True
        await may_call()
        limit.reschedule(asyncio.get_running_loop().time() + timeout_s)
        return False

    try:
        async with asyncio.timeout(timeout_s) as limit:
            why = await way.carry_out(done)
    except TimeoutError:
        why = f"no end after {timeout_s:.0f} s"
    if not why:
        return ()
    return (
        blocker(
            host,
            "upgrade.provider.task",
            why,
            "the provider's task succeeds",
            "Look at the task in the provider's console; mend what it names, then start again.",
        ),
    )


async def wait_for_person(
    api: ClusterApi, host: Host, way: HandOff, version: str, *, timeout_s: float, show: Callable[[str], None]
) -> tuple[Finding, ...]:
    """Show the steps, and wait until the Node tells the version, whoever has brought it there."""
    last: NodeRow | None = None

    def done(row: NodeRow | None) -> bool:
        nonlocal last
        last = row
        return row is None or same_version(row.kubelet_version, version)

    show(f"{host.name}: {way.steps}")
    try:
        async with asyncio.timeout(timeout_s):
            node = await wait_node(api, host.node_name, done)
    except TimeoutError:
        return (
            blocker(
                host,
                "upgrade.hand-off.not-done",
                f"its kubelet is {last.kubelet_version if last else 'unknown'} after {timeout_s / 60:.0f} minutes",
                f"a person has brought it to {version}",
                way.steps,
            ),
        )
    return (node_gone(host),) if node is None else ()
