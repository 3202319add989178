"""The live view of a rollout: what it does now, with which hosts, what comes next, and how to stop it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from poolkeeper.tasks.ledger import write_whole
from poolkeeper.tasks.outcomes import HostState
from poolkeeper.tasks.pages.markdown import with_commands
from poolkeeper.tasks.runs.watching import watcher


class LiveView:
    """The view of one run. Whatever displays it waits for `changed`."""

    def __init__(self, flow: str, pool: str, run_id: str) -> None:
        self._title, self._run_id = f"{flow} of pool {pool}", run_id
        self._doing = "starting"
        self._hosts: dict[str, str] = {}
        self._ended: dict[str, tuple[HostState, str]] = {}
        self._next: list[str] = []
        self._over = False
        self.changed = asyncio.Event()

    def show(self, doing: str) -> None:
        """Show what the run as a whole does."""
        self._doing = doing
        watcher().doing(doing)
        self.changed.set()

    def show_wave(self, number: int, of: int, hosts: Iterable[str]) -> None:
        """Show that a wave starts."""
        watcher().wave(number, tuple(hosts))
        self.show(f"wave {number} of {of}")

    def show_plan(self, hosts: Iterable[str]) -> None:
        """Show the planned hosts, in order. A second goal of the same run replaces the first."""
        self._next, self._over = list(hosts), False
        self._ended.clear()
        self.changed.set()

    def show_host(self, host: str, doing: str) -> None:
        """Show what is done with one host."""
        self._hosts[host] = doing
        watcher().phase(host, doing)
        self.changed.set()

    def end_host(self, host: str, state: HostState, summary: str) -> None:
        """Show how a host ended."""
        self._hosts.pop(host, None)
        self._ended[host] = (state, summary)
        watcher().ended(host, state, summary)
        self.changed.set()

    def close(self, summary: str) -> None:
        """The run has ended by itself."""
        self._doing, self._over = summary, True
        self.changed.set()

    def text(self) -> str:
        """The view as markdown."""
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        lines = [f"# {self._title}", "", f"As of {now}: **{with_commands(self._doing)}**", ""]
        if self._hosts:
            lines += ["## Running", ""]
            lines += [f"- {host}: {with_commands(doing)}" for host, doing in sorted(self._hosts.items())]
            lines.append("")
        waiting = [host for host in self._next if host not in self._ended and host not in self._hosts]
        if waiting:
            more = f" and {len(waiting) - 10} more" if len(waiting) > 10 else ""
            lines += ["## Next", "", f"{', '.join(waiting[:10])}{more}", ""]
        if self._ended:
            lines += ["## Ended", ""]
            lines += [
                f"- {host}: **{state}**: {with_commands(summary)}"
                for host, (state, summary) in sorted(self._ended.items())
            ]
            lines.append("")
        lines += ["## To stop it", ""]
        if self._over:
            lines.append("It has ended. `poolkeeper release` shows whether it still holds any node.")
        else:
            lines += [
                f"`poolkeeper stop {self._run_id}`: nothing new starts; running hosts finish or return to service.",
                "",
                "If this text is old and the run is gone: `poolkeeper run recover --apply` finishes what it"
                " left, or returns the nodes to service; `poolkeeper release` shows what it holds.",
            ]
        return "\n".join(lines) + "\n"

    def write(self, file: Path) -> None:
        """The view as a file. Raises OSError."""
        write_whole(file, self.text())
