"""What a run reports: observed values, findings, changes through the gate, and outcomes per host."""

from poolkeeper.tasks.outcomes.errors import CannotGoOn, Invalid, PoolkeeperError, SystemRefused
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
from poolkeeper.tasks.outcomes.gate import (
    DONE,
    Change,
    ChangeRecord,
    ChangeState,
    End,
    Gate,
    GateRefused,
    Guard,
    Refusal,
    failed_by,
    failed_if,
)
from poolkeeper.tasks.outcomes.quoting import named, quoted
from poolkeeper.tasks.outcomes.redaction import REDACTED, Secret, redact, whole_words
from poolkeeper.tasks.outcomes.runs import HostOutcome, HostState, RunState, run_state
from poolkeeper.tasks.outcomes.values import Known, NotKnown, Observed, Unknown, known
from poolkeeper.tasks.outcomes.visible import on_one_line, visible

__all__ = [
    "CannotGoOn",
    "Invalid",
    "REDACTED",
    "DONE",
    "Change",
    "ChangeRecord",
    "ChangeState",
    "End",
    "Checked",
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
    "PoolkeeperError",
    "Refusal",
    "RunState",
    "Secret",
    "Severity",
    "Subject",
    "SystemRefused",
    "Unknown",
    "Verdict",
    "batched",
    "blockers",
    "failed_by",
    "failed_if",
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
