"""A machine to which a later run comes at a given moment: between two steps of a run that has lost its lease."""

from __future__ import annotations

import asyncssh

from tests.contract.hosts.fences import fence
from tests.contract.hosts.machines import Machine
from tests.contract.hosts.servers import Obliging

MINE, LATER = fence(7), 8
"""Our own, and the fencing token of the run that has taken over."""


def show_later(machine: Machine) -> None:
    """What a later run does first on a host."""
    machine.put("/var/lib/poolkeeper/fencing-token", f"{LATER}\n")


def overtaken_at(machine: Machine, marker: str) -> type[Obliging]:
    """What a server does that stands before a machine, where a later run comes right before a program is run that has
    `marker` in it."""
    plain = machine.behaviour()

    class Overtaken(plain):  # type: ignore[misc, valid-type]  # a class that is made by a function
        async def run(self, session: asyncssh.SSHServerProcess[bytes], program: bytes) -> None:
            if marker in program.decode():
                show_later(machine)
            await super().run(session, program)

    return Overtaken
