"""The real sshd of the machine, as a process of its own on loopback, with keys and configuration of its own."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncssh

from tests.contract.hosts.servers import Seen, Server, write_key

SSHD = "/usr/sbin/sshd"
"""By its full name: it starts itself anew for each connection."""

_CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PermitUserRC no
PrintMotd no
LogLevel VERBOSE
"""


class RealSshd(Server):
    """A running sshd and its log."""

    log: list[str]
    pid: int

    def logged(self, text: str) -> list[str]:
        return [line for line in self.log if text in line]

    async def until_logged(self, text: str) -> None:
        await self.seen.until(lambda _: bool(self.logged(text)))


def _prepare(folder: Path, key: asyncssh.SSHKey, authorized_keys: str, extra: tuple[str, ...]) -> int:
    """Write what it reads; answers its port, a free one."""
    folder.mkdir()
    write_key(folder, "host_key", key)
    (folder / "authorized_keys").write_text(authorized_keys)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # compiled in; whoever starts sshd as root makes it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    text = "".join(f"{line}\n" for line in extra) + _CONFIG.format(port=port, folder=folder)
    (folder / "sshd_config").write_text(text)
    return port


@asynccontextmanager
async def real_sshd(folder: Path, authorized_keys: str, *extra: str) -> AsyncIterator[RealSshd]:
    """sshd with Debian's defaults, and `extra` lines of configuration before them."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    port = _prepare(folder, key, authorized_keys, extra)
    # a pipe of our own: asyncio's would make waiting for sshd wait for all that have inherited it
    told, tells = os.pipe()
    process = await asyncio.create_subprocess_exec(
        SSHD, "-D", "-e", "-f", str(folder / "sshd_config"), stdin=asyncio.subprocess.DEVNULL, stderr=tells
    )
    os.close(tells)
    log = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(log), os.fdopen(told, "rb", 0)
    )
    server = RealSshd(port, key, Seen())
    server.log, server.pid = [], process.pid

    async def read_log() -> None:
        while line := await log.readline():
            server.log.append(line.decode(errors="replace").strip())
            server.seen.tell()

    reading = asyncio.create_task(read_log())
    try:
        await server.until_logged("Server listening")
        yield server
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        reading.cancel()
        pipe.close()
