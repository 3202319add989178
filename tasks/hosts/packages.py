"""Debian packages of a host, through apt: what is installed, what there is, fetching ahead, installing exact versions.

Programs are POSIX shell; names and versions go in quoted. Locks that other tools hold are waited for: apt itself waits
for dpkg's (`DPkg::Lock::Timeout`), not for those of its lists and archives, and apt-mark for none.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.fleet.versions import same_version
from poolkeeper.tasks.hosts.errors import HostError
from poolkeeper.tasks.hosts.sessions import Sessions
from poolkeeper.tasks.hosts.units import UnitRun, forget_unit, start_unit, wait_unit
from poolkeeper.tasks.outcomes import Secret

LOCK_WAIT_S = 300
"""How long others' locks are waited for: an unattended upgrade takes minutes."""
UPDATE_TIMEOUT_S = 600.0
DOWNLOAD_UNIT = "poolkeeper-download"
UNPACKED = 5
"""Room that a package takes, by its size as it is fetched: Go programs pack to about a quarter."""
SPARE_BYTES = 512 * 1024**2
"""What has to be free afterwards, so that logs and images still have room."""

_LOCKED = 75


class PackageError(HostError):
    """What keeps packages from being fetched or installed; a person has to mend it on the host or its mirror."""

    id = "hosts.packages.failed"
    expected = "apt does as it is told"
    next_step = "Run the same on the host by hand: `apt-get update`, then `apt-get --simulate install NAME=VERSION`."


class NoApt(PackageError):
    """Packages of this host are not apt's."""

    id = "hosts.packages.no-apt"
    expected = "apt-get, apt-cache and dpkg-query"
    next_step = "Upgrade this host by its own package manager, by hand; poolkeeper speaks to apt only."


class ListsNotFetched(PackageError):
    """The host's sources did not answer, so that what they have is not known."""

    id = "hosts.packages.lists"
    expected = "`apt-get update` fetches the lists of every source"
    next_step = "Mend the mirror, the way to it or the sources that it names (/etc/apt), then start again."


class Locked(PackageError):
    """Another tool keeps apt's or dpkg's lock."""

    id = "hosts.packages.locked"
    expected = f"apt's locks are free within {LOCK_WAIT_S} s"
    next_step = "See who has them: `fuser -v /var/lib/dpkg/lock-frontend /var/lib/apt/lists/lock`; wait for its end."


class NotResolved(PackageError):
    """apt cannot put together what is asked for."""

    id = "hosts.packages.unresolved"
    expected = "apt can install exactly these versions without removing anything"
    next_step = "Run `apt-get --simulate install NAME=VERSION` on the host, and mend what it names."


class NotDownloaded(PackageError):
    """The packages could not be fetched."""

    id = "hosts.packages.download"
    expected = "the packages are in apt's archives on the host"
    next_step = "Mend the mirror or the way to it, or make room below /var/cache/apt, then start again."


