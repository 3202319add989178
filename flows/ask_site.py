"""Probe hosts that only a worker inside their site reaches, for an audit that runs elsewhere.

The audit starts this flow in the work pool that the fleet file names for the site, and reads the artifact that it
leaves. It changes nothing: each host runs the probe program that it gets over SSH, as in the audit itself. It sends
nothing to the API server.
Needs, on the worker: the same fleet file, an SSH key.
Killed at any point: the audit continues without these hosts and reports it; start the audit again.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from poolkeeper.flows.surroundings import secrets
from poolkeeper.tasks.audit import steps
from poolkeeper.tasks.audit.remote.worker import ask_here
from poolkeeper.tasks.fleet import FleetInvalid, load_fleet
from poolkeeper.tasks.hosts import Sessions
from poolkeeper.tasks.outcomes import visible
from poolkeeper.tasks.settings import SecretMissing, fleet_of_parameter


@flow(name="ask-site", flow_run_name=lambda: f"probe {len(flow_run.parameters['batches'])} hosts")
async def ask_site(batches: dict[str, str], fleet: str = "") -> State[Any]:
    """Probe hosts of this worker's site for an audit that runs elsewhere.

    Args:
        batches: Name of a host -> its request batch, as the audit writes it.
        fleet: Fleet file in a folder that the worker allows; empty for its $POOLKEEPER_FLEET, else ./fleet.yaml.
    """
    try:
        declared = load_fleet(fleet_of_parameter(fleet))
        keys = {host.ssh.key for name in batches if (host := declared.hosts.get(name)) and host.ssh.key}
        async with Sessions(declared.ssh_limits, await secrets(keys)) as sessions:
            replies = await ask_here(declared, sessions, batches)
    except (FleetInvalid, SecretMissing) as error:
        return Failed(message=visible(error.summary))
    except OSError as error:
        return Failed(message=visible(str(error)))
    await steps.leave_replies(replies)
    probed = sum("stdout" in reply for reply in replies.values())
    return Completed(message=f"{probed} of {len(replies)} hosts probed")
