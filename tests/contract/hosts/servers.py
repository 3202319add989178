"""SSH servers on loopback: one that does as it should, and one class for each way in which hosts do not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import asyncssh


@dataclass
class Seen:
    """What servers have seen, counted by themselves; several may share one."""

    connections: int = 0
    handshaking: int = 0
    open: int = 0
    most_handshaking: int = 0
    most_open: int = 0
    programs: list[str] = field(default_factory=list)
    """Each program that came in over a session's stdin."""
    channels_closed: int = 0
    running: set[asyncio.subprocess.Process] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        self.most_handshaking = max(self.most_handshaking, self.handshaking)
        self.most_open = max(self.most_open, self.open)
        self.changed.set()

    async def until(self, holds: Callable[[Seen], bool], deadline_s: float = 10) -> None:
        async with asyncio.timeout(deadline_s):
            while not holds(self):
                self.changed.clear()
                await self.changed.wait()


class Obliging(asyncssh.SSHServer):
    """Lets the right key in and runs what it is told in /bin/sh."""

    path = os.defpath
    environment: Mapping[str, str] = MappingProxyType({})

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.logged_in = False

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn
        self.seen.connections += 1
        self.seen.handshaking += 1
        self.seen.open += 1
        self.seen.tell()

    def auth_completed(self) -> None:
        self.logged_in = True
        self.seen.handshaking -= 1
        self.seen.tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self.seen.open -= 1
        self.seen.handshaking -= not self.logged_in
        self.seen.tell()

    async def process(self, session: asyncssh.SSHServerProcess[bytes]) -> None:
        """One session: read the program, run it."""
        program = await session.stdin.read()
        self.seen.programs.append(program.decode())
        self.seen.tell()
        await self.run(session, program)

    async def run(self, session: asyncssh.SSHServerProcess[bytes], program: bytes) -> None:
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            session.command or "",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": self.path, **self.environment},
            start_new_session=True,
        )
        self.seen.running.add(child)
        out, err = await child.communicate(program)
        self.seen.running.discard(child)
        self.seen.tell()
        session.stdout.write(out)
        session.stderr.write(err)
        session.exit(child.returncode or 0)


class HangsInLogin(Obliging):
    """Exchanges keys and never decides whom to let in."""

    async def begin_auth(self, username: str) -> bool:
        await asyncio.Event().wait()
        return True


class HangsAfterLogin(Obliging):
    """Opens a session in which nothing ever happens."""

    async def run(self, session: asyncssh.SSHServerProcess[bytes], program: bytes) -> None:
        await session.wait_closed()
        self.seen.channels_closed += 1
        self.seen.tell()


class OpensNoSession(Obliging):
    """As sshd with MaxSessions 0."""

    def session_requested(self) -> bool:
        return False


class Floods(Obliging):
    """Output without an end, on one of its streams."""

    stream = "stdout"

    async def run(self, session: asyncssh.SSHServerProcess[bytes], program: bytes) -> None:
        stream = getattr(session, self.stream)
        with contextlib.suppress(asyncssh.Error, ConnectionError):
            while not session.is_closing():
                stream.write(b"line\n" * 10_000)
                await stream.drain()


class FloodsErrors(Floods):
    stream = "stderr"


class DropsMidCommand(Obliging):
    """Begins, says half a line, and is gone as in a power loss."""

    async def run(self, session: asyncssh.SSHServerProcess[bytes], program: bytes) -> None:
        session.stdout.write(b"half a li")
        await session.stdout.drain()
        session.channel.get_connection().abort()


class ClosesWithoutStatus(Obliging):
    """Ends the session without saying how the program ended, as an sshd that was killed."""

    async def run(self, session: asyncssh.SSHServerProcess[bytes], program: bytes) -> None:
        session.close()


class SudoNeedsPassword(Obliging):
    """sudo -n's refusal, with the warning that often stands before it."""

    async def run(self, session: asyncssh.SSHServerProcess[bytes], program: bytes) -> None:
        session.stderr.write(b"sudo: unable to resolve host n1\nsudo: a password is required\n")
        session.exit(1)


class SudoPrompts(Obliging):
    """A PAM module that asks in spite of -n, and waits."""

    prompt = b"[sudo] password for ops: "

    async def process(self, session: asyncssh.SSHServerProcess[bytes]) -> None:
        session.stderr.write(self.prompt)
        await session.wait_closed()


class Says(Obliging):
    """Says why no program is begun, in place of beginning one."""

    said = ""
    status = 1

    async def run(self, session: asyncssh.SSHServerProcess[bytes], program: bytes) -> None:
        session.stderr.write(self.said.encode())
        session.exit(self.status)


class AsksForMore(Obliging):
    """Offers to be asked by keyboard-interactive, besides keys."""

    def kbdint_auth_supported(self) -> bool:
        return True


class NoLoginShell(Obliging):
    """An account with /usr/sbin/nologin: it ends before it reads anything."""

    async def process(self, session: asyncssh.SSHServerProcess[bytes]) -> None:
        session.stdout.write(b"This account is currently not available.\n")
        session.exit(1)


class Noisy(Obliging):
    """Start-up files that talk, on both streams and without a line's end."""

    async def run(self, session: asyncssh.SSHServerProcess[bytes], program: bytes) -> None:
        session.stdout.write(b"Welcome!\noutput\nstate ended 0\nfact hostname motd\npassword: none")
        session.stderr.write(b"bash: warning: setlocale: LC_ALL: cannot change locale\nYour password expires in: ")
        await super().run(session, program)


class Server:
    """One listening server."""

    def __init__(self, port: int, key: asyncssh.SSHKey, seen: Seen) -> None:
        self.port = port
        self.key = key
        self.seen = seen
        self.address = "127.0.0.1"

    def known_hosts_line(self, key: asyncssh.SSHKey | None = None, mark: str = "") -> str:
        public = (key or self.key).export_public_key().decode().strip()
        return f"{mark + ' ' if mark else ''}[{self.address}]:{self.port} {public}\n"


@asynccontextmanager
async def serving(
    authorized_keys: str,
    behaviour: type[Obliging] = Obliging,
    *,
    key: asyncssh.SSHKey | None = None,
    seen: Seen | None = None,
    **options: Any,
) -> AsyncIterator[Server]:
    """A server that lets in whom `authorized_keys` names; its connections are cut at the end."""
    key, seen = key or asyncssh.generate_private_key("ssh-ed25519"), seen or Seen()
    logins: set[Obliging] = set()

    def login() -> Obliging:
        made = behaviour(seen)
        logins.add(made)
        return made

    async def process(session: asyncssh.SSHServerProcess[bytes]) -> None:
        owner = session.channel.get_connection().get_owner()
        with contextlib.suppress(asyncssh.Error, ConnectionError):
            await owner.process(session)

    listener = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=login,
        encoding=None,
        authorized_client_keys=asyncssh.import_authorized_keys(authorized_keys),
        backlog=1000,
        **{"process_factory": process, "server_host_keys": [key], "login_timeout": 60, "gss_host": None, **options},
    )
    try:
        yield Server(listener.get_port(), key, seen)
    finally:
        listener.close()
        await listener.wait_closed()
        for made in logins:
            if hasattr(made, "connection"):
                made.connection.abort()
        for child in seen.running:
            os.killpg(child.pid, signal.SIGKILL)
        await seen.until(lambda now: not now.running)


def public_line(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode()


def write_key(folder: Path, name: str, key: asyncssh.SSHKey) -> Path:
    """A private key as a file that only we can read."""
    path = folder / name
    path.touch(0o600)
    path.write_bytes(key.export_private_key())
    return path
