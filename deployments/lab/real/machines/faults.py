"""What can be broken in a lab of machines: for real, in the kernel's own terms or in files that programs read.

`of_host`, `of_site` and `of_cloud` are the tables; each row is a `Breakage`, which does one thing and takes it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from poolkeeper.deployments.lab.control import ControlError
from poolkeeper.deployments.lab.faults import Fault, NotedFaults
from poolkeeper.deployments.lab.layout import API_PORT, CLOUD, KUBELET_PORT, LabHost
from poolkeeper.deployments.lab.real.machines.intranet import Certificates
from poolkeeper.deployments.lab.real.machines.machine import PoweredMachine
from poolkeeper.deployments.lab.real.machines.network import Wires, bridge_of
from poolkeeper.deployments.lab.real.machines.resolvers import OLD_DOMAIN, Resolvers

NODE_LOCAL_DNS = "169.254.20.10"
LOW_MTU_BYTES = 1400
_LEFTOVERS: Mapping[str, str] = {
    "etc/kubernetes/kubelet.conf": "apiVersion: v1\nkind: Config\n",
    "etc/kubernetes/pki/ca.crt": "of another cluster\n",
    "var/lib/kubelet/config.yaml": "kind: KubeletConfiguration\n",
    "etc/cni/net.d/10-flannel.conflist": "{}\n",
}
"""What an earlier cluster left, by path."""
_SEARCH = f"""search {OLD_DOMAIN} corp.example eu.corp.example branch.corp.example vpn.corp.example dc2.corp.example
options ndots:5
"""
"""Six questions before the right one, for a name with fewer than five dots; and one of today's names is answered by
the first of them."""


class Breakage(Protocol):
    """One way to break something."""

    async def make(self) -> None:
        """Break it. Raises ControlError where there is nothing to break."""

    async def mend(self) -> None:
        """Make it whole again."""


def of_host(wires: Wires, machine: PoweredMachine, host: LabHost) -> Mapping[Fault, Breakage]:
    """What a machine can be broken by."""
    ours, api = f"--source {host.address}", wires.network.api
    return {
        Fault.RESOLVER_DEAD: Lost(wires, *(f"INPUT {ours} --protocol {way} --dport 53" for way in ("udp", "tcp"))),
        Fault.API_UNREACHABLE: Lost(wires, f"FORWARD {ours} {_api_of(wires)}"),
        Fault.LEFTOVERS: Leftovers(machine.machine.disk),
        Fault.LINE_CUT: Cable(wires, host.name),
        Fault.POWER_LOST: Power(machine),
        Fault.CACHE_DOWN: CacheAddress(wires, host.name),
        Fault.WRONG_SEARCH_LIST: SearchList(machine.machine.disk / "etc/resolv.conf"),
        Fault.KUBELET_PORT_BLOCKED: Lost(
            wires, f"FORWARD --source {api} --destination {host.address} --protocol tcp --dport {KUBELET_PORT}"
        ),
    }


def of_site(wires: Wires, resolvers: Resolvers, site: str) -> Mapping[Fault, Breakage]:
    """What a site can be broken by. The operator's device is none of the devices in here: SSH passes.

    What serves a place sits in the router itself, so it is filtered on its way in, by its address.
    """
    inside, others = bridge_of(site), [(bridge_of(other), wires.site(other)) for other in wires.others(site)]
    to_cloud = f"--in-interface {inside} --out-interface {bridge_of(CLOUD)}"
    served_there = f"INPUT --in-interface {inside} --destination {wires.site(CLOUD)}"
    opened_here = "--match conntrack --ctdir ORIGINAL"
    return {
        Fault.LINE_CUT: Lost(
            wires,
            *(f"FORWARD --in-interface {inside} --out-interface {other}" for other, _ in others),
            *(f"FORWARD --in-interface {other} --out-interface {inside}" for other, _ in others),
            *(f"INPUT --in-interface {inside} --destination {there}" for _, there in others),
            *(f"INPUT --in-interface {other} --destination {wires.site(site)}" for other, _ in others),
        ),
        Fault.API_UNREACHABLE: Lost(wires, f"FORWARD {to_cloud} {_api_of(wires)}"),
        # by who has opened the connection, not by --syn: that holds for UDP and ping as well, and ends what is open
        Fault.ONE_WAY: Lost(wires, f"FORWARD {to_cloud} {opened_here}", f"{served_there} {opened_here}"),
        Fault.UDP_53_BLOCKED: Lost(
            wires, *(f"{chain} --in-interface {inside} --protocol udp --dport 53" for chain in ("FORWARD", "INPUT"))
        ),
        Fault.MTU_LOWERED: BlackHole(wires, site),
        Fault.RESOLVER_LIES: Lies(resolvers, site),
    }


def of_cloud(certificates: Certificates, noted: NotedFaults) -> Mapping[Fault, Breakage]:
    """What the cloud can be broken by. noted: what is broken already."""
    faults = (Fault.CERTIFICATE_EXPIRED, Fault.CERTIFICATE_FOREIGN)
    return {fault: WrongCertificate(certificates, fault, noted) for fault in faults}


def _api_of(wires: Wires) -> str:
    """What is sent to the API server; not answers to what the control plane has asked a kubelet."""
    return f"--destination {wires.network.api} --protocol tcp --dport {API_PORT}"


class Lost:
    """The router loses what fits a rule of iptables; `Wires.filter` says how rules are written."""

    def __init__(self, wires: Wires, *rules: str) -> None:
        self._wires, self._rules = wires, rules

    async def make(self) -> None:
        await asyncio.to_thread(self._wires.filter, self._rules, drop=True)

    async def mend(self) -> None:
        await asyncio.to_thread(self._wires.filter, self._rules, drop=False)


class BlackHole:
    """Large packets that may not be cut in pieces are lost at the router, and so is the news of it."""

    def __init__(self, wires: Wires, site: str) -> None:
        self._wires, self._site = wires, site
        self._news = Lost(wires, "OUTPUT --protocol icmp --icmp-type fragmentation-needed")

    async def make(self) -> None:
        await self._news.make()
        await asyncio.to_thread(self._wires.narrow, self._site, LOW_MTU_BYTES)

    async def mend(self) -> None:
        await asyncio.to_thread(self._wires.widen, self._site)
        await self._news.mend()


class Cable:
    """A machine's network cable is out."""

    def __init__(self, wires: Wires, name: str) -> None:
        self._wires, self._name = wires, name

    async def make(self) -> None:
        self._wires.cut(self._name)

    async def mend(self) -> None:
        self._wires.mend(self._name)


