"""Settings of a process: its folders, fleet file and secrets. The environment comes before the working folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from poolkeeper.tasks.fleet.loading import FleetInvalid
from poolkeeper.tasks.fleet.model import SecretRef
from poolkeeper.tasks.fleet.problems import Problem
from poolkeeper.tasks.outcomes import CannotGoOn, Invalid, Secret

_IN_STATE = frozenset(("spool", "runs", "reports", "fees", "prefect", "lab", "demo", "demo-runs"))
"""Our folders below the state folder."""


class SettingInvalid(Invalid):
    """A setting in the environment cannot be used; the message names it and the reason."""

    id = "settings.invalid"
    expected = "a value that the setting allows"
    source = "environment"


class FileRefused(FleetInvalid):
    """A parameter of a run names a file that the settings of its worker do not allow."""

    id = "settings.file.refused"
    expected = "the worker's fleet file, or a file in a folder of $POOLKEEPER_FILES"
    source = "parameter"


class SecretMissing(CannotGoOn):
    """A secret that the fleet file refers to could not be read; the message names it and the reason."""

    id = "settings.secret.missing"
    expected = "a secret that can be read"
    next_step = "Provide the secret at this place, or correct its reference in the fleet file."
    source = "secret reference of the fleet file"


def state_folder() -> Path:
    """`$POOLKEEPER_STATE`, else `.state` in the working folder: spool, reports, the practice world.

    Existing folders of ours in it become accessible to their owner only, and so does the state folder if it has no
    other content.
    """
    folder = Path(os.environ.get("POOLKEEPER_STATE") or ".state").absolute()
    with suppress(OSError):  # missing, or of another user: then writing fails with a message
        names = {entry.name for entry in os.scandir(folder)}
        for ours in [folder / name for name in names & _IN_STATE] + [folder] * (names <= _IN_STATE):
            _for_its_owner(ours)
    return folder


def _for_its_owner(folder: Path) -> None:
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077:
        folder.chmod(0o700)


def fleet_path(given: str | None = None) -> Path:
    """The fleet file: as given at a shell, else `$POOLKEEPER_FLEET`, else `fleet.yaml` in the working folder."""
    return Path(given or os.environ.get("POOLKEEPER_FLEET") or "fleet.yaml").absolute()


def fleet_of_parameter(given: str) -> Path:
    """The fleet file of a run: the worker's own, or an allowed one that the parameter names. Raises FileRefused."""
    return file_of_parameter(given) if given else fleet_path()


def file_of_parameter(given: str) -> Path:
    """A file that a run's parameter names, with links and `..` resolved.

    It must be the worker's own fleet file, or in a folder of `$POOLKEEPER_FILES` (separated by `:`), because a user
    who may start runs may not read every file of the worker. Raises FileRefused, which does not show whether the file
    exists.
    """
    with suppress(OSError, RuntimeError, ValueError):  # a loop of links, an invalid name
        path, own = Path(given).resolve(), fleet_path().resolve()
        folders = filter(None, os.environ.get("POOLKEEPER_FILES", "").split(os.pathsep))
        if path == own or any(path.is_relative_to(Path(folder).resolve()) for folder in folders):
            return path
    message = f"the parameter names a file that runs on this worker may not read: {given[:200]}."
    fix = "Leave it empty for the worker's own file; or add the file's folder to $POOLKEEPER_FILES of the worker."
    raise FileRefused("parameter", [Problem(1, 1, "", message, fix, is_ours=True)])


def lease_duration_s() -> int:
    """How long a rollout's lease lasts after a renewal: `$POOLKEEPER_LEASE_S`, else 40 s.

    After that time another run can continue a killed rollout. Raises SettingInvalid for anything but a number from 15
    to 600: a request may take 10 s, and no request is sent that could outlast the lease.
    """
    text = os.environ.get("POOLKEEPER_LEASE_S") or "40"
    if not text.isdecimal() or not 15 <= int(text) <= 600:
        raise SettingInvalid(
            f"POOLKEEPER_LEASE_S is {text!r}", next_step="Set POOLKEEPER_LEASE_S to whole seconds from 15 to 600."
        )
    return int(text)


def secret_reader(read_block: Callable[[str], str] | None = None) -> Callable[[SecretRef], Secret]:
    """A function that reads a referenced secret.

    read_block: reads a Prefect Secret block; None: outside of flows
    The function raises SecretMissing, which has the reference and never the content.
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
                f"the Prefect block {reference.block} can be read by flows only",
                next_step="Use a file or an environment variable for this command.",
            )
        try:
            return Secret(read_block(reference.block or ""))
        except Exception as error:
            raise SecretMissing(
                f"cannot read the Prefect Secret block {reference.block}: {type(error).__name__}"
            ) from None

    return read
