"""JSON patch (RFC 6902), merge patch (RFC 7386) and Kubernetes' strategic merge patch.

None of them changes what it is given. Merge keys of the strategic patch are the `patchMergeKey` tags of
k8s.io/api v0.36; lists without such a tag, a Node's taints among them, are replaced whole.
"""

from __future__ import annotations

import copy
from typing import Any

from poolkeeper.deployments.lab.kubernetes.statuses import StatusError, bad_request

Json = dict[str, Any]

MERGE_KEYS = {
    "addresses": "type",
    "allocatedResourcesStatus": "name",
    "conditions": "type",
    "containers": "name",
    "drivers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "secrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_SETS = {"finalizers"}
_REJECTED = "the server rejected our request due to an error in our request"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def strategic_patch(target: Any, patch: Json) -> Json:
    """Kubernetes' own patch: lists of named things merge by their name. Raises StatusError 400."""
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    merged: Json = dict(target) if isinstance(target, dict) else {}
    if "$retainKeys" in patch:
        merged = {key: value for key, value in merged.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith(_DELETE):
            name = key.removeprefix(_DELETE)
            merged[name] = [each for each in merged.get(name) or [] if each not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = strategic_patch(merged.get(key), value)
        elif isinstance(value, list):
            merged[key] = _merge_list(key, merged.get(key) or [], value, patch.get(_ORDER + key))
        else:
            merged[key] = value
    for key, order in patch.items():
        name = key.removeprefix(_ORDER)
        if key.startswith(_ORDER) and name not in patch and name in merged:
            merged[name] = _ordered(merged[name], order, _merge_key(name, merged[name]))
    return merged


def _merge_key(name: str, items: list[Any]) -> str | None:
    if name == "ports" and items and isinstance(items[0], dict):
        return "containerPort" if "containerPort" in items[0] else "port"
    return MERGE_KEYS.get(name)


def _merge_list(name: str, target: list[Any], patch: list[Any], order: list[Any] | None) -> list[Any]:
    key = _merge_key(name, [item for item in patch if "$patch" not in item] or target)
    if name in _SETS:
        merged = target + [item for item in patch if item not in target]
        return _ordered(merged, order, None) if order else merged
    if key is None or any(isinstance(item, dict) and item == {"$patch": "replace"} for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and "$patch" in item)]
    merged = list(target)
    for item in patch:
        if key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        position = next((i for i, old in enumerate(merged) if old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            merged = [old for old in merged if old.get(key) != item[key]]
        elif position is None:
            merged.append(strategic_patch({}, item))
        else:
            merged[position] = strategic_patch(merged[position], item)
    return _ordered(merged, order, key) if order else merged


def _ordered(items: list[Any], order: list[Any], key: str | None) -> list[Any]:
    """Items in the order that the patch asks for; those it does not name come last, as they were."""
    if key is None:
        ranks = [order.index(item) if item in order else len(order) for item in items]
    else:
        wanted = [entry.get(key) for entry in order]
        ranks = [wanted.index(i[key]) if i.get(key) in wanted else len(wanted) for i in items]
    return [item for _, item in sorted(zip(ranks, items, strict=True), key=lambda pair: pair[0])]


def json_patch(target: Json, operations: list[Json]) -> Json:
    """RFC 6902, all or nothing. Raises StatusError 400 for nonsense, 422 for a failed test or path."""
    document: Any = copy.deepcopy(target)
    for operation in operations:
        if not isinstance(operation, dict) or "op" not in operation or "path" not in operation:
            raise bad_request("a JSON patch is a list of operations with op and path")
        try:
            document = _apply(document, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise StatusError(422, "Invalid", _REJECTED) from error
    return _as_object(document)


def _as_object(document: Any) -> Json:
    if not isinstance(document, dict):
        raise bad_request("the patch does not leave an object")
    return document


def _apply(document: Any, operation: Json) -> Any:
    kind, path = operation["op"], _pointer(operation["path"])
    if kind == "test":
        if _read(document, path) != operation.get("value"):
            raise ValueError(f"testing path {operation['path']} value failed")
        return document
    if kind == "add":
        return _add(document, path, copy.deepcopy(operation["value"]))
    if kind == "remove":
        return _remove(document, path)
    if kind == "replace":
        parent = _read(document, path[:-1])
        if isinstance(parent, dict) and path[-1] not in parent:
            # against the RFC, which upstream's library is lenient about
            return _add(document, path, copy.deepcopy(operation["value"]))
        return _add(_remove(document, path), path, copy.deepcopy(operation["value"]))
    if kind in {"move", "copy"}:
        source = _pointer(operation["from"])
        value = copy.deepcopy(_read(document, source))
        if kind == "move":
            document = _remove(document, source)
        return _add(document, path, value)
    raise ValueError(f"unexpected kind: {kind}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f"path {text} does not start with a slash")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _read(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[_index(part, len(document))] if isinstance(document, list) else document[part]
    return document


def _index(part: str, length: int) -> int:
    position = int(part)
    if not 0 <= position < length:
        raise IndexError(f"index {part} is out of range")
    return position


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _read(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1), value)
    else:
        parent[last] = value
    return document


def _remove(document: Any, path: list[str]) -> Any:
    parent, last = _read(document, path[:-1]), path[-1]
    del parent[_index(last, len(parent)) if isinstance(parent, list) else last]
    return document
