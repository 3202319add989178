"""A large cluster for a benchmark, in a process of its own: the embedded API server, filled and without controllers.

    python -m tests.bench.loopback_cluster FOLDER NODES PODS

Writes FOLDER/kubeconfig, prints the bytes of its pods as JSON when it is ready, ends when its stdin does. Nodes are in 20
racks and 3 zones; pods are those of Deployments with 5 replicas, one in four with anti-affinity between hosts and one in
four spread over zones, StatefulSets with local volumes, and a DaemonSet. Each has what admission and a kubelet would add.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from poolkeeper.deployments.lab.kubernetes import ApiServer, LabCA, Store, User
from poolkeeper.deployments.lab.kubernetes.journal import encode
from tests.contract.kubernetes.conftest import write_kubeconfig

Json = dict[str, Any]

HOST, ZONE, RACK = "kubernetes.io/hostname", "topology.kubernetes.io/zone", "rack"
NOW = "2026-11-23T12:00:00Z"
NAMESPACES = 100
DEFAULT_TOLERATIONS = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for key in ("not-ready", "unreachable")
]


def node(number: int) -> Json:
    name = f"node-{number:04}"
    labels = {HOST: name, ZONE: f"z{number % 3}", RACK: f"r{number % 20:02}", "kubernetes.io/os": "linux"}
    labels |= {f"feature.node/{n}": "true" for n in range(20)}
    room = {"cpu": "32", "memory": "128Gi", "pods": "110", "ephemeral-storage": "400Gi"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
    status = {
        "capacity": room,
        "allocatable": room,
        "conditions": [ready],
        "images": [{"names": [f"registry.example/app-{n}@sha256:{n:064}"], "sizeBytes": 10**8} for n in range(50)],
    }
    return {"metadata": {"name": name, "labels": labels}, "status": status}


def pod(namespace: str, name: str, labels: Json, owner: Json, place: str, **more: Any) -> Json:
    """A pod as it comes from a real cluster: some 5 kB."""
    token = {
        "name": "kube-api-access-x7x2p",
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
                {"downwardAPI": {"items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]}},
            ],
        },
    }  # fmt: skip
    containers = [container(each, labels["app"]) for each in ("main", "sidecar")]
    statuses = [
        {
            "containerID": f"containerd://{place}{name:0>64}"[:77],
            "image": c["image"],
            "imageID": f"registry.example/{labels['app']}@sha256:{'0' * 64}",
            "lastState": {},
            "name": c["name"],
            "ready": True,
            "restartCount": 0,
            "started": True,
            "state": {"running": {"startedAt": NOW}},
        }
        for c in containers
    ]
    conditions = [
        {"lastProbeTime": None, "lastTransitionTime": NOW, "status": "True", "type": kind}
        for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    spec = {
        "containers": containers,
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "nodeName": place,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 30,
        "tolerations": [*more.pop("tolerations", []), *DEFAULT_TOLERATIONS],
        "volumes": [*more.pop("volumes", []), token],
        **more,
    }
    annotations = {"checksum/config": "0" * 64, "prometheus.io/scrape": "true", "prometheus.io/port": "9090"}
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
    }
    status = {"phase": "Running", "podIP": "10.0.0.1", "hostIP": "10.1.0.1", "qosClass": "Burstable", "startTime": NOW}
    return {
        "metadata": metadata,
        "spec": spec,
        "status": {**status, "conditions": conditions, "containerStatuses": statuses},
    }


def container(name: str, app: str) -> Json:
    env = [{"name": f"SETTING_{n}", "value": f"value of setting {n}"} for n in range(8)]
    probe = {
        "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
        "periodSeconds": 10,
        "failureThreshold": 3,
    }
    return {
        "name": name,
        "image": f"registry.example/{app}:1.2.3",
        "imagePullPolicy": "IfNotPresent",
        "env": env,
        "livenessProbe": probe,
        "readinessProbe": probe,
        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "150m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "terminationMessagePath": "/dev/termination-log",
        "volumeMounts": [
            {
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                "name": "kube-api-access-x7x2p",
                "readOnly": True,
            }
        ],
    }


def fill(store: Store, nodes: int, pods: int) -> int:
    """Make the cluster; answers the bytes of its pods."""
    size = 0

    def add(made: Json) -> None:
        nonlocal size
        status = made.pop("status")
        made = store.create("pods", made)
        size += len(encode(store.update("pods", {**made, "status": status}, subresource="status")))

    for number in range(nodes):
        made = store.create("nodes", node(number))
        store.update("nodes", {**made, "spec": {}})  # no controller takes away the taint of a node that is new
    for number in range(NAMESPACES):
        store.create("namespaces", {"metadata": {"name": f"team-{number:02}"}})
    store.create("daemonsets.apps", workload("kube-system", "cni", 0))
    for number in range(nodes):
        labels = {"app": "cni", "controller-revision-hash": "5f6b7c8d9"}
        add(pod("kube-system", f"cni-{number:05}", labels, owner("DaemonSet", "cni"), f"node-{number:04}"))
    left, number, turn = pods - nodes, 0, 0
    while left > 0:
        namespace, name = f"team-{number % NAMESPACES:02}", f"app-{number}"
        replicas = min(5, left)
        spot = [f"node-{(turn + n * 7) % nodes:04}" for n in range(replicas)]
        turn += replicas
        selector = {"matchLabels": {"app": name}}
        if number % 10 == 9:
            stateful(store, add, namespace, name, spot)
        else:
            more: Json = {}
            if number % 4 == 1:
                term = {"labelSelector": selector, "topologyKey": HOST}
                more["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
            if number % 4 == 2:
                more["topologySpreadConstraints"] = [
                    {"maxSkew": 2, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
                ]
            if number % 4 == 3:
                more["volumes"] = [{"name": "tmp", "emptyDir": {}}]
            template = f"{number:08x}"
            labels = {"app": name, "pod-template-hash": template, "app.kubernetes.io/part-of": namespace}
            store.create("deployments.apps", workload(namespace, name, replicas))
            for n, place in enumerate(spot):
                of = owner("ReplicaSet", f"{name}-{template}")
                add(pod(namespace, f"{name}-{template}-{n:05}", labels, of, place, **more))
        store.create(
            "services",
            {
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
            },
        )
        budget(store, namespace, name, replicas, spare=number % 20 != 0)
        left, number = left - replicas, number + 1
    return size


def stateful(store: Store, add: Any, namespace: str, name: str, spot: list[str]) -> None:
    """A StatefulSet whose pods have local volumes."""
    store.create("statefulsets.apps", workload(namespace, name, len(spot)))
    for n, place in enumerate(spot):
        term = {"matchExpressions": [{"key": HOST, "operator": "In", "values": [place]}]}
        affinity = {"required": {"nodeSelectorTerms": [term]}}
        volume, claim = f"pv-{name}-{n}", f"data-{name}-{n}"
        local = {"local": {"path": "/data"}, "nodeAffinity": affinity, "capacity": {"storage": "10Gi"}}
        store.create(
            "persistentvolumes", {"metadata": {"name": volume}, "spec": {**local, "accessModes": ["ReadWriteOnce"]}}
        )
        store.create(
            "persistentvolumeclaims",
            {"metadata": {"name": claim, "namespace": namespace}, "spec": {"volumeName": volume}},
        )
        labels = {
            "app": name,
            "controller-revision-hash": f"{name}-7d9",
            "statefulset.kubernetes.io/pod-name": f"{name}-{n}",
        }
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
        add(pod(namespace, f"{name}-{n}", labels, owner("StatefulSet", name), place, volumes=volumes))


def owner(kind: str, name: str) -> Json:
    return {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": f"uid-of-{name}"}


def workload(namespace: str, name: str, replicas: int) -> Json:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container("main", name)]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def budget(store: Store, namespace: str, name: str, replicas: int, *, spare: bool) -> None:
    """A budget that spares one pod, or none, as its controller would have counted it."""
    limit = 1 if spare else 0
    made = store.create(
        "poddisruptionbudgets.policy",
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"matchLabels": {"app": name}}, "maxUnavailable": limit},
        },
    )
    counts = {"currentHealthy": replicas, "desiredHealthy": replicas - limit, "expectedPods": replicas}
    status = {**counts, "disruptionsAllowed": limit, "observedGeneration": 1}
    store.update("poddisruptionbudgets.policy", {**made, "status": status}, subresource="status")


async def serve(folder: Path, nodes: int, pods: int) -> None:
    ca = LabCA()
    server = ApiServer(ca, {"bench": User("bench", ("system:masters",))})
    await server.start("127.0.0.1")
    size = fill(server.store, nodes, pods)
    write_kubeconfig(folder / "kubeconfig", server.url, ca.certificate_pem.decode(), "bench")
    print(json.dumps({"pods_bytes": size}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
