"""The machines' network: one bridge a site, joined by a router, and a line to it for the operator.

Sites, router and machines are network namespaces, so that routes, filters and link states are those of a real
network and end at its edge: nothing is routed to or from anywhere else. Pods have addresses that the router has
routes to, as in an underlay network. Of the machine that it runs on only one device and one route are seen.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from poolkeeper.deployments.lab.layout import CLOUD, SITES, Network

ROUTER, CONTROL_PLANE = "router", "control-plane"
_OPERATOR = "operator"
_PLACES = (CLOUD, *SITES)
_NAMESPACES = Path("/run/netns")
"""Where iproute2 keeps the names of network namespaces."""
_OCTETS = range(64, 248)
"""X of the 10.X.0.0/16 that a lab may take."""


class NetworkRefused(Exception):
    """The kernel did not do it; the message has its words."""


class Wires:
    """The network of one lab; made by `claim`, and gone with the mount namespace of its process and `unplug`."""

    def __init__(self, octet: int, lab: str) -> None:
        self.lab = lab
        self.network = Network(octet, first=10)
        self.device = device_of(octet)

    @property
    def range(self) -> IPv4Network:
        """All addresses of the lab."""
        return IPv4Network(f"10.{self.network.octet}.0.0/16")

    @classmethod
    def claim(cls, lab: str) -> Wires:
        """Take a free range and build router and bridges on it. Raises NetworkRefused.

        To be called in a mount namespace of our own: names of namespaces are then ours alone, and go with it.
        """
        _NAMESPACES.mkdir(exist_ok=True)
        _run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(_NAMESPACES)])
        used = _used()
        for octet in secrets.SystemRandom().sample(_OCTETS, len(_OCTETS)):
            wires = cls(octet, lab)
            if not any(wires.range.overlaps(network) for network in used) and wires._take():
                wires._build()
                return wires
        raise NetworkRefused("every range 10.X.0.0/16 that the lab may take is in use on this machine")

    def _take(self) -> bool:
        """Make the operator's device; its name is the claim, and only one can have it."""
        _ip(f"netns add {ROUTER}")
        made = _tried(["ip", "link", "add", self.device, "type", "veth", "peer", "name", _OPERATOR, "netns", ROUTER])
        if not made:
            _ip(f"netns delete {ROUTER}")
        return made

    def _build(self) -> None:
        near, far = self.network.address(255, 1), self.network.address(255, 2)
        _ip(f"link set {self.device} alias {self.lab}")
        _ip(f"addr add {near}/30 dev {self.device}", f"link set {self.device} up", f"route add {self.range} via {far}")
        _ip("link set lo up", f"addr add {far}/30 dev {_OPERATOR}", f"link set {_OPERATOR} up", inside=ROUTER)
        for place in _PLACES:
            bridge, site = bridge_of(place), self.site(place)
            _ip(
                f"link add {bridge} type bridge",
                f"addr add {self.gateway(place)}/{site.prefixlen} dev {bridge}",
                f"addr add {self.resolver(place)}/{site.prefixlen} dev {bridge}",
                f"link set {bridge} up",
                inside=ROUTER,
            )
        _forward(ROUTER)
        # drops nothing; for as long as it is there, the router knows of each connection who has opened it
        words = ["iptables", "--wait", "--append", "FORWARD", "--match", "conntrack", "--ctstate", "NEW"]
        _run([*entering(ROUTER), *words])
        self.attach(CONTROL_PLANE, CLOUD, self.network.api)

    def site(self, place: str) -> IPv4Network:
        """Addresses of a site, or of the cloud."""
        return IPv4Network(f"{self.network.address(0, 0)}/24") if place == CLOUD else self.network.site_cidr(place)

    def gateway(self, place: str) -> str:
        """The router's address there."""
        return str(self.site(place).network_address + 254)

    def resolver(self, place: str) -> str:
        """Where the name server of a site listens."""
        return str(self.site(place).network_address + 53)

    def attach(self, name: str, place: str, address: str, pods: str | None = None) -> None:
        """Give a machine its namespace, its one device `eth0`, a default route, and the way to its pods."""
        site = self.site(place)
        _ip(f"netns add {name}", f"link add {port_of(name)} netns {ROUTER} type veth peer name eth0 netns {name}")
        _ip(f"link set {port_of(name)} master {bridge_of(place)}", f"link set {port_of(name)} up", inside=ROUTER)
        _ip(
            "link set lo up",
            f"addr add {address}/{site.prefixlen} dev eth0",
            "link set eth0 up",
            f"route add default via {self.gateway(place)}",
            inside=name,
        )
        _forward(name)
        if pods is not None:
            _ip(f"route add {pods} via {address}", inside=ROUTER)

    @property
    def places(self) -> tuple[str, ...]:
        """The cloud and every site."""
        return _PLACES

    def serve_at(self, place: str, address: str) -> None:
        """Give the router one more address at a site, for what is served there."""
        _ip(f"addr add {address}/{self.site(place).prefixlen} dev {bridge_of(place)}", inside=ROUTER)

    def cut(self, name: str) -> None:
        """Pull a machine's cable."""
        _ip(f"link set {port_of(name)} down", inside=ROUTER)

    def mend(self, name: str) -> None:
        """Plug it in again."""
        _ip(f"link set {port_of(name)} up", inside=ROUTER)

    def others(self, place: str) -> tuple[str, ...]:
        """Every other site, and the cloud where it is not that."""
        return tuple(other for other in _PLACES if other != place)

    def filter(self, rules: Sequence[str], *, drop: bool) -> None:
        """Have the router lose what fits any of these rules of iptables, or no longer; all of them at once.

        rules: each begins with its chain, and says neither what to do with it nor what to jump to
        """
        change = "--insert" if drop else "--delete"
        lines = "".join(f"{change} {rule} --jump DROP\n" for rule in rules)
        _run([*entering(ROUTER), "iptables-restore", "--wait", "--noflush"], f"*filter\n{lines}COMMIT\n")

    def narrow(self, place: str, mtu_bytes: int) -> None:
        """Give what is routed between a site and anywhere else an MTU; not the operator's packets.

        By routes of its own, because those are asked of each packet as it will be on the wire: a rule that compares
        lengths would see what the kernel has put together of many.
        """
        bridge, out, back = bridge_of(place), *_tables(place)
        lines = []
        for route in _json("-4", "route", "show", inside=ROUTER):
            if route["dev"] != _OPERATOR:
                via = f"via {route['gateway']}" if "gateway" in route else ""
                table = back if route["dev"] == bridge else out
                lines.append(f"route add {route['dst']} {via} dev {route['dev']} mtu {mtu_bytes} table {table}")
        lines += [f"rule add iif {bridge} lookup {out}"]
        lines += [f"rule add iif {bridge_of(other)} lookup {back}" for other in self.others(place)]
        _ip(*lines, inside=ROUTER)

    def widen(self, place: str) -> None:
        """Take that back."""
        out, back = _tables(place)
        lines = [f"rule delete iif {bridge_of(place)} lookup {out}"]
        lines += [f"rule delete iif {bridge_of(other)} lookup {back}" for other in self.others(place)]
        _ip(*lines, *(f"route flush table {table}" for table in (out, back)), inside=ROUTER)

    def has_address(self, name: str, address: str) -> bool:
        """Whether a machine has an address that is for itself alone."""
        links = _json("-4", "addr", "show", "dev", "lo", inside=name)
        return any(found["local"] == address for link in links for found in link.get("addr_info", ()))

    def give_address(self, name: str, address: str) -> None:
        """Give a machine an address for itself alone."""
        _ip(f"addr replace {address}/32 dev lo", inside=name)

    def take_address(self, name: str, address: str) -> None:
        """Take it away."""
        _ip(f"addr delete {address}/32 dev lo", inside=name)


