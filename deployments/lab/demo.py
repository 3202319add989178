"""`make demo`: a practice world with two broken hosts in it, onboarded, upgraded, audited and billed.

Each step is a command that you can type yourself; here they run in one process, so that Prefect is imported once.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from types import FrameType

from poolkeeper.deployments.cli import main as commands
from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.tasks.settings import state_folder

BROKEN = {"ams1-n02": "resolver-dead", "fra1-n03": "leftovers"}
OVERNIGHT = {"fra1-n01": "api-unreachable", "ams1-n04": "power-lost"}
OLDER, NEWER = "v1.35.4", "v1.36.3"
ACCEPTED, STOPPED = 6, 2
"""What the demo must end with."""


class DemoFailed(Exception):
    """A step did not end as it must; the message says which."""


def poolkeeper(*words: str, expected: int = 0, quiet: bool = False) -> None:
    """One command, shown and run. Raises DemoFailed when its exit code is another one.

    quiet: its answer is not shown
    """
    print(_styled(f"$ poolkeeper {shlex.join(words)}", "1"), flush=True)
    shown = io.StringIO() if quiet else sys.stdout
    try:
        with redirect_stdout(shown):
            commands(list(words), standalone_mode=False)
        code: object = 0
    except SystemExit as end:
        code = end.code or 0
    sys.stdout.flush()
    if code != expected:
        raise DemoFailed(f"`poolkeeper {' '.join(words)}` ended with {code}, not with {expected}")


def say(text: str) -> None:
    """A line of the demo's own."""
    print(_styled(f"\n{text}", "36"), flush=True)


def _styled(text: str, style: str) -> str:
    return f"\033[{style}m{text}\033[0m" if sys.stdout.isatty() else text


def demonstrate(lab: Path) -> None:
    """The demo itself, in a lab folder that is its own."""
    place = ("--folder", str(lab))
    say("A practice world on loopback: a cluster, its provider, a Prefect server, 8 hosts. Two of them are broken.")
    poolkeeper(
        "lab", "up", "--prefect=server", "--hosts", str(ACCEPTED + STOPPED), "--kubelet", OLDER, *place, quiet=True
    )
    told = lifecycle.status(LabFolder(lab))
    os.environ["POOLKEEPER_FLEET"], os.environ["PREFECT_API_URL"] = told["fleet"], told["prefect_api_url"]
    for host, fault in BROKEN.items():
        poolkeeper("lab", "break", host, fault, *place, quiet=True)
    poolkeeper("check")

    say("Onboarding: the six sound hosts become nodes, the two broken ones are stopped, with their next steps.")
    poolkeeper("run", "onboard", "--apply", expected=1)

    say("The faults are corrected, and the run starts again: finished hosts are skipped.")
    for host in BROKEN:
        lifecycle.mend_host(LabFolder(lab), host, None)
    poolkeeper("run", "onboard", "--apply")
    upgrade(lab)
    two_nights(lab)

    say("What it costs: this month so far, compared with the account's bill.")
    poolkeeper("run", "meter", "--bill", "bss")


def upgrade(lab: Path) -> None:
    """A pool goes from one minor to the next; one workload's budget is in the way, and then it is not."""
    say("A workload whose budget allows no disruption: the plan of an upgrade shows what each drain would meet.")
    web = ("lab", "deploy", "web", "--replicas", "2", "--folder", str(lab), "--min-available")
    poolkeeper(*web, "2", quiet=True)
    goal = ("--pool", "general", "--kubernetes", NEWER)
    poolkeeper("run", "upgrade", *goal)

    say(f"{OLDER} to {NEWER}, wave by wave: nodes with blocked drains return to service, the others are upgraded.")
    poolkeeper("run", "upgrade", *goal, "--on-blocked", "skip", "--drain-timeout-s", "2", "--apply", expected=1)

    say("The budget allows a disruption now, and the same command continues with the other nodes.")
    poolkeeper(*web, "1", quiet=True)
    poolkeeper("run", "upgrade", *goal, "--apply")


def two_nights(lab: Path) -> None:
    """The network is audited, something breaks, and the next night names it."""
    say("A night's audit: every host connects to every other one, to the API server, and asks its resolvers.")
    poolkeeper("run", "audit", "--pod-nodes", "2")
    say("One host cannot reach the API server any more, and another loses its power. The next night names both.")
    for host, fault in OVERNIGHT.items():
        poolkeeper("lab", "break", host, fault, "--folder", str(lab), quiet=True)
    poolkeeper("run", "audit", "--pod-nodes", "0", "--fail-on", "new-blockers", expected=1)


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
        child = [sys.executable, "-m", "poolkeeper.deployments.lab.demo", "steps"]
        code = subprocess.run(child, check=False).returncode
    except KeyboardInterrupt:
        code = 130
    finally:
        lifecycle.down(LabFolder(state_folder() / "demo"))
    if code:
        sys.exit(code)
    pages = [str(page) for page in sorted(_written().rglob("*.html"))]
    say("\n  ".join(["Pages to open in a browser:", *pages]))
    say(
        f"That took {time.monotonic() - began:.0f} s, and the practice world has ended. What the runs wrote, with"
        f" their logs, is in {_written()}.\n`make lab` keeps such a world running, so that you can break things in it."
    )


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    steps() if sys.argv[1:] == ["steps"] else main()
