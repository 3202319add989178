"""PodDisruptionBudgets as rows: what they ask for, and what their controller has counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.cluster.api import Json
from tasks.cluster.quantities import Count
from tasks.cluster.selectors import Selector, parse_selector


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


def parse_budget(item: Json) -> Budget:
    """A PodDisruptionBudget object as a row."""
    metadata, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    condition: Json = next((c for c in status.get("conditions") or () if c["type"] == "DisruptionAllowed"), {})
    failed = condition.get("reason") == "SyncFailed" and condition.get("status") == "False"
    return Budget(
        metadata["namespace"],
        metadata["name"],
        parse_selector(spec.get("selector")),
        min_available=spec.get("minAvailable"),
        max_unavailable=spec.get("maxUnavailable"),
        always_allows_unhealthy=spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow",
        generation=int(metadata.get("generation", 0)),
        observed_generation=int(status.get("observedGeneration", 0)),
        allowed=int(status.get("disruptionsAllowed", 0)),
        current=int(status.get("currentHealthy", 0)),
        desired=int(status.get("desiredHealthy", 0)),
        expected=int(status.get("expectedPods", 0)),
        disrupted=dict(status.get("disruptedPods") or {}),
        sync_failed=(condition.get("message") or "its controller does not say why") if failed else "",
    )
