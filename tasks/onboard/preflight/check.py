"""What a preflight check is: named, pure, skippable by name; what is unknown never passes silently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import HostFacts
from poolkeeper.tasks.onboard.next_action import JoinState, own_node
from poolkeeper.tasks.outcomes import Checked, Evidence, Finding, NotKnown, Observed, Severity, Subject, Verdict


@dataclass(frozen=True, slots=True)
class HostView:
    """One host as it was read."""

    host: Host
    facts: HostFacts
    node: NodeRow | None
    join: JoinState
    """The state of our join on it: what our join left there is not a leftover of another cluster."""

    @property
    def join_started(self) -> bool:
        """Whether it is a node, or our join has started: ports, files and routes there are then this cluster's."""
        return own_node(self.node, self.facts.machine_id) is not None or self.join is not JoinState.NONE


@dataclass(frozen=True, slots=True)
class Batch:
    """What all hosts are compared with: each other and the cluster."""

    views: Mapping[str, HostView]
    """Every host that could be read, by name."""
    nodes: Mapping[str, NodeRow]
    clock_skew_s: Mapping[str, Observed[float]]
    """Each host's clock minus the API server's, in seconds."""
    median_skews_s: tuple[float, float] | None
    """Low and high median of the known skews: two, because between two halves neither is the majority."""
    api_version: str
    """Such as `v1.36.3`."""
    api_host: str
    """Name or address of the API server, as the kubeconfig has it."""
    shared: Mapping[str, Mapping[str, tuple[str, ...]]]
    """Fact -> value -> the hosts that share it, where more than one do."""
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Wrong:
    """The check failed."""

    observed: str
    expected: str
    next_step: str
    severity: Severity | None = None
    """Where this case is milder or worse than the check."""


@dataclass(frozen=True, slots=True)
class Unsure:
    """The check could not be made."""

    reason: str
    next_step: str = ""
    """Set where the host is not what has to be made readable."""


LONGEST_QUOTE = 1000
"""Characters of a host's answer in a finding: a host may answer anything."""

Look = Callable[[HostView, Batch], Wrong | Unsure | None]


@dataclass(frozen=True, slots=True)
class Check:
    """A named check."""

    id: str
    about: str
    """What holds when it passes, as a clause."""
    severity: Severity
    on_unknown: Severity
    """How severe an unknown result is."""
    source: str
    """What it looks at: names of facts, or the fleet file and the cluster."""
    look: Look


REGISTRY: dict[str, Check] = {}


def check(
    id: str,
    about: str,
    *facts: str,
    severity: Severity = Severity.BLOCKER,
    on_unknown: Severity | None = None,
) -> Callable[[Look], Look]:
    """Register a check. Without `on_unknown`, an unknown result is as severe as a failure."""

    def register(look: Look) -> Look:
        source = f"host facts: {', '.join(facts)}" if facts else "fleet file and cluster"
        REGISTRY[id] = Check(id, about, severity, on_unknown or severity, source, look)
        return look

    return register


def run_check(check: Check, view: HostView, batch: Batch) -> Checked:
    """One check on one host, whatever the host answered: an error of the check is an unknown result. Pure."""
    subject = Subject("host", view.host.name)
    try:
        answer = check.look(view, batch)
    except NotKnown as error:
        answer = Unsure(str(error))
    except Exception as error:  # of one check on one host: the other checks and hosts go on
        answer = Unsure(f"the check cannot read the host's answer ({type(error).__name__}: {error})")
    if answer is None:
        return Checked(check.id, Verdict.OK, subject)
    if isinstance(answer, Unsure):
        return _unknown(check, subject, answer, batch.seen_at)
    evidence = Evidence(_bounded(answer.observed), answer.expected, check.source, batch.seen_at)
    finding = Finding(check.id, answer.severity or check.severity, subject, evidence, answer.next_step)
    return Checked(check.id, Verdict.FAIL, subject, finding)


def _unknown(check: Check, subject: Subject, answer: Unsure, seen_at: datetime) -> Checked:
    reason = _bounded(answer.reason)
    evidence = Evidence(f"unknown: {reason}", check.about, check.source, seen_at)
    next_step = (
        answer.next_step
        or f"Make it readable on the host, or pass skip_checks={{{check.id!r}: 'why it does not matter here'}}."
    )
    finding = Finding(check.id, check.on_unknown, subject, evidence, next_step)
    return Checked(check.id, Verdict.UNKNOWN, subject, finding, reason)


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 3]}..."


def run_checks(
    view: HostView, batch: Batch, skip: Mapping[str, str], checks: Mapping[str, Check] = REGISTRY
) -> tuple[Checked, ...]:
    """Every check on one host; a skipped check has the reason that was given."""
    subject = Subject("host", view.host.name)
    return tuple(
        Checked(check.id, Verdict.SKIPPED, subject, reason=skip[check.id])
        if check.id in skip
        else run_check(check, view, batch)
        for check in checks.values()
    )
