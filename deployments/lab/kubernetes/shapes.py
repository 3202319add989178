"""Types of fields, where a mistake in them is likely and would do harm: a kube-apiserver decodes into typed objects.

The lab has no schemas. It looks at what clients of nodes, ConfigMaps, Leases and budgets write by hand, and at
metadata of everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from poolkeeper.deployments.lab.kubernetes.resources import Resource

Json = dict[str, Any]

_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")


def _is_map_of_strings(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _is_whole_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_micro_time(value: Any) -> bool:
    """MicroTime has six digits of a second, always; plain `...:00Z` is refused."""
    return isinstance(value, str) and _MICRO_TIME.fullmatch(value) is not None


_Shape = tuple[Callable[[Any], bool], str]
_MAP: _Shape = (_is_map_of_strings, "map[string]string")
_LIST: _Shape = (_is_list_of_objects, "a list of objects")
_NUMBER: _Shape = (_is_whole_number, "int32")
_TEXT: _Shape = (_is_text, "string")
_TIME: _Shape = (_is_micro_time, 'a time such as "2006-01-02T15:04:05.000000Z"')

_EVERYWHERE: dict[str, _Shape] = {"metadata.labels": _MAP, "metadata.annotations": _MAP}
_FIELDS: dict[str, dict[str, _Shape]] = {
    "configmaps": {"data": _MAP},
    "nodes": {"spec.unschedulable": (_is_flag, "bool"), "spec.taints": _LIST},
    "leases.coordination.k8s.io": {
        "spec.holderIdentity": _TEXT,
        "spec.leaseDurationSeconds": _NUMBER,
        "spec.leaseTransitions": _NUMBER,
        "spec.acquireTime": _TIME,
        "spec.renewTime": _TIME,
    },
}


def mistyped(resource: Resource, obj: Json) -> str:
    """What cannot be decoded, in words; empty when all can."""
    for path, (fits, wanted) in {**_EVERYWHERE, **_FIELDS.get(resource.qualified, {})}.items():
        for value in _values(obj, path.split(".")):
            if not fits(value):
                return f"json: cannot unmarshal into Go struct field {resource.kind}.{path} of type {wanted}"
    return ""


def _values(obj: Any, path: list[str]) -> Iterator[Any]:
    """The value at a path, if it is there and not null."""
    for key in path:
        if not isinstance(obj, dict) or obj.get(key) is None:
            return
        obj = obj[key]
    yield obj
