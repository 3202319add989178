"""What a kubelet tells of its node: pure functions from a host's folder to parts of a Node."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.host_folder import CPUS, KERNEL, MEMORY_BYTES, HostFolder
from poolkeeper.deployments.lab.seeds import CNI_CONFIG

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KubeletSettings:
    """What the join has written on the host for its kubelet."""

    server: str
    token: str
    labels: dict[str, str]
    taints: list[Json]
    pod_cidr: str
    dns: list[str]
    version: str
    provider_id: str = ""


def read_settings(folder: HostFolder) -> KubeletSettings | None:
    """The settings on a host's disk, or None where there is no (whole) join."""
    try:
        kubeconfig = json.loads(folder.read("etc/kubernetes/kubelet.conf"))
        config = json.loads(folder.read("var/lib/kubelet/config.yaml"))
        labels = folder.read("etc/default/kubelet").partition("--node-labels=")[2]
        version = folder.read("usr/bin/kubelet").partition("Kubernetes ")[2].strip('"\n ')
        return KubeletSettings(
            server=kubeconfig["clusters"][0]["cluster"]["server"],
            token=kubeconfig["users"][0]["user"]["token"],
            labels=dict(pair.split("=", 1) for pair in labels.split(",") if "=" in pair),
            taints=config["registerWithTaints"],
            pod_cidr=config["podCIDR"],
            dns=config["clusterDNS"],
            version=version,
        )
    except (ValueError, KeyError, IndexError):
        return None


def node_object(folder: HostFolder, settings: KubeletSettings) -> Json:
    """The Node as the kubelet registers it."""
    name = folder.host.name
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        **settings.labels,
    }
    spec: Json = {"podCIDR": settings.pod_cidr, "podCIDRs": [settings.pod_cidr]}
    if settings.taints:
        spec["taints"] = settings.taints
    if settings.provider_id:
        spec["providerID"] = settings.provider_id
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec}


def node_status(folder: HostFolder, settings: KubeletSettings, kubelet_port: int, before: Json | None) -> Json:
    """The Node's status as it is now; a condition that has not changed keeps its transition time."""
    ready, reason, message = readiness(folder)
    conditions = [
        ("MemoryPressure", False, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", *_disk(folder)),
        ("PIDPressure", False, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", ready, reason, message),
    ]
    before = before or {}
    old = {c["type"]: c for c in before.get("conditions") or ()}
    info = before.get("nodeInfo") or {}
    quantities = {
        "cpu": str(CPUS),
        "memory": f"{MEMORY_BYTES // 1024}Ki",
        "pods": "64",
        "ephemeral-storage": "262144000Ki",
    }
    return {
        "addresses": [
            {"type": "InternalIP", "address": folder.host.address},
            {"type": "Hostname", "address": folder.host.name},
        ],
        "capacity": quantities,
        "allocatable": {**quantities, "cpu": "7900m", "memory": f"{MEMORY_BYTES // 1024 - 1024 * 1024}Ki"},
        "conditions": [_condition(*row, old.get(row[0])) for row in conditions],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
        "nodeInfo": {
            "machineID": info.get("machineID") or folder.read("etc/machine-id"),  # read once, as kubelet does
            "systemUUID": folder.read("sys/class/dmi/id/product_uuid"),
            "bootID": folder.read("proc/sys/kernel/random/boot_id"),
            "kernelVersion": KERNEL,
            "osImage": "Debian GNU/Linux 12 (bookworm)",
            "operatingSystem": "linux",
            "architecture": "amd64",
            "containerRuntimeVersion": f"containerd://{_runtime_version(folder)}",
            "kubeletVersion": settings.version,
            "kubeProxyVersion": "",
        },
    }


def _runtime_version(folder: HostFolder) -> str:
    """containerd's; the cloud node has no program of it."""
    told = folder.read("usr/bin/containerd").partition("containerd/containerd ")[2]
    return told.split('"')[0] or "1.6.20"


def has_network(folder: HostFolder) -> bool:
    """Whether a network plugin has left its configuration on the host."""
    return (folder.root / CNI_CONFIG).exists() and not folder.has(Fault.CNI_MISSING)


def readiness(folder: HostFolder) -> tuple[bool, str, str]:
    """Ready or not, with kubelet's own reason and message."""
    if folder.has(Fault.NEVER_READY):
        return False, "KubeletNotReady", "PLEG is not healthy: pleg has yet to be successful"
    if folder.has(Fault.NEVER_RETURNS) and (folder.path / "state" / "kubelet-upgraded").exists():
        return False, "KubeletNotReady", "container runtime is down, PLEG is not healthy: pleg has yet to be successful"
    if not has_network(folder):
        message = (
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady"
            " message:Network plugin returns error: cni plugin not initialized"
        )
        return False, "KubeletNotReady", message
    return True, "KubeletReady", "kubelet is posting ready status"


def _disk(folder: HostFolder) -> tuple[bool, str, str]:
    if folder.has(Fault.DISK_FULL):
        return True, "KubeletHasDiskPressure", "kubelet has disk pressure"
    return False, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"


def _condition(kind: str, holds: bool, reason: str, message: str, old: Json | None) -> Json:
    now, status = iso_now(), str(holds)
    since = old["lastTransitionTime"] if old and old.get("status") == status else now
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": since,
    }


def iso_now() -> str:
    """This moment as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_micro_now() -> str:
    """This moment as Leases have it (MicroTime)."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
