"""Hosts without Python: what a shell can ask with curl, getent, dig, ping and nc, and what it says where it cannot."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from poolkeeper.tasks.audit.planning.questions import Answer, Kind, Outcome, Question, RequestBatch
from poolkeeper.tasks.audit.remote.protocol import program, read_answers
from tests.contract.audit.conftest import ProbedHost
from tests.contract.audit.servers import HERE, World

ALWAYS = ("awk", "cut", "date", "head", "sed", "sort", "tail", "timeout", "tr")
SHELLS = {name: (path, *words) for name, words in (("dash", ()), ("bash", ()), ("busybox", ("sh",))) if (path := shutil.which(name))}  # fmt: skip


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return SHELLS[request.param]


def _asked(
    host: ProbedHost, questions: Iterable[Question], tools: Iterable[str] = (), *, shell: tuple[str, ...] = ("/bin/sh",), **more: str
) -> tuple[Answer, ...]:  # fmt: skip
    for tool in (*ALWAYS, *tools):
        host.tool(tool)
    return host.ask(RequestBatch(tuple(questions), more, deadline_s=30, timeout_s=1), shell=shell)


def test_nothing_to_ask_with(host: ProbedHost) -> None:
    kinds = tuple(kind for kind in Kind if kind is not Kind.SETTINGS)
    answers = _asked(host, (Question(kind, HERE, 1, "a.lab", "udp", "A", sizes=(1500,)) for kind in kinds))
    assert {answer.outcome for answer in answers} == {Outcome.UNKNOWN}
    assert all(answer.reason.startswith("the host has n") and "python3" in answer.reason for answer in answers), answers
    assert all(answer.duration_ms is None for answer in answers)


def test_curl(host: ProbedHost, servers: World, shell: tuple[str, ...]) -> None:
    def api(server: str, authority: str = "ours") -> Question:
        return Question(Kind.API, HERE, servers.ports[server], authority=authority)

    def http(server: str, address: str = HERE) -> Question:
        return Question(Kind.HTTP, address, servers.ports[server], "/a/page?x=1")

    by_name = Question(
        Kind.API, HERE, servers.ports["wrong-name"], "/a/page?x=1", authority="ours", server_name="other.lab"
    )
    questions = {
        api("right"): (Outcome.OK, {"status": "200"}),
        by_name: (Outcome.OK, {"status": "200"}),
        api("forbids"): (Outcome.OK, {"status": "403"}),
        api("foreign"): (Outcome.TLS, {"stage": "tls", "verified": "no"}),
        api("wrong-name"): (Outcome.TLS, {"stage": "tls", "verified": "no"}),
        api("resets"): (Outcome.TLS, {"stage": "tls"}),
        api("closed"): (Outcome.REFUSED, {"stage": "connect"}),
        api("silent"): (Outcome.TIMEOUT, {}),
        api("right", ""): (Outcome.TLS, {"stage": "tls", "verified": "no"}),
        http("page"): (Outcome.OK, {"status": "204"}),
        http("hangs-up"): (Outcome.GARBLED, {"stage": "http"}),
        http("page", "no..name"): (Outcome.NO_NAME, {"stage": "name"}),
        Question(Kind.METRICS, HERE, servers.ports["cache-in-chunks"]): (
            Outcome.OK,
            {"hits": "1500002", "misses": "40", "forwards": "41", "errors": "3"},
        ),
    }
    answers = _asked(host, questions, ("curl",), shell=shell, ours=servers.authority_pem)
    whys = {answer.values["verified"] for answer in answers if "verified" in answer.values}
    assert all(why.startswith(("(60) ", "(51) ")) for why in whys), whys
    short = [{**answer.values, **({"verified": "no"} if "verified" in answer.values else {})} for answer in answers]
    assert list(zip([answer.outcome for answer in answers], short, strict=True)) == list(questions.values())


def test_wget(host: ProbedHost, servers: World) -> None:
    if not shutil.which("wget"):
        host.script("wget", f'exec {shutil.which("busybox")} wget "$@"')
    questions = [Question(Kind.HTTP, HERE, servers.ports[name], "/a/page?x=1") for name in ("page", "closed")]
    answers = _asked(host, questions, ("wget",) if shutil.which("wget") else ())
    assert [answer.outcome for answer in answers] == [Outcome.OK, Outcome.REFUSED]
    assert answers[0].values == {"status": "204"}


def test_names(host: ProbedHost, shell: tuple[str, ...]) -> None:
    questions = (
        Question(Kind.STUB, name="localhost", record="A"),
        Question(Kind.STUB, name="no..name"),
        Question(Kind.STUB, name="localhost", record="AAAA"),
    )
    answers = _asked(host, questions, ("getent",), shell=shell)
    assert [(answer.outcome, answer.values) for answer in answers] == [
        (Outcome.OK, {"addresses": "127.0.0.1"}),
        (Outcome.NO_NAME, {"certain": "no"}),
        (Outcome.UNKNOWN, {}),  # getent makes such of IPv4 ones, and finds none where the host has none itself
    ]


DIG = """\
; <<>> DiG 9.18.33 <<>> @10.0.0.10 -p 53 a.lab. A
;; global options: +cmd
;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: {status}, id: 60
;; flags: qr{tc} rd ra; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 0

;; QUESTION SECTION:
;a.lab.\t\t\tIN\tA

