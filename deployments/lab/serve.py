"""The lab's own process: `python -m poolkeeper.deployments.lab.serve --folder F --hosts N`, started by `lab up`."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
from pathlib import Path

from poolkeeper.deployments.lab.control_plane import VERSION
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.deployments.lab.processes import LAB_MARK
from poolkeeper.deployments.lab.world import World


async def _serve(folder: LabFolder, hosts: int, kubelet: str, joined: bool) -> None:
    world = World(folder, os.environ[LAB_MARK], hosts, kubelet, joined=joined)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await world.start()
        await stop.wait()
    finally:
        await world.stop()


def main() -> None:
    """Run a lab until it is told to end."""
    parser = argparse.ArgumentParser(description="The practice world's process; use `poolkeeper lab up`.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--hosts", type=int, required=True)
    parser.add_argument("--kubelet", default=VERSION)
    parser.add_argument("--joined", action="store_true")
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a socket and some pipes for each of 500 hosts
    asyncio.run(_serve(LabFolder(given.folder.absolute()), given.hosts, given.kubelet, given.joined))


if __name__ == "__main__":
    main()
