"""SSH hosts that run what they are sent in a real shell, and a name server that knows some names. For `bench_audit`.

    python -m tests.bench.probed_hosts FOLDER LIVE NAME...

As `loopback_hosts`; it tells also the name server's port, as `dns`. Every name has the address 127.0.0.1. The name server
is a process of its own: beside handshakes, which take milliseconds each, it would lose questions.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import asyncssh

from poolkeeper.deployments.lab.dns import NameServer
from tests.bench.loopback_hosts import serve

HERE = "127.0.0.1"


async def _run(session: asyncssh.SSHServerProcess[bytes]) -> None:
    """Give all of stdin to a shell, and all that it says back. Real hosts have cores of their own: theirs come last."""
    shell = await asyncio.create_subprocess_exec(
        "nice",
        "/bin/sh",
        "-s",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await shell.communicate(await session.stdin.read())
    session.stderr.write(err)
    session.stdout.write(out)
    session.exit(shell.returncode or 0)


def _name_server(names: list[str], told: Connection) -> None:
    async def answer() -> None:
        server = NameServer(dict.fromkeys(names, HERE), lambda client: False)
        await server.start(HERE)
        told.send(server.port)
        await asyncio.Event().wait()

    asyncio.run(answer())


def main(folder: Path, live: int, names: list[str]) -> None:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    spawn.Process(target=_name_server, args=(names, theirs), daemon=True).start()  # ends with this one
    asyncio.run(serve(folder, live, 0, answer=_run, more={"dns": ours.recv()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
