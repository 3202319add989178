"""The progress of a run on stderr: live lines on a terminal, else a bounded number of plain lines."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from poolkeeper.deployments.terminal import Drawn, echo, is_terminal, line, live
from poolkeeper.tasks.outcomes import HostState
from poolkeeper.tasks.runs.watching import HostPlan, RunPlan, Watcher

GOOD = (HostState.ACCEPTED, HostState.PLANNED, HostState.DONE, HostState.HANDED_OVER)
QUIET_S = 30.0
"""Off a terminal: seconds between two lines about hosts without a problem, at least."""
NAMED = 5
"""Hosts that one line names, at most."""
SUBJECTS_KEPT = 10_000
BEFOREHAND = "prepare"
"""The phase of all hosts before the first wave."""


@dataclass(slots=True)
class HostLine:
    """One host in a run."""

    plan: HostPlan | None = None
    phase: str = ""
    since: float = 0.0
    """When its work started, by the clock of the progress."""
    state: HostState | None = None
    """How it ended; None: it has not ended."""
    summary: str = ""
    took_s: float = 0.0


class Progress(Watcher):
    """The events of a run so far; the terminal's thread reads them while the run's thread writes."""

    def __init__(self, flow: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.flow = flow
        self.began, self._clock = clock(), clock
        self.plans: list[RunPlan] = []
        """One for each goal."""
        self.log = ""
        """Path of the run's log; empty: there is none."""
        self.changes: dict[str, list[str]] = {}
        """Host or node -> sentences of its changes, for the first SUBJECTS_KEPT subjects."""
        self._doing = "starting"
        self._hosts: dict[str, HostLine] = {}
        self._lock = threading.Lock()

    @property
    def plan(self) -> RunPlan | None:
        """The latest plan."""
        return self.plans[-1] if self.plans else None

    def run(self, name: str, url: str) -> None:
        """The run has an id, and a page if it has a Prefect server that outlives it."""

    def message(self, text: str) -> None:
        """A message of the log: it shows what a run without a plan does now."""
        if self.plan is None:
            self._doing = text

    def planned(self, plan: RunPlan) -> None:
        with self._lock:
            self.plans.append(plan)
            self._doing = ""
            for planned in plan.hosts:
                self._hosts[planned.host] = HostLine(planned)

    def doing(self, what: str) -> None:
        self._doing = what

    def phase(self, host: str, what: str) -> None:
        with self._lock:
            known = self._hosts.setdefault(host, HostLine())
            if known.phase in ("", BEFOREHAND) or known.state is not None:
                known.since, known.state = self._clock(), None
            known.phase = what

    def phase_ended(self, host: str, what: str) -> None:
        with self._lock:
            if what == BEFOREHAND:
                self._hosts[host].phase = ""  # the host waits for its wave

    def change(self, subject: str, sentence: str) -> None:
        if subject in self.changes or len(self.changes) < SUBJECTS_KEPT:
            self.changes.setdefault(subject, []).append(sentence)

    def ended(self, host: str, state: HostState, summary: str) -> None:
        with self._lock:
            known = self._hosts.setdefault(host, HostLine())
            known.took_s = self._clock() - known.since if known.phase else 0.0
            known.state, known.summary = state, summary

    def drawn(self, height: int) -> Drawn:
        """What a terminal shows: the run, then one line per host, the hosts at work first.

        height: lines that the terminal has room for
        """
        now = self._clock()
        with self._lock:
            hosts = list(self._hosts.items())
        status = "; ".join(filter(None, (self._doing, self.counts())))
        head = f"{self.flow}: {status}; {_seconds(now - self.began)}"
        if len(hosts) > height - 2:
            hosts.sort(key=lambda each: _urgency(each[1]))
        shown = [self._line(name, host, now) for name, host in hosts[: height - 2]]
        more = len(hosts) - len(shown)
        return Drawn(head, shown, f"  and {more} more hosts" if more else "")

    def _line(self, name: str, host: HostLine, now: float) -> list[str]:
        plan, waves, expected = host.plan, self.plan.waves if self.plan else 0, self.plan.host_s if self.plan else None
        wave = f"wave {plan.wave} of {waves}" if plan and plan.wave else ""
        change = plan.change if plan else ""
        if host.state is not None:
            return [f"  {name}", wave, change, _seconds(host.took_s), str(host.state)]
        if not host.phase:
            return [f"  {name}", wave, change, "", "waiting"]
        of = f" of some {_seconds(expected)}" if expected else ""
        return [f"  {name}", wave, change, f"{_seconds(now - host.since)}{of}", host.phase]

    def counts(self) -> str:
        """`3 done, 1 blocked, 2 at work, 4 to come`."""
        with self._lock:
            hosts = list(self._hosts.values())
        ended = Counter(str(host.state) for host in hosts if host.state is not None)
        working = sum(host.state is None and bool(host.phase) for host in hosts)
        waiting = sum(host.state is None and not host.phase for host in hosts)
        parts = [f"{number} {state}" for state, number in sorted(ended.items())]
        parts += [f"{working} at work"] if working else []
        parts += [f"{waiting} to come"] if waiting else []
        return ", ".join(parts)

    def is_at_work(self, host: str) -> bool:
        """Whether its work has started and not ended."""
        with self._lock:
            known = self._hosts.get(host)
            return known is not None and bool(known.phase) and known.state is None

    def at_work(self) -> list[str]:
        """Hosts at work, each with its phase."""
        with self._lock:
            return [f"{name} ({host.phase})" for name, host in self._hosts.items() if host.state is None and host.phase]


