"""Echo requests through a router whose second line is narrower than the first: three hosts in network namespaces."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from poolkeeper.tasks.audit.planning.questions import Answer, Kind, Outcome, Question, RequestBatch
from poolkeeper.tasks.audit.remote.protocol import python_program, read_answers

pytestmark = pytest.mark.tier("machines")

LINES = """\
here link add out type veth peer name in netns {router}
router link add out type veth peer name in netns {there}
here addr add 10.0.0.2/24 dev out
here addr add fd01::2/64 dev out nodad
router addr add 10.0.0.1/24 dev in
router addr add fd01::1/64 dev in nodad
router addr add 10.0.1.1/24 dev out
router addr add fd02::1/64 dev out nodad
there addr add 10.0.1.2/24 dev in
there addr add fd02::2/64 dev in nodad
router link set out mtu 1300
there link set in mtu 1300
here link set out up
router link set in up
router link set out up
there link set in up
here route add default via 10.0.0.1
here -6 route add default via fd01::1
there route add default via 10.0.1.1
there -6 route add default via fd02::1
router route add unreachable 10.0.2.0/24
"""


@pytest.fixture(scope="module")
def here() -> Iterator[int]:
    """The process in whose namespace the first host is."""
    with ExitStack() as stack:
        hosts: dict[str, int] = {}
        for name in ("here", "router", "there"):
            command = ["unshare", "--net", "sh", "-c", "echo up; read -r _"]
            process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            assert process.stdin is not None
            assert process.stdout is not None
            stack.callback(process.stdin.close)
            process.stdout.readline()
            hosts[name] = process.pid
        for line in LINES.format(**hosts).splitlines():
            name, *words = line.split()
            _inside(hosts[name], "ip", *words)
        forward = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"
        _inside(hosts["router"], "sh", "-c", forward)
        yield hosts["here"]


def _inside(pid: int, *command: str, text: str = "") -> str:
    done = subprocess.run(
        ["nsenter", "--target", str(pid), "--net", *command], input=text, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _asked(pid: int, address: str, *sizes: int) -> Answer:
    batch = RequestBatch((Question(Kind.MTU, address, sizes=sizes),), timeout_s=20, deadline_s=60)
    return read_answers(_inside(pid, sys.executable, "-I", "-S", "-B", "-", text=python_program(batch)), batch)[0]


@pytest.mark.parametrize(
    ("address", "sizes", "outcome", "values"),
    [
        pytest.param("10.0.0.1", (1280, 1500), Outcome.OK, {"largest": "1500"}, id="all reach the router"),
        pytest.param("10.0.0.1", (1280, 1501), Outcome.OK, {"largest": "1280", "reported": "1500"}, id="our own line"),
        pytest.param(
            "10.0.1.2", (1280, 1301, 1500), Outcome.OK, {"largest": "1280", "reported": "1300"}, id="the router tells"
        ),
        pytest.param("10.0.1.2", (1301, 1500), Outcome.OK, {"largest": "0", "reported": "1300"}, id="all are too big"),
        pytest.param("fd02::2", (1280, 1301, 1500), Outcome.OK, {"largest": "1280", "reported": "1300"}, id="IPv6"),
        pytest.param("10.0.2.2", (1280,), Outcome.UNREACHABLE, {}, id="the router knows no way"),
        pytest.param("10.9.9.9", (1280,), Outcome.UNREACHABLE, {}, id="no network"),
    ],
)
def test_path_mtu(here: int, address: str, sizes: tuple[int, ...], outcome: Outcome, values: dict[str, str]) -> None:
    answer = _asked(here, address, *sizes)
    assert (answer.outcome, answer.values) == (outcome, values), answer
    if outcome is Outcome.OK:
        assert (answer.duration_ms or 0) < 9900, "it waited for what could not come any more"
