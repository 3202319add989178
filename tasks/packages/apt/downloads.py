"""What an installation needs, and fetching it ahead."""

from __future__ import annotations

from collections.abc import Mapping

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.sessions import Sessions
from poolkeeper.tasks.hosts.units import UnitRun, forget_unit, start_unit, wait_unit
from poolkeeper.tasks.outcomes import Secret
from poolkeeper.tasks.packages.apt.shell import error_of, pins, program
from poolkeeper.tasks.packages.errors import LOCK_WAIT_S, NotDownloaded, NotResolved, PackageError
from poolkeeper.tasks.packages.space import FileSystem, Need

DOWNLOAD_UNIT = "poolkeeper-download"

_NEED = """\
space() { # of the nearest existing folder
  at=$1
  while [ ! -d "${POOLKEEPER_ROOT-}$at" ] && [ -n "$at" ]; do at=${at%/*}; done
  df -P -k "${POOLKEEPER_ROOT-}${at:-/}" | while read -r _ size _ free _ mount; do
    case $size in *[!0-9]*) ;; *) echo "space $2 $size $free $mount";; esac
  done
}
space /var/cache/apt/archives archives
space /usr programs
[ $# -gt 0 ] || { echo end; exit; }
have apt-get || { echo 'apt-get is not on the PATH of root'; exit 76; }
exactly --print-uris install "$@" || exit
echo end
"""

# fetching must not finish an interrupted dpkg, which may restart services. Without the lock apt does not look for one
_DOWNLOAD = """\
interrupted() { unlocked='-o Debug::NoLocking=true'; }
exactly --download-only install "$@"
"""


async def read_need(sessions: Sessions, host: Host, versions: Mapping[str, str]) -> Need:
    """What installing these versions needs, by the lists as they are on the host. Changes nothing.

    Raises NotResolved, Locked, NoApt; HostError.
    """
    result = await sessions.run(host, program(_NEED, pins(versions)), timeout_s=LOCK_WAIT_S + 60)
    if result.exit_status:
        raise error_of(result.exit_status, result.stdout, NotResolved)
    return parse_need(result.stdout)


def parse_need(text: str) -> Need:
    """The program's output: its `space` lines, and apt's `'URI' file size hash`. Pure. Raises PackageError."""
    spaces: dict[str, FileSystem] = {}
    download_bytes = 0
    lines = text.splitlines()
    for line in lines:
        match line.split():
            case ["space", name, size, free, *mount] if size.isdecimal() and free.isdecimal():
                spaces.setdefault(name, FileSystem(" ".join(mount), int(size) * 1024, int(free) * 1024))
            case [uri, _, size, *_] if uri.startswith("'") and size.isdecimal():
                download_bytes += int(size)
    if lines[-1:] != ["end"] or spaces.keys() != {"archives", "programs"}:
        raise PackageError(
            "the free space could not be read",
            next_step="Run `df /usr /var/cache/apt` on the host; a dead mount makes it hang.",
        )
    return Need(download_bytes, spaces["archives"], spaces["programs"])


async def download(sessions: Sessions, host: Host, versions: Mapping[str, str], *, timeout_s: float) -> None:
    """Fetch packages into apt's archives, so that their installation needs no mirror. Installs nothing.

    Raises NotDownloaded, Locked; HostError.
    """
    await forget_unit(sessions, host, DOWNLOAD_UNIT)  # of an earlier run: ending it loses nothing
    script = Secret(program(_DOWNLOAD, pins(versions)), secret_words=())
    await start_unit(sessions, host, DOWNLOAD_UNIT, script, timeout_s=timeout_s)
    try:
        ended = await wait_unit(sessions, host, DOWNLOAD_UNIT, timeout_s=timeout_s)
    except TimeoutError:
        await forget_unit(sessions, host, DOWNLOAD_UNIT)
        raise NotDownloaded(f"they were not fetched within {timeout_s:.0f} s") from None
    await forget_unit(sessions, host, DOWNLOAD_UNIT)
    if ended.state is not UnitRun.SUCCEEDED:
        raise error_of(ended.exit_status or -1, ended.output, NotDownloaded)
