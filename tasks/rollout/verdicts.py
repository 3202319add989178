"""What a forecast says: a verdict with all its reasons per pod, an effect per node, losses per service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from poolkeeper.tasks.cluster.workloads import Pod
from poolkeeper.tasks.outcomes import Observed


class Effect(StrEnum):
    """What draining means for a pod or a node, worst first."""

    BLOCKED = "blocked"
    """A drain fails or hangs unless it is forced."""
    UNKNOWN = "unknown"
    """What it depends on could not be read or is not simulated."""
    LOSSY = "lossy"
    """The drain goes through; data, room or availability is lost."""
    CLEAR = "clear"
    """The drain goes through and nothing is lost."""


class PodVerdict(StrEnum):
    """What a drain meets in one pod, worst first."""

    UNREADABLE = "unreadable"
    """Its object is not as a pod's is, so that a drain leaves it and ends."""
    TWO_BUDGETS = "two-budgets"
    """The API server refuses to evict a pod under more than one budget."""
    BUDGET_NEVER = "budget-never"
    """The budget cannot allow it with the replicas that there are to be."""
    FINALIZER = "finalizer"
    """It is not gone before someone else has removed its finalizer."""
    STUCK = "stuck"
    """It was deleted, its time is over and it is still there."""
    KUBELET_GONE = "kubelet-gone"
    """Its node does not report, so nobody ends it."""
    NO_CONTROLLER = "no-controller"
    """Nothing would replace it."""
    BUDGET_BLOCKS = "budget-blocks"
    """The budget allows no disruption now, and nothing that this drain does changes that."""
    GRACE_TOO_LONG = "grace-too-long"
    """It may take longer to end than the drain waits."""
    UNKNOWN = "unknown"
    FITS_NOWHERE = "fits-nowhere"
    """No other node would take its replacement."""
    VOLUME_BOUND = "volume-bound"
    """Its data can be reached from this node only."""
    ALL_AT_ONCE = "all-at-once"
    """All Ready replicas of its workload go in this wave."""
    LAST_READY = "last-ready"
    """It is the only Ready replica, and no budget guards it."""
    EMPTY_DIR = "empty-dir"
    """The data in its emptyDir volumes is lost."""
    COMES_BACK = "comes-back"
    """Its replacement may be put on the cordoned node again."""
    BUDGET_WAITS = "budget-waits"
    """The budget is spent by pods of this wave; it is evicted once their replacements are Ready."""
    EVICTABLE = "evictable"
    GOING = "going"
    """It was deleted already and ends within its grace period."""
    FINISHED = "finished"
    """It has ended; its object is deleted without asking any budget."""
    DAEMONSET = "daemonset"
    """A drain leaves it where it is."""
    STATIC = "static"
    """The kubelet runs it from its own files; a drain leaves it."""


_BLOCKED = {
    PodVerdict.UNREADABLE,
    PodVerdict.TWO_BUDGETS,
    PodVerdict.BUDGET_NEVER,
    PodVerdict.FINALIZER,
    PodVerdict.STUCK,
    PodVerdict.KUBELET_GONE,
    PodVerdict.NO_CONTROLLER,
    PodVerdict.BUDGET_BLOCKS,
    PodVerdict.GRACE_TOO_LONG,
}
_LOSSY = {
    PodVerdict.FITS_NOWHERE,
    PodVerdict.VOLUME_BOUND,
    PodVerdict.ALL_AT_ONCE,
    PodVerdict.LAST_READY,
    PodVerdict.EMPTY_DIR,
    PodVerdict.COMES_BACK,
}
_RANK = {verdict: position for position, verdict in enumerate(PodVerdict)}
_EFFECT_RANK = {effect: position for position, effect in enumerate(Effect)}

REFUSED_AT_FIRST = frozenset(
    {PodVerdict.TWO_BUDGETS, PodVerdict.BUDGET_NEVER, PodVerdict.BUDGET_BLOCKS, PodVerdict.BUDGET_WAITS}
)
"""The verdicts of a pod that the eviction API turns down when its turn comes and nothing has been replaced yet."""
STAYS = frozenset({PodVerdict.DAEMONSET, PodVerdict.STATIC})
"""The verdicts of a pod that a drain does not touch."""