@dataclass(frozen=True, slots=True)
class Package:
    """A package on a host."""

    name: str
    installed: str
    """Version; empty: it is not installed."""
    held: bool
    """`apt-mark hold`: by a person, or by our join."""
    available: tuple[str, ...]
    """Versions of its sources by the lists as they are, the newest first."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """Where packages take room."""

    mount: str
    size_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Need:
    """What an installation needs, and what there is."""

    download_bytes: int
    """Still to be fetched."""
    archives: FileSystem
    """Of /var/cache/apt/archives."""
    programs: FileSystem
    """Of /usr."""


APT = f"""\
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
have() {{ command -v "$1" >/dev/null 2>&1; }}
# needrestart asks, or restarts what it likes: what is to be restarted, we restart
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
interrupted() {{ return 1; }} # what to do where a power cut has interrupted dpkg: nothing, unless it says so below
unlocked=
patiently() {{ # a program of apt's, once whoever has a lock lets it; {_LOCKED}: nobody did
  since=$(date +%s)
  again=
  while :; do
    words=$("$@" 2>&1)
    status=$?
    case $status:$words in
      0:*) break;;
      *'Could not get lock'*|*'Unable to lock'*|*'Unable to acquire the dpkg'*|*'locked by another process'*)
        [ $(($(date +%s) - since)) -lt {LOCK_WAIT_S} ] || {{ status={_LOCKED}; break; }}
        sleep 3;;
      *'dpkg was interrupted'*)
        [ -z "$again" ] && interrupted || break
        again=yes;;
      *) break;;
    esac
  done
  printf '%s\\n' "$words"
  return $status
}}
apt_get() {{ apt-get -q -o DPkg::Lock::Timeout={LOCK_WAIT_S} $unlocked "$@"; }}
apt() {{ patiently apt_get "$@"; }}
exactly() {{ # apt-get for those packages, each name=version, and nothing else
  apt -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold --no-install-recommends --no-remove \\
    --allow-change-held-packages "$@"
}}
"""
"""What a program begins with that speaks to apt."""

INSTALL = """\
interrupted() { # it is finished first, which may restart services: who installs has a host that is drained, or no node
  dpkg --force-confdef --force-confold --configure -a >/dev/null 2>&1
  return 0
}
held=${POOLKEEPER_ROOT-}/var/lib/poolkeeper/held
hold_later() { # packages by name: noted on disk, so that it outlives this program
  (umask 077; mkdir -p "${held%/*}" && printf '%s\\n' "$@" >> "$held")
}
hold_again() { # what was noted, were it by a program that was killed; but for what is not installed after all
  [ -e "$held" ] || return 0
  set --
  while read -r each; do
    case $(dpkg-query -W -f '${db:Status-Status}' "$each" 2>/dev/null) in installed) set -- "$@" "$each";; esac
  done < "$held"
  if [ $# -gt 0 ]; then
    told=$(patiently apt-mark hold "$@" < /dev/null) || { failed=$?; printf '%s\\n' "$told" >&2; return $failed; }
  fi
  rm -f "$held"
}
install_exactly() { # name=version...: all in one transaction; holds are afterwards what they were before
  for each in $(apt-mark showhold); do # apt forgets the hold of what it changes
    case " $* " in *" $each="*) hold_later "$each" || return 1;; esac
  done
  exactly install "$@"
  status=$?
  hold_again || status=1
  return $status
}
"""

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
have apt-get || { echo 'there is no apt-get on its PATH'; exit 76; }
apt -o APT::Update::Error-Mode=any update
"""

_NEED = """\
room() { # of the nearest folder that is there
  at=$1
  while [ ! -d "${POOLKEEPER_ROOT-}$at" ] && [ -n "$at" ]; do at=${at%/*}; done
  df -P -k "${POOLKEEPER_ROOT-}${at:-/}" | while read -r _ size _ free _ mount; do
    case $size in *[!0-9]*) ;; *) echo "room $2 $size $free $mount";; esac
  done
}
room /var/cache/apt/archives archives
room /usr programs
[ $# -gt 0 ] || { echo end; exit; }
have apt-get || { echo 'there is no apt-get on its PATH'; exit 76; }
exactly --print-uris install "$@" || exit
echo end
"""

# finishing what was interrupted may restart services. apt looks for it as it takes dpkg's lock, and fetching needs none
_DOWNLOAD = """\
interrupted() { unlocked='-o Debug::NoLocking=true'; }
exactly --download-only install "$@"
"""


def _program(body: str, words: Iterable[str]) -> str:
    return f"{APT}set -- {' '.join(map(shlex.quote, words))}\n{body}"


def pins(versions: Mapping[str, str]) -> tuple[str, ...]:
    """`name=version` for each, as apt-get takes them."""
    return tuple(f"{name}={version}" for name, version in sorted(versions.items()))


async def update_lists(sessions: Sessions, host: Host) -> None:
    """`apt-get update`, which changes what apt knows and nothing that is installed.

    Raises ListsNotFetched, Locked, NoApt; HostError.
    """
    result = await sessions.run(host, _program(_UPDATE, ()), timeout_s=UPDATE_TIMEOUT_S)
    if result.exit_status:
        raise _error(result.exit_status, result.stdout, ListsNotFetched)


async def read_packages(sessions: Sessions, host: Host, names: Iterable[str]) -> Mapping[str, Package]:
    """Packages by name, by the lists that the host has. Changes nothing. Raises NoApt; HostError."""
    asked = tuple(names)
    return parse_packages((await sessions.run(host, _program(_READ, asked))).stdout, asked)


def parse_packages(text: str, names: Iterable[str]) -> Mapping[str, Package]:
    """What the host answered. Pure. Raises NoApt, PackageError."""
    lines = text.splitlines()
    if lines[-1:] == ["no apt"]:
        raise NoApt("one of apt-get, apt-cache, apt-mark and dpkg-query is not there")
    if lines[-1:] != ["end"]:
        raise PackageError(f"its packages could not be read: {' / '.join(lines[-3:]) or 'no answer'}")
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


def newest(package: Package, wanted: str) -> str | None:
    """The newest available version of a package that is a wanted one; None: there is none.

    wanted: `1.36` or `v1.36.3`
    """
    return next((version for version in package.available if same_version(_upstream(version), wanted)), None)


def _upstream(version: str) -> str:
    """A package's version without its epoch."""
    return version.partition(":")[2] or version


