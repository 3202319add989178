"""What every flow has in common: its name, log and secrets, which Prefect has, and how a run begins and ends."""

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
    """What a run is called in the UI: its flow, its hosts, and whether it only tells what it would do.

    only_looks: the flow has no `dry_run`; every other one is a dry run unless it is told not to be
    """
    which = ", ".join(part for part in (asked.get("pool"), asked.get("hosts")) if part)
    dry_run = not only_looks and asked.get("dry_run", True)
    return f"{flow} {which}{' (dry run)' if dry_run else ''}"


class _ToRunLog(logging.Handler):
    """Hands what our own modules log to the log of the flow run or task run that they are called in."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log = get_run_logger()
        except MissingContextError:  # nobody's run: whoever has set up logging gets it
            logging.getLogger().handle(record)
        else:
            log.log(record.levelno, "%s", on_one_line(record.getMessage()))


_ours = logging.getLogger("poolkeeper")
_ours.handlers[:], _ours.propagate = [_ToRunLog()], False
_ours.setLevel(logging.INFO)


def _visible_record(*arguments: Any, **named: Any) -> logging.LogRecord:
    """A record of whatever is logged in a run's process, Prefect's own errors too; none does anything to a terminal."""
    record = _new_record(*arguments, **named)
    if record.exc_info:
        record.exc_text = visible(logging.Formatter().formatException(record.exc_info))
    with suppress(Exception):  # a message that does not fit its arguments is told by whoever formats it
        told = record.getMessage()
        if (seen := visible(told)) != told:
            record.msg, record.args = seen, None
    return record


_new_record = logging.getLogRecordFactory()
logging.setLogRecordFactory(_visible_record)


async def secrets(references: Iterable[SecretRef], *, at_use: bool = False) -> Callable[[SecretRef], Secret]:
    """A reader of secrets; those in Prefect Secret blocks are loaded now, once.

    Raises SecretMissing for a block that cannot be loaded; at_use: the reader raises it, for whom it is missing.
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
    return f"there is no Prefect Secret block {name} on this server"


async def run_of(flow: str, carry_out: Callable[[Recorder], Awaitable[RunResult]]) -> State[Any]:
    """One run of a flow, from its recorder to its end; what keeps it from going on becomes a state that says so."""
    recorder = Recorder(Spool(state_folder() / "spool"), str(flow_run.id))
    try:
        answer = await carry_out(recorder)
    except Invalid as error:
        answer = RunResult.without_hosts(flow, recorder, RunState.INVALID, error)
    except CannotGoOn as error:
        answer = RunResult.without_hosts(flow, recorder, RunState.FAILED, error)
    except OSError as error:
        answer = RunResult.without_hosts(flow, recorder, RunState.FAILED, SystemRefused(named(error)))
    return await _ended(answer)


def load_declared(fleet: str, recorder: Recorder) -> Fleet:
    """The fleet file that a parameter names, which the run is about. Raises Invalid."""
    declared = load_fleet(fleet_of_parameter(fleet))
    recorder.fleet = declared.name
    return declared


async def _ended(answer: RunResult) -> State[Any]:
    """Row, files, artifacts, and a state that is honest."""
    await publish_result(answer, state_folder() / "runs")
    match answer.state:
        case RunState.FAILED | RunState.INVALID:
            return Failed(message=answer.summary)
        case RunState.UNRECORDED:
            return Failed(name="NotRecorded", message=answer.summary)
        case RunState.COMPLETED:
            return Completed(message=answer.summary)
        case state:  # completed, with something that a person is to look at
            return Completed(name="".join(word.capitalize() for word in state.split()), message=answer.summary)
