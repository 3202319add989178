"""Sessions on hosts over SSH: one connection a host, host keys always checked, everything bounded.

What runs on a host is a POSIX shell program over the session's stdin; nothing of it stands in any argv.
Handshakes and open connections have limits of their own, per site and in all: sshd drops unauthenticated
connections at random from ten on (MaxStartups 10:30:100), and a dead host holds its handshake slot only. Waiting
for a slot counts against no deadline.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import asyncssh

from tasks.fleet.model import Host, SecretRef, SshLimits
from tasks.hosts import errors
from tasks.hosts.credentials import Credentials, fingerprint
from tasks.outcomes import Secret

OUTPUT_LIMIT_BYTES = 1_000_000
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a program ended on a host."""

    exit_status: int
    """-1: a signal ended it."""
    stdout: str
    stderr: str
    duration_s: float


class _Client(asyncssh.SSHClient):  # type: ignore[misc]  # asyncssh has no types here
    """Notes how far a connection came, so that a timeout can say what was waited for."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.refused_key: asyncssh.SSHKey | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.connected.set()

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Asked only for a key that known_hosts does not vouch for: never trusted, but named."""
        self.refused_key = key
        return False


class Sessions:
    """Connections to hosts, opened when first needed and kept until the end or until room is needed."""

    def __init__(self, limits: SshLimits, secret: Callable[[SecretRef], Secret]) -> None:
        self._credentials = Credentials(secret)
        self._limits = limits
        self._handshakes = asyncio.Semaphore(limits.handshakes)
        self._site_handshakes: dict[str, asyncio.Semaphore] = {}
        self._open: dict[str, tuple[Host, asyncssh.SSHClientConnection]] = {}
        self._jumps: dict[tuple[str, int, str], asyncssh.SSHClientConnection] = {}
        self._busy: Counter[str] = Counter()
        self._room = asyncio.Condition()
        self._host_locks: defaultdict[Any, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __aenter__(self) -> Sessions:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connections = [connection for _, connection in self._open.values()] + list(self._jumps.values())
        for connection in connections:
            connection.abort()
        for connection in connections:
            with suppress(Exception):
                await connection.wait_closed()

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
        use_sudo = sudo and host.ssh.sudo and host.ssh.user != "root"
        async with self._connection(host) as connection:
            limit_s = timeout_s or host.ssh.command_timeout_s
            start = time.monotonic()
            try:
                async with asyncio.timeout(limit_s):
                    status, out, err = await _execute(connection, program, use_sudo, output_limit_bytes)
            except TimeoutError:
                self._forget(host)
                raise errors.CommandTimeout(f"no end after {limit_s:.0f} s") from None
            except errors.OutputFlood:
                self._forget(host)
                raise
            except (asyncssh.Error, OSError) as error:
                self._forget(host)
                raise errors.ConnectionLost(f"the line broke off in mid-command: {_reason(error)}") from None
        if use_sudo and status == 1 and not out and err.startswith("sudo:"):
            raise errors.SudoRefused(err.strip().splitlines()[0][:200])
        return CommandResult(status, out, err, time.monotonic() - start)

    # connections

    @asynccontextmanager
    async def _connection(self, host: Host) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """The host's connection, for one command; it is not closed for want of room meanwhile."""
        self._busy[host.name] += 1
        try:
            async with self._host_locks[host.name]:
                if host.name in self._open and self._open[host.name][1].is_closed():
                    self._forget(host)
                if host.name not in self._open:
                    await self._make_room(host)
                    self._open[host.name] = host, _Pending()
                    try:
                        self._open[host.name] = host, await self._connect(host)
                    except BaseException:
                        self._open.pop(host.name, None)
                        raise
                connection = self._open[host.name][1]
            yield connection
        finally:
            self._busy[host.name] -= 1
            async with self._room:
                self._room.notify_all()

    async def _make_room(self, host: Host) -> None:
        """Wait until one more connection may be open, closing one that nobody uses where there is one."""
        async with self._room:
            while True:
                own_site = [name for name, (h, _) in self._open.items() if h.site.name == host.site.name]
                if len(own_site) >= host.site.ssh_limits.sessions:
                    candidates = own_site
                elif len(self._open) >= self._limits.sessions:
                    candidates = list(self._open)
                else:
                    return
                idle = next((name for name in candidates if not self._busy[name]), None)
                if idle is not None:
                    self._forget(self._open[idle][0])
                else:
                    await self._room.wait()

    def _forget(self, host: Host) -> None:
        _, connection = self._open.pop(host.name, (None, None))
        if connection is not None:
            connection.abort()

    async def _connect(self, host: Host) -> asyncssh.SSHClientConnection:
        """Connect and log in; once more after a reset, because a busy sshd drops newcomers at random."""
        tunnel = await self._jump(host) if host.ssh.jump else None
        try:
            return await self._handshake(host, host.address, host.ssh.port, host.ssh.user, tunnel)
        except _Dropped:
            await asyncio.sleep(random.uniform(0.2, 0.8))  # noqa: S311
        try:
            return await self._handshake(host, host.address, host.ssh.port, host.ssh.user, tunnel)
        except _Dropped as again:
            raise errors.ConnectRefused(again.observed) from None

    async def _jump(self, host: Host) -> asyncssh.SSHClientConnection:
        """The connection to the host's jump host, shared by all hosts behind it."""
        jump = host.ssh.jump
        assert jump is not None
        key = (jump.address, jump.port, jump.user)
        async with self._host_locks[key]:
            if key not in self._jumps or self._jumps[key].is_closed():
                try:
                    self._jumps[key] = await self._handshake(host, jump.address, jump.port, jump.user, None)
                except errors.HostError as error:
                    raise errors.JumpFailed(
                        f"jump host {jump.address}: {error.observed}", next_step=error.next_step
                    ) from None
            return self._jumps[key]

    async def _handshake(
        self,
        host: Host,
        address: str,
        port: int,
        user: str,
        tunnel: asyncssh.SSHClientConnection | None,
    ) -> asyncssh.SSHClientConnection:
        limits, access = host.site.ssh_limits, host.ssh
        site_slots = self._site_handshakes.setdefault(host.site.name, asyncio.Semaphore(limits.handshakes))
        keys = await self._credentials.keys(access)
        known_hosts = self._credentials.known_hosts(access)
        client = _Client()
        async with AsyncExitStack() as slots:
            await slots.enter_async_context(site_slots)
            await slots.enter_async_context(self._handshakes)
            attempt = asyncio.ensure_future(
                asyncssh.connect(
                    address,
                    port,
                    tunnel=tunnel or (),
                    username=user,
                    client_keys=keys,
                    agent_path=None,
                    known_hosts=known_hosts,
                    config=None,
                    preferred_auth="publickey",
                    client_factory=lambda: client,
                    connect_timeout=None,
                    keepalive_interval=access.keepalive_s,
                    keepalive_count_max=3,
                )
            )
            try:
                await _within(access.connect_timeout_s, attempt, client.connected)
                async with asyncio.timeout(access.login_timeout_s):
                    return await attempt
            except TimeoutError:
                if client.connected.is_set():
                    raise errors.LoginTimeout(f"no login within {access.login_timeout_s:.0f} s") from None
                raise errors.ConnectTimeout(
                    f"no connection to {address}:{port} within {access.connect_timeout_s:.0f} s"
                ) from None
            except asyncssh.HostKeyNotVerifiable:
                raise self._untrusted(address, port, access.known_hosts, known_hosts, client) from None
            except asyncssh.PermissionDenied:
                raise errors.AuthRefused(f"{address} refused {user} with the declared key") from None
            except socket.gaierror as error:
                raise errors.NameUnresolved(f"{address}: {error.strerror}") from None
            except (ConnectionResetError, asyncssh.ConnectionLost) as error:
                raise _Dropped(f"{address}:{port} dropped the connection: {_reason(error)}") from None
            except ConnectionRefusedError:
                raise _Dropped(f"{address}:{port} refused the connection") from None
            except (asyncssh.Error, OSError) as error:
                raise errors.HostError(f"{address}:{port}: {_reason(error)}") from None
            finally:
                attempt.cancel()
                with suppress(BaseException):
                    await attempt

    def _untrusted(
        self, address: str, port: int, path: Any, known_hosts: asyncssh.SSHKnownHosts, client: _Client
    ) -> errors.HostError:
        """Tell an unknown key from a changed one."""
        shown = fingerprint(client.refused_key) if client.refused_key else "no key that could be checked"
        known, authorities, *_ = known_hosts.match(address, address, port)
        where = path or "~/.ssh/known_hosts"
        entry = address if port == 22 else f"[{address}]:{port}"
        if known or authorities:
            expected = ", ".join(fingerprint(key) for key in [*known, *authorities][:3])
            return errors.HostKeyChanged(
                f"the host showed {shown}; known is {expected}",
                next_step=f"If the host was reinstalled, compare the fingerprint on its console (`ssh-keygen -lf"
                f" /etc/ssh/ssh_host_ed25519_key.pub`), then `ssh-keygen -R '{entry}' -f {where}` and add the new"
                " key; if not, someone answers in its place: do not log in.",
            )
        return errors.HostKeyUnknown(
            f"the host showed {shown}; known_hosts has no key for {entry}",
            next_step=f"Compare the fingerprint on the host's console, then add its key to {where}"
            f" (`ssh-keyscan -p {port} {address}` prints it).",
        )


class _Dropped(errors.HostError):
    """The other side closed the connection before login: worth one more try."""


class _Pending:
    """Holds a place among the open connections while the handshake runs."""

    def is_closed(self) -> bool:
        return False

    def abort(self) -> None:
        return None

    async def wait_closed(self) -> None:
        return None


async def _within(limit_s: float, attempt: asyncio.Future[Any], event: asyncio.Event) -> None:
    """Until TCP stands or the attempt has ended; TimeoutError after `limit_s`."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        done, _ = await asyncio.wait((attempt, waiting), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise TimeoutError
    finally:
        waiting.cancel()


async def _execute(
    connection: asyncssh.SSHClientConnection, program: str, use_sudo: bool, limit_bytes: int
) -> tuple[int, str, str]:
    command = "exec sudo -n -- sh -s" if use_sudo else "exec sh -s"
    # in braces the shell reads it whole before it runs any of it, and its children find an empty stdin
    whole = f"{{\n{program}\n}} </dev/null\n"
    async with connection.create_process(command, encoding="utf-8", errors="replace") as process:
        process.stdin.write(whole)
        process.stdin.write_eof()
        total = 0

        async def read(stream: Any) -> str:
            nonlocal total
            parts = []
            while chunk := await stream.read(_CHUNK):
                total += len(chunk)
                if total > limit_bytes:
                    raise errors.OutputFlood(f"more than {limit_bytes} bytes of output")
                parts.append(chunk)
            return "".join(parts)

        try:
            async with asyncio.TaskGroup() as group:
                out, err = group.create_task(read(process.stdout)), group.create_task(read(process.stderr))
            await process.wait_closed()
        except BaseExceptionGroup as failed:
            process.close()
            raise failed.exceptions[0] from None
        if process.exit_status is None and process.exit_signal is None:
            raise asyncssh.ConnectionLost("no exit status")
        return (-1 if process.exit_status is None else process.exit_status), out.result(), err.result()


def _reason(error: Exception) -> str:
    return (getattr(error, "reason", "") or str(error) or type(error).__name__).strip()
