"""What our sessions are compared with: asyncssh by itself, within the same limits and with the same checks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh

from poolkeeper.tasks.fleet.model import SshLimits

HERE = "127.0.0.1"


class Bare:
    """Connect, run a program, close."""

    def __init__(self, folder: Path, limits: SshLimits) -> None:
        self._key = asyncssh.read_private_key(str(folder / "ours"))
        self._known_hosts = asyncssh.read_known_hosts(str(folder / "known_hosts"))
        self._handshakes, self._places = asyncio.Semaphore(limits.handshakes), asyncio.Semaphore(limits.sessions)

    async def run(self, port: int, program: str) -> str:
        """What the program says on a host of this machine."""
        async with self._places:
            async with self._handshakes:
                connection = await asyncssh.connect(
                    HERE,
                    port,
                    username="ops",
                    client_keys=[self._key],
                    known_hosts=self._known_hosts,
                    config=None,
                    agent_path=None,
                    preferred_auth="publickey",
                    keepalive_interval=15,
                )
            async with connection:
                return str((await connection.run("exec sh -s", input=program)).stdout)


def make_key(folder: Path) -> None:
    """The key that both arms log in with, `ours`."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(folder / "ours"))
    key.write_public_key(str(folder / "ours.pub"))
