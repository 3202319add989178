"""The probe program on every Python that hosts have, against servers that do as they should and ones that do not."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from poolkeeper.deployments.lab.real.machines.base import base_tree
from poolkeeper.tasks.audit.planning.questions import Answer, Kind, Outcome, Question, RequestBatch
from poolkeeper.tasks.audit.remote.protocol import program, python_program, read_answers
from tests.contract.audit.conftest import ProbedHost
from tests.contract.audit.pythons import MINORS, lacking_pythons, python
from tests.contract.audit.servers import EXPIRED_AT, HERE, World

TIMEOUT_S = 1.0
A, B = "10.0.0.1,10.0.0.2", "fd00::1"

CASES: dict[str, tuple[Question, Outcome, dict[str, str | None]]] = {
    "connects": (Question(Kind.TCP, HERE, 0, "page"), Outcome.OK, {}),
    "connects by name": (Question(Kind.TCP, "localhost", 0, "page"), Outcome.OK, {}),
    "nobody listens": (Question(Kind.TCP, HERE, 0, "closed"), Outcome.REFUSED, {}),
    "not a name": (Question(Kind.TCP, "no..name", 0, "page"), Outcome.NO_NAME, {}),
    "API server": (Question(Kind.API, HERE, 0, "right", authority="ours"), Outcome.OK, {"status": "200", "verified": "yes"}),
    "API server that forbids": (Question(Kind.API, HERE, 0, "forbids", authority="ours"), Outcome.OK, {"status": "403"}),
    "API server of another time": (Question(Kind.API, HERE, 0, "hour-behind", authority="ours"), Outcome.OK, {}),
    "API server without a clock": (Question(Kind.API, HERE, 0, "clock-is-nonsense", authority="ours"), Outcome.OK, {}),
    "API server that hangs up": (Question(Kind.API, HERE, 0, "hangs-up", authority="ours"), Outcome.GARBLED, {"stage": "http"}),
    "API server of a foreign authority": (Question(Kind.API, HERE, 0, "foreign", authority="ours"), Outcome.TLS, {"stage": "tls"}),
    "API server of another name": (Question(Kind.API, HERE, 0, "wrong-name", authority="ours"), Outcome.TLS, {"stage": "tls"}),
    "API server with a path and a name of its own": (Question(Kind.API, HERE, 0, "wrong-name", authority="ours", server_name="other.lab"), Outcome.OK, {"status": "200", "verified": "yes"}),
    "API server that does not run": (Question(Kind.API, HERE, 0, "closed", authority="ours"), Outcome.REFUSED, {"stage": "connect"}),
    "API server with nobody behind it": (Question(Kind.API, HERE, 0, "resets", authority="ours"), Outcome.TLS, {"stage": "tls", "verified": None}),
    "API server that ends the handshake": (Question(Kind.API, HERE, 0, "ends", authority="ours"), Outcome.TLS, {"stage": "tls", "verified": None}),
    "API server that hangs": (Question(Kind.API, HERE, 0, "silent", authority="ours"), Outcome.TIMEOUT, {"stage": "tls"}),
    "API server that is none": (Question(Kind.API, HERE, 0, "banner", authority="ours"), Outcome.GARBLED, {"stage": "tls"}),
    "an authority that was not given": (Question(Kind.API, HERE, 0, "right", authority="whose"), Outcome.UNKNOWN, {"stage": "tls"}),
    "the host's own authorities": (Question(Kind.API, HERE, 0, "right"), Outcome.TLS, {"stage": "tls"}),
    "certificate": (Question(Kind.TLS, HERE, 0, "right", authority="ours"), Outcome.OK, {"verified": "yes", "issuer": "CN=ours"}),
    "foreign certificate": (Question(Kind.TLS, HERE, 0, "foreign", authority="ours"), Outcome.TLS, {"issuer": "CN=foreign"}),
    "no certificate": (Question(Kind.TLS, HERE, 0, "resets", authority="ours"), Outcome.TLS, {"verified": None, "issuer": None}),
    "expired certificate": (
        Question(Kind.TLS, HERE, 0, "expired", authority="ours"),
        Outcome.TLS,
        {"not_after": EXPIRED_AT.isoformat(), "issuer": "O=Söhne, CN=old"},
    ),
    "page": (Question(Kind.HTTP, HERE, 0, "page"), Outcome.OK, {"status": "204"}),
    "page in TLS": (Question(Kind.HTTPS, HERE, 0, "right", authority="ours"), Outcome.OK, {"status": "200"}),
    "not a page": (Question(Kind.HTTP, HERE, 0, "banner"), Outcome.GARBLED, {"stage": "http"}),
    "page without an end": (Question(Kind.HTTP, HERE, 0, "endless"), Outcome.GARBLED, {"stage": "http"}),
    "page that does not come": (Question(Kind.HTTP, HERE, 0, "silent"), Outcome.TIMEOUT, {"stage": "http"}),
    "cache": (
        Question(Kind.METRICS, HERE, 0, "cache"),
        Outcome.OK,
        {"status": "200", "hits": "1500002", "misses": "40", "forwards": "41", "errors": "3"},
    ),
    "cache in chunks": (Question(Kind.METRICS, HERE, 0, "cache-in-chunks"), Outcome.OK, {"hits": "1500002", "forwards": "41"}),
    "cache that keeps the line open": (Question(Kind.METRICS, HERE, 0, "cache-keeps-open"), Outcome.OK, {"hits": "1500002"}),
    "cache that is cut short": (Question(Kind.METRICS, HERE, 0, "cache-cut-short"), Outcome.GARBLED, {"hits": None}),
    "cache that is cut in chunks": (Question(Kind.METRICS, HERE, 0, "cache-cut-in-chunks"), Outcome.GARBLED, {"hits": None}),
    "cache without an end": (Question(Kind.METRICS, HERE, 0, "cache-endless"), Outcome.UNKNOWN, {"hits": None}),
    "no cache": (Question(Kind.METRICS, HERE, 0, "no-cache"), Outcome.GARBLED, {}),
    "hosts file": (Question(Kind.STUB, name="localhost", record="A"), Outcome.OK, {"addresses": "127.0.0.1"}),
    "settings": (Question(Kind.SETTINGS), Outcome.OK, {}),
    "a kind of tomorrow": (Question("quic", HERE, 0, "page"), Outcome.UNKNOWN, {}),  # type: ignore[arg-type]
}  # fmt: skip
"""By a phrase: the question, with a server's name in place of its port, its outcome, and some of its values (None: not there)."""

