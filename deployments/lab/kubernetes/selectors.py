"""Label and field selectors: parsed once, asked often.

Grammar: k8s.io/apimachinery, pkg/labels/selector.go and pkg/fields/selector.go. The fields that may be selected
per kind are those of k8s.io/kubernetes, pkg/apis/*/v1/conversion.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from poolkeeper.deployments.lab.kubernetes.journal import Match
from poolkeeper.deployments.lab.kubernetes.resources import Resource
from poolkeeper.deployments.lab.kubernetes.statuses import bad_request

Json = dict[str, Any]
Labels = Mapping[str, str]
Requirement = Callable[[Labels], bool]

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_SET = re.compile(rf"^({_NAME})\s+(in|notin)\s*\(([^)]*)\)$")
_EQUAL = re.compile(rf"^({_NAME})\s*(==|=|!=)\s*([-A-Za-z0-9_.]*)$")
_MORE = re.compile(rf"^({_NAME})\s*([<>])\s*(-?\d+)$")
_EXISTS = re.compile(rf"^(!?)\s*({_NAME})$")


def everything(_: Json) -> bool:
    """Matches all objects."""
    return True


def _split(text: str) -> list[str]:
    """At commas outside brackets."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def parse_labels(text: str) -> Requirement:
    """A label selector such as `a=b,c in (d,e),!f`. Raises StatusError 400."""
    requirements = [_requirement(part) for part in _split(text)]
    return lambda labels: all(requirement(labels) for requirement in requirements)


def _requirement(part: str) -> Requirement:
    if found := _EQUAL.match(part):
        key, operator, value = found.groups()
        return _not_in(key, {value}) if operator == "!=" else _in(key, {value})
    if found := _SET.match(part):
        key, operator, values = found.groups()
        wanted = {value.strip() for value in values.split(",")}
        return _in(key, wanted) if operator == "in" else _not_in(key, wanted)
    if found := _EXISTS.match(part):
        negated, key = found.groups()
        return _absent(key) if negated else _present(key)
    if found := _MORE.match(part):
        key, operator, value = found.groups()
        return _compared(key, operator, int(value))
    raise bad_request(f'unable to parse requirement: found "{part}", expected a label requirement')


def _in(key: str, values: set[str]) -> Requirement:
    return lambda labels: labels.get(key) in values


def _not_in(key: str, values: set[str]) -> Requirement:
    return lambda labels: labels.get(key) not in values


def _present(key: str) -> Requirement:
    return lambda labels: key in labels


def _absent(key: str) -> Requirement:
    return lambda labels: key not in labels


def _compared(key: str, operator: str, bound: int) -> Requirement:
    def holds(labels: Labels) -> bool:
        text = labels.get(key, "")
        if not re.fullmatch(r"-?\d+", text):
            return False
        return int(text) > bound if operator == ">" else int(text) < bound

    return holds


_EXPRESSIONS: dict[str, Callable[[str, set[str]], Requirement]] = {
    "In": _in,
    "NotIn": _not_in,
    "Exists": lambda key, _: _present(key),
    "DoesNotExist": lambda key, _: _absent(key),
    "Gt": lambda key, values: _compared(key, ">", int(next(iter(values)))),
    "Lt": lambda key, values: _compared(key, "<", int(next(iter(values)))),
}


def from_expressions(expressions: list[Json]) -> Requirement:
    """`matchExpressions` of a label selector or a node selector term."""
    requirements = [_EXPRESSIONS[e["operator"]](e["key"], set(e.get("values") or ())) for e in expressions]
    return lambda labels: all(requirement(labels) for requirement in requirements)


def from_label_selector(selector: Json | None) -> Requirement:
    """A LabelSelector object: nothing matches none, an empty one matches all."""
    if selector is None:
        return lambda labels: False
    wanted = (selector.get("matchLabels") or {}).items()
    expressions = from_expressions(selector.get("matchExpressions") or [])
    return lambda labels: all(labels.get(k) == v for k, v in wanted) and expressions(labels)


def labels_of(obj: Json) -> Labels:
    """The object's labels, also where it has none."""
    return obj["metadata"].get("labels") or {}


_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicasets.apps": ("status.replicas",),
    "replicationcontrollers": ("status.replicas",),
    "jobs.batch": ("status.successful",),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
}
_BOOLEAN = {"spec.unschedulable", "spec.hostNetwork"}


def _field(obj: Json, path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if path in _BOOLEAN:
        return "true" if value else "false"
    return "" if value is None else str(value)


def parse_fields(resource: Resource, text: str) -> Match:
    """A field selector such as `spec.nodeName=a,status.phase!=Running`. Raises StatusError 400."""
    known = ("metadata.name", *(("metadata.namespace",) if resource.namespaced else ()))
    known += _FIELDS.get(resource.qualified, ())
    terms: list[tuple[str, str, bool]] = []
    for part in _split(text):
        found = re.match(r"^([^=!]+)(!=|==|=)(.*)$", part)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        path, operator, value = found.groups()
        if path not in known:
            raise bad_request(
                f'Unable to find "{resource.api_version}, Resource={resource.plural}" that match label selector '
                f'"", field selector "{text}": field label not supported: {path}'
            )
        terms.append((path, value, operator != "!="))
    return lambda obj: all((_field(obj, path) == value) is wanted for path, value, wanted in terms)


def matcher(resource: Resource, labels: str, fields: str, namespace: str | None = None) -> Match:
    """Both selectors and the namespace in one question. Raises StatusError 400."""
    wanted_labels = parse_labels(labels) if labels else None
    wanted_fields = parse_fields(resource, fields) if fields else None
    if wanted_labels is None and wanted_fields is None and namespace is None:
        return everything

    def match(obj: Json) -> bool:
        return (
            (namespace is None or obj["metadata"].get("namespace", "") == namespace)
            and (wanted_fields is None or wanted_fields(obj))
            and (wanted_labels is None or wanted_labels(labels_of(obj)))
        )

    return match
