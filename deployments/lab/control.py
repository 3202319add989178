"""How the lab's process is told something: one JSON line each way over an abstract socket of its own user.

An abstract socket has no file, so it has no path that could be too long or be left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

Json = dict[str, Any]


class ControlError(Exception):
    """The lab could not be told, or said no; the message is for the person who asked."""


def socket_name(lab: str) -> str:
    """The socket's name without its leading NUL byte."""
    return f"poolkeeper-lab-{lab}"


def ask(lab: str, request: Json, *, timeout_s: float = 30.0) -> Json:
    """Tell a lab something and hear its answer. Raises ControlError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect("\0" + socket_name(lab))
            sock.sendall(json.dumps(request).encode() + b"\n")
            with sock.makefile("rb") as stream:
                answer: Json = json.loads(stream.readline())
        except (OSError, ValueError) as error:
            raise ControlError(f"the lab's process does not answer: {error}") from None
    if "error" in answer:
        raise ControlError(answer["error"])
    return answer


class ControlServer:
    """Hears requests and hands them to `act`, whose ControlErrors become the answer."""

    def __init__(self, lab: str, act: Callable[[Json], Awaitable[Json]]) -> None:
        self._lab, self._act = lab, act
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, path="\0" + socket_name(self._lab))

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            if _user_of(writer.get_extra_info("socket")) != os.getuid():
                return
            try:
                answer = await self._act(json.loads(await reader.readline()))
            except ControlError as error:
                answer = {"error": str(error)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()


def _user_of(sock: socket.socket) -> int:
    """Who is at the other end: an abstract socket has no file mode to keep others out."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
