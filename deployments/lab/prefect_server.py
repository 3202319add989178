"""A Prefect server with every deployment of `prefect.yaml`, and a worker, beside a lab: `lab up --prefect`.

They are processes of the lab, by its mark, so that `lab down` ends them as well, also after a kill.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import poolkeeper
from poolkeeper.deployments.lab.layout import LabFolder, Network
from poolkeeper.deployments.lab.processes import LAB_MARK
from poolkeeper.deployments.prefect_settings import SERVER_SETTINGS
from poolkeeper.tasks.settings import state_folder

PORT = 4200
WORK_POOL = "poolkeeper"
START_TIMEOUT_S = 120.0
"""A cold start on a busy machine takes half a minute."""
DEPLOY_TIMEOUT_S = 120.0

_CHECKOUT = Path(poolkeeper.__path__[0]).parent


class PrefectNotStarted(Exception):
    """The server, the worker or the deployments did not come; the message says which, and where its log is."""


def start(folder: LabFolder, network: Network, *, alone: bool = False) -> str:
    """Start server and worker and deploy every flow; the API's address. Raises PrefectNotStarted.

    alone: the server and nothing else, for runs that are started by hand
    """
    address = network.prefect
    api_url = f"http://{address}:{PORT}/api"
    environment = {
        **os.environ,
        **SERVER_SETTINGS,
        LAB_MARK: folder.identity.read_text(),
        "PREFECT_HOME": str(folder.path / "prefect"),
        "PREFECT_API_URL": api_url,
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "10",
        "POOLKEEPER_FLEET": str(folder.fleet),
        "POOLKEEPER_STATE": str(state_folder()),
    }
    server_log, worker_log = folder.path / "prefect-server.log", folder.path / "prefect-worker.log"
    server = _spawn(["server", "start", "--host", address, "--port", str(PORT)], environment, server_log)
    _wait(f"{api_url}/health", server, "the Prefect server", server_log)
    if not alone:
        worker = _spawn(["worker", "start", "--type", "process", "--pool", WORK_POOL], environment, worker_log)
        _wait(f"{api_url}/work_pools/{WORK_POOL}", worker, "the worker", worker_log)
        _deploy(environment)
    folder.prefect_api_url.write_text(f"{api_url}\n")
    return api_url


def _spawn(words: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "prefect", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env=environment,
            start_new_session=True,
        )


def _wait(url: str, process: subprocess.Popen[bytes], what: str, log: Path) -> None:
    """Until a URL answers 200; the process that is to serve it must live meanwhile."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)  # the server tells nobody when it begins to listen
    ended = f"ended with {process.returncode}" if process.returncode is not None else "did not answer in time"
    raise PrefectNotStarted(f"{what} {ended}; its log: {log}")


def _deploy(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=_CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEPLOY_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise PrefectNotStarted(f"`prefect deploy --all` failed: {words[0] if words else 'it said nothing'}")
