"""The practice world of machines put together: network, mirror, name servers, control plane, a cloud node, hosts.

The cloud's part is whole when it is up: control plane, one node, cluster DNS. The hosts are machines with nothing of
Kubernetes on them; making them nodes is what poolkeeper is for.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import asyncssh

import poolkeeper
from poolkeeper import deployments
from poolkeeper.deployments.lab.control import ControlError, ControlServer
from poolkeeper.deployments.lab.faults import Fault, NotedFaults
from poolkeeper.deployments.lab.fleet_file import machines_fleet_file
from poolkeeper.deployments.lab.kubeconfig import by_token, kubeconfig
from poolkeeper.deployments.lab.layout import CLOUD, CLOUD_NODE, SITES, SSH_USER, LabFolder, plan_hosts, write_private
from poolkeeper.deployments.lab.processes import LAB_MARK, kill_marked
from poolkeeper.deployments.lab.real.control_plane import PORTS, RealControlPlane, Seat
from poolkeeper.deployments.lab.real.daemons import Daemon
from poolkeeper.deployments.lab.real.kubeadm import make_joinable
from poolkeeper.deployments.lab.real.machines.base import base_tree
from poolkeeper.deployments.lab.real.machines.control_groups import ControlGroups
from poolkeeper.deployments.lab.real.machines.faults import NODE_LOCAL_DNS, Breakage, of_cloud, of_host, of_site
from poolkeeper.deployments.lab.real.machines.intranet import (
    CLOUD_NAME,
    Certificates,
    cloud_address,
    site_address,
    site_name,
)
from poolkeeper.deployments.lab.real.machines.machine import Machine, PoweredMachine
from poolkeeper.deployments.lab.real.machines.network import (
    CONTROL_PLANE,
    ROUTER,
    NetworkRefused,
    Wires,
    entering,
    unplug,
)
from poolkeeper.deployments.lab.real.machines.resolvers import Resolvers
from poolkeeper.deployments.lab.real.machines.shelf import BUSYBOX_IMAGE, mirror_tree
from poolkeeper.deployments.lab.real.pins import COREDNS, KUBERNETES, MACHINES
from poolkeeper.deployments.lab.real.programs import find

Json = dict[str, Any]

CLOUD_READY_S = 120.0
_INTRANET = "intranet"
"""The network namespace of the cloud's https service."""
_MANIFESTS = Path(__file__).parent / "manifests"
_RIGHTS = Path(deployments.__path__[0], "kubernetes")
_KUBELET: Mapping[str, Any] = {
    # a machine of the lab has no cgroup controllers, so a kubelet there enforces nothing
    "cgroupDriver": "cgroupfs",
    "cgroupsPerQOS": False,
    "enforceNodeAllocatable": ["none"],
    "failCgroupV1": False,
    "failSwapOn": False,
    "localStorageCapacityIsolation": False,
    "featureGates": {"KubeletInUserNamespace": True},
    "clusterDNS": [NODE_LOCAL_DNS],
    "nodeStatusUpdateFrequency": "4s",
    # the disk is that of the machine that the lab runs on: how full it is is no concern of a pod here
    "evictionHard": {"memory.available": "50Mi"},
    "imageGCHighThresholdPercent": 100,
    "oomScoreAdj": 0,  # where memory runs out, the lab goes first
}
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
}


