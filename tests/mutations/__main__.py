"""Breaks the product in one place at a time and runs the test that must notice: it shows that the suite can say no.

Each row of `breaks` is tried in a copy of the checkout in a temporary folder, which is never the checkout itself. A
row is *noticed* when its test fails there by a failure of the test; one that cannot be collected, imported or ended
shows nothing and is *BROKEN*. Before anything is broken every test that is named has to pass.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.mutations.breaks import BREAKS, Break

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("poolkeeper", "tests")
TIMEOUT_S = 120.0
"""For one test, broken or not."""
NO_TEST_FAILURE = ("ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError", "NameError")
"""What a test ends with when the break has made no sense, in place of a product that does the wrong thing."""
NOTICED, SURVIVED, BROKEN = "noticed", "SURVIVED", "BROKEN"


@dataclass(frozen=True)
class Run:
    """How a test has ended."""

    exit_status: int | None
    """None: it did not end in time."""
    passed: int
    failures: tuple[str, ...]
    """First line of each failure of a test, without errors of its set-up."""
    seconds: float
    said: str
    """The end of its output."""


def copy_checkout(to: Path) -> None:
    """Every file that git tracks or would track, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
        timeout=60,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = CHECKOUT / name, to / name
        if source.is_file() or source.is_symlink():  # one that was deleted and not committed is listed as well
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def environment_of(folder: Path) -> dict[str, str]:
    """In which everything that is imported or kept is the copy's, in processes that a test starts as well."""
    ours = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    state = folder / ".state"
    return {
        **ours,
        "PYTHONPATH": str(folder),
        "POOLKEEPER_STATE": str(state),
        "PREFECT_HOME": str(state / "prefect"),
    }


def refuse_another_copy(folder: Path) -> None:
    """The checkout is installed as editable: see that the copy comes before it, also in a child of a child."""
    ask = f"import {', '.join(PACKAGES)}; print(*(p.__path__[0] for p in ({', '.join(PACKAGES)})), sep='\\n')"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ask!r}], check=True, cwd='/')"
    for program in (ask, nested):
        told = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            env=environment_of(folder),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        found = [Path(line).resolve() for line in told.stdout.splitlines()]
        if found != [(folder / package).resolve() for package in PACKAGES]:
            raise SystemExit(f"these packages would be tested in place of the copy's: {', '.join(map(str, found))}")


def run_tests(folder: Path, *tests: str, timeout_s: float = TIMEOUT_S) -> Run:
    """Tests in a copy, up to the first failure."""
    report = folder / ".report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--junitxml={report}"]
    began = time.monotonic()
    running = subprocess.Popen(
        [*command, f"--basetemp={folder / '.t'}", *tests],
        cwd=folder,
        env=environment_of(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    status: int | None = None
    try:
        said, _ = running.communicate(timeout=timeout_s)
        status = running.returncode
    except subprocess.TimeoutExpired:
        said = f"no end after {timeout_s:.0f} s"
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
    passed, failures = _read_report(report)
    return Run(status, passed, failures, time.monotonic() - began, said[-3000:])


def _read_report(report: Path) -> tuple[int, tuple[str, ...]]:
    """How many tests passed, and the first line of each failure."""
    if not report.exists():
        return 0, ()
    cases = list(ElementTree.parse(report).iter("testcase"))
    passed = sum(not any(case.find(end) is not None for end in ("failure", "error", "skipped")) for case in cases)
    found = [failure.get("message", "") for case in cases for failure in case.findall("failure")]
    return passed, tuple(message.partition("\n")[0] for message in found)


def verdict_of(run: Run) -> tuple[str, str]:
    """What a run of a broken product shows, and why where it shows nothing. Pure."""
    if run.exit_status == 0:
        return (SURVIVED, "") if run.passed else (BROKEN, "nothing ran")
    if run.exit_status != 1:
        return BROKEN, "no end in time" if run.exit_status is None else f"pytest ended with {run.exit_status}"
    told = [failure for failure in run.failures if not failure.startswith(NO_TEST_FAILURE)]
    if not told:
        return BROKEN, run.failures[0] if run.failures else "no test failed, but its set-up"
    return NOTICED, ""


def apply(one: Break, folder: Path) -> None:
    """Break a copy."""
    file = folder / one.file
    text = file.read_text(encoding="utf-8")
    if text.count(one.old) != 1:
        raise SystemExit(f"{one.id}: the text to replace stands {text.count(one.old)} times in {one.file}")
    file.write_text(text.replace(one.old, one.new), encoding="utf-8")


def try_break(whole: Path, one: Break) -> tuple[str, str, Run]:
    """A verdict on one row, in a copy of its own."""
    with tempfile.TemporaryDirectory(prefix="break-", dir=whole.parent, ignore_cleanup_errors=True) as name:
        folder = Path(name) / "c"
        shutil.copytree(whole, folder, symlinks=True, ignore=shutil.ignore_patterns(".t", ".report.xml", ".state"))
        apply(one, folder)
        run = run_tests(folder, one.test)
    return *verdict_of(run), run


def chosen(words: Sequence[str]) -> list[Break]:
    """Rows whose id, file or test has one of the words in it; all, without words."""
    return [one for one in BREAKS if not words or any(w in f"{one.id} {one.file} {one.test}" for w in words)]


def main(arguments: Sequence[str] | None = None) -> int:
    """All rows, or those that are named; 1 when one was not noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("words", nargs="*", help="only rows with one of these in their id, file or test")
    parser.add_argument("--jobs", type=int, default=1, help="so many rows at once")
    asked = parser.parse_args(arguments)
    rows = chosen(asked.words)
    if not rows:
        parser.error("no row has any of these words in it")
    began, counts = time.monotonic(), dict.fromkeys((NOTICED, SURVIVED, BROKEN), 0)
    with tempfile.TemporaryDirectory(prefix="pk-", ignore_cleanup_errors=True) as name:
        whole = Path(name) / "whole"
        copy_checkout(whole)
        refuse_another_copy(whole)
        tests = dict.fromkeys(one.test for one in rows)
        unbroken = run_tests(whole, *tests, timeout_s=TIMEOUT_S + 10 * len(tests))
        if unbroken.exit_status != 0:
            print(
                f"these tests do not all pass as it is, so that they would show nothing:\n{unbroken.said}", flush=True
            )
            return 1
        print(f"unbroken: {len(tests)} tests or files of tests pass, {unbroken.seconds:.0f} s", flush=True)
        with ThreadPoolExecutor(max_workers=max(1, asked.jobs)) as pool:
            for one, (verdict, why, run) in zip(rows, pool.map(lambda row: try_break(whole, row), rows), strict=True):
                counts[verdict] += 1
                word = f"{verdict}: {why}" if why else verdict
                print(f"{one.id:<72} {one.test:<100} {run.seconds:5.1f} s  {word}", flush=True)
                if verdict == BROKEN:
                    print(run.said, flush=True)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    print(f"{len(rows)} breaks: {told}; {time.monotonic() - began:.0f} s", flush=True)
    return 1 if counts[SURVIVED] or counts[BROKEN] else 0


if __name__ == "__main__":
    sys.exit(main())