class Power:
    """A machine has no power; mending switches it on, and it boots."""

    def __init__(self, machine: PoweredMachine) -> None:
        self._machine = machine

    async def make(self) -> None:
        await self._machine.power_off()

    async def mend(self) -> None:
        self._machine.power_on()
        await self._machine.until_up()


class Lies:
    """A site's name server tells other addresses."""

    def __init__(self, resolvers: Resolvers, site: str) -> None:
        self._resolvers, self._site = resolvers, site

    async def make(self) -> None:
        await self._resolvers.lie(self._site)

    async def mend(self) -> None:
        await self._resolvers.be_honest(self._site)


class CacheAddress:
    """A node has lost the address that its DNS cache listens at; a new pod of the cache gives it back."""

    def __init__(self, wires: Wires, name: str) -> None:
        self._wires, self._name = wires, name

    async def make(self) -> None:
        if not await asyncio.to_thread(self._wires.has_address, self._name, NODE_LOCAL_DNS):
            raise ControlError(f"there is no DNS cache on {self._name}: that comes with being a node")
        await asyncio.to_thread(self._wires.take_address, self._name, NODE_LOCAL_DNS)

    async def mend(self) -> None:
        await asyncio.to_thread(self._wires.give_address, self._name, NODE_LOCAL_DNS)


class SearchList:
    """A machine's resolv.conf has a search list that it should not have."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def make(self) -> None:
        self._file.write_text(self._file.read_text() + _SEARCH)

    async def mend(self) -> None:
        self._file.write_text(self._file.read_text().replace(_SEARCH, ""))


class Leftovers:
    """Parts of an earlier cluster are on a machine's disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def make(self) -> None:
        for path, text in _LEFTOVERS.items():
            (self._root / path).parent.mkdir(parents=True, exist_ok=True)
            (self._root / path).write_text(text)

    async def mend(self) -> None:
        for path in _LEFTOVERS:
            (self._root / path).unlink(missing_ok=True)
            folder = (self._root / path).parent
            while folder != self._root and not any(folder.iterdir()) and folder.name not in ("etc", "lib"):
                folder.rmdir()
                folder = folder.parent


class WrongCertificate:
    """The cloud's https service shows a certificate that nobody should take; it may be wrong in two ways at once."""

    def __init__(self, certificates: Certificates, fault: Fault, noted: NotedFaults) -> None:
        self._certificates, self._fault, self._noted = certificates, fault, set(noted.all())

    async def make(self) -> None:
        self._certificates.show(self._noted | {self._fault})

    async def mend(self) -> None:
        self._certificates.show(self._noted - {self._fault})
