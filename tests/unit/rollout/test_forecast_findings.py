"""What a forecast tells an SRE to do."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.cluster.scheduling import CORDON, Toleration
from poolkeeper.tasks.outcomes import Finding
from poolkeeper.tasks.rollout import PodVerdict
from poolkeeper.tasks.rollout.forecast_findings import _KINDS, findings
from poolkeeper.tasks.rollout.verdicts import Effect, effect_of
from tests.unit.rollout.builders import a_budget, a_node, a_pod, a_snapshot, seen


def found(*pods: Any, **parts: Any) -> list[Finding]:
    made = seen(a_snapshot([*pods, a_pod("spare", "n3")], **parts))
    return list(findings(made.nodes, made.seen_at))


@pytest.mark.parametrize(
    ("pod", "parts", "finding", "command"),
    [
        pytest.param(
            {}, {"budgets": [a_budget(max_unavailable=0)]}, ("drain.pdb.never", "blocker", "pdb shop/web"),
            "kubectl -n shop edit pdb web", id="a budget that can never allow it",
        ),
        pytest.param(
            {}, {"budgets": [a_budget(max_unavailable=1, current=1, desired=1, expected=2)]},
            ("drain.pdb.blocks", "blocker", "pdb shop/web"), "kubectl -n shop describe pdb web", id="one that blocks now",
        ),
        pytest.param(
            {}, {"budgets": [a_budget("one"), a_budget("two")]}, ("drain.pdb.two", "blocker", "pdb shop/one, two"),
            "kubectl -n shop get pdb", id="two budgets",
        ),
        pytest.param(
            {"owner": None}, {}, ("drain.pod.no-controller", "blocker", "pod shop/web-1"),
            "kubectl -n shop delete pod web-1", id="no controller",
        ),
        pytest.param(
            {"finalizers": ("example.com/x",)}, {}, ("drain.pod.finalizer", "blocker", "pod shop/web-1"),
            """kubectl -n shop patch pod web-1 --type merge -p '{"metadata":{"finalizers":null}}'""", id="a finalizer",
        ),
        pytest.param(
            {"grace_s": 900}, {}, ("drain.pod.grace", "blocker", "pod shop/web-1"),
            "kubectl -n shop get pod web-1 -o jsonpath='{.spec.terminationGracePeriodSeconds}'", id="a grace period",
        ),
        pytest.param(
            {"scratch": ("x",)}, {}, ("drain.pod.empty-dir", "warning", "pod shop/web-1"),
            "kubectl -n shop describe pod web-1", id="emptyDir",
        ),
        pytest.param(
            {"needs": {"tolerations": (Toleration(CORDON.key, "Exists", "", ""),)}}, {},
            ("drain.pod.comes-back", "warning", "pod shop/web-1"),
            "kubectl -n shop get pod web-1 -o jsonpath='{.spec.tolerations}'", id="it comes straight back",
        ),
        pytest.param(
            {}, {"budgets": "HTTP 403"}, ("drain.unknown", "warning", "pod shop/web-1"),
            "kubectl drain n1 --ignore-daemonsets --delete-emptydir-data --dry-run=server", id="what cannot be read",
        ),
    ],
)  # fmt: skip
def test_one_pod(pod: dict[str, Any], parts: dict[str, Any], finding: tuple[str, str, str], command: str) -> None:
    (only,) = found(a_pod(**pod), **parts)
    assert (only.id, str(only.severity), str(only.subject)) == finding
    assert f"`{command}`" in only.next_step


def test_a_budget_is_one_finding_however_many_pods_it_holds() -> None:
    pods = [a_pod(f"web-{n}") for n in range(5)]
    (only,) = found(*pods, budgets=[a_budget(max_unavailable=0)])
    assert only.evidence.observed.endswith("(pods: web-0, web-1, web-2 and 2 more)")


def test_a_silent_node_is_one_finding() -> None:
    nodes = [a_node("n1", ready=False), a_node("n2"), a_node("n3")]
    made = seen(a_snapshot([a_pod("a"), a_pod("b"), a_pod("c", "n2")], nodes))
    (only,) = findings(made.nodes, made.seen_at)
    assert (only.id, str(only.subject)) == ("drain.node.not-ready", "node n1")


def test_a_clear_node_has_none() -> None:
    assert found(a_pod()) == []


def test_every_verdict_that_is_not_clear_is_told() -> None:
    assert {verdict for verdict in PodVerdict if effect_of(verdict) is not Effect.CLEAR} == set(_KINDS)