def device_of(octet: int) -> str:
    """The operator's device of a lab."""
    return f"poolkeeper{octet}"


def bridge_of(place: str) -> str:
    return f"br-{place}"


def _tables(place: str) -> tuple[int, int]:
    """Tables of routes for what comes from a site, and for what goes there."""
    first = 100 + 2 * _PLACES.index(place)
    return first, first + 1


def port_of(name: str) -> str:
    """The router's end of a machine's cable; names of devices have at most 15 characters."""
    return f"p-{name}"


def entering(name: str) -> list[str]:
    """The beginning of a command that runs in a machine's network."""
    return ["nsenter", f"--net={_NAMESPACES / name}", "--"]


def unplug(octet: int, lab: str) -> None:
    """Remove the operator's device and with it the route; namespaces are gone with who had them open.

    One of that name that is another lab's stays. Raises NetworkRefused.
    """
    if _is_ours(octet, lab) and not _tried(["ip", "link", "delete", device_of(octet)]) and _is_ours(octet, lab):
        raise NetworkRefused(
            f"the device {device_of(octet)} cannot be removed: try `ip link delete {device_of(octet)}`"
        )


def _is_ours(octet: int, lab: str) -> bool:
    links = _json("link", "show")  # the kernel may be removing it at this very moment, with its other end
    return any(link["ifname"] == device_of(octet) and link.get("ifalias") == lab for link in links)


def _used() -> list[IPv4Network]:
    """What this machine has addresses in or routes to already."""
    routes = [route["dst"] for route in _json("-4", "route", "show", "table", "all") if route["dst"] != "default"]
    return [IPv4Network(destination, strict=False) for destination in routes]


def _forward(namespace: str) -> None:
    _run([*entering(namespace), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])


def _ip(*lines: str, inside: str | None = None) -> None:
    """Carry out lines of iproute2 in order, in a namespace. Raises NetworkRefused."""
    where = entering(inside) if inside else []
    _run([*where, "ip", "-batch", "-"], "\n".join(lines) + "\n")


def _json(*words: str, inside: str | None = None) -> list[dict[str, Any]]:
    where = entering(inside) if inside else []
    told: list[dict[str, Any]] = json.loads(_run([*where, "ip", "-json", *words]) or "[]")
    return told


def _tried(command: Sequence[str]) -> bool:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30).returncode == 0


def _run(command: Sequence[str], text: str = "") -> str:
    told = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30)
    if told.returncode != 0:
        raise NetworkRefused(f"`{' '.join(command)}`: {told.stderr.strip() or told.returncode} ({text.strip()})")
    return told.stdout
