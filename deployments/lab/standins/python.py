"""python3 as hosts have it: the machine's own, whose sockets leave from the host's address and meet the host's faults.

Runs the program on standard input, `python3 ... -`. Files of /etc are the host's; names are looked up at its name
server, which listens on another port than 53.
"""

from __future__ import annotations

import builtins
import errno
import importlib
import os
import socket
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
names: Any = importlib.import_module("names")  # hosts run this in isolation, where there is no package of ours

API = os.environ["POOLKEEPER_LAB_API"].rpartition("//")[2].partition(":")[0]
FAULTS = Path(os.environ["POOLKEEPER_LAB_STATE"]) / "faults"
_connect, _open, _getaddrinfo = socket.socket.connect, builtins.open, socket.getaddrinfo
_DNS = 53


def connect(self: socket.socket, place: Any) -> None:
    """From the host's own address. Name servers listen elsewhere than at 53; a deaf one says nothing by itself."""
    if self.family == socket.AF_INET and isinstance(place, tuple):
        address, port = place
        if address == API and (FAULTS / "api-unreachable").exists():
            raise OSError(errno.EHOSTUNREACH, "No route to host")
        is_bound = self.getsockname()[1] != 0
        if not is_bound and self.type in (socket.SOCK_STREAM, socket.SOCK_DGRAM) and self.proto != socket.IPPROTO_ICMP:
            self.bind((names.OWN, 0))
        place = (address, names.PORT if port == _DNS else port)
    _connect(self, place)


def opened(file: Any, *rest: Any, **more: Any) -> Any:
    """The host's own /etc."""
    if isinstance(file, str) and file.startswith("/etc/"):
        file = str(names.ROOT) + file
    return _open(file, *rest, **more)


def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
    """An address as it is; a name by /etc/hosts, then by the host's name servers."""
    try:
        return _getaddrinfo(host, port, *rest, **{**more, "flags": socket.AI_NUMERICHOST})
    except (socket.gaierror, TypeError):
        pass
    found = names.from_hosts(host)
    if not found:
        try:
            found = names.resolve(host, names.nameservers())[2]
        except names.NoAnswer as error:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution") from error
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [row for address in found for row in _getaddrinfo(address, port, *rest, **more)]


if __name__ == "__main__":
    if "-" not in sys.argv[1:]:
        sys.exit(f"python3: the lab does not know: python3 {' '.join(sys.argv[1:])}")
    socket.socket.connect = connect  # type: ignore[method-assign, assignment]
    builtins.open, socket.getaddrinfo = opened, getaddrinfo
    exec(compile(sys.stdin.read(), "<stdin>", "exec"), {"__name__": "__main__"})
