"""python3: a program from stdin, run by this machine's own Python as if on the host.

Its sockets leave from the host's own address, port 53 is the lab's name server, names are looked up as the host's
resolv.conf and hosts file say, its clock is the host's. Nothing but loopback is there: elsewhere leads no way.
"""

from __future__ import annotations

import builtins
import errno
import importlib
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[4]))
names = importlib.import_module("poolkeeper.deployments.lab.standins.names")
del sys.path[0]  # the program that is run must not find what lies here

ROOT = Path(os.environ["POOLKEEPER_ROOT"])
FAULTS = Path(os.environ["POOLKEEPER_LAB_STATE"]) / "faults"
OWN = os.environ["POOLKEEPER_LAB_ADDRESS"]
API = os.environ["POOLKEEPER_LAB_API"]
CLOCK_OFF_S = 600
NODE_LOCAL_DNS = "169.254.20.10"

_open, _time, _getaddrinfo = builtins.open, time.time, socket.getaddrinfo


class HostSocket(socket.socket):
    """A socket of the host."""

    def connect(self, address: Any) -> None:
        """Connect from the host's own address, to where the lab has it. Raises OSError."""
        if self.family == socket.AF_INET:
            host, port = address
            if host == NODE_LOCAL_DNS and port == 53 and (ROOT / "etc/kubernetes/kubelet.conf").exists():
                host = (names.nameservers() or [host])[0]  # a node's cache has no address of its own on loopback
            if not host.startswith("127."):
                raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
            if host == API and (FAULTS / "api-unreachable").exists():
                host, port = OWN, 1
            elif port == 53:
                port = names.PORT
            if self.getsockname()[0] == "0.0.0.0":
                self.bind((OWN, 0))
            address = host, port
        super().connect(address)


def getaddrinfo(host: Any, port: Any, family: int = 0, *rest: Any, **named: Any) -> Any:
    """Addresses of a name as the host's own files and name servers have it. Raises socket.gaierror."""
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or name.replace(".", "").isdigit() or ":" in name:
        return _getaddrinfo(name, port, family, *rest, **named)
    found = names.from_hosts(name)
    if not found:
        try:
            found = names.resolve(name, names.nameservers())[2]
        except names.NoAnswer:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution") from None
    if not found or family == socket.AF_INET6:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [row for address in found for row in _getaddrinfo(address, port, family, *rest, **named)]


def open_below_root(file: Any, *rest: Any, **named: Any) -> Any:
    """Open a file of the host."""
    if isinstance(file, str) and file.startswith(("/etc/", "/proc/", "/sys/")):
        file = str(ROOT) + file
    return _open(file, *rest, **named)


def host_time() -> float:
    """What the host takes the time to be."""
    return _time() + (CLOCK_OFF_S if (FAULTS / "clock").exists() else 0)


def main(arguments: list[str]) -> int:
    """`python3 [-I] [-S] [-B] -`: the program on stdin."""
    if not arguments or arguments[-1] != "-" or not {"-I", "-S", "-B", "-"}.issuperset(arguments):
        print(f"python3: the lab does not know: python3 {' '.join(arguments)}", file=sys.stderr)
        return 2
    program = compile(sys.stdin.read(), "<stdin>", "exec")
    # before the program imports ssl, whose sockets are made from these
    socket.socket = HostSocket  # type: ignore[misc]
    socket.getaddrinfo = getaddrinfo
    builtins.open = open_below_root
    time.time = host_time
    exec(program, {"__name__": "__main__"})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
