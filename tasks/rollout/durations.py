"""What counts as the time of one host of a rollout, where earlier runs have measured it."""

from __future__ import annotations

from poolkeeper.tasks.outcomes import HostState
from poolkeeper.tasks.runs.durations import TimedPhases

OUT_OF_SERVICE = TimedPhases(
    HostState.DONE, ("drain", "change", "prove", "return to service"), required=("drain", "change")
)
"""The phases in which a node is out of service; waiting for headroom comes before it."""
