"""`poolkeeper check`: every problem of a fleet file."""

from __future__ import annotations

import json
import sys

import click

from poolkeeper.deployments.cli.asking import BAD_INPUT, FINE, json_option
from poolkeeper.deployments.terminal import echo


@click.command()
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
        first = f" (the first {len(problems)} are shown)" if problems.in_all > len(problems) else ""
        echo(f"\n{counted(problems.in_all, 'problem')} in {path}{first}")
    elif found is not None:
        hosts, pools = counted(len(found.hosts), "host"), counted(len(found.pools), "pool")
        echo(f"{path}: {hosts} in {pools}: no problems")
    sys.exit(BAD_INPUT if problems else FINE)
