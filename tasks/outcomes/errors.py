"""Errors that an operator reads. The message is what was observed; the class has the rest of the finding."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from poolkeeper.tasks.outcomes.findings import Evidence, Finding, Severity, Subject


class PoolkeeperError(Exception):
    """Base of every public exception: each can become a finding."""

    id = "poolkeeper.error"
    """The finding's id, such as `hosts.ssh.refused`. Every public class has its own."""
    expected = "no error"
    """What should have been observed instead; a noun phrase."""
    next_step = ""
    """One imperative sentence, with its command if there is one."""
    source = ""
    """How it was observed, such as `SSH`."""

    def __init__(self, observed: str, *, next_step: str | None = None) -> None:
        super().__init__(observed)
        if next_step:
            self.next_step = next_step

    @property
    def observed(self) -> str:
        """What was observed, without the next step."""
        return str(self)

    @property
    def summary(self) -> str:
        """What was observed and the next step, as sentences."""
        return f"{self.observed.rstrip('.')}. {self.next_step}" if self.next_step else self.observed

    def finding(self, subject: Subject, severity: Severity = Severity.BLOCKER) -> Finding:
        """The error as a finding about `subject`."""
        evidence = Evidence(self.observed, self.expected, self.source, datetime.now(UTC))
        return Finding(self.id, severity, subject, evidence, self.next_step)

    def row(self) -> dict[str, Any]:
        """The error as plain JSON types."""
        return {"id": self.id, "observed": self.observed, "expected": self.expected, "next_step": self.next_step}


class Invalid(PoolkeeperError):
    """A parameter or a file of the request must be corrected. Nothing was changed."""

    id = "run.invalid"
    expected = "parameters and files that this run can use"


class CannotGoOn(PoolkeeperError):
    """The run cannot continue; the next run continues what this one has started."""

    id = "run.cannot-go-on"
    expected = "everything that the run needs to continue"


class SystemRefused(CannotGoOn):
    """A system call of the machine that runs poolkeeper failed."""

    id = "run.system"
    expected = "working files, disk and network of the machine that runs poolkeeper"
    next_step = "Correct this on the machine that runs poolkeeper, then start this again."
    source = "operating system"
