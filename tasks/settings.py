"""Where things are kept and how secrets are read: environment first, then the working folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tasks.fleet.model import SecretRef
from tasks.outcomes import Secret


class SettingInvalid(Exception):
    """A setting in the environment cannot be used; the message says which and why."""


class SecretMissing(Exception):
    """A secret that the fleet file points at could not be read; the message says which and why."""


def state_folder() -> Path:
    """`$POOLKEEPER_STATE`, else `.state` in the working folder: spool, reports, the practice world."""
    return Path(os.environ.get("POOLKEEPER_STATE") or ".state").absolute()


def fleet_path(given: str | None = None) -> Path:
    """The fleet file: as given, else `$POOLKEEPER_FLEET`, else `fleet.yaml` in the working folder."""
    return Path(given or os.environ.get("POOLKEEPER_FLEET") or "fleet.yaml").absolute()


def lease_duration_s() -> int:
    """How long a rollout's lease outlives its holder: `$POOLKEEPER_LEASE_S`, else 40 s.

    A killed rollout can be taken up after that time. Raises SettingInvalid for what is no number from 15 to 600: each
    request may take 10 s, and none is sent that could outlast the lease.
    """
    text = os.environ.get("POOLKEEPER_LEASE_S") or "40"
    if not text.isdecimal() or not 15 <= int(text) <= 600:
        raise SettingInvalid(f"POOLKEEPER_LEASE_S is {text!r}; give whole seconds from 15 to 600")
    return int(text)


def secret_reader(read_block: Callable[[str], str] | None = None) -> Callable[[SecretRef], Secret]:
    """A function that reads a referenced secret.

    `read_block` reads a Prefect Secret block, where there is Prefect.
    The function raises SecretMissing with the reference, never with any content.
    """

    def read(reference: SecretRef) -> Secret:
        if reference.file is not None:
            try:
                return Secret(reference.file.read_text().strip())
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not text"
                raise SecretMissing(f"cannot read the secret file {reference.file}: {reason}") from None
        if reference.env is not None:
            text = os.environ.get(reference.env, "")
            if not text:
                raise SecretMissing(f"the environment variable {reference.env} is not set or empty")
            return Secret(text)
        if read_block is None:
            raise SecretMissing(
                f"the Prefect block {reference.block} is read by flows only; here, use a file or a variable"
            )
        try:
            return Secret(read_block(reference.block or ""))
        except Exception as error:
            raise SecretMissing(
                f"cannot read the Prefect Secret block {reference.block}: {type(error).__name__}"
            ) from None

    return read
