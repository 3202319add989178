"""A real control plane: etcd, kube-apiserver, kube-controller-manager and kube-scheduler.

For tests it sits on a loopback network; where machines join it, in a network namespace. Each start has a folder, a
network and a mark of its own. Whoever is killed while one runs leaves its processes behind; `kill_marked` with the id
in the folder's file `lab-id` ends them.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from poolkeeper.deployments.lab.kubernetes.certificates import Certificate
from poolkeeper.deployments.lab.layout import API_PORT, Network, claim_network, listening_socket
from poolkeeper.deployments.lab.processes import LAB_MARK, kill_marked
from poolkeeper.deployments.lab.real import commands
from poolkeeper.deployments.lab.real.credentials import Credentials
from poolkeeper.deployments.lab.real.daemons import Daemon
from poolkeeper.deployments.lab.real.loopback import ask

Json = dict[str, Any]

START_TIMEOUT_S = 60.0
"""Until all of it is healthy; 3 s are usual."""
PORTS = {
    "etcd": 2379,
    "etcd-peers": 2380,
    "kube-apiserver": API_PORT,
    "kube-controller-manager": 10257,
    "kube-scheduler": 10259,
}


@dataclass(frozen=True)
class Seat:
    """Where a control plane sits."""

    network: Network
    ports: Mapping[str, int]
    lab: str
    """The mark of its processes."""
    enter: Sequence[str] = ()
    """The beginning of a command that runs there."""
    keeps: Sequence[int] = ()
    """Open files that hold the network for as long as one of its processes lives."""
    joinable: bool = False
    """Whether machines reach it: then it tells where it is, and nodes that fall silent are missed."""

    @classmethod
    def on_loopback(cls) -> Seat:
        """A free network of loopback, claimed."""
        claim, octet = claim_network()
        network = Network(octet)
        ports = {name: _free_port(network.api, port) for name, port in PORTS.items()}
        return cls(network, ports, secrets.token_hex(8), keeps=[claim.detach()])


class RealControlPlane:
    """One cluster without nodes. A context manager; or `start`, and `stop` whatever happens.

    folder: must not be there yet; keeps data, certificates and logs
    programs: what `programs.find(CONTROL_PLANE)` gives
    seat: by default one on loopback
    """

    def __init__(self, folder: Path, programs: Mapping[str, Path], seat: Seat | None = None) -> None:
        self._seat = seat or Seat.on_loopback()
        self.lab = self._seat.lab
        folder.mkdir(parents=True)
        (folder / "lab-id").write_text(self.lab)
        self.folder = folder
        self.network = self._seat.network
        self.credentials = Credentials(folder / "pki", self.network)
        self._places = commands.Places(
            programs, folder, self.credentials, self.network, self._seat.ports, self._seat.joinable
        )
        self.api_url = self._places.url("kube-apiserver")
        self.admin_kubeconfig = self.credentials.admin_kubeconfig(self.api_url)
        self._etcd: Daemon | None = None
        self._api: Daemon | None = None
        self._others: list[Daemon] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """All that its processes see of ours: by the mark they are found."""
        return {LAB_MARK: self.lab, "HOME": str(self.folder), "TMPDIR": str(self.folder), "PATH": "/usr/bin:/bin"}

    def start(self) -> None:
        """Start everything and wait until it is healthy. Raises NotStarted."""
        deadline = time.monotonic() + START_TIMEOUT_S
        places, tls = self._places, self.credentials.ca.client_context()
        self._etcd = self._daemon("etcd", commands.etcd(places))
        self._etcd.until_healthy(f"{places.url('etcd')}/readyz", self.credentials.etcd_context(), deadline)
        self._start_api(deadline)
        for name, command in (
            ("kube-controller-manager", commands.controller_manager(places)),
            ("kube-scheduler", commands.scheduler(places)),
        ):
            self._others.append(self._daemon(name, command))
        for daemon in self._others:
            daemon.until_healthy(f"{places.url(daemon.name)}/healthz", tls, deadline)

    def _start_api(self, deadline: float) -> None:
        self._api = self._daemon("kube-apiserver", commands.api_server(self._places))
        self._api.until_healthy(f"{self.api_url}/readyz", self.credentials.ca.client_context(), deadline)

    def _daemon(self, name: str, command: list[str]) -> Daemon:
        return Daemon(name, [*self._seat.enter, *command], self.folder, self.environment, self._seat.keeps)

    def restart_api(self, *, compacted: bool = False) -> None:
        """Let kube-apiserver crash and start it again: watches break, and its memory of what was is gone.

        compacted: etcd forgets as well, so that no earlier version can be had from anywhere
        """
        if self._api is not None:
            self._api.kill()
        if compacted:
            self._compact()
        self._start_api(time.monotonic() + START_TIMEOUT_S)

    def _compact(self) -> None:
        found = self._ask_etcd("range", {"key": "AA=="})
        self._ask_etcd("compaction", {"revision": found["header"]["revision"], "physical": True})

    def _ask_etcd(self, what: str, body: Json) -> Json:
        url = f"{self._places.url('etcd')}/v3/kv/{what}"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        told: Json = json.loads(ask(request, self.credentials.etcd_context(), timeout_s=10))
        return told

    def client_certificate(self, user: str, groups: tuple[str, ...] = ()) -> Certificate:
        """A certificate by which the API server knows a user and its groups."""
        return self.credentials.ca.client_certificate(user, groups)

    def stop(self) -> None:
        """End everything, clients before servers: kube-apiserver lingers while etcd is away."""
        for daemon in (*reversed(self._others), self._api, self._etcd):
            if daemon is not None:
                daemon.stop()
        self._others, self._api, self._etcd = [], None, None
        kill_marked(self.lab)  # what was started beside them, such as hollow nodes
        for held in self._seat.keeps:
            os.close(held)
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)  # certificates and logs stay, for who asks why


def _free_port(address: str, wanted: int) -> int:
    """That port, or a free one where another program has it on all addresses; nobody else is on this address."""
    with listening_socket(address, wanted) as free:
        port: int = free.getsockname()[1]
    return port
