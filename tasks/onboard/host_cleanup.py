"""Cleaning a host and deleting its Node: what undoing a failed join and offboarding have in common.

The host is cleaned first and its Node is deleted last: while the Node is there, with our annotations, the next run sees
that this one has not ended. Each step can be repeated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.nodes import NodeRow, delete_node, note_leaving
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import Sessions, changes
from poolkeeper.tasks.hosts.units import UnitRun, UnitState, forget_unit, start_unit, stop_unit, unit_state, wait_unit
from poolkeeper.tasks.outcomes import PoolkeeperError, Secret
from poolkeeper.tasks.runs.recording import Recorder

JOIN_UNIT = "poolkeeper-join"
LEAVE_UNIT = "poolkeeper-leave"
LEAVE_TIMEOUT_S = 300.0


class ResetFailed(PoolkeeperError):
    """The provider's reset failed on the host; the message quotes the last lines of its output."""

    id = "hosts.reset.failed"
    expected = "exit status 0 of the provider's reset"
    next_step = "Correct what the last lines of the reset name on the host, then run this again."
    source = "unit poolkeeper-leave"


async def _nothing() -> None:
    """Do nothing."""


async def clean_host(
    sessions: Sessions,
    host: Host,
    script: Secret,
    *,
    started: Callable[[], Awaitable[None]] = _nothing,
    still_ours: Callable[[], Awaitable[None]] = _nothing,
) -> tuple[str, ...]:
    """Run the provider's reset, then revert the changes in our record of the join; returns what had to be kept.

    A reset that an earlier run has started and that still runs is waited for. The unit stays as it ended until
    `forget_unit`.
    started: called as soon as the host's join certainly no longer runs
    still_ours: called right before each change, for minutes may pass between them; an error of it ends the cleanup
    Raises ResetFailed, TimeoutError and HostError.
    """
    await still_ours()
    await stop_unit(sessions, host, JOIN_UNIT)  # a failed join stays visible until the leave unit is there
    if (await unit_state(sessions, host, LEAVE_UNIT)).state is not UnitRun.RUNNING:
        await forget_unit(sessions, host, LEAVE_UNIT)
        await still_ours()
        await start_unit(sessions, host, LEAVE_UNIT, script, timeout_s=LEAVE_TIMEOUT_S)
    await forget_unit(sessions, host, JOIN_UNIT)
    await started()
    ended = await wait_unit(sessions, host, LEAVE_UNIT, timeout_s=LEAVE_TIMEOUT_S, script=script)
    if ended.state is not UnitRun.SUCCEEDED:
        raise ResetFailed(last_output(ended))
    await still_ours()
    output = await changes.undo(sessions, host)
    return tuple(line for line in output if line.startswith("kept "))


async def record_leaving(api: ClusterApi, recorder: Recorder, host: Host, node: NodeRow) -> None:
    """Write the row that the node has left, before the Node is deleted: afterwards its uid is unknown.

    The time is written on the Node, so that a later run that has to delete the Node writes the same row.
    """
    if (left_at := await note_leaving(api, node, datetime.now(UTC))) is not None:
        recorder.lifecycle(host, "left", node, left_at)


async def remove_node(api: ClusterApi, recorder: Recorder, host: Host, node: NodeRow) -> None:
    """Write the row, then delete this Node; another Node of its name is left alone."""
    await record_leaving(api, recorder, host, node)
    await delete_node(api, node)


def last_output(ended: UnitState) -> str:
    """Exit status and last lines of a unit, in one line."""
    last = " / ".join(line.strip() for line in ended.output.strip().splitlines()[-3:]) or "no output"
    return f"exit status {ended.exit_status}: {last}"[:600]