DNS_CASES: dict[str, tuple[str, str, str, Outcome, dict[str, str | None]]] = {
    "A": ("dns", "a.lab", "A", Outcome.OK, {"rcode": "NOERROR", "addresses": A, "ttl_s": "20", "truncated": "no"}),
    "AAAA": ("dns", "A.lab.", "AAAA", Outcome.OK, {"rcode": "NOERROR", "addresses": B, "ttl_s": "50"}),
    "NXDOMAIN": ("dns", "missing.lab", "A", Outcome.OK, {"rcode": "NXDOMAIN", "addresses": "", "authoritative_ttl_s": "30"}),
    "TXT": ("dns", "a.lab", "TXT", Outcome.OK, {"rcode": "NOERROR", "addresses": ""}),
    "no such record": ("dns", "a.lab", "ANY", Outcome.UNKNOWN, {}),
    "no name": ("dns", "a..lab", "A", Outcome.UNKNOWN, {}),
    "a label too long": ("dns", f"{64 * 'a'}.lab", "A", Outcome.UNKNOWN, {}),
    "slow": ("dns-slow", "a.lab", "A", Outcome.OK, {"addresses": A}),
    "silent": ("dns-silent", "a.lab", "A", Outcome.TIMEOUT, {}),
    "truncates": ("dns-truncates", "a.lab", "A", Outcome.OK, {"truncated": "yes", "addresses": ""}),
    "wrong id": ("dns-wrong-id", "a.lab", "A", Outcome.GARBLED, {}),
    "another question": ("dns-other-question", "a.lab", "A", Outcome.GARBLED, {}),
    "cut short": ("dns-cut-short", "a.lab", "A", Outcome.GARBLED, {}),
    "circle": ("dns-circle", "a.lab", "A", Outcome.GARBLED, {}),
    "echoes": ("dns-echoes", "a.lab", "A", Outcome.GARBLED, {}),
    "fails": ("dns-fails", "a.lab", "A", Outcome.OK, {"rcode": "SERVFAIL", "addresses": ""}),
    "nobody listens": ("closed", "a.lab", "A", Outcome.REFUSED, {}),
}  # fmt: skip
CASES |= {
    f"DNS over {transport}: {phrase}": (
        Question(Kind.DNS, HERE, 0, name, transport, record, authority=server),
        outcome,
        values,
    )
    for phrase, (server, name, record, outcome, values) in DNS_CASES.items()
    for transport in ("udp", "tcp")
}
CASES |= {
    "DNS over udp: lies first": (
        Question(Kind.DNS, HERE, 0, "a.lab", "udp", "A", authority="dns-lies-first"), Outcome.OK, {"addresses": A},
    ),
    "DNS over tcp: lies first": (
        Question(Kind.DNS, HERE, 0, "a.lab", "tcp", "A", authority="dns-lies-first"), Outcome.GARBLED, {},
    ),
}  # fmt: skip


