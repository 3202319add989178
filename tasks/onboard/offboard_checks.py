"""Which machine may be taken out of the cluster, and what shows that it has left. Pure.

A Node belongs to a host by its declared node name, verified by machine id, as at onboarding. What cannot be told keeps
a host in: a reset of the wrong machine cannot be taken back.
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
    """What of the cluster is on a host."""

    machine_id: Observed[str]
    trace: Trace
    joining: UnitRun
    """Of the unit of a join of ours."""
    leaving: UnitRun

    @property
    def is_ours(self) -> bool:
        """Whether something on the host shows that it came into a cluster, or was on its way out, by us."""
        units = {self.joining, self.leaving} - {UnitRun.ABSENT, UnitRun.UNKNOWN}
        return self.trace.has_record or bool(units)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left to be done on it."""
        units = {self.joining, self.leaving}
        return units == {UnitRun.ABSENT} and not self.trace.has_record and self.trace.is_off


def reason_to_stay(
    host: Host, node: NodeRow | None, nodes: Iterable[NodeRow], remains: Remains, now: datetime
) -> Finding | None:
    """Why this machine is not to be taken out; None: it may be, or has left already."""
    seen = remains.machine_id.value if isinstance(remains.machine_id, Known) else ""

    def told(id: str, observed: str, expected: str, source: str, next_step: str) -> Finding:
        return finding(host, f"offboard.{id}", observed, expected, next_step, now, source=source)

    if host.machine_id and seen and host.machine_id != seen:
        return told(
            "identity.machine-id",
            f"the machine at its address has machine id {seen}",
            f"machine id {host.machine_id} as declared",
            "/etc/machine-id",
            f"Find out which machine answers there; if {host.name} was reinstalled, set machine_id: {seen} in the fleet"
            " file.",
        )
    if elsewhere := other_names(host, nodes, remains.machine_id):
        return told(
            "identity.other-name",
            f"this machine is in the cluster as node {', '.join(elsewhere)}",
            f"node {host.node_name}, or none",
            "Nodes",
            f"Set node_name: {elsewhere[0]} for it in the fleet file if that is the node to go, and run this again.",
        )
    if UnitRun.UNKNOWN in (remains.joining, remains.leaving):
        return told(
            "unit.unknown",
            "unknown",
            "whether a join or a removal of ours runs on the host",
            "transient units",
            f"Log in to {host.name} and look at /run/poolkeeper and `systemctl status 'poolkeeper-*'`.",
        )
    if remains.joining is UnitRun.RUNNING:
        return told(
            "host.joining",
            "a join of ours runs on it",
            "no join that is under way",
            "transient units",
            "Let onboarding come to its end (`poolkeeper run onboard`), or cut it off there; then run this again.",
        )
    if node is None and remains.is_clean:
        return None
    if not seen:
        return told(
            "identity.unknown",
            _unknown(remains.machine_id),
            "a machine id to tell it by",
            "/etc/machine-id",
            "Make /etc/machine-id readable on the host (`systemd-machine-id-setup` where it is missing).",
        )
    if node is None:
        return _without_node(host, remains, now)
    registered = node.machine_id or node.annotations.get(MACHINE_ID, "")
    if registered == seen:
        return None
    return told(
        "identity.other-machine",
        f"this host has machine id {seen}; Node {node.name} belongs to machine id {registered or 'unknown'}",
        "the Node of that name is this host's",
        "Node and /etc/machine-id",
        f"Find out which machine has the name {node.name}, and give one of them another node_name. If the Node is that"
        f" of a machine which is gone: `kubectl delete node {node.name}`.",
    )


def _without_node(host: Host, remains: Remains, now: datetime) -> Finding | None:
    """A host without a Node: nothing shows whose it is but what we have left on it ourselves.

    A removal of ours switches the kubelet off before the Node goes. One that runs without a Node here may serve another
    cluster, which the host was moved to by hand or in the fleet file.
    """
    runs = remains.trace.runs
    is_off = isinstance(runs, Known) and not runs.value
    if remains.is_ours and not is_off and remains.leaving is UnitRun.ABSENT:
        return finding(
            host,
            "offboard.host.kubelet-runs",
            f"it has no Node in this cluster, and its kubelet {_kubelet(remains.trace)}",
            "its Node, or a kubelet that is off",
            f"See which cluster it serves (`grep server: /etc/kubernetes/kubelet.conf` on {host.name}). If it is this"
            " one, `systemctl restart kubelet` there makes its Node anew; if not, correct the fleet file.",
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
        f"Find out whose node {host.name} is (`grep server: /etc/kubernetes/kubelet.conf` there). If it was this"
        " cluster's, run the provider's reset on it by hand; if not, correct the fleet file.",
        now,
        source="host facts",
    )


def _kubelet(trace: Trace) -> str:
    if isinstance(trace.runs, Known) and trace.runs.value:
        return "runs"
    if isinstance(trace.starts_at_boot, Known) and trace.starts_at_boot.value:
        return "starts with the next boot"
    return "cannot be told about"


def unsure_if_gone(host: Host, error: HostError, now: datetime) -> Finding:
    """Something answered, or the question never got there: neither shows that a machine is gone."""
    return finding(
        host,
        "offboard.host.not-silent",
        f"whether it is gone cannot be told: {error}",
        "no answer at its address",
        f"{error.next_step} If it is gone all the same, take its address off whatever answers there.",
        now,
    )


