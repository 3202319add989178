"""apt's lists on a host, and which packages are installed and held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.sessions import Sessions
from poolkeeper.tasks.packages.apt.shell import error_of, program
from poolkeeper.tasks.packages.errors import ListsNotFetched, NoApt, PackageError
from poolkeeper.tasks.packages.versions import Package

UPDATE_TIMEOUT_S = 600.0

_READ = """\
have apt-get && have apt-cache && have apt-mark && have dpkg-query || { echo 'no apt'; exit; }
for name; do
  dpkg-query -W -f '${db:Status-Status} ${Version}\\n' "$name" 2>/dev/null | while read -r status version; do
    [ "$status" != installed ] || echo "installed $name $version"
  done
  apt-cache madison "$name" 2>/dev/null | while IFS='|' read -r _ version _; do
    echo "available $name" $version
  done
done
apt-mark showhold | while read -r name; do echo "held ${name%%:*}"; done
echo end
"""

_UPDATE = """\
have apt-get || { echo 'apt-get is not on the PATH of root'; exit 76; }
apt -o APT::Update::Error-Mode=any update
"""


async def update_lists(sessions: Sessions, host: Host) -> None:
    """`apt-get update`: fetches the lists, and changes nothing that is installed.

    Raises ListsNotFetched, Locked, NoApt; HostError.
    """
    result = await sessions.run(host, program(_UPDATE), timeout_s=UPDATE_TIMEOUT_S)
    if result.exit_status:
        raise error_of(result.exit_status, result.stdout, ListsNotFetched)


async def read_packages(sessions: Sessions, host: Host, names: Iterable[str]) -> Mapping[str, Package]:
    """Packages by name, by the lists as they are on the host. Changes nothing.

    Raises NoApt, PackageError; HostError.
    """
    asked = tuple(names)
    return parse_packages((await sessions.run(host, program(_READ, asked))).stdout, asked)


def parse_packages(text: str, names: Iterable[str]) -> Mapping[str, Package]:
    """The program's output. Pure. Raises NoApt, PackageError."""
    lines = text.splitlines()
    if lines[-1:] == ["no apt"]:
        raise NoApt("apt-get, apt-cache, apt-mark or dpkg-query is not on the PATH of root")
    if lines[-1:] != ["end"]:
        raise PackageError(f"the packages could not be read: {' / '.join(lines[-3:]) or 'no output'}")
    installed: dict[str, str] = {}
    available: dict[str, dict[str, None]] = {}
    held = set()
    for line in lines:
        match line.split():
            case ["installed", name, version]:
                installed.setdefault(name, version)
            case ["available", name, version]:
                available.setdefault(name, {})[version] = None
            case ["held", name]:
                held.add(name)
    return {
        name: Package(name, installed.get(name, ""), name in held, tuple(available.get(name, ()))) for name in names
    }
