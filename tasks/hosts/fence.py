"""Which run may change a host: a number on the host itself, which only grows. And for what it was changed.

Kubernetes checks no fencing token, so that a run whose lease was lost may still be about to act. Whoever takes a lease
has a greater number than everyone before; a host remembers the greatest it was shown in
`/var/lib/poolkeeper/fencing-token`, and turns away who comes with a smaller one.

Before a rollout's first change its id and the token of its intent are written to `/var/lib/poolkeeper/rollout`. Where
they are not, nothing was changed for it; what a Node says of itself is nobody's proof of that.
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
"""How long others are waited for who compare at this moment; it takes them milliseconds."""
_FENCED, _BUSY, _UNREADABLE = 20, 21, 22


@dataclass(frozen=True, slots=True)
class Begun:
    """For what a host was changed, or is about to be."""

    rollout: str
    """Twelve hexadecimal digits: the id of its goal."""
    token: str
    """Sixteen hexadecimal digits, another one for each intent."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What a run shows a host before it changes it."""

    fencing_token: int
    """1 or more; whoever takes the lease later has a greater one."""
    begun: Begun


class FencedOff(HostError):
    """A later run has this host: nothing was done, and nothing more is to be done by this one."""

    id = "hosts.fencing-token.fenced"
    expected = "no run that has taken the lease later"
    next_step = "Let the later run go on; this one has lost its lease and must not touch the host any more."


_CLAIM = """\
umask 077
home="${POOLKEEPER_ROOT-}/var/lib/poolkeeper"
file=$home/fencing-token
own=%(own)s
begun=%(begun)s
mkdir -p "$home" || exit 1
born() { read -r stat < "/proc/$1/stat" && set -- ${stat##*)} && [ "$1" != Z ] && echo "${20}"; } 2>/dev/null
pause() { sleep 0.1 2>/dev/null || sleep 1; }
claim() {
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
  if [ -z "$begun" ]; then printf '%%.200s\\n' "$there"; return; fi
  [ "$there" = "$begun" ] || put "$begun" "$home/rollout"
}
put() { echo "$1" > "$2.$$" && mv "$2.$$" "$2" || { rm -f "$2.$$"; return 1; }; }
if command -v flock >/dev/null 2>&1; then
  exec 9>> "$file.lock" || exit 1
  flock -w %(wait_s)d 9 || exit %(busy)d
  claim
  exit
fi
# without flock: a file that only one can make, with who made it, so that a dead one's does not stay for ever
lock=$file.held
mine=$file.%(mark)s
echo "$$ $(born $$)" > "$mine" || exit 1
trap 'rm -f "$mine"' EXIT
trap 'exit 129' HUP
trap 'exit 143' TERM
i=0
# a hard link is made by one of them only, and with its content
until ln "$mine" "$lock" 2>/dev/null; do
  if read -r pid since < "$lock" && [ "$(born "$pid")" != "$since" ]; then
    # moved aside by one of them only; one that was taken anew meanwhile is put back
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
claim
exit
"""


_READ_BEGUN = """\
file="${POOLKEEPER_ROOT-}/var/lib/poolkeeper/rollout"
[ -e "$file" ] || exit 0
read -r there < "$file" || [ -n "$there" ] || exit 1
printf '%.200s\\n' "$there"
"""

_FORGET_BEGUN = """\
file="${POOLKEEPER_ROOT-}/var/lib/poolkeeper/rollout"
[ -e "$file" ] || exit 0
read -r there _ < "$file" && [ "$there" != '%(rollout)s' ] && exit 0
rm -f "$file"
"""
_BEGUN = re.compile(r"([0-9a-f]{12}) ([0-9a-f]{16})")


async def read_begun(sessions: Sessions, host: Host) -> Observed[Begun | None]:
    """For what the host was changed last, and not given back since; None: for nothing. Raises HostError."""
    result = await sessions.run(host, _READ_BEGUN, timeout_s=30)
    if result.exit_status != 0:
        reason = f"/var/lib/poolkeeper/rollout cannot be read on the host: exit status {result.exit_status}"
        return Unknown(reason, datetime.now(UTC))
    return _told(result.stdout)


def _told(said: str) -> Observed[Begun | None]:
    said, now = said.strip(), datetime.now(UTC)
    if not said:
        return Known(None, now)
    if (found := _BEGUN.fullmatch(said)) is None:
        return Unknown("/var/lib/poolkeeper/rollout on the host names no rollout and token", now)
    return Known(Begun(found[1], found[2]), now)


async def forget_begun(sessions: Sessions, host: Host, rollout: str) -> None:
    """Nothing of that rollout is begun on the host any more. Another rollout's stays.

    Raises HostError.
    """
    program = _FORGET_BEGUN % {"rollout": rollout}
    result = await sessions.run(host, program, timeout_s=30)
    if result.exit_status != 0:
        raise HostError(
            f"/var/lib/poolkeeper/rollout cannot be removed: {result.stderr.strip()[-200:]}",
            next_step="Look at /var/lib/poolkeeper on the host, and at free space below /var.",
        )


async def turn_away(sessions: Sessions, host: Host, fencing_token: int) -> Observed[Begun | None]:
    """Show a host our number, and ask for what it was changed: from now on no earlier run begins anything there.

    Raises FencedOff, and HostError where it cannot be told.
    """
    return _told(await _show(sessions, host, fencing_token, ""))


async def claim(sessions: Sessions, host: Host, fence: Fence) -> None:
    """Show a host our number, which it remembers unless a greater one was shown before, and then for what it is.

    The same number passes again.
    Raises FencedOff, and HostError where it cannot be told.
    """
    begun = f"{fence.begun.rollout} {fence.begun.token}"
    if not _BEGUN.fullmatch(begun):
        raise ValueError(f"no fence: {fence}")
    await _show(sessions, host, fence.fencing_token, begun)


async def _show(sessions: Sessions, host: Host, fencing_token: int, begun: str) -> str:
    """What the host says: for what it was changed, where nothing new is to be."""
    if not 1 <= fencing_token < 10**18:
        raise ValueError(f"no fence: fencing token {fencing_token}")
    program = _CLAIM % {
        "own": fencing_token,
        "begun": f"'{begun}'",
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
    said = result.stderr.strip()[-200:]
    if result.exit_status == _FENCED:
        raise FencedOff(f"a run with fencing token {said} has this host, which is later than ours, {fencing_token}")
    look = "Look at /var/lib/poolkeeper on the host, and at free space below /var."
    if result.exit_status == _BUSY:
        raise HostError(
            f"its fencing token is being compared by others for more than {LOCK_WAIT_S} s",
            next_step="See on the host who has /var/lib/poolkeeper/fencing-token.lock open: `fuser -v` on it.",
        )
    if result.exit_status == _UNREADABLE:
        raise HostError(
            f"/var/lib/poolkeeper/fencing-token has no number in it but `{said}`",
            next_step="Make sure that no other run works on the host, then remove that file.",
        )
    raise HostError(
        f"its fencing token could not be compared: {said or f'exit status {result.exit_status}'}", next_step=look
    )
