"""Namespaces: what each has from the start, and emptying those that are deleted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from poolkeeper.deployments.lab.kubernetes.controllers.loop import ControlLoop, own_key
from poolkeeper.deployments.lab.kubernetes.journal import Key
from poolkeeper.deployments.lab.kubernetes.resources import RESOURCES
from poolkeeper.deployments.lab.kubernetes.store import Store

Json = dict[str, Any]


class Namespaces:
    """Gives each namespace its ServiceAccount `default`; finishes namespaces that are going.

    ca_pem: for the ConfigMap `kube-root-ca.crt`; None: it is not made
    """

    def __init__(self, store: Store, *, ca_pem: str | None) -> None:
        self._store = store
        self._ca_pem = ca_pem
        sources = {each.qualified: self._of_content for each in RESOURCES if each.namespaced}
        self.loop = ControlLoop("namespaces", store, {**sources, "namespaces": own_key}, self.reconcile)

    def _of_content(self, obj: Json) -> Iterable[Key]:
        """Content matters while the namespace is going, or when what every namespace has is deleted."""
        namespace = self._store.find("namespaces", obj["metadata"]["namespace"])
        if namespace is None:
            return ()
        going = "deletionTimestamp" in namespace["metadata"]
        standard = obj["metadata"]["name"] in ("default", "kube-root-ca.crt")
        return own_key(namespace) if going or standard else ()

    def reconcile(self, key: Key) -> None:
        """Furnish one namespace, or clear it out."""
        name = key[1]
        found = self._store.find("namespaces", name)
        if found is None:
            return
        if "deletionTimestamp" not in found["metadata"]:
            self._furnish(name)
            return
        for resource in RESOURCES:
            if not resource.namespaced:
                continue
            for obj in self._store.list(resource, name):
                if "deletionTimestamp" not in obj["metadata"]:
                    self._store.delete(resource, obj["metadata"]["name"], name, propagation="Background")
        if not any(self._store.list(each, name) for each in RESOURCES if each.namespaced):
            self._store.update("namespaces", {**found, "spec": {**found["spec"], "finalizers": []}})

    def _furnish(self, name: str) -> None:
        if self._store.find("serviceaccounts", "default", name) is None:
            self._store.create("serviceaccounts", {"metadata": {"name": "default", "namespace": name}})
        if self._ca_pem is not None and self._store.find("configmaps", "kube-root-ca.crt", name) is None:
            metadata = {"name": "kube-root-ca.crt", "namespace": name}
            self._store.create("configmaps", {"metadata": metadata, "data": {"ca.crt": self._ca_pem}})