def _placed(question: Question, servers: World) -> Question:
    """The question with its port."""
    if question.kind is Kind.DNS:
        return replace(question, port=servers.ports[question.authority], authority="")
    if question.kind is Kind.STUB:
        return question
    page = "/a/page?x=1"
    names = {Kind.HTTP: page, Kind.HTTPS: page, Kind.TLS: HERE, Kind.API: page if question.server_name else ""}
    name = names.get(question.kind, "")
    return replace(question, port=servers.ports.get(question.name, 0), name=name)


def _sheet(servers: World) -> RequestBatch:
    questions = tuple(_placed(question, servers) for question, _, _ in CASES.values())
    return RequestBatch(questions, {"ours": servers.authority_pem}, deadline_s=40, timeout_s=TIMEOUT_S, parallel=16)


@pytest.mark.tier("pythons")
@pytest.mark.parametrize("minor", MINORS)
def test_every_answer_on_every_python(minor: int, servers: World, host: ProbedHost) -> None:
    if not python(minor):
        pytest.skip(lacking_pythons())
    host.tool("python3", python(minor))
    answers = host.ask(_sheet(servers))
    _as_wanted(dict(zip(CASES, answers, strict=True)))
    assert all(answer.reason for answer in answers if answer.outcome is not Outcome.OK)
    assert all(answer.duration_ms is not None for answer in answers)


@pytest.mark.tier("machines")
def test_every_answer_on_debians_smallest_python(servers: World) -> None:
    tree, batch = base_tree(), _sheet(servers)
    command = ["chroot", str(tree), "/bin/sh", "-s"]
    done = subprocess.run(command, input=program(batch), capture_output=True, text=True, timeout=60)
    answers = dict(zip(CASES, read_answers(done.stdout, batch), strict=True))
    assert answers["settings"].reason == "/etc/resolv.conf: No such file or directory"
    _as_wanted({**answers, "settings": Answer(Outcome.OK)})


def _as_wanted(got: dict[str, Answer]) -> None:
    wanted = {phrase: (outcome, values) for phrase, (_, outcome, values) in CASES.items()}
    assert {
        phrase: (answer.outcome, {name: answer.values.get(name) for name in wanted[phrase][1]})
        for phrase, answer in got.items()
    } == wanted
    _clocks_and_stages(got)


def _clocks_and_stages(got: dict[str, Answer]) -> None:
    right = got["API server"].values
    assert abs(float(right["clock_offset_s"])) < 3
    assert {"name_ms", "connect_ms", "tls_ms", "http_ms"} <= set(right)
    assert "stage" not in right
    for phrase in (
        "API server of a foreign authority",
        "API server of another name",
        "foreign certificate",
        "expired certificate",
    ):
        assert got[phrase].values["verified"] not in ("", "yes"), phrase
    assert datetime.fromisoformat(right["not_after"]) > datetime.now(UTC) + timedelta(days=1)
    assert 3597 < float(got["API server of another time"].values["clock_offset_s"]) < 3603
    assert "clock_offset_s" not in got["API server without a clock"].values
    assert (got["DNS over udp: slow"].duration_ms or 0) > 299
    assert got["an authority that was not given"].reason.startswith("the certificates to verify with cannot be used")


def _probe(batch: RequestBatch, before: str = "") -> tuple[subprocess.CompletedProcess[str], float]:
    """Run the Python program alone, with lines of Python before its call; and how long it took, in seconds."""
    text, call, rest = python_program(batch).rpartition("\nmain(")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-"],
        input=f"{text}\n{before}{call}{rest}",
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done, time.monotonic() - began


AT_ITS_END = """
import sys
_exit = os._exit
def told(status):
    {}
    sys.stderr.flush()
    _exit(status)
os._exit = told
"""


def test_it_needs_little_memory(servers: World) -> None:
    tell = "sys.stderr.write([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1])"
    done, _ = _probe(_sheet(servers), AT_ITS_END.format(tell))
    assert int(done.stderr) < 30 * 1024, f"{done.stderr} KiB"