class LiveProgress(Progress):
    """For a terminal: `shown` draws the live lines; only what stays on the screen is printed here."""

    def run(self, name: str, url: str) -> None:
        _print_line(f"run {name}" + (f": {url}" if url else ""))


class PlainProgress(Progress):
    """For a file or a pipe: the run, its plan, its waves, hosts that fail, and the counts every QUIET_S seconds.

    dry_run: the plan is not printed here, because it is shown when the run has ended
    """

    def __init__(self, flow: str, *, dry_run: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(flow, clock=clock)
        self._dry_run, self._printed_at = dry_run, clock()

    def run(self, name: str, url: str) -> None:
        self._print(f"{self.flow}: run {name}" + (f": {url}" if url else ""))

    def planned(self, plan: RunPlan) -> None:
        super().planned(plan)
        if plan.hosts and not self._dry_run:
            self._print("; ".join([f"plan: {plan.summary}", *plan.notes]))

    def wave(self, number: int, hosts: tuple[str, ...]) -> None:
        of = f" of {self.plan.waves}" if self.plan else ""
        self._print(f"wave {number}{of}: {_some(hosts)}")

    def phase(self, host: str, what: str) -> None:
        super().phase(host, what)
        self._print_counts_if_due()

    def ended(self, host: str, state: HostState, summary: str) -> None:
        was_at_work = self.is_at_work(host)
        super().ended(host, state, summary)
        if state in GOOD or not was_at_work:  # a host without any work is in the outcome
            self._print_counts_if_due()
        else:
            self._print(f"{host}: {state}: {summary}")

    def _print_counts_if_due(self) -> None:
        if self._clock() - self._printed_at >= QUIET_S:
            working = self.at_work()
            self._print(self.counts() + (f"; at work: {_some(working)}" if working else ""))

    def _print(self, text: str) -> None:
        self._printed_at = self._clock()
        _print_line(f"{datetime.now(UTC):%H:%M:%S} {text}")


def progress_of(flow: str, *, dry_run: bool, verbose: bool) -> Progress:
    """Live lines or plain ones, as stderr is; with the whole log on stderr, neither."""
    if verbose:
        return Progress(flow)
    return LiveProgress(flow) if is_terminal(sys.stderr) else PlainProgress(flow, dry_run=dry_run)


@contextmanager
def shown(progress: Progress) -> Iterator[None]:
    """Draw the live lines during the block, if the progress has any."""
    if not isinstance(progress, LiveProgress):
        yield
        return
    with live(progress.drawn):
        yield


def _print_line(text: str) -> None:
    """One line on stderr. The run goes on if stderr is closed."""
    with suppress(OSError, ValueError):
        echo(line(text), err=True)


def _some(names: Iterable[str]) -> str:
    listed: Sequence[str] = list(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more


def _urgency(host: HostLine) -> int:
    if host.state is None:
        return 0 if host.phase else 2
    return 3 if host.state in GOOD else 1


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return " ".join(filter(None, (f"{minutes} min" if minutes else "", f"{rest} s" if rest or not minutes else "")))
