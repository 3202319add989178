"""`poolkeeper schema`: the fleet file's JSON Schema."""

from __future__ import annotations

import json

import click

from poolkeeper.deployments.terminal import echo


@click.command()
def schema() -> None:
    """Print the fleet file's JSON Schema, for editors."""
    from poolkeeper.tasks.fleet import fleet_schema

    echo(json.dumps(fleet_schema(), indent=2))
