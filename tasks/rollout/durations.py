"""What counts as the time of one host of a rollout, where earlier runs have measured it."""

from __future__ import annotations

from poolkeeper.tasks.outcomes import HostState
from poolkeeper.tasks.runs.durations import TimedPhases

OUT_OF_SERVICE = TimedPhases(HostState.DONE, ("drain", "change", "prove", "give back"), required=("drain", "change"))
"""What takes a node out of service; waiting for room comes before it."""
