"""The process of a lab of machines, started by `lab up --real` in a mount namespace of its own.

`python -m poolkeeper.deployments.lab.real.machines.serve --folder F --machines N`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from pathlib import Path

from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.deployments.lab.processes import LAB_MARK
from poolkeeper.deployments.lab.real.machines.world import MachinesWorld

OWN_MOUNTS = ("unshare", "--mount", "--propagation", "slave", "--")
"""The beginning of its command: what is mounted from here on is seen by its own processes alone, and ends with them."""


async def _serve(folder: LabFolder, machines: int) -> None:
    world = MachinesWorld(folder, os.environ[LAB_MARK], machines)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    starting = asyncio.create_task(world.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            await stopping
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await world.stop()


def main() -> None:
    """Run a lab until it is told to end."""
    parser = argparse.ArgumentParser(description="The process of a lab of machines; use `poolkeeper lab up --real`.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--machines", type=int, required=True)
    given = parser.parse_args()
    asyncio.run(_serve(LabFolder(given.folder.absolute()), given.machines))


if __name__ == "__main__":
    main()
