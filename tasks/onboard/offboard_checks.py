"""Which machine may be removed from the cluster, and what shows that it has left. Pure.

A Node belongs to a host by its declared node name, verified by machine id, as at onboarding. What is unknown keeps a
host in the cluster: a reset of the wrong machine cannot be undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from poolkeeper.tasks.cluster.nodes import MACHINE_ID, NodeRow
from poolkeeper.tasks.cluster.pods import PodRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import HostError
from poolkeeper.tasks.hosts.kubelet import Trace
from poolkeeper.tasks.hosts.units import UnitRun
from poolkeeper.tasks.onboard.next_action import other_names
from poolkeeper.tasks.outcomes import Evidence, Finding, Known, Observed, Severity, Subject, Unknown


class MayNotLeave(HostError):
    """This machine is not the one to remove, or cannot be removed yet; its own finding says why."""

    id = "offboard.host.may-not-leave"
    expected = "the machine that is declared, and that can be removed"

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.evidence.observed, next_step=finding.next_step)
        self._finding = finding

    def finding(self, subject: Subject, severity: Severity = Severity.BLOCKER) -> Finding:
        """The finding as it was made."""
        return self._finding


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of the cluster on a host."""

    machine_id: Observed[str]
    trace: Trace
    joining: UnitRun
    """The unit of our join."""
    leaving: UnitRun

    @property
    def is_ours(self) -> bool:
        """Whether something on the host shows that we have joined it, or started to remove it."""
        units = {self.joining, self.leaving} - {UnitRun.ABSENT, UnitRun.UNKNOWN}
        return self.trace.has_record or bool(units)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left to clean."""
        units = {self.joining, self.leaving}
        return units == {UnitRun.ABSENT} and not self.trace.has_record and self.trace.is_off


def reason_to_stay(
    host: Host, node: NodeRow | None, nodes: Iterable[NodeRow], remains: Remains, now: datetime
) -> Finding | None:
    """Why this machine may not be removed; None: it may, or has left already."""
    seen = remains.machine_id.value if isinstance(remains.machine_id, Known) else ""

    def blocker(id: str, observed: str, expected: str, source: str, next_step: str) -> Finding:
        return finding(host, f"offboard.{id}", observed, expected, next_step, now, source=source)

    if host.machine_id and seen and host.machine_id != seen:
        return blocker(
            "identity.machine-id",
            f"the machine at its address has machine id {seen}",
            f"machine id {host.machine_id} as declared",
            "/etc/machine-id",
            f"Find out which machine answers there; if {host.name} was reinstalled, set machine_id: {seen} in the fleet"
            " file.",
        )
    if elsewhere := other_names(host, nodes, remains.machine_id):
        return blocker(
            "identity.other-name",
            f"this machine is in the cluster as node {', '.join(elsewhere)}",
            f"node {host.node_name}, or none",
            "Nodes",
            f"Set node_name: {elsewhere[0]} for it in the fleet file if that is the node to go, and run this again.",
        )
    if UnitRun.UNKNOWN in (remains.joining, remains.leaving):
        return blocker(
            "unit.unknown",
            "unknown",
            "whether a join or a removal of ours runs on the host",
            "transient units",
            f"Log in to {host.name} and look at /run/poolkeeper and `systemctl status 'poolkeeper-*'`.",
        )
    if remains.joining is UnitRun.RUNNING:
        return blocker(
            "host.joining",
            "our join runs on it",
            "no running join",
            "transient units",
            "Wait until onboarding has ended (`poolkeeper run onboard` follows it), then run this again.",
        )
    if node is None and remains.is_clean:
        return None
    if not seen:
        return blocker(
            "identity.unknown",
            _unknown(remains.machine_id),
            "a machine id to identify the host",
            "/etc/machine-id",
            "Make /etc/machine-id readable on the host (`systemd-machine-id-setup` where it is missing).",
        )
    if node is None:
        return _without_node(host, remains, now)
    registered = node.machine_id or node.annotations.get(MACHINE_ID, "")
    if registered == seen:
        return None
    return blocker(
        "identity.other-machine",
        f"this host has machine id {seen}; Node {node.name} belongs to machine id {registered or 'unknown'}",
        "the Node of that name is this host's",
        "Node and /etc/machine-id",
        f"Find out which machine has the name {node.name}, and give one of them another node_name. If the Node is that"
        f" of a machine which is gone: `kubectl delete node {node.name}`.",
    )


def _without_node(host: Host, remains: Remains, now: datetime) -> Finding | None:
    """A host without a Node: only what we have left on it shows that it is ours.

    Our removal switches the kubelet off before it deletes the Node. A kubelet that runs without a Node here may serve
    another cluster, to which the host was moved by hand or in the fleet file.
    """
    runs = remains.trace.runs
    is_off = isinstance(runs, Known) and not runs.value
    if remains.is_ours and not is_off and remains.leaving is UnitRun.ABSENT:
        return finding(
            host,
            "offboard.host.kubelet-runs",
            f"it has no Node in this cluster, and its kubelet {_kubelet(remains.trace)}",
            "a Node of this cluster, or a stopped kubelet",
            f"See which cluster it serves (`grep server: /etc/kubernetes/kubelet.conf` on {host.name}). If it is this"
            " one, `systemctl restart kubelet` there registers its Node again; if not, correct the fleet file.",
            now,
            source="host facts",
        )
    if remains.is_ours or remains.trace.is_off:
        return None
    return finding(
        host,
        "offboard.host.not-ours",
        f"it has no Node in this cluster, nothing of ours is on it, and its kubelet {_kubelet(remains.trace)}",
        "a Node of this cluster, or our own record of its join",
        f"Find out which cluster {host.name} belongs to (`grep server: /etc/kubernetes/kubelet.conf` there). If it"
        " was this one, run the provider's reset on it by hand; if not, correct the fleet file.",
        now,
        source="host facts",
    )


def _kubelet(trace: Trace) -> str:
    if isinstance(trace.runs, Known) and trace.runs.value:
        return "runs"
    if isinstance(trace.starts_at_boot, Known) and trace.starts_at_boot.value:
        return "starts with the next boot"
    return "is in an unknown state"


def unsure_if_gone(host: Host, error: HostError, now: datetime) -> Finding:
    """Something answered, or no packet got there: neither shows that a machine is gone."""
    return finding(
        host,
        "offboard.host.not-silent",
        f"unknown whether it is gone: {error}",
        "no answer at its address",
        f"{error.next_step} If the host is gone, remove its address from the machine that answers there.",
        now,
    )


def host_alive(host: Host, node: NodeRow | None, answered: Observed[str] | None, now: datetime) -> Finding | None:
    """What contradicts the operator's `host_is_gone`; None: nothing.

    answered: the machine id that was read at the host's address; None: no answer there
    """
    next_step = f"Omit host_is_gone: {host.name} can be offboarded in the usual way."
    if node is not None and node.ready:
        return finding(
            host, "offboard.host.alive", f"Node {node.name} is Ready", "a machine that is gone", next_step, now
        )
    if answered is None:
        return None
    registered = (node.machine_id or node.annotations.get(MACHINE_ID, "")) if node is not None else ""
    known_ids = {one for one in (host.machine_id, registered) if one}
    if isinstance(answered, Known) and known_ids and answered.value not in known_ids:
        return None  # another machine has its address now
    seen = f"machine id {answered.value}" if isinstance(answered, Known) else _unknown(answered)
    return finding(
        host,
        "offboard.host.alive",
        f"it answers over SSH ({seen})",
        "a machine that is gone",
        f"{next_step} If another machine has its address now, correct the fleet file.",
        now,
    )


def may_come_back(host: Host, trace: Trace, leftovers: Observed[Sequence[str]], now: datetime) -> list[Finding]:
    """What is left on a cleaned host, read again. A kubelet that is on is a blocker: the node may come back."""
    findings = []
    for what, observed in (("runs", trace.runs), ("starts with the next boot", trace.starts_at_boot)):
        if isinstance(observed, Known) and not observed.value:
            continue
        seen = f"it {what}" if isinstance(observed, Known) else f"whether it {what}: {_unknown(observed)}"
        findings.append(
            finding(
                host,
                "offboard.kubelet.on",
                f"kubelet: {seen}",
                "a kubelet that neither runs nor starts at boot",
                "Stop and disable it on the host (`systemctl disable --now kubelet`), then run this again.",
                now,
                source="systemctl",
            )
        )
    if isinstance(leftovers, Unknown):
        findings.append(leftovers_stay(host, [f"unknown what is left: {leftovers.reason}"], now))
    elif leftovers.value:
        findings.append(leftovers_stay(host, leftovers.value, now))
    return findings


def leftovers_stay(host: Host, what: Sequence[str], now: datetime) -> Finding:
    """What stays on a host that has left. Only a new join has to wait for its removal."""
    return finding(
        host,
        "offboard.leftovers",
        "; ".join(what),
        "nothing of the cluster on it",
        "Unmount what is mounted there and run this again; remove by hand what was there before the join.",
        now,
        severity=Severity.WARNING,
        source="host facts",
    )


def lost_pods(host: Host, pods: Iterable[PodRow], now: datetime) -> Finding | None:
    """Pods that are still bound to the Node of a dead machine, and are deleted with it."""
    left = [f"{pod.namespace}/{pod.name}" for pod in pods if pod.phase not in ("Succeeded", "Failed")]
    if not left:
        return None
    more = f" and {len(left) - 10} more" if len(left) > 10 else ""
    return finding(
        host,
        "offboard.pods.lost",
        f"{len(left)} pods were still bound to its node: {', '.join(sorted(left)[:10])}{more}",
        "none",
        "Expect these pods to be deleted with the Node, and their data on the machine's disks to be lost; a pod with a"
        " controller is created again on another node.",
        now,
        severity=Severity.WARNING,
        source="Kubernetes API",
    )


def pods_still_bound(host: Host, pods: Sequence[PodRow], now: datetime) -> Finding:
    """Pods that no controller has collected although their Node is gone."""
    names = ", ".join(sorted(f"{pod.namespace}/{pod.name}" for pod in pods)[:10])
    return finding(
        host,
        "offboard.pods.stay",
        f"{len(pods)} pods are still bound to node {host.node_name}, which is gone: {names}",
        "none",
        "Wait until the pod garbage collector has deleted them before this host joins again; a pod that stays has a"
        " finalizer (`kubectl get pod -o yaml`).",
        now,
        severity=Severity.WARNING,
        source="Kubernetes API",
    )


def not_cleaned(host: Host, now: datetime) -> Finding:
    """A machine that is gone keeps its disks."""
    return finding(
        host,
        "offboard.host.not-cleaned",
        "it was not cleaned, because host_is_gone declares the machine dead",
        "a clean host",
        f"Keep {host.name} off the network, or wipe it: if it starts again, its kubelet registers the node again.",
        now,
        severity=Severity.WARNING,
        source="host_is_gone",
    )


def still_declared(host: Host, now: datetime) -> Finding:
    """What is left for a person to do after a successful removal."""
    return finding(
        host,
        "offboard.fleet-file",
        "it is still an active host of the fleet file",
        "a fleet file without it",
        f"Remove {host.name} from the fleet file, or set active: false: onboarding would join it again.",
        now,
        severity=Severity.INFO,
        source="fleet file",
    )


def finding(
    host: Host,
    id: str,
    observed: str,
    expected: str,
    next_step: str,
    now: datetime,
    *,
    severity: Severity = Severity.BLOCKER,
    source: str = "offboarding",
) -> Finding:
    """A finding on a host that leaves."""
    return Finding(id, severity, Subject("host", host.name), Evidence(observed, expected, source, now), next_step)


def _unknown(observed: Observed[object]) -> str:
    return f"unknown: {observed.reason}" if isinstance(observed, Unknown) else "known"
