"""What ends a run as a whole. What is wrong with one host is a finding, and ends no run."""

from __future__ import annotations


class Invalid(Exception):
    """What was asked for makes no sense as it stands: a parameter or a file has to be mended. Nothing was touched."""


class CannotGoOn(Exception):
    """The run has met something that keeps it from going on; what it has begun is taken up by the next one."""

    remedy = ""
    """What to do about it, as a sentence, where the message does not say so itself."""

    @property
    def summary(self) -> str:
        """The run's summary."""
        return f"{self}. {self.remedy}" if self.remedy else str(self)
