"""A script that runs as a unit on a host, and ends with a line that says for which goal it ran.

The invariant: a script is started only if no unit of its name runs, and a unit that succeeded counts only for the goal
that its last line names.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Awaitable, Callable, Iterable

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.sessions import Sessions
from poolkeeper.tasks.hosts.units import UnitRun, UnitState, forget_unit, start_unit, unit_state, wait_unit
from poolkeeper.tasks.outcomes import Secret

GRACE_S = 30.0
"""How long a unit is waited for after its own time limit: systemd ends it there, and its state is read afterwards."""

_log = logging.getLogger(__name__)


def end_line(digest: str) -> str:
    """The last line of a script that has finished its work for a goal."""
    return f"poolkeeper: finished for {digest}"


def in_turn(parts: Iterable[str], digest: str) -> str:
    """One script of several; the first part that fails ends it, and `end_line` is written only after the last. Pure."""
    return "".join(f"(\n{part}\n) || exit\n" for part in parts) + f"echo {shlex.quote(end_line(digest))}\n"


async def run_script(
    sessions: Sessions,
    host: Host,
    unit: str,
    script: Secret,
    *,
    digest: str,
    is_at_goal: Callable[[], Awaitable[bool]],
    may_start: Callable[[], Awaitable[None]],
    timeout_s: float,
) -> UnitState:
    """Run a script as a unit, or follow the unit of that name which runs already; how it ended.

    digest: of the goal; the script ends with its `end_line`
    is_at_goal: asked about a unit that succeeded earlier for this goal; if False, the script runs again
    may_start: raises FencedOff when a later run has the host; awaited before a unit is ended or started

    RUNNING: it has not ended in time. UNKNOWN, or ABSENT after it was started: its end was lost. The ended unit stays
    on the host, for people and for the next call. Raises HostError, and what the two functions raise.
    """
    state = await unit_state(sessions, host, unit)
    if state.state is UnitRun.RUNNING:
        _log.info("%s: waits for unit %s, which an earlier run has started", host.name, unit)
        state = await _ended(sessions, host, unit, timeout_s)
    if state.state is UnitRun.SUCCEEDED and end_line(digest) in state.output.splitlines() and await is_at_goal():
        return state
    if state.state in (UnitRun.UNKNOWN, UnitRun.RUNNING):
        return state
    await may_start()
    if state.state is not UnitRun.ABSENT:  # it failed, was for another goal, or had no effect
        await forget_unit(sessions, host, unit)
    await start_unit(sessions, host, unit, script, timeout_s=timeout_s)
    return await _ended(sessions, host, unit, timeout_s)


async def _ended(sessions: Sessions, host: Host, unit: str, timeout_s: float) -> UnitState:
    """The unit once it has ended; RUNNING when the time is over."""
    try:
        return await wait_unit(sessions, host, unit, timeout_s=timeout_s + GRACE_S)
    except TimeoutError:
        return UnitState(UnitRun.RUNNING)
