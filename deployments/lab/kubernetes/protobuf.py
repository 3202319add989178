"""The few kinds that kubectl sends as protobuf whatever it is told: `create configmap`, `auth can-i` and the like.

Only reading, and only the kinds below; answers are always JSON, which every client takes. A message with a field that
is not in the table is refused rather than half understood. Field numbers: generated.proto of k8s.io/api v0.36.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

# "s" string, "b" bytes, "n" whole number, "t" truth, "-" left out, "x" count or percentage; another word is a message
# of this table; "[...]" repeated, "{...}" a map from strings
_MESSAGES: dict[str, dict[int, tuple[str, str]]] = {
    "Unknown": {1: ("typeMeta", "TypeMeta"), 2: ("raw", "b"), 3: ("-", "-"), 4: ("-", "-")},
    "TypeMeta": {1: ("apiVersion", "s"), 2: ("kind", "s")},
    "ObjectMeta": {
        1: ("name", "s"),
        2: ("generateName", "s"),
        3: ("namespace", "s"),
        4: ("-", "-"),
        5: ("uid", "s"),
        6: ("resourceVersion", "s"),
        7: ("-", "-"),
        8: ("-", "-"),
        11: ("labels", "{s}"),
        12: ("annotations", "{s}"),
        14: ("finalizers", "[s]"),
        17: ("-", "-"),
    },
    "Namespace": {1: ("metadata", "ObjectMeta"), 2: ("-", "-"), 3: ("-", "-")},
    "ConfigMap": {1: ("metadata", "ObjectMeta"), 2: ("data", "{s}"), 3: ("binaryData", "{b}"), 4: ("immutable", "t")},
    "Secret": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "{b}"),
        3: ("type", "s"),
        4: ("stringData", "{s}"),
        5: ("immutable", "t"),
    },
    "ServiceAccount": {1: ("metadata", "ObjectMeta"), 4: ("automountServiceAccountToken", "t")},
    "SelfSubjectAccessReview": {1: ("-", "-"), 2: ("spec", "AccessReviewSpec"), 3: ("-", "-")},
    "AccessReviewSpec": {1: ("resourceAttributes", "Attributes"), 2: ("nonResourceAttributes", "PathAttributes")},
    "Attributes": {
        number: (name, "s")
        for number, name in enumerate(
            ("namespace", "verb", "group", "version", "resource", "subresource", "name"), start=1
        )
    },
    "PathAttributes": {1: ("path", "s"), 2: ("verb", "s")},
    "SelfSubjectRulesReview": {1: ("-", "-"), 2: ("spec", "RulesReviewSpec"), 3: ("-", "-")},
    "RulesReviewSpec": {1: ("namespace", "s")},
    "Role": {1: ("metadata", "ObjectMeta"), 2: ("rules", "[PolicyRule]")},
    "ClusterRole": {1: ("metadata", "ObjectMeta"), 2: ("rules", "[PolicyRule]")},
    "PolicyRule": {
        number: (name, "[s]")
        for number, name in enumerate(("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"), start=1)
    },
    "RoleBinding": {1: ("metadata", "ObjectMeta"), 2: ("subjects", "[Subject]"), 3: ("roleRef", "RoleRef")},
    "ClusterRoleBinding": {1: ("metadata", "ObjectMeta"), 2: ("subjects", "[Subject]"), 3: ("roleRef", "RoleRef")},
    "RoleRef": {1: ("apiGroup", "s"), 2: ("kind", "s"), 3: ("name", "s")},
    "Subject": {1: ("kind", "s"), 2: ("apiGroup", "s"), 3: ("name", "s"), 4: ("namespace", "s")},
    "PodDisruptionBudget": {1: ("metadata", "ObjectMeta"), 2: ("spec", "BudgetSpec"), 3: ("-", "-")},
    "BudgetSpec": {
        1: ("minAvailable", "x"),
        2: ("selector", "LabelSelector"),
        3: ("maxUnavailable", "x"),
        4: ("unhealthyPodEvictionPolicy", "s"),
    },
    "LabelSelector": {1: ("matchLabels", "{s}"), 2: ("matchExpressions", "[Requirement]")},
    "Requirement": {1: ("key", "s"), 2: ("operator", "s"), 3: ("values", "[s]")},
    "IntOrString": {1: ("type", "n"), 2: ("intVal", "n"), 3: ("strVal", "s")},
    "TokenRequest": {1: ("metadata", "ObjectMeta"), 2: ("spec", "TokenSpec"), 3: ("-", "-")},
    "TokenSpec": {1: ("audiences", "[s]"), 4: ("expirationSeconds", "n")},
}


class NotReadable(Exception):
    """A message that this module does not know, with its kind."""


def decode(raw: bytes) -> Json:
    """The object of a request's body. Raises NotReadable, and ValueError for what is no protobuf."""
    if not raw.startswith(_MAGIC):
        raise ValueError("the body does not start as Kubernetes' protobuf does")
    envelope: dict[str, Any] = {}
    for number, value in _fields(raw[len(_MAGIC) :]):
        name, kind = _MESSAGES["Unknown"].get(number, ("-", "-"))
        envelope[name] = _value(kind, value)
    kind = envelope["typeMeta"].get("kind", "")
    if kind not in _MESSAGES:
        raise NotReadable(f"a reader of protobuf for {kind or 'this kind'}; send JSON")
    return {**envelope["typeMeta"], **_message(kind, base64.b64decode(envelope["raw"]))}


def _message(kind: str, raw: bytes) -> Json:
    obj: Json = {}
    for number, value in _fields(raw):
        if number not in _MESSAGES[kind]:
            raise NotReadable(f"a reader of protobuf for field {number} of {kind}; send JSON")
        name, shape = _MESSAGES[kind][number]
        if shape.startswith("["):
            obj.setdefault(name, []).append(_value(shape[1:-1], value))
        elif shape.startswith("{"):
            entry = dict(_fields(bytes(value)))
            key = bytes(entry.get(1, b"")).decode()
            obj.setdefault(name, {})[key] = _value(shape[1:-1], entry.get(2, b""))
        elif shape != "-":
            read = _value(shape, value)
            # Go writes out empty values that JSON leaves away; an empty message may mean something
            if read not in ("", False) and (read != {} or shape == "LabelSelector"):
                obj[name] = read
    return obj


def _value(shape: str, value: int | bytes) -> Any:
    if shape == "-":
        return None
    if shape == "n":
        return value
    if shape == "t":
        return bool(value)
    raw = bytes(value)
    if shape == "s":
        return raw.decode()
    if shape == "b":
        return base64.b64encode(raw).decode()
    if shape == "x":
        either = _message("IntOrString", raw)
        return either["strVal"] if either.get("type") else either.get("intVal", 0)
    return _message(shape, raw)


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(raw):
        tag, position = _varint(raw, position)
        if tag & 7 == 0:
            value, position = _varint(raw, position)
            yield tag >> 3, value
        elif tag & 7 == 2:
            length, position = _varint(raw, position)
            if position + length > len(raw):
                raise ValueError("the protobuf is cut short")
            yield tag >> 3, raw[position : position + length]
            position += length
        else:
            raise ValueError("the protobuf has a field of a type that Kubernetes does not use")


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(raw) or shift > 63:
            raise ValueError("the protobuf is cut short")
        byte = raw[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not byte & 0x80:
            return value, position
