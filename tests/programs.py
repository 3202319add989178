"""Makes what the tests run and this machine can make: Kubernetes' own programs, the machines' system and its mirror.

    python -m tests.programs       # minutes the first time, nothing later: all of it stays in the cache folder

`make test` calls it first, so that no test waits for a build. What this machine lacks for it is said, and is no error:
the tiers that need it are skipped, and say so.
"""

from __future__ import annotations

import sys

from poolkeeper.deployments.lab.real.building import Unavailable, say_on_stderr
from poolkeeper.deployments.lab.real.machines.need import lacking_for_machines, prepare
from poolkeeper.deployments.lab.real.pins import CONTROL_PLANE, HOLLOW_NODES, MACHINES
from poolkeeper.deployments.lab.real.programs import find, lacking


def main() -> None:
    if missing := lacking(CONTROL_PLANE):
        say_on_stderr(f"tests against Kubernetes' own programs will be skipped: {missing}")
        return
    try:
        if missing := lacking_for_machines():
            say_on_stderr(f"tests on machines will be skipped: {missing}")
            find([*CONTROL_PLANE, *HOLLOW_NODES])
        else:
            find([*MACHINES, *HOLLOW_NODES])
            prepare()
    except Unavailable as missing:
        sys.exit(str(missing))


if __name__ == "__main__":
    main()
