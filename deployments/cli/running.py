"""Running a flow in this process, with the same code that a deployment runs.

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
from poolkeeper.tasks.outcomes import CannotGoOn, Invalid, quoted
from poolkeeper.tasks.runs.watching import watched_by
from poolkeeper.tasks.settings import state_folder


class ParametersInvalid(Invalid):
    """Parameters do not fit the flow; the message names each of them."""

    id = "run.parameters.invalid"
    expected = "parameters that the flow has, with values of their types"
    source = "command line"

    def __init__(self, flow: str, observed: str) -> None:
        super().__init__(
            f"flow {flow}: {observed}", next_step=f"List the parameters: `poolkeeper run {flow} --parameters`."
        )


class OutcomeMissing(CannotGoOn):
    """The run ended, and has written no outcome."""

    id = "run.outcome.missing"
    expected = "an outcome.json in the run's folder"
    next_step = "Read the run's log, then start the same command again: it continues where the run ended."
    source = "outcome.json"


def run(flow: Registered, given: Mapping[str, str], progress: Progress, *, verbose: bool = False) -> dict[str, Any]:
    """Run a flow and return its answer: `flow`, `run_id`, `state`, `summary`, `hosts`, `files`.

    given: parameters as typed; a value that is not for a text parameter is read as JSON
    verbose: the log goes to stderr as well as to its file
    Raises ParametersInvalid before anything is started, and OutcomeMissing after a run that wrote no outcome.
    """
    prepare_environment()
    known = {each.name: each for each in signature_of(flow).parameters}
    if unknown := [quoted(name) for name in given if name not in known]:
        raise ParametersInvalid(flow.name, f"no parameter {', '.join(unknown)}; it has: {', '.join(known)}")
    parameters = {name: _typed(text, known[name].type) for name, text in given.items()}
    loaded = flow.load()
    _check(loaded, flow.name, parameters)
    if not os.environ.get("PREFECT_API_URL"):
        echo("no PREFECT_API_URL: starting an ephemeral Prefect server (some 10 s)", err=True)
    os.umask(0o077)  # files that Prefect writes into the state folder are for its owner only, too
    os.environ["POOLKEEPER_FILES"] = os.sep  # the user who types the parameters can read these files anyway
    log, runs = RunLog(verbose=verbose, on_message=progress.message), state_folder() / "runs"

    def started(flow: Any, flow_run: Any, state: Any) -> None:
        log.begin(runs / str(flow_run.id))
        progress.log = str(log.path or "")
        progress.run(str(flow_run.id), _page(str(flow_run.id)))

    log_to(log)
    try:
        with watched_by(progress), shown(progress):
            state: Any = asyncio.run(_run(loaded.with_options(on_running=[started]), parameters))
    finally:
        log.end()
    outcome = runs / str(state.state_details.flow_run_id) / "outcome.json"
    if not outcome.is_file():
        log_at = f"; its log is {progress.log}" if progress.log else ""
        raise OutcomeMissing(f"the run ended as {state.name} without an outcome: {state.message}{log_at}")
    answer: dict[str, Any] = json.loads(outcome.read_text())
    return answer


def _check(loaded: Any, name: str, parameters: Mapping[str, Any]) -> None:
    """Whether the flow accepts the parameters, and Prefect can store them as JSON. Raises ParametersInvalid."""
    logging.disable(logging.ERROR)  # Prefect logs the same error, with its own internals
    try:
        loaded.validate_parameters(parameters)
    except Exception as error:
        raise ParametersInvalid(name, str(error)) from None
    finally:
        logging.disable(logging.NOTSET)
    for parameter, value in parameters.items():
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except ValueError:  # bytes that are no UTF-8 arrive as lone surrogates; 1e999 is read as infinity
            why = f"{parameter}: the value has an infinite number, or bytes that are not UTF-8"
            raise ParametersInvalid(name, why) from None


def _typed(text: str, kind: Any) -> Any:
    """A parameter's value. `1.30` stays a text where the flow takes a text: a version is never the number 1.3."""
    if kind is str:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the flow's own types say what is wrong with it
        return text


def _page(run: str) -> str:
    """The run's page in the UI of its Prefect server; empty: that server ends with the run."""
    api = os.environ.get("PREFECT_API_URL", "")
    place = os.environ.get("PREFECT_UI_URL") or api.rstrip("/").removesuffix("/api")
    return f"{place}/runs/flow-run/{run}" if api else ""


async def _run(flow: Any, parameters: dict[str, Any]) -> Any:
    return await flow(**parameters, return_state=True)
