"""A person's word to runs: freeze, hold, stop, approve, reject, and giving back what runs have left."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from poolkeeper.deployments.asking import (
    FINE,
    WRONG_OUT_THERE,
    bad_input,
    cluster_option,
    fleet_option,
    in_cluster,
    json_option,
    loaded,
)
from poolkeeper.deployments.terminal import echo

if TYPE_CHECKING:
    from poolkeeper.tasks.cluster import ClusterApi
    from poolkeeper.tasks.cluster.approvals import Approval
    from poolkeeper.tasks.cluster.stops import Stop

_reason = click.option("--reason", required=True, help="Why; everyone who is refused reads it.")


@click.command()
@fleet_option
@cluster_option
@_reason
def freeze(fleet: str | None, cluster: str | None, reason: str) -> None:
    """Stop every later mutation in a cluster, wherever it is ordered from."""
    from poolkeeper.tasks.cluster import stops

    in_cluster(fleet, cluster, lambda api: stops.freeze(api, _word(reason)))
    echo("frozen: nothing is changed until `poolkeeper thaw`")


@click.command()
@fleet_option
@cluster_option
def thaw(fleet: str | None, cluster: str | None) -> None:
    """Take a freeze back."""
    from poolkeeper.tasks.cluster import stops

    was_frozen = in_cluster(fleet, cluster, stops.thaw)
    echo("thawed" if was_frozen else "it was not frozen")


@click.command()
@click.argument("node")
@fleet_option
@cluster_option
@_reason
def hold(node: str, fleet: str | None, cluster: str | None, reason: str) -> None:
    """Stop every later mutation of one NODE and its host; it also keeps a host from joining."""
    from poolkeeper.tasks.cluster import stops

    _refuse_host_name("hold", node, fleet)

    async def held(api: ClusterApi) -> None:
        if (told := await _no_such_node(api, node, fleet)) is not None:
            bad_input(told)
        await stops.hold(api, node, _word(reason))

    in_cluster(fleet, cluster, held)
    echo(f"held: {node} is not touched until `poolkeeper unhold {node}`")


@click.command()
@click.argument("node")
@fleet_option
@cluster_option
def unhold(node: str, fleet: str | None, cluster: str | None) -> None:
    """Take a hold back."""
    from poolkeeper.tasks.cluster import stops

    _refuse_host_name("unhold", node, fleet)
    was_held = in_cluster(fleet, cluster, lambda api: stops.unhold(api, node))
    echo(f"{node} is free again" if was_held else f"{node} was not held")


async def _no_such_node(api: ClusterApi, node: str, fleet: str | None) -> str | None:
    """What to say of a name that is neither a Node's nor that of a host which may become one; None: it is one."""
    from poolkeeper.tasks.cluster.nodes import list_nodes
    from poolkeeper.tasks.fleet.problems import nearest

    names = {*(await list_nodes(api)), *(host.node_name for host in loaded(fleet).hosts.values())}
    if node in names:
        return None
    return f"there is no node {node}, neither in the cluster nor in the fleet file. {nearest(node, names)}"


def _refuse_host_name(word: str, node: str, fleet: str | None) -> None:
    """A hold is kept by node name: the name of a host whose node has another one would hold nothing."""
    hosts = loaded(fleet).hosts
    if node in hosts and node not in {host.node_name for host in hosts.values()}:
        name = hosts[node].node_name
        bad_input(f"{node} is a host, and its node is named {name}: `poolkeeper {word} {name}`")


@click.command()
@click.argument("run")
@fleet_option
@cluster_option
@click.option("--reason", default="no reason given", help="Why; it stands in the run's summary.")
def stop(run: str, fleet: str | None, cluster: str | None, reason: str) -> None:
    """Let a rollout start nothing new: hosts in flight are finished or given back, then RUN ends by itself.

    RUN is its id, or the beginning of it.
    """
    from poolkeeper.tasks.cluster import stops

    async def say(api: ClusterApi) -> str:
        found = await _running(api, run)
        await stops.stop_run(api, found, _word(reason))
        return found

    found = in_cluster(fleet, cluster, say)
    echo(f"told: run {found} starts nothing new, finishes or gives back what is in flight, and ends")


async def _running(api: ClusterApi, run: str) -> str:
    """The id of the one rollout that is meant, among those that hold a pool. Bad input where there is none."""
    from poolkeeper.tasks.cluster.leases import list_leases

    rows = (await list_leases(api)).values()
    holders = {row.holder.partition("/")[0] for row in rows if row.name.startswith("pool-") and row.holder}
    found = sorted(holder for holder in holders if holder.startswith(run))
    if not found:
        there = f"; running: {', '.join(sorted(holders))}" if holders else ", and no other one is under way"
        bad_input(f"no rollout {run} holds a pool{there}. One that waits for approval holds nothing: reject it")
    if len(found) > 1:
        bad_input(f"{run} is the beginning of several runs: {', '.join(found)}")
    return found[0]


