"""SSH to the lab's hosts: one real server per host on its own address, with a host key of its own.

Only user `ops` with the lab's key gets in. A command runs in /bin/sh as the user the lab runs as, in the
host's folder. As with OpenSSH without a terminal, a dropped connection does not end what runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess

import asyncssh

from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.host_folder import HostFolder
from poolkeeper.deployments.lab.layout import SSH_PORT, SSH_USER, listening_socket
from poolkeeper.deployments.lab.processes import ended, spawn

_CHUNK = 65536


class SshHost:
    """One host's SSH server, its host key, and the connections that are open."""

    def __init__(self, folder: HostFolder, user_key: asyncssh.SSHKey) -> None:
        self.folder = folder
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = SSH_PORT
        self._user_key = user_key.public_data
        self._listener: socket.socket | None = None
        self._silence: tuple[socket.socket, ...] = ()
        self._accepting: asyncio.Task[None] | None = None
        self._connections: set[_Login] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._options: dict[bool, asyncssh.SSHServerConnectionOptions] = {}

    @property
    def known_hosts_line(self) -> str:
        """This server's line of the known_hosts file."""
        where = self.folder.host.address
        name = where if self.port == 22 else f"[{where}]:{self.port}"
        return f"{name} {self.key.export_public_key().decode().strip()}"

    @property
    def is_up(self) -> bool:
        """Whether it listens."""
        return self._listener is not None

    def start(self) -> None:
        """Listen; the port stays the same over a host's reboots."""
        self._end_silence()
        self._listener = listening_socket(self.folder.host.address, self.port)
        self.port = self._listener.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept(self._listener))

    def stop(self) -> None:
        """Refuse new connections and cut the open ones."""
        self._end_silence()
        if self._accepting is not None:
            self._accepting.cancel()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for login in tuple(self._connections):
            login.cut()

    def fall_silent(self) -> None:
        """Stop, and answer nothing any more, as a machine without power; `start` ends it.

        On loopback what nobody listens at is refused. What a full backlog has no room for is dropped by the kernel.
        """
        self.stop()
        full = listening_socket(self.folder.host.address, self.port, backlog=0)
        waiting = socket.socket()
        waiting.connect(full.getsockname())
        self._silence = (full, waiting)

    def _end_silence(self) -> None:
        for sock in self._silence:
            sock.close()
        self._silence = ()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            task = asyncio.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.folder.prepare()
        wrong_key = self.folder.has(Fault.WRONG_HOST_KEY)
        with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
            await asyncssh.run_server(connection, options=await self._server_options(wrong_key))

    async def _server_options(self, wrong_key: bool) -> asyncssh.SSHServerConnectionOptions:
        if wrong_key not in self._options:
            key = asyncssh.generate_private_key("ssh-ed25519") if wrong_key else self.key
            self._options[wrong_key] = await asyncssh.SSHServerConnectionOptions.construct(
                server_factory=lambda: _Login(self),
                server_host_keys=[key],
                process_factory=self._run,
                encoding=None,
                login_timeout=30,
                password_auth=False,
                kbdint_auth=False,
                gss_host=None,
            )
        return self._options[wrong_key]

    def may_log_in(self, user: str, key: asyncssh.SSHKey) -> bool:
        """Whether this key opens the door to this user now."""
        return user == SSH_USER and key.public_data == self._user_key and not self.folder.has(Fault.AUTH_REFUSED)

    def opened(self, login: _Login) -> None:
        self._connections.add(login)

    def closed(self, login: _Login) -> None:
        self._connections.discard(login)

    async def _run(self, session: asyncssh.SSHServerProcess[bytes]) -> None:
        """One command of one session."""
        if self.folder.has(Fault.HANGS_AFTER_LOGIN):
            await session.wait_closed()
            return
        with contextlib.suppress(asyncssh.Error, BrokenPipeError, ConnectionError):
            if self.folder.has(Fault.FLOODS):
                await _flood(session)
            else:
                await self._run_command(session)

    async def _run_command(self, session: asyncssh.SSHServerProcess[bytes]) -> None:
        environment = self.folder.environment(self.port)
        command = ["/bin/sh", "-c", session.command] if session.command else ["/bin/sh", "-l"]
        process = spawn(command, environment=environment, folder=self.folder.root / "home/ops")
        if self.folder.has(Fault.DROPS_MID_COMMAND):
            await _cut_mid_command(session, process)
            return
        # without send_eof: the end of stdout would end the channel, and with it what stderr has still to say
        await session.redirect(stdin=process.stdin, stdout=process.stdout, stderr=process.stderr, send_eof=False)
        status = await ended(process)
        await session.stdout.drain()
        await session.stderr.drain()
        session.exit(status)


class _Login(asyncssh.SSHServer):  # type: ignore[misc]  # mypy does not follow asyncssh
    """One connection: who may log in."""

    def __init__(self, host: SshHost) -> None:
        self._host = host
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._host.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.closed(self)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._host.may_log_in(username, key)

    def cut(self) -> None:
        """Drop the connection as a power loss does."""
        if self._connection is not None:
            self._connection.abort()


async def _flood(session: asyncssh.SSHServerProcess[bytes]) -> None:
    line = b"kernel: eth0: link is down, link is up, link is down, link is up\n"
    chunk = line * (_CHUNK // len(line))
    while not session.is_closing():
        session.stdout.write(chunk)
        await session.stdout.drain()


async def _cut_mid_command(session: asyncssh.SSHServerProcess[bytes], process: subprocess.Popen[bytes]) -> None:
    """Let the command get its program and begin, then cut the line; the command itself goes on."""
    await session.redirect(stdin=process.stdin, stderr=process.stderr)
    assert process.stdout is not None
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.stdout, heard.set)
    try:
        await heard.wait()  # first output, or its end
    finally:
        loop.remove_reader(process.stdout)
    session.channel.get_connection().abort()
    process.stdout.close()
    await ended(process)
