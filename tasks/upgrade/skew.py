"""Which versions nodes may be upgraded to, and by which steps. Pure.

The stricter counts of Kubernetes' own rule and the provider's: a kubelet is never newer than the API server, and at
most so many minors older (https://kubernetes.io/releases/version-skew-policy/, which counts minors; patches are free).
No node is taken back, were it by a build.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from poolkeeper.tasks.fleet.versions import goes_back, minor_of, numbers, same_version, vendor_of
from poolkeeper.tasks.outcomes import Checked, Evidence, Finding, Severity, Subject, blockers
from poolkeeper.tasks.provider.upgrading import UPSTREAM, UpgradeRule
from poolkeeper.tasks.upgrade.goal import Goal, GoalInvalid


@dataclass(frozen=True, slots=True)
class SkewPlan:
    """What each node goes through, and what keeps nodes, or all of them, where they are."""

    steps: Mapping[str, tuple[str, ...]]
    """Node -> versions in turn, each a goal of its own; empty: it is there already. A refused node is missing."""
    findings: tuple[Finding, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether nothing can be upgraded at all, whichever node it is."""
        return any(finding.subject.kind != "node" for finding in blockers(self.findings))


def plan_steps(
    goal: str,
    *,
    cluster: str,
    api_server: str,
    kubelets: Mapping[str, str],
    rule: UpgradeRule = UPSTREAM,
    control_plane: Iterable[Checked] = (),
) -> SkewPlan:
    """The way of each node to the goal.

    goal: `v1.36.3`, or `1.36` for its newest patch
    api_server: the oldest API server's version
    kubelets: node -> version; empty where the Node tells none
    control_plane: what `Provider.check_pool` said
    """
    findings = [c.finding for c in control_plane if c.finding is not None]
    whole = _refusals(goal, cluster, api_server, kubelets.values(), rule)
    if blockers((*findings, *whole)):
        return SkewPlan({}, (*findings, *whole))
    steps: dict[str, tuple[str, ...]] = {}
    for node, kubelet in kubelets.items():
        found = _finding(node, kubelet, goal, api_server, rule)
        if found is not None:
            findings.append(found)
        if found is None or found.severity is not Severity.BLOCKER:
            steps[node] = chain(kubelet, goal, one_minor_steps=rule.one_minor_steps)
    return SkewPlan(steps, tuple(findings))


def chain(kubelet: str, goal: str, *, one_minor_steps: bool) -> tuple[str, ...]:
    """The versions between a kubelet's and the goal, with the goal; those between by minor, such as `1.35`.

    Both are versions, and the goal is not older.
    """
    if same_version(kubelet, goal):
        return ()
    now, wanted = numbers(kubelet), numbers(goal)
    between = range(now[1] + 1, wanted[1]) if one_minor_steps else ()
    return (*(f"{wanted[0]}.{minor}" for minor in between), goal)


def minor_on_the_way(begun: Mapping[str, Any], goal: Goal) -> str | None:
    """The minor that a rollout's goal asks for, if it is a step to a later goal; None: it is no such step.

    begun: the row of that rollout's goal
    """
    try:
        step = Goal.of_row(begun)
    except GoalInvalid:
        return None
    if step.kubernetes is None or goal.kubernetes is None or step.packages or len(numbers(step.kubernetes)) > 2:
        return None
    return step.kubernetes.removeprefix("v") if numbers(step.kubernetes) < numbers(goal.kubernetes)[:2] else None