@click.command()
@click.argument("run")
@fleet_option
@cluster_option
@click.option("--reason", default="", help="Why; it stands in the run's log.")
@click.option("--yes", is_flag=True, help="Do not ask after showing the plan.")
def approve(run: str, fleet: str | None, cluster: str | None, reason: str, yes: bool) -> None:
    """Say yes to the plan that RUN has shown; it may be narrowed afterwards and nothing else.

    RUN is its id, the plan's, or the beginning of one.
    """
    _give_word(run, fleet, cluster, "approved", reason, yes=yes)


@click.command()
@click.argument("run")
@fleet_option
@cluster_option
@click.option("--reason", default="", help="Why; whoever starts it again reads it.")
def reject(run: str, fleet: str | None, cluster: str | None, reason: str) -> None:
    """Say no to the plan that RUN has shown; the same plan is refused from then on."""
    _give_word(run, fleet, cluster, "rejected", reason, yes=True)


def _give_word(run: str, fleet: str | None, cluster: str | None, word: str, reason: str, *, yes: bool) -> None:
    from dataclasses import replace

    from poolkeeper.deployments import suspended
    from poolkeeper.tasks.cluster.approvals import write_approval

    asked: Approval = in_cluster(fleet, cluster, lambda api: _asked_for(api, run))
    _show_plan(asked)
    if not yes:
        click.confirm("Approve this plan?", abort=True, err=True)
    said = _word(reason)
    spoken = replace(asked, word=word, by=said.by, at=said.since, reason=reason)
    in_cluster(fleet, cluster, lambda api: write_approval(api, spoken))
    url = os.environ.get("PREFECT_API_URL", "")
    after = suspended.resume(url, asked.run) if word == "approved" else suspended.cancel(url, asked.run)
    echo(f"{word}: plan {asked.key} of run {asked.run}; {after}")


async def _asked_for(api: ClusterApi, run: str) -> Approval:
    """The one plan that is meant, among those that wait for a word. Bad input where there is none."""
    from poolkeeper.tasks.cluster.approvals import read_approvals

    waiting = [one for one in (await read_approvals(api)).values() if not one.word]
    found = [one for one in waiting if one.run.startswith(run) or one.key.startswith(run)]
    if not found:
        there = _runs(waiting)
        bad_input(f"no plan of {run} waits for a word" + (f"; waiting: {there}" if there else ""))
    if len(found) > 1:
        bad_input(f"{run} is the beginning of several: {_runs(found)}")
    return found[0]


def _runs(approvals: Sequence[Approval]) -> str:
    return ", ".join(f"{one.run} (plan {one.key})" for one in approvals)


def _show_plan(asked: Approval) -> None:
    """What a person says yes to, on stderr."""
    plan = asked.plan
    goal = json.dumps(plan.get("goal"), sort_keys=True)
    echo(f"{plan.get('flow')} of pool {plan.get('pool')}: {goal}", err=True)
    echo(f"  asked at {asked.asked_at}, since {plan.get('why')}", err=True)
    waves: dict[int, list[str]] = {}
    for name, wave in plan.get("hosts") or ():
        waves.setdefault(wave, []).append(name)
    for wave, names in sorted(waves.items()):
        echo(f"  wave {wave}: {', '.join(names)}", err=True)
    limits = ", ".join(f"{name} {value}" for name, value in sorted((plan.get("limits") or {}).items()))
    echo(f"  limits: {limits}", err=True)


@click.command()
@click.argument("nodes", nargs=-1)
@fleet_option
@cluster_option
@click.option("--yes", is_flag=True, help="Give back without asking.")
@json_option
def release(nodes: tuple[str, ...], fleet: str | None, cluster: str | None, yes: bool, as_json: bool) -> None:
    """Show all that rollouts hold in a cluster, with the plain commands that give it back, and give it back.

    NODES: only these nodes. One that may be half changed, or that a person has, is kept unless it is named; one in
    quarantine is kept in any case. With --json it is only shown, unless --yes is said too. A run that still lives loses
    what it holds, and stops.
    """
    from poolkeeper.deployments import releasing
    from poolkeeper.deployments.forecasting import NodesMistyped

    try:
        held = in_cluster(fleet, cluster, lambda api: releasing.held(api, nodes))
    except NodesMistyped as error:
        bad_input(str(error))
    if as_json:
        rows = [{"kind": h.kind, "name": h.name, "why": h.why, "commands": list(h.commands)} for h in held]
        echo(json.dumps(rows, indent=2))
    else:
        releasing.show(held)
    mine = [one for one in held if one.proven or (one.kind in ("node", "intent") and one.name in nodes)]
    if not mine or (as_json and not yes):
        sys.exit(FINE)
    if not yes:
        click.confirm(f"Give these {len(mine)} back?", abort=True, err=True)
    left = in_cluster(fleet, cluster, lambda api: releasing.give_back(api, mine, nodes))
    echo("\n".join([*left, f"given back: {len(mine) - len(left)}"]), err=as_json)
    sys.exit(WRONG_OUT_THERE if left else FINE)


COMMANDS = (freeze, thaw, hold, unhold, stop, approve, reject, release)


def _word(reason: str) -> Stop:
    from poolkeeper.tasks.cluster.stops import Stop

    by = f"{getpass.getuser()}@{socket.gethostname()}"
    return Stop(by, datetime.now(UTC).isoformat(timespec="seconds"), reason)
