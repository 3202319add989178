"""A user's view: the commands as a user types them, a lab, a real Prefect server; what came of it is read from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import CLOUD_NODE, SSH_USER, LabFolder, Network
from poolkeeper.deployments.lab.real.machines.kubernetes_packages import packaged_version
from poolkeeper.deployments.lab.real.pins import EARLIER_KUBERNETES, KUBERNETES
from tests import warm
from tests.warm import COMMAND_TIMEOUT_S, Ended

Json = dict[str, Any]


@dataclass(frozen=True)
class Cluster:
    """A lab with the cluster in it, as an admin and as a user of poolkeeper."""

    folder: LabFolder
    prefect_api_url: str
    state: Path

    @property
    def environment(self) -> dict[str, str]:
        """What poolkeeper's commands run with."""
        return {
            **os.environ,
            "POOLKEEPER_FLEET": str(self.folder.fleet),
            "POOLKEEPER_STATE": str(self.state),
            "PREFECT_API_URL": self.prefect_api_url,
            "PREFECT_HOME": str(self.state / "prefect"),
        }

    def poolkeeper(self, *words: str) -> Ended:
        """One command, to its end."""
        return warm.start(words, self.environment).end()

    def kill(self, place: str, *words: str) -> None:
        """One command that kills itself at a place, which `tests.e2e.killing` describes."""
        ended = warm.start(words, self.environment, place).end()
        assert ended.code == -signal.SIGKILL, f"{place} was not reached: {ended.out[-500:]} {ended.err[-2000:]}"

    def program(self, *command: str) -> Ended:
        """Any program with poolkeeper's environment, to its end."""
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def onboard(self, hosts: str = "all", *, dry_run: bool = False, **parameters: str) -> Ended:
        """The onboarding flow."""
        chosen = {"hosts": hosts, "dry_run": str(dry_run).lower(), **parameters}
        words = [word for name, value in chosen.items() for word in ("-p", f"{name}={value}")]
        return self.poolkeeper("run", "onboard", *words, "--json")

    def ask(self, method: str, path: str, body: Any = None) -> Json:
        """The API server, as an admin."""
        config = json.loads(self.folder.admin_kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        context = ssl.create_default_context(cadata=_pem(cluster["certificate-authority-data"]))
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request = urllib.request.Request(
            cluster["server"] + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {config['users'][0]['user']['token']}", "Content-Type": kind},
        )
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            told: Json = json.load(answer)
        return told

    @property
    def nodes(self) -> dict[str, Json]:
        """The hybrid nodes, by name."""
        items = self.ask("GET", "/api/v1/nodes")["items"]
        label = "alibabacloud.com/nodepool-type"
        return {n["metadata"]["name"]: n for n in items if n["metadata"]["labels"].get(label) == "hybridcloud"}

    @property
    def test_pods(self) -> list[str]:
        """Pods of ours that nobody has deleted; the kubelet needs a moment to end one that is."""
        pods = [pod["metadata"] for pod in self.ask("GET", "/api/v1/namespaces/poolkeeper/pods")["items"]]
        return [pod["name"] for pod in pods if "deletionTimestamp" not in pod]

    @property
    def names(self) -> list[str]:
        """The hosts of the lab."""
        return [host["name"] for host in lifecycle.status(self.folder)["hosts"]]

    def names_in(self, pool: str) -> list[str]:
        """The hosts of one pool."""
        hosts = yaml.safe_load(self.folder.fleet.read_text())["hosts"]
        return [name for name, host in hosts.items() if host["pool"] == pool]

    def root(self, host: str) -> Path:
        """The folder that a lab host takes for its root."""
        return self.folder.host(host) / "root"

    def break_host(self, host: str, fault: Fault) -> None:
        lifecycle.break_host(self.folder, host, fault)

    def mend_host(self, host: str, fault: Fault | None = None) -> None:
        lifecycle.mend_host(self.folder, host, fault)

    def edit_fleet(self, change: Callable[[Json], None]) -> None:
        """Change the fleet file as a user would."""
        document = yaml.safe_load(self.folder.fleet.read_text())
        change(document)
        self.folder.fleet.write_text(yaml.safe_dump(document, sort_keys=False))


@dataclass(frozen=True)
class MachinesCluster(Cluster):
    """The same with machines: what is on them is asked over SSH."""

    @property
    def spare(self) -> str:
        """A machine that is never made a node."""
        return self.names[-1]

    @property
    def kubernetes(self) -> list[str]:
        """Versions of the packages on the sites' mirror."""
        return [packaged_version(module) for module in (EARLIER_KUBERNETES, KUBERNETES)]

    def kubectl(self, *words: str) -> str:
        """What kubectl of the same build answers to an admin."""
        command = [lifecycle.status(self.folder)["kubectl"], "--kubeconfig", str(self.folder.admin_kubeconfig), *words]
        done = self.program(*command)
        assert done.code == 0, f"kubectl {' '.join(words)}: {done.err}"
        return done.out

    def shell(self, host: str, script: str, *, timeout_s: float = 60.0) -> str:
        """What a script, run by root on a host, writes. Raises OSError, asyncssh.Error, TimeoutError."""
        return self.shells({host: script}, timeout_s=timeout_s)[host]

    def shells(self, scripts: Mapping[str, str], *, timeout_s: float = 60.0) -> dict[str, str]:
        """The same on several at once, by name; the cloud's node is one of them. Raises as `shell`."""
        addresses = {host["name"]: host["address"] for host in lifecycle.status(self.folder)["hosts"]}
        addresses[CLOUD_NODE] = self.network.cloud_node

        async def told() -> list[str]:
            return await asyncio.gather(*(self._shell(addresses[host], scripts[host], timeout_s) for host in scripts))

        return {host: text.strip() for host, text in zip(scripts, asyncio.run(told()), strict=True)}

    @property
    def network(self) -> Network:
        """Where everything of the lab is."""
        return Network(int(self.folder.machines_network.read_text()), first=10)

    async def _shell(self, address: str, script: str, timeout_s: float) -> str:
        keys = self.folder.keys
        async with (
            asyncio.timeout(timeout_s),
            asyncssh.connect(
                address,
                username=SSH_USER,
                client_keys=[str(keys / "ops")],
                known_hosts=str(keys / "known_hosts"),
                config=None,
            ) as connection,
        ):
            return str((await connection.run("sudo sh -s", input=script, check=True)).stdout)


def ask_prefect(cluster: Cluster, method: str, path: str, body: Any = None) -> Any:
    """The Prefect server."""
    request = urllib.request.Request(
        cluster.prefect_api_url + path,
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                raw = answer.read()
            return json.loads(raw) if raw else None
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > deadline:  # its SQLite is busy, and nothing was done
                raise
            time.sleep(0.5)


def _pem(encoded: str) -> str:
    import base64

    return base64.b64decode(encoded).decode()


@pytest.fixture(scope="session")
def prefect_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A lab with Prefect server, worker and deployments."""
    place = tmp_path_factory.mktemp("prefect")
    folder, state = LabFolder(place / "lab"), place / "state"
    before = os.environ.get("POOLKEEPER_STATE")
    os.environ["POOLKEEPER_STATE"] = str(state)  # where its worker keeps what runs write
    try:
        lifecycle.up(folder, 2)
        lifecycle.start_prefect(folder)
        yield Cluster(folder, lifecycle.status(folder)["prefect_api_url"], state)
    finally:
        lifecycle.down(folder)
        if before is None:
            del os.environ["POOLKEEPER_STATE"]
        else:
            os.environ["POOLKEEPER_STATE"] = before


@pytest.fixture(scope="session")
def prefect_api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server for all runs that tests start themselves."""
    folder = LabFolder(tmp_path_factory.mktemp("server") / "lab")
    try:
        lifecycle.up(folder, 1)
        lifecycle.start_prefect(folder, alone=True)
        yield lifecycle.status(folder)["prefect_api_url"]
    finally:
        lifecycle.down(folder)


@pytest.fixture
def new_lab(tmp_path: Path, prefect_api_url: str) -> Iterator[Callable[[int], Cluster]]:
    """Makes labs of a test's own."""
    folders: list[LabFolder] = []

    def make(hosts: int) -> Cluster:
        folder = LabFolder(tmp_path / f"lab{len(folders)}")
        folders.append(folder)
        lifecycle.up(folder, hosts)
        return Cluster(folder, prefect_api_url, tmp_path / "state")

    yield make
    for folder in folders:
        lifecycle.down(folder)
