"""Taking nodes out of service: what a drain would do, before the first cordon."""

from tasks.rollout.forecast import forecast, forecast_each
from tasks.rollout.verdicts import (
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
