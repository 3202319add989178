"""Tiers of tests: which machine can run them, and a table at the end of what ran and what did not.

A tier is the first folder below `tests`, or what `@pytest.mark.tier("name")` says. What a machine lacks for a tier
skips it, loudly. With CI=true a tier that this machine could have run and did not is a failure.

Where several processes share the tests (`make test`), those of one file stay together, for they share what the file
starts, and so do those of a lab that several files share: all machines, and the hosts that are upgraded one by one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.deployments.lab.lifecycle import LabError
from poolkeeper.deployments.lab.processes import kill_marked
from poolkeeper.deployments.lab.real.machines.need import lacking_for_good, lacking_for_machines
from poolkeeper.deployments.lab.real.pins import CONTROL_PLANE, KUBERNETES, MACHINES, go_version
from poolkeeper.deployments.lab.real.programs import lacking
from tests.contract.audit.pythons import lacking_pythons
from tests.logs import logged

settings.register_profile("anywhere", deadline=None)  # what a machine has else to do fails no rule
settings.load_profile("anywhere")

TESTS = Path(__file__).parent


SHARED = ("tests/e2e/machines/", "tests/contract/upgrade/")
"""Where the files are that share a lab, or must not run at once."""
_TIER = "tier"
"""User property of each test."""


@dataclass(frozen=True)
class Tier:
    """A kind of test, and what it needs."""

    about: str
    lacks: Callable[[], str] = lambda: ""
    """What this machine has not, as a clause; empty when the tier can run."""
    excuse: Callable[[], str] | None = None
    """What of it CI cannot install, where that is not all: lacking the rest is no excuse there."""


def _lacks_kubectl() -> str:
    if not lacking(["kubectl"]):
        return ""
    program = shutil.which("kubectl")
    if program is None:
        return f"there is no kubectl on PATH, and it cannot be built: {lacking(['kubectl'])}"
    command = [program, "version", "--client", "-o", "json"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        minor = int(json.loads(told)["clientVersion"]["minor"].rstrip("+"))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        return f"kubectl does not tell its version: {error}"
    return "" if minor >= 23 else f"kubectl 1.{minor} is too old, 1.23 is needed"


def _lacks_sshd() -> str:
    return "" if Path("/usr/sbin/sshd").exists() else "there is no /usr/sbin/sshd (Debian: openssh-server)"


def _lacks_real() -> str:
    return lacking(CONTROL_PLANE)


def _real_excuse() -> str:
    return "" if _could_have_go() else _lacks_real()


def _machines_excuse() -> str:
    return "" if _could_have_go() and lacking(MACHINES) else lacking_for_good()


@cache
def _could_have_go() -> bool:
    """Whether apt would install a Go that builds Kubernetes."""
    if os.geteuid() != 0 or shutil.which("apt-cache") is None:
        return False
    command = ["apt-cache", "policy", "golang-go"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "LC_ALL": "C"}).stdout
    candidate = re.search(r"Candidate: (?:\d+:)?(\d+\.\d+)", told)
    return candidate is not None and go_version(candidate[1])[:2] >= KUBERNETES.needs_go[:2]


TIERS = {
    "unit": Tier("rules, as tables; no network"),
    "contract": Tier("real clients against real parts on loopback"),
    "kubectl": Tier("the lab's API server through kubectl", _lacks_kubectl),
    "real": Tier("real clients against Kubernetes' own programs", _lacks_real, excuse=_real_excuse),
    "sshd": Tier("our SSH sessions against OpenSSH's server", _lacks_sshd, excuse=lambda: ""),
    "pythons": Tier("what hosts are sent, on the Pythons that hosts have", excuse=lacking_pythons),
    "e2e": Tier("lab, Prefect server, worker, whole flows"),
    "machines": Tier(
        "Debian machines that join Kubernetes' own programs", lacking_for_machines, excuse=_machines_excuse
    ),
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "tier(name): the tier of a test, where it is not its folder's")


def _tier_of(item: pytest.Item) -> str:
    marker = item.get_closest_marker("tier")
    if marker:
        return str(marker.args[0])
    return "kubectl" if "kubectl" in getattr(item, "fixturenames", ()) else item.path.relative_to(TESTS).parts[0]


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Which tests of several processes run in one. (With pytest 9.2, xdist 3.8 is blind to its own `xdist_group`.)"""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((place for place in SHARED if file.startswith(place)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    return Together(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    lacking = {name: tier.lacks() for name, tier in TIERS.items()}
    for item in items:
        tier = _tier_of(item)
        item.user_properties.append((_TIER, tier))  # which reports carry, also from another process
        if lacking[tier]:
            item.add_marker(pytest.mark.skip(reason=lacking[tier]))
    if hasattr(config, "workerinput"):
        longest_first = {"machines": 0, "e2e": 1}  # so that neither process waits long for the other in the end
        items.sort(key=lambda item: longest_first.get(dict(item.user_properties)[_TIER], 2))


@dataclass
class Count:
    """What became of a tier's tests."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0

    @property
    def ran(self) -> int:
        return self.passed + self.failed


def _count(reporter: pytest.TerminalReporter) -> tuple[dict[str, Count], dict[str, str]]:
    counts: defaultdict[str, Count] = defaultdict(Count)
    reasons: dict[str, str] = {}
    for outcome, reports in reporter.stats.items():
        for report in reports:
            if not isinstance(report, pytest.TestReport):
                continue
            tier = dict(report.user_properties)[_TIER]
            count = counts[tier]
            count.seconds += report.duration
            if outcome == "passed" and report.when == "call":
                count.passed += 1
            elif outcome in ("failed", "error"):
                count.failed += 1
            elif outcome == "skipped":
                count.skipped += 1
                reasons.setdefault(tier, str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else "")
    return counts, reasons


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts, reasons = _count(terminalreporter)
    terminalreporter.section("tiers")
    for name, tier in TIERS.items():
        if name not in counts:
            continue
        count = counts[name]
        told = f"{count.passed} passed"
        told += f", {count.failed} FAILED" if count.failed else ""
        told += f", {count.skipped} SKIPPED: {reasons[name]}" if count.skipped else ""
        terminalreporter.write_line(f"{name:<10} {tier.about:<46} {count.seconds:6.1f} s  {told}")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End the labs that a process which was broken off, as by Ctrl-C, had no time to end."""
    if hasattr(config, "workerinput") or config.option.numprocesses is None:
        return
    folders = config._tmp_path_factory.getbasetemp()
    for folder in (LabFolder(path) for path in folders.glob("*/*/lab*") if path.is_dir()):
        with suppress(LabError):
            lifecycle.down(folder)
    for mark in folders.glob("*/*/plane/lab-id"):
        kill_marked(mark.read_text())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With CI=true, what could have run and did not fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") != "true" or reporter is None or session.config.option.collectonly:
        return
    counts, reasons = _count(reporter)
    excused = {name for name, tier in TIERS.items() if (tier.excuse or tier.lacks)()}
    unexcused = [name for name, count in counts.items() if count.skipped and name not in excused]
    if unexcused:
        why = "; ".join(f"{name}: {reasons[name]}" for name in unexcused)
        reporter.write_line(f"\nCI=true, and tests were skipped that this machine could have run: {why}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED if exitstatus == 0 else exitstatus


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What our own modules log while the test runs."""
    lines: list[str] = []
    with logged(lines.append):
        yield lines
