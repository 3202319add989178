"""getent, nslookup and dig: names asked for over UDP, at the name servers of the host's own resolv.conf."""

from __future__ import annotations

import os
import sys

from poolkeeper.deployments.lab.standins.paths import Path

ROOT = Path(os.environ["POOLKEEPER_ROOT"])
PORT = int(os.environ["POOLKEEPER_LAB_DNS_PORT"])
OWN = os.environ["POOLKEEPER_LAB_ADDRESS"]
TIMEOUT_S = float(os.environ.get("POOLKEEPER_LAB_DNS_TIMEOUT_S", "2"))

NO_ERROR, NAME_ERROR = 0, 3


class NoAnswer(Exception):
    """The name server did not answer in time."""


def nameservers() -> list[str]:
    """Addresses in resolv.conf, in order."""
    words = [line.split() for line in (ROOT / "etc/resolv.conf").read_text().splitlines()]
    return [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]


def ask(server: str, name: str, timeout_s: float) -> tuple[int, list[str]]:
    """One A query (RFC 1035): the answer's code and addresses. Raises NoAnswer."""
    import socket
    import struct

    number = int.from_bytes(os.urandom(2), "big")
    labels = b"".join(bytes([len(part)]) + part for part in name.rstrip(".").encode("idna").split(b"."))
    query = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((OWN, 0))
        sock.settimeout(timeout_s)
        try:
            sock.connect((server, PORT))
            sock.send(query)
            answer = sock.recv(4096)
        except OSError as error:
            raise NoAnswer(f"no answer from {server}: {error}") from None
    _, flags, _, count, _, _ = struct.unpack(">6H", answer[:12])
    return flags & 15, _addresses(answer, len(query), count)


def _addresses(answer: bytes, at: int, count: int) -> list[str]:
    import socket
    import struct

    found = []
    for _ in range(count):
        while answer[at] and answer[at] < 0xC0:  # an uncompressed name
            at += answer[at] + 1
        at += 2 if answer[at] else 1
        kind, _, _, size = struct.unpack(">HHIH", answer[at : at + 10])
        at += 10
        if kind == 1:
            found.append(socket.inet_ntoa(answer[at : at + 4]))
        at += size
    return found


def resolve(name: str, servers: list[str], timeout_s: float = TIMEOUT_S) -> tuple[str, int, list[str]]:
    """Ask one server after the other: the one that answered, its code, the addresses. Raises NoAnswer."""
    problem = "no name server is configured"
    for server in servers:
        try:
            return server, *ask(server, name, timeout_s)
        except NoAnswer as error:
            problem = str(error)
    raise NoAnswer(problem)


def from_hosts(name: str) -> list[str]:
    """What /etc/hosts says of a name."""
    lines = (line.split("#")[0].split() for line in (ROOT / "etc/hosts").read_text().splitlines())
    return [words[0] for words in lines if name in words[1:]]


def getent(arguments: list[str]) -> int:
    """`getent hosts|ahosts|ahostsv4 NAME`: /etc/hosts first, then DNS; 2 if there is no such name."""
    if len(arguments) != 2 or arguments[0] not in ("hosts", "ahosts", "ahostsv4"):
        print(f"getent: the lab does not know: getent {' '.join(arguments)}", file=sys.stderr)
        return 1
    database, name = arguments
    found = from_hosts(name)
    if not found:
        try:
            found = resolve(name, nameservers())[2]
        except NoAnswer:
            return 2
    for address in found:
        print(f"{address:<15} {name}" if database == "hosts" else f"{address:<15} STREAM {name}")
    return 0 if found else 2


def nslookup(arguments: list[str]) -> int:
    """`nslookup NAME [SERVER]`, with busybox's and bind's words."""
    words = [word for word in arguments if not word.startswith("-")]
    waits = [word.split("=")[1] for word in arguments if word.startswith("-timeout=")]
    if not words:
        print("nslookup: give a name", file=sys.stderr)
        return 1
    name, servers = words[0], words[1:2] or nameservers()
    try:
        server, code, found = resolve(name, servers, float(waits[0]) if waits else TIMEOUT_S)
    except NoAnswer:
        print(";; connection timed out; no servers could be reached\n")
        return 1
    print(f"Server:\t\t{server}\nAddress:\t{server}#53\n")
    if code == NAME_ERROR or not found:
        print(f"** server can't find {name}: {'NXDOMAIN' if code == NAME_ERROR else 'No answer'}\n")
        return 1
    for address in found:
        print(f"Name:\t{name}\nAddress: {address}")
    return 0


def dig(arguments: list[str]) -> int:
    """`dig [@SERVER] NAME [A] [+short] [+time=S] [+tries=N]`; 9 if nobody answers."""
    servers = [word[1:] for word in arguments if word.startswith("@")] or nameservers()
    names = [word for word in arguments if word[0] not in "@+-" and word != "A"]
    waits = [float(word.partition("=")[2]) for word in arguments if word.startswith("+time=")]
    if len(names) != 1:
        print(f"dig: the lab does not know: dig {' '.join(arguments)}", file=sys.stderr)
        return 1
    try:
        server, code, found = resolve(names[0], servers, waits[0] if waits else TIMEOUT_S)
    except NoAnswer:
        print(";; connection timed out; no servers could be reached")
        return 9
    if "+short" in arguments:
        print("\n".join(found))
        return 0
    status = {NO_ERROR: "NOERROR", NAME_ERROR: "NXDOMAIN"}.get(code, str(code))
    print(f";; ->>HEADER<<- opcode: QUERY, status: {status}, id: 1")
    print(";; ANSWER SECTION:" if found else ";; no answer")
    for address in found:
        print(f"{names[0]}.\t30\tIN\tA\t{address}")
    print(f"\n;; SERVER: {server}#53({server}) (UDP)")
    return 0


PROGRAMS = {"getent": getent, "nslookup": nslookup, "dig": dig}
