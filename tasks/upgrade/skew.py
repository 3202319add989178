"""Which versions nodes may be upgraded to, and by which steps. Pure.

The stricter one of two rules counts, Kubernetes' and the provider's: a kubelet is never newer than the API server, and
at most a number of minors older (https://kubernetes.io/releases/version-skew-policy/; patches do not matter).
The invariant: no node is downgraded, not even to another build.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolkeeper.tasks.fleet.versions import goes_back, minor_of, numbers, same_version, vendor_of
from poolkeeper.tasks.outcomes import Checked, Evidence, Finding, Severity, Subject, blockers
from poolkeeper.tasks.provider.upgrading import UPSTREAM, UpgradeRule


@dataclass(frozen=True, slots=True)
class SkewPlan:
    """The steps of each node, and the findings that forbid an upgrade of one node or of all."""

    steps: Mapping[str, tuple[str, ...]]
    """Node -> versions in turn, each a goal; empty: the node is at the goal. A refused node is missing."""
    findings: tuple[Finding, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether no node at all may be upgraded."""
        return any(finding.subject.kind != "node" for finding in blockers(self.findings))


def plan_steps(
    goal: str,
    *,
    cluster: str,
    api_server: str,
    kubelets: Mapping[str, str],
    rule: UpgradeRule = UPSTREAM,
    one_minor_steps: bool = False,
    control_plane: Iterable[Checked] = (),
) -> SkewPlan:
    """The steps of each node to the goal.

    goal: `v1.36.3`, or `1.36` for its newest patch
    api_server: the oldest API server's version
    kubelets: node -> version; empty where the Node reports none
    one_minor_steps: a person wants every minor on the way, also where the rule does not
    control_plane: result of `Provider.check_pool`
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
            steps[node] = chain(kubelet, goal, one_minor_steps=one_minor_steps or rule.one_minor_steps)
    return SkewPlan(steps, tuple(findings))


def chain(kubelet: str, goal: str, *, one_minor_steps: bool) -> tuple[str, ...]:
    """The versions after a kubelet's up to the goal; those before the goal are minors, such as `1.35`.

    Both arguments are versions of Kubernetes 1, and the goal is not older.
    """
    if same_version(kubelet, goal):
        return ()
    now, wanted = numbers(kubelet), numbers(goal)
    between = range(now[1] + 1, wanted[1]) if one_minor_steps else ()
    return (*(f"{wanted[0]}.{minor}" for minor in between), goal)


def _refusals(goal: str, cluster: str, api_server: str, kubelets: Iterable[str], rule: UpgradeRule) -> list[Finding]:
    """Why no node may have that version."""
    here, server, wanted = Subject("cluster", cluster), minor_of(api_server), minor_of(goal)
    allowed = min(rule.minors_behind, UPSTREAM.minors_behind)

    def refusal(id: str, observed: str, expected: str, next_step: str) -> list[Finding]:
        evidence = Evidence(observed, expected, f"/version of the API server; {rule.source}")
        return [Finding(id, Severity.BLOCKER, here, evidence, next_step)]

    if server is None:
        return refusal(
            "upgrade.skew.api-unknown",
            f"the API server reports the version `{api_server}`",
            "a version of Kubernetes, to compare the goal with",
            "See which server version `kubectl version` shows.",
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
            f"the goal {goal} is a build of {vendor}, and the API server is {api_server}",
            "a build of the same vendor as the API server's or a kubelet's; no other kubelet reports that version",
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
    """The finding about one node, if there is one; with a blocker it is not upgraded."""
    here, source = Subject("node", node), "Node status.nodeInfo"
    now, server, back = minor_of(kubelet), minor_of(api_server), goes_back(kubelet, goal)
    if now is None:
        evidence = Evidence(f"its kubelet reports the version `{kubelet}`", "a version of Kubernetes", source)
        return Finding(
            "upgrade.skew.unknown",
            Severity.BLOCKER,
            here,
            evidence,
            f"Compare `kubectl get node {node} -o wide` with `kubelet --version` on the host.",
        )
    if back is None:
        evidence = Evidence(f"its kubelet is {kubelet}", f"a build that can be compared with {goal}", source)
        return Finding(
            "upgrade.skew.builds",
            Severity.BLOCKER,
            here,
            evidence,
            "Write the goal without its build, such as 1.36.3; the kubelet has that version already.",
        )
    if back:
        evidence = Evidence(f"its kubelet is {kubelet}", f"{goal} or older; poolkeeper downgrades no node", source)
        return Finding(
            "upgrade.skew.downgrade",
            Severity.BLOCKER,
            here,
            evidence,
            "Choose a newer goal, or exclude this node from the selection.",
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
            "Upgrade this node soon; Kubernetes does not support this pair of versions.",
        )
    return None
