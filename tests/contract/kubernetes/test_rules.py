"""The pure rules below the server, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.deployments.lab.kubernetes import placement, protobuf, tables
from poolkeeper.deployments.lab.kubernetes.patches import json_patch, merge_patch, strategic_patch
from poolkeeper.deployments.lab.kubernetes.quantities import quantity, scaled
from poolkeeper.deployments.lab.kubernetes.statuses import StatusError

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        pytest.param({"a": 1}, {"b": 2}, {"a": 1, "b": 2}, id="adds"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}, id="null removes"),
        pytest.param({"env": [{"name": "x", "value": "1"}]}, {"env": [{"name": "x", "value": "2"}]}, {"env": [{"name": "x", "value": "2"}]}, id="merges by name"),
        pytest.param({"env": [{"name": "x"}, {"name": "y"}]}, {"env": [{"name": "x", "$patch": "delete"}]}, {"env": [{"name": "y"}]}, id="deletes by name"),
        pytest.param({"env": [{"name": "x"}]}, {"env": [{"$patch": "replace"}, {"name": "z"}]}, {"env": [{"name": "z"}]}, id="replaces a list"),
        pytest.param({"ports": [{"containerPort": 80}]}, {"ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 81}]}, {"ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 81}]}, id="ports of a container"),
        pytest.param({"ports": [{"port": 80, "targetPort": 1}]}, {"ports": [{"port": 80, "targetPort": 2}]}, {"ports": [{"port": 80, "targetPort": 2}]}, id="ports of a service"),
        pytest.param({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}, {"tolerations": [{"key": "b"}]}, id="tolerations are one value"),
        pytest.param({"env": [{"name": "a"}, {"name": "b"}]}, {"$setElementOrder/env": [{"name": "b"}, {"name": "a"}], "env": [{"name": "a", "value": "1"}]}, {"env": [{"name": "b"}, {"name": "a", "value": "1"}]}, id="order"),
        pytest.param({"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}, {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}, {"strategy": {"type": "Recreate"}}, id="retained keys"),
        pytest.param({"spec": {"a": 1}}, {"spec": {"$patch": "replace", "b": 2}}, {"spec": {"b": 2}}, id="replaces an object"),
    ],
)  # fmt: skip
def test_strategic_patch(target: Json, patch: Json, result: Json) -> None:
    before = repr(target)
    assert strategic_patch(target, patch) == result
    assert repr(target) == before


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        pytest.param({"a": "b"}, {"a": "c"}, {"a": "c"}, id="replaces"),
        pytest.param({"a": ["b"]}, {"a": "c"}, {"a": "c"}, id="replaces a list"),
        pytest.param({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}, id="null of the absent"),
        pytest.param({"a": "foo"}, {"b": [3, None, {"x": None}]}, {"a": "foo", "b": [3, None, {"x": None}]}, id="nulls in lists stay"),
        pytest.param({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}, id="nested null"),
    ],
)  # fmt: skip
def test_merge_patch(target: Json, patch: Json, result: Json) -> None:
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("operations", "result"),
    [
        pytest.param([{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3]}, id="appends"),
        pytest.param([{"op": "add", "path": "/a/0", "value": 0}], {"a": [0, 1, 2]}, id="inserts"),
        pytest.param([{"op": "remove", "path": "/a/1"}], {"a": [1]}, id="removes"),
        pytest.param([{"op": "replace", "path": "/a", "value": 1}], {"a": 1}, id="replaces"),
        pytest.param([{"op": "move", "from": "/a", "path": "/b"}], {"b": [1, 2]}, id="moves"),
        pytest.param([{"op": "copy", "from": "/a/0", "path": "/b~1c"}], {"a": [1, 2], "b/c": 1}, id="copies"),
        pytest.param([{"op": "remove", "path": "/nope"}], None, id="an absent path"),
        pytest.param([{"op": "add", "path": "/a/9", "value": 1}], None, id="beyond the end"),
        pytest.param([{"op": "test", "path": "/a/0", "value": 2}], None, id="a failed test"),
        pytest.param([{"op": "paint", "path": "/a"}], None, id="an unknown operation"),
    ],
)
def test_json_patch(operations: list[Json], result: Json | None) -> None:
    if result is not None:
        assert json_patch({"a": [1, 2]}, operations) == result
    else:
        with pytest.raises(StatusError) as caught:
            json_patch({"a": [1, 2]}, operations)
        assert caught.value.code == 422


@pytest.mark.parametrize(
    ("toleration", "taint", "holds"),
    [
        pytest.param({"operator": "Exists"}, ("a", "b", "NoExecute"), True, id="everything"),
        pytest.param({"key": "a", "operator": "Exists"}, ("a", "b", "NoSchedule"), True, id="key exists"),
        pytest.param({"key": "a", "value": "b"}, ("a", "b", "NoSchedule"), True, id="equal by default"),
        pytest.param({"key": "a", "value": "c"}, ("a", "b", "NoSchedule"), False, id="another value"),
        pytest.param({"key": "a", "operator": "Exists", "effect": "NoExecute"}, ("a", "b", "NoSchedule"), False, id="another effect"),
        pytest.param({"key": "a"}, ("a", "", "NoSchedule"), True, id="no value on both"),
        pytest.param({"operator": "Equal"}, ("a", "", "NoSchedule"), False, id="no key and Equal"),
    ],
)  # fmt: skip
def test_tolerates(toleration: Json, taint: tuple[str, str, str], holds: bool) -> None:
    key, value, effect = taint
    assert placement.tolerates(toleration, {"key": key, "value": value, "effect": effect}) is holds


@pytest.mark.parametrize(
    ("affinity", "holds"),
    [
        pytest.param([{"key": "tier", "operator": "In", "values": ["web"]}], True, id="in"),
        pytest.param([{"key": "tier", "operator": "NotIn", "values": ["web"]}], False, id="not in"),
        pytest.param([{"key": "gpu", "operator": "DoesNotExist"}], True, id="absent"),
        pytest.param([{"key": "cores", "operator": "Gt", "values": ["4"]}], True, id="greater"),
        pytest.param([], False, id="an empty term matches nothing"),
    ],
)
def test_required_node_affinity(affinity: list[Json], holds: bool) -> None:
    term = {"nodeSelectorTerms": [{"matchExpressions": affinity}]}
    spec = {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}}
    assert placement.wants(spec, {"metadata": {"name": "n", "labels": {"tier": "web", "cores": "8"}}}) is holds


@pytest.mark.parametrize(
    ("text", "value"),
    [("250m", "0.25"), ("2Gi", "2147483648"), ("1e3", "1000"), (4, "4"), ("1.5k", "1500")],
)
def test_quantity(text: Any, value: str) -> None:
    assert quantity(text) == quantity(value)


@pytest.mark.parametrize("text", ["", "a", "1x", "--1", "1 Gi"])
def test_not_a_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        quantity(text)


@pytest.mark.parametrize(
    ("value", "total", "up", "result"),
    [(3, 10, True, 3), ("25%", 10, True, 3), ("25%", 10, False, 2), ("0%", 10, True, 0), ("100%", 7, True, 7)],
)
def test_scaled(value: Any, total: int, up: bool, result: int) -> None:
    assert scaled(value, total, up=up) == result


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"k8s\x00\x0a\xff", b"k8s\x00\x0d"])
def test_broken_protobuf_is_told(raw: bytes) -> None:
    with pytest.raises(ValueError, match="protobuf"):
        protobuf.decode(raw)


def test_an_unknown_kind_of_protobuf_is_named() -> None:
    type_meta = b"\x0a\x02v1\x12\x03Foo"
    raw = b"k8s\x00\x0a" + bytes([len(type_meta)]) + type_meta + b"\x12\x00"
    with pytest.raises(protobuf.NotReadable, match="Foo"):
        protobuf.decode(raw)


def test_age_of_nothing_is_unknown() -> None:
    assert tables.age(None) == "<unknown>"