class MachinesWorld:
    """One lab of machines. Its process has a mount namespace of its own, which `serve` sees to."""

    def __init__(self, folder: LabFolder, lab: str, machines: int) -> None:
        self.folder, self.lab = folder, lab
        self.programs = find(MACHINES)
        self.wires = Wires.claim(lab)
        folder.machines_network.write_text(str(self.wires.network.octet))
        network = self.wires.network
        self.hosts = {host.name: host for host in plan_hosts(network, machines)}
        seat = Seat(network, PORTS, lab, enter=entering(CONTROL_PLANE), joinable=True)
        self.control_plane = RealControlPlane(folder.path / "control-plane", self.programs, seat)
        self.groups = ControlGroups(lab)
        self.machines: dict[str, PoweredMachine] = {}
        self.control = ControlServer(lab, self._act)
        self._user_key = asyncssh.generate_private_key("ssh-ed25519", comment=f"{SSH_USER}@poolkeeper-lab")
        self._daemons: list[Daemon] = []

    async def start(self) -> None:
        """Start everything and write the files that tell where it is; the last one says that it is ready."""
        self._start_site_services()
        cloud = self._machine(CLOUD_NODE, CLOUD, self.wires.network.cloud_node, str(self.wires.network.cloud_pods))
        for host in self.hosts.values():
            self._machine(host.name, host.site, host.address, host.pod_cidr)
        await asyncio.to_thread(self._start_cluster)
        await asyncio.gather(*(machine.until_up() for machine in self.machines.values()))
        self._write_keys()
        await self._join_cloud_node(cloud)
        await self.control.start()
        self._write_files()

    async def stop(self) -> None:
        """End everything, machines first."""
        self.control.stop()
        await asyncio.gather(*(machine.power_off() for machine in self.machines.values()))
        await asyncio.to_thread(self.groups.end)
        await asyncio.to_thread(self.control_plane.stop)
        for daemon in self._daemons:
            daemon.stop()
        await asyncio.to_thread(kill_marked, self.lab)
        unplug(self.wires.network.octet, self.lab)

    # the sites' own services

    def _start_site_services(self) -> None:
        network = self.wires.network
        mirror, cloud = network.address(0, 4), cloud_address(network)
        sites = {site: site_address(network, site) for site in SITES}
        for place, address in {CLOUD: mirror, **sites}.items():
            self.wires.serve_at(place, address)
        self.wires.attach(_INTRANET, CLOUD, cloud)
        names = {"mirror.lab": mirror, "registry.lab": mirror, CLOUD_NAME: cloud}
        names |= {site_name(site): address for site, address in sites.items()}
        for host in self.hosts.values():
            names |= {f"{host.name}.{host.site}.lab": host.address, host.name: host.address}
        self.resolvers = Resolvers(self.folder.path / "resolvers", self.wires, names)
        self.certificates = Certificates(self.folder)
        python, modules = [sys.executable, "-m"], "poolkeeper.deployments.lab.real.machines"
        self._daemon("mirror", ROUTER, [*python, f"{modules}.mirror", str(mirror_tree()), mirror])
        self._daemon("site-dns", ROUTER, [str(self.programs["coredns"]), "-conf", str(self.resolvers.corefile)])
        self._daemon("intranet", _INTRANET, [*python, f"{modules}.web", str(self.certificates.cloud), cloud])
        sites_web = [*python, f"{modules}.web", str(self.certificates.sites), *sites.values()]
        self._daemon("intranet-of-sites", ROUTER, sites_web)

    def _daemon(self, name: str, where: str, command: list[str]) -> None:
        environment = {**_ENVIRONMENT, LAB_MARK: self.lab, "PYTHONPATH": str(Path(poolkeeper.__path__[0]).parent)}
        self._daemons.append(Daemon(name, [*entering(where), *command], self.folder.path, environment))

    # machines

    def _machine(self, name: str, place: str, address: str, pods: str) -> PoweredMachine:
        self.wires.attach(name, place, address, pods)
        machine = PoweredMachine(
            Machine(name, address, f"{place}.lab", self.folder.host(name)),
            base_tree(),
            self.groups,
            {**_ENVIRONMENT, LAB_MARK: self.lab},
        )
        registry = (
            'server = "http://registry.lab"\n\n[host."http://registry.lab"]\n  capabilities = ["pull", "resolve"]\n'
        )
        files = {
            "etc/resolv.conf": f"nameserver {self.wires.resolver(place)}\n",
            "etc/apt/sources.list": "deb [trusted=yes] http://mirror.lab/apt ./\n",
            "etc/containerd/certs.d/registry.lab/hosts.toml": registry,
        }
        machine.install(files, self._user_key.export_public_key())
        machine.power_on()
        self.machines[name] = machine
        return machine

    async def run_on(self, machine: PoweredMachine, script: str, *, timeout_s: float = 120.0) -> str:
        """Run a shell script as root on a machine; its output. Raises OSError, asyncssh.Error, TimeoutError."""
        async with (
            asyncio.timeout(timeout_s),
            asyncssh.connect(
                machine.machine.address,
                username=SSH_USER,
                client_keys=[self._user_key],
                known_hosts=str(self.folder.keys / "known_hosts"),
                config=None,
            ) as connection,
        ):
            told = await connection.run("sudo sh -s", input=script, check=True)
        return str(told.stdout)

    # the cluster

    def _start_cluster(self) -> None:
        self.control_plane.start()
        make_joinable(self.control_plane, self.programs["kubeadm"], _KUBELET)
        network = self.wires.network
        ranges = {CLOUD_NODE: str(network.cloud_pods)} | {host.name: host.pod_cidr for host in self.hosts.values()}
        values = {
            "pod_ranges": json.dumps(ranges),
            "pods": str(network.hybrid_pods),
            "api_url": self.control_plane.api_url,
            "kubernetes_version": KUBERNETES.version,
            "coredns_version": COREDNS.version,
            "cloud_node": CLOUD_NODE,
            "cloud_resolver": self.wires.resolver(CLOUD),
            "cluster_dns": str(network.services.network_address + 10),
            "node_local_dns": NODE_LOCAL_DNS,
        }
        manifests = [Template(path.read_text()).substitute(values) for path in sorted(_MANIFESTS.glob("*.yaml"))]
        manifests += [path.read_text() for path in sorted(_RIGHTS.glob("*.yaml"))]
        self.kubectl("apply", "--server-side", "-f", "-", text="\n---\n".join(manifests))

    def kubectl(self, *words: str, text: str = "", timeout_s: float = 60.0) -> str:
        """kubectl of the same build, as the cluster's admin. Raises OSError, TimeoutExpired."""
        command = [str(self.programs["kubectl"]), "--kubeconfig", str(self.control_plane.admin_kubeconfig), *words]
        told = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self.control_plane.environment,
            cwd=self.folder.path,
        )
        if told.returncode != 0:
            raise OSError(f"`kubectl {' '.join(words)}`: {told.stderr.strip()[-600:]}")
        return told.stdout

    async def _join_cloud_node(self, machine: PoweredMachine) -> None:
        """The cloud brings its own node; it is made as any other is."""
        join = await asyncio.to_thread(self._join_command)
        await self.run_on(
            machine,
            f"""set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y kubelet kubeadm >/dev/null
{join} --ignore-preflight-errors=SystemVerification
""",
        )
        wait = ("wait", "--timeout", f"{CLOUD_READY_S:.0f}s")
        for what in ("create", "condition=Ready"):
            await asyncio.to_thread(
                self.kubectl, *wait, f"--for={what}", f"node/{CLOUD_NODE}", timeout_s=CLOUD_READY_S + 10
            )
        await asyncio.to_thread(
            self.kubectl,
            "-n", "kube-system", "rollout", "status", "--timeout", f"{CLOUD_READY_S:.0f}s", "deployment/coredns",
            timeout_s=CLOUD_READY_S + 10,
        )  # fmt: skip

    def _join_command(self) -> str:
        command = [
            str(self.programs["kubeadm"]), "token", "create", "--print-join-command", "--ttl", "10m",
            "--kubeconfig", str(self.control_plane.admin_kubeconfig),
        ]  # fmt: skip
        told = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=self.control_plane.environment, check=True
        )
        return told.stdout.strip()

    # what it tells

    def _write_keys(self) -> None:
        keys = self.folder.keys
        keys.mkdir(mode=0o700)
        lines = "".join(f"{machine.known_hosts_line}\n" for machine in self.machines.values())
        (keys / "known_hosts").write_text(lines)
        (keys / "ops.pub").write_bytes(self._user_key.export_public_key())
        write_private(keys / "ops", self._user_key.export_private_key().decode())

    def _write_files(self) -> None:
        folder, plane = self.folder, self.control_plane
        token = self.kubectl("-n", "poolkeeper", "create", "token", "poolkeeper", "--duration", "24h").strip()
        authority = plane.credentials.ca.certificate_pem
        write_private(folder.kubeconfig, kubeconfig(plane.api_url, authority, "poolkeeper", by_token(token)))
        write_private(folder.admin_kubeconfig, plane.admin_kubeconfig.read_text())
        folder.fleet.write_text(
            machines_fleet_file(
                self.wires.network,
                self.hosts,
                BUSYBOX_IMAGE,
                {site: self.wires.resolver(site) for site in SITES},
                ("lab-cni", "kube-proxy", "node-local-dns"),
            )
        )
        told = {
            "network": str(self.wires.range),
            "api_url": plane.api_url,
            "provider_url": None,
            "billing_url": None,
            "dns": f"{self.wires.resolver(CLOUD)}:53",
            "kubectl": str(self.programs["kubectl"]),
            "hosts": [{"name": name, "address": host.address, "port": 22} for name, host in self.hosts.items()],
        }
        partial = folder.ready.with_suffix(".new")
        partial.write_text(json.dumps(told, indent=2) + "\n")
        partial.rename(folder.ready)

    # faults

    async def _act(self, request: Json) -> Json:
        """What the command line asks for. Raises ControlError."""
        name = str(request.get("host"))
        folder = self.folder.host(name) if name in self.hosts else self.folder.place(name)
        noted = NotedFaults(folder)
        breakages = self._breakages(name, noted)
        if breakages is None or request.get("do") not in ("break", "mend"):
            raise ControlError(f"the lab does not know: {request}")
        try:
            if request["do"] == "break":
                await self._break(Fault(request["fault"]), breakages, noted)
            else:
                for fault in map(Fault, request["faults"]):
                    if noted.has(fault):
                        await breakages[fault].mend()
                        noted.clear(fault)
        except (NetworkRefused, TimeoutError) as error:
            raise ControlError(str(error) or "it took too long") from None
        return {"ok": True}

    def _breakages(self, name: str, noted: NotedFaults) -> Mapping[Fault, Breakage] | None:
        """How a host, a site or the cloud can be broken; None: there is no such."""
        if name in self.hosts:
            return of_host(self.wires, self.machines[name], self.hosts[name])
        if name in SITES:
            return of_site(self.wires, self.resolvers, name)
        return of_cloud(self.certificates, noted) if name == CLOUD else None

    async def _break(self, fault: Fault, breakages: Mapping[Fault, Breakage], noted: NotedFaults) -> None:
        if fault not in breakages:
            raise ControlError(f"machines cannot be broken by {fault}; they can by: {', '.join(breakages)}")
        if not noted.has(fault):
            await breakages[fault].make()
            noted.set(fault)
