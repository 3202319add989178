"""What can be broken on a machine: for real, in the kernel's own terms."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deployments.lab.faults import Fault
from deployments.lab.layout import LabHost
from deployments.lab.real.machines.machine import PoweredMachine
from deployments.lab.real.machines.network import ROUTER, Wires, entering

_LEFTOVERS: Mapping[str, str] = {
    "etc/kubernetes/kubelet.conf": "apiVersion: v1\nkind: Config\n",
    "etc/kubernetes/pki/ca.crt": "of another cluster\n",
    "var/lib/kubelet/config.yaml": "kind: KubeletConfiguration\n",
    "etc/cni/net.d/10-flannel.conflist": "{}\n",
}
"""What an earlier cluster left, by path."""


class MachineFaults:
    """The faults of one machine."""

    def __init__(self, wires: Wires, machine: PoweredMachine, host: LabHost) -> None:
        self._wires, self._machine, self._host = wires, machine, host

    async def make(self, fault: Fault) -> None:
        """Break it."""
        await self._do(fault, broken=True)

    async def mend(self, fault: Fault) -> None:
        """Make it whole again; a machine without power is switched on and boots."""
        await self._do(fault, broken=False)

    async def _do(self, fault: Fault, *, broken: bool) -> None:
        if fault is Fault.POWER_LOST:
            if broken:
                await self._machine.power_off()
            else:
                self._machine.power_on()
                await self._machine.until_up()
        elif fault is Fault.LINE_CUT:
            self._wires.cut(self._host.name) if broken else self._wires.mend(self._host.name)
        elif fault is Fault.RESOLVER_DEAD:
            for protocol in ("udp", "tcp"):
                await self._drop("INPUT", broken, "--protocol", protocol, "--dport", "53")
        elif fault is Fault.API_UNREACHABLE:
            await self._drop("FORWARD", broken, "--destination", self._wires.network.api, "--protocol", "tcp")
        elif fault is Fault.LEFTOVERS:
            await asyncio.to_thread(_leave_leftovers if broken else _remove_leftovers, self._machine.machine.disk)

    async def _drop(self, chain: str, broken: bool, *rule: str) -> None:
        """Let the router lose what comes from this machine and fits a rule, or no longer."""
        change = "--insert" if broken else "--delete"
        words = ["iptables", "--wait", change, chain, "--source", self._host.address, *rule, "--jump", "DROP"]
        command = [*entering(ROUTER), *words]
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, timeout=30)


MACHINE_FAULTS = (
    Fault.RESOLVER_DEAD, Fault.API_UNREACHABLE, Fault.LEFTOVERS, Fault.LINE_CUT, Fault.POWER_LOST,
)  # fmt: skip


def _leave_leftovers(root: Path) -> None:
    for path, text in _LEFTOVERS.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def _remove_leftovers(root: Path) -> None:
    for path in _LEFTOVERS:
        (root / path).unlink(missing_ok=True)
        folder = (root / path).parent
        while folder != root and not any(folder.iterdir()) and folder.name not in ("etc", "lib"):
            folder.rmdir()
            folder = folder.parent
