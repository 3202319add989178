"""What a price is for, in units that cannot be misread, and the rules by which time is counted.

A unit names what is counted (a cluster, a node, its vCPUs or GPUs) and for how long (an hour, a day, a month).
Mixing hours with months is how other tools under-bill by a factor of 730 (opencost/opencost#3781, #4020), so there is
no unit without its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from poolkeeper.tasks.fees.periods import DAY_US, HOUR_US


class Counting(StrEnum):
    """How much of a lifetime is billed."""

    CLOCK_HOURS_INSIDE = "clock_hours_inside"
    """Clock hours in UTC+8; the hours that creation and release lie in are free (ACK Pro)."""
    CLOCK_HOURS_STARTED = "clock_hours_started"
    """Clock hours in UTC+8; part of an hour counts as an hour."""
    CALENDAR_DAYS_STARTED = "calendar_days_started"
    """Calendar days in UTC+8; part of a day counts as a day (ACK Edge). Of a size that changes, the day's largest."""
    DAILY_MAXIMUM = "daily_maximum"
    """Calendar days in UTC+8; each day, the most that all resources together had at one time (ACK Lingjun)."""
    FLAT = "flat"
    """One sum per calendar month in UTC+8 in which anything billable was there, due on its first day."""


class Measure(StrEnum):
    """What of a resource is counted."""

    ITSELF = "itself"
    VCPUS = "vcpus"
    GPUS = "gpus"


@dataclass(frozen=True, slots=True)
class Unit:
    """What one price is for."""

    name: str
    kind: str
    """`cluster`, `node`, or `any` where the price is for everything together."""
    measure: Measure
    slot_us: int
    """Length of the hour or day; 0 for a month, which has none."""
    counted_by: tuple[Counting, ...]
    """The rules that can count it."""
    noun: str
    """What a quantity is called: `vCPU-day`."""

    def amount_of(self, quantity: int) -> str:
        """`1 vCPU-day`, `64 vCPU-days`."""
        return f"{quantity:,} {self.noun}" if quantity == 1 else f"{quantity:,} {self.noun}s"


_HOURS = (Counting.CLOCK_HOURS_INSIDE, Counting.CLOCK_HOURS_STARTED)
_DAYS = (Counting.CALENDAR_DAYS_STARTED, Counting.DAILY_MAXIMUM)

UNITS: Mapping[str, Unit] = {
    unit.name: unit
    for unit in (
        Unit("per_cluster_hour", "cluster", Measure.ITSELF, HOUR_US, _HOURS, "cluster-hour"),
        Unit("per_cluster_day", "cluster", Measure.ITSELF, DAY_US, _DAYS, "cluster-day"),
        Unit("per_node_hour", "node", Measure.ITSELF, HOUR_US, _HOURS, "node-hour"),
        Unit("per_node_day", "node", Measure.ITSELF, DAY_US, _DAYS, "node-day"),
        Unit("per_vcpu_hour", "node", Measure.VCPUS, HOUR_US, _HOURS, "vCPU-hour"),
        Unit("per_vcpu_day", "node", Measure.VCPUS, DAY_US, _DAYS, "vCPU-day"),
        Unit("per_gpu_hour", "node", Measure.GPUS, HOUR_US, _HOURS, "GPU-hour"),
        Unit("per_gpu_day", "node", Measure.GPUS, DAY_US, _DAYS, "GPU-day"),
        Unit("flat_month", "any", Measure.ITSELF, 0, (Counting.FLAT,), "month"),
    )
}
