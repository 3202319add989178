"""PodDisruptionBudgets as rows: what they ask for, and what their controller has counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolkeeper.tasks.cluster.api import Json
from poolkeeper.tasks.cluster.fields import Malformed, Unread, pairs, required, section, sections, text, total, whole
from poolkeeper.tasks.cluster.quantities import Count
from poolkeeper.tasks.cluster.selectors import EVERYTHING, Selector, parse_selector


@dataclass(frozen=True, slots=True)
class Budget:
    """A PodDisruptionBudget."""

    namespace: str
    name: str
    selector: Selector
    min_available: Count | None = None
    max_unavailable: Count | None = None
    always_allows_unhealthy: bool = False
    """unhealthyPodEvictionPolicy is `AlwaysAllow`."""
    generation: int = 1
    observed_generation: int = 1
    """0: its controller has not counted yet."""
    allowed: int = 0
    """How many more healthy pods may go, as its controller last counted."""
    current: int = 0
    """Healthy pods."""
    desired: int = 0
    """Healthy pods that there must be."""
    expected: int = 0
    """Pods that there should be."""
    disrupted: Mapping[str, str] = field(default_factory=dict)
    """Pods whose eviction was granted and not yet seen to happen -> when."""
    sync_failed: str = ""
    """Why its controller cannot count; empty: it can."""
    unread: str = ""
    """Why its object cannot be read: then it may guard every pod of its namespace. Empty: it can."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def rule(self) -> str:
        """Its limit as a manifest has it, such as `minAvailable: 2`."""
        if self.max_unavailable is not None:
            return f"maxUnavailable: {self.max_unavailable}"
        if self.min_available is not None:
            return f"minAvailable: {self.min_available}"
        return "no limit"


def _unread(budget: Unread) -> Budget:
    return Budget(budget.namespace, budget.name, EVERYTHING, unread=budget.why)


@total(_unread)
def parse_budget(item: Json) -> Budget:
    """A PodDisruptionBudget object as a row."""
    metadata, spec, status = section(item, "metadata"), section(item, "spec"), section(item, "status")
    condition = next((c for c in sections(status, "conditions") if text(c, "type") == "DisruptionAllowed"), {})
    failed = text(condition, "reason") == "SyncFailed" and text(condition, "status") == "False"
    return Budget(
        required(metadata, "namespace"),
        required(metadata, "name"),
        parse_selector(spec.get("selector")),
        min_available=_count(spec, "minAvailable"),
        max_unavailable=_count(spec, "maxUnavailable"),
        always_allows_unhealthy=text(spec, "unhealthyPodEvictionPolicy") == "AlwaysAllow",
        generation=whole(metadata, "generation"),
        observed_generation=whole(status, "observedGeneration"),
        allowed=whole(status, "disruptionsAllowed"),
        current=whole(status, "currentHealthy"),
        desired=whole(status, "desiredHealthy"),
        expected=whole(status, "expectedPods"),
        disrupted=pairs(status, "disruptedPods"),
        sync_failed=(text(condition, "message") or "its controller does not say why") if failed else "",
    )


def _count(spec: Json, key: str) -> Count | None:
    value = spec.get(key)
    if value is None or (isinstance(value, int | str) and not isinstance(value, bool)):
        return value
    raise Malformed(f"{key} is neither a number nor a percentage")
