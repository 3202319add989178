"""What a price is for, and how time is counted for it.

A unit names what is counted (a cluster, a node, its vCPUs or GPUs) and the time (an hour, a day, a month). Every unit
includes its time: other tools mixed hours with months and billed too little by a factor of 730
(opencost/opencost#3781, #4020).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from poolkeeper.tasks.fees.periods import DAY_US, HOUR_US


class Counting(StrEnum):
    """How the billed time of a lifetime is counted."""

    CLOCK_HOURS_INSIDE = "clock_hours_inside"
    """Clock hours in UTC+8; the hour of the creation and the hour of the release are free (ACK Pro)."""
    CLOCK_HOURS_STARTED = "clock_hours_started"
    """Clock hours in UTC+8; part of an hour counts as a whole hour."""
    CALENDAR_DAYS_STARTED = "calendar_days_started"
    """Calendar days in UTC+8; part of a day counts as a whole day, with the largest size of the day (ACK Edge)."""
    DAILY_MAXIMUM = "daily_maximum"
    """Calendar days in UTC+8; each day counts with the largest sum of all resources at one time (ACK Lingjun)."""
    FLAT = "flat"
    """One sum for each calendar month in UTC+8 in which a billed resource exists, due on its first day."""


class Measure(StrEnum):
    """What is counted of a resource."""

    ITSELF = "itself"
    VCPUS = "vcpus"
    GPUS = "gpus"


@dataclass(frozen=True, slots=True)
class PriceUnit:
    """What one price is for."""

    name: str
    kind: str
    """`cluster`, `node`, or `any` where the price is for all resources together."""
    measure: Measure
    slot_us: int
    """Length of the hour or day; 0 for a month, whose length differs."""
    counted_by: tuple[Counting, ...]
    """The ways of counting that fit the unit."""
    noun: str
    """The noun for a quantity: `vCPU-day`."""

    def amount_of(self, quantity: int) -> str:
        """`1 vCPU-day`, `64 vCPU-days`."""
        return f"{quantity:,} {self.noun}" if quantity == 1 else f"{quantity:,} {self.noun}s"


_HOURS = (Counting.CLOCK_HOURS_INSIDE, Counting.CLOCK_HOURS_STARTED)
_DAYS = (Counting.CALENDAR_DAYS_STARTED, Counting.DAILY_MAXIMUM)

UNITS: Mapping[str, PriceUnit] = {
    unit.name: unit
    for unit in (
        PriceUnit("per_cluster_hour", "cluster", Measure.ITSELF, HOUR_US, _HOURS, "cluster-hour"),
        PriceUnit("per_cluster_day", "cluster", Measure.ITSELF, DAY_US, _DAYS, "cluster-day"),
        PriceUnit("per_node_hour", "node", Measure.ITSELF, HOUR_US, _HOURS, "node-hour"),
        PriceUnit("per_node_day", "node", Measure.ITSELF, DAY_US, _DAYS, "node-day"),
        PriceUnit("per_vcpu_hour", "node", Measure.VCPUS, HOUR_US, _HOURS, "vCPU-hour"),
        PriceUnit("per_vcpu_day", "node", Measure.VCPUS, DAY_US, _DAYS, "vCPU-day"),
        PriceUnit("per_gpu_hour", "node", Measure.GPUS, HOUR_US, _HOURS, "GPU-hour"),
        PriceUnit("per_gpu_day", "node", Measure.GPUS, DAY_US, _DAYS, "GPU-day"),
        PriceUnit("flat_month", "any", Measure.ITSELF, 0, (Counting.FLAT,), "month"),
    )
}
