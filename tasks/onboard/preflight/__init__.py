"""Preflight: named checks, each a pure function of what was read, run before anything is changed."""

from poolkeeper.tasks.onboard.preflight import identity, machine, network
from poolkeeper.tasks.onboard.preflight.check import REGISTRY, Batch, Check, HostView, run_check, run_checks

__all__ = [
    "REGISTRY",
    "Batch",
    "Check",
    "HostView",
    "identity",
    "machine",
    "network",
    "run_check",
    "run_checks",
]
