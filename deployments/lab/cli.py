"""`poolkeeper lab`: the practice world from the command line.

Exit codes: 0 fine, 1 something is wrong out there, 2 bad input, 3 could not find out.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import FAULTS, Fault
from poolkeeper.deployments.lab.layout import MAX_HOSTS, OLDER_KUBELETS, POOLS, LabFolder
from poolkeeper.deployments.terminal import echo
from poolkeeper.tasks.settings import state_folder

T = TypeVar("T")
HOSTS, MACHINES = 12, 3
DEPLOYED_WITHIN_S = 60.0
FINE, WRONG_OUT_THERE, BAD_INPUT, COULD_NOT_FIND_OUT = 0, 1, 2, 3

_folder = click.option(
    "--folder", type=click.Path(path_type=Path), help="The lab's folder; else $POOLKEEPER_STATE/lab, else .state/lab."
)
_json = click.option("--json", "as_json", is_flag=True, help="Answer as JSON.")
_fault = click.Choice([str(fault) for fault in Fault])


@click.group()
def lab() -> None:
    """The practice world: a cluster, its provider and hosts on loopback, to break things in on purpose."""


@lab.command()
@_folder
@_json
@click.option("--hosts", type=click.IntRange(1, MAX_HOSTS), help=f"How many hosts; else {HOSTS}.")
@click.option("--real", is_flag=True, help="Debian machines and Kubernetes' own programs (Linux, root, Go).")
@click.option("--machines", type=click.IntRange(1, 20), help=f"How many, with --real; else {MACHINES}.")
@click.option(
    "--kubelet",
    type=click.Choice(OLDER_KUBELETS),
    help="Version that hosts join with, to have something to upgrade; else the API server's. Without --real.",
)
@click.option(
    "--prefect",
    type=click.Choice(["all", "server"]),
    is_flag=False,
    flag_value="all",
    help="Also a Prefect server with every deployment, and a worker; some 30 s. `server`: the server alone.",
)
def up(
    folder: Path | None,
    as_json: bool,
    hosts: int | None,
    real: bool,
    machines: int | None,
    kubelet: str | None,
    prefect: str | None,
) -> None:
    """Start a lab, and show its addresses."""
    if real and hosts is not None:
        raise click.UsageError("--hosts is for the lab on loopback; with --real, say --machines.")
    if real and kubelet is not None:
        raise click.UsageError("--kubelet is for the lab on loopback; with --real, set kubernetes_version of a pool.")
    if machines is not None and not real:
        raise click.UsageError("--machines needs --real; without it, say --hosts.")
    place, began = _place(folder), time.monotonic()
    started = _tried(
        lambda: (
            lifecycle.up_machines(place, machines or MACHINES)
            if real
            else lifecycle.up(place, hosts or HOSTS, kubelet=kubelet)
        )
    )
    if prefect:
        started = _tried(lambda: lifecycle.start_prefect(place, alone=prefect == "server")) or started
    told = lifecycle.status(place)
    if as_json:
        echo(json.dumps({"started": started, **told}, indent=2))
        return
    first = told["hosts"][0]
    took = f"up after {time.monotonic() - began:.1f} s" if started else "was up already, as it was started then"
    echo(
        f"The lab {took}, on {told['network']}:\n"
        f"  Kubernetes API   {told['api_url']}\n"
        f"  provider         {told['provider_url'] or 'kubeadm'}\n"
        f"  the bill (BSS)   {told['billing_url'] or '-'}\n"
        f"  name server      {told['dns']}\n"
        f"  hosts            {len(told['hosts'])}, from {first['name']} at {first['address']}:{first['port']}\n"
        f"  fleet file       {told['fleet']}"
    )
    if told["prefect_api_url"]:
        echo(f"  Prefect          {told['prefect_api_url'].removesuffix('/api')}")
    echo(f"Work in it:\n  export POOLKEEPER_FLEET={told['fleet']}")
    if told["prefect_api_url"]:
        echo(f"  export PREFECT_API_URL={told['prefect_api_url']}")
    echo(
        f"Look around:\n"
        f"  {told['kubectl']} --kubeconfig {place.admin_kubeconfig} get nodes,pods -A\n"
        f"  ssh -i {place.keys / 'ops'} -o UserKnownHostsFile={place.keys / 'known_hosts'}"
        f" -p {first['port']} ops@{first['address']}"
    )


@lab.command()
@_folder
@_json
def down(folder: Path | None, as_json: bool) -> None:
    """End a lab and all its processes, and remove its folder; also after a kill."""
    place = _place(folder)
    was_there = _tried(lambda: lifecycle.down(place))
    if as_json:
        echo(json.dumps({"stopped": was_there, "folder": str(place.path)}))
    else:
        echo(f"the lab in {place.path} is gone" if was_there else f"there was no lab in {place.path}")


@lab.command()
@_folder
@_json
def status(folder: Path | None, as_json: bool) -> None:
    """Show what runs where, and what is broken."""
    place = _place(folder)
    try:
        told = lifecycle.status(place)
    except lifecycle.NotALab as error:
        echo(str(error), err=True)
        sys.exit(WRONG_OUT_THERE)
    if as_json:
        echo(json.dumps(told, indent=2))
        return
    for key in ("api_url", "provider_url", "billing_url", "prefect_api_url", "dns", "fleet", "kubeconfig"):
        echo(f"{key:<16} {told[key] or '-'}")
    for host in told["hosts"]:
        echo(f"{host['name']:<16} {host['address']}:{host['port']:<6} {host['fault'] or ''}".rstrip())
    for place in (*told["sites"], told["cloud"]):
        if place["fault"]:
            echo(f"{place['name']:<16} {place['fault']}")


@lab.command(name="break")
@click.argument("subject")
@click.argument("fault", type=_fault, metavar="FAULT")
@_folder
def break_(subject: str, fault: str, folder: Path | None) -> None:
    """Break a SUBJECT, which is a host, a site or `cloud`, with a FAULT; `lab faults` lists them."""
    chosen = _chosen(subject, fault)
    _tried(lambda: lifecycle.break_host(_place(folder), subject, chosen))
    echo(f"{subject} is broken: {FAULTS[chosen].description}")


@lab.command()
@click.argument("subject")
@click.argument("fault", type=_fault, metavar="[FAULT]", required=False)
@_folder
def mend(subject: str, fault: str | None, folder: Path | None) -> None:
    """Correct one FAULT of a SUBJECT, which is a host, a site or `cloud`, or all of its faults."""
    chosen = _chosen(subject, fault) if fault else None
    _tried(lambda: lifecycle.mend_host(_place(folder), subject, chosen))
    echo(f"{subject} is mended" + (f" of {fault}" if fault else ""))


@lab.command()
@click.argument("name", default="web")
@click.option("--pool", type=click.Choice(list(POOLS)), default="general", show_default=True)
@click.option("--replicas", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--min-available", type=click.IntRange(0, 100), default=2, show_default=True, help="Of its budget.")
@_folder
def deploy(name: str, pool: str, replicas: int, min_available: int, folder: Path | None) -> None:
    """Run a Deployment with a PodDisruptionBudget on a pool, or change its numbers: something for drains to meet."""
    from poolkeeper.deployments.lab import practice

    place = _place(folder)

    async def deployed() -> None:
        async with asyncio.timeout(DEPLOYED_WITHIN_S):
            await practice.deploy(place, name, pool=pool, replicas=replicas, min_available=min_available)

    _tried(lambda: lifecycle.status(place))
    try:
        asyncio.run(deployed())
    except TimeoutError:
        echo(f"{name} was not Ready within {DEPLOYED_WITHIN_S:.0f} s; is a node of pool {pool} accepted?", err=True)
        sys.exit(WRONG_OUT_THERE)
    echo(f"{name}: {replicas} replicas on pool {pool}, of which {min_available} must stay available")


@lab.command()
@_json
def faults(as_json: bool) -> None:
    """List what can be broken, and of what."""
    if as_json:
        rows = {
            fault: {"subjects": about.subjects, "description": about.description} for fault, about in FAULTS.items()
        }
        echo(json.dumps(rows, indent=2))
        return
    for fault, about in FAULTS.items():
        end = " (machines only)" if about.machines_only else ""
        echo(f"{fault:<26} {' or '.join(about.subjects):<13} {about.description}{end}")


def _chosen(subject: str, fault: str) -> Fault:
    """The fault, if such a subject can have it; else a usage error."""
    chosen = Fault(fault)
    if refusal := lifecycle.why_not(subject, chosen):
        raise click.UsageError(refusal)
    return chosen


def _place(folder: Path | None) -> LabFolder:
    return LabFolder((folder or state_folder() / "lab").absolute())


def _tried(act: Callable[[], T]) -> T:
    """Its result, or its error as a sentence and an exit code."""
    try:
        return act()
    except lifecycle.NotALab as error:
        echo(str(error), err=True)
        sys.exit(BAD_INPUT)
    except lifecycle.LabError as error:
        echo(str(error), err=True)
        sys.exit(COULD_NOT_FIND_OUT)
