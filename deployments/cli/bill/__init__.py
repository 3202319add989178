"""`poolkeeper bill`: what the cluster and its nodes cost for being managed, and why.

Evidence is the spool of the state folder, or a CSV file with --events, which needs neither ledger nor cluster.
Months are closed in the state folder. Exit codes: 0 fine, 1 a closed period was tampered with or a line of the vendor's
bill is to be disputed, 2 bad input, 3 a price or size is missing or the vendor could not be asked.
"""

from __future__ import annotations

import click

from poolkeeper.deployments.cli.bill.close import close_command
from poolkeeper.deployments.cli.bill.explain import explain_command
from poolkeeper.deployments.cli.bill.forecast import outlook_command
from poolkeeper.deployments.cli.bill.meter import meter_command
from poolkeeper.deployments.cli.bill.reconcile import reconcile_command


@click.group()
def bill() -> None:
    """Tell what being managed costs, to the cent, and why."""


for _command in (meter_command, close_command, explain_command, outlook_command, reconcile_command):
    bill.add_command(_command)
