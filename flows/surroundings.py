"""What all flows share: the run's name, log and secrets in Prefect, and how a run begins and ends."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from prefect import get_run_logger
from prefect.blocks.system import Secret as SecretBlock
from prefect.client.schemas.objects import State
from prefect.exceptions import MissingContextError
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from poolkeeper.tasks.fleet import Fleet, SecretRef, load_fleet
from poolkeeper.tasks.ledger import Spool
from poolkeeper.tasks.outcomes import CannotGoOn, Invalid, RunState, Secret, SystemRefused, named, on_one_line, visible
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.runs.result import RunResult
from poolkeeper.tasks.runs.steps import publish_result
from poolkeeper.tasks.settings import SecretMissing, fleet_of_parameter, secret_reader, state_folder


def run_name(asked: Mapping[str, Any], flow: str, *, only_looks: bool = False) -> str:
    """The name of a run in the UI: its flow, its hosts, and whether it is a dry run.

    only_looks: the flow changes nothing and has no parameter `dry_run`; the default of `dry_run` is true
    """
    which = ", ".join(part for part in (asked.get("pool"), asked.get("hosts")) if part)
    dry_run = not only_looks and asked.get("dry_run", True)
    return f"{flow} {which}{' (dry run)' if dry_run else ''}"


class _ToRunLog(logging.Handler):
    """Hands the log records of our modules to the log of the flow run or task run that calls them."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log = get_run_logger()
        except MissingContextError:  # outside of a run
            logging.getLogger().handle(record)
            return
        try:
            log.log(record.levelno, "%s", on_one_line(record.getMessage()))
        except Exception:  # arguments that do not fit their message: logging says so on stderr, and the run goes on
            self.handleError(record)


_ours = logging.getLogger("poolkeeper")
_ours.handlers[:], _ours.propagate = [_ToRunLog()], False
_ours.setLevel(logging.INFO)


def _visible_record(*arguments: Any, **named: Any) -> logging.LogRecord:
    """A log record of a run's process, including Prefect's own, without characters that act on a terminal."""
    record = _new_record(*arguments, **named)
    if record.exc_info:
        record.exc_text = visible(logging.Formatter().formatException(record.exc_info))
    with suppress(Exception):  # the handler reports a message that does not fit its arguments
        message = record.getMessage()
        if (safe := visible(message)) != message:
            record.msg, record.args = safe, None
    return record


_new_record = logging.getLogRecordFactory()
logging.setLogRecordFactory(_visible_record)


async def secrets(references: Iterable[SecretRef], *, at_use: bool = False) -> Callable[[SecretRef], Secret]:
    """A function that reads secrets; Prefect Secret blocks are loaded now, once each.

    at_use: the returned function raises SecretMissing for a block that cannot be loaded, when that secret is read
    Raises SecretMissing for a block that cannot be loaded, unless `at_use`.
    """
    loaded: dict[str, str] = {}
    for name in {reference.block for reference in references if reference.block}:
        try:
            block: Any = await SecretBlock.aload(name)
        except ValueError:
            if at_use:
                continue
            raise SecretMissing(_no_block(name)) from None
        loaded[name] = str(block.get())

    def of_block(name: str) -> str:
        if name not in loaded:
            raise SecretMissing(_no_block(name))
        return loaded[name]

    return secret_reader(of_block)


def _no_block(name: str) -> str:
    return f"this Prefect server has no Secret block {name}"


async def run_of(flow: str, body: Callable[[Recorder], Awaitable[RunResult]]) -> State[Any]:
    """One run of a flow, from its recorder to its final state. An error that ends the run becomes a state.

    body: what the flow does
    """
    recorder = Recorder(Spool(state_folder() / "spool"), str(flow_run.id))
    try:
        answer = await body(recorder)
    except Invalid as error:
        answer = RunResult.without_hosts(flow, recorder, RunState.INVALID, error)
    except CannotGoOn as error:
        answer = RunResult.without_hosts(flow, recorder, RunState.FAILED, error)
    except OSError as error:
        answer = RunResult.without_hosts(flow, recorder, RunState.FAILED, SystemRefused(named(error)))
    return await _ended(answer)


def load_declared(fleet: str, recorder: Recorder) -> Fleet:
    """Load the fleet file that a parameter names. Raises Invalid."""
    declared = load_fleet(fleet_of_parameter(fleet))
    recorder.fleet = declared.name
    return declared


async def _ended(answer: RunResult) -> State[Any]:
    """Write the run's row, files and artifacts, and return its final state."""
    await publish_result(answer, state_folder() / "runs")
    match answer.state:
        case RunState.FAILED | RunState.INVALID:
            return Failed(message=answer.summary)
        case RunState.UNRECORDED:
            return Failed(name="NotRecorded", message=answer.summary)
        case RunState.COMPLETED:
            return Completed(message=answer.summary)
        case state:  # completed, with something that needs attention
            return Completed(name="".join(word.capitalize() for word in state.split()), message=answer.summary)
