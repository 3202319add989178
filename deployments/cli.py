"""The command line: a thin shell over the same flows and tasks.

Exit codes: 0 fine, 1 something is wrong out there, 2 bad input, 3 could not find out. Answers go to
stdout (as JSON with --json), messages to stderr. Imports stand inside the commands, so that `check`
does not pay for what only `run` needs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from poolkeeper.deployments import words
from poolkeeper.deployments.asking import (
    BAD_INPUT,
    COULD_NOT_FIND_OUT,
    FINE,
    WRONG_OUT_THERE,
    asked,
    bad_input,
    chosen,
    finding_out,
    fleet_option,
    json_option,
    loaded,
    reached,
    seconds,
)
from poolkeeper.deployments.terminal import echo

if TYPE_CHECKING:
    from datetime import datetime


class _Commands(click.Group):
    """The commands here, and `bill` and `lab`, which are imported when asked for: `lab` brings the servers along."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "bill", "lab"])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name == "bill":
            from poolkeeper.deployments.bill import bill

            return bill
        if name == "lab":
            from poolkeeper.deployments.lab.cli import lab

            return lab
        return super().get_command(ctx, name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="poolkeeper")
def main() -> None:
    """Keep your own servers healthy as hybrid node pools of a managed Kubernetes cluster."""


for _command in words.COMMANDS:
    main.add_command(_command)


@main.command()
@click.argument("fleet", required=False)
@json_option
def check(fleet: str | None, as_json: bool) -> None:
    """Name every problem of a fleet FILE, with line, column and fix."""
    from poolkeeper.tasks.fleet import check_fleet
    from poolkeeper.tasks.fleet.problems import counted
    from poolkeeper.tasks.settings import fleet_path

    path = fleet_path(fleet)
    found, problems = check_fleet(path)
    if as_json:
        rows = [
            {"line": p.line, "column": p.column, "path": p.path, "message": p.message, "fix": p.fix} for p in problems
        ]
        more = {"in_all": problems.in_all} if problems.in_all > len(problems) else {}
        echo(json.dumps({"ok": not problems, "problems": rows, **more}, indent=2))
    elif problems:
        for p in problems:
            echo(f"{path.name}:{p.line}:{p.column}: {p.path or '(file)'}: {p.message}\n    fix: {p.fix}")
        first = f" (the first {len(problems)} are told)" if problems.in_all > len(problems) else ""
        echo(f"\n{counted(problems.in_all, 'problem')} in {path}{first}")
    elif found is not None:
        hosts, pools = counted(len(found.hosts), "host"), counted(len(found.pools), "pool")
        echo(f"{path}: {hosts} in {pools}: no problems")
    sys.exit(BAD_INPUT if problems else FINE)


@main.command()
def schema() -> None:
    """Print the fleet file's JSON Schema, for editors."""
    from poolkeeper.tasks.fleet import fleet_schema

    echo(json.dumps(fleet_schema(), indent=2))


@main.command()
@fleet_option
@click.option("--hosts", "selection", default="all", help="Which hosts, such as `pool=general,site=fra1`.")
@json_option
def status(fleet: str | None, selection: str, as_json: bool) -> None:
    """Show hosts and nodes: declared against observed."""
    from poolkeeper.deployments import status as view

    declared, hosts = chosen(fleet, selection)
    rows = asyncio.run(view.read(hosts))
    if as_json:
        echo(json.dumps({"fleet": declared.name, "hosts": rows}, indent=2))
    else:
        view.show(rows)
    if any(row["state"] == "unknown" for row in rows):
        sys.exit(COULD_NOT_FIND_OUT)
    sys.exit(FINE if all(row["state"] == "accepted" for row in rows) else WRONG_OUT_THERE)


@main.command()
@fleet_option
@click.argument("hosts", nargs=-1, required=True)
@json_option
def probe(fleet: str | None, hosts: tuple[str, ...], as_json: bool) -> None:
    """Run the preflight checks on HOSTS, now; nothing is changed."""
    from poolkeeper.deployments import probing

    declared, wanted = chosen(fleet, "|".join(hosts) if len(hosts) > 1 else hosts[0])
    answer = asked(probing.probe(declared, wanted))
    if as_json:
        echo(json.dumps({"hosts": answer}, indent=2))
    else:
        probing.show(answer)
    verdicts = {check["verdict"] for row in answer for check in row["checks"]}
    if "fail" in verdicts:
        sys.exit(WRONG_OUT_THERE)
    sys.exit(COULD_NOT_FIND_OUT if "unknown" in verdicts else FINE)


