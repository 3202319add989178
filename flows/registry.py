"""Every flow, registered here and nowhere else.

The command line, `recover` and the tests follow this table; tests/unit/test_prefect_yaml.py compares prefect.yaml with
it. A new flow is a module in this package and a row here. Importing this table does not import Prefect.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolkeeper.tasks.rollout.host_work import HostWork
    from poolkeeper.tasks.rollout.remedies import Found
    from poolkeeper.tasks.rollout.run import RolloutRun


@dataclass(frozen=True, slots=True)
class Recovery:
    """How `recover` finishes the unfinished work of a killed run: by the function `finishing` of the flow's module."""

    without_node: bool
    """Whether it also finishes work on a host whose Node does not exist any more."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One flow. Its parameters and their descriptions are those of its function and docstring."""

    name: str
    """Name in Prefect and on the command line; its module and function have the same name, with `_` for `-`."""
    changes_hosts: bool
    deployments: tuple[str, ...] = ()
    """Names of its deployments in prefect.yaml."""
    recovery: Recovery | None = None
    """None: `recover` releases the hosts of a killed run, and finishes nothing."""
    started_by_flow: bool = False
    """Only another flow starts it; it is not a command."""
    examples: tuple[str, ...] = ()
    """What a user types after the flow's name."""

    @property
    def module(self) -> str:
        """Import path of its module."""
        return f"{__package__}.{self._identifier}"

    @property
    def entrypoint(self) -> str:
        """Import path of its function, as in a deployment."""
        return f"{self.module}.{self._identifier}"

    @property
    def _identifier(self) -> str:
        return self.name.replace("-", "_")

    def load(self) -> Any:
        """The flow itself. The first call takes two seconds, because it imports Prefect."""
        return getattr(importlib.import_module(self.module), self._identifier)

    def finishing(self, run: RolloutRun, found: Found) -> HostWork:
        """The work that finishes what a killed run has started. Raises GoalInvalid."""
        made: Callable[[RolloutRun, Found], HostWork] = importlib.import_module(self.module).finishing
        return made(run, found)


FLOWS = {
    flow.name: flow
    for flow in (
        Registered(
            "onboard",
            changes_hosts=True,
            deployments=("onboard", "preflight-nightly"),
            examples=("--pool general", "--hosts site=fra1 --apply"),
        ),
        Registered(
            "upgrade",
            changes_hosts=True,
            deployments=("upgrade",),
            recovery=Recovery(without_node=False),
            examples=(
                "--pool general --kubernetes 1.36.3",
                "--pool general --kubernetes 1.36.3 --apply",
                "--pool general --packages containerd=1.7.24-1 --apply",
            ),
        ),
        Registered(
            "maintain",
            changes_hosts=True,
            deployments=("maintain",),
            examples=("--hosts fra1-n03 --apply", "--hosts fra1-n03 --back --apply"),
        ),
        Registered(
            "offboard",
            changes_hosts=True,
            deployments=("offboard",),
            recovery=Recovery(without_node=True),
            examples=("--hosts fra1-n03", "--hosts fra1-n03 --host-is-gone --apply"),
        ),
        Registered("recover", changes_hosts=True, deployments=("recover",), examples=("", "--pool general --apply")),
        Registered(
            "audit",
            changes_hosts=False,
            deployments=("audit-nightly",),
            examples=("", "--hosts site=fra1 --pod-nodes 0", "--fail-on new-blockers"),
        ),
        Registered("ask-site", changes_hosts=False, started_by_flow=True),
        Registered(
            "meter",
            changes_hosts=False,
            deployments=("fees-nightly", "close-month"),
            examples=("", "--period last --close"),
        ),
    )
}
"""By name."""
COMMANDS = tuple(flow for flow in FLOWS.values() if not flow.started_by_flow)
"""The flows that an operator starts."""
