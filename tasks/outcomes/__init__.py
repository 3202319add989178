"""What a run can say: observed values, findings, changes through the one gate, outcomes per host."""

from poolkeeper.tasks.outcomes.fanout import batched, in_slots
from poolkeeper.tasks.outcomes.findings import (
    Checked,
    Evidence,
    Finding,
    Severity,
    Subject,
    Verdict,
    blockers,
    by_severity,
)
from poolkeeper.tasks.outcomes.gate import Change, Done, Gate, GateRefused, Guard, Planned, Refusal
from poolkeeper.tasks.outcomes.quoting import named, quoted
from poolkeeper.tasks.outcomes.redaction import REDACTED, Secret, redact, whole_words
from poolkeeper.tasks.outcomes.runs import HostOutcome, HostState, RunState, run_state
from poolkeeper.tasks.outcomes.values import Known, NotKnown, Observed, Unknown, known
from poolkeeper.tasks.outcomes.visible import on_one_line, visible

__all__ = [
    "REDACTED",
    "Change",
    "Checked",
    "Done",
    "Evidence",
    "Finding",
    "Gate",
    "GateRefused",
    "Guard",
    "HostOutcome",
    "HostState",
    "Known",
    "NotKnown",
    "Observed",
    "Planned",
    "Refusal",
    "RunState",
    "Secret",
    "Severity",
    "Subject",
    "Unknown",
    "Verdict",
    "batched",
    "blockers",
    "by_severity",
    "in_slots",
    "known",
    "named",
    "on_one_line",
    "quoted",
    "redact",
    "run_state",
    "visible",
    "whole_words",
]
