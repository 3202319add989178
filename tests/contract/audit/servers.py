"""Servers on loopback that hosts are asked to reach: right ones, and one for each way in which they are not."""

from __future__ import annotations

import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from poolkeeper.deployments.lab.kubernetes import LabCA

HERE = "127.0.0.1"
EXPIRED_AT = datetime(2024, 2, 29, 12, 30, 1, tzinfo=UTC)

Talk = Callable[[socket.socket], None]
"""What a server does with a connection."""
Reply = Callable[[bytes], list[bytes]]
"""What a DNS server answers to a query."""


@dataclass
class World:
    """Ports of the servers by name, and the authority that signed the right certificates."""

    authority_pem: str
    ports: dict[str, int] = field(default_factory=dict)


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Every server, until the end."""
    ours, foreign = LabCA("ours"), LabCA("foreign")
    with ExitStack() as stack:
        made = World(ours.certificate_pem.decode())

        def listen(name: str, talk: Talk) -> None:
            made.ports[name] = stack.enter_context(_stream(talk))

        def secure(name: str, certificate: bytes, key: bytes, talk: Talk) -> None:
            file = folder / f"{name}.pem"
            file.write_bytes(certificate + key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(file)
            listen(name, _in_tls(context, talk))

        closed = stack.enter_context(socket.socket())
        closed.bind((HERE, 0))
        made.ports["closed"] = closed.getsockname()[1]
        right = ours.server_certificate([HERE, "api.lab"])
        wrong_name = ours.server_certificate(["other.lab"])
        not_ours = foreign.server_certificate([HERE])
        secure("right", right.certificate_pem, right.key_pem, _page(b"200 OK"))
        secure("forbids", right.certificate_pem, right.key_pem, _page(b"403 Forbidden"))
        secure("hour-behind", right.certificate_pem, right.key_pem, _page(b"200 OK", clock_off_s=-3600))
        secure("clock-is-nonsense", right.certificate_pem, right.key_pem, _say(b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\n"))
        secure("hangs-up", right.certificate_pem, right.key_pem, _say(b""))
        secure("wrong-name", wrong_name.certificate_pem, wrong_name.key_pem, _page(b"200 OK"))
        secure("foreign", not_ours.certificate_pem, not_ours.key_pem, _page(b"200 OK"))
        secure("expired", *_expired(), _page(b"200 OK"))
        listen("silent", _silent)
        listen("resets", _reset)
        listen("ends", _end)
        listen("page", _page(b"204 No Content"))
        listen("banner", _say(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"))
        listen("endless", _endless)
        listen("cache", _metrics(chunked=False))
        listen("cache-in-chunks", _metrics(chunked=True))
        listen("cache-keeps-open", _keeps_open)
        listen("cache-cut-short", _say(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + METRICS))
        listen("cache-cut-in-chunks", _say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + METRICS))
        listen("cache-endless", _endless_page)
        listen("no-cache", _say(b"HTTP/1.1 200 OK\r\n\r\ngo_goroutines 7\n"))
        for name, reply in DNS_REPLIES.items():
            made.ports[name] = stack.enter_context(_name_server(reply))
        yield made


class _Streams(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what some tests are about."""