@main.command()
@click.argument("nodes", nargs=-1, required=True)
@fleet_option
@click.option("--cluster", help="Which cluster, if the fleet has several.")
@click.option("--kubeconfig", type=click.Path(), help="Kubeconfig to use in place of a fleet file's.")
@click.option("--context", help="Which context of the kubeconfig; else its current one.")
@click.option("--deadline", default="5m", show_default=True, help="How long a drain waits for pods to end.")
@json_option
def forecast(
    nodes: tuple[str, ...],
    fleet: str | None,
    cluster: str | None,
    kubeconfig: str | None,
    context: str | None,
    deadline: str,
    as_json: bool,
) -> None:
    """Tell what draining NODES at once would do; nothing is changed.

    Needs a kubeconfig with read rights only: --kubeconfig, else that of the fleet file, else kubectl's own. Answers 0
    when all of them are clear, 1 when one is blocked or loses something, 3 when that cannot be told.
    """
    from poolkeeper.deployments import forecasting
    from poolkeeper.tasks.cluster import connect

    deadline_s = seconds(deadline)
    with finding_out():
        declared, secret = reached(fleet, cluster, kubeconfig, context)

    async def looked() -> Any:
        async with connect(declared, secret) as api:
            return await forecasting.look(api, nodes, deadline_s=deadline_s)

    try:
        made = asked(looked())
    except forecasting.NodesMistyped as error:
        bad_input(str(error))
    if as_json:
        echo(json.dumps(forecasting.rows(made), indent=2))
    else:
        forecasting.show(made)
    effects = {str(node.effect) for node in made.nodes}
    if effects & {"blocked", "lossy"}:
        sys.exit(WRONG_OUT_THERE)
    sys.exit(COULD_NOT_FIND_OUT if "unknown" in effects else FINE)


@main.command()
@click.argument("site")
@click.option("--from", "start", help="ISO 8601; a time without a zone is UTC. Else now.")
@click.option("--to", "end", help="Else seven days later.")
@fleet_option
@json_option
def windows(site: str, start: str | None, end: str | None, fleet: str | None, as_json: bool) -> None:
    """Show when work may start at a SITE: its windows minus its freezes, in UTC."""
    from datetime import UTC, datetime, timedelta

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
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        bad_input(f"{option} {text}: write it like 2026-11-24T02:00 or 2026-11-24T02:00+01:00")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


@main.command()
@click.argument("flow", type=click.Choice(["onboard", "upgrade", "maintain", "offboard", "recover", "audit", "meter"]))
@click.option("-p", "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="A flow parameter.")
@fleet_option
@click.option("--parameters", "only_parameters", is_flag=True, help="List FLOW's parameters, and do nothing else.")
@json_option
def run(flow: str, parameters: tuple[str, ...], fleet: str | None, only_parameters: bool, as_json: bool) -> None:
    """Run one FLOW here and now; `-p dry_run=true` only plans.

    Uses the server of $PREFECT_API_URL, else an ephemeral one in the state folder, which costs some 10 s.
    """
    from poolkeeper.deployments import running
    from poolkeeper.tasks.settings import fleet_path

    if only_parameters:
        known = running.parameters(flow)
        echo(json.dumps(known, indent=2) if as_json else "\n".join(running.shown_parameters(known)))
        return

    given = dict(map(_parameter, parameters))
    if fleet:
        given["fleet"] = str(fleet_path(fleet))
    try:
        answer = running.run(flow, given)
    except running.BadParameters as error:
        bad_input(str(error))
    except running.RunBroken as error:
        echo(str(error), err=True)
        sys.exit(COULD_NOT_FIND_OUT)
    if as_json:
        echo(json.dumps(answer, indent=2))
    else:
        running.show(answer)
    sys.exit({"completed": FINE, "invalid": BAD_INPUT}.get(answer["state"], WRONG_OUT_THERE))


def _parameter(text: str) -> tuple[str, str]:
    """`name=value`."""
    name, equals, value = text.partition("=")
    if not equals:
        bad_input(f"-p {text}: write it as name=value")
    return name, value
