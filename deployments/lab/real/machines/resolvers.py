"""The sites' and the cloud's own name servers: one CoreDNS, which at each place answers from a file of that place."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message

from poolkeeper.deployments.lab.fleet_file import EXTERNAL_NAME
from poolkeeper.deployments.lab.real.machines.intranet import CLOUD_NAME, site_name
from poolkeeper.deployments.lab.real.machines.network import Wires

EXTERNAL_ADDRESS = "203.0.113.10"
"""What the external name resolves to: TEST-NET-3 of RFC 5737, which nothing answers at."""
_LIES = "203.0.113.44"
OLD_DOMAIN = "old.lab"
"""A domain that no search list should have any more: below it there is a name of today, with another address."""
_OLD_ADDRESS = "203.0.113.66"
_TTL_S = 5
"""Short, so that caches soon tell what is true now."""
_TOLD_WITHIN_S = 10.0


class Resolvers:
    """What is answered where.

    folder: gets the server's configuration and a file of names a place
    names: what every place answers, name -> address
    """

    def __init__(self, folder: Path, wires: Wires, names: Mapping[str, str]) -> None:
        self._wires, self._folder = wires, folder
        folder.mkdir()
        decoy = {f"{CLOUD_NAME}.{OLD_DOMAIN}": _OLD_ADDRESS}
        self._names = {**names, EXTERNAL_NAME: EXTERNAL_ADDRESS, **decoy}
        self.corefile = folder / "Corefile"
        self.corefile.write_text("".join(self._block(place) for place in wires.places))
        for place in wires.places:
            self._write(place, self._names)

    def _block(self, place: str) -> str:
        # of what is not in its file the `hosts` plugin says SERVFAIL; a resolver knows that nothing is below `invalid`
        return (
            f".:53 {{\n  bind {self._wires.resolver(place)}\n  template ANY ANY invalid {{\n    rcode NXDOMAIN\n  }}\n"
            f"  hosts {self._file(place)} {{\n    reload 100ms\n    ttl {_TTL_S}\n  }}\n  errors\n}}\n"
        )

    def _file(self, place: str) -> Path:
        return self._folder / f"{place}.hosts"

    def _write(self, place: str, names: Mapping[str, str]) -> None:
        partial = self._file(place).with_suffix(".new")
        partial.write_text("".join(f"{address} {name}\n" for name, address in names.items()))
        partial.rename(self._file(place))

    async def lie(self, place: str) -> None:
        """Tell other addresses of an external name and of the site's own service, from now on. Raises TimeoutError."""
        self._write(place, {**self._names, EXTERNAL_NAME: _LIES, site_name(place): _LIES})
        await self._until_told(place, _LIES)

    async def be_honest(self, place: str) -> None:
        """Tell what everyone else does. Raises TimeoutError."""
        self._write(place, self._names)
        await self._until_told(place, EXTERNAL_ADDRESS)

    async def _until_told(self, place: str, address: str) -> None:
        async with asyncio.timeout(_TOLD_WITHIN_S):
            while not await self._tells(place, address):  # noqa: ASYNC110 - a server that has read a file tells nobody
                await asyncio.sleep(0.05)

    async def _tells(self, place: str, address: str) -> bool:
        query = dns.message.make_query(EXTERNAL_NAME, "A")
        try:
            answer = await dns.asyncquery.udp(query, self._wires.resolver(place), timeout=1)
        except (OSError, dns.exception.DNSException):
            return False
        return [row.to_text() for rows in answer.answer for row in rows] == [address]
