"""Disruptive changes carried across a pool: forecast, plan, leases, waves, recovery. Knows no provider."""

from poolkeeper.tasks.rollout.forecast import forecast, forecast_each
from poolkeeper.tasks.rollout.verdicts import (
    Effect,
    Forecast,
    NodeForecast,
    PodForecast,
    PodVerdict,
    Reason,
    ServiceLoss,
    risk,
)

__all__ = [
    "Effect",
    "Forecast",
    "NodeForecast",
    "PodForecast",
    "PodVerdict",
    "Reason",
    "ServiceLoss",
    "forecast",
    "forecast_each",
    "risk",
]
