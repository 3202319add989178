"""What a run shows while it goes on: bounded, one line each, and nothing that hosts have written acts on the terminal."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolkeeper.deployments.cli.progress import LiveProgress, PlainProgress, shown
from poolkeeper.deployments.cli.run_log import RunLog, log_to
from poolkeeper.deployments.terminal import LINE
from poolkeeper.tasks.outcomes import HostState, visible
from poolkeeper.tasks.runs.watching import HostPlan, RunPlan, watched_by, watcher

ACTING = "\x1b]0;owned\x07 \x1b[2J\x9b31m\r\n \u202eoff\u2066 \u200bn1"
SHOWN = r"\x1b]0;owned\x07 \x1b[2J\x9b31m\n \u202eoff\u2066 \u200bn1"
PLAN = RunPlan(
    "3 hosts in waves of 1 + 2",
    (HostPlan("n1", 1, "v1 -> v2"), HostPlan("n2", 2, "v1 -> v2"), HostPlan("n3", 2, "v1 -> v2")),
    host_s=40,
    notes=("expected: 80 s",),
)


class Clock:
    """Time as a test sets it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def drawn_rows(progress: LiveProgress, room: int = 20) -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in progress.drawn(room).rows]


def test_a_line_a_host() -> None:
    clock = Clock()
    progress = LiveProgress("upgrade", clock=clock)
    progress.planned(PLAN)
    progress.phase("n1", "prepare")
    progress.phase_ended("n1", "prepare")
    clock.now = 110.0
    progress.doing("wave 1 of 2")
    progress.phase("n1", "drain")
    clock.now = 122.0
    assert progress.drawn(20).head == "upgrade: wave 1 of 2; 1 at work, 2 to come; 22 s"
    assert drawn_rows(progress) == [
        ["n1", "wave 1 of 2", "v1 -> v2", "12 s of some 40 s", "drain"],
        ["n2", "wave 2 of 2", "v1 -> v2", "", "waiting"],
        ["n3", "wave 2 of 2", "v1 -> v2", "", "waiting"],
    ]
    progress.ended("n1", HostState.DONE, "upgraded")
    assert drawn_rows(progress)[0] == ["n1", "wave 1 of 2", "v1 -> v2", "12 s", "done"]


def test_a_long_phase_hides_no_other_column() -> None:
    code, written = on_a_terminal("""
from poolkeeper.deployments.cli.progress import LiveProgress, shown
progress = LiveProgress("upgrade")
progress.phase("n1", "drain: waits for " + "x" * 1000)
with shown(progress):
    pass
""")
    assert code == 0
    assert re.search(r"  n1 .*0 s +drain: waits for x+(…|\.\.\.)", written)


def test_more_hosts_than_lines() -> None:
    """Those at work stay in sight, then those that ended badly; the rest is counted."""
    progress = LiveProgress("upgrade", clock=Clock())
    progress.planned(RunPlan("", tuple(HostPlan(f"n{n}", 1, "") for n in range(100))))
    progress.ended("n0", HostState.DONE, "")
    progress.ended("n97", HostState.FAILED, "")
    progress.phase("n99", "drain")
    drawn = progress.drawn(5)
    assert [row[0].strip() for row in drawn.rows] == ["n99", "n97", "n1"]
    assert (drawn.head, drawn.foot) == ("upgrade: 1 done, 1 failed, 1 at work, 97 to come; 0 s", "  and 97 more hosts")


def test_a_run_without_hosts_shows_its_log() -> None:
    progress = LiveProgress("audit", clock=Clock())
    progress.message("asks 12 hosts")
    assert progress.drawn(20) == ("audit: asks 12 hosts; 0 s", [], "")


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = PlainProgress("upgrade", clock=clock)
    progress.run("run-1", "http://prefect/runs/flow-run/run-1")
    progress.planned(PLAN)
    progress.wave(1, ("n1",))
    progress.phase("n1", "drain")
    progress.ended("n1", HostState.DONE, "upgraded")
    progress.wave(2, ("n2", "n3"))
    progress.phase("n2", "drain")
    progress.phase("n3", "drain")
    progress.ended("n3", HostState.BLOCKED, "no room")
    clock.now += 60
    progress.phase("n2", "change")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(" ")[2] for line in err.splitlines()] == [
        "upgrade: run run-1: http://prefect/runs/flow-run/run-1",
        "plan: 3 hosts in waves of 1 + 2; expected: 80 s",
        "wave 1 of 2: n1",
        "wave 2 of 2: n2, n3",
        "n3: blocked: no room",
        "1 blocked, 1 done, 1 at work; at work: n2 (change)",
    ]


