"""Reading and writing objects by the rules of a kube-apiserver, without HTTP, users or permissions.

The HTTP server, the controllers and whoever seeds a lab all write through this. Every method is synchronous and
so atomic. What it returns is shared: never change it, make a new dict.

Rules: k8s.io/apiserver, pkg/registry/rest (create.go, update.go, delete.go) and pkg/registry/generic (v0.36).
"""

from __future__ import annotations

import ipaddress
import random
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from poolkeeper.deployments.lab.kubernetes import nodes, pods, resources, strategies
from poolkeeper.deployments.lab.kubernetes.journal import Journal, Key, Match, Subscription
from poolkeeper.deployments.lab.kubernetes.resources import Resource
from poolkeeper.deployments.lab.kubernetes.selectors import everything
from poolkeeper.deployments.lab.kubernetes.statuses import (
    Flaw,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    precondition_failed,
)

Json = dict[str, Any]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Without vowels and look-alikes, as upstream: generated names spell nothing."""
_KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


def timestamp(moment: datetime | None = None) -> str:
    """A moment (now) as Kubernetes writes it: UTC, whole seconds."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(obj: Json) -> Key:
    """The object's namespace and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Store:
    """All objects of one cluster.

    window: how many events per resource a late watcher or a paged list can still be served from
    service_cidr: where Services get their cluster addresses from
    """

    def __init__(self, *, window: int = 5_000, service_cidr: str = "10.96.0.0/16") -> None:
        self.journal = Journal(window)
        self._service_addresses = ipaddress.ip_network(service_cidr)

    # Reading

    def find(self, resource: Resource | str, name: str, namespace: str = "") -> Json | None:
        """One object, or None."""
        return self.journal.get(_resource(resource), (namespace, name))

    def get(self, resource: Resource | str, name: str, namespace: str = "") -> Json:
        """One object. Raises StatusError 404."""
        found = self.find(resource, name, namespace)
        if found is None:
            raise not_found(_resource(resource), name)
        return found

    def list(self, resource: Resource | str, namespace: str | None = None, match: Match = everything) -> list[Json]:
        """The objects that match, by namespace and name."""
        return [obj for obj in self.journal.items(_resource(resource), namespace) if match(obj)]

    def subscribe(self, resource: Resource | str, since: int, match: Match = everything) -> Subscription:
        """The changes after version `since`. Raises HistoryGone. Give it back with `unsubscribe`."""
        return self.journal.subscribe(_resource(resource), since, match)

    def unsubscribe(self, resource: Resource | str, subscription: Subscription) -> None:
        """Stop listening."""
        self.journal.unsubscribe(_resource(resource), subscription)

    # Writing

    def create(self, resource: Resource | str, obj: Json, *, dry_run: bool = False) -> Json:
        """Store a new object. Raises StatusError 400, 403, 404 (namespace), 409, 422."""
        resource = _resource(resource)
        metadata = {k: v for k, v in (obj.get("metadata") or {}).items() if k != "managedFields"}
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                raise invalid(resource, "", [Flaw.required("metadata.name", "name or generateName is required")])
            letters = "".join(random.choices(_NAME_LETTERS, k=5))
            metadata["name"] = metadata["generateName"][:58] + letters
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            metadata.pop(field, None)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp()}
        if resource.counts_generation:
            metadata["generation"] = 1
        if resource.namespaced:
            metadata.setdefault("namespace", "default")
        else:
            metadata.pop("namespace", None)
        obj = {
            "kind": resource.kind,
            "apiVersion": resource.api_version,
            **{k: v for k, v in obj.items() if k not in ("kind", "apiVersion", "metadata")},
            "metadata": metadata,
        }
        if resource.namespaced:
            self._admit_to_namespace(resource, obj)
        obj = strategies.first_status(resource, strategies.set_defaults(resource, obj))
        if resource.plural == "pods":
            obj = self._admit_pod(resource, obj)
        if resource.plural == "nodes":
            obj = nodes.admit(obj)
        if resource.plural == "services":
            obj = self._with_address(obj)
        self._check(resource, obj, None)
        if self.journal.get(resource, key_of(obj)) is not None:
            raise already_exists(resource, metadata["name"])
        return obj if dry_run else self.journal.put(resource, key_of(obj), obj)

    def update(self, resource: Resource | str, obj: Json, *, subresource: str = "", dry_run: bool = False) -> Json:
        """Store an object in place of the one of its name; subresource: `status` writes that part only.

        With a resourceVersion in its metadata it must be the stored one. Raises StatusError 404, 409, 422.
        """
        resource = _resource(resource)
        old = self.get(resource, obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
        return self._replace(resource, old, obj, subresource, dry_run)

    def modify(
        self,
        resource: Resource | str,
        name: str,
        namespace: str,
        change: Callable[[Json], Json],
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Json:
        """Store what `change` makes of an object. Raises StatusError 404, 409, 422 and what `change` raises."""
        resource = _resource(resource)
        old = self.get(resource, name, namespace)
        return self._replace(resource, old, change(old), subresource, dry_run)

    def delete(
        self,
        resource: Resource | str,
        name: str,
        namespace: str = "",
        *,
        grace_s: int | None = None,
        uid: str | None = None,
        version: str | None = None,
        propagation: str | None = None,
        dry_run: bool = False,
    ) -> tuple[Json, bool]:
        """Delete an object, or mark it where a kubelet, a finalizer or a controller has to finish first.

        grace_s: for pods, in place of the pod's own period; 0 removes it at once
        uid, version: refuse (409) if the object is another one
        propagation: `Background` (default), `Foreground` or `Orphan`

        Returns the object as it is now or was last, and whether it is gone. Raises StatusError 404, 409.
        """
        resource = _resource(resource)
        old = self.get(resource, name, namespace)
        _check_preconditions(resource, old, uid, version)
        metadata = dict(old["metadata"])
        grace_s = _grace(resource, old, grace_s)
        finalizers = [f for f in metadata.get("finalizers") or () if f not in (FOREGROUND, ORPHAN)]
        if propagation in ("Foreground", "Orphan"):
            finalizers.append(FOREGROUND if propagation == "Foreground" else ORPHAN)
        elif propagation is None:
            finalizers = list(metadata.get("finalizers") or ())
        if "deletionTimestamp" not in metadata and metadata.get("generation"):
            metadata["generation"] += 1
        if "deletionTimestamp" not in metadata or grace_s != metadata.get("deletionGracePeriodSeconds"):
            metadata["deletionTimestamp"] = timestamp(datetime.now(UTC) + timedelta(seconds=grace_s))
            metadata["deletionGracePeriodSeconds"] = grace_s
        metadata["finalizers"] = finalizers
        if not finalizers:
            del metadata["finalizers"]
        marked = {**old, "metadata": metadata}
        if resource.plural == "namespaces":
            marked["status"] = {**(old.get("status") or {}), "phase": "Terminating"}
        gone = _nothing_holds(resource, marked)
        if dry_run:
            return marked, gone
        if gone:
            self.journal.remove(resource, key_of(old))
            return marked, True
        return (old if marked == old else self.journal.put(resource, key_of(old), marked)), False

    def delete_matching(
        self, resource: Resource | str, namespace: str | None, match: Match, **options: Any
    ) -> Iterable[Json]:
        """Delete every object that matches; options as for `delete`."""
        resource = _resource(resource)
        found = self.list(resource, namespace, match)
        return [self.delete(resource, name, ns, **options)[0] for ns, name in map(key_of, found)]

    def assign(self, pod: Json, node: str, *, dry_run: bool = False) -> Json:
        """Put a pod on a node: the one change of a pod's spec that is made through `pods/binding`."""
        status = pod.get("status") or {}
        kept = [c for c in status.get("conditions") or () if c["type"] != "PodScheduled"]
        scheduled = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(),
        }
        bound = {
            **pod,
            "spec": {**pod["spec"], "nodeName": node},
            "status": {**status, "conditions": [*kept, scheduled]},
        }
        return bound if dry_run else self.journal.put(_resource("pods"), key_of(pod), bound)

    # How

    def _replace(self, resource: Resource, old: Json, new: Json, subresource: str, dry_run: bool) -> Json:
        name = old["metadata"]["name"]
        metadata = {k: v for k, v in (new.get("metadata") or {}).items() if k not in ("managedFields", "selfLink")}
        if metadata.get("uid") and metadata["uid"] != old["metadata"]["uid"]:
            raise conflict(
                resource,
                name,
                f"Precondition failed: UID in precondition: {metadata['uid']}, "
                f"UID in object meta: {old['metadata']['uid']}",
            )
        if metadata.get("resourceVersion") not in (None, "", "0", old["metadata"]["resourceVersion"]):
            raise conflict(resource, name)
        for field in _KEPT:
            metadata.pop(field, None)
            if field in old["metadata"]:
                metadata[field] = old["metadata"][field]
        metadata |= {k: old["metadata"][k] for k in ("name", "namespace", "resourceVersion") if k in old["metadata"]}
        _check_finalizers(resource, old, metadata)
        new = {
            "kind": resource.kind,
            "apiVersion": resource.api_version,
            **{k: v for k, v in new.items() if k not in ("kind", "apiVersion", "metadata")},
            "metadata": metadata,
        }
        new = _one_half(resource, old, new, subresource)
        new = strategies.set_defaults(resource, new)
        if resource.counts_generation and _desired(new) != _desired(old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        self._check(resource, new, old)
        if new == old:
            return old
        if dry_run:
            return new
        if "deletionTimestamp" in metadata and _nothing_holds(resource, new):
            self.journal.remove(resource, key_of(old))
            return new
        return self.journal.put(resource, key_of(old), new)

    def _check(self, resource: Resource, obj: Json, old: Json | None) -> None:
        flaws = strategies.check_metadata(resource, obj) + strategies.check(resource, obj, old)
        if flaws:
            raise invalid(resource, obj["metadata"]["name"], flaws)

    def _admit_to_namespace(self, resource: Resource, obj: Json) -> None:
        namespace = obj["metadata"]["namespace"]
        found = self.get("namespaces", namespace)
        if "deletionTimestamp" in found["metadata"]:
            error = forbidden(
                resource,
                obj["metadata"]["name"],
                f"unable to create new content in namespace {namespace} because it is being terminated",
            )
            message = f"namespace {namespace} is being terminated"
            error.details["causes"] = [
                {"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}
            ]
            raise error

    def _admit_pod(self, resource: Resource, pod: Json) -> Json:
        priority = pod["spec"].get("priorityClassName")
        if priority and priority not in pods.PRIORITIES:
            why = f"no PriorityClass with name {priority} was found"
            raise forbidden(resource, pod["metadata"]["name"], why)
        return pods.admit(pod)

    def _with_address(self, service: Json) -> Json:
        spec = service["spec"]
        if spec["type"] == "ExternalName" or spec.get("clusterIP"):
            return service
        used = {each["spec"].get("clusterIP") for each in self.journal.items(_resource("services"))}
        address = next((str(a) for a in self._service_addresses.hosts() if str(a) not in used), None)
        if address is None:
            raise invalid(
                _resource("services"),
                service["metadata"]["name"],
                [Flaw.invalid("spec.clusterIPs", [], "failed to allocate IP: range is full")],
            )
        families = {"clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"]}
        return {**service, "spec": {**spec, **families, "ipFamilyPolicy": "SingleStack"}}


def _resource(resource: Resource | str) -> Resource:
    return resources.by_name(resource) if isinstance(resource, str) else resource


def _desired(obj: Json) -> Json:
    return {k: v for k, v in obj.items() if k not in ("metadata", "status")}


def _one_half(resource: Resource, old: Json, new: Json, subresource: str) -> Json:
    """Spec and status are written apart; what the other half says is ignored, as upstream."""
    if not resource.has_status:
        return new
    if subresource == "status":
        merged = {**old, "metadata": new["metadata"]}
        if resource.plural not in ("nodes", "pods"):
            merged["metadata"] = {**new["metadata"], "labels": old["metadata"].get("labels")}
            if merged["metadata"]["labels"] is None:
                del merged["metadata"]["labels"]
        half = "status"
    else:
        merged, half = dict(new), "status"
        new = old
    merged.pop(half, None)
    if half in new:
        merged[half] = new[half]
    return merged


def _check_finalizers(resource: Resource, old: Json, metadata: Json) -> None:
    if "deletionTimestamp" not in old["metadata"]:
        return
    known = old["metadata"].get("finalizers") or ()
    added = [each for each in metadata.get("finalizers") or () if each not in known]
    if added:
        shown = ", ".join(f'"{each}"' for each in added)
        why = "no new finalizers can be added if the object is being deleted, found new finalizers "
        flaw = Flaw.forbidden("metadata.finalizers", f"{why}[]string{{{shown}}}")
        raise invalid(resource, metadata["name"], [flaw])


def _check_preconditions(resource: Resource, old: Json, uid: str | None, version: str | None) -> None:
    metadata = old["metadata"]
    if uid and uid != metadata["uid"]:
        raise precondition_failed(
            resource,
            metadata["name"],
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated",
        )
    if version and version != metadata["resourceVersion"]:
        raise precondition_failed(
            resource,
            metadata["name"],
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({metadata['resourceVersion']}). The object might have been modified",
        )


def _grace(resource: Resource, old: Json, asked: int | None) -> int:
    """Seconds until the object is due to be gone; one that is going already may only go sooner."""
    if resource.plural != "pods":
        return 0
    metadata = old["metadata"]
    if "deletionTimestamp" not in metadata:
        return pods.grace_period_s(old, asked)
    current = int(metadata.get("deletionGracePeriodSeconds", 0))
    return current if asked is None else max(0, min(current, asked))


def _nothing_holds(resource: Resource, obj: Json) -> bool:
    """Whether an object that is marked as deleted can go."""
    metadata = obj["metadata"]
    if resource.plural == "namespaces" and (obj.get("spec") or {}).get("finalizers"):
        return False
    return not metadata.get("finalizers") and not metadata.get("deletionGracePeriodSeconds")
