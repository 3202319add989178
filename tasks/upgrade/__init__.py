"""Upgrading one host: its goal, the steps that versions allow, the change, and its proof. A rollout calls these."""

from poolkeeper.tasks.upgrade.goal import GoalInvalid, VersionGoal
from poolkeeper.tasks.upgrade.host_upgrade import HostUpgrade, StepTimeouts
from poolkeeper.tasks.upgrade.pinning import Pins
from poolkeeper.tasks.upgrade.skew import SkewPlan, plan_steps

__all__ = ["GoalInvalid", "HostUpgrade", "Pins", "SkewPlan", "StepTimeouts", "VersionGoal", "plan_steps"]
