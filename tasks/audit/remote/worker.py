"""Hosts that only a worker inside their site reaches: the request batches for them, and the replies that come back.

Both travel through the Prefect server in plain JSON types: batches as the parameter of a run, replies as an artifact.
A batch is data and never a program: the worker sends hosts the probe program of its own installation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from poolkeeper.tasks.audit.planning.questions import Answer, RequestBatch
from poolkeeper.tasks.audit.remote.protocol import batch_text, read_answers, read_batch, run_probe
from poolkeeper.tasks.fleet.model import Fleet, Host
from poolkeeper.tasks.hosts import HostError, Sessions
from poolkeeper.tasks.outcomes import named

PARCEL_BYTES = 250_000
"""Size of the batches for one run of a worker: Prefect takes parameters of up to 512 KiB."""
PARCEL_HOSTS = 50
_SAME_FILE = "Give the worker in the site the same fleet file."
_SAME_VERSION = "Install the same version of poolkeeper on the worker in the site."

Reply = dict[str, str]
"""What came of one host: `stdout` and `stderr` of the probe program, or `error`, `observed` and `next_step`."""


class WorkerAway(HostError):
    """No worker in the host's site has probed it; the audit reports this once for the work pool, not for each host."""

    id = "audit.worker.away"
    expected = "a worker of the site's work pool probes the host"
    next_step = "Start a worker there: `prefect worker start --pool POOL`."


class NoWorker(WorkerAway):
    """No worker has taken the run: another run for the same work pool would only wait as long again."""

    id = "audit.worker.none"
    expected = "a worker that polls the site's work pool"


def parcels(batches: Mapping[str, RequestBatch]) -> Iterator[dict[str, str]]:
    """Batches as text, in parcels that one run of a worker can take. Pure.

    batches: by host
    """
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


async def ask_here(fleet: Fleet, sessions: Sessions, batches: Mapping[str, str]) -> dict[str, Reply]:
    """The worker's part: send batches to hosts of the worker's own fleet file, all at the same time.

    batches: by host, as text; the result has a reply for each host
    """
    replies = await asyncio.gather(*(_ask(fleet.hosts.get(name), sessions, text) for name, text in batches.items()))
    return dict(zip(batches, replies, strict=True))


async def _ask(host: Host | None, sessions: Sessions, text: str) -> Reply:
    try:
        batch = read_batch(text)
    except ValueError as error:
        return {"error": HostError.id, "observed": f"the request batch is invalid: {error}", "next_step": _SAME_VERSION}
    try:
        if host is None or not host.active:
            raise HostError("the fleet file of the site's worker has no such active host", next_step=_SAME_FILE)
        stdout, stderr = await run_probe(sessions, host, batch)
    except HostError as error:
        return {"error": error.id, "observed": error.observed, "next_step": error.next_step}
    except Exception as error:  # of one host: the others continue
        observed = f"the probe was aborted: {named(error)}"
        return {"error": HostError.id, "observed": observed, "next_step": "Run the audit again."}
    return {"stdout": stdout, "stderr": stderr}


def answers_of(reply: Any, batch: RequestBatch) -> tuple[Answer, ...]:
    """A host's answers from a worker's reply: one for each question, in order. Pure. Raises the worker's HostError."""
    fields = reply if isinstance(reply, dict) else {}
    if "stdout" in fields:
        return read_answers(str(fields["stdout"]), batch, stderr=str(fields.get("stderr", "")))
    kind = _KINDS.get(str(fields.get("error")), HostError)
    observed = str(fields.get("observed", "the worker's reply has nothing about this host"))
    raise kind(observed, next_step=str(fields.get("next_step", "")))


def _kinds(kind: type[HostError]) -> Iterator[tuple[str, type[HostError]]]:
    yield kind.id, kind
    for narrower in kind.__subclasses__():
        yield from _kinds(narrower)


_KINDS = dict(_kinds(HostError))
