"""The command line: a thin shell over the same flows and tasks.

Exit codes: 0 fine, 1 something is wrong out there, 2 bad input, 3 could not find out. Answers go to
stdout (as JSON with --json), messages to stderr. Imports stand inside the commands, so that `check`
does not pay for what only `run` needs.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from tasks.cluster import ClusterApi
    from tasks.fleet import Cluster, Fleet
    from tasks.outcomes import Secret

T = TypeVar("T")

FINE, WRONG_OUT_THERE, BAD_INPUT, COULD_NOT_FIND_OUT = 0, 1, 2, 3

fleet_option = click.option("--fleet", help="Fleet file; else $POOLKEEPER_FLEET, else ./fleet.yaml.")
json_option = click.option("--json", "as_json", is_flag=True, help="Answer as JSON.")


class _Commands(click.Group):
    """The commands here, and `bill` and `lab`, which are imported when asked for: `lab` brings the servers along."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "bill", "lab"])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name == "bill":
            from deployments.bill import bill

            return bill
        if name == "lab":
            from deployments.lab.cli import lab

            return lab
        return super().get_command(ctx, name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="poolkeeper")
def main() -> None:
    """Keep your own servers healthy as hybrid node pools of a managed Kubernetes cluster."""


@main.command()
@click.argument("fleet", required=False)
@json_option
def check(fleet: str | None, as_json: bool) -> None:
    """Name every problem of a fleet FILE, with line, column and fix."""
    from tasks.fleet import check_fleet
    from tasks.fleet.problems import counted
    from tasks.settings import fleet_path

    path = fleet_path(fleet)
    found, problems = check_fleet(path)
    if as_json:
        rows = [
            {"line": p.line, "column": p.column, "path": p.path, "message": p.message, "fix": p.fix} for p in problems
        ]
        click.echo(json.dumps({"ok": not problems, "problems": rows}, indent=2))
    elif problems:
        for p in problems:
            click.echo(f"{path.name}:{p.line}:{p.column}: {p.path or '(file)'}: {p.message}\n    fix: {p.fix}")
        click.echo(f"\n{counted(len(problems), 'problem')} in {path}")
    elif found is not None:
        hosts, pools = counted(len(found.hosts), "host"), counted(len(found.pools), "pool")
        click.echo(f"{path}: {hosts} in {pools}: no problems")
    sys.exit(BAD_INPUT if problems else FINE)


@main.command()
def schema() -> None:
    """Print the fleet file's JSON Schema, for editors."""
    from tasks.fleet import fleet_schema

    click.echo(json.dumps(fleet_schema(), indent=2))


@main.command()
@fleet_option
@click.option("--hosts", "selection", default="all", help="Which hosts, such as `pool=general,site=fra1`.")
@json_option
def status(fleet: str | None, selection: str, as_json: bool) -> None:
    """Show hosts and nodes: declared against observed."""
    from deployments import status as view

    loaded, hosts = _chosen(fleet, selection)
    rows = asyncio.run(view.read(hosts))
    if as_json:
        click.echo(json.dumps({"fleet": loaded.name, "hosts": rows}, indent=2))
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
    from deployments import probing

    loaded, chosen = _chosen(fleet, "|".join(hosts) if len(hosts) > 1 else hosts[0])
    answer = _asked(probing.probe(loaded, chosen))
    if as_json:
        click.echo(json.dumps({"hosts": answer}, indent=2))
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
    from deployments import forecasting
    from tasks.cluster import connect

    deadline_s = _seconds(deadline)
    with _finding_out():
        declared, secret = _reached(fleet, cluster, kubeconfig, context)

    async def looked() -> Any:
        async with connect(declared, secret) as api:
            return await forecasting.look(api, nodes, deadline_s=deadline_s)

    try:
        made = _asked(looked())
    except forecasting.NodesMistyped as error:
        _bad_input(str(error))
    if as_json:
        click.echo(json.dumps(forecasting.rows(made), indent=2))
    else:
        forecasting.show(made)
    effects = {str(node.effect) for node in made.nodes}
    if effects & {"blocked", "lossy"}:
        sys.exit(WRONG_OUT_THERE)
    sys.exit(COULD_NOT_FIND_OUT if "unknown" in effects else FINE)


