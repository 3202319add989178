"""Pods by node and objects by owner, kept up to date, so that no controller walks through all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from poolkeeper.deployments.lab.kubernetes.journal import Event, Key
from poolkeeper.deployments.lab.kubernetes.resources import RESOURCES, Resource
from poolkeeper.deployments.lab.kubernetes.store import Store, key_of

Json = dict[str, Any]


class Index:
    """Objects of some resources under the words that `words` finds in them."""

    def __init__(self, store: Store, indexed: Iterable[Resource], words: Callable[[Json], Iterable[str]]) -> None:
        self._store = store
        self._resources = frozenset(indexed)
        self._words = words
        self._found: defaultdict[str, dict[tuple[Resource, Key], Json]] = defaultdict(dict)
        for resource in self._resources:
            for obj in store.list(resource):
                self._add(resource, key_of(obj), obj)
        store.journal.listeners.append(self._hear)

    def close(self) -> None:
        """Follow no longer."""
        self._store.journal.listeners.remove(self._hear)

    def entries(self, word: str) -> list[tuple[Resource, Json]]:
        """The resource and object of everything under a word."""
        return [(resource, obj) for (resource, _), obj in self._found.get(word, {}).items()]

    def objects(self, word: str) -> list[Json]:
        """The objects under a word."""
        return list(self._found.get(word, {}).values())

    def _hear(self, resource: Resource, event: Event) -> None:
        if resource not in self._resources:
            return
        if event.before is not None:
            for word in self._words(event.before):
                self._found[word].pop((resource, event.key), None)
                if not self._found[word]:
                    del self._found[word]
        if event.after is not None:
            self._add(resource, event.key, event.after)

    def _add(self, resource: Resource, key: Key, obj: Json) -> None:
        for word in self._words(obj):
            self._found[word][resource, key] = obj


def _node_of(pod: Json) -> Iterable[str]:
    name = pod["spec"].get("nodeName")
    return (name,) if name else ()


def _owners_of(obj: Json) -> Iterable[str]:
    return [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or ()]


class Indexes:
    """The indexes that the controllers share."""

    def __init__(self, store: Store) -> None:
        self.pods_by_node = Index(store, [r for r in RESOURCES if r.plural == "pods"], _node_of)
        self.by_owner = Index(store, RESOURCES, _owners_of)
        """By the uid of each owner."""

    def pods_of(self, owner: Json) -> list[Json]:
        """The pods that an object manages, oldest first."""
        uid = owner["metadata"]["uid"]
        return [
            obj
            for resource, obj in self.by_owner.entries(uid)
            if resource.plural == "pods" and _is_managed_by(obj, uid)
        ]

    def replicasets_of(self, owner: Json) -> list[Json]:
        """The ReplicaSets that an object manages, oldest first."""
        uid = owner["metadata"]["uid"]
        return [
            obj
            for resource, obj in self.by_owner.entries(uid)
            if resource.plural == "replicasets" and _is_managed_by(obj, uid)
        ]

    def close(self) -> None:
        """Follow the store no longer."""
        self.pods_by_node.close()
        self.by_owner.close()


def _is_managed_by(obj: Json, uid: str) -> bool:
    owners = obj["metadata"].get("ownerReferences") or ()
    return any(owner["uid"] == uid and owner.get("controller") for owner in owners)
