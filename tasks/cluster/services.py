"""Services and what stands behind them, as rows.

A Service with a selector has the Ready pods that match it as endpoints: who they are follows from the pods. One
without a selector has what someone wrote into its EndpointSlices; only those are read.
"""

from __future__ import annotations

from dataclasses import dataclass

from poolkeeper.tasks.cluster.api import Json
from poolkeeper.tasks.cluster.fields import Unread, at, pairs, required, section, sections, text, total, truth
from poolkeeper.tasks.cluster.selectors import NOTHING, Selector, equal_to

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
    unread: str = ""
    """Why its object cannot be read; empty: it can."""

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
    unread: str = ""
    """Why its object cannot be read; empty: it can."""


def _unread_service(service: Unread) -> Service | None:
    return Service(service.namespace, service.name, NOTHING, unread=service.why)


@total(_unread_service)
def parse_service(item: Json) -> Service | None:
    """A Service object as a row; None for an alias of a name outside (`ExternalName`)."""
    metadata, spec = section(item, "metadata"), section(item, "spec")
    if text(spec, "type") == "ExternalName":
        return None
    return Service(
        required(metadata, "namespace"),
        required(metadata, "name"),
        equal_to(pairs(spec, "selector")),
        truth(spec, "publishNotReadyAddresses"),
    )


def _unread_slice(part: Unread) -> Slice:
    return Slice(part.namespace, part.text("metadata", "labels", SERVICE_LABEL), (), 0, unread=part.why)


@total(_unread_slice)
def parse_slice(item: Json) -> Slice:
    """An EndpointSlice object as a row. `ready` that is not said counts as ready, as the API has it."""
    metadata = section(item, "metadata")
    namespace = required(metadata, "namespace")
    pods, others = [], 0
    for endpoint in sections(item, "endpoints"):
        if at(endpoint, "conditions", "ready") is False:
            continue
        target = section(endpoint, "targetRef")
        if text(target, "kind") == "Pod" and text(target, "namespace", namespace) == namespace:
            pods.append(required(target, "name"))
        else:
            others += 1
    return Slice(namespace, pairs(metadata, "labels").get(SERVICE_LABEL, ""), tuple(pods), others)
