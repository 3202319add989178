"""Errors that a person reads. The message says what was seen; the class knows the rest of the finding."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from poolkeeper.tasks.outcomes.findings import Evidence, Finding, Severity, Subject


class PoolkeeperError(Exception):
    """Base of all errors that may end a run or a host's part in it."""

    id = ""
    """The finding's id, such as `hosts.ssh.refused`: every class that is raised has its own."""
    expected = ""
    """What should have been seen instead."""
    next_step = ""
    """One sentence that says what to do, with its command where there is one."""
    source = ""
    """How it was read, such as `SSH`."""

    def __init__(self, observed: str, *, next_step: str | None = None) -> None:
        super().__init__(observed)
        if next_step:
            self.next_step = next_step

    @property
    def observed(self) -> str:
        """What was seen, without what to do about it."""
        return str(self)

    @property
    def summary(self) -> str:
        """What was seen and what to do, as sentences."""
        return f"{self.observed.rstrip('.')}. {self.next_step}" if self.next_step else self.observed

    def finding(self, subject: Subject, severity: Severity = Severity.BLOCKER) -> Finding:
        """The error as a finding about `subject`."""
        evidence = Evidence(self.observed, self.expected, self.source, datetime.now(UTC))
        return Finding(self.id, severity, subject, evidence, self.next_step)

    def row(self) -> dict[str, Any]:
        """The error as plain JSON types."""
        return {"id": self.id, "observed": self.observed, "expected": self.expected, "next_step": self.next_step}


class Invalid(PoolkeeperError):
    """What was asked for makes no sense: a parameter or a file has to be corrected. Nothing was touched."""

    id = "run.invalid"
    expected = "parameters and files that this run can use"


class CannotGoOn(PoolkeeperError):
    """The run has met something that keeps it from going on; the next run takes up what this one has begun."""

    id = "run.cannot-go-on"
    expected = "nothing that keeps the run from its end"


class SystemRefused(CannotGoOn):
    """The operating system of the machine that runs poolkeeper refused or failed something."""

    id = "run.system"
    expected = "files, disk and network of the machine that runs poolkeeper work"
    next_step = "Correct what it names on the machine that runs poolkeeper, then start this again."
    source = "operating system"