def host_alive(host: Host, node: NodeRow | None, answered: Observed[str] | None, now: datetime) -> Finding | None:
    """What speaks against the operator's word that a machine is gone; None: nothing does.

    answered: the machine id that was read at the host's address; None: nobody answers there
    """
    next_step = f"Leave host_is_gone out: {host.name} can be taken out in the usual way."
    if node is not None and node.ready:
        return finding(
            host, "offboard.host.alive", f"Node {node.name} is Ready", "a machine that is gone", next_step, now
        )
    if answered is None:
        return None
    registered = (node.machine_id or node.annotations.get(MACHINE_ID, "")) if node is not None else ""
    known_ids = {one for one in (host.machine_id, registered) if one}
    if isinstance(answered, Known) and known_ids and answered.value not in known_ids:
        return None  # another machine has its address by now
    seen = f"machine id {answered.value}" if isinstance(answered, Known) else _unknown(answered)
    return finding(
        host,
        "offboard.host.alive",
        f"it answers over SSH ({seen})",
        "a machine that is gone",
        f"{next_step} If another machine has its address by now, correct the fleet file.",
        now,
    )


def may_come_back(host: Host, trace: Trace, leftovers: Observed[Sequence[str]], now: datetime) -> list[Finding]:
    """What of a node is on a host that was cleaned, as it was read afresh. A blocker: it may come back."""
    findings = []
    for what, observed in (("runs", trace.runs), ("starts with the next boot", trace.starts_at_boot)):
        if isinstance(observed, Known) and not observed.value:
            continue
        seen = f"it {what}" if isinstance(observed, Known) else f"whether it {what} is {_unknown(observed)}"
        findings.append(
            finding(
                host,
                "offboard.kubelet.on",
                f"kubelet: {seen}",
                "a kubelet that neither runs nor comes back",
                "Stop it on the host for good (`systemctl disable --now kubelet`), then run this again.",
                now,
                source="systemctl",
            )
        )
    if isinstance(leftovers, Unknown):
        findings.append(leftovers_stay(host, [f"what is left cannot be told: {leftovers.reason}"], now))
    elif leftovers.value:
        findings.append(leftovers_stay(host, leftovers.value, now))
    return findings


def leftovers_stay(host: Host, what: Sequence[str], now: datetime) -> Finding:
    """What stays on a host that has left. It keeps the host from nothing but coming back."""
    return finding(
        host,
        "offboard.leftovers",
        "; ".join(what),
        "nothing of the cluster on it",
        "Unmount what is mounted there and run this again; what was there before the join is yours to remove.",
        now,
        severity=Severity.WARNING,
        source="host facts",
    )


def lost_pods(host: Host, pods: Iterable[PodRow], now: datetime) -> Finding | None:
    """What is still bound to the Node of a dead machine, and goes with it."""
    left = [f"{pod.namespace}/{pod.name}" for pod in pods if pod.phase not in ("Succeeded", "Failed")]
    if not left:
        return None
    more = f" and {len(left) - 10} more" if len(left) > 10 else ""
    return finding(
        host,
        "offboard.pods.lost",
        f"{len(left)} pods were still bound to it: {', '.join(sorted(left)[:10])}{more}",
        "none",
        "They go with the Node, and so does what they kept on the machine's disks; what has a controller comes back"
        " elsewhere where there is room.",
        now,
        severity=Severity.WARNING,
        source="Kubernetes API",
    )


def pods_still_bound(host: Host, pods: Sequence[PodRow], now: datetime) -> Finding:
    """What nobody has collected although its Node is gone."""
    names = ", ".join(sorted(f"{pod.namespace}/{pod.name}" for pod in pods)[:10])
    return finding(
        host,
        "offboard.pods.stay",
        f"{len(pods)} pods are still bound to node {host.node_name}, which is gone: {names}",
        "none",
        "Wait until the pod garbage collector has taken them before it joins again; see what holds those that stay"
        " (`kubectl get pod -o yaml`: finalizers).",
        now,
        severity=Severity.WARNING,
        source="Kubernetes API",
    )


def not_cleaned(host: Host, now: datetime) -> Finding:
    """A machine that is gone keeps what is on its disks."""
    return finding(
        host,
        "offboard.host.not-cleaned",
        "it was not cleaned, by the operator's word that it is gone",
        "a clean host",
        f"Should it ever start again, its kubelet registers it anew: keep {host.name} off the network, or wipe it.",
        now,
        severity=Severity.WARNING,
        source="host_is_gone",
    )


def still_declared(host: Host, now: datetime) -> Finding:
    """What remains for a person after all went well."""
    return finding(
        host,
        "offboard.fleet-file",
        "it is still an active host of the fleet file",
        "a fleet file without it",
        f"Take {host.name} out of the fleet file, or set active: false: onboarding would join it again.",
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
    """A finding on a host that leaves; a blocker unless it says otherwise."""
    return Finding(id, severity, Subject("host", host.name), Evidence(observed, expected, source, now), next_step)


def _unknown(observed: Observed[object]) -> str:
    return f"unknown: {observed.reason}" if isinstance(observed, Unknown) else "known"
