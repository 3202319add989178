"""Put an audit's questions to hosts that only a worker inside their site reaches.

The audit starts it, in the work pool that the fleet file names for the site, and reads what it leaves. It looks only:
each host is sent the probe program over SSH, as in the audit itself; the API server is not asked.
Needs, on the worker: the same fleet file, an SSH key.
Killed at any point: the audit goes on without these hosts and says so; start the audit again.
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


@flow(name="ask-site", flow_run_name=lambda: f"ask {len(flow_run.parameters['batches'])} hosts")
async def ask_site(batches: dict[str, str], fleet: str = "") -> State[Any]:
    """Ask hosts of this worker's site what an audit elsewhere wants to know of them.

    Args:
        batches: Host by name, and its questions as the audit writes them.
        fleet: Fleet file in a folder that the worker allows; empty for its $POOLKEEPER_FLEET, else ./fleet.yaml.
    """
    try:
        declared = load_fleet(fleet_of_parameter(fleet))
        keys = {host.ssh.key for name in batches if (host := declared.hosts.get(name)) and host.ssh.key}
        async with Sessions(declared.ssh_limits, await secrets(keys)) as sessions:
            said = await ask_here(declared, sessions, batches)
    except (FleetInvalid, SecretMissing) as error:
        return Failed(message=visible(error.summary))
    except OSError as error:
        return Failed(message=visible(str(error)))
    await steps.leave_answers(said)
    asked = sum("stdout" in one for one in said.values())
    return Completed(message=f"{asked} of {len(said)} hosts asked")
