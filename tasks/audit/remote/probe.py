"""Answers a request batch on a host: in threads, by one deadline, then the process ends.

Not imported by poolkeeper: `protocol.program` sends this file over the session's stdin, followed by a call of `main`.
Python 3.6 and newer, with the modules of Debian's python3-minimal only. It writes no file and starts no process.
Invariant: each question gets one line, with or without an answer. Data from the network is bounded and never trusted.
"""

import calendar
import contextlib
import errno
import os
import re
import signal
import socket
import struct
import sys
import threading
import time

try:
    import ssl
except ImportError:
    ssl = None  # type: ignore[assignment]  # a Python built without it

LONGEST_FIELD = 4096
LONGEST_HEAD = 32768
LONGEST_PAGE = 524288
MOST_ADDRESSES = 64
MOST_RECORDS = 512
MOST_STRAYS = 64
"""Datagrams that are not the answer; after so many the probe stops waiting for it."""
PARTIAL_CHAIN = 0x80000  # of OpenSSL: an authority need not be a root; ssl names it from Python 3.10 on
MOST_LOOKUPS = 32
MOST_THREADS = 32
MOST_PAGES = 2
"""Pages in memory at the same time."""
GRACE_S = 5
"""Time after the deadline for a slow reader; then the kernel ends the process."""

NOT_THERE = (
    errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EACCES, errno.EPERM, errno.ENONET,
)  # fmt: skip
CLOSED_BY_PEER = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)
NOT_TLS = (
    "WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "UNEXPECTED_MESSAGE", "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE", "WRONG_SSL_VERSION", "BAD_PACKET", "BAD_PACKET_LENGTH", "INVALID_PACKET_LENGTH",
)  # fmt: skip
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
RECORDS = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33}
ISSUER_WORDS = {b"\x55\x04\x03": "CN", b"\x55\x04\x06": "C", b"\x55\x04\x0a": "O", b"\x55\x04\x0b": "OU"}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


Late = socket.timeout
"""Not yet TimeoutError before Python 3.10."""


