"""Upgrading one host: its goal, the steps that versions allow, and the change with its proof. A rollout calls these."""

from tasks.upgrade.change import Limits, Upgrade
from tasks.upgrade.goal import Goal, GoalInvalid
from tasks.upgrade.pinning import Pins
from tasks.upgrade.skew import SkewPlan, plan_steps

__all__ = ["Goal", "GoalInvalid", "Limits", "Pins", "SkewPlan", "Upgrade", "plan_steps"]