@contextmanager
def _stream(talk: Talk) -> Iterator[int]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(20)
            talk(self.request)

    with _Streams((HERE, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def _silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass  # until the other side has had enough


def _reset(connection: socket.socket) -> None:
    """What a load balancer does that has nobody behind it."""
    connection.recv(4096)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _end(connection: socket.socket) -> None:
    connection.recv(4096)


def _say(text: bytes) -> Talk:
    def talk(connection: socket.socket) -> None:
        if text[:3] != b"SSH":
            connection.recv(4096)
        connection.sendall(text)

    return talk


def _page(status: bytes, clock_off_s: float = 0) -> Talk:
    def talk(connection: socket.socket) -> None:
        request = connection.recv(4096)
        date = formatdate(time.time() + clock_off_s, usegmt=True).encode()
        asked = request.partition(b"\r\n")[0].decode()
        status_now = status if asked in ("GET /readyz HTTP/1.1", "GET /a/page?x=1 HTTP/1.1") else b"404 Not Found"
        connection.sendall(b"HTTP/1.1 " + status_now + b"\r\nDate: " + date + b"\r\nContent-Length: 2\r\n\r\nok")

    return talk


def _endless(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: and more\r\n" * 1000)


def _endless_page(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"coredns_cache_hits_total 1\n" * 1000)


def _keeps_open(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(METRICS), METRICS))
    _silent(connection)


METRICS = b"""\
# HELP coredns_cache_hits_total The count of cache hits.
coredns_cache_hits_total{server="dns://:53",type="denial",view="",zones="."} 2
coredns_cache_hits_total{server="dns://:53",type="success",view="",zones="."} 1.5e+06
coredns_cache_misses_total{server="dns://:53",view="",zones="."} 40
coredns_dns_responses_total{plugin="",rcode="NOERROR",server="dns://:53",view="",zone="."} 90
coredns_dns_responses_total{plugin="",rcode="SERVFAIL",server="dns://:53",view="",zone="."} 3
coredns_proxy_request_duration_seconds_bucket{le="1"} 1000
coredns_proxy_request_duration_seconds_count{proxy_name="forward",rcode="NOERROR",to="10.0.0.10:53"} 41
"""


def _metrics(*, chunked: bool) -> Talk:
    body, head = METRICS, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    if chunked:
        pieces = [METRICS[:100], METRICS[100:300], METRICS[300:]]
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        head += b"Transfer-Encoding: chunked\r\n"
    return _say(head + b"\r\n" + body)


def _in_tls(context: ssl.SSLContext, talk: Talk) -> Talk:
    def talk_in_tls(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            talk(secure)

    return talk_in_tls


def _expired() -> tuple[bytes, bytes]:
    """A certificate that signed itself, with its key; its time is over."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Söhne"), x509.NameAttribute(NameOID.COMMON_NAME, "old")]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(EXPIRED_AT - timedelta(days=1))
        .not_valid_after(EXPIRED_AT)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


# name servers


@contextmanager
def _name_server(reply: Reply) -> Iterator[int]:
    def datagrams(sock: socket.socket) -> None:
        while True:
            query, client = sock.recvfrom(4096)
            if not query:
                return
            for answer in reply(query):
                sock.sendto(answer, client)

    def stream(connection: socket.socket) -> None:
        size = connection.recv(2)
        for answer in reply(connection.recv(int.from_bytes(size, "big"))):
            for at in range(0, len(answer) + 2, 7):  # in pieces, as a stream may
                connection.sendall((len(answer).to_bytes(2, "big") + answer)[at : at + 7])
        connection.recv(1)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, ExitStack() as stack:
        port = _common_port(udp, stream, stack)
        thread = threading.Thread(target=datagrams, args=(udp,), daemon=True)
        thread.start()
        yield port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", (HERE, port))
        thread.join(5)


def _common_port(udp: socket.socket, stream: Talk, stack: ExitStack) -> int:
    """One port that is free for both: TCP has the say, for connections take up ports as well."""
    port = stack.enter_context(_stream(stream))
    udp.bind((HERE, port))
    return port


def _honest(query: bytes) -> dns.message.Message:
    asked = dns.message.from_wire(query)
    name, kind = asked.question[0].name, asked.question[0].rdtype
    answer = dns.message.make_response(asked)
    text = name.to_text()
    if text == "missing.lab.":
        answer.set_rcode(dns.rcode.NXDOMAIN)
        soa = "ns.lab. admin.lab. 1 7200 900 1209600 30"
        answer.authority.append(dns.rrset.from_text("lab.", 600, "IN", "SOA", soa))
    elif kind == dns.rdatatype.A:
        answer.answer.append(dns.rrset.from_text(name, 50, "IN", "CNAME", "real.lab."))
        answer.answer.append(dns.rrset.from_text("real.lab.", 20, "IN", "A", "10.0.0.2", "10.0.0.1"))
        answer.answer.append(dns.rrset.from_text("stray.lab.", 1, "IN", "A", "6.6.6.6"))
    elif kind == dns.rdatatype.AAAA:
        answer.answer.append(dns.rrset.from_text(name, 50, "IN", "AAAA", "fd00::1"))
    return answer


def _with_id(answer: bytes, change: int) -> bytes:
    return (int.from_bytes(answer[:2], "big") ^ change).to_bytes(2, "big") + answer[2:]


def _truncated(query: bytes) -> bytes:
    answer = _honest(query)
    answer.flags |= dns.flags.TC
    answer.answer.clear()
    return answer.to_wire()


def _other_question(query: bytes) -> bytes:
    other = dns.message.make_query("other.lab", "A", id=int.from_bytes(query[:2], "big"))
    return _honest(other.to_wire()).to_wire()


def _refuses(query: bytes) -> bytes:
    answer = dns.message.make_response(dns.message.from_wire(query))
    answer.set_rcode(dns.rcode.SERVFAIL)
    answer.question.clear()
    return answer.to_wire()


def _circle(query: bytes) -> bytes:
    """A name that points to itself, for the owner of the only record."""
    at = len(query)
    return query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:] + bytes([0xC0 | at >> 8, at & 255]) + bytes(10)


def _slow(query: bytes) -> list[bytes]:
    threading.Event().wait(0.3)  # the delay is what it is for
    return [_honest(query).to_wire()]


DNS_REPLIES: dict[str, Reply] = {
    "dns": lambda query: [_honest(query).to_wire()],
    "dns-silent": lambda query: [],
    "dns-slow": _slow,
    "dns-wrong-id": lambda query: [_with_id(_honest(query).to_wire(), 1)],
    "dns-lies-first": lambda query: [_with_id(_other_question(query), 1), b"!", _honest(query).to_wire()],
    "dns-other-question": lambda query: [_other_question(query)],
    "dns-truncates": lambda query: [_truncated(query)],
    "dns-cut-short": lambda query: [_honest(query).to_wire()[:-3]],
    "dns-circle": lambda query: [_circle(query)],
    "dns-fails": lambda query: [_refuses(query)],
    "dns-echoes": lambda query: [query],
}