def test_the_number_of_plain_lines_does_not_grow_with_the_fleet(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress("onboard", clock=Clock())
    for n in range(1000):
        progress.ended(f"m{n}", HostState.STOPPED, "no SSH")
    for n in range(1000):
        progress.phase(f"n{n}", "join")
        progress.ended(f"n{n}", HostState.ACCEPTED, "released")
    assert capsys.readouterr().err == ""


def test_a_plain_line_is_one_line_of_bounded_length(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress("onboard")
    progress.phase(ACTING, ACTING)
    progress.ended(ACTING, HostState.FAILED, ACTING * 100)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert len(err) <= LINE + 1
    assert SHOWN in err
    assert visible(err) == err


class Closed(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_run_goes_on_when_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Closed())
    progress = PlainProgress("onboard")
    progress.phase("n1", "join")
    progress.ended("n1", HostState.FAILED, "x")


def test_runs_outside_the_block_are_watched_by_nobody() -> None:
    progress = LiveProgress("upgrade")
    with watched_by(progress):
        assert watcher() is progress
    watcher().ended("n1", HostState.DONE, "")
    assert progress.counts() == ""


HOSTILE = f"""
from poolkeeper.deployments.cli.progress import LiveProgress, shown
from poolkeeper.deployments.terminal import table
from poolkeeper.tasks.outcomes import HostState
from poolkeeper.tasks.runs.watching import HostPlan, RunPlan
acting = {ACTING!r}
progress = LiveProgress(acting)
with shown(progress):  # what is drawn last is the state at its end
    progress.run("r", acting)
    progress.planned(RunPlan(acting, (HostPlan(acting, 1, acting), HostPlan("n2", 1, acting), HostPlan("n3", 1, ""))))
    progress.doing(acting)
    progress.phase(acting, acting)
    progress.ended("n2", HostState.FAILED, acting)
    progress.message(acting)
table((acting, "b"), [(acting, acting)], styles=["red"])
"""
OWN = re.compile(r"\x1b\[\?25[lh]|\x1b\[2K|\x1b\[[0-9]*A|\x1b\[[0-9;]*m|\r")
"""What the live lines themselves do: hide and show the cursor, go up, clear a line, styles."""


def on_a_terminal(program: str) -> tuple[int, str]:
    """Exit code, and all that a program writes to a terminal of 200 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # its other end is closed: the program has ended
            break
        if not part:
            break
        written += part
    os.close(ours)
    return process.wait(timeout=60), written.decode()


def test_nothing_that_hosts_have_written_acts_on_a_terminal_with_live_lines() -> None:
    code, written = on_a_terminal(HOSTILE)
    assert code == 0, written
    assert written.count(SHOWN) >= 5  # run, head, host, phase, change
    assert r"\x1b]0;owned\x07" in written[written.rindex("\x1b[2K") :]  # the table after them
    text = OWN.sub("", written)
    assert visible(text) == text, "a sequence that is none of ours"
    assert written.rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in written, "the cursor is shown again"


def screen(written: str) -> list[str]:
    """The lines that a terminal shows in the end, of what live lines do: go up, clear a line, write."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part.endswith("A") and part.startswith("\x1b"):
            row -= 1
        elif part in ("\r", "\x1b[2K"):
            lines[row] = "" if part == "\x1b[2K" else lines[row]
        elif not part.startswith("\x1b"):
            lines[row] += part
    return [line.rstrip() for line in lines if line.strip()]


def test_live_lines_are_gone_in_the_end_and_the_rest_stays() -> None:
    code, written = on_a_terminal("""
from poolkeeper.deployments.cli.progress import LiveProgress, shown
from poolkeeper.deployments.terminal import echo
progress = LiveProgress("upgrade")
with shown(progress):
    progress.run("run-1", "")
    progress.phase("n1", "drain")
    progress.phase("n2", "drain")
    echo("from somewhere else", err=True)
echo("the answer")
""")
    assert (code, screen(written)) == (0, ["run run-1", "from somewhere else", "the answer"])


def test_off_a_terminal_nothing_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(PlainProgress("upgrade")):
        pass
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def loggers() -> Iterator[None]:
    """What a command does to the process's loggers, undone."""
    names = ("", "uvicorn", "fastapi")
    before = {name: logging.getLogger(name).handlers[:] for name in names}
    yield
    for name, handlers in before.items():
        logging.getLogger(name).handlers[:] = handlers


def logged(log: RunLog, *lines: str) -> None:
    log_to(log)
    for line in lines:
        logging.getLogger().handle(logging.LogRecord("prefect.flow_runs", logging.WARNING, "", 0, line, (), None))
    log.end()


@pytest.mark.usefixtures("loggers")
def test_the_log_is_a_file_of_its_owner(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    log = RunLog(verbose=False, on_message=heard.append)
    log.emit(logging.LogRecord("prefect", logging.INFO, "", 0, "before the run is known", (), None))
    log.begin(tmp_path / "run-1")
    logged(log, "first", "second")
    file = tmp_path / "run-1" / "log.txt"
    assert [line.partition(": ")[2] for line in file.read_text().splitlines()] == [
        "before the run is known",
        "first",
        "second",
    ]
    assert (file.stat().st_mode & 0o777, heard) == (0o600, ["first", "second"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("loggers")
def test_a_second_run_of_a_process_has_a_log_of_its_own(tmp_path: Path) -> None:
    for name in ("run-1", "run-2"):
        log = RunLog(verbose=False, on_message=lambda line: None)
        log.begin(tmp_path / name)
        logged(log, f"of {name}")
    told = [(tmp_path / name / "log.txt").read_text() for name in ("run-1", "run-2")]
    assert [text.count("of run-1") for text in told] == [1, 0]
    assert [text.count("of run-2") for text in told] == [0, 1]


@pytest.mark.usefixtures("loggers")
def test_verbose_shows_the_log_as_well(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = RunLog(verbose=True, on_message=lambda line: None)
    log.begin(tmp_path / "run-1")
    logged(log, "first")
    assert "first" in (tmp_path / "run-1" / "log.txt").read_text()
    assert capfd.readouterr().err.count("first") == 1


@pytest.mark.usefixtures("loggers")
def test_a_log_that_cannot_be_written_goes_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    log = RunLog(verbose=False, on_message=lambda line: None)
    log.begin(tmp_path / "file" / "run-1")
    logged(log, "first")
    assert (log.path, "first" in capfd.readouterr().err) == (None, True)


@pytest.mark.usefixtures("loggers")
def test_the_log_of_a_run_that_never_began_goes_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    logged(RunLog(verbose=False, on_message=lambda line: None), "no server")
    assert "no server" in capfd.readouterr().err
