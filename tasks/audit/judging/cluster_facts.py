"""Measurements of the cluster itself: whether nodes are Ready, their DNS caches, results of test pods. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from poolkeeper.tasks.acceptance.pod_probe import Probed, choose_cloud_node
from poolkeeper.tasks.audit.causes.candidates import (
    API_SERVER,
    Server,
    candidates_of_cache,
    candidates_of_cloud_node,
    candidates_of_kubelet,
    candidates_of_pods,
    candidates_of_ready,
    candidates_of_stub,
    of_cluster,
)
from poolkeeper.tasks.audit.measurements import NOT_READY, CandidateCause, FailureMode, Measurement, Part, Quality
from poolkeeper.tasks.audit.places import Place
from poolkeeper.tasks.audit.planning.plan import ClusterView, dns_names
from poolkeeper.tasks.cluster.claims import claim_of
from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host

_CLOUD_PODS = "pods in the cloud"
_CACHE_SET = "DaemonSet kube-system/node-local-dns"


def place_of(host: Host, node: NodeRow | None) -> Place:
    """Where a host is, and why trouble with it is expected."""
    domain = host.domain.name if host.domain else ""
    if node is None:
        return Place(host.site.name, domain)
    claim = claim_of(node)
    note = "the node is cordoned" if node.unschedulable else ""
    if claim is not None:
        note = f"{claim.flow} works on the node ({claim.phase})"
    return Place(host.site.name, domain, note)


def unread_node(host: Host, why: str) -> Measurement:
    """For a host of a cluster that could not be read: whether it is a node, and Ready, is unknown."""
    return Measurement(
        "node.ready", API_SERVER, host.name, Quality.UNKNOWN, f"the cluster was not read: {why}"[:300], frozenset()
    )


def node_facts(host: Host, view: ClusterView) -> Iterator[Measurement]:
    """Whether a host's node is Ready, and whether it has a DNS cache. Nothing for a host that is not a node."""
    node = view.nodes.get(host.node_name)
    if node is None:
        return
    if node.unread:
        yield Measurement("node.ready", API_SERVER, host.name, Quality.UNKNOWN, node.ready_message, frozenset())
        return
    candidates = candidates_of_ready(host, view.endpoint)
    if node.ready:
        # Ready may be a minute old: it shows that the kubelet works, and not that the line is there now
        kubelet = frozenset(s for s in candidates if s.part is Part.KUBELET)
        yield Measurement("node.ready", API_SERVER, host.name, Quality.OK, "Ready", kubelet)
    else:
        state = "Unknown: the kubelet has stopped reporting" if node.ready is None else f"False: {node.ready_message}"
        # a kubelet that reports a problem has reached the API server
        symptom = NOT_READY if node.ready is None else "bad-status"
        yield Measurement(
            "node.ready", API_SERVER, host.name, Quality.FAIL, f"Ready is {state}", candidates, symptom=symptom
        )
    if view.dns.has_cache and node.ready:
        yield _cache(host, view)


def _cache(host: Host, view: ClusterView) -> Measurement:
    """Whether the node has a cache pod: without it every lookup goes over the line."""
    pod, asking = view.dns.caches.get(host.node_name), view.dns.asking_cache.get(host.node_name, 0)
    its_set = CandidateCause(Part.TARGET, of_cluster(_CACHE_SET, view.label), FailureMode.WRONG)
    candidates = frozenset(
        {CandidateCause(Part.CACHE, host.name), CandidateCause(Part.CACHE, host.name, FailureMode.WRONG), its_set}
    )
    if pod is not None and pod.unread:
        reason = f"pod {pod.name} cannot be read: {pod.unread}"
        return Measurement("cache.pod", API_SERVER, host.name, Quality.UNKNOWN, reason, candidates)
    if pod is not None and pod.ready:
        return Measurement("cache.pod", API_SERVER, host.name, Quality.OK, f"{pod.name} is Ready", candidates)
    if pod is not None:  # the kubelet reports it, or no longer reports
        candidates |= candidates_of_ready(host, view.endpoint)
    observed = f"{pod.name} is not Ready" if pod else "the node has no pod of node-local-dns"
    if asking:
        observed += f"; {asking} pods on the node ask the cache first, and each of their lookups waits for it"
    if pod is None and not view.dns.cache_tolerates:
        observed += "; the DaemonSet does not tolerate nodepool-type=hybridcloud:NoSchedule"
    symptom = "absent" if pod is None and not asking else "not-serving"
    return Measurement("cache.pod", API_SERVER, host.name, Quality.FAIL, observed, candidates, symptom=symptom)


def pod_facts(host: Host, view: ClusterView, probed: Probed) -> Iterator[Measurement]:
    """What a test pod on a host's node measured: the API server's path to the kubelet, names, the path to the cloud."""
    log = candidates_of_kubelet(host, view.endpoint, view.label)
    has_cloud = choose_cloud_node(view.nodes, host.node_name) is not None
    if has_cloud:
        to_host, candidates = probed.answers.cloud_to_host, candidates_of_cloud_node(host)
        yield _answered("connect.from-cloud", "cloud nodes", host.name, to_host, candidates, probed.cloud_error)
    if not probed.ran:
        yield Measurement("kubelet.log", API_SERVER, host.name, Quality.UNKNOWN, probed.log_error, log)
        return
    if probed.log_error:
        yield Measurement("kubelet.log", API_SERVER, host.name, Quality.FAIL, probed.log_error, log, symptom="timeout")
        return
    yield Measurement("kubelet.log", API_SERVER, host.name, Quality.OK, "the API server reads a pod's log", log)
    inside, answers = f"pod on {host.name}", probed.answers
    for name, answer in zip(dns_names(host), (answers.dns_internal, answers.dns_external), strict=True):
        candidates = candidates_of_cache(host, name.name) if view.dns.has_cache else frozenset[CandidateCause]()
        if answer or not candidates:  # a cache may answer from memory: a pass does not clear the servers behind it
            candidates |= view.behind_cache(host, name) or candidates_of_stub(host, name.name)
        yield _answered("pods.dns", inside, name.name, answer, candidates)
    if has_cloud:
        there, why = Server(of_cluster(_CLOUD_PODS, view.label)), probed.cloud_error
        out, back = (candidates_of_pods(host, there, outwards=way, cluster=view.label) for way in (True, False))
        yield _answered("pods.to-cloud", inside, there.name, answers.to_cloud, out, why)
        yield _answered("pods.from-cloud", there.name, inside, answers.from_cloud, back, why)


def _answered(
    check: str, source: str, target: str, answer: str | None, candidates: frozenset[CandidateCause], why: str = ""
) -> Measurement:
    if answer is None:
        return Measurement(
            check, source, target, Quality.UNKNOWN, why or "the test pod ended before it measured this", candidates
        )
    if answer == "":
        return Measurement(check, source, target, Quality.OK, "answered", candidates)
    return Measurement(check, source, target, Quality.FAIL, answer, candidates, symptom="timeout")
