"""Which run may change a host: the host keeps the greatest fencing token it was shown. And which rollout changed it.

Kubernetes does not check fencing tokens, so a run that has lost its lease may still be about to act. Each holder of a
lease has a greater token than all holders before. The invariant: the token in `/var/lib/poolkeeper/fencing-token` on a
host only grows, and the host refuses a run with a smaller one.

Before a rollout's first change, its id and the token of its intent are written to `/var/lib/poolkeeper/rollout`. If
they are not there, that rollout has changed nothing on the host, whatever the Node's annotations say.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.errors import HostError
from poolkeeper.tasks.hosts.sessions import Sessions
from poolkeeper.tasks.outcomes import Known, Observed, Unknown

LOCK_WAIT_S = 10
"""How long another comparison on the host is waited for, in seconds; one takes milliseconds."""
_FENCED, _BUSY, _UNREADABLE = 20, 21, 22


@dataclass(frozen=True, slots=True)
class HostIntent:
    """The rollout that a host is changed for, as it is written on the host."""

    rollout: str
    """Twelve hexadecimal digits: the rollout's id."""
    token: str
    """Sixteen hexadecimal digits, different for each intent."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What a run shows to a host before it changes the host."""

    fencing_token: int
    """1 or more; a later holder of the lease has a greater one."""
    intent: HostIntent


class FencedOff(HostError):
    """A later run works on this host: nothing was done, and this run must do nothing more there."""

    id = "hosts.fencing-token.fenced"
    expected = "no later run has worked on the host"
    next_step = "Let the later run continue; this run has lost its lease and must not change the host any more."


_COMPARE = """\
umask 077
home="${POOLKEEPER_ROOT-}/var/lib/poolkeeper"
file=$home/fencing-token
own=%(own)s
intent=%(intent)s
mkdir -p "$home" || exit 1
born() { read -r stat < "/proc/$1/stat" && set -- ${stat##*)} && [ "$1" != Z ] && echo "${20}"; } 2>/dev/null
pause() { sleep 0.1 2>/dev/null || sleep 1; }
compare() {
  theirs=0
  if [ -e "$file" ]; then
    read -r theirs < "$file" || theirs=
    # leading zeros would be octal, and a number too long for the shell would compare as an error
    case $theirs in 0) ;; ''|*[!0-9]*|0*|???????????????????*) echo "$theirs" >&2; return %(unreadable)d;; esac
  fi
  if [ "$theirs" -gt "$own" ]; then echo "$theirs" >&2; return %(fenced)d; fi
  [ "$theirs" -eq "$own" ] || put "$own" "$file" || return 1
  there=
  if [ -e "$home/rollout" ]; then read -r there < "$home/rollout" || [ -n "$there" ] || there=unreadable; fi
  if [ -z "$intent" ]; then printf '%%.200s\\n' "$there"; return; fi
  [ "$there" = "$intent" ] || put "$intent" "$home/rollout"
}
put() { echo "$1" > "$2.$$" && mv "$2.$$" "$2" || { rm -f "$2.$$"; return 1; }; }
if command -v flock >/dev/null 2>&1; then
  exec 9>> "$file.lock" || exit 1
  flock -w %(wait_s)d 9 || exit %(busy)d
  compare
  exit
fi
# without flock: a file that only one process can make. It names that process, so that a dead one's is removed
lock=$file.held
mine=$file.%(mark)s
echo "$$ $(born $$)" > "$mine" || exit 1
trap 'rm -f "$mine"' EXIT
trap 'exit 129' HUP
trap 'exit 143' TERM
i=0
# only one of them can make the hard link, and it appears with its content
until ln "$mine" "$lock" 2>/dev/null; do
  if read -r pid since < "$lock" && [ "$(born "$pid")" != "$since" ]; then
    # only one of them can move it aside; if another process has made a new one meanwhile, that is put back
    if mv "$lock" "$mine.dead" 2>/dev/null; then
      read -r again now < "$mine.dead"
      [ "$again $now" = "$pid $since" ] || ln "$mine.dead" "$lock" 2>/dev/null
      rm -f "$mine.dead"
      continue
    fi
  fi 2>/dev/null
  [ $i -lt %(rounds)d ] || exit %(busy)d
  i=$((i + 1))
  pause
done
trap 'rm -f "$mine" "$lock"' EXIT
compare
exit
"""


