"""The Prefect task that every run over hosts ends with, and the artifacts that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from poolkeeper.tasks.outcomes import visible
from poolkeeper.tasks.runs.result import TABLE_ROWS, outcome_rows

if TYPE_CHECKING:
    from poolkeeper.tasks.runs.result import RunResult


@task(name="publish outcome", cache_policy=NO_CACHE)
async def publish_result(answer: RunResult, folder: Path) -> list[str]:
    """Files, a table with one row a host, and the readable summary."""
    files = answer.write(folder)
    if answer.text_so_far:
        await table(f"{answer.flow}-hosts", outcome_rows(answer.outcomes), answer.summary)
        await page(f"{answer.flow}-summary", answer.text, answer.summary)
    return files


async def table(key: str, rows: Sequence[dict[str, Any]], description: str) -> None:
    """A table artifact under a stable key, so that runs form a history. A long table is cut, with a note."""
    if len(rows) > TABLE_ROWS:
        description += f" (the first {TABLE_ROWS} of {len(rows)} rows; all are in the run's files)"
    shown: Any = [{name: _shown(value) for name, value in row.items()} for row in rows[:TABLE_ROWS]]
    await acreate_table_artifact(shown, key=key, description=visible(description))


async def page(key: str, text: str, description: str) -> UUID:
    """A text under a stable key; the artifact's id."""
    return await acreate_markdown_artifact(visible(text), key=key, description=visible(description))


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) else value
