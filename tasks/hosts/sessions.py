"""Sessions on hosts over SSH: one connection a host, host keys always checked, everything bounded.

What runs on a host is a POSIX shell program over the session's stdin; nothing of it stands in any argv.
Handshakes and open connections have limits of their own, per site and in all: sshd drops unauthenticated
connections at random from ten on (MaxStartups 10:30:100), and a dead host holds its handshake slot only. Waiting
for a slot counts against no deadline. Connecting is tried again where that may help; a program is sent once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType

import asyncssh

from poolkeeper.tasks.fleet.model import Host, SecretRef, Site, SshLimits
from poolkeeper.tasks.hosts import errors
from poolkeeper.tasks.hosts.commands import OUTPUT_LIMIT_BYTES, CommandResult, NotStarted, reason, run_program
from poolkeeper.tasks.hosts.logins import Logins
from poolkeeper.tasks.hosts.room import Room
from poolkeeper.tasks.outcomes import Secret


class Sessions:
    """Connections to hosts, opened when first needed and kept until the end or until room is needed."""

    def __init__(self, limits: SshLimits, secret: Callable[[SecretRef], Secret]) -> None:
        self._logins = Logins(limits.handshakes, secret)
        self._room = Room(limits.sessions)
        self._lines: dict[str, _Line] = {}
        self._closed = False

    async def __aenter__(self) -> Sessions:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; whatever still runs over one ends with ConnectionLost. Twice is once."""
        self._closed = True
        self._room.close()
        lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            line.give_way()
        await asyncio.gather(*(line.wait_closed() for line in lines))
        await self._logins.close()

    async def run(
        self,
        host: Host,
        program: str,
        *,
        timeout_s: float | None = None,
        output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
        sudo: bool = True,
    ) -> CommandResult:
        """Run a POSIX shell program on a host, as root where `sudo`.

        Its own stdin is empty: the program is read whole before it starts. Raises HostError; the program's
        own failure is in the result.
        """
        limit_s = host.ssh.command_timeout_s if timeout_s is None else timeout_s
        use_sudo = sudo and host.ssh.sudo and host.ssh.user != "root"
        try:
            return await self._run(host, program, limit_s, output_limit_bytes, use_sudo)
        except _Stale:
            pass  # a kept connection had died meanwhile, before anything was sent over it
        try:
            return await self._run(host, program, limit_s, output_limit_bytes, use_sudo)
        except _Stale as again:
            raise errors.ConnectionLost(f"the line breaks off again and again: {again}") from None

    async def _run(
        self, host: Host, program: str, limit_s: float, output_limit_bytes: int, use_sudo: bool
    ) -> CommandResult:
        async with self._line(host) as line:
            connection = line.connection
            assert connection is not None
            try:
                async with asyncio.timeout(limit_s):
                    return await run_program(connection, program, sudo=use_sudo, output_limit_bytes=output_limit_bytes)
            except TimeoutError:
                raise errors.CommandTimeout(f"no end after {limit_s:g} s") from None
            except NotStarted as error:
                if connection.is_closed():
                    raise _Stale(str(error)) from None
                raise errors.NoSession(f"it opens no session: {error}") from None
            except (asyncssh.Error, OSError) as error:
                raise errors.ConnectionLost(f"the line broke off in mid-command: {reason(error)}") from None

    @asynccontextmanager
    async def _line(self, host: Host) -> AsyncIterator[_Line]:
        """The host's line, connected, for one command; one that failed is not used again."""
        if self._closed:
            raise RuntimeError("these sessions are closed")
        line = self._lines.get(host.name)
        if line is None or line.broken:
            line = self._lines[host.name] = _Line(host)
        line.users += 1
        self._room.wake(line)
        try:
            async with line.connecting:
                if line.connection is None:
                    await self._connect(line)
            yield line
        except BaseException:
            line.failed = True
            raise
        finally:
            line.users -= 1
            self._release(line)

    async def _connect(self, line: _Line) -> None:
        if not line.placed:
            await self._room.enter(line)
            line.placed = True
        connection = await self._logins.connect(line.host)
        if self._closed:
            connection.abort()
            raise errors.ConnectionLost("the sessions were closed meanwhile")
        line.connection = connection

    def _release(self, line: _Line) -> None:
        """Keep an unused line for the next command, unless it has failed."""
        if line.users:
            return
        if not line.broken:
            self._room.rest(line)
            return
        if self._lines.get(line.host.name) is line:
            del self._lines[line.host.name]
        if line.connection is not None:
            line.connection.abort()
        if line.placed:
            line.placed = False
            self._room.leave(line)


class _Line:
    """A host's connection and how many commands use it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.connection: asyncssh.SSHClientConnection | None = None
        self.connecting = asyncio.Lock()
        self.users = 0
        self.failed = False
        self.placed = False
        """Whether it has a place in the room."""

    @property
    def site(self) -> Site:
        return self.host.site

    @property
    def broken(self) -> bool:
        """Whether the next command needs another line."""
        return self.failed or (self.connection is not None and bool(self.connection.is_closed()))

    def give_way(self) -> None:
        self.failed, self.placed = True, False
        if self.connection is not None:
            self.connection.close()

    async def wait_closed(self) -> None:
        if self.connection is not None:
            await self.connection.wait_closed()


class _Stale(Exception):
    """The connection was dead before the program was sent."""
