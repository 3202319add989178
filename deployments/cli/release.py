"""`poolkeeper release`: what rollouts hold in a cluster, and giving it back."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from poolkeeper.deployments.cli import completion
from poolkeeper.deployments.cli.asking import (
    FINE,
    WRONG_OUT_THERE,
    bad_input,
    cluster_option,
    fleet_option,
    in_cluster,
    json_option,
)
from poolkeeper.deployments.terminal import echo

if TYPE_CHECKING:
    from poolkeeper.tasks.rollout.holdings import Holding


@click.command()
@click.argument("nodes", nargs=-1, shell_complete=completion.nodes)
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
    from poolkeeper.tasks.cluster.node_names import NodesMistyped
    from poolkeeper.tasks.rollout import releasing

    try:
        held = in_cluster(fleet, cluster, lambda api: releasing.held(api, nodes))
    except NodesMistyped as error:
        bad_input(str(error))
    if as_json:
        rows = [{"kind": h.kind, "name": h.name, "why": h.why, "commands": list(h.commands)} for h in held]
        echo(json.dumps(rows, indent=2))
    else:
        show(held)
    mine = [one for one in held if one.proven or (one.kind in ("node", "intent") and one.name in nodes)]
    if not mine or (as_json and not yes):
        sys.exit(FINE)
    if not yes:
        click.confirm(f"Give these {len(mine)} back?", abort=True, err=True)
    left = in_cluster(fleet, cluster, lambda api: releasing.release(api, mine, nodes))
    echo("\n".join([*left, f"given back: {len(mine) - len(left)}"]), err=as_json)
    sys.exit(WRONG_OUT_THERE if left else FINE)


def show(found: Sequence[Holding]) -> None:
    """What is held, each with the commands that a person can type in place of us."""
    if not found:
        echo("nothing of ours is held in this cluster")
    for one in found:
        by_name = one.kind in ("node", "intent")
        kept = "" if one.proven else " (kept, unless the node is named)" if by_name else " (kept)"
        echo(f"{one.kind} {one.name}: {one.why}{kept}")
        for command in one.commands:
            echo(f"    {command}")
