"""Endpoints: the addresses of the Ready pods behind each Service with a selector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from poolkeeper.deployments.lab.kubernetes.controllers.loop import ControlLoop, own_key
from poolkeeper.deployments.lab.kubernetes.journal import Key
from poolkeeper.deployments.lab.kubernetes.pods import is_ready
from poolkeeper.deployments.lab.kubernetes.selectors import labels_of
from poolkeeper.deployments.lab.kubernetes.store import Store, key_of

Json = dict[str, Any]


class ServiceEndpoints:
    """Writes Endpoints; EndpointSlices are not served."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.loop = ControlLoop("endpoints", store, {"services": own_key, "pods": self._of_pod}, self.reconcile)

    def _of_pod(self, pod: Json) -> Iterable[Key]:
        labels = labels_of(pod)
        for service in self._store.list("services", pod["metadata"]["namespace"]):
            selector = service["spec"].get("selector")
            if selector and selector.items() <= labels.items():
                yield key_of(service)

    def reconcile(self, key: Key) -> None:
        """Write the Endpoints of one Service, or take them away with it."""
        namespace, name = key
        service = self._store.find("services", name, namespace)
        found = self._store.find("endpoints", name, namespace)
        if service is None:
            if found is not None:
                self._store.delete("endpoints", name, namespace)
            return
        selector = service["spec"].get("selector")
        if not selector:
            return
        pods = [
            pod
            for pod in self._store.list("pods", namespace)
            if selector.items() <= labels_of(pod).items()
            and (pod.get("status") or {}).get("podIP")
            and "deletionTimestamp" not in pod["metadata"]
        ]
        subset: Json = {}
        for field, wanted in (("addresses", True), ("notReadyAddresses", False)):
            addresses = [_address(pod) for pod in pods if is_ready(pod) is wanted]
            if addresses:
                subset[field] = addresses
        if subset:
            subset["ports"] = [_port(port) for port in service["spec"]["ports"]]
        made = {
            "metadata": {"name": name, "namespace": namespace, "labels": service["metadata"].get("labels") or {}},
            "subsets": [subset] if subset else [],
        }
        if found is None:
            self._store.create("endpoints", made)
        else:
            self._store.update("endpoints", made)


def _address(pod: Json) -> Json:
    metadata = pod["metadata"]
    target = {
        "kind": "Pod",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return {"ip": pod["status"]["podIP"], "nodeName": pod["spec"].get("nodeName", ""), "targetRef": target}


def _port(port: Json) -> Json:
    target = port.get("targetPort", port["port"])
    # a named port would have to be looked up in each pod
    number = target if isinstance(target, int) else port["port"]
    named = {"name": port["name"]} if port.get("name") else {}
    return {**named, "port": number, "protocol": port["protocol"]}
