"""`poolkeeper status`: hosts and nodes, declared and observed. Changes nothing; needs no Prefect and no SSH."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from poolkeeper.deployments.cli import completion
from poolkeeper.deployments.cli.asking import (
    COULD_NOT_FIND_OUT,
    FINE,
    WRONG_OUT_THERE,
    chosen,
    fleet_option,
    json_option,
)
from poolkeeper.deployments.terminal import echo, table


@click.command()
@fleet_option
@click.option(
    "--hosts",
    "selection",
    default="all",
    shell_complete=completion.hosts,
    help="Which hosts, such as `pool=general,site=fra1`.",
)
@json_option
def status(fleet: str | None, selection: str, as_json: bool) -> None:
    """Show hosts and nodes, as declared and as observed."""
    from poolkeeper.tasks.cluster.inventory import read_inventory
    from poolkeeper.tasks.settings import secret_reader

    declared, hosts = chosen(fleet, selection)
    rows = [row.row() for row in asyncio.run(read_inventory(hosts, secret_reader()))]
    if as_json:
        echo(json.dumps({"fleet": declared.name, "hosts": rows}, indent=2))
    else:
        show(rows)
    if any(row["state"] == "unknown" for row in rows):
        sys.exit(COULD_NOT_FIND_OUT)
    sys.exit(FINE if all(row["state"] == "accepted" for row in rows) else WRONG_OUT_THERE)


def show(rows: Sequence[dict[str, Any]]) -> None:
    """The rows as a table."""
    columns = ("host", "node", "pool", "site", "state", "kubelet", "detail")
    table(columns, [[str(row.get(column) or "") for column in columns] for row in rows])
