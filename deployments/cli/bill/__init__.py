"""`poolkeeper bill`: the management fees of the cluster and its nodes, and how they are computed.

Evidence is the spool of the state folder, or with --events a CSV file, which needs neither ledger nor cluster. Months
are closed in the state folder. Exit codes: 0 fine, 1 a closed month is damaged or there is a line of the vendor's bill
to dispute, 2 bad input, 3 a price or size is missing or the vendor does not answer.
"""

from __future__ import annotations

import click

from poolkeeper.deployments.cli.bill.close import close_command
from poolkeeper.deployments.cli.bill.explain import explain_command
from poolkeeper.deployments.cli.bill.forecast import forecast_command
from poolkeeper.deployments.cli.bill.meter import meter_command
from poolkeeper.deployments.cli.bill.reconcile import reconcile_command


@click.group()
def bill() -> None:
    """Meter the management fees, explain them, and compare them with the vendor's bill."""


for _command in (meter_command, close_command, explain_command, forecast_command, reconcile_command):
    bill.add_command(_command)