def effect_of(verdict: PodVerdict) -> Effect:
    """What one verdict means for the drain."""
    if verdict in _BLOCKED:
        return Effect.BLOCKED
    if verdict is PodVerdict.UNKNOWN:
        return Effect.UNKNOWN
    return Effect.LOSSY if verdict in _LOSSY else Effect.CLEAR


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that holds for a pod."""

    verdict: PodVerdict
    text: str
    """A clause, in an SRE's words."""
    blocked_by: str = ""
    """Name of what stands in the way: a budget of the pod's namespace (two with a comma), a finalizer, a volume."""


@dataclass(frozen=True, slots=True)
class PodForecast:
    """One pod's forecasts."""

    pod: Pod
    reasons: tuple[Reason, ...]
    """Worst first; never empty."""

    @property
    def verdict(self) -> PodVerdict:
        """The worst of its reasons."""
        return self.reasons[0].verdict

    @property
    def effect(self) -> Effect:
        """What the pod means for its node's drain."""
        return effect_of(self.verdict)

    @property
    def refused_at_first(self) -> bool:
        """Whether the eviction API would turn it down, as long as nothing that went before is replaced."""
        return any(reason.verdict in REFUSED_AT_FIRST for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class NodeForecast:
    """One node's forecasts as a part of its wave."""

    node: str
    pods: tuple[PodForecast, ...]
    """Worst first, then by namespace and name."""

    @property
    def effect(self) -> Effect:
        """The worst of its pods; a node without any is clear."""
        return min((pod.effect for pod in self.pods), key=_EFFECT_RANK.__getitem__, default=Effect.CLEAR)

    def count(self, effect: Effect) -> int:
        """How many of its pods have this effect."""
        return sum(1 for pod in self.pods if pod.effect is effect)


@dataclass(frozen=True, slots=True)
class ServiceLoss:
    """A Service that has fewer endpoints while the wave is drained."""

    namespace: str
    name: str
    ready: int
    """Ready endpoints now."""
    left: int
    """Ready endpoints when all pods that go at once have gone and no replacement is Ready yet."""
    nodes: tuple[str, ...]
    """The nodes of the wave that the lost ones are on."""


@dataclass(frozen=True, slots=True, repr=False)
class Forecast:
    """What draining these nodes at once would do."""

    seen_at: datetime
    """When the cluster was read."""
    now: datetime
    deadline_s: float
    nodes: tuple[NodeForecast, ...]
    """In the order in which they were given, which is the order that budgets and room are spent in."""
    services: Observed[tuple[ServiceLoss, ...]]
    """Fewest left first."""
    unread: tuple[str, ...] = ()
    """Objects of the cluster that could not be read, each with why."""

    def __repr__(self) -> str:
        return f"Forecast({', '.join(f'{node.node} {node.effect}' for node in self.nodes)})"

    @property
    def effect(self) -> Effect:
        """The worst of its nodes."""
        return min((node.effect for node in self.nodes), key=_EFFECT_RANK.__getitem__, default=Effect.CLEAR)


def worst_first(reasons: list[Reason]) -> tuple[Reason, ...]:
    """The reasons in the order of their verdicts."""
    return tuple(sorted(reasons, key=lambda reason: _RANK[reason.verdict]))


def by_verdict(pods: list[PodForecast]) -> tuple[PodForecast, ...]:
    """Pods with the worst first, then by namespace and name."""
    return tuple(sorted(pods, key=lambda each: (_RANK[each.verdict], each.pod.namespace, each.pod.name)))


Risk = tuple[int, int, int, int, int, int]


def risk(node: NodeForecast) -> Risk:
    """How much may go wrong with a node: sorted by it, risky nodes go last.

    The effect first (clear, lossy, unknown, blocked), then how many pods are blocked, unknown, lossy, wait for a
    budget, and have to be evicted at all.
    """
    waiting = sum(1 for pod in node.pods if any(r.verdict is PodVerdict.BUDGET_WAITS for r in pod.reasons))
    moved = sum(1 for pod in node.pods if pod.verdict not in STAYS)
    return (
        len(_EFFECT_RANK) - 1 - _EFFECT_RANK[node.effect],
        node.count(Effect.BLOCKED),
        node.count(Effect.UNKNOWN),
        node.count(Effect.LOSSY),
        waiting,
        moved,
    )
