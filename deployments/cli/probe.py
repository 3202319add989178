"""`poolkeeper probe`: run the preflight checks and the audit's measurements on hosts. No changes; no Prefect."""

from __future__ import annotations

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
    asked,
    chosen,
    fleet_option,
    json_option,
)
from poolkeeper.deployments.terminal import console, echo


@click.command()
@fleet_option
@click.argument("hosts", nargs=-1, required=True, shell_complete=completion.hosts)
@json_option
def probe(fleet: str | None, hosts: tuple[str, ...], as_json: bool) -> None:
    """Run the preflight checks and the audit's measurements on HOSTS, now; nothing is changed."""
    from poolkeeper.tasks.onboard.host_checks import check_hosts
    from poolkeeper.tasks.settings import secret_reader

    declared, wanted = chosen(fleet, "|".join(hosts) if len(hosts) > 1 else hosts[0])
    answer = [checks.row() for checks in asked(check_hosts(declared, wanted, secret_reader()))]
    if as_json:
        echo(json.dumps({"hosts": answer}, indent=2))
    else:
        show(answer)
    verdicts = {check["verdict"] for row in answer for check in row["checks"]}
    if "fail" in verdicts:
        sys.exit(WRONG_OUT_THERE)
    sys.exit(COULD_NOT_FIND_OUT if "unknown" in verdicts else FINE)


def show(answer: Sequence[dict[str, Any]]) -> None:
    """Print each host with its counts, its failed and unknown checks, and its findings."""
    from rich.markup import escape

    from poolkeeper.tasks.outcomes import Verdict

    terminal = console(markup=True)
    for row in answer:
        verdicts = [check["verdict"] for check in row["checks"]]
        counts = ", ".join(f"{verdicts.count(v)} {v}" for v in Verdict if verdicts.count(v))
        line = f"{row['next_action']}: {row['reason']} ({counts or 'not read'})"
        terminal.print(f"[bold]{escape(row['name'])}[/bold]: {escape(line)}")
        for check in row["checks"]:
            if check["verdict"] in ("fail", "unknown") and check["target"]:  # a check without a target has a finding
                terminal.print(
                    f"  {check['verdict']} {check['check']} {check['target']}: {check['reason']}", markup=False
                )
        for finding in row["findings"]:
            terminal.print(
                f"  {finding['severity']} {finding['id']}: {finding['evidence']['observed']}"
                f" (expected: {finding['evidence']['expected']})\n    next: {finding['next_step']}",
                markup=False,
            )
