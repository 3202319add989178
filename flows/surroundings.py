"""What a flow gets from Prefect and gives to it: its name, its log, its secrets, its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from prefect import get_run_logger
from prefect.blocks.system import Secret as SecretBlock
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from poolkeeper.tasks.fleet import SecretRef
from poolkeeper.tasks.outcomes import RunState, Secret, on_one_line, visible
from poolkeeper.tasks.runs.answer import Answer
from poolkeeper.tasks.runs.steps import publish_answer
from poolkeeper.tasks.settings import SecretMissing, secret_reader, state_folder


def run_name(asked: Mapping[str, Any], flow: str, *, only_looks: bool = False) -> str:
    """What a run is called in the UI: its flow, its hosts, and whether it only tells what it would do.

    only_looks: the flow has no `dry_run`; every other one is a dry run unless it is told not to be
    """
    which = ", ".join(part for part in (asked.get("pool"), asked.get("hosts")) if part)
    dry_run = not only_looks and asked.get("dry_run", True)
    return f"{flow} {which}{' (dry run)' if dry_run else ''}"


def run_log() -> Callable[[str], None]:
    """A function that writes one line to the run's log, and no more than one, whatever stands in it."""
    log = get_run_logger()
    return lambda line: log.info("%s", on_one_line(line))


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


async def ended(answer: Answer) -> State[Any]:
    """The end of a run over hosts: row, files, artifacts, and a state that is honest."""
    await publish_answer(answer, state_folder() / "runs")
    if answer.state in (RunState.FAILED, RunState.INVALID):
        return Failed(message=answer.summary)
    if answer.state is RunState.UNRECORDED:
        return Failed(name="NotRecorded", message=answer.summary)
    if answer.state is RunState.LEFT_OUT:
        return Completed(name="CompletedWithHostsLeftOut", message=answer.summary)
    return Completed(message=answer.summary)
