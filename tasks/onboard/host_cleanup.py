"""How a host leaves the cluster: what undoing a failed join and offboarding have in common.

The host comes first and its Node last: the Node, with what is written on it, tells the next run that this one did not
come to its end. Each step can be made again.
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
    """Nobody wants to know."""


async def clean_host(
    sessions: Sessions,
    host: Host,
    script: Secret,
    *,
    started: Callable[[], Awaitable[None]] = _nothing,
    still_ours: Callable[[], Awaitable[None]] = _nothing,
) -> tuple[str, ...]:
    """Run the provider's removal, then undo what our record says that the join changed; what had to be kept.

    A removal that an earlier run has begun and that still runs is waited for. The unit stays as it ended until
    `forget_unit`. started: called as soon as the host's join is certain not to run any more
    still_ours: asked right before each act, for minutes may pass between them; what it raises ends this
    Raises ResetFailed, TimeoutError and HostError.
    """
    await still_ours()
    await stop_unit(sessions, host, JOIN_UNIT)  # that it failed stays to be seen until this unit tells more
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
    told = await changes.undo(sessions, host)
    return tuple(line for line in told if line.startswith("kept "))


async def record_leaving(api: ClusterApi, recorder: Recorder, host: Host, node: NodeRow) -> None:
    """Write the row that the node has left, before its Node is deleted: afterwards nobody knows its uid.

    The moment is noted on the Node, so that a later run which has to delete it writes the same row.
    """
    if (left_at := await note_leaving(api, node, datetime.now(UTC))) is not None:
        recorder.lifecycle(host, "left", node, left_at)


async def remove_node(api: ClusterApi, recorder: Recorder, host: Host, node: NodeRow) -> None:
    """Write the row, then delete the Node. One that is gone, or another of its name, is left alone."""
    await record_leaving(api, recorder, host, node)
    await delete_node(api, node)


def last_output(ended: UnitState) -> str:
    """How a unit ended, in one line."""
    last = " / ".join(line.strip() for line in ended.output.strip().splitlines()[-3:]) or "no output"
    return f"exit status {ended.exit_status}: {last}"[:600]
