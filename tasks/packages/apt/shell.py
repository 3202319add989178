"""The shell functions that call apt, and the errors that their output means."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from poolkeeper.tasks.packages.errors import LOCK_WAIT_S, Locked, NoApt, PackageError

LOCKED, NO_APT = 75, 76
"""Exit statuses: another program held the lock until the time limit; the host has no apt-get."""

APT = f"""\
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
have() {{ command -v "$1" >/dev/null 2>&1; }}
# needrestart would ask, or restart services by itself: poolkeeper restarts what has to be restarted
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
interrupted() {{ return 1; }} # called where a power cut has interrupted dpkg; an installation redefines it
unlocked=
patiently() {{ # runs a program of apt's until no other program holds its lock; {LOCKED}: the lock stayed held
  since=$(date +%s)
  again=
  while :; do
    output=$("$@" 2>&1)
    status=$?
    case $status:$output in
      0:*) break;;
      *'Could not get lock'*|*'Unable to lock'*|*'Unable to acquire the dpkg'*|*'locked by another process'*)
        [ $(($(date +%s) - since)) -lt {LOCK_WAIT_S} ] || {{ status={LOCKED}; break; }}
        sleep 3;;
      *'dpkg was interrupted'*)
        [ -z "$again" ] && interrupted || break
        again=yes;;
      *) break;;
    esac
  done
  printf '%s\\n' "$output"
  return $status
}}
apt_get() {{ apt-get -q -o DPkg::Lock::Timeout={LOCK_WAIT_S} $unlocked "$@"; }}
apt() {{ patiently apt_get "$@"; }}
exactly() {{ # apt-get for exactly these packages, each name=version
  apt -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold --no-install-recommends --no-remove \\
    --allow-change-held-packages "$@"
}}
"""
"""The shell functions that call apt; they come first in every program."""


def program(body: str, arguments: Iterable[str] = ()) -> str:
    """A whole shell program: apt's functions, its positional arguments, then `body`."""
    return f"{APT}set -- {' '.join(map(shlex.quote, arguments))}\n{body}"


def pins(versions: Mapping[str, str]) -> tuple[str, ...]:
    """`name=version` for each, as apt-get takes them."""
    return tuple(f"{name}={version}" for name, version in sorted(versions.items()))


def error_of(status: int, output: str, kind: type[PackageError]) -> PackageError:
    """The error of a program that failed; `kind` where neither a lock nor a missing apt was the cause."""
    if status == LOCKED:
        return Locked(last_errors(output))
    if status == NO_APT:
        return NoApt(output.strip()[-200:])
    return kind(last_errors(output))


def last_errors(output: str) -> str:
    """apt's error lines, else the last two lines of its output."""
    lines = [line.strip() for line in output.strip().splitlines()]
    errors = [line for line in lines if line.startswith(("E: ", "Err:"))] or lines[-2:]
    return "; ".join(errors[-3:])[:500] or "no output"