@main.command()
@click.argument("flow", type=click.Choice(["onboard", "upgrade", "maintain", "offboard", "recover", "meter"]))
@click.option("-p", "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="A flow parameter.")
@fleet_option
@json_option
def run(flow: str, parameters: tuple[str, ...], fleet: str | None, as_json: bool) -> None:
    """Run one FLOW here and now; `-p dry_run=true` only plans.

    Uses the server of $PREFECT_API_URL, else an ephemeral one in the state folder, which costs some 10 s.
    """
    from deployments import running
    from tasks.settings import fleet_path

    chosen = dict(map(_parameter, parameters))
    if fleet:
        chosen["fleet"] = str(fleet_path(fleet))
    try:
        answer = running.run(flow, chosen)
    except running.BadParameters as error:
        _bad_input(str(error))
    except running.RunBroken as error:
        click.echo(str(error), err=True)
        sys.exit(COULD_NOT_FIND_OUT)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        running.show(answer)
    sys.exit({"completed": FINE, "invalid": BAD_INPUT}.get(answer["state"], WRONG_OUT_THERE))


@main.command()
@fleet_option
@click.option("--cluster", help="Which cluster, if the fleet has several.")
@click.option("--reason", required=True, help="Why; everyone who is refused reads it.")
def freeze(fleet: str | None, cluster: str | None, reason: str) -> None:
    """Stop every later mutation in a cluster, wherever it is ordered from."""
    from tasks.cluster import stops

    _in_cluster(fleet, cluster, lambda api: stops.freeze(api, _stop(reason)))
    click.echo("frozen: nothing is changed until `poolkeeper thaw`")


@main.command()
@fleet_option
@click.option("--cluster", help="Which cluster, if the fleet has several.")
def thaw(fleet: str | None, cluster: str | None) -> None:
    """Take a freeze back."""
    from tasks.cluster import stops

    was_frozen = _in_cluster(fleet, cluster, stops.thaw)
    click.echo("thawed" if was_frozen else "it was not frozen")


@main.command()
@click.argument("node")
@fleet_option
@click.option("--cluster", help="Which cluster, if the fleet has several.")
@click.option("--reason", required=True, help="Why; everyone who is refused reads it.")
def hold(node: str, fleet: str | None, cluster: str | None, reason: str) -> None:
    """Stop every later mutation of one NODE and its host; it also keeps a host from joining."""
    from tasks.cluster import stops

    _in_cluster(fleet, cluster, lambda api: stops.hold(api, node, _stop(reason)))
    click.echo(f"held: {node} is not touched until `poolkeeper unhold {node}`")


@main.command()
@click.argument("node")
@fleet_option
@click.option("--cluster", help="Which cluster, if the fleet has several.")
def unhold(node: str, fleet: str | None, cluster: str | None) -> None:
    """Take a hold back."""
    from tasks.cluster import stops

    was_held = _in_cluster(fleet, cluster, lambda api: stops.unhold(api, node))
    click.echo(f"{node} is free again" if was_held else f"{node} was not held")


def _chosen(fleet: str | None, selection: str) -> tuple[Fleet, tuple[Any, ...]]:
    from tasks.fleet import SelectionInvalid, select

    loaded = _loaded(fleet)
    try:
        return loaded, select(loaded, selection)
    except SelectionInvalid as error:
        _bad_input(str(error))


def _loaded(fleet: str | None) -> Fleet:
    from tasks.fleet import FleetInvalid, load_fleet
    from tasks.settings import fleet_path

    try:
        return load_fleet(fleet_path(fleet))
    except FleetInvalid as error:
        _bad_input(str(error))


def _parameter(text: str) -> tuple[str, Any]:
    """`name=value`; the value is JSON where it is JSON, else text."""
    name, equals, value = text.partition("=")
    if not equals:
        _bad_input(f"-p {text}: write it as name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _stop(reason: str) -> Any:
    from tasks.cluster.stops import Stop

    by = f"{getpass.getuser()}@{socket.gethostname()}"
    return Stop(by, datetime.now(UTC).isoformat(timespec="seconds"), reason)


def _in_cluster(fleet: str | None, name: str | None, act: Callable[[ClusterApi], Coroutine[Any, Any, Any]]) -> Any:
    """Act on one cluster of the fleet file."""
    from tasks.cluster import connect
    from tasks.settings import secret_reader

    cluster = _declared(fleet, name)

    async def connected() -> Any:
        async with connect(cluster, secret_reader()(cluster.kubeconfig)) as api:
            return await act(api)

    return _asked(connected())


def _declared(fleet: str | None, name: str | None) -> Cluster:
    """One cluster of the fleet file, by its name where there are several."""
    clusters = _loaded(fleet).clusters
    if name is None and len(clusters) > 1:
        _bad_input(f"the fleet has several clusters: choose one with --cluster ({', '.join(clusters)})")
    if name is not None and name not in clusters:
        _bad_input(f"no cluster {name} in the fleet file; there are: {', '.join(clusters)}")
    return clusters[name or next(iter(clusters))]


def _reached(
    fleet: str | None, name: str | None, kubeconfig: str | None, context: str | None
) -> tuple[Cluster, Secret]:
    """A cluster and its kubeconfig: the one given, else the fleet file's, else the one that kubectl would use."""
    from dataclasses import replace
    from pathlib import Path

    from tasks.cluster.kubeconfig import kubectls_cluster
    from tasks.settings import fleet_path, secret_reader

    if kubeconfig is not None:
        if fleet is not None or name is not None:
            _bad_input("--kubeconfig names the cluster: leave out --fleet and --cluster, or --kubeconfig")
        if not Path(kubeconfig).is_file():
            _bad_input(f"there is no file {kubeconfig}: name a kubeconfig with --kubeconfig")
        return kubectls_cluster(Path(kubeconfig), context)
    if fleet is None and name is None and not fleet_path().exists() and "POOLKEEPER_FLEET" not in os.environ:
        return kubectls_cluster(None, context)
    declared = _declared(fleet, name)
    chosen = declared if context is None else replace(declared, context=context)
    return chosen, secret_reader()(declared.kubeconfig)


def _seconds(duration: str) -> float:
    """`90s`, `5m`, `1h`, or a number of seconds."""
    number, unit = (duration[:-1], duration[-1]) if duration[-1:] in ("s", "m", "h") else (duration, "s")
    try:
        seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e6:
        _bad_input(f"--deadline {duration}: write it as 90s, 5m or 1h")
    return seconds


def _asked(question: Coroutine[Any, Any, T]) -> T:
    """The answer of something outside; when it cannot be had, a sentence and exit code 3."""
    with _finding_out():
        return asyncio.run(question)


@contextmanager
def _finding_out() -> Iterator[None]:
    from tasks.cluster import ApiError, ClusterUnreachable
    from tasks.cluster.kubeconfig import NoSuchContext
    from tasks.provider import ProviderError
    from tasks.settings import SecretMissing

    try:
        yield
    except NoSuchContext as error:
        _bad_input(str(error))
    except (ApiError, ClusterUnreachable, ProviderError, SecretMissing) as error:
        click.echo(str(error), err=True)
        sys.exit(COULD_NOT_FIND_OUT)


def _bad_input(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(BAD_INPUT)
