"""`poolkeeper forecast`: what draining nodes would do. Only reads; needs no Prefect, no SSH and no fleet file."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from poolkeeper.deployments.cli import completion
from poolkeeper.deployments.cli.asking import (
    COULD_NOT_FIND_OUT,
    FINE,
    WRONG_OUT_THERE,
    asked,
    bad_input,
    cluster_option,
    finding_out,
    fleet_option,
    json_option,
    reached,
    seconds,
)
from poolkeeper.deployments.terminal import echo


@click.command()
@click.argument("nodes", nargs=-1, required=True, shell_complete=completion.nodes)
@fleet_option
@cluster_option
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
    """Forecast what draining NODES at once would do; nothing is changed.

    Needs a kubeconfig with read rights only: --kubeconfig, else the fleet file's, else kubectl's own. Exit code 0: all
    are clear; 1: one is blocked or loses something; 3: that cannot be found out.
    """
    from poolkeeper.deployments.cli import forecast_view as view
    from poolkeeper.tasks.cluster import connect
    from poolkeeper.tasks.cluster.node_names import NodesMistyped

    deadline_s = seconds(deadline)
    with finding_out():
        declared, secret = reached(fleet, cluster, kubeconfig, context)

    async def looked() -> Any:
        async with connect(declared, secret) as api:
            api.log_findings()
            return await view.look(api, nodes, deadline_s=deadline_s)

    try:
        made = asked(looked())
    except NodesMistyped as error:
        bad_input(str(error))
    if as_json:
        echo(json.dumps(view.rows(made), indent=2))
    else:
        view.show(made)
    effects = {str(node.effect) for node in made.nodes}
    if effects & {"blocked", "lossy"}:
        sys.exit(WRONG_OUT_THERE)
    sys.exit(COULD_NOT_FIND_OUT if "unknown" in effects else FINE)