_READ_INTENT = """\
file="${POOLKEEPER_ROOT-}/var/lib/poolkeeper/rollout"
[ -e "$file" ] || exit 0
read -r there < "$file" || [ -n "$there" ] || exit 1
printf '%.200s\\n' "$there"
"""

_FORGET_INTENT = """\
file="${POOLKEEPER_ROOT-}/var/lib/poolkeeper/rollout"
[ -e "$file" ] || exit 0
read -r there _ < "$file" && [ "$there" != '%(rollout)s' ] && exit 0
rm -f "$file"
"""
_INTENT = re.compile(r"([0-9a-f]{12}) ([0-9a-f]{16})")


async def read_intent(sessions: Sessions, host: Host) -> Observed[HostIntent | None]:
    """The rollout that has changed the host and has not finished; None: there is none. Raises HostError."""
    result = await sessions.run(host, _READ_INTENT, timeout_s=30)
    if result.exit_status != 0:
        reason = f"/var/lib/poolkeeper/rollout cannot be read on the host: exit status {result.exit_status}"
        return Unknown(reason, datetime.now(UTC))
    return _parse_intent(result.stdout)


def _parse_intent(text: str) -> Observed[HostIntent | None]:
    text, now = text.strip(), datetime.now(UTC)
    if not text:
        return Known(None, now)
    if (found := _INTENT.fullmatch(text)) is None:
        return Unknown("/var/lib/poolkeeper/rollout on the host does not name a rollout and a token", now)
    return Known(HostIntent(found[1], found[2]), now)


async def forget_intent(sessions: Sessions, host: Host, rollout: str) -> None:
    """Remove that rollout's intent from the host; another rollout's stays. Raises HostError."""
    program = _FORGET_INTENT % {"rollout": rollout}
    result = await sessions.run(host, program, timeout_s=30)
    if result.exit_status != 0:
        raise HostError(
            f"/var/lib/poolkeeper/rollout cannot be removed: {result.stderr.strip()[-200:]}",
            next_step="Check /var/lib/poolkeeper on the host, and the free space below /var.",
        )


async def fence_earlier_runs(sessions: Sessions, host: Host, fencing_token: int) -> Observed[HostIntent | None]:
    """Show a host this run's token: from now on no earlier run starts anything there. Returns the host's intent.

    Raises FencedOff, and HostError where the tokens cannot be compared.
    """
    return _parse_intent(await _show(sessions, host, fencing_token, ""))


async def write_fence(sessions: Sessions, host: Host, fence: Fence) -> None:
    """Write this run's token and intent on a host, unless the host has a greater token. May be called again.

    Raises FencedOff, and HostError where the tokens cannot be compared.
    """
    intent = f"{fence.intent.rollout} {fence.intent.token}"
    if not _INTENT.fullmatch(intent):
        raise ValueError(f"not a fence: {fence}")
    await _show(sessions, host, fence.fencing_token, intent)


async def _show(sessions: Sessions, host: Host, fencing_token: int, intent: str) -> str:
    """The host's intent, where `intent` is empty and none is written."""
    if not 1 <= fencing_token < 10**18:
        raise ValueError(f"not a fencing token: {fencing_token}")
    program = _COMPARE % {
        "own": fencing_token,
        "intent": f"'{intent}'",
        "mark": secrets.token_hex(8),
        "wait_s": LOCK_WAIT_S,
        "rounds": LOCK_WAIT_S * 10,
        "fenced": _FENCED,
        "busy": _BUSY,
        "unreadable": _UNREADABLE,
    }
    result = await sessions.run(host, program, timeout_s=LOCK_WAIT_S * 10 + 30)
    if result.exit_status == 0:
        return result.stdout
    output = result.stderr.strip()[-200:]
    if result.exit_status == _FENCED:
        raise FencedOff(f"a later run, with fencing token {output}, works on this host; this run has {fencing_token}")
    look = "Check /var/lib/poolkeeper on the host, and the free space below /var."
    if result.exit_status == _BUSY:
        raise HostError(
            f"other runs have compared their fencing tokens on the host for more than {LOCK_WAIT_S} s",
            next_step="Find who holds the lock: `fuser -v /var/lib/poolkeeper/fencing-token.lock` on the host.",
        )
    if result.exit_status == _UNREADABLE:
        raise HostError(
            f"/var/lib/poolkeeper/fencing-token contains `{output}`, which is not a fencing token",
            next_step="Check that no other run works on the host, then remove that file.",
        )
    raise HostError(
        f"the fencing tokens could not be compared: {output or f'exit status {result.exit_status}'}", next_step=look
    )
