"""What a forecast found as findings: what stands in a drain's way, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject, by_severity
from poolkeeper.tasks.rollout.verdicts import Effect, NodeForecast, PodForecast, PodVerdict, Reason, effect_of

_NAMED = 3
"""So many pods are named in a sentence; of more the number is told."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one verdict is told."""

    id: str
    about: str
    """`pdb`, `pod` or `node`: what the finding's subject is, and what one finding is made for."""
    expected: str
    next_step: str
    """With `{node}`, `{ns}`, `{pod}`, and `{by}` for what stands in the way."""


_KINDS = {
    PodVerdict.UNREADABLE: _Kind(
        "drain.pod.unreadable",
        "pod",
        "a pod as the API has it",
        "Find out who writes that, and delete the pod when it may go: `kubectl -n {ns} get pod {pod} -o yaml`.",
    ),
    PodVerdict.TWO_BUDGETS: _Kind(
        "drain.pdb.two",
        "pdb",
        "at most one PDB matches a pod",
        "Change the selectors, or delete PDBs, so that one is left for these pods: `kubectl -n {ns} get pdb`.",
    ),
    PodVerdict.BUDGET_NEVER: _Kind(
        "drain.pdb.never",
        "pdb",
        "a PDB that can spare one pod when all are healthy",
        "Add a replica or loosen the limit: `kubectl -n {ns} edit pdb {by}`; its counts: `kubectl -n {ns} get pdb {by}"
        " -o yaml`.",
    ),
    PodVerdict.BUDGET_BLOCKS: _Kind(
        "drain.pdb.blocks",
        "pdb",
        "the PDB allows a disruption",
        "Make its unhealthy pods Ready, or wait for the other drain or rollout that uses it up: `kubectl -n {ns}"
        " describe pdb {by}`.",
    ),
    PodVerdict.FINALIZER: _Kind(
        "drain.pod.finalizer",
        "pod",
        "a pod whose object goes when it has ended",
        "Find out who removes {by}, or remove it yourself: `kubectl -n {ns} patch pod {pod} --type merge"
        ' -p \'{{"metadata":{{"finalizers":null}}}}\'`.',
    ),
    PodVerdict.STUCK: _Kind(
        "drain.pod.stuck",
        "pod",
        "a deleted pod ends within its grace period",
        "Look at the kubelet and at what the pod waits for: `kubectl -n {ns} describe pod {pod}`.",
    ),
    PodVerdict.KUBELET_GONE: _Kind(
        "drain.node.not-ready",
        "node",
        "a Ready node, whose kubelet ends its pods",
        "Make the node Ready, or delete its pods by force once the machine is off: `kubectl describe node {node}`.",
    ),
    PodVerdict.NO_CONTROLLER: _Kind(
        "drain.pod.no-controller",
        "pod",
        "a pod that a controller replaces",
        "Create it by a Deployment, or delete it when it is not needed: `kubectl -n {ns} delete pod {pod}`.",
    ),
    PodVerdict.GRACE_TOO_LONG: _Kind(
        "drain.pod.grace",
        "pod",
        "a grace period within the drain's deadline",
        "Give the drain a longer deadline, or the pod a shorter terminationGracePeriodSeconds: `kubectl -n {ns} get pod"
        " {pod} -o jsonpath='{{.spec.terminationGracePeriodSeconds}}'`.",
    ),
    PodVerdict.UNKNOWN: _Kind(
        "drain.unknown",
        "pod",
        "everything that a drain depends on can be read",
        "Give the kubeconfig's user the read rights of deployments/kubernetes/poolkeeper.yaml, or look yourself:"
        " `kubectl drain {node} --ignore-daemonsets --delete-emptydir-data --dry-run=server`.",
    ),
    PodVerdict.FITS_NOWHERE: _Kind(
        "drain.pod.fits-nowhere",
        "pod",
        "its replacement fits on another node",
        "Free resources, let it run elsewhere, or accept that it waits for this node: `kubectl -n {ns} get pod {pod}"
        " -o yaml`.",
    ),
    PodVerdict.VOLUME_BOUND: _Kind(
        "drain.pod.volume-bound",
        "pod",
        "a volume that other nodes reach",
        "Move its data, or accept that it waits for this node: `kubectl describe pv {by}`.",
    ),
    PodVerdict.ALL_AT_ONCE: _Kind(
        "drain.pod.all-at-once",
        "pod",
        "replicas that a drain evicts one after another",
        "Guard them with a PDB, or put these nodes into different waves: `kubectl -n {ns} create pdb NAME"
        " --selector=... --max-unavailable=1`.",
    ),
    PodVerdict.LAST_READY: _Kind(
        "drain.pod.last-ready",
        "pod",
        "another Ready replica while it moves",
        "Run a second replica for the drain, or accept the gap: `kubectl -n {ns} get pods -o wide`.",
    ),
    PodVerdict.EMPTY_DIR: _Kind(
        "drain.pod.empty-dir",
        "pod",
        "no needed data in an emptyDir",
        "Check that its data is not needed: `kubectl -n {ns} describe pod {pod}`.",
    ),
    PodVerdict.COMES_BACK: _Kind(
        "drain.pod.comes-back",
        "pod",
        "a pod that does not return to a cordoned node",
        "Remove the toleration of node.kubernetes.io/unschedulable from its template, or run it as a DaemonSet:"
        " `kubectl -n {ns} get pod {pod} -o jsonpath='{{.spec.tolerations}}'`.",
    ),
}


def findings(nodes: Iterable[NodeForecast], seen_at: datetime) -> tuple[Finding, ...]:
    """One finding for each pod, PDB or node that something is wrong with, worst first.

    What blocks is a blocker; what is lost, or cannot be told, a warning.
    """
    found: dict[tuple[PodVerdict, Subject], list[tuple[NodeForecast, PodForecast, Reason]]] = {}
    for node in nodes:
        for pod in node.pods:
            for reason in pod.reasons:
                kind = _KINDS.get(reason.verdict)
                if kind is not None:
                    subject = _subject(kind, node, pod, reason)
                    found.setdefault((reason.verdict, subject), []).append((node, pod, reason))
    return by_severity(_finding(verdict, subject, of, seen_at) for (verdict, subject), of in found.items())


def _subject(kind: _Kind, node: NodeForecast, pod: PodForecast, reason: Reason) -> Subject:
    if kind.about == "node":
        return Subject("node", node.node)
    if kind.about == "pdb":
        return Subject("pdb", f"{pod.pod.namespace}/{reason.blocked_by}")
    return Subject("pod", str(pod.pod))


def _finding(
    verdict: PodVerdict, subject: Subject, of: list[tuple[NodeForecast, PodForecast, Reason]], seen_at: datetime
) -> Finding:
    kind = _KINDS[verdict]
    node, pod, reason = of[0]
    names = [each.pod.name for _, each, _ in of]
    told = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    observed = reason.text if kind.about == "pod" else f"{reason.text} (pods: {told})"
    step = kind.next_step.format(node=node.node, ns=pod.pod.namespace, pod=pod.pod.name, by=reason.blocked_by)
    severity = Severity.BLOCKER if effect_of(verdict) is Effect.BLOCKED else Severity.WARNING
    return Finding(kind.id, severity, subject, Evidence(observed, kind.expected, "Kubernetes API", seen_at), step)
