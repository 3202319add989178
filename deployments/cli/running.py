"""Running a flow here and now, with the same code that a deployment runs.

Prefect reads its settings when it is imported, so the environment is set before that.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from typing import Any

from poolkeeper.deployments.cli.progress import Progress, shown
from poolkeeper.deployments.cli.run_log import RunLog, log_to
from poolkeeper.deployments.prefect_settings import prepare_environment
from poolkeeper.deployments.terminal import echo
from poolkeeper.flows.parameters import signature_of
from poolkeeper.flows.registry import Registered
from poolkeeper.tasks.runs.watching import watched_by
from poolkeeper.tasks.settings import state_folder


class BadParameters(Exception):
    """The parameters do not fit the flow; the message names each one."""


class RunBroken(Exception):
    """The run ended without telling how."""


def run(flow: Registered, given: Mapping[str, str], progress: Progress, *, verbose: bool = False) -> dict[str, Any]:
    """Run a flow and give its answer: `flow`, `run_id`, `state`, `summary`, `hosts`, `files`.

    given: parameters as they are typed; what is no text is read as JSON
    verbose: the log goes to stderr as well as to its file
    Raises BadParameters before anything is started, and RunBroken when the run did not come to its own end.
    """
    prepare_environment()
    known = {each.name: each for each in signature_of(flow).parameters}
    if unknown := [name for name in given if name not in known]:
        raise BadParameters(f"flow {flow.name} has no parameter {', '.join(unknown)}; it has: {', '.join(known)}")
    parameters = {name: _typed(text, known[name].type) for name, text in given.items()}
    loaded = flow.load()
    _check(loaded, flow.name, parameters)
    if not os.environ.get("PREFECT_API_URL"):
        echo("no PREFECT_API_URL: starting an ephemeral Prefect server (some 10 s)", err=True)
    os.umask(0o077)  # what Prefect writes into the state folder is for its owner alone as well
    os.environ["POOLKEEPER_FILES"] = os.sep  # parameters are typed by the one whom the files are open to anyway
    log, runs = RunLog(verbose=verbose, heard=progress.message), state_folder() / "runs"

    def begun(flow: Any, flow_run: Any, state: Any) -> None:
        log.begin(runs / str(flow_run.id))
        progress.log = str(log.path or "")
        progress.run(str(flow_run.id), _page(str(flow_run.id)))

    log_to(log)
    try:
        with watched_by(progress), shown(progress):
            state: Any = asyncio.run(_run(loaded.with_options(on_running=[begun]), parameters))
    finally:
        log.end()
    outcome = runs / str(state.state_details.flow_run_id) / "outcome.json"
    if not outcome.is_file():
        log_at = f"; its log is {progress.log}" if progress.log else ""
        raise RunBroken(f"the run ended as {state.name} without an outcome: {state.message}{log_at}")
    answer: dict[str, Any] = json.loads(outcome.read_text())
    return answer


def _check(loaded: Any, name: str, parameters: Mapping[str, Any]) -> None:
    logging.disable(logging.ERROR)  # Prefect logs the same, as it is inside
    try:
        loaded.validate_parameters(parameters)
    except Exception as error:
        raise BadParameters(f"flow {name}: {error}") from None
    finally:
        logging.disable(logging.NOTSET)


def _typed(text: str, kind: Any) -> Any:
    """`1.30` is a version where a text is asked for, and never the number 1.3."""
    if kind is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _page(run: str) -> str:
    """The run in the UI of its Prefect server; empty: that server ends with it."""
    api = os.environ.get("PREFECT_API_URL", "")
    place = os.environ.get("PREFECT_UI_URL") or api.rstrip("/").removesuffix("/api")
    return f"{place}/runs/flow-run/{run}" if api else ""


async def _run(flow: Any, parameters: dict[str, Any]) -> Any:
    return await flow(**parameters, return_state=True)
