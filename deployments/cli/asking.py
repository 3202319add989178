"""What the commands share: exit codes, options, the fleet file, access to a cluster, and errors of both."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from poolkeeper.deployments.cli import completion
from poolkeeper.deployments.terminal import echo
from poolkeeper.tasks.outcomes import quoted

if TYPE_CHECKING:
    from poolkeeper.tasks.cluster import ClusterApi
    from poolkeeper.tasks.cluster.stops import Stop
    from poolkeeper.tasks.fleet import Cluster, Fleet
    from poolkeeper.tasks.outcomes import Secret

T = TypeVar("T")

FINE, WRONG_OUT_THERE, BAD_INPUT, COULD_NOT_FIND_OUT = 0, 1, 2, 3

fleet_option = click.option("--fleet", help="Fleet file; else $POOLKEEPER_FLEET, else ./fleet.yaml.")
cluster_option = click.option(
    "--cluster", shell_complete=completion.clusters, help="Which cluster, if the fleet has several."
)
reason_option = click.option("--reason", required=True, help="Why; it is shown to everyone whose change is refused.")
json_option = click.option("--json", "as_json", is_flag=True, help="Answer as JSON.")


def chosen(fleet: str | None, selection: str) -> tuple[Fleet, tuple[Any, ...]]:
    from poolkeeper.tasks.fleet import SelectionInvalid, select

    declared_world = loaded(fleet)
    try:
        return declared_world, select(declared_world, selection)
    except SelectionInvalid as error:
        bad_input(error.summary)


def loaded(fleet: str | None) -> Fleet:
    from poolkeeper.tasks.fleet import FleetInvalid, load_fleet
    from poolkeeper.tasks.settings import fleet_path

    try:
        return load_fleet(fleet_path(fleet))
    except FleetInvalid as error:
        bad_input(error.in_full)


def in_cluster(fleet: str | None, name: str | None, act: Callable[[ClusterApi], Coroutine[Any, Any, Any]]) -> Any:
    """Connect to one cluster of the fleet file and run `act` with it; its result."""
    from poolkeeper.tasks.cluster import connect
    from poolkeeper.tasks.settings import secret_reader

    cluster = declared(fleet, name)

    async def connected() -> Any:
        async with connect(cluster, secret_reader()(cluster.kubeconfig)) as api:
            api.log_findings()
            return await act(api)

    return asked(connected())


def declared(fleet: str | None, name: str | None) -> Cluster:
    """One cluster of the fleet file, by its name if there are several."""
    clusters = loaded(fleet).clusters
    if name is None and len(clusters) > 1:
        bad_input(f"the fleet has several clusters: choose one with --cluster ({', '.join(clusters)})")
    if name is not None and name not in clusters:
        bad_input(f"no cluster {quoted(name)} in the fleet file; there are: {', '.join(clusters)}")
    return clusters[name or next(iter(clusters))]


def reached(fleet: str | None, name: str | None, kubeconfig: str | None, context: str | None) -> tuple[Cluster, Secret]:
    """A cluster and its kubeconfig: from `kubeconfig`, else the fleet file, else the one that kubectl would use."""
    from dataclasses import replace
    from pathlib import Path

    from poolkeeper.tasks.cluster.kubeconfig import kubectls_cluster
    from poolkeeper.tasks.settings import fleet_path, secret_reader

    if kubeconfig is not None:
        if fleet is not None or name is not None:
            bad_input("--kubeconfig names the cluster: leave out --fleet and --cluster, or --kubeconfig")
        if not Path(kubeconfig).is_file():
            why = "it is a folder" if Path(kubeconfig).is_dir() else "there is no such file"
            bad_input(f"--kubeconfig {kubeconfig}: {why}; name a kubeconfig")
        return kubectls_cluster(Path(kubeconfig), context)
    if fleet is None and name is None and not fleet_path().exists() and "POOLKEEPER_FLEET" not in os.environ:
        return kubectls_cluster(None, context)
    named = declared(fleet, name)
    reached_by = named if context is None else replace(named, context=context)
    return reached_by, secret_reader()(named.kubeconfig)


def seconds(duration: str) -> float:
    """`90s`, `5m`, `1h`, or a number of seconds."""
    number, unit = (duration[:-1], duration[-1]) if duration[-1:] in ("s", "m", "h") else (duration, "s")
    try:
        seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e6:
        bad_input(f"--deadline {quoted(duration)}: write it as 90s, 5m or 1h")
    return seconds


def asked(question: Coroutine[Any, Any, T]) -> T:
    """The answer of a cluster or provider; if there is none, print why and exit with code 3."""
    with finding_out():
        return asyncio.run(question)


@contextmanager
def finding_out() -> Iterator[None]:
    """Print an error of the block that leaves the answer unknown, and exit with code 3."""
    from poolkeeper.tasks.cluster import ApiError, ClusterUnreachable
    from poolkeeper.tasks.cluster.kubeconfig import NoSuchContext
    from poolkeeper.tasks.provider import ProviderError
    from poolkeeper.tasks.settings import SecretMissing

    try:
        yield
    except NoSuchContext as error:
        bad_input(error.summary)
    except (ApiError, ClusterUnreachable, ProviderError, SecretMissing) as error:
        echo(error.summary, err=True)
        sys.exit(COULD_NOT_FIND_OUT)


def stop_of(reason: str) -> Stop:
    """A stop by the user of this command, now."""
    from poolkeeper.tasks.cluster.stops import Stop

    by = f"{getpass.getuser()}@{socket.gethostname()}"
    return Stop(by, datetime.now(UTC).isoformat(timespec="seconds"), reason)


def bad_input(message: str) -> NoReturn:
    echo(message, err=True)
    sys.exit(BAD_INPUT)
