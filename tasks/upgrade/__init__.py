"""Upgrading one host: its goal, the steps that versions allow, and the change with its proof. A rollout calls these."""

from poolkeeper.tasks.upgrade.change import Limits, Upgrade
from poolkeeper.tasks.upgrade.goal import Goal, GoalInvalid
from poolkeeper.tasks.upgrade.pinning import Pins
from poolkeeper.tasks.upgrade.skew import SkewPlan, plan_steps

__all__ = ["Goal", "GoalInvalid", "Limits", "Pins", "SkewPlan", "Upgrade", "plan_steps"]
