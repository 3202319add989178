"""What a flow gets from Prefect: its log, its secrets, its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prefect import get_run_logger
from prefect.blocks.system import Secret as SecretBlock

from tasks.fleet import SecretRef
from tasks.outcomes import Secret
from tasks.settings import SecretMissing, secret_reader


def run_log() -> Callable[[str], None]:
    """A function that writes one line to the run's log."""
    return get_run_logger().info


async def secrets(references: Iterable[SecretRef]) -> Callable[[SecretRef], Secret]:
    """A reader of secrets; those in Prefect Secret blocks are loaded now, once.

    Raises SecretMissing for a block that cannot be loaded.
    """
    loaded: dict[str, str] = {}
    for name in {reference.block for reference in references if reference.block}:
        try:
            block: Any = await SecretBlock.aload(name)
        except ValueError:
            raise SecretMissing(f"there is no Prefect Secret block {name} on this server") from None
        loaded[name] = str(block.get())
    return secret_reader(loaded.__getitem__)