async def read_need(sessions: Sessions, host: Host, versions: Mapping[str, str]) -> Need:
    """What installing these versions would take, by the lists that the host has. Changes nothing.

    Raises NotResolved, Locked, NoApt; HostError.
    """
    result = await sessions.run(host, _program(_NEED, pins(versions)), timeout_s=LOCK_WAIT_S + 60)
    if result.exit_status:
        raise _error(result.exit_status, result.stdout, NotResolved)
    return parse_need(result.stdout)


def parse_need(text: str) -> Need:
    """What the host answered: `room` lines of ours and apt's `'URI' file size hash`. Pure. Raises PackageError."""
    rooms: dict[str, FileSystem] = {}
    download_bytes = 0
    lines = text.splitlines()
    for line in lines:
        match line.split():
            case ["room", name, size, free, *mount] if size.isdecimal() and free.isdecimal():
                rooms.setdefault(name, FileSystem(" ".join(mount), int(size) * 1024, int(free) * 1024))
            case [uri, _, size, *_] if uri.startswith("'") and size.isdecimal():
                download_bytes += int(size)
    if lines[-1:] != ["end"] or rooms.keys() != {"archives", "programs"}:
        raise PackageError(
            "its free space could not be read",
            next_step="Run `df /usr /var/cache/apt` on the host: a dead mount hangs it.",
        )
    return Need(download_bytes, rooms["archives"], rooms["programs"])


def no_room(need: Need, *, min_free_share: float = 0.0) -> str:
    """Why there is no room, as a clause; empty: there is. Pure.

    min_free_share: of each file system, that has to be free afterwards
    """
    wanted: dict[str, int] = {}
    mounts = {at.mount: at for at in (need.archives, need.programs)}
    wanted[need.archives.mount] = need.download_bytes
    wanted[need.programs.mount] = wanted.get(need.programs.mount, 0) + need.download_bytes * UNPACKED
    for mount, taken in wanted.items():
        at = mounts[mount]
        least = max(SPARE_BYTES, int(at.size_bytes * min_free_share))
        if at.free_bytes - taken < least:
            return (
                f"{_mib(at.free_bytes)} of {_mib(at.size_bytes)} are free on {mount}, where {_mib(taken)} are taken"
                f" and {_mib(least)} have to stay free"
            )
    return ""


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.0f} MiB"


async def download(sessions: Sessions, host: Host, versions: Mapping[str, str], *, timeout_s: float) -> None:
    """Fetch packages into apt's archives, so that installing them needs no mirror. Installs nothing.

    Raises NotDownloaded, Locked; HostError.
    """
    await forget_unit(sessions, host, DOWNLOAD_UNIT)  # of an earlier run: cutting it off costs nothing
    script = Secret(_program(_DOWNLOAD, pins(versions)), secret_words=())
    await start_unit(sessions, host, DOWNLOAD_UNIT, script, timeout_s=timeout_s)
    try:
        ended = await wait_unit(sessions, host, DOWNLOAD_UNIT, timeout_s=timeout_s)
    except TimeoutError:
        await forget_unit(sessions, host, DOWNLOAD_UNIT)
        raise NotDownloaded(f"they were not there after {timeout_s:.0f} s") from None
    await forget_unit(sessions, host, DOWNLOAD_UNIT)
    if ended.state is not UnitRun.SUCCEEDED:
        raise _error(ended.exit_status or -1, ended.output, NotDownloaded)


async def hold_again(sessions: Sessions, host: Host) -> None:
    """Hold what an installation that was cut off had let go of, if one was. Raises Locked, PackageError; HostError."""
    result = await sessions.run(host, f"{APT}{INSTALL}hold_again", timeout_s=LOCK_WAIT_S + 60)
    if result.exit_status == _LOCKED:
        raise Locked(result.stderr.strip().partition("\n")[0][:200])
    if result.exit_status:
        raise PackageError(
            f"apt-mark could not hold what was held before: {result.stderr.strip()[-200:] or 'it said nothing'}",
            next_step="On the host, `apt-mark hold` each name in /var/lib/poolkeeper/held; then remove that file.",
        )


def _error(status: int, output: str, kind: type[PackageError]) -> PackageError:
    if status == _LOCKED:
        return Locked(last_errors(output))
    if status == 76:
        return NoApt(output.strip()[-200:])
    return kind(last_errors(output))


def last_errors(output: str) -> str:
    """apt's own errors, else its last words."""
    lines = [line.strip() for line in output.strip().splitlines()]
    told = [line for line in lines if line.startswith(("E: ", "Err:"))] or lines[-2:]
    return "; ".join(told[-3:])[:500] or "it said nothing"
