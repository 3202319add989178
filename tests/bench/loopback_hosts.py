"""SSH hosts for a benchmark, in a process of their own: each with its port and host key, all with one answer.

    python -m tests.bench.loopback_hosts FOLDER LIVE DEAD

Writes FOLDER/known_hosts, prints the ports as JSON, ends when its stdin does. No shell is run: what is measured is the
way to the hosts. A dead host's port takes no connection (its queue is full), so that connecting hangs.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncssh

ANSWER = (Path(__file__).parents[1] / "unit" / "hosts" / "recorded" / "lab-host.txt").read_bytes()
_MARKED = re.compile(rb"echo (\S+); echo \1 >&2\n")


async def _answer(session: asyncssh.SSHServerProcess[bytes]) -> None:
    """As the shell would: the program's mark, if it has one, and facts."""
    program = await session.stdin.read()
    mark = _MARKED.match(program)
    begin = mark[1] + b"\n" if mark else b""
    session.stderr.write(begin)
    session.stdout.write(begin + ANSWER)
    session.exit(0)


def _dead_port(stack: ExitStack) -> int:
    listening = stack.enter_context(socket.socket())
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    port = int(listening.getsockname()[1])
    for _ in range(4):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(("127.0.0.1", port))
    return port


async def serve(
    folder: Path,
    live: int,
    dead: int,
    *,
    answer: Callable[[asyncssh.SSHServerProcess[bytes]], Awaitable[None]] = _answer,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Until stdin ends.

    answer: what a host does with what it is sent
    more: told beside the ports
    """
    authorized = asyncssh.import_authorized_keys((folder / "ours.pub").read_text())
    ports, lines = [], []
    for _ in range(live):
        key = asyncssh.generate_private_key("ssh-ed25519")
        options = await asyncssh.SSHServerConnectionOptions.construct(
            server_host_keys=[key],
            authorized_client_keys=authorized,
            process_factory=answer,
            encoding=None,
            gss_host=None,
        )
        listener = await asyncssh.listen("127.0.0.1", 0, options=options, backlog=100)
        ports.append(listener.get_port())
        lines.append(f"[127.0.0.1]:{ports[-1]} {key.export_public_key().decode()}")
    (folder / "known_hosts").write_text("".join(lines))
    with ExitStack() as stack:
        told = {"live": ports, "dead": [_dead_port(stack) for _ in range(dead)], **(more or {})}
        print(json.dumps(told), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
