"""The lab's control plane as its owner sees it: the API server, who may join, kubeconfigs."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from poolkeeper.deployments.lab.ack import JoinRefused
from poolkeeper.deployments.lab.kubeconfig import by_token, kubeconfig
from poolkeeper.deployments.lab.kubernetes import ApiServer, LabCA, StatusError, Store, User
from poolkeeper.deployments.lab.kubernetes.controllers import Controllers
from poolkeeper.deployments.lab.layout import API_PORT, POOLS, LabHost, Network, listening_socket, node_mask
from poolkeeper.deployments.lab.seeds import POOLKEEPER, seed

Json = dict[str, Any]
VERSION = "v1.36.3"
NODE_LABEL_TYPE, NODE_LABEL_POOL = "alibabacloud.com/nodepool-type", "alibabacloud.com/nodepool-id"
HYBRID_TAINT = {"key": "nodepool-type", "value": "hybridcloud", "effect": "NoSchedule"}


class ControlPlane:
    """The cluster: its API server and what is needed to let kubelets in. Implements `ack.Control`."""

    def __init__(
        self,
        network: Network,
        hosts: Mapping[str, LabHost],
        upgrade: Callable[[str, str], Awaitable[str]],
        kubelet: str = VERSION,
        audit: Callable[[Json], None] | None = None,
    ) -> None:
        """upgrade: carries out `upgrade_node`; kubelet: version that hosts join with; audit: see `ApiServer`"""
        self._upgrade, self._kubelet = upgrade, kubelet
        self.ca = LabCA()
        self.poolkeeper_token, self.admin_token = secrets.token_hex(24), secrets.token_hex(24)
        self.tokens = {
            self.poolkeeper_token: User(POOLKEEPER),
            self.admin_token: User("kubernetes-admin", ("system:masters",)),
        }
        self.store = Store(service_cidr=str(network.services))
        self.api = ApiServer(self.ca, self.tokens, version=VERSION, store=self.store, audit=audit)
        self._controllers = Controllers(self.store, ca_pem=self.ca.certificate_pem.decode())
        self._network, self._hosts = network, hosts

    async def start(self) -> None:
        """Serve, with the cluster seeded."""
        with listening_socket(self._network.api, API_PORT) as free:
            port = free.getsockname()[1]
        await self.api.start(self._network.api, port)
        seed(self.store)
        await self._controllers.start()

    async def stop(self) -> None:
        """End controllers and API server."""
        await self._controllers.stop()
        await self.api.stop()

    def details(self) -> Json:
        """What DescribeClusterDetail tells beyond names and states."""
        return {
            "current_version": VERSION.removeprefix("v") + "-aliyun.1",
            "next_version": "",
            "container_cidr": str(self._network.cloud_pods),
            "service_cidr": str(self._network.services),
            "node_cidr_mask": str(node_mask(len(self._hosts))),
            "proxy_mode": "ipvs",
            "master_url": json.dumps({"intranet_api_server_endpoint": self.api.url}),
        }

    async def until_ready(self, name: str) -> None:
        """Wait until a node is Ready; put it under a deadline."""
        changes = self.store.subscribe("nodes", 0)
        try:
            while not is_ready(self.store.find("nodes", name) or {}):
                await changes.wait()
                changes.take()
        finally:
            self.store.unsubscribe("nodes", changes)

    def nodes(self) -> list[Json]:
        """Every Node."""
        return self.store.list("nodes")

    def remove_node(self, name: str) -> bool:
        """Delete a Node and its kubelet's credential; False if there is none."""
        self._revoke(name)
        try:
            self.store.delete("nodes", name)
        except StatusError:
            return False
        return True

    def admit(self, node_name: str, machine_id: str, pool_id: str) -> Json:
        """Let a host in: what its joiner needs to set its kubelet up. Raises JoinRefused."""
        host = self._hosts.get(node_name)
        if host is None:
            raise JoinRefused("INVALID_NODE_NAME", f"{node_name} is no host of this lab")
        node = self.store.find("nodes", node_name)
        if node is not None:
            raise JoinRefused("NODE_NAME_EXISTS", f"a node named {node_name} is in the cluster: remove it first")
        return {
            "version": self._kubelet,
            "api": self.api.url,
            "ca": self.ca.certificate_pem.decode(),
            "kubelet_token": self.kubelet_token(node_name),
            "labels": {NODE_LABEL_TYPE: "hybridcloud", NODE_LABEL_POOL: pool_id},
            "taints": [HYBRID_TAINT],
            "pod_cidr": host.pod_cidr,
            "dns": [self._network.dns],
        }

    async def upgrade_node(self, name: str, version: str) -> str:
        """Upgrade a Node's host; why it failed, empty when it did not."""
        return await self._upgrade(name, version)

    def kubelet_token(self, node_name: str) -> str:
        """A kubelet's own credential, in place of any earlier one of that node."""
        self._revoke(node_name)
        token = secrets.token_hex(24)
        self.tokens[token] = User(f"system:node:{node_name}", ("system:nodes",))
        return token

    def _revoke(self, node_name: str) -> None:
        for token, user in list(self.tokens.items()):
            if user.name == f"system:node:{node_name}":
                del self.tokens[token]

    def add_namesake(self, host: LabHost) -> None:
        """A Node of this host's name that belongs to another machine. Raises ValueError if there is a Node."""
        if self.store.find("nodes", host.name) is not None:
            raise ValueError(f"{host.name} is a node already")
        info = {
            "machineID": _namesake_id(host), "bootID": "", "kubeletVersion": VERSION, "osImage": "Debian GNU/Linux 12",
            "kernelVersion": "6.1.0-37-amd64", "architecture": "amd64", "operatingSystem": "linux",
            "containerRuntimeVersion": "containerd://1.6.20", "systemUUID": "", "kubeProxyVersion": "",
        }  # fmt: skip
        self.store.create(
            "nodes",
            {
                "metadata": {
                    "name": host.name,
                    "labels": {NODE_LABEL_TYPE: "hybridcloud", NODE_LABEL_POOL: POOLS[host.pool]},
                },
                "spec": {"taints": [HYBRID_TAINT]},
            },
        )
        status = {"nodeInfo": info, "addresses": [{"type": "InternalIP", "address": self._network.address(0, 99)}]}
        self.store.modify("nodes", host.name, "", lambda node: {**node, "status": status}, subresource="status")

    def remove_namesake(self, host: LabHost) -> None:
        """Take that Node out again, unless it is the host's own by now."""
        node = self.store.find("nodes", host.name)
        info = ((node or {}).get("status") or {}).get("nodeInfo") or {}
        if info.get("machineID") == _namesake_id(host):
            self.store.delete("nodes", host.name)

    def kubeconfig(self, user: str, token: str) -> str:
        """A kubeconfig with the lab's authority and a bearer token."""
        return kubeconfig(self.api.url, self.ca.certificate_pem, user, by_token(token))

    def admin_kubeconfig(self) -> str:
        """For people: all rights."""
        return self.kubeconfig("admin", self.admin_token)


def is_ready(node: Json) -> bool:
    """Whether a Node's Ready condition is True."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _namesake_id(host: LabHost) -> str:
    return f"{host.index:08x}".rjust(32, "f")
