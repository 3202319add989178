"""Services and what stands behind them, as rows.

A Service with a selector has the Ready pods that match it as endpoints: who they are follows from the pods. One
without a selector has what someone wrote into its EndpointSlices; only those are read.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.cluster.api import Json
from tasks.cluster.selectors import Selector, equal_to

SERVICE_LABEL = "kubernetes.io/service-name"
HAND_MADE = "endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io"
"""Label selector of the EndpointSlices that do not follow from a selector."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a forecast uses of a Service."""

    namespace: str
    name: str
    selector: Selector
    publishes_not_ready: bool = False
    """Its endpoints count whether they are Ready or not."""

    @property
    def selects(self) -> bool:
        """Whether its endpoints follow from its selector."""
        return not self.selector.nothing


@dataclass(frozen=True, slots=True)
class Slice:
    """An EndpointSlice that was written by hand or by another program."""

    namespace: str
    service: str
    pods: tuple[str, ...]
    """Ready endpoints that are pods of the namespace, by name."""
    others: int
    """Ready endpoints that are none."""


def parse_service(item: Json) -> Service | None:
    """A Service object as a row; None for an alias of a name outside (`ExternalName`)."""
    metadata, spec = item["metadata"], item["spec"]
    if spec.get("type") == "ExternalName":
        return None
    return Service(
        metadata["namespace"],
        metadata["name"],
        equal_to(spec.get("selector") or {}),
        bool(spec.get("publishNotReadyAddresses")),
    )


def parse_slice(item: Json) -> Slice:
    """An EndpointSlice object as a row. `ready` that is not said counts as ready, as the API has it."""
    metadata = item["metadata"]
    pods, others = [], 0
    for endpoint in item.get("endpoints") or ():
        if (endpoint.get("conditions") or {}).get("ready") is False:
            continue
        target = endpoint.get("targetRef") or {}
        if target.get("kind") == "Pod" and target.get("namespace", metadata["namespace"]) == metadata["namespace"]:
            pods.append(target["name"])
        else:
            others += 1
    return Slice(metadata["namespace"], (metadata.get("labels") or {}).get(SERVICE_LABEL, ""), tuple(pods), others)
