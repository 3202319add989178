"""What a host is sent to probe what it depends on: standard input of its own Python, 3.6 or newer, and nothing else.

It imports what Debian's python3-minimal has, writes nothing to disk, and ends within its deadline. The sheet of
questions stands before this text, as SHEET. Every question gets one line of answer, in the order in which they end.
"""

import errno
import os
import random
import socket
import ssl
import struct
import sys
import threading
import time

SHEET = globals().get("SHEET", "")

LARGEST_PAGE, LARGEST_METRICS = 65536, 1 << 20
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
RECORDS = {"A": 1, "AAAA": 28}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, IP_MTU, IP_RECVERR = 10, 3, 14, 11
UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.EADDRNOTAVAIL)


class Failed(Exception):
    """The outcome of a question that was not answered, and the last words."""

    def __init__(self, outcome, reason=""):
        Exception.__init__(self, reason)
        self.outcome, self.reason = outcome, reason


def outcome_of(error):
    if isinstance(error, Failed):
        return error.outcome
    if isinstance(error, socket.timeout):
        return "timeout"
    if isinstance(error, socket.gaierror):
        return "no-name"
    if isinstance(error, ssl.SSLError):
        return "tls"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, OSError) and error.errno in UNREACHABLE:
        return "unreachable"
    if isinstance(error, OSError) and error.errno == errno.ETIMEDOUT:
        return "timeout"
    return "garbled"


def words(error):
    return (getattr(error, "reason", "") or getattr(error, "strerror", "") or str(error) or type(error).__name__)[:200]


# times


def epoch(year, month, day, clock):
    """Seconds since 1970 of a date (of any year since 1) with a clock like 12:34:56, UTC."""
    hour, minute, second = (int(part) for part in clock.split(":"))
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    return ((days * 24 + hour) * 60 + minute) * 60 + second


def http_date(text):
    """`Tue, 24 Nov 2026 18:00:00 GMT`."""
    _, day, month, year, clock = text.split()[:5]
    return epoch(int(year), MONTHS.index(month) + 1, int(day), clock)


# connections


def connected(address, port, timeout_s):
    """A TCP connection to the first address of a name that takes one."""
    problem = Failed("no-name", "no address")
    for family, kind, protocol, _, place in socket.getaddrinfo(address, port, 0, socket.SOCK_STREAM)[:3]:
        one = socket.socket(family, kind, protocol)
        one.settimeout(timeout_s)
        try:
            one.connect(place)
            return one
        except OSError as error:
            one.close()
            problem = error
    raise problem


def read_up_to(one, limit, until_s):
    parts, size = [], 0
    while size < limit:
        one.settimeout(max(0.01, until_s - time.monotonic()))
        part = one.recv(min(16384, limit - size))
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def page(one, host, path, timeout_s, limit=LARGEST_PAGE):
    """Status, headers and body of a GET."""
    one.sendall(
        ("GET %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: poolkeeper\r\nAccept: */*\r\n\r\n" % (path, host)).encode(
            "ascii", "replace"
        )
    )
    raw = read_up_to(one, limit, time.monotonic() + timeout_s)
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    first = lines[0].split(" ")
    if not first[0].startswith("HTTP/") or len(first) < 2 or not first[1].isdigit():
        raise Failed("garbled", "no HTTP: " + lines[0][:60])
    headers = dict(
        (name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])
    )
    return first[1], headers, body


CONTEXTS = {}


def context_of(sheet, authority):
    if authority not in CONTEXTS:
        pem = sheet["authorities"].get(authority)
        CONTEXTS[authority] = ssl.create_default_context(cadata=pem) if pem else ssl.create_default_context()
    return CONTEXTS[authority]


def is_address(text):
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
            return True
        except (OSError, ValueError):
            pass
    return False


def wrapped(one, context, name):
    # an address is verified against the certificate as well, but is never sent as a server's name
    return context.wrap_socket(one, server_hostname=name)


