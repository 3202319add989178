"""The practice world put together: control plane, ACK's OpenAPI, the account's bill, name server, hosts, kubelets."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import asyncssh

from poolkeeper.deployments.lab.ack import JOIN_PATH, AckOpenApi
from poolkeeper.deployments.lab.audit import AuditLog
from poolkeeper.deployments.lab.billing import CREATED_AT, bill_rows
from poolkeeper.deployments.lab.bss import BssOpenApi
from poolkeeper.deployments.lab.control import ControlError, ControlServer, socket_name
from poolkeeper.deployments.lab.control_plane import VERSION, ControlPlane
from poolkeeper.deployments.lab.dns import NameServer
from poolkeeper.deployments.lab.faults import MACHINES_ONLY, Fault, NotedFaults
from poolkeeper.deployments.lab.fleet_file import EXTERNAL_NAME, INTERNAL_NAME, fleet_file
from poolkeeper.deployments.lab.host_folder import HostFolder, LabSettings
from poolkeeper.deployments.lab.joined import join_all
from poolkeeper.deployments.lab.kubelets import Kubelets
from poolkeeper.deployments.lab.layout import (
    CLOUD_NODE,
    LabFolder,
    LabHost,
    Network,
    claim_network,
    plan_hosts,
    write_private,
)
from poolkeeper.deployments.lab.processes import kill_marked
from poolkeeper.deployments.lab.ssh_hosts import SshHost
from poolkeeper.deployments.lab.standins.install import install
from poolkeeper.deployments.lab.tokens import JoinTokens

Json = dict[str, Any]

CLOUD_READY_S = 20.0
REBOOT_S = 1.0
"""How long a rebooting host refuses SSH."""
_EXTERNAL_ADDRESS = "203.0.113.10"
"""What the external name resolves to: TEST-NET-3 of RFC 5737, which nothing answers at."""


class World:
    """One lab. It owns its addresses for as long as it lives."""

    def __init__(
        self, folder: LabFolder, lab: str, hosts: int, kubelet: str = VERSION, *, joined: bool = False
    ) -> None:
        """kubelet: version that hosts join with; joined: they have joined already when the lab is up"""
        self.folder, self.lab, self._joined = folder, lab, joined
        self._claim, octet = claim_network()
        self.network = Network(octet)
        self.hosts = {host.name: host for host in plan_hosts(self.network, hosts)}
        self._audit = AuditLog(folder.audit, lambda: self.control_plane.store.journal.version)
        self.control_plane = ControlPlane(self.network, self.hosts, self._upgrade, kubelet, self._audit)
        self._key_id, self._key_secret = f"LTAI{secrets.token_hex(8)}", secrets.token_hex(16)
        self._tokens = JoinTokens()
        self.ack = AckOpenApi(self.control_plane, self._key_id, self._key_secret, self._tokens, CREATED_AT)
        self.bss = BssOpenApi(
            lambda cycle: bill_rows(cycle, CREATED_AT, datetime.now(UTC)), self._key_id, self._key_secret
        )
        self.names = NameServer(self._known_names(), self._is_deaf)
        self.control = ControlServer(lab, self._act)
        self.ssh: dict[str, SshHost] = {}
        self.kubelets: Kubelets | None = None
        self._booting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start everything and write the files that tell where it is; the last one says that it is ready."""
        install(self.folder.programs, self.folder.path / "pod-bin", self.folder.path / "tools")
        await self.control_plane.start()
        await self.ack.start(self.network.ack)
        await self.bss.start(self.network.bss)
        await self.names.start(self.network.dns)
        settings = LabSettings(
            id=self.lab,
            folder=self.folder,
            api=self.network.api,
            dns=self.network.dns,
            dns_port=self.names.port,
            join_url=f"http://{self.ack.endpoint}{JOIN_PATH}",
            control=socket_name(self.lab),
        )
        user_key = asyncssh.generate_private_key("ssh-ed25519", comment="ops@poolkeeper-lab")
        for host in self.hosts.values():
            self.ssh[host.name] = SshHost(HostFolder(settings, host), user_key)
            self.ssh[host.name].start()
        folders = {name: server.folder for name, server in self.ssh.items()}
        self.kubelets = Kubelets(self.control_plane, self.network, settings, folders)
        await self.kubelets.start()
        await self.control.start()
        async with asyncio.timeout(CLOUD_READY_S):
            await self.control_plane.until_ready(CLOUD_NODE)
        if self._joined:
            await join_all(self.control_plane, self._tokens, self.ssh.values())
            for name in self.hosts:
                await self.kubelets.look(name)
        self._write_keys(user_key)
        self._write_files()

    async def stop(self) -> None:
        """End everything that runs in this process, and all that was started on hosts."""
        for server in self.ssh.values():
            server.stop()
        self.control.stop()
        for task in self._booting:
            task.cancel()
        if self.kubelets is not None:
            await self.kubelets.stop()
        await asyncio.to_thread(kill_marked, self.lab)
        self.names.stop()
        await self.bss.stop()
        await self.ack.stop()
        await self.control_plane.stop()
        self._audit.close()
        self._claim.close()

    def _known_names(self) -> dict[str, str]:
        service = str(self.network.services.network_address + 1)
        names = {INTERNAL_NAME: service, "kubernetes.default": service, EXTERNAL_NAME: _EXTERNAL_ADDRESS}
        for host in self.hosts.values():
            names |= {host.name: host.address, f"{host.name}.{host.site}.lab": host.address}
        return names

    def _is_deaf(self, client: str) -> bool:
        """Whether the name server ignores a client: a host with that fault, or a pod on it."""
        host = self._host_of(client)
        return host is not None and NotedFaults(self.folder.host(host.name)).has(Fault.RESOLVER_DEAD)

    def _host_of(self, client: str) -> LabHost | None:
        for host in self.hosts.values():
            if client == host.address or _within(client, host.pod_cidr):
                return host
        return None

    def _write_keys(self, user_key: asyncssh.SSHKey) -> None:
        keys = self.folder.keys
        keys.mkdir(mode=0o700)
        lines = "".join(f"{server.known_hosts_line}\n" for server in self.ssh.values())
        (keys / "known_hosts").write_text(lines)
        (keys / "ops.pub").write_bytes(user_key.export_public_key())
        write_private(keys / "ops", user_key.export_private_key().decode())
        write_private(keys / "ack-id", f"{self._key_id}\n")
        write_private(keys / "ack-secret", f"{self._key_secret}\n")

    def _write_files(self) -> None:
        folder, plane = self.folder, self.control_plane
        write_private(folder.kubeconfig, plane.kubeconfig("poolkeeper", plane.poolkeeper_token))
        write_private(folder.admin_kubeconfig, plane.admin_kubeconfig())
        placed = {name: (host, self.ssh[name].port) for name, host in self.hosts.items()}
        folder.fleet.write_text(fleet_file(self.network, placed, self.ack.endpoint, self.bss.endpoint))
        told = {
            "kubectl": "kubectl",
            "network": f"127.{self.network.octet}.0.0/16",
            "api_url": plane.api.url,
            "provider_url": f"http://{self.ack.endpoint}",
            "billing_url": f"http://{self.bss.endpoint}",
            "dns": f"{self.network.dns}:{self.names.port}",
            "hosts": [
                {"name": name, "address": host.address, "port": self.ssh[name].port}
                for name, host in self.hosts.items()
            ],
        }
        partial = folder.ready.with_suffix(".new")
        partial.write_text(json.dumps(told, indent=2) + "\n")
        partial.rename(folder.ready)

    async def _act(self, request: Json) -> Json:
        """What stand-ins and the command line ask for. Raises ControlError."""
        if request.get("do") == "api server":
            self.control_plane.api.away(bool(request.get("away")))
            return {"ok": True}
        host = self.hosts.get(str(request.get("host")))
        actions: dict[str, Callable[[LabHost, Json], None]] = {
            "reboot": lambda host, _: self._begin_reboot(host),
            "kubelet": lambda host, _: None,
            "break": self._break,
            "mend": self._mend,
        }
        if host is None or request.get("do") not in actions:
            raise ControlError(f"the lab does not know: {request}")
        actions[request["do"]](host, request)
        if request["do"] != "reboot":
            await self._settle(host)
        return {"ok": True}

    async def _settle(self, host: LabHost) -> None:
        """Bring what runs of a host in line with what its folder says now: power first."""
        server = self.ssh[host.name]
        if server.folder.has(Fault.POWER_LOST):
            await self._power_off(host)
            server.fall_silent()
            return
        if not server.is_up:
            server.folder.boot()
            server.start()
        await self._kubelets.look(host.name)

    async def _power_off(self, host: LabHost) -> None:
        """At once, as a reset does it: connections cut, processes killed."""
        self.ssh[host.name].stop()
        await self._kubelets.power_off(host.name)
        await asyncio.to_thread(kill_marked, self.lab, host.name)

    @property
    def _kubelets(self) -> Kubelets:
        if self.kubelets is None:
            raise ControlError("the lab is still starting")
        return self.kubelets

    def _break(self, host: LabHost, request: Json) -> None:
        fault, folder = Fault(request["fault"]), self.ssh[host.name].folder
        if fault in MACHINES_ONLY:
            raise ControlError(f"{fault} is for machines: start them with `poolkeeper lab up --real`")
        folder.prepare()
        try:
            if fault is Fault.LEFTOVERS:
                folder.leave_leftovers()
            elif fault is Fault.NAME_DUPLICATED:
                self.control_plane.add_namesake(host)
        except ValueError as error:
            raise ControlError(str(error)) from None
        folder.faults.set(fault)

    def _mend(self, host: LabHost, request: Json) -> None:
        folder = self.ssh[host.name].folder
        for fault in map(Fault, request["faults"]):
            if not folder.has(fault):
                continue
            if fault is Fault.LEFTOVERS:
                folder.remove_leftovers()
            elif fault is Fault.NAME_DUPLICATED:
                self.control_plane.remove_namesake(host)
            folder.faults.clear(fault)

    async def _upgrade(self, name: str, version: str) -> str:
        """What ACK has its agent do on a host: the vendor's own tool; why it failed, empty when it did not."""
        server = self.ssh.get(name)
        if server is None:
            return "it is no host of this lab"
        running = await asyncio.create_subprocess_exec(
            str(self.folder.programs / "edgeadm"),
            "upgrade",
            f"--version=v{version}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**server.folder.environment(server.port), "POOLKEEPER_LAB_AS": "root"},
            cwd=server.folder.root,
        )
        told = (await running.communicate())[0].decode(errors="replace").strip().splitlines()
        return "" if running.returncode == 0 else (told[-1] if told else "it said nothing")

    def _begin_reboot(self, host: LabHost) -> None:
        task = asyncio.create_task(self._reboot(host))
        self._booting.add(task)
        task.add_done_callback(self._booting.discard)

    async def _reboot(self, host: LabHost) -> None:
        """Down and up again."""
        server = self.ssh[host.name]
        await self._power_off(host)
        server.folder.boot()
        await asyncio.sleep(REBOOT_S)
        server.start()
        await self._kubelets.look(host.name)


def _within(address: str, cidr: str) -> bool:
    return IPv4Address(address) in IPv4Network(cidr)
