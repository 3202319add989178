"""The kubelet of a host that leaves: whether it runs, whether it would start again, and switching it off.

A Node that is deleted while its kubelet lives is registered anew as soon as that is started again
(https://github.com/openyurtio/openyurt/issues/1090).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.errors import HostError
from poolkeeper.tasks.hosts.sessions import Sessions
from poolkeeper.tasks.outcomes import Known, Observed, Unknown

_STARTED_AT_BOOT = {
    "enabled": True,
    "enabled-runtime": True,
    "alias": True,
    "linked": False,
    "linked-runtime": False,
    "disabled": False,
    "masked": False,
    "masked-runtime": False,
    "not-found": False,
}
"""systemctl(1), is-enabled. What is not here (static, generated: something else may start it) is not known."""
_RUNS = {"active": True, "activating": True, "reloading": True, "inactive": False, "failed": False}

_TRACE = """\
home="${POOLKEEPER_ROOT-}/var/lib/poolkeeper"
for name in before changes; do if [ -e "$home/$name" ]; then echo "record $name"; fi; done
if command -v systemctl >/dev/null 2>&1; then
  echo "enabled $(systemctl is-enabled kubelet 2>/dev/null)"
  echo "active $(systemctl is-active kubelet 2>/dev/null)"
fi
echo end
"""

_SWITCH_OFF = """\
command -v systemctl >/dev/null 2>&1 || exit 0
systemctl daemon-reload
# a missing kubelet can be neither stopped nor disabled; the result is read afterwards
systemctl disable --now kubelet >/dev/null 2>&1
exit 0
"""


@dataclass(frozen=True, slots=True)
class Trace:
    """What is left of a node on a host."""

    has_record: bool
    """The record of what a join changed exists: it is not undone, or not completely."""
    starts_at_boot: Observed[bool]
    runs: Observed[bool]

    @property
    def is_off(self) -> bool:
        """Whether it is certain that the kubelet neither runs nor starts with the next boot."""
        return all(isinstance(one, Known) and not one.value for one in (self.starts_at_boot, self.runs))


async def read_trace(sessions: Sessions, host: Host) -> Trace:
    """What is left of a node on a host now. Raises HostError."""
    result = await sessions.run(host, _TRACE)
    lines = result.stdout.splitlines()
    if "end" not in lines:
        raise HostError(
            f"it is not known whether the kubelet runs: {result.stderr.strip()[-200:] or 'no output'}",
            next_step="Log in to the host and look at `systemctl status kubelet`.",
        )
    return parse_trace(lines, datetime.now(UTC))


def parse_trace(lines: list[str], seen_at: datetime) -> Trace:
    """What the program answered. Pure."""
    words = dict(line.split(" ", 1) for line in lines if " " in line)
    if "active" not in words:
        unknown = Unknown("no systemctl", seen_at)
        return Trace("record" in words, unknown, unknown)
    enabled, active = words.get("enabled", "").strip(), words["active"].strip()
    if not enabled and active == "inactive":
        enabled = "not-found"  # an older systemctl says so on stderr only
    return Trace(
        "record" in words,
        _observed(_STARTED_AT_BOOT.get(enabled), "is-enabled", enabled, seen_at),
        _observed(_RUNS.get(active), "is-active", active, seen_at),
    )


def _observed(value: bool | None, verb: str, word: str, seen_at: datetime) -> Observed[bool]:
    return (
        Unknown(f"`systemctl {verb} kubelet` shows {word or 'nothing'}", seen_at)
        if value is None
        else Known(value, seen_at)
    )


async def switch_off(sessions: Sessions, host: Host) -> None:
    """Stop the kubelet and keep it from starting again; `read_trace` shows whether it did. Raises HostError."""
    await sessions.run(host, _SWITCH_OFF)
