"""Sessions on hosts over SSH: one connection per host, host keys always verified, everything bounded.

A host runs POSIX shell programs that come over the session's stdin; nothing of them is in any argv. Handshakes and
open connections have separate limits, per site and in all: sshd drops unauthenticated connections at random from ten
on (MaxStartups 10:30:100), and a dead host takes a handshake slot only. Waiting for a slot counts against no deadline.
The invariant: connecting is repeated where that may help, and a program is sent at most once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType

import asyncssh

from poolkeeper.tasks.fleet.model import Host, SecretRef, Site, SshLimits
from poolkeeper.tasks.hosts import errors
from poolkeeper.tasks.hosts.commands import OUTPUT_LIMIT_BYTES, CommandResult, reason, run_program
from poolkeeper.tasks.hosts.connection_slots import ConnectionSlots
from poolkeeper.tasks.hosts.logins import Logins
from poolkeeper.tasks.outcomes import Secret


class Sessions:
    """Connections to hosts, opened when first needed and kept until the end, or until another host needs the slot."""

    def __init__(self, limits: SshLimits, secret: Callable[[SecretRef], Secret]) -> None:
        self._logins = Logins(limits.handshakes, secret)
        self._slots = ConnectionSlots(limits.sessions)
        self._connections: dict[str, _HostConnection] = {}
        self._closed = False

    async def __aenter__(self) -> Sessions:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; a program that still runs over one ends with ConnectionLost. May be called again."""
        self._closed = True
        self._slots.close()
        kept, self._connections = list(self._connections.values()), {}
        for one in kept:
            one.close()
        await asyncio.gather(*(one.wait_closed() for one in kept))
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

        Its stdin is empty: the shell reads the whole program before it starts. Raises HostError; a failure of the
        program itself is in the result.
        """
        limit_s = host.ssh.command_timeout_s if timeout_s is None else timeout_s
        use_sudo = sudo and host.ssh.sudo and host.ssh.user != "root"
        try:
            return await self._run(host, program, limit_s, output_limit_bytes, use_sudo)
        except _Stale:
            pass  # a kept connection was dead, and nothing was sent over it
        try:
            return await self._run(host, program, limit_s, output_limit_bytes, use_sudo)
        except _Stale as again:
            raise errors.ConnectionLost(f"the connection breaks again and again: {again}") from None

    async def _run(
        self, host: Host, program: str, limit_s: float, output_limit_bytes: int, use_sudo: bool
    ) -> CommandResult:
        async with self._connected(host) as one:
            connection = one.connection
            assert connection is not None
            try:
                async with asyncio.timeout(limit_s):
                    return await run_program(connection, program, sudo=use_sudo, output_limit_bytes=output_limit_bytes)
            except TimeoutError:
                raise errors.CommandTimeout(f"the command has not ended within {limit_s:g} s") from None
            except errors.NoSession as error:
                if connection.is_closed():
                    raise _Stale(error.observed) from None
                raise
            except (asyncssh.Error, OSError) as error:
                raise errors.ConnectionLost(f"the connection broke while the command ran: {reason(error)}") from None

    @asynccontextmanager
    async def _connected(self, host: Host) -> AsyncIterator[_HostConnection]:
        """The host's connection for one command; after a failure it is not used again."""
        if self._closed:
            raise RuntimeError("these sessions are closed")
        one = self._connections.get(host.name)
        if one is None or one.broken:
            one = self._connections[host.name] = _HostConnection(host)
        one.users += 1
        self._slots.busy(one)
        try:
            async with one.connecting:
                if one.connection is None:
                    await self._connect(one)
            yield one
        except BaseException:
            one.failed = True
            raise
        finally:
            one.users -= 1
            self._release(one)

    async def _connect(self, one: _HostConnection) -> None:
        if not one.has_slot:
            await self._slots.acquire(one)
            one.has_slot = True
        connection = await self._logins.connect(one.host)
        if self._closed:
            connection.abort()
            raise errors.ConnectionLost("the sessions were closed while this one connected")
        one.connection = connection

    def _release(self, one: _HostConnection) -> None:
        """Keep an unused connection for the next command, unless it has failed."""
        if one.users:
            return
        if not one.broken:
            self._slots.idle(one)
            return
        if self._connections.get(one.host.name) is one:
            del self._connections[one.host.name]
        if one.connection is not None:
            one.connection.abort()
        if one.has_slot:
            one.has_slot = False
            self._slots.release(one)


class _HostConnection:
    """A host's connection and how many commands use it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.connection: asyncssh.SSHClientConnection | None = None
        self.connecting = asyncio.Lock()
        self.users = 0
        self.failed = False
        self.has_slot = False

    @property
    def site(self) -> Site:
        return self.host.site

    @property
    def broken(self) -> bool:
        """Whether the next command needs a new connection."""
        return self.failed or (self.connection is not None and bool(self.connection.is_closed()))

    def close(self) -> None:
        self.failed, self.has_slot = True, False
        if self.connection is not None:
            self.connection.close()

    async def wait_closed(self) -> None:
        if self.connection is not None:
            await self.connection.wait_closed()


class _Stale(Exception):
    """Control flow: the kept connection was dead before the program was sent."""
