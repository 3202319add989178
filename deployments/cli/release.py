"""`poolkeeper release`: show what rollouts hold in a cluster, and release it."""

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
@click.option("--yes", is_flag=True, help="Release without asking.")
@json_option
def release(nodes: tuple[str, ...], fleet: str | None, cluster: str | None, yes: bool, as_json: bool) -> None:
    """Show all that rollouts hold in a cluster, with the kubectl commands that release it, and release it.

    NODES: only these nodes. A node that may be half changed or is with a person is released only if it is named; a node
    in quarantine is never released. With --json it is only shown, unless --yes is given too. A living run loses what it
    holds, and stops.
    """
    from poolkeeper.tasks.cluster.node_names import NodesMistyped
    from poolkeeper.tasks.rollout import releasing

    try:
        found = in_cluster(fleet, cluster, lambda api: releasing.find_holdings(api, nodes))
    except NodesMistyped as error:
        bad_input(str(error))
    if as_json:
        rows = [{"kind": h.kind, "name": h.name, "why": h.why, "commands": list(h.commands)} for h in found]
        echo(json.dumps(rows, indent=2))
    else:
        show(found)
    mine = [one for one in found if one.releasable or (one.kind in ("node", "intent") and one.name in nodes)]
    if not mine or (as_json and not yes):
        sys.exit(FINE)
    if not yes:
        click.confirm(f"Release these {len(mine)}?", abort=True, err=True)
    left = in_cluster(fleet, cluster, lambda api: releasing.release(api, mine, nodes))
    echo("\n".join([*left, f"released: {len(mine) - len(left)}"]), err=as_json)
    sys.exit(WRONG_OUT_THERE if left else FINE)


def show(found: Sequence[Holding]) -> None:
    """What is held, each with the kubectl commands that release it."""
    if not found:
        echo("poolkeeper holds nothing in this cluster")
    for one in found:
        by_name = one.kind in ("node", "intent")
        kept = "" if one.releasable else " (released only if the node is named)" if by_name else " (never released)"
        echo(f"{one.kind} {one.name}: {one.why}{kept}")
        for command in one.commands:
            echo(f"    {command}")
