"""Upgrading a drained host by each way that a provider may have: a script, a call to the provider, a person."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.nodes import NodeRow, get_node, wait_node
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.fleet.versions import same_version
from poolkeeper.tasks.hosts.units import UnitRun, UnitState
from poolkeeper.tasks.outcomes import Finding
from poolkeeper.tasks.provider.upgrading import ByCall, HandOff
from poolkeeper.tasks.runs.watching import watcher
from poolkeeper.tasks.upgrade.messages import blocker, node_gone

UPGRADE_UNIT = "poolkeeper-upgrade"

_log = logging.getLogger(__name__)


def script_findings(host: Host, state: UnitState, timeout_s: float) -> tuple[Finding, ...]:
    """Why the unit that ran the script has not succeeded; nothing if it has. Pure.

    timeout_s: how long it was allowed to run
    """
    look = f"Log in to {host.name}: see `systemctl status {UPGRADE_UNIT}`, and /run/poolkeeper/{UPGRADE_UNIT}/output."
    match state.state:
        case UnitRun.SUCCEEDED:
            return ()
        case UnitRun.FAILED:
            status = "it was ended from outside" if state.exit_status is None else f"exit status {state.exit_status}"
            last = " / ".join(line.strip() for line in state.output.strip().splitlines()[-3:]) or "no output"
            return (
                blocker(
                    host,
                    "upgrade.change.failed",
                    f"the upgrade script failed, {status}: {last}"[:600],
                    "exit status 0",
                    "Correct what its last lines report, then start again; the node stays cordoned until it is proven.",
                ),
            )
        case UnitRun.RUNNING:
            return (
                blocker(
                    host,
                    "upgrade.change.timeout",
                    f"after {timeout_s:.0f} s the upgrade script still runs, or the host does not answer",
                    "the upgrade script ends in time",
                    f"{look} Start again to continue waiting for it.",
                ),
            )
        case state_of_unit:
            observed = "the unit is gone" if state_of_unit is UnitRun.ABSENT else "the unit's state cannot be read"
            return (
                blocker(
                    host,
                    "upgrade.change.lost",
                    f"{observed}; the host may have restarted meanwhile",
                    "the result of the upgrade script",
                    f"{look} Then start again: the script finishes what was interrupted.",
                ),
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
    """Let the provider upgrade the node, unless the Node reports the version already.

    may_call: awaited right before the call, which may have waited for other nodes of the pool
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
            why = await way.run(done)
    except TimeoutError:
        why = f"the provider's task has not ended within {timeout_s:.0f} s"
    if not why:
        return ()
    return (
        blocker(
            host,
            "upgrade.provider.task",
            why,
            "the provider's task succeeds",
            "Look at the task in the provider's console; correct what it reports, then start again.",
            source="provider's task",
        ),
    )


async def wait_for_person(
    api: ClusterApi, host: Host, way: HandOff, version: str, *, timeout_s: float
) -> tuple[Finding, ...]:
    """Log the steps, and wait until the Node reports the version."""
    last: NodeRow | None = None

    def done(row: NodeRow | None) -> bool:
        nonlocal last
        last = row
        return row is None or same_version(row.kubelet_version, version)

    _log.info("%s: %s", host.name, way.steps)
    watcher().doing(f"{host.name}: {way.steps}")
    try:
        async with asyncio.timeout(timeout_s):
            node = await wait_node(api, host.node_name, done)
    except TimeoutError:
        return (
            blocker(
                host,
                "upgrade.hand-off.not-done",
                f"after {timeout_s / 60:.0f} minutes its kubelet is {last.kubelet_version if last else 'unknown'}",
                f"a person upgrades it to {version}",
                way.steps,
                source="Node",
            ),
        )
    return (node_gone(host),) if node is None else ()
