"""`make demo`: a practice world with two broken hosts in it, onboarded, upgraded, audited and billed.

Each step is a command that you can type yourself; here they run in one process, so that Prefect is imported once.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from poolkeeper.deployments.cli import main as commands
from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.tasks.fees.periods import Period, billing_day, instant
from poolkeeper.tasks.settings import state_folder

BROKEN = {"ams1-n02": "resolver-dead", "fra1-n05": "leftovers"}
OVERNIGHT = {"fra1-n01": "api-unreachable", "ams1-n05": "power-lost"}
EXAMPLE_EVENTS = Path(__file__).parent / "examples/fee-events.csv"
OLDER, NEWER = "v1.35.4", "v1.36.3"
ACCEPTED, STOPPED = 10, 2
"""What the demo must end with."""


class DemoFailed(Exception):
    """A step did not end as it must; the message says which."""


def poolkeeper(*words: str, expected: int = 0) -> None:
    """One command, shown and run. Raises DemoFailed when its exit code is another one."""
    print(f"\n\033[1m$ poolkeeper {' '.join(words)}\033[0m", flush=True)
    try:
        commands(list(words), standalone_mode=False)
        code: object = 0
    except SystemExit as end:
        code = end.code or 0
    sys.stdout.flush()
    if code != expected:
        raise DemoFailed(f"`poolkeeper {' '.join(words)}` ended with {code}, not with {expected}")


def say(text: str) -> None:
    """A line of the demo's own."""
    print(f"\n\033[36m{text}\033[0m", flush=True)


def demonstrate(lab: Path) -> None:
    """The demo itself, in a lab folder that is its own."""
    say("A practice world: a cluster, its provider and 12 hosts in two sites, on loopback; and a Prefect server.")
    poolkeeper("lab", "up", "--prefect", "--hosts", str(ACCEPTED + STOPPED), "--kubelet", OLDER, "--folder", str(lab))
    told = lifecycle.status(LabFolder(lab))
    os.environ["POOLKEEPER_FLEET"], os.environ["PREFECT_API_URL"] = told["fleet"], told["prefect_api_url"]

    say("Two hosts are broken on purpose, each in its own way.")
    for host, fault in BROKEN.items():
        poolkeeper("lab", "break", host, fault, "--folder", str(lab))

    say("A fleet file is checked as a whole before anything is touched.")
    poolkeeper("check")

    say("Onboarding: the ten sound hosts become nodes, the two broken ones are stopped and told what to mend.")
    poolkeeper("run", "onboard", "-p", "dry_run=false", expected=1)

    say("Mended, and run again: finished hosts are skipped by looking at them.")
    for host in BROKEN:
        poolkeeper("lab", "mend", host, "--folder", str(lab))
    poolkeeper("run", "onboard", "-p", "dry_run=false")

    poolkeeper("status")
    upgrade(lab)
    two_nights(lab)

    say("And what it costs: a month of an example cluster. The first and last hour are free, hybrid nodes are waived.")
    poolkeeper("bill", "meter", "--events", str(EXAMPLE_EVENTS), "--period", "2026-10")
    poolkeeper("bill", "explain", "2026-10-56f301e21db9", "--events", str(EXAMPLE_EVENTS))

    say("The practice world's own cluster, this month, against the bill that its provider has for the account.")
    poolkeeper("bill", "reconcile", "--period", this_month())


def upgrade(lab: Path) -> None:
    """A pool goes from one minor to the next; one workload's budget is in the way, and then it is not."""
    say("A workload whose budget allows no disruption at all: what a drain would meet is told before the first cordon.")
    poolkeeper("lab", "deploy", "web", "--replicas", "2", "--min-available", "2", "--folder", str(lab))
    carrying = nodes_of("web", lab)
    poolkeeper("forecast", carrying[0], expected=1)

    say(f"{OLDER} to {NEWER}, wave by wave: blocked drains are given back and explained, the rest is upgraded.")
    goal = ("-p", f"kubernetes={NEWER}", "-p", "pool=general", "-p", "dry_run=false")
    poolkeeper("run", "upgrade", *goal, "-p", "on_blocked=skip", "-p", "drain_timeout_s=3", expected=1)

    say("The budget has room now. Run again: finished hosts are skipped by looking at them.")
    poolkeeper("lab", "deploy", "web", "--replicas", "2", "--min-available", "1", "--folder", str(lab))
    poolkeeper("run", "upgrade", *goal)
    poolkeeper("release", "--json")


def two_nights(lab: Path) -> None:
    """The network is audited, something breaks, and the next night names it."""
    say("A night: every host connects to every other one, to the API server, and asks every resolver it depends on.")
    poolkeeper("run", "audit", "-p", "pod_nodes=2")
    say("One host cannot reach the API server any more, and another loses its power. The next night:")
    for host, fault in OVERNIGHT.items():
        poolkeeper("lab", "break", host, fault, "--folder", str(lab))
    poolkeeper("run", "audit", "-p", "pod_nodes=0", "-p", "fail_on=new-blockers", expected=1)
    for host in OVERNIGHT:
        poolkeeper("lab", "mend", host, "--folder", str(lab))


def nodes_of(name: str, lab: Path) -> list[str]:
    """The nodes that carry a Deployment's pods."""
    from poolkeeper.deployments.lab import practice

    return asyncio.run(practice.nodes_of(LabFolder(lab), name))


def this_month() -> str:
    """As the provider's calendar has it."""
    today = billing_day(instant(datetime.now(UTC)))
    return Period.month(today.year, today.month).name


def steps() -> None:
    """The child of `main`: flows run here."""
    lab, written = state_folder() / "demo", _written()
    # what an earlier demo saw is of nodes that are gone: it is no evidence for this one's bill
    shutil.rmtree(written, ignore_errors=True)
    os.environ["POOLKEEPER_STATE"] = str(written)
    try:
        demonstrate(lab)
    except DemoFailed as error:
        sys.exit(f"\nthe demo failed: {error}")


def _written() -> Path:
    """Where the demo's runs write: a folder of its own, made anew each time."""
    return state_folder() / "demo-runs"


def main() -> None:
    """Run the demo and take its world down, whatever happens.

    It runs in a process of its own, because the Prefect server has to outlive whoever runs flows: that one sends its
    last records when it ends.
    """
    signal.signal(signal.SIGTERM, _interrupted)
    began = time.monotonic()
    try:
        code = subprocess.run([sys.executable, "-m", "poolkeeper.deployments.demo", "steps"], check=False).returncode
    finally:
        lifecycle.down(LabFolder(state_folder() / "demo"))
    if code:
        sys.exit(code)
    say(
        f"That took {time.monotonic() - began:.0f} s, and the practice world is gone again."
        f" What the runs wrote is in {_written()}.\n`make lab` leaves such a world running, to break things in."
    )


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    steps() if sys.argv[1:] == ["steps"] else main()
