"""The user's own checks: a command where the flow runs, or a Prometheus query. No answer means failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

import httpx

from poolkeeper.tasks.fleet.model import UserCheck
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject, redact

SHOWN_CHARACTERS = 300


async def failing(checks: Iterable[UserCheck]) -> tuple[Finding, ...]:
    """A finding for each check that does not pass, in their order."""
    found = await asyncio.gather(*map(_run, checks))
    return tuple(finding for finding in found if finding is not None)


async def _run(check: UserCheck) -> Finding | None:
    try:
        async with asyncio.timeout(check.timeout_s):
            why = await (_command(check) if check.command else _query(check))
    except TimeoutError:
        why = f"no answer within {check.timeout_s:.0f} s"
    if not why:
        return None
    return Finding(
        "rollout.check",
        Severity.BLOCKER,
        Subject("check", check.name),
        Evidence(redact(why)[:SHOWN_CHARACTERS], "the check passes", _source(check), datetime.now(UTC)),
        "Correct what it shows, or remove the check from the pool's `rollout` settings; then run this again.",
    )


async def _command(check: UserCheck) -> str:
    """Why it does not pass; empty: it does."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *check.command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as error:
        return f"{check.command[0]} cannot be run: {error.strerror}"
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    last = output.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"exit status {process.returncode}: {last or 'no output'}" if process.returncode else ""


async def _query(check: UserCheck) -> str:
    """Why it does not pass; empty: it finds nothing, as an alert that is not firing."""
    try:
        async with httpx.AsyncClient(timeout=check.timeout_s) as client:
            response = await client.get(f"{check.prometheus.rstrip('/')}/api/v1/query", params={"query": check.query})
        answer = response.json()
        if answer["status"] != "success":
            return f"the query was refused: {answer.get('error', response.status_code)}"
        result = answer["data"]["result"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return f"the server cannot be asked: {error or type(error).__name__}"
    if not result:
        return ""
    first = result[0].get("metric", {}) if isinstance(result[0], dict) else result[0]
    return f"it finds {len(result)}, such as {first}"


def _source(check: UserCheck) -> str:
    """Where it was read; of a command only the program, for its arguments may hold secrets."""
    return check.command[0] if check.command else f"{check.prometheus}: {check.query}"
