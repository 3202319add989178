"""What is in the lab's cluster from the start: namespaces, rights, system DaemonSets, a sample workload.

The programs of the pods are run for real, by /bin/sh on the host, so each is a few lines of shell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from poolkeeper.deployments.lab.kubernetes import Store

Json = dict[str, Any]

POOLKEEPER = "system:serviceaccount:poolkeeper:poolkeeper"
TERWAY_IMAGE = "registry.example/acs/terway-hybrid:v1.14.4"
DNS_IMAGE = "registry.example/acs/k8s-dns-node-cache:v1.22.28"
BUSYBOX_IMAGE = "registry.example/acs/busybox:v1.29.2"

CNI_CONFIG = "etc/cni/net.d/10-terway.conflist"
"""Below the host's root: a node has a network when this is there."""

_EVERYWHERE = [{"operator": "Exists"}]
_TERWAY = f"""\
config=$POOLKEEPER_HOST_ROOT/{CNI_CONFIG}
mkdir -p "${{config%/*}}"
echo '{{"cniVersion": "0.4.0", "name": "terway", "plugins": [{{"type": "terway"}}]}}' > "$config"
echo "wrote $config"
exec sleep infinity
"""
_SHOP = """\
cd "$(mktemp -d)" || exit 1
echo "shop page of $HOSTNAME" > index.html
exec httpd -f -p 8080 -h .
"""

_RIGHTS = Path(__file__).parents[1] / "kubernetes" / "poolkeeper.yaml"
"""poolkeeper's namespace, ServiceAccount and rights: in the lab as in any other cluster."""
_KINDS = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles.rbac.authorization.k8s.io",
    "ClusterRoleBinding": "clusterrolebindings.rbac.authorization.k8s.io",
    "Role": "roles.rbac.authorization.k8s.io",
    "RoleBinding": "rolebindings.rbac.authorization.k8s.io",
}
_VIEW = ["get", "list", "watch"]
_KUBELET_RULES: list[Json] = [
    {"apiGroups": [""], "resources": ["nodes", "nodes/status"], "verbs": [*_VIEW, "create", "patch", "update"]},
    {"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": [*_VIEW, "patch", "update", "delete"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "patch", "update"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
]


def seed(store: Store) -> None:
    """Create all of it in an empty cluster."""
    for each in yaml.safe_load_all(_RIGHTS.read_text(encoding="utf-8")):
        store.create(_KINDS[each["kind"]], each)
    store.create("namespaces", {"metadata": {"name": "shop"}})
    _grant(store, "system:node", _KUBELET_RULES, {"kind": "Group", "name": "system:nodes"})
    store.create("daemonsets.apps", _daemon_set("terway-hybrid", TERWAY_IMAGE, _TERWAY, host_network=True))
    store.create(
        "daemonsets.apps", _daemon_set("node-local-dns", DNS_IMAGE, "exec sleep infinity\n", host_network=False)
    )
    store.create("deployments.apps", _shop())
    store.create(
        "poddisruptionbudgets.policy",
        {
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        },
    )


def _grant(store: Store, name: str, rules: list[Json], subject: Json) -> None:
    group = "rbac.authorization.k8s.io"
    store.create(f"clusterroles.{group}", {"metadata": {"name": name}, "rules": rules})
    store.create(
        f"clusterrolebindings.{group}",
        {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [subject],
        },
    )


def _daemon_set(name: str, image: str, program: str, *, host_network: bool) -> Json:
    labels = {"k8s-app": name}
    container = {"name": name, "image": image, "command": ["sh", "-c", program]}
    spec: Json = {
        "containers": [container],
        "tolerations": _EVERYWHERE,
        "priorityClassName": "system-node-critical",
        "terminationGracePeriodSeconds": 1,
    }
    if host_network:
        spec["hostNetwork"] = True
    return {
        "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


def _shop() -> Json:
    labels = {"app": "web"}
    container = {
        "name": "web",
        "image": BUSYBOX_IMAGE,
        "command": ["sh", "-c", _SHOP],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    spec = {
        "containers": [container],
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"key": "nodepool-type", "value": "hybridcloud", "effect": "NoSchedule"}],
    }
    return {
        "metadata": {"name": "web", "namespace": "shop", "labels": labels},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
