"""One program on one connection: sent over stdin, its output bounded and separated from what the login prints."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncssh

from poolkeeper.tasks.hosts import errors

OUTPUT_LIMIT_BYTES = 1_000_000
_FACTOR = r"verification code|one-time|\botp\b|passcode|second factor|two-factor|yubikey|security key"
_PROMPT = re.compile(rf"(?i)(?:password|passphrase|{_FACTOR})[^\n]*[:?][ \t]*\Z".encode())
_PROMPT_BYTES = 500
"""Only the end of the output is searched for a prompt, so that the time does not grow with the output."""
_CAUSES: tuple[tuple[str, type[errors.HostError]], ...] = (
    # rbash, rksh, rzsh; lshell; rssh; git-shell
    (
        r"\bexec: restricted|: restricted: |restricted by rssh|forbidden (?:command|path|syntax)|unrecognized command",
        errors.ShellRestricted,
    ),
    (r"password has expired|must change your password|required to change your password", errors.PasswordExpired),
    (r"must have a tty", errors.SudoWantsTerminal),
    # dash, bash, csh; zsh; fish
    (
        r"sudo: (?:command )?not found|not found: sudo|sudo: No such file|Unknown command:? '?sudo",
        errors.SudoMissing,
    ),
    (_FACTOR, errors.SudoSecondFactor),
    (
        r"sudo: Permission denied|syntax error|parse error|setuid|owned by uid|no new privileges|effective uid"
        r"|account (?:validation|or password)|unable to initialize|\bPAM\b",
        errors.SudoUnusable,
    ),
)
"""A pattern in the output of a login that did not start the program, and its cause; the first match counts."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a program ended on a host."""

    exit_status: int
    """-1: a signal ended it."""
    stdout: str
    stderr: str
    duration_s: float
    """From when the program was sent to its end."""


async def run_program(
    connection: asyncssh.SSHClientConnection, program: str, *, sudo: bool, output_limit_bytes: int
) -> CommandResult:
    """Run a POSIX shell program to its end.

    Raises NoSession (nothing was sent), SudoRefused or ShellRefused (or a subclass), OutputFlood, asyncssh.Error and
    OSError. In every case the channel is closed, without waiting for the host.
    """
    mark = f"poolkeeper-{secrets.token_hex(8)}"
    command = "exec sudo -n -- sh -s" if sudo else "exec sh -s"
    try:
        channel, running = await connection.create_session(
            lambda: _Running(mark, sudo, output_limit_bytes), command, encoding=None
        )
    except (asyncssh.Error, OSError) as error:
        raise errors.NoSession(f"the host opens no session: {reason(error)}") from None
    outcome: _Running = running
    try:
        started = time.monotonic()
        # output of start-up files comes before the mark. In braces the shell reads the whole program before it
        # runs any of it, so that half a program never runs; its children have an empty stdin
        with suppress(BrokenPipeError):  # it has ended already; its output has the reason
            channel.write(f"echo {mark}; echo {mark} >&2\n{{\n{program}\n}} </dev/null\n".encode())
            channel.write_eof()
        await outcome.ended
        return outcome.result(time.monotonic() - started)
    except BaseException:
        with suppress(OSError):
            channel.terminate()
        raise
    finally:
        channel.close()


class _Running(asyncssh.SSHClientSession):  # type: ignore[misc]  # asyncssh has no types here
    """The output of a program so far."""

    def __init__(self, mark: str, sudo: bool, limit_bytes: int) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended.add_done_callback(_seen)
        self._mark = f"{mark}\n".encode()
        self._sudo = sudo
        self._limit_bytes = limit_bytes
        self._stdout, self._stderr = bytearray(), bytearray()
        self._exit_status: int | None = None
        self._started = self._signalled = False

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Keep output up to the limit. A prompt ends the session, because no one answers it."""
        (self._stderr if datatype == asyncssh.EXTENDED_DATA_STDERR else self._stdout).extend(data)
        if len(self._stdout) + len(self._stderr) > self._limit_bytes:
            self._fail(errors.OutputFlood(f"more than {self._limit_bytes} bytes of output"))
        elif self._sudo and datatype is not None and self._asks(data):
            said = f"sudo asks: {_words(self._stderr)}"
            self._fail(_cause(said, errors.SudoRefused, sudo=True)(said))

    def _asks(self, data: bytes) -> bool:
        """Whether stderr ends with a prompt, before the program has started."""
        self._started = self._started or self._mark in self._stderr[-len(data) - len(self._mark) :]
        return not self._started and _PROMPT.search(self._stderr[-_PROMPT_BYTES:]) is not None

    def exit_status_received(self, status: int) -> None:
        self._exit_status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._signalled = True

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended.done():
            return
        if self._exit_status is None and not self._signalled:
            self.ended.set_exception(exc or asyncssh.ConnectionLost("the session was closed without an exit status"))
        else:
            self.ended.set_result(None)

    def result(self, duration_s: float) -> CommandResult:
        """How it ended. Raises SudoRefused or ShellRefused if the program has not started."""
        noise, started, out = self._stdout.partition(self._mark)
        if not started:
            said = _words(self._stderr) or _words(noise) or f"exit status {self._exit_status}, without output"
            by_sudo = self._sudo and self._stderr and not noise.strip()
            raise _cause(said, errors.SudoRefused if by_sudo else errors.ShellRefused, sudo=self._sudo)(said)
        before, marked, err = self._stderr.partition(self._mark)
        return CommandResult(
            -1 if self._exit_status is None else self._exit_status,
            out.decode(errors="replace"),
            (err if marked else before).decode(errors="replace"),
            duration_s,
        )

    def _fail(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)


def _cause(said: str, otherwise: type[errors.HostError], *, sudo: bool) -> type[errors.HostError]:
    """Why a program has not started, by the output that came instead."""
    found = (cause for words, cause in _CAUSES if re.search(words, said, re.IGNORECASE))
    return next((cause for cause in found if sudo or not issubclass(cause, errors.SudoRefused)), otherwise)


def _seen(ended: asyncio.Future[None]) -> None:
    """Retrieve the error: the connection may break after the task that waited was cancelled."""
    if not ended.cancelled():
        ended.exception()


def reason(error: Exception) -> str:
    """The message of an exception of asyncssh or the system."""
    return (getattr(error, "reason", "") or str(error) or type(error).__name__).strip()


def _words(raw: Any) -> str:
    return " / ".join(raw.decode(errors="replace").split("\n")).strip(" /")[-200:]
