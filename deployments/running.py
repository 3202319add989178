"""Running a flow here and now, with the same code that a deployment runs.

Prefect reads its settings when it is imported, so the environment is set before that. Without
`PREFECT_API_URL` an ephemeral server keeps its database in the state folder.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from poolkeeper.deployments.terminal import console, echo
from poolkeeper.tasks.ledger import private_folder
from poolkeeper.tasks.settings import state_folder

SERVER_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    # By default the server writes each event by itself: some 45 task runs a second, and flows wait for the database.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
}
"""What a Prefect server of ours runs with: no telemetry, and records written in batches."""


class BadParameters(Exception):
    """The parameters do not fit the flow; the message names each one."""


class RunBroken(Exception):
    """The run ended without telling how."""


def prepare_environment() -> None:
    """Settings that every Prefect process of ours runs with, unless the user has set others."""
    os.environ.setdefault("PREFECT_HOME", str(state_folder() / "prefect"))
    for name, value in SERVER_SETTINGS.items():
        os.environ.setdefault(name, value)
    private_folder(Path(os.environ["PREFECT_HOME"]))  # Prefect itself makes only the last folder, for everyone


def run(flow: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Run a flow and give its answer: `flow`, `run_id`, `state`, `summary`, `hosts`, `files`.

    given: parameters as they are typed; what is no text is read as JSON
    Raises BadParameters before anything is started, and RunBroken when the run did not come to its own end.
    """
    prepare_environment()
    chosen: Any = getattr(
        importlib.import_module(f"poolkeeper.flows.{flow}"), flow
    )  # two seconds: it brings Prefect along
    known = inspect.signature(chosen.fn, eval_str=True).parameters
    if unknown := [name for name in given if name not in known]:
        raise BadParameters(f"flow {flow} has no parameter {', '.join(unknown)}; it has: {', '.join(known)}")
    parameters = {name: _typed(text, known[name].annotation) for name, text in given.items()}
    logging.disable(logging.ERROR)  # Prefect logs the same, as it is inside
    try:
        chosen.validate_parameters(parameters)
    except Exception as error:
        raise BadParameters(f"flow {flow}: {error}") from None
    finally:
        logging.disable(logging.NOTSET)
    if not os.environ.get("PREFECT_API_URL"):
        echo("no PREFECT_API_URL: starting an ephemeral Prefect server (some 10 s)", err=True)
    os.umask(0o077)  # what Prefect writes into the state folder is for its owner alone as well
    os.environ["POOLKEEPER_FILES"] = os.sep  # parameters are typed by the one whom the files are open to anyway
    state: Any = asyncio.run(_run(chosen, parameters))
    outcome = state_folder() / "runs" / str(state.state_details.flow_run_id) / "outcome.json"
    if not outcome.is_file():
        raise RunBroken(f"the run ended as {state.name} without an outcome: {state.message}")
    answer: dict[str, Any] = json.loads(outcome.read_text())
    return answer


def parameters(flow: str) -> list[dict[str, Any]]:
    """What a flow can be told: `name`, `default` and `about` of each parameter."""
    prepare_environment()
    chosen: Any = getattr(importlib.import_module(f"poolkeeper.flows.{flow}"), flow)
    found = chosen.parameters.properties.items()
    return [
        {"name": name, "default": about.get("default"), "about": " ".join(about.get("description", "").split())}
        for name, about in found
    ]


def shown_parameters(known: list[dict[str, Any]]) -> list[str]:
    """The same, a line each, as they are typed after `-p`."""
    return [f"{each['name']}={_as_typed(each['default'])}\n    {each['about']}" for each in known]


def _as_typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _typed(text: str, kind: Any) -> Any:
    """`1.30` is a version where a text is asked for, and never the number 1.3."""
    if kind is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


async def _run(flow: Any, parameters: dict[str, Any]) -> Any:
    return await flow(**parameters, return_state=True)


def show(answer: dict[str, Any]) -> None:
    """The outcome for a terminal: those that need a person last, where the eye is."""
    terminal = console()
    table = Table(box=None, header_style="bold")
    for column in ("host", "state", "summary", "took"):
        table.add_column(column, overflow="fold")
    good = ("accepted", "planned", "done", "handed over")
    for host in sorted(answer["hosts"], key=lambda host: (host["state"] not in good, host["name"])):
        table.add_row(host["name"], host["state"], host["summary"], f"{sum(host['phase_s'].values()):.1f} s")
    if answer["hosts"] and "audit" not in answer:
        terminal.print(table)
    for about, finding in _findings(answer):
        if finding["severity"] != "info":
            terminal.print(f"\n{about}: {finding['severity']} {finding['id']}")
            terminal.print(f"  seen: {finding['evidence']['observed']}")
            terminal.print(f"  next: {finding['next_step']}")
    terminal.print(f"\n{answer['summary']}", style="bold")
    for file in answer["files"]:
        terminal.print(file, soft_wrap=True)


def _findings(answer: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What each is about, and the finding: an audit's are about lines and resolvers as well as hosts."""
    if "audit" in answer:
        return [(f"{f['subject']}, {f['stands']}", f) for f in answer["audit"]["findings"]]
    return [(host["name"], finding) for host in answer["hosts"] for finding in host["findings"]]
