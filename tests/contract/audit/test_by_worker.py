"""Asking through a Prefect server that is not there: the site is not measured, and the night goes on."""

from __future__ import annotations

import socket
from pathlib import Path

from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from poolkeeper.tasks.audit import steps
from poolkeeper.tasks.audit.planning.mesh import Mesh
from poolkeeper.tasks.audit.planning.plan import NightPlan
from poolkeeper.tasks.audit.run import AuditRun, Clusters
from poolkeeper.tasks.fleet.model import SshLimits
from poolkeeper.tasks.hosts import Sessions
from poolkeeper.tasks.ledger import Spool
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.settings import secret_reader
from tests.unit.audit.test_plan import fleet
from tests.unit.onboard.builders import a_host


async def test_a_prefect_server_that_is_away_costs_the_sites_hosts_only(tmp_path: Path) -> None:
    host = a_host("n1")
    plan = NightPlan({"n1": ()}, Mesh({"n1": ()}, 1), {"n1": {}})
    recorder = Recorder(Spool(tmp_path), "r")
    async with Sessions(SshLimits(1, 1), secret_reader()) as sessions:
        run = AuditRun(fleet([host]), [host], plan, sessions, Clusters(), recorder)
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # and nobody listens
            server = f"http://127.0.0.1:{nobody.getsockname()[1]}/api"
            with temporary_settings({PREFECT_API_URL: server, PREFECT_CLIENT_MAX_RETRIES: 0}):
                await steps.ask_by_worker.fn(run, "fra1", "n1", {"n1": ""})
    assert run.workers["fra1"].startswith("the probe was aborted: ")
    assert str(run.responses["n1"].error) == run.workers["fra1"]
