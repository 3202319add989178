"""Hosts that only a worker inside their site reaches: the questions that go to it, and the answers that come back.

Both travel through the Prefect server, as the parameter of a run and as an artifact, in plain JSON types. Questions go
as data and never as a program: what runs on a host is the worker's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from poolkeeper.tasks.audit.planning.questions import Answer, RequestBatch
from poolkeeper.tasks.audit.remote.protocol import batch_text, last_line, read_answers, read_batch, run_probe
from poolkeeper.tasks.fleet.model import Fleet, Host
from poolkeeper.tasks.hosts import HostError, Sessions
from poolkeeper.tasks.outcomes import named

PARCEL_BYTES = 250_000
"""Of questions for one run of a worker: Prefect takes parameters of up to 512 KiB."""
PARCEL_HOSTS = 50
_SAME_FILE = "Give the worker in the site the same fleet file."
_SAME_VERSION = "Install the same version of poolkeeper on the worker in the site."

Said = dict[str, str]
"""What became of one host: `stdout` and `stderr` of the probe program, or `error`, `observed` and `next_step`."""


class WorkerAway(HostError):
    """Nobody in the host's site took the questions; a finding of its own tells it, once for all hosts."""

    id = "audit.worker-away"
    expected = "a worker in the site's work pool"
    next_step = "Start a worker there: `prefect worker start --pool POOL`."


class NoWorker(WorkerAway):
    """No worker is there at all: a second parcel of questions would only wait as long again."""


def parcels(batches: Mapping[str, RequestBatch]) -> Iterator[dict[str, str]]:
    """Sheets as text, so many in one parcel as one run may take. Pure."""
    parcel, size = dict[str, str](), 0
    for name, batch in batches.items():
        text = batch_text(batch)
        if parcel and (size + len(text) > PARCEL_BYTES or len(parcel) == PARCEL_HOSTS):
            yield parcel
            parcel, size = {}, 0
        parcel[name] = text
        size += len(text)
    if parcel:
        yield parcel


async def ask_here(fleet: Fleet, sessions: Sessions, batches: Mapping[str, str]) -> dict[str, Said]:
    """The worker's half: put the batches to hosts of its own fleet file, all at once."""
    said = await asyncio.gather(*(_ask(fleet.hosts.get(name), sessions, text) for name, text in batches.items()))
    return dict(zip(batches, said, strict=True))


async def _ask(host: Host | None, sessions: Sessions, text: str) -> Said:
    try:
        batch = read_batch(text)
    except ValueError as error:
        return {"error": HostError.id, "observed": f"its questions cannot be read: {error}", "next_step": _SAME_VERSION}
    try:
        if host is None or not host.active:
            raise HostError("the fleet file of the site's worker has no such active host", next_step=_SAME_FILE)
        stdout, stderr = await run_probe(sessions, host, batch)
    except HostError as error:
        return {"error": error.id, "observed": error.observed, "next_step": error.next_step}
    except Exception as error:  # one host's, and the others go on
        observed = f"asking it broke off: {named(error)}"
        return {"error": HostError.id, "observed": observed, "next_step": "Run the audit again."}
    return {"stdout": stdout, "stderr": stderr}


def answers_of(said: Any, batch: RequestBatch) -> tuple[Answer, ...]:
    """What a host answered a worker: one answer for each question, in order. Pure. Raises the worker's HostError."""
    fields = said if isinstance(said, dict) else {}
    if "stdout" in fields:
        return read_answers(str(fields["stdout"]), batch, said=last_line(str(fields.get("stderr", ""))))
    kind = _KINDS.get(str(fields.get("error")), HostError)
    raise kind(str(fields.get("observed", "the worker told nothing of it")), next_step=str(fields.get("next_step", "")))


def _kinds(kind: type[HostError]) -> Iterator[tuple[str, type[HostError]]]:
    yield kind.id, kind
    for narrower in kind.__subclasses__():
        yield from _kinds(narrower)


_KINDS = dict(_kinds(HostError))
