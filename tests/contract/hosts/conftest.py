"""Hosts of a small fleet on loopback, and sessions to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncssh
import pytest

from poolkeeper.tasks.fleet.model import AckProvider, Cluster, Host, Pool, SecretRef, Site, SshAccess, SshLimits
from poolkeeper.tasks.hosts import Sessions
from poolkeeper.tasks.settings import secret_reader
from tests.contract.hosts.servers import Obliging, Seen, Server, public_line, serving, write_key

SITE = Site("fra1", ZoneInfo("Europe/Berlin"))
POOL = Pool("general", Cluster("main", AckProvider("c-1", "cn-hangzhou"), SecretRef(env="NONE"), None), "np-1")
LIMITS = SshLimits(handshakes=32, sessions=400)


class World:
    """Our key, whom we trust, and hosts made from servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.key_file = write_key(folder, "ours", self.key)
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.touch()
        self.site = SITE

    def trust(self, line: str) -> None:
        with self.known_hosts.open("a") as file:
            file.write(line)

    @asynccontextmanager
    async def server(
        self,
        behaviour: type[Obliging] = Obliging,
        *,
        trusted: bool = True,
        lets_in: bool = True,
        seen: Seen | None = None,
        **options: Any,
    ) -> AsyncIterator[Server]:
        """A server that lets our key in and whose host key we know."""
        async with serving(public_line(self.key) if lets_in else "", behaviour, seen=seen, **options) as server:
            if trusted:
                self.trust(server.known_hosts_line())
            yield server

    def host(self, port: int, name: str = "fra1-n01", *, site: Site | None = None, **more: Any) -> Host:
        """A host at a port of loopback; `more` goes to its SshAccess, `address` to itself."""
        address = more.pop("address", "127.0.0.1")
        access: dict[str, Any] = {
            "user": "ops",
            "key": SecretRef(file=self.key_file),
            "known_hosts": self.known_hosts,
            "sudo": False,
            "port": port,
            **more,
        }
        return Host(name, address, name, None, site or self.site, POOL, None, SshAccess(**access))

    def through(self, wire_port: int, server: Server) -> None:
        """Trust a server's key at the port of a wire to it."""
        self.trust(server.known_hosts_line().replace(f":{server.port} ", f":{wire_port} "))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
async def sessions() -> AsyncIterator[Sessions]:
    """Sessions with room for all."""
    async with open_sessions() as opened:
        yield opened


def open_sessions(limits: SshLimits = LIMITS) -> Sessions:
    return Sessions(limits, secret_reader())


def site_of(name: str, *, handshakes: int = 8, sessions: int = 100) -> Site:
    return replace(SITE, name=name, ssh_limits=SshLimits(handshakes, sessions))
