"""The lab's name server: in-cluster names, the hosts' own, one external name; NXDOMAIN for all else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from poolkeeper.deployments.lab.layout import DNS_PORT, listening_socket

TTL_S = 30


class NameServer(asyncio.DatagramProtocol):
    """Answers over UDP and TCP on one port.

    names: lower-case names without the last dot, and their IPv4 addresses
    is_deaf: whether a client, by its address, gets no answer at all
    """

    def __init__(self, names: Mapping[str, str], is_deaf: Callable[[str], bool]) -> None:
        self._names, self._is_deaf = names, is_deaf
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self.port = 0

    async def start(self, address: str) -> None:
        """Listen on an address."""
        udp = listening_socket(address, DNS_PORT, kind=socket.SOCK_DGRAM)
        self.port = udp.getsockname()[1]
        self._udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=udp)
        self._tcp = await asyncio.start_server(self._serve_stream, address, self.port)

    def stop(self) -> None:
        """Stop answering."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._answer(data, addr[0])
        if answer is not None and self._udp is not None:
            self._udp.sendto(answer, addr)

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                answer = self._answer(await reader.readexactly(size), writer.get_extra_info("peername")[0])
                if answer is not None:
                    writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()

    def _answer(self, data: bytes, client: str) -> bytes | None:
        if self._is_deaf(client):
            return None
        try:
            query = dns.message.from_wire(data)
        except Exception:  # whatever is wrong with it, a name server does not answer garbage
            return None
        answer = dns.message.make_response(query, recursion_available=True)
        if not query.question:
            answer.set_rcode(dns.rcode.FORMERR)
            return answer.to_wire()
        asked = query.question[0]
        address = self._names.get(asked.name.to_text(omit_final_dot=True).lower())
        if address is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif asked.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(asked.name, TTL_S, "IN", "A", address))
        return answer.to_wire()