def ways_by(steps: Mapping[str, Sequence[str]], left_behind: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Node -> versions in turn, where earlier runs have left some at a step: that is proven before it goes on.

    steps: as `SkewPlan` has them; a node that tells a step's version already does not go there again
    left_behind: node -> the step that it is claimed with
    """
    ways = {node: tuple(way) for node, way in steps.items()}
    for node, step in left_behind.items():
        if node in ways and step not in ways[node]:
            ways[node] = (step, *ways[node])
    return ways


def goals_in_turn(goal: Goal, ways: Mapping[str, Sequence[str]]) -> list[Goal]:
    """Every step of any node, as a goal for those that it concerns, oldest minor first; the goal itself last."""
    between = {step for way in ways.values() for step in way if step != goal.kubernetes}
    ordered = sorted(between, key=lambda step: minor_of(step) or (0, 0))
    return [*(replace(goal, kubernetes=step, packages={}) for step in ordered), goal]


def _refusals(goal: str, cluster: str, api_server: str, kubelets: Iterable[str], rule: UpgradeRule) -> list[Finding]:
    """Why no node may go there."""
    here, server, wanted = Subject("cluster", cluster), minor_of(api_server), minor_of(goal)
    allowed = min(rule.minors_behind, UPSTREAM.minors_behind)

    def refusal(id: str, observed: str, expected: str, next_step: str) -> list[Finding]:
        evidence = Evidence(observed, expected, f"/version of the API server; {rule.source}")
        return [Finding(id, Severity.BLOCKER, here, evidence, next_step)]

    if server is None:
        return refusal(
            "upgrade.skew.api-unknown",
            f"the API server says that its version is `{api_server}`",
            "a version of Kubernetes, to compare the goal with",
            "See what `kubectl version` says of the API server.",
        )
    if wanted is None:
        return refusal(
            "upgrade.skew.goal-unknown",
            f"the goal is `{goal}`",
            "a version of Kubernetes",
            "Write the goal like 1.36.3, or 1.36 for its newest patch.",
        )
    if wanted > server:
        return refusal(
            "upgrade.skew.goal-newer",
            f"the goal {goal} is newer than the API server's {api_server}",
            "a kubelet that is not newer than the API server",
            "Upgrade the control plane first, then start again; or choose an older goal.",
        )
    vendor = vendor_of(goal)
    if vendor and vendor not in map(vendor_of, (api_server, *kubelets)):
        return refusal(
            "upgrade.skew.builds",
            f"the goal {goal} is a build of {vendor}; the API server is {api_server}",
            "a build of whom the API server's or a kubelet's is: no other kubelet would ever tell that version",
            "Write the goal without its build, such as 1.36.3.",
        )
    behind = server[1] - wanted[1]
    if wanted[0] != server[0] or behind > allowed:
        return refusal(
            "upgrade.skew.goal-too-old",
            f"the goal {goal} is {behind} minors older than the API server's {api_server}",
            f"at most {allowed}",
            f"Choose {server[0]}.{server[1] - allowed} or newer.",
        )
    return []


def _finding(node: str, kubelet: str, goal: str, api_server: str, rule: UpgradeRule) -> Finding | None:
    """What is to be said of one node; a blocker keeps it out."""
    here, source = Subject("node", node), "Node status.nodeInfo"
    now, server, back = minor_of(kubelet), minor_of(api_server), goes_back(kubelet, goal)
    if now is None:
        evidence = Evidence(f"its kubelet's version is `{kubelet}`", "a version of Kubernetes", source)
        return Finding(
            "upgrade.skew.unknown",
            Severity.BLOCKER,
            here,
            evidence,
            f"See `kubectl get node {node} -o wide` and `kubelet --version` on the host.",
        )
    if back is None:
        evidence = Evidence(f"its kubelet is {kubelet}", f"a build that can be compared with {goal}", source)
        return Finding(
            "upgrade.skew.builds",
            Severity.BLOCKER,
            here,
            evidence,
            "Write the goal without its build, such as 1.36.3: a kubelet of that version is there already.",
        )
    if back:
        evidence = Evidence(f"its kubelet is {kubelet}", f"{goal} or older: no node is taken back", source)
        return Finding(
            "upgrade.skew.downgrade",
            Severity.BLOCKER,
            here,
            evidence,
            "Choose a newer goal; or leave this node out of the selection.",
        )
    allowed = min(rule.minors_behind, UPSTREAM.minors_behind)
    if server is not None and server[1] - now[1] > allowed:
        evidence = Evidence(
            f"its kubelet {kubelet} is {server[1] - now[1]} minors older than the API server's {api_server}",
            f"at most {allowed} ({rule.source})",
            source,
        )
        return Finding(
            "upgrade.skew.behind",
            Severity.WARNING,
            here,
            evidence,
            "Upgrade it first: until then nobody supports this pair of versions.",
        )
    return None
