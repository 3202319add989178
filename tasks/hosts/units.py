"""Running a script as a named unit, so that a broken connection does not kill it and a later run can follow it.

Under systemd it is a transient unit, elsewhere a process in its own session. Its folder `/run/poolkeeper/NAME` (root
only, gone after a reboot) has output and result. The script comes over the session's stdin, is written there with mode
0600, and is unlinked as soon as the shell that runs it has opened it. The invariant: only one process can make the file
`pid` there, so at most one unit of a name runs.
"""

from __future__ import annotations

import asyncio
import math
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.errors import HostError
from poolkeeper.tasks.hosts.sessions import Sessions
from poolkeeper.tasks.outcomes import Secret, redact, whole_words

OUTPUT_KEPT_BYTES = 16_384
_POLL_S = 8
"""How long one round trip waits on the host for the end."""
_FORGET_TIMEOUT_S = 120
"""`systemctl stop` takes up to 90 s, after which systemd kills what did not end, and what it left has 10 s more: a
command's usual limit would cut this off before the folder is removed."""


class UnitRun(StrEnum):
    """The state of a unit."""

    ABSENT = "absent"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """It ended with an error, or was ended: by its time limit, by a person, by the machine."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class UnitState:
    """A unit as it was read."""

    state: UnitRun
    exit_status: int | None = None
    """None while it runs, and when it was ended from outside."""
    output: str = ""
    """The end of its output, redacted."""


_HEADER = """\
name=%(name)s
d="${POOLKEEPER_ROOT-}/run/poolkeeper/$name"
systemd() { [ -d "${POOLKEEPER_ROOT-}/run/systemd/system" ] && command -v systemd-run >/dev/null 2>&1; }
active() { # or about to be, by another start
  systemd && case $(systemctl is-active "$name.service" 2>/dev/null) in active|activating) ;; *) false;; esac
}
born() { read -r stat < "/proc/$1/stat" && set -- ${stat##*)} && [ "$1" != Z ] && echo "${20}"; } 2>/dev/null
# its start time distinguishes it from a later process with the same number
alive() { read -r pid since < "$d/pid" && [ "$(born "$pid")" = "$since" ]; } 2>/dev/null
pause() { sleep 0.2 2>/dev/null || sleep 1; }
"""

_START = """\
umask 077
mkdir -p "$d" || exit 1
[ -e "$d/pid" ] && exit 0
# each start has its own files, so that two starts at once do not touch each other's
own="$d/$$-%(delimiter)s"
mkdir "$own" || exit 1
cat > "$own/script" <<'%(delimiter)s' || exit 1
%(script)s
%(delimiter)s
cat > "$own/run" <<'END-OF-RUN' || exit 1
d=$1 own=$2 limit=$3
read -r stat < "/proc/$$/stat"
birth() { echo "${20}"; }
echo "$$ $(birth ${stat##*)})" > "$own/pid"
# only one of them can make the hard link, and it appears with its content
ln "$own/pid" "$d/pid" 2>/dev/null || { rm -rf "$own"; exit 0; }
exec > "$d/output" 2>&1 < /dev/null 3< "$own/script"
rm -rf "$own"
if [ -n "$limit" ]; then
  # its own watch, where there is no systemd: at the limit, or when this shell was killed, all of it goes. It
  # sleeps in small steps to be gone soon after
  (
    exec > /dev/null 2>&1 3<&-
    i=0
    while [ $i -lt "$limit" ] && kill -0 $$; do sleep 1; i=$((i + 1)); done
    [ ! -e "$d/result" ] || exit
    trap '' TERM
    kill -TERM "-$$"
    sleep 5
    kill -KILL "-$$"
  ) &
fi
umask 022
sh /dev/fd/3
echo $? > "$d/result.part"
mv "$d/result.part" "$d/result"
END-OF-RUN
if systemd; then
  systemctl reset-failed "$name.service" >/dev/null 2>&1
  systemd-run --quiet --unit="$name" --property=RuntimeMaxSec=%(limit_s)d sh "$own/run" "$d" "$own" "" ||
    { rm -rf "$own"; active || exit 1; }
elif command -v setsid >/dev/null 2>&1; then
  setsid sh "$own/run" "$d" "$own" %(limit_s)d >/dev/null 2>&1 </dev/null &
else
  rm -rf "$own"
  echo 'neither systemd-run nor setsid: nothing would keep it running without this connection' >&2
  exit 1
fi
# it counts as started when it can be found by name
i=0
while [ ! -e "$d/pid" ] && [ $i -lt 50 ]; do pause; i=$((i + 1)); done
[ -e "$d/pid" ] || { rm -rf "$own"; echo 'it was started and does not run' >&2; exit 1; }
"""

_STATE = """\
report() {
  echo "state $1"
  echo "output"
  tail -c %(asked)d "$d/output" 2>/dev/null
}
i=0
while [ $i -lt %(rounds)d ] && [ ! -e "$d/result" ] && alive; do pause; i=$((i + 1)); done
if [ -e "$d/result" ]; then report "ended $(cat "$d/result")"
elif [ ! -e "$d/pid" ]; then if active; then report running; else report absent; fi
elif alive; then report running
elif [ -e "$d/result" ]; then report "ended $(cat "$d/result")"
else report killed; fi
"""

_STOP = """\
if systemd; then
  systemctl stop "$name.service" >/dev/null 2>&1
  systemctl reset-failed "$name.service" >/dev/null 2>&1
fi
if alive; then
  # without `--`, which the kill of dash and busybox does not know
  kill -TERM "-$pid" 2>/dev/null
  i=0
  while [ $i -lt 50 ] && kill -0 "-$pid" 2>/dev/null; do pause; i=$((i + 1)); done
  kill -KILL "-$pid" 2>/dev/null || :
fi
"""
_FORGET = f'{_STOP}rm -rf "$d"\n'


def _program(name: str, body: str, **values: str | int) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,60}", name):
        raise ValueError(f"a unit's name has lower-case letters, digits and dashes: {name!r}")
    return (_HEADER + body) % {"name": name, **values}


async def start_unit(sessions: Sessions, host: Host, name: str, script: Secret, *, timeout_s: float) -> None:
    """Start a script as a unit that may run for `timeout_s`; does nothing if a unit of that name was started.

    Raises HostError. After ConnectionLost it may or may not have started: start it again.
    """
    program = _program(
        name,
        _START,
        delimiter=f"END-{secrets.token_hex(16)}",
        script=script.reveal(),
        limit_s=max(1, math.ceil(timeout_s)),
    )
    result = await sessions.run(host, program)
    if result.exit_status != 0:
        words = redact(result.stderr, script).strip()[-300:]
        raise HostError(
            f"unit {name} could not be started: {words or f'exit status {result.exit_status}'}",
            next_step="Check the host's journal (`journalctl -n 50`) and the free space below /run.",
        )


async def unit_state(
    sessions: Sessions, host: Host, name: str, *, script: Secret | None = None, wait_s: float = 0.0
) -> UnitState:
    """A unit as it is, or as it is after `wait_s` if it still runs. Raises HostError."""
    program = _program(name, _STATE, asked=OUTPUT_KEPT_BYTES + 1, rounds=round(wait_s * 5))
    result = await sessions.run(host, program, timeout_s=wait_s * 5 + 30)
    return parse_state(result.stdout, *([script] if script else []))


def parse_state(text: str, *secrets: Secret) -> UnitState:
    """The output of the state program. Pure."""
    head, _, output = text.partition("output\n")
    words = head.strip().split("\n")[-1].split()
    kept = redact(_whole_words(output), *secrets)
    match words:
        case ["state", "ended", status] if re.fullmatch(r"[0-9]{1,3}", status):
            ended = UnitRun.SUCCEEDED if status == "0" else UnitRun.FAILED
            return UnitState(ended, int(status), kept)
        case ["state", "killed"]:
            return UnitState(UnitRun.FAILED, None, kept)
        case ["state", "running"]:
            return UnitState(UnitRun.RUNNING, None, kept)
        case ["state", "absent"]:
            return UnitState(UnitRun.ABSENT)
        case _:
            return UnitState(UnitRun.UNKNOWN)


def _whole_words(output: str) -> str:
    """The end of an output, from its first whole word on: half a secret would not be redacted."""
    return output if len(output.encode()) <= OUTPUT_KEPT_BYTES else whole_words(output)


async def wait_unit(
    sessions: Sessions, host: Host, name: str, *, timeout_s: float, script: Secret | None = None
) -> UnitState:
    """A unit once it has ended. A host that cannot be reached is asked again, because a join may change its network.

    Raises TimeoutError after `timeout_s`.
    """
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                state = await unit_state(sessions, host, name, script=script, wait_s=_POLL_S)
            except HostError:
                await asyncio.sleep(1)
                continue
            if state.state is not UnitRun.RUNNING:
                return state


async def stop_unit(sessions: Sessions, host: Host, name: str) -> None:
    """End a unit if it still runs; its result stays on the host. Raises HostError."""
    await _end(sessions, host, name, _STOP, "stopped")


async def forget_unit(sessions: Sessions, host: Host, name: str) -> None:
    """End a unit if it still runs, and remove its folder. Raises HostError."""
    await _end(sessions, host, name, _FORGET, "forgotten")


async def _end(sessions: Sessions, host: Host, name: str, program: str, done: str) -> None:
    result = await sessions.run(host, _program(name, program), timeout_s=_FORGET_TIMEOUT_S)
    if result.exit_status != 0:
        words = result.stderr.strip()[-300:] or f"exit status {result.exit_status}"
        raise HostError(
            f"unit {name} could not be {done}: {words}",
            next_step=f"Look at /run/poolkeeper/{name} on the host.",
        )