;; ANSWER SECTION:
{answers}
;; Query time: 1 msec
"""


@pytest.mark.parametrize(
    ("said", "outcome", "values"),
    [
        pytest.param(
            DIG.format(status="NOERROR", tc="", answers="a.lab.\t50\tIN\tCNAME\tb.lab.\nb.lab.\t20\tIN\tA\t10.0.0.2\nb.lab.\t20\tIN\tA\t10.0.0.1"),
            Outcome.OK, {"rcode": "NOERROR", "truncated": "no", "addresses": "10.0.0.1,10.0.0.2"}, id="answers",
        ),
        pytest.param(
            DIG.format(status="NXDOMAIN", tc=" tc", answers=""),
            Outcome.OK, {"rcode": "NXDOMAIN", "truncated": "yes", "addresses": ""}, id="NXDOMAIN, truncated",
        ),
        pytest.param(";; communications error to 10.0.0.10#53: timed out\n;; no servers could be reached\n", Outcome.TIMEOUT, {}, id="silent"),
        pytest.param(";; communications error to 10.0.0.10#53: connection refused\n", Outcome.REFUSED, {}, id="refused"),
    ],
)  # fmt: skip
def test_dig(said: str, outcome: Outcome, values: dict[str, str], host: ProbedHost) -> None:
    host.script("dig", f"while IFS= read -r line; do printf '%s\\n' \"$line\"; done <<'END'\n{said}END")
    answer = _asked(host, [Question(Kind.DNS, "10.0.0.10", 53, "a.lab", "udp", "A")])[0]
    assert (answer.outcome, answer.values) == (outcome, values)


@pytest.mark.parametrize(
    ("script", "outcome", "values"),
    [
        pytest.param("exit 0", Outcome.OK, {"largest": "1500"}, id="all sizes"),
        pytest.param(
            'case $* in *"-s 1472"*) echo "ping: local error: message too long, mtu=1450"; exit 1;; esac',
            Outcome.OK, {"largest": "1280", "reported": "1450"}, id="one is too big, and told",
        ),
        pytest.param("exit 1", Outcome.TIMEOUT, {}, id="no answer"),
        pytest.param(
            'case $* in *"-s 1472"*) echo "From 10.0.0.9 Frag needed and DF set (mtu = 1300)";; esac; exit 1',
            Outcome.TIMEOUT, {"reported": "1300"}, id="one is too big, the other is not answered",
        ),
        pytest.param('echo "From 10.0.0.9 Frag needed and DF set (mtu = 1200)"; exit 1', Outcome.OK, {"largest": "0", "reported": "1200"}, id="all are too big"),
        pytest.param('echo "From 10.0.0.1 icmp_seq=1 Destination Host Unreachable"; exit 1', Outcome.UNREACHABLE, {}, id="unreachable"),
        pytest.param('echo "ping: socktype: SOCK_RAW: Operation not permitted"; exit 2', Outcome.UNKNOWN, {}, id="no right"),
        pytest.param('echo "ping: invalid option -- M"; exit 1', Outcome.UNKNOWN, {}, id="of busybox"),
    ],
)  # fmt: skip
def test_ping(script: str, outcome: Outcome, values: dict[str, str], host: ProbedHost) -> None:
    host.script("ping", script)
    answer = _asked(host, [Question(Kind.MTU, "10.0.0.1", sizes=(1280, 1500))])[0]
    assert (answer.outcome, answer.values) == (outcome, values)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("exit 0", Outcome.OK),
        ('echo "nc: connect to 10.0.0.1 port 22 (tcp) failed: Connection refused" >&2; exit 1', Outcome.REFUSED),
        (
            'echo "nc: connect to 10.0.0.1 port 22 (tcp) timed out: Operation now in progress" >&2; exit 1',
            Outcome.TIMEOUT,
        ),
        ('echo "Ncat: TIMEOUT." >&2; exit 1', Outcome.TIMEOUT),
        ("exit 1", Outcome.UNKNOWN),
    ],
)
def test_nc(script: str, outcome: Outcome, host: ProbedHost) -> None:
    host.script("nc", script)
    assert _asked(host, [Question(Kind.TCP, "10.0.0.1", 22)])[0].outcome is outcome


def test_a_python_that_cannot_begin_is_none(host: ProbedHost) -> None:
    host.script("python3", 'while read -r line; do :; done; echo "SyntaxError: invalid syntax" >&2; exit 1')
    for tool in (*ALWAYS, "getent"):
        host.tool(tool)
    batch = RequestBatch((Question(Kind.STUB, name="localhost"),))
    assert read_answers(host.run(program(batch)).stdout, batch)[0].outcome is Outcome.OK


def test_a_python_that_was_killed_is_not_tried_again(host: ProbedHost) -> None:
    host.script("python3", "while read -r line; do :; done; echo; echo poolkeeper-probe begin; kill -9 $$")
    for tool in (*ALWAYS, "getent"):
        host.tool(tool)
    batch = RequestBatch((Question(Kind.STUB, name="localhost"),))
    answer = read_answers(host.run(program(batch)).stdout, batch)[0]
    assert (answer.outcome, answer.reason) == (Outcome.UNKNOWN, "the probe program was cut off before it answered this")


def test_no_time_left(host: ProbedHost) -> None:
    host.tool("date")
    host.script("getent", "exit 0")
    batch = RequestBatch((Question(Kind.STUB, name="localhost"),), deadline_s=0)
    answer = read_answers(host.run(program(batch)).stdout, batch)[0]
    assert answer.outcome is Outcome.UNKNOWN


def test_a_type_of_record_is_no_program(host: ProbedHost, shell: tuple[str, ...], tmp_path: Path) -> None:
    left = tmp_path / "left"
    host.script("dig", "echo ';; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1'")
    record = f"x/y/\n1e touch {left}\ns/a"
    (answer,) = _asked(host, [Question(Kind.DNS, HERE, 53, "a.lab", "udp", record)], shell=shell)
    assert (answer.outcome, left.exists()) == (Outcome.UNKNOWN, False)
    assert answer.reason.startswith("no such type of record")