class Ended(Exception):
    """A question ended without an answer."""

    def __init__(self, outcome: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


class NotVerified(Ended):
    """The server's certificate does not verify."""

    def __init__(self, reason: str) -> None:
        super().__init__("tls", reason)


class Question:
    """One line of the batch; the fields are those of `questions.Question`."""

    def __init__(self, fields: "list[str]") -> None:
        number, self.kind, self.address, port, self.name, self.transport, self.record, self.authority, sizes = fields[
            :9
        ]
        self.server_name = fields[9]
        self.number = int(number)
        self.port = int(port)
        self.sizes = [int(size) for size in sizes.split(",") if size]


class RequestBatch:
    """All questions, and their limits."""

    def __init__(self, text: str) -> None:
        self.questions: list[Question] = []
        self.authorities: dict[str, str] = {}
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self.lookups = threading.Semaphore(MOST_LOOKUPS)
        self.pages = threading.Semaphore(MOST_PAGES)
        for line in text.split("\n"):
            word, *fields = [decoded(field) for field in line.split("\t")]
            if word == "limits":
                self.deadline_s, self.timeout_s, self.parallel, self.jitter_s = [float(field) for field in fields]
            elif word == "authority":
                self.authorities[fields[0]] = fields[1]
            elif word == "ask":
                self.questions.append(Question(fields))

    def context(self, authority: str, has_name: bool) -> "ssl.SSLContext":
        """A TLS context for one authority, or for those that the host trusts. Raises Ended."""
        if ssl is None:
            raise Ended("unknown", "this Python has no ssl")
        with self._lock:
            found = self._contexts.get((authority, has_name))
            if found is None:
                found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                found.check_hostname = has_name
                found.verify_flags |= PARTIAL_CHAIN
                try:
                    if authority:
                        found.load_verify_locations(cadata=self.authorities[authority])
                    else:
                        found.set_default_verify_paths()
                except (KeyError, ValueError, ssl.SSLError) as error:
                    raise Ended("unknown", f"the certificates to verify with cannot be used: {words(error)}") from None
                self._contexts[authority, has_name] = found
            return found


def decoded(field: str) -> str:
    """A field, decoded from a line."""
    return re.sub("%(25|09|0A|0D)", lambda found: chr(int(found.group(1), 16)), field)


def encoded(text: str) -> str:
    """A field, encoded for a line: bounded, without control characters."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST_FIELD])
    return text.replace("%", "%25")


def words(error: BaseException) -> str:
    """The text of an error."""
    if isinstance(error, OSError) and error.strerror and not (ssl and isinstance(error, ssl.SSLError)):
        return str(error.strerror)
    return str(error) or type(error).__name__


def ended_by(error: OSError) -> Ended:
    """The end of a question that met this network error."""
    if isinstance(error, (Late, TimeoutError)):
        return Ended("timeout", "no answer in time")
    if error.errno == errno.ECONNREFUSED:
        return Ended("refused", words(error))
    if error.errno in NOT_THERE:
        return Ended("unreachable", words(error))
    if error.errno in CLOSED_BY_PEER:
        return Ended("garbled", "connection reset by the server")
    return Ended("unknown", words(error))


class Watch:
    """The time limit of one step."""

    def __init__(self, limit_s: float) -> None:
        self._began = time.monotonic()
        self._limit_s = limit_s

    def ms(self) -> str:
        return f"{(time.monotonic() - self._began) * 1000:.1f}"

    def left_s(self) -> float:
        """Seconds left. Raises Late if there are none."""
        left = self._limit_s - (time.monotonic() - self._began)
        if left <= 0:
            raise Late("no answer in time")
        return left

    def receive(self, sock: socket.socket, size: int) -> bytes:
        sock.settimeout(self.left_s())
        return sock.recv(size)


# names


def look_up(batch: RequestBatch, name: str, family: int) -> "list[tuple[int, str]]":
    """Family and address of a name or an address, as the host's own programs find them. Raises OSError, Ended.

    A lookup runs in its own thread, because nothing can cancel it: if it hangs, it is abandoned.
    """
    for literal in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(literal, name)
        except (OSError, ValueError):
            continue
        return [(literal, name)]
    try:
        asked = name.encode("ascii")  # bytes: a str would need the codec of internationalised names
    except UnicodeEncodeError:
        raise Ended("unknown", "not a name in ASCII") from None
    if not batch.lookups.acquire(timeout=batch.timeout_s):
        raise Ended("unknown", f"{MOST_LOOKUPS} earlier lookups have not ended")
    found: list[list[tuple[int, str]]] = []
    failed: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        try:
            rows = socket.getaddrinfo(asked, None, family, socket.SOCK_STREAM)
            found.append([(row[0], str(row[4][0])) for row in rows[:MOST_ADDRESSES]])
        except Exception as error:
            failed.append(error)
        batch.lookups.release()
        done.set()

    threading.Thread(target=ask, daemon=True).start()
    if not done.wait(batch.timeout_s):
        raise Late("no answer in time")
    if failed:
        raise failed[0]
    return list(dict.fromkeys(found[0]))


def addresses_of(batch: RequestBatch, question: Question) -> "list[tuple[int, str]]":
    """The addresses that a question goes to. Raises Ended."""
    try:
        return look_up(batch, question.address, socket.AF_UNSPEC)
    except socket.gaierror as error:
        raise Ended("no-name", words(error)) from None
    except OSError as error:
        raise ended_by(error) from None


def ask_stub(batch: RequestBatch, question: Question, values: "dict[str, str]") -> None:
    family = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}.get(question.record, socket.AF_UNSPEC)
    try:
        found = look_up(batch, question.name, family)
    except socket.gaierror as error:
        if error.errno not in (socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY):
            outcome = "no-name" if error.errno in (socket.EAI_AGAIN, socket.EAI_FAIL) else "unknown"
            raise Ended(outcome, words(error)) from None
        found = []  # no such name, or no address of this family: this is an answer
    values["addresses"] = ",".join(sorted({address for _, address in found}))


# streams


def connect(batch: RequestBatch, question: Question, addresses: "list[tuple[int, str]]") -> socket.socket:
    """A connection to the first address that accepts it. Raises Ended."""
    watch = Watch(batch.timeout_s)
    addresses = addresses[:4]
    problem: OSError = Late("no answer in time")
    for tried, (family, address) in enumerate(addresses):
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            problem = error
            continue
        try:
            sock.settimeout(watch.left_s() / (len(addresses) - tried))
            sock.connect((address, question.port))
            return sock
        except OSError as error:
            problem = error
            sock.close()
    raise ended_by(problem)


def ask_tcp(batch: RequestBatch, question: Question, values: "dict[str, str]") -> None:
    connect(batch, question, addresses_of(batch, question)).close()


def shake_hands(batch: RequestBatch, sock: socket.socket, context: "ssl.SSLContext", name: str) -> "ssl.SSLSocket":
    """The connection with TLS. Raises NotVerified, Ended; then it is closed."""
    try:
        secure = context.wrap_socket(sock, server_hostname=name or None, do_handshake_on_connect=False)
    except ValueError as error:
        sock.close()
        raise Ended("unknown", f"the name cannot be used in a handshake: {words(error)}") from None
    except OSError as error:
        sock.close()
        raise tls_ended_by(error) from None
    try:
        secure.settimeout(batch.timeout_s)
        secure.do_handshake()
    except Exception as error:
        secure.close()
        raise tls_ended_by(error) from None
    return secure


def tls_ended_by(error: Exception) -> Ended:
    """The end of a handshake that met this error."""
    if isinstance(error, ssl.CertificateError):
        return NotVerified(getattr(error, "verify_message", "") or words(error))
    if isinstance(error, ssl.SSLError):
        if "CERTIFICATE_VERIFY_FAILED" in (error.reason or ""):
            return NotVerified("the certificate does not verify")  # Python before 3.7 has no reason
        if isinstance(error, ssl.SSLEOFError):
            return Ended("tls", "connection closed within the handshake")
        outcome = "garbled" if error.reason in NOT_TLS else "tls"
        return Ended(outcome, (error.reason or words(error)).replace("_", " ").lower())
    if isinstance(error, OSError):
        ended = ended_by(error)
        return Ended("tls", ended.reason) if ended.outcome == "garbled" else ended
    return Ended("tls", words(error))


def secured(
    batch: RequestBatch, question: Question, addresses: "list[tuple[int, str]]", name: str, sock: socket.socket,
    values: "dict[str, str]",
) -> "ssl.SSLSocket":  # fmt: skip
    """The connection with TLS, verified; the certificate's data goes into the values in any case. Raises Ended."""
    try:
        context = batch.context(question.authority, bool(name))
    except Ended:
        sock.close()
        raise
    try:
        secure = shake_hands(batch, sock, context, name)
    except NotVerified as error:
        values["verified"] = error.reason
        anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anyone.check_hostname = False
        anyone.verify_mode = ssl.CERT_NONE
        try:
            unverified = shake_hands(batch, connect(batch, question, addresses), anyone, name)
            read_certificate(unverified.getpeercert(True), values)
            unverified.close()
        except (Ended, OSError):
            pass  # the failed verification is reported in any case
        raise error from None
    values["verified"] = "yes"
    read_certificate(secure.getpeercert(True), values)
    return secure


def ask_tls(batch: RequestBatch, question: Question, values: "dict[str, str]") -> None:
    addresses = addresses_of(batch, question)
    sock = connect(batch, question, addresses)
    secured(batch, question, addresses, question.name, sock, values).close()


def read_certificate(der: "bytes | None", values: "dict[str, str]") -> None:
    """Its end and its issuer, if it can be parsed."""
    with contextlib.suppress(ValueError, IndexError):  # else the values have neither
        values["not_after"], values["issuer"] = certificate(der or b"")


def certificate(der: bytes) -> "tuple[str, str]":
    """End in ISO 8601, and issuer, of a certificate (RFC 5280). Raises ValueError, IndexError."""
    _, at, _ = element(der, 0)
    _, at, _ = element(der, at)
    tag, _, end = element(der, at)
    if tag == 0xA0:  # the version, which the oldest do not have
        _, _, end = element(der, end)
    _, _, end = element(der, end)  # past the serial number and the algorithm
    _, issuer, after = element(der, end)
    _, validity, _ = element(der, after)
    _, _, end = element(der, validity)
    tag, start, end = element(der, end)
    digits = der[start:end].decode("ascii")
    if tag == 0x17:  # UTCTime: two digits of a year
        digits = ("19" if digits >= "5" else "20") + digits
    found = re.match(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z\Z", digits)
    if not found:
        raise ValueError("not a time")
    return "{}-{}-{}T{}:{}:{}+00:00".format(*found.groups()), ", ".join(name_parts(der, issuer, after))


def name_parts(der: bytes, at: int, end: int) -> "list[str]":
    parts = []
    while at < end:
        _, inner, at = element(der, at)
        _, pair, _ = element(der, inner)
        _, start, stop = element(der, pair)
        word = ISSUER_WORDS.get(der[start:stop])
        tag, start, stop = element(der, stop)
        if word:
            parts.append(f"{word}={der[start:stop].decode('utf-16-be' if tag == 0x1E else 'utf-8', 'replace')}")
    return parts


def element(der: bytes, at: int) -> "tuple[int, int, int]":
    """Tag, start and end of what an element holds. Raises ValueError, IndexError."""
    tag, size = der[at], der[at + 1]
    at += 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 4:
            raise ValueError("not DER")
        size = int.from_bytes(der[at : at + count], "big")
        at += count
    if at + size > len(der):
        raise ValueError("cut short")
    return tag, at, at + size


# pages


def fetch(
    batch: RequestBatch,
    question: Question,
    path: str,
    is_secure: bool,
    values: "dict[str, str]",
    *,
    is_read: bool = False,
) -> bytearray:
    """GET a path, each stage timed in the values; returns the whole page only if `is_read`. Raises Ended."""
    watch = Watch(batch.timeout_s)
    values["stage"] = "name"
    addresses = addresses_of(batch, question)
    values["name_ms"] = watch.ms()
    watch = Watch(batch.timeout_s)
    values["stage"] = "connect"
    sock = connect(batch, question, addresses)
    values["connect_ms"] = watch.ms()
    if is_secure:
        watch = Watch(batch.timeout_s)
        values["stage"] = "tls"
        sock = secured(batch, question, addresses, question.server_name or question.address, sock, values)
        values["tls_ms"] = watch.ms()
    watch = Watch(batch.timeout_s)
    values["stage"] = "http"
    try:
        head, body = begin_page(watch, sock, question, path, values)
        if is_read:
            body = read_page(watch, sock, head, body)
    except OSError as error:
        if ssl and isinstance(error, ssl.SSLError):
            raise Ended("garbled", words(error)) from None
        raise ended_by(error) from None
    finally:
        sock.close()
    values["http_ms"] = watch.ms()
    del values["stage"]
    return body


def begin_page(
    watch: Watch, sock: socket.socket, question: Question, path: str, values: "dict[str, str]"
) -> "tuple[bytes, bytearray]":
    """Head in lower case, and the start of the page; status and clock go into the values. Raises OSError, Ended."""
    host = f"[{question.address}]" if ":" in question.address else question.address
    request = (
        f"GET {path or '/'} HTTP/1.1\r\nHost: {host}:{question.port}\r\nUser-Agent: poolkeeper\r\nAccept: */*\r\n"
        "Connection: close\r\n\r\n"
    )
    sock.settimeout(watch.left_s())
    sent_at = time.time()
    sock.sendall(request.encode("ascii"))
    raw = bytearray()
    end = -1
    while end < 0 and len(raw) < LONGEST_HEAD:
        looked_at = max(0, len(raw) - 3)
        piece = watch.receive(sock, 8192)
        if not piece:
            break
        raw += piece
        end = raw.find(b"\r\n\r\n", looked_at)
    came_at = time.time()
    status = re.match(rb"HTTP/1\.[01] ([1-5]\d\d)[ \r]", raw)
    if end < 0 or not status:
        raise Ended("garbled", f"not HTTP: {bytes(raw[:60])!r}" if raw else "connection closed without an answer")
    values["status"] = status.group(1).decode()
    head = bytes(raw[:end]).lower()
    date = re.search(rb"\ndate:[ \t]*([^\r\n]*)", head)
    server_at = seconds_of(date.group(1).decode("ascii", "replace")) if date else None
    if server_at is not None:
        # the header has whole seconds, rounded down: half a second is the least error
        values["clock_offset_s"] = f"{(sent_at + came_at) / 2 - server_at - 0.5:.1f}"
    return head, raw[end + 4 :]


def read_page(watch: Watch, sock: socket.socket, head: bytes, body: bytearray) -> bytearray:
    """The whole page: a part would give wrong counts. Raises OSError, Ended."""
    is_chunked = re.search(rb"\ntransfer-encoding:[ \t]*chunked", head)
    declared = re.search(rb"\ncontent-length:[ \t]*(\d{1,9})\r", head + b"\r")
    size = int(declared.group(1)) if declared and not is_chunked else None
    while not (len(body) >= size if size is not None else is_chunked and body.endswith(b"0\r\n\r\n")):
        if len(body) > LONGEST_PAGE:
            raise Ended("unknown", f"the page has more than {LONGEST_PAGE} bytes")
        piece = watch.receive(sock, 16384)
        if not piece and size is None and not is_chunked:
            return body
        if not piece:
            raise Ended("garbled", "connection closed within the page")
        body += piece
    return unchunked(body) if is_chunked else body


def seconds_of(date: str) -> "int | None":
    """Seconds since 1970 of a Date header, in lower or upper case; None if it is malformed."""
    found = re.match(r"[a-z]{3}, (\d\d) ([a-z]{3}) (\d{4}) (\d\d):(\d\d):(\d\d) gmt\s*\Z", date.lower())
    if not found or found.group(2).title() not in MONTHS:
        return None
    day, month, year, hour, minute, second = found.groups()
    try:
        return calendar.timegm(
            (int(year), MONTHS.index(month.title()) + 1, int(day), int(hour), int(minute), int(second))
        )
    except (ValueError, OverflowError):
        return None


def unchunked(body: bytearray) -> bytearray:
    """The content of the chunks, up to the last or to a malformed one."""
    whole, at = bytearray(), 0
    while True:
        end = body.find(b"\r\n", at, at + 200)
        size = re.match(rb"[0-9A-Fa-f]{1,8}", body[at : max(at, end)])
        if not size or not int(size.group(), 16):
            return whole
        start = end + 2
        at = start + int(size.group(), 16) + 2
        whole += body[start : at - 2]


def ask_api(batch: RequestBatch, question: Question, values: "dict[str, str]") -> None:
    fetch(batch, question, question.name or "/readyz", True, values)


def ask_http(batch: RequestBatch, question: Question, values: "dict[str, str]") -> None:
    fetch(batch, question, question.name, False, values)


def ask_https(batch: RequestBatch, question: Question, values: "dict[str, str]") -> None:
    fetch(batch, question, question.name, True, values)


def ask_metrics(batch: RequestBatch, question: Question, values: "dict[str, str]") -> None:
    with batch.pages:
        counted = metrics(fetch(batch, question, "/metrics", False, values, is_read=True))
    if values["status"] != "200":
        raise Ended("garbled", f"the server answers /metrics with status {values['status']}")
    if not counted:
        raise Ended("garbled", "its metrics have no counter of a DNS cache")
    values.update(counted)


def metrics(body: bytearray) -> "dict[str, str]":
    """CoreDNS's counters of its cache. Invariant: a counter that the page lacks is missing, and not 0."""
    sums: dict[str, float] = {}
    for found in re.finditer(rb"^(coredns_[a-z_]+)(\{[^\n]*\})? ([0-9.eE+]+)\r?$", body, re.MULTILINE):
        name, labels = found.group(1).decode(), found.group(2) or b""
        word = {
            "coredns_cache_hits_total": "hits",
            "coredns_cache_misses_total": "misses",
            "coredns_forward_requests_total": "forwards",  # until 1.11
            "coredns_proxy_request_duration_seconds_count": "forwards",
            "coredns_forward_request_count_total": "forwards",  # until 1.7
            "coredns_dns_responses_total": "errors",
            "coredns_dns_response_rcode_count_total": "errors",  # until 1.7
        }.get(name)
        if word == "errors":
            sums.setdefault(word, 0.0)
            if b'rcode="SERVFAIL"' not in labels:
                continue
        try:
            if word:
                sums[word] = sums.get(word, 0.0) + float(found.group(3))
        except ValueError:
            pass
    return {word: f"{value:.0f}" for word, value in sums.items() if value < 1e18}


# DNS


def ask_dns(batch: RequestBatch, question: Question, values: "dict[str, str]") -> None:
    record = RECORDS.get(question.record or "A")
    if record is None:
        raise Ended("unknown", f"the probe does not know the record type {question.record}")
    query = dns_query(question.name, record)
    addresses = addresses_of(batch, question)
    if question.transport == "tcp":
        sock = connect(batch, question, addresses)
        ask = ask_stream
    else:
        sock = socket.socket(addresses[0][0], socket.SOCK_DGRAM)
        ask = ask_datagram
    try:
        values.update(ask(batch, sock, (addresses[0][1], question.port), query, record))
    except OSError as error:
        raise ended_by(error) from None
    finally:
        sock.close()


def ask_datagram(
    batch: RequestBatch, sock: socket.socket, where: "tuple[str, int]", query: bytes, record: int
) -> "dict[str, str]":
    """Ask, and ask again after half of the time, as resolvers do: one datagram may be lost for any reason.

    A datagram that is not the answer to this query may come from anyone, and is ignored.
    """
    sock.settimeout(batch.timeout_s)
    sock.connect(where)
    stray, strays = "", 0
    for _ in range(2):
        watch = Watch(batch.timeout_s / 2)
        sock.send(query)
        while strays < MOST_STRAYS:
            try:
                message = watch.receive(sock, 65535)
            except Late:
                break
            stray = differs(message, query)
            if not stray:
                return dns_answer(message, query, record)
            strays += 1
    if stray:
        raise Ended("garbled", stray)
    raise Ended("timeout", "no answer in time")


def ask_stream(
    batch: RequestBatch, sock: socket.socket, where: "tuple[str, int]", query: bytes, record: int
) -> "dict[str, str]":
    watch = Watch(batch.timeout_s)
    sock.sendall(struct.pack(">H", len(query)) + query)
    raw = bytearray()
    size = 2
    while len(raw) < size:
        piece = watch.receive(sock, size - len(raw))
        if not piece:
            raise Ended("garbled", "connection closed within the answer" if raw else "connection closed")
        raw += piece
        if len(raw) == 2:
            size = 2 + raw[0] * 256 + raw[1]
    message = bytes(raw[2:])
    stray = differs(message, query)
    if stray:
        raise Ended("garbled", stray)
    return dns_answer(message, query, record)


def dns_query(name: str, record: int) -> bytes:
    """A query (RFC 1035) with a random number. Raises Ended if the name is not valid."""
    labels = bytearray()
    for part in name.rstrip(".").split(".") if name.strip(".") else []:
        label = part.encode("utf-8", "replace")
        if not 1 <= len(label) <= 63:
            raise Ended("unknown", "not a DNS name")
        labels += bytes([len(label)]) + label
    if len(labels) > 254:
        raise Ended("unknown", "not a DNS name: too long")
    return (
        os.urandom(2) + struct.pack(">5H", 0x0100, 1, 0, 0, 0) + bytes(labels) + b"\0" + struct.pack(">2H", record, 1)
    )


def differs(message: bytes, query: bytes) -> str:
    """Why a message is not an answer to this query; empty: it is one."""
    if len(message) < 12:
        return "the answer is shorter than a header"
    if message[:2] != query[:2]:
        return "the answer has another id"
    if message[2] & 0xF8 != 0x80:
        return "the message is not an answer"
    if message[4:6] == b"\0\0" and message[3] & 15:
        return ""  # an error may come without the question
    if message[4:6] != b"\0\1" or message[12 : len(query)].lower() != query[12:].lower():
        return "the answer is to another question"
    return ""


def dns_answer(message: bytes, query: bytes, record: int) -> "dict[str, str]":
    """The values of an answer. Raises Ended if it is malformed."""
    code = message[3] & 15
    is_cut = bool(message[2] & 2)
    values = {"rcode": RCODES[code] if code < len(RCODES) else str(code), "truncated": "yes" if is_cut else "no"}
    try:
        answers, authority = dns_records(message, is_cut)
    except (ValueError, IndexError, struct.error):
        raise Ended("garbled", "the answer is malformed") from None
    owner = dns_name(query, 12)[0]
    ttls, found = [], set()
    for _ in range(16):  # follow the aliases, which may form a circle
        alias = None
        for name, kind, ttl, start, end in answers:
            if name == owner and kind == record and record in (1, 28):
                size = 4 if record == 1 else 16
                if end - start != size:
                    raise Ended("garbled", "the answer has a malformed address")
                found.add(socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, message[start:end]))
                ttls.append(ttl)
            elif name == owner and kind == record:
                ttls.append(ttl)
            elif name == owner and kind == 5:
                ttls.append(ttl)
                try:
                    alias = dns_name(message, start)[0]
                except (ValueError, IndexError):
                    raise Ended("garbled", "the answer has a malformed alias") from None
        if alias is None or alias == owner:
            break
        owner = alias
    values["addresses"] = ",".join(sorted(found)[:MOST_ADDRESSES])
    if ttls:
        values["ttl_s"] = str(min(ttls))
    for _, kind, ttl, start, end in authority:
        if kind == 6 and not found and end - start >= 22:
            values["authoritative_ttl_s"] = str(min(ttl, struct.unpack(">I", message[end - 4 : end])[0]))
    return values


def dns_records(
    message: bytes, is_cut: bool
) -> "tuple[list[tuple[bytes, int, int, int, int]], list[tuple[bytes, int, int, int, int]]]":
    """Answer and authority: owner, type, TTL, start and end of each record of class IN.

    Raises ValueError, IndexError, struct.error.
    """
    asked, answered, referred = struct.unpack(">3H", message[4:10])
    at = 12
    for _ in range(asked):
        at = dns_name(message, at)[1] + 4
    sections: tuple[list[tuple[bytes, int, int, int, int]], list[tuple[bytes, int, int, int, int]]] = ([], [])
    for number in range(min(answered + referred, MOST_RECORDS)):
        if is_cut and at >= len(message):
            break  # records that did not fit may be counted nevertheless
        name, at = dns_name(message, at)
        kind, group, ttl, size = struct.unpack(">HHIH", message[at : at + 10])
        at += 10 + size
        if at > len(message):
            raise ValueError("cut short")
        if group == 1:
            # a TTL with its highest bit set counts as 0 (RFC 2181)
            sections[number >= answered].append((name, kind, ttl if ttl < 1 << 31 else 0, at - size, at))
    return sections


def dns_name(message: bytes, at: int) -> "tuple[bytes, int]":
    """A name in lower case, and where it ends. Raises ValueError, IndexError."""
    labels: list[bytes] = []
    after = size = 0
    for _ in range(256):
        length = message[at]
        if length >= 0xC0:
            after = after or at + 2
            at = (length & 0x3F) << 8 | message[at + 1]
        elif length >= 0x40:
            raise ValueError("not a label")
        elif length == 0:
            return b".".join(labels), after or at + 1
        else:
            label = message[at + 1 : at + 1 + length]
            size += length + 1
            if len(label) < length or size > 254:
                raise ValueError("not a DNS name")
            labels.append(label.lower())
            at += 1 + length
    raise ValueError("a name without an end")


def ask_settings(batch: RequestBatch, question: Question, values: "dict[str, str]") -> None:
    try:
        with open("/etc/resolv.conf", "rb") as file:
            text = file.read(65536).decode("utf-8", "replace")
    except OSError as error:
        raise Ended("unknown", f"/etc/resolv.conf: {words(error)}") from None
    values.update(settings(text))


def settings(text: str) -> "dict[str, str]":
    """Name servers, search list and ndots as glibc reads them from a resolv.conf."""
    servers: list[str] = []
    search: list[str] = []
    ndots = "1"
    for line in text.split("\n"):
        fields = re.split("[#;]", line)[0].split()
        if len(fields) < 2:
            continue
        if fields[0] == "nameserver":
            servers.append(fields[1])
        elif fields[0] == "domain":
            search = fields[1:2]
        elif fields[0] == "search":
            search = fields[1:]
        elif fields[0] == "options":
            for option in fields[1:]:
                if re.match(r"ndots:\d{1,4}\Z", option):
                    ndots = str(min(15, int(option[6:])))
    return {"servers": ",".join(servers), "search": ",".join(search), "ndots": ndots}


# path MTU


class Family:
    """Numbers for echo requests over IPv4 or IPv6: of Linux, and mostly without a name in Python."""

    def __init__(self, number: int) -> None:
        is_four = number == socket.AF_INET
        self.number = number
        self.protocol = 1 if is_four else 58
        self.level = 0 if is_four else 41
        self.header_bytes = 20 if is_four else 40
        self.request, self.reply = (8, 0) if is_four else (128, 129)
        self.discover, self.mtu, self.receive_errors = (10, 14, 11) if is_four else (23, 24, 25)


def ask_mtu(batch: RequestBatch, question: Question, values: "dict[str, str]") -> None:
    number, address = addresses_of(batch, question)[0]
    family = Family(number)
    sock, is_raw = echo_socket(family)
    try:
        # probe the path, whatever MTU the kernel has cached for it
        sock.setsockopt(family.level, family.discover, 3)
        sock.setsockopt(family.level, family.receive_errors, 1)
        sock.connect((address, 0))
        echoes = Echoes(sock, is_raw, family, question.sizes)
        echoes.ask(batch.timeout_s)
    except OSError as error:
        raise ended_by(error) from None
    finally:
        sock.close()
    if echoes.reported:
        values["reported"] = str(echoes.reported)
    if echoes.came:
        values["largest"] = str(max(echoes.came))
    elif echoes.reported and echoes.reported < min(question.sizes):
        values["largest"] = "0"  # all sizes are too big; else a size that fits was not answered either
    else:
        raise ended_by(echoes.problem)


def echo_socket(family: Family) -> "tuple[socket.socket, bool]":
    """A socket for echo requests, and whether it is a raw one. Raises Ended."""
    try:
        return socket.socket(family.number, socket.SOCK_DGRAM, family.protocol), False
    except OSError:
        pass  # net.ipv4.ping_group_range excludes this user
    try:
        return socket.socket(family.number, socket.SOCK_RAW, family.protocol), True
    except OSError as error:
        raise Ended("unknown", f"echo requests are not permitted: {words(error)}") from None


class Echoes:
    """Echo requests of several sizes over one socket."""

    def __init__(self, sock: socket.socket, is_raw: bool, family: Family, sizes: "list[int]") -> None:
        self._sock, self._is_raw, self._family = sock, is_raw, family
        self._sizes = sorted(set(sizes))
        self._number = struct.unpack(">H", os.urandom(2))[0]
        self._secret = os.urandom(8)
        self.came: set[int] = set()
        self.reported = 0
        self.problem: OSError = Late("no answer in time")
        self._failures = 0

    def ask(self, limit_s: float) -> None:
        """Send all sizes, wait, send the unanswered ones again: one lost packet does not show a limit of the path."""
        for _ in range(2):
            for size in self._sizes:
                if size not in self.came:
                    self._send(size)
            watch = Watch(limit_s / 2)
            try:
                while len(self.came) < len(self._sizes) and not self._is_hopeless():
                    self._receive(watch)
            except Late:
                continue
            return

    def _is_hopeless(self) -> bool:
        return bool(self.reported) and all(size in self.came for size in self._sizes if size <= self.reported)

    def _send(self, size: int) -> None:
        body_bytes = size - self._family.header_bytes - 8
        if body_bytes < 8 or size > 65535:
            self.problem = OSError(errno.EINVAL, f"an echo request cannot have {size} bytes")
            return
        head = struct.pack(">BBHHH", self._family.request, 0, 0, self._number, self._sizes.index(size))
        packet = head + self._secret + bytes(body_bytes - 8)
        if self._family.protocol == 1:
            packet = packet[:2] + checksum(packet) + packet[4:]
        for _ in range(3):  # the kernel reports an error of an earlier packet at the next one
            try:
                self._sock.send(packet)
                return
            except OSError as error:
                self._failed(error)
                if error.errno == errno.EMSGSIZE:
                    return

    def _failed(self, error: OSError) -> None:
        self._failures += 1
        if self._failures > MOST_STRAYS:
            raise error
        self._read_errors()
        if error.errno != errno.EMSGSIZE:
            self.problem = error
            return
        with contextlib.suppress(OSError):  # else the interface reports no MTU
            self._report(self._sock.getsockopt(self._family.level, self._family.mtu))

    def _report(self, mtu: int) -> None:
        if 68 <= mtu <= 65536:
            self.reported = min(self.reported or mtu, mtu)

    def _read_errors(self) -> None:
        """The errors that routers sent, each with its MTU, as the kernel keeps them."""
        limit_s = self._sock.gettimeout()
        self._sock.settimeout(0)  # with a time limit, Python would wait for an error
        try:
            self._read_each_error()
        finally:
            self._sock.settimeout(limit_s)

    def _read_each_error(self) -> None:
        for _ in range(MOST_STRAYS):
            try:
                _, extra, _, _ = self._sock.recvmsg(512, 512, 0x2000)  # MSG_ERRQUEUE
            except OSError:
                return
            for level, kind, data in extra:
                if level == self._family.level and kind == self._family.receive_errors and len(data) >= 12:
                    number, _, _, _, _, info = struct.unpack("IBBBBI", data[:12])
                    if number == errno.EMSGSIZE:
                        self._report(info)

    def _receive(self, watch: Watch) -> None:
        try:
            packet = watch.receive(self._sock, 65535)
        except Late:
            raise
        except OSError as error:
            self._failed(error)
            return
        if self._is_raw and self._family.protocol == 1:
            packet = packet[(packet[0] & 15) * 4 :] if packet else packet
        if len(packet) < 16 or packet[0] != self._family.reply or packet[8:16] != self._secret:
            return
        number = packet[6] * 256 + packet[7]
        if number < len(self._sizes) and len(packet) == self._sizes[number] - self._family.header_bytes:
            self.came.add(self._sizes[number])


def checksum(packet: bytes) -> bytes:
    """The internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f">{(len(packet) + 1) // 2}H", packet + b"\0" * (len(packet) % 2)))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return struct.pack(">H", ~total & 0xFFFF)


# all of them

ASK = {
    "tcp": ask_tcp, "api": ask_api, "tls": ask_tls, "http": ask_http, "https": ask_https, "dns": ask_dns,
    "stub": ask_stub, "mtu": ask_mtu, "metrics": ask_metrics, "settings": ask_settings,
}  # fmt: skip


class Run:
    """Asks all questions with a few threads. Invariant: only the thread that calls `go` writes."""

    def __init__(self, batch: RequestBatch) -> None:
        self._sheet = batch
        self._changed = threading.Condition()
        self._waiting = list(reversed(batch.questions))
        self._started: dict[int, float] = {}
        self._lines: list[str] = []
        self._answered: set[int] = set()

    def go(self) -> None:
        """Write a line for each question, by the deadline. Raises OSError if the reader is gone."""
        ends = time.monotonic() + self._sheet.deadline_s
        for _ in range(int(max(1, min(self._sheet.parallel, MOST_THREADS, len(self._sheet.questions))))):
            try:
                threading.Thread(target=self._work, daemon=True).start()
            except RuntimeError:
                break  # no more threads: the existing ones ask all questions
        left = 1.0
        while left > 0 and len(self._answered) < len(self._sheet.questions):
            with self._changed:
                left = ends - time.monotonic()
                if not self._lines and left > 0:
                    self._changed.wait(left)
                lines, self._lines = self._lines, []
            write(lines)
        with self._changed:
            lines, self._lines = self._lines, []
            now = time.monotonic()
            for question in self._sheet.questions:
                if question.number in self._answered:
                    continue
                began = self._started.get(question.number)
                reason = "the deadline passed " + ("before" if began is None else "during") + " this question"
                lines.append(answer_line(question.number, "unknown", began and now - began, reason, {}))
                self._answered.add(question.number)
        write(lines)

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    return
                question = self._waiting.pop()
                began = self._started[question.number] = time.monotonic()
            values: dict[str, str] = {}
            outcome, reason = "ok", ""
            try:
                ask = ASK.get(question.kind)
                if ask is None:
                    raise Ended("unknown", f"the probe does not know the question {question.kind}")
                ask(self._sheet, question, values)
            except Ended as ended:
                outcome, reason = ended.outcome, ended.reason
            except OSError as error:
                outcome, reason = ended_by(error).outcome, ended_by(error).reason
            except BaseException as error:  # any error ends this question only
                outcome, reason = "unknown", f"{type(error).__name__}: {words(error)}"
            with self._changed:
                if question.number not in self._answered:
                    self._answered.add(question.number)
                    self._lines.append(answer_line(question.number, outcome, time.monotonic() - began, reason, values))
                self._changed.notify()


def answer_line(number: int, outcome: str, took_s: "float | None", reason: str, values: "dict[str, str]") -> str:
    took = "" if took_s is None else f"{took_s * 1000:.1f}"
    fields = [str(number), outcome, took, encoded(reason)]
    fields += [f"{name}={encoded(value)}" for name, value in sorted(values.items())]
    return "\t".join(fields)


def write(lines: "list[str]") -> None:
    raw = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
    while raw:
        raw = raw[os.write(1, raw) :]


def main(text: str) -> None:
    """Answer a batch, and end the process with all its threads. Status 0: every question has a line."""
    status = 3
    try:
        batch = RequestBatch(text)
        for number in (signal.SIGALRM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(int(batch.jitter_s + batch.deadline_s) + 1 + GRACE_S)
        threading.stack_size(512 * 1024)
        sys.setswitchinterval(0.0005)  # a busy thread must not make another's answer look slow
        write(["", "poolkeeper-probe begin"])
        time.sleep(batch.jitter_s * int.from_bytes(os.urandom(4), "big") / (1 << 32))
        Run(batch).go()
        write(["poolkeeper-probe end"])
        status = 0
    except OSError:
        pass  # the reader is gone
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(status)