def test_no_more_than_python_minimal_is_imported(servers: World) -> None:
    """What a Debian host has that was installed without the rest of Python; compared with 3.11, which Debian 12 has."""
    if not python(11):
        pytest.skip(lacking_pythons())
    tell = "sys.stderr.write(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    text, call, rest = python_program(_sheet(servers)).rpartition("\nmain(")
    text = f"{text}\n{AT_ITS_END.format(tell)}{call}{rest}"
    done = subprocess.run([python(11), "-I", "-S", "-B", "-"], input=text, capture_output=True, text=True, timeout=60)
    assert set(done.stderr.split()) <= _minimal()
    assert "ssl" in done.stderr.split()


def _minimal() -> set[str]:
    lines = Path(__file__).with_name("minimal-python.txt").read_text().splitlines()
    return {word for line in lines if not line.startswith("#") for word in line.split()}


def test_the_deadline_holds_whatever_hangs(servers: World) -> None:
    silent = [Question(Kind.HTTP, HERE, servers.ports["silent"], "/") for _ in range(40)]
    hangs = [Question(Kind.STUB, name=f"name{number}.lab") for number in range(3)]
    batch = RequestBatch((*hangs, *silent), deadline_s=1, timeout_s=30, parallel=8)
    done, took_s = _probe(batch, "socket.getaddrinfo = lambda *_: threading.Event().wait()")
    answers = read_answers(done.stdout, batch)
    assert done.returncode == 0
    assert done.stdout.endswith("poolkeeper-probe end\n")
    assert took_s < 10
    assert {answer.outcome for answer in answers} == {Outcome.UNKNOWN}
    assert {answer.reason for answer in answers} == {
        "the deadline passed during this question",
        "the deadline passed before this question",
    }
    assert [answer.duration_ms is None for answer in answers] == 8 * [False] + 35 * [True]


def test_a_lookup_that_hangs_is_a_timeout(servers: World) -> None:
    batch = RequestBatch(
        (Question(Kind.STUB, name="a.lab"), Question(Kind.TCP, "a.lab", 1)), deadline_s=20, timeout_s=0.2
    )
    done, _ = _probe(batch, "socket.getaddrinfo = lambda *_: threading.Event().wait()")
    assert [answer.outcome for answer in read_answers(done.stdout, batch)] == [Outcome.TIMEOUT, Outcome.TIMEOUT]


@pytest.mark.parametrize(
    ("error", "outcome", "stub"),
    [
        ("socket.gaierror(socket.EAI_NONAME, 'Name or service not known')", Outcome.NO_NAME, Outcome.OK),
        ("socket.gaierror(socket.EAI_AGAIN, 'Temporary failure')", Outcome.NO_NAME, Outcome.NO_NAME),
        ("socket.gaierror(socket.EAI_MEMORY, 'Memory')", Outcome.NO_NAME, Outcome.UNKNOWN),
        ("RuntimeError('boom')", Outcome.UNKNOWN, Outcome.UNKNOWN),
    ],
)
def test_names_that_cannot_be_looked_up(error: str, outcome: Outcome, stub: Outcome) -> None:
    batch = RequestBatch((Question(Kind.TCP, "a.lab", 1), Question(Kind.STUB, name="a.lab")), timeout_s=5)
    done, _ = _probe(batch, f"def fail(*_):\n    raise {error}\nsocket.getaddrinfo = fail")
    assert [answer.outcome for answer in read_answers(done.stdout, batch)] == [outcome, stub]


@pytest.mark.parametrize(("record", "addresses"), [("A", "10.0.0.1"), ("AAAA", "fd00::1"), ("", "10.0.0.1,fd00::1")])
def test_a_name_is_looked_up_in_the_family_that_is_asked_for(record: str, addresses: str) -> None:
    known = """
KNOWN = [(socket.AF_INET, 1, 6, "", ("10.0.0.1", 0)), (socket.AF_INET6, 1, 6, "", ("fd00::1", 0, 0, 0))]
socket.getaddrinfo = lambda name, port, family, kind: [row for row in KNOWN if family in (0, row[0])]
"""
    batch = RequestBatch((Question(Kind.STUB, name="a.lab", record=record),), timeout_s=5)
    done, _ = _probe(batch, known)
    assert read_answers(done.stdout, batch)[0].values == {"addresses": addresses}


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        ("(socket.SOCK_DGRAM, socket.SOCK_RAW)", "echo requests are not permitted: Operation not permitted"),
        ("()", ""),
    ],
)
def test_echo_requests(refused: str, reason: str) -> None:
    """Loopback carries every size; a machine that gives nobody the right to ask says so."""
    before = f"""
class Socket(socket.socket):
    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        if proto == 1 and type in {refused}:
            raise PermissionError(errno.EPERM, 'Operation not permitted')
        super().__init__(family, type, proto, fileno)
socket.socket = Socket
"""
    batch = RequestBatch((Question(Kind.MTU, HERE, sizes=(1280, 1500, 9000)),), timeout_s=5)
    done, _ = _probe(batch, before)
    answer = read_answers(done.stdout, batch)[0]
    if answer.outcome is Outcome.UNKNOWN:
        assert answer.reason.startswith(reason or "echo requests are not permitted")
    else:
        assert (answer.outcome, answer.values, reason) == (Outcome.OK, {"largest": "9000"}, "")
