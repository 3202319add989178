"""What the steps of an admission share: clients, the host as it was read, and how a step fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from poolkeeper.tasks.acceptance.proof import Clients
from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.cluster.pods import PodRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import FactsRequest, HostFacts, Sessions
from poolkeeper.tasks.onboard.next_action import JoinState, NextAction
from poolkeeper.tasks.outcomes import Evidence, Finding, Gate, HostState, PoolkeeperError, Severity, Subject
from poolkeeper.tasks.provider import Provider, ProviderError
from poolkeeper.tasks.runs.recording import Recorder

_log = logging.getLogger(__name__)


class NotAdmitted(PoolkeeperError):
    """A host was not admitted; its findings say why. The message is the host's summary."""

    id = "onboard.host.not-admitted"
    expected = "an accepted node"
    next_step = "Follow the next steps of the host's other findings, then run this again."
    source = "onboarding"

    def __init__(self, summary: str, findings: Sequence[Finding], *, ends_as: HostState | None = None) -> None:
        super().__init__(summary)
        self.findings = tuple(findings)
        self.ends_as = ends_as
        """The state that the host ends in, without any undo; None: the join that has started is undone."""


@dataclass(frozen=True, slots=True)
class Look:
    """A host as it is right now."""

    facts: HostFacts
    node: NodeRow | None
    join: JoinState
    action: NextAction

    @property
    def joined_by_us(self) -> bool:
        """Whether our join is on the host, or its Node says that our join made it. No undo is decided by it."""
        return self.join is not JoinState.NONE or (self.node is not None and self.node.joined_by_us)


@dataclass(frozen=True, slots=True)
class Context:
    """What admitting hosts to one cluster needs; made once a run."""

    api: ClusterApi
    sessions: Sessions
    provider: Provider
    gate: Gate
    recorder: Recorder
    request: FactsRequest

    @property
    def clients(self) -> Clients:
        """Those that a node is proven by."""
        return Clients(self.api, self.sessions, self.gate, self.request)

    async def join_ended(self, host: Host) -> None:
        """Let the provider revoke what the join was given. An error is only logged: a token expires soon anyway.

        Called only when it is certain that nothing on the host needs it any more. Wherever a run ends before that, the
        join may still run, and the next run follows it.
        """
        try:
            await self.provider.join_ended(host)
        except ProviderError as error:
            _log.warning("%s: %s", host.name, error.summary)


def finding(
    host: Host, id: str, observed: str, expected: str, next_step: str, severity: Severity = Severity.BLOCKER
) -> Finding:
    """A finding of an admission."""
    evidence = Evidence(observed, expected, "onboarding", datetime.now(UTC))
    return Finding(id, severity, Subject("host", host.name), evidence, next_step)


def is_workload(pod: PodRow) -> bool:
    """Whether a scheduler placed the pod, and it has not ended: no DaemonSet's pod, no static pod, none of our own."""
    has_ended = pod.phase in ("Succeeded", "Failed")
    return not has_ended and pod.owner_kind not in ("DaemonSet", "Node") and pod.namespace != "poolkeeper"