def unverified(address, port, name, timeout_s):
    """Issuer and end of a certificate that does not verify; whatever cannot be read is left out."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    values = {}
    try:
        one = connected(address, port, timeout_s)
        try:
            secure = context.wrap_socket(one, server_hostname=None if is_address(name) else name)
            der = secure.getpeercert(True)
            secure.close()
        finally:
            one.close()
        values = certificate(der or b"")
    except (OSError, ValueError, IndexError, Failed):
        pass
    return values


def element(der, at):
    """Tag, content's start and end of a DER element."""
    tag, size, at = der[at], der[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        size, at = int.from_bytes(der[at : at + count], "big"), at + count
    if at + size > len(der):
        raise ValueError("cut short")
    return tag, at, at + size


def certificate(der):
    """What of an X.509 certificate (RFC 5280) we tell."""
    _, at, _ = element(der, 0)
    _, at, _ = element(der, at)
    tag, _, end = element(der, at)
    if tag == 0xA0:  # version
        at = end
        _, _, end = element(der, at)
    at = end  # serial number
    at = element(der, at)[2]  # signature
    _, start, stop = element(der, at)
    issuer = []
    while start < stop:
        _, inner, after = element(der, start)
        _, inner, _ = element(der, inner)
        _, oid, value = element(der, inner)
        _, text, end = element(der, value)
        if der[oid:value] == b"\x55\x04\x03":
            issuer.append("CN=" + der[text:end].decode("utf-8", "replace"))
        start = after
    _, start, _ = element(der, stop)
    _, _, after = element(der, start)
    tag, start, end = element(der, after)
    text = der[start:end].decode("ascii")
    if tag == 0x17:  # UTCTime: two digits, of 1950 to 2049
        text = ("20" if text[:2] < "50" else "19") + text
    day = "%s-%s-%s" % (text[:4], text[4:6], text[6:8])
    return {
        "not_after": "%sT%s:%s:%s+00:00" % (day, text[8:10], text[10:12], text[12:14]),
        "issuer": ",".join(issuer)[:100],
    }


# DNS (RFC 1035)


def query_of(number, name, record):
    labels = b"".join(bytes([len(part)]) + part for part in name.rstrip(".").encode("ascii").split(b".") if part)
    return (
        struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", RECORDS.get(record, 1), 1)
    )


def past_name(data, at):
    for _ in range(128):
        size = data[at]
        if size >= 0xC0:
            return at + 2
        if size == 0:
            return at + 1
        at += 1 + size
    raise ValueError("a name without an end")


def answer_of(data, query):
    """What a DNS message says; ValueError, IndexError or struct.error where it is none."""
    _, flags, questions, answers, authorities, _ = struct.unpack(">6H", data[:12])
    at = 12
    for _ in range(questions):
        at = past_name(data, at) + 4
    addresses, ttls, values = [], [], {}
    for place in range(min(answers + authorities, 200)):
        at = past_name(data, at)
        kind, _, ttl, size = struct.unpack(">HHIH", data[at : at + 10])
        at += 10
        content = data[at : at + size]
        if place < answers:
            ttls.append(ttl)
            if kind == 1 and size == 4:
                addresses.append(socket.inet_ntop(socket.AF_INET, content))
            elif kind == 28 and size == 16:
                addresses.append(socket.inet_ntop(socket.AF_INET6, content))
        elif kind == 6 and size >= 20:
            values["authoritative_ttl_s"] = str(min(ttl, struct.unpack(">I", content[-4:])[0]))
        at += size
    code = flags & 15
    values["rcode"] = RCODES[code] if code < len(RCODES) else "RCODE%d" % code
    values["addresses"] = ",".join(sorted(addresses)[:50])
    values["truncated"] = "yes" if flags & 0x0200 else "no"
    if ttls:
        values["ttl_s"] = str(min(ttls))
    return values


def is_answer(data, query):
    """Ours by number and question, as it was sent; letters may have changed their case."""
    ours = len(query) - 12
    return (
        len(data) >= len(query)
        and data[:2] == query[:2]
        and data[2] & 0x80
        and data[12 : 12 + ours].lower() == query[12:].lower()
    )


def ask_dns(q, timeout_s):
    query = query_of(random.SystemRandom().randrange(1 << 16), q["name"], q["record"])
    until_s = time.monotonic() + timeout_s
    if q["transport"] == "tcp":
        with connected(q["address"], q["port"], timeout_s) as one:
            one.sendall(struct.pack(">H", len(query)) + query)
            head = read_up_to(one, 2, until_s)
            if len(head) < 2:
                raise Failed("garbled", "it closes the connection without an answer")
            data = read_up_to(one, struct.unpack(">H", head)[0], until_s)
            if not is_answer(data, query):
                raise Failed("garbled", "an answer to another question")
            return answer_of(data, query)
    family = socket.AF_INET6 if ":" in q["address"] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.connect((q["address"], q["port"]))
        one.send(query)
        others = 0
        while others < 20:
            one.settimeout(max(0.001, until_s - time.monotonic()))
            data = one.recv(65535)
            if is_answer(data, query):
                return answer_of(data, query)
            others += 1
    raise Failed("garbled", "answers to other questions")


# the kinds of questions


def do_tcp(q, sheet):
    connected(q["address"], q["port"], sheet["timeout_s"]).close()
    return {}


def do_api(q, sheet):
    timeout_s, values, stage, began = sheet["timeout_s"], {}, "name", time.monotonic()

    def passed(name):
        nonlocal began
        values[name + "_ms"] = "%.2f" % ((time.monotonic() - began) * 1000)
        began = time.monotonic()

    one = None
    try:
        places = socket.getaddrinfo(q["address"], q["port"], 0, socket.SOCK_STREAM)
        passed("name")
        stage = "connect"
        one = connected(places[0][4][0], q["port"], timeout_s)
        passed("connect")
        stage = "tls"
        one = wrapped(one, context_of(sheet, q["authority"]), q["address"])
        passed("tls")
        values.update(certificate(one.getpeercert(True) or b""))
        stage = "http"
        asked = time.time()
        values["status"], headers, _ = page(one, q["address"], "/readyz", timeout_s)
        passed("http")
        if "date" in headers:
            # the header has whole seconds: the middle of that one is the best guess
            middle = (asked + time.time()) / 2
            values["clock_offset_s"] = "%.1f" % (middle - http_date(headers["date"]) - 0.5)
        return values
    except (OSError, ValueError, IndexError, Failed) as error:
        values["stage"] = stage
        if stage == "tls":
            values.update(unverified(q["address"], q["port"], q["address"], timeout_s))
        raise Answered(outcome_of(error), values, words(error))
    finally:
        if one is not None:
            one.close()


class Answered(Exception):
    """A failure that tells something all the same."""

    def __init__(self, outcome, values, reason):
        Exception.__init__(self, reason)
        self.outcome, self.values, self.reason = outcome, values, reason


def secured(q, sheet, name):
    """A verified connection. Where it does not verify, what the certificate says is told."""
    one = connected(q["address"], q["port"], sheet["timeout_s"])
    try:
        secure = wrapped(one, context_of(sheet, q["authority"]), name)
        values = certificate(secure.getpeercert(True) or b"")
        values["verified"] = "yes"
        return secure, values
    except (OSError, ValueError, IndexError) as error:
        one.close()
        values = unverified(q["address"], q["port"], name, sheet["timeout_s"])
        reason = getattr(error, "verify_message", "") or words(error)
        values["verified"] = reason
        raise Answered(outcome_of(error), values, reason)


def do_tls(q, sheet):
    one, values = secured(q, sheet, q["name"] or q["address"])
    one.close()
    return values


def do_http(q, sheet):
    with connected(q["address"], q["port"], sheet["timeout_s"]) as one:
        return {"status": page(one, q["address"], q["name"] or "/", sheet["timeout_s"])[0]}


def do_https(q, sheet):
    one, values = secured(q, sheet, q["address"])
    try:
        values["status"] = page(one, q["address"], q["name"] or "/", sheet["timeout_s"])[0]
    finally:
        one.close()
    return values


def do_dns(q, sheet):
    try:
        return ask_dns(q, sheet["timeout_s"])
    except (struct.error, IndexError, ValueError) as error:
        raise Failed("garbled", words(error))


def do_stub(q, sheet):
    try:
        found = socket.getaddrinfo(
            q["name"], None, socket.AF_INET6 if q["record"] == "AAAA" else socket.AF_INET, socket.SOCK_STREAM
        )
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", -5)):
            return {"rcode": "NXDOMAIN", "addresses": ""}
        raise Failed("timeout" if error.errno == socket.EAI_AGAIN else "unknown", words(error))
    return {"rcode": "NOERROR", "addresses": ",".join(sorted(set(row[4][0] for row in found))[:50])}


def checksum(data):
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data[: len(data) // 2 * 2])) + (
        data[-1] << 8 if len(data) % 2 else 0
    )
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echoed(one, raw, address, size, number, timeout_s):
    """Whether an echo request in an IP packet of a size comes back. OSError: the network, or this host, says no."""
    own, content = os.getpid() & 0xFFFF, b"p" * (size - 28)
    head = struct.pack(">BBHHH", 8, 0, 0, own, number)
    packet = struct.pack(">BBHHH", 8, 0, checksum(head + content), own, number) + content
    one.send(packet)
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        one.settimeout(max(0.001, until_s - time.monotonic()))
        data = one.recv(65535)
        data = data[(data[0] & 15) * 4 :] if raw else data
        kind, _, _, theirs, back = struct.unpack(">BBHHH", data[:8])
        if kind == 0 and back == number and (theirs == own or not raw):
            return True
    return False


def do_mtu(q, sheet):
    raw = False
    try:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    except OSError:
        raw = True
        try:
            one = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        except OSError as error:
            raise Failed("unknown", "no right to send echo requests: " + words(error))
    values, each_s = {}, sheet["timeout_s"] / 2
    with one:
        one.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        one.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        place = socket.getaddrinfo(q["address"], None, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
        one.connect(place)
        number = random.randrange(1 << 15)
        for size in q["sizes"]:
            came_back = False
            for _ in range(2):  # one packet may be lost for any reason
                number += 1
                try:
                    came_back = echoed(one, raw, q["address"], size, number & 0xFFFF, each_s)
                except socket.timeout:
                    continue
                except OSError as error:
                    if error.errno != errno.EMSGSIZE:
                        raise
                    values["told"] = str(one.getsockopt(socket.IPPROTO_IP, IP_MTU))
                    break
                if came_back:
                    break
            if not came_back:
                break
            values["largest"] = str(size)
    if "largest" not in values:
        raise Failed("timeout", "no echo")
    return values


def do_metrics(q, sheet):
    with connected(q["address"], q["port"], sheet["timeout_s"]) as one:
        status, _, body = page(one, q["address"], "/metrics", sheet["timeout_s"], LARGEST_METRICS)
    if status != "200":
        raise Failed("garbled", "status " + status)
    wanted = {
        "hits": ("coredns_cache_hits_total",),
        "misses": ("coredns_cache_misses_total",),
        "forwards": ("coredns_forward_requests_total", "coredns_proxy_request_duration_seconds_count"),
        "errors": ("coredns_forward_healthcheck_broken_total",),
    }
    sums = {}
    for line in body.decode("utf-8", "replace").splitlines():
        series = line.partition("{")[0].partition(" ")[0]
        for name, known in wanted.items():
            if series in known:
                sums[name] = sums.get(name, 0.0) + float(line.rpartition(" ")[2])
    return dict((name, "%.0f" % value) for name, value in sums.items())


def do_settings(q, sheet):
    servers, search, ndots = [], [], "1"
    with open("/etc/resolv.conf") as lines:
        for line in lines.read(LARGEST_PAGE).splitlines():
            parts = line.split("#")[0].split(";")[0].split()
            if len(parts) < 2:
                continue
            if parts[0] == "nameserver":
                servers.append(parts[1])
            elif parts[0] in ("search", "domain"):
                search = parts[1:]
            elif parts[0] == "options":
                for option in parts[1:]:
                    if option.startswith("ndots:"):
                        ndots = option[6:]
    return {"servers": " ".join(servers), "search": " ".join(search), "ndots": ndots}


# the run


def plain(field):
    return field.replace("%0A", "\n").replace("%0D", "\r").replace("%09", "\t").replace("%25", "%")


def written(field):
    return field.replace("%", "%25").replace("\t", "%09").replace("\r", "%0D").replace("\n", "%0A")


def read_sheet(text):
    sheet = {"authorities": {}, "questions": []}
    for line in text.split("\n"):
        parts = [plain(part) for part in line.split("\t")]
        if parts[0] == "limits":
            sheet["deadline_s"], sheet["timeout_s"], sheet["jitter_s"] = (float(part) for part in parts[1:4])
            sheet["parallel"] = int(parts[4])
        elif parts[0] == "authority":
            sheet["authorities"][parts[1]] = parts[2]
        elif parts[0] == "ask":
            names = ("number", "kind", "address", "port", "name", "transport", "record", "authority", "sizes")
            q = dict(zip(names, parts[1:]))
            q["port"] = int(q["port"])
            q["sizes"] = sorted(int(size) for size in q["sizes"].split(",") if size)
            sheet["questions"].append(q)
    return sheet


class Run(object):
    """Threads that take one question after the other."""

    def __init__(self, sheet, began):
        self.sheet, self.until_s = sheet, began + sheet["deadline_s"]
        self.left = list(reversed(sheet["questions"]))
        self.lock, self.done, self.over = threading.Lock(), threading.Event(), False
        self.working = min(sheet["parallel"], max(1, len(self.left)))

    def work(self):
        while True:
            with self.lock:
                if not self.left or time.monotonic() > self.until_s:
                    self.working -= 1
                    if self.working == 0:
                        self.done.set()
                    return
                q = self.left.pop()
            self.answer(q)

    def answer(self, q):
        began, values, reason = time.monotonic(), {}, ""
        try:
            values = KINDS[q["kind"]](q, self.sheet)
            outcome = "ok"
        except Answered as error:
            outcome, values, reason = error.outcome, error.values, error.reason
        except Exception as error:  # whatever comes back from a network must not end the others
            outcome, reason = outcome_of(error), words(error)
        parts = ["answer", q["number"], outcome, "%.2f" % ((time.monotonic() - began) * 1000)]
        parts += ["%s=%s" % pair for pair in sorted(values.items())] + (["reason=" + reason] if reason else [])
        with self.lock:
            if not self.over:
                sys.stdout.write("\t".join(written(part) for part in parts) + "\n")

    def finish(self):
        self.done.wait(max(0.0, self.until_s - time.monotonic()))
        with self.lock:
            self.over = True
            sys.stdout.write("poolkeeper-probe end\n")
            sys.stdout.flush()


KINDS = {
    "tcp": do_tcp,
    "api": do_api,
    "tls": do_tls,
    "http": do_http,
    "https": do_https,
    "dns": do_dns,
    "stub": do_stub,
    "mtu": do_mtu,
    "metrics": do_metrics,
    "settings": do_settings,
}


def main():
    sheet = read_sheet(SHEET)
    sys.stdout.write("poolkeeper-probe begin\n")
    time.sleep(random.random() * sheet["jitter_s"])
    threading.stack_size(256 * 1024)
    run = Run(sheet, time.monotonic())
    for _ in range(run.working):
        thread = threading.Thread(target=run.work)
        thread.daemon = True
        thread.start()
    run.finish()
    os._exit(0)  # a lookup that hangs must not keep it


if __name__ == "__main__":
    main()
