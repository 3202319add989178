"""What a fleet file itself forbids: `mode: observe`, and declared freezes. Guards of the one gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from poolkeeper.tasks.fleet.calendars import CalendarInvalid
from poolkeeper.tasks.fleet.model import Host, Mode
from poolkeeper.tasks.fleet.windows import freeze_at
from poolkeeper.tasks.outcomes import Change, Guard, Refusal


def observe_guard(hosts: Sequence[Host]) -> Guard:
    """Refuses every change of a host, node or pool in observe mode."""
    observed = {
        name
        for host in hosts
        if host.mode is Mode.OBSERVE
        for name in (("host", host.name), ("node", host.node_name), ("pool", host.pool.name))
    }
    all_observed = all(host.mode is Mode.OBSERVE for host in hosts)

    async def guard(change: Change) -> Refusal | None:
        if not all_observed and (change.subject.kind, change.subject.name) not in observed:
            return None
        return Refusal(
            "observe",
            "it is declared with mode: observe, where nothing is ever changed",
            "Set mode: act for the fleet, site or pool when you are ready.",
        )

    return guard


def freeze_guard(hosts: Sequence[Host], *, now: Callable[[], datetime]) -> Guard:
    """Refuses every change at a site while a freeze that the fleet file declares covers it. Windows do not count here:
    a join takes nothing out of service."""
    site_of = {(kind, name): host.site for host in hosts for kind, name in _names(host)}

    async def guard(change: Change) -> Refusal | None:
        site = site_of.get((change.subject.kind, change.subject.name))
        if site is None:
            return None
        try:
            freeze = freeze_at(site, now())
        except (OSError, CalendarInvalid) as error:
            return Refusal("freeze", f"the freezes of site {site.name} cannot be read: {error}", "Fix its calendar.")
        if freeze is None:
            return None
        reason = f"site {site.name} is frozen until {freeze.end.isoformat()}: {freeze.reason}"
        return Refusal("freeze", reason, "Wait for its end, or shorten the freeze in the fleet file.")

    return guard


def _names(host: Host) -> tuple[tuple[str, str], ...]:
    """The subjects that a host's changes have."""
    return ("host", host.name), ("node", host.node_name)
