"""`poolkeeper windows`: when work may start at a site."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import click

from poolkeeper.deployments.cli import completion
from poolkeeper.deployments.cli.asking import bad_input, fleet_option, json_option, loaded
from poolkeeper.deployments.terminal import echo


@click.command()
@click.argument("site", shell_complete=completion.sites)
@click.option("--from", "start", help="ISO 8601; a time without a zone is UTC. Else now.")
@click.option("--to", "end", help="Else seven days later.")
@fleet_option
@json_option
def windows(site: str, start: str | None, end: str | None, fleet: str | None, as_json: bool) -> None:
    """Show when work may start at a SITE: its windows minus its freezes, in UTC."""
    from poolkeeper.tasks.fleet import CalendarInvalid, open_intervals

    sites = loaded(fleet).sites
    if site not in sites:
        bad_input(f"there is no site {site} in the fleet file; there are: {', '.join(sites)}")
    first = _moment("--from", start) if start else datetime.now(UTC).replace(microsecond=0)
    last = _moment("--to", end) if end else first + timedelta(days=7)
    if not first < last <= first + timedelta(days=400):
        bad_input("--to must be after --from, and at most 400 days later")
    try:
        found = open_intervals(sites[site], first, last)
    except (OSError, CalendarInvalid) as error:
        bad_input(f"the freezes of site {site} cannot be read: {error}")
    if as_json:
        echo(json.dumps([{"start": i.start.isoformat(), "end": i.end.isoformat()} for i in found], indent=2))
        return
    for interval in found:
        echo(f"{interval.start:%a %Y-%m-%d %H:%M} to {interval.end:%a %Y-%m-%d %H:%M} UTC")
    if not found:
        echo(f"no window at {site} between {first.isoformat()} and {last.isoformat()}")


def _moment(option: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        bad_input(f"{option} {text}: write it like 2026-11-24T02:00 or 2026-11-24T02:00+01:00")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
