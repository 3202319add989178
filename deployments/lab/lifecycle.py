"""Bringing a lab up and taking it down: its process, and that nothing stays behind."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import poolkeeper
from poolkeeper.deployments.lab import control, prefect_server
from poolkeeper.deployments.lab.faults import FAULTS, Fault, NotedFaults, Subject, faults_of, subject_of
from poolkeeper.deployments.lab.layout import CLOUD, SITES, LabFolder, Network
from poolkeeper.deployments.lab.processes import LAB_MARK, environment_of, kill_marked
from poolkeeper.tasks.ledger import private_folder

Json = dict[str, Any]

START_TIMEOUT_S = 60.0
MACHINES_TIMEOUT_S = 300.0
_OF_MOUNT_OPTIONS = ",:\\"
STOP_TIMEOUT_S = 10.0


class LabError(Exception):
    """It could not be done; the message says why and what to do."""


class NotALab(LabError):
    """The folder is something else, or there is no lab in it."""


def up(folder: LabFolder, hosts: int, *, kubelet: str | None = None, joined: bool = False) -> bool:
    """Start a lab and wait until all of it listens; False if it was up already. Raises LabError, NotALab.

    kubelet: version that hosts join with, as `v1.35.4`; None: the API server's
    joined: they are nodes from the beginning, as after somebody else's joins
    """
    command = [
        sys.executable,
        "-m",
        "poolkeeper.deployments.lab.serve",
        "--folder",
        str(folder.path),
        "--hosts",
        str(hosts),
    ]
    command += ["--kubelet", kubelet] if kubelet else []
    command += ["--joined"] if joined else []
    with _alone(folder):
        return _up(folder, command, START_TIMEOUT_S)


def up_machines(folder: LabFolder, machines: int) -> bool:
    """The same with real machines and a real cluster. What is made once is made now. Raises LabError, NotALab."""
    from poolkeeper.deployments.lab.real.building import Unavailable
    from poolkeeper.deployments.lab.real.machines.need import prepare
    from poolkeeper.deployments.lab.real.machines.serve import OWN_MOUNTS

    if found := set(str(folder.path)) & set(_OF_MOUNT_OPTIONS):
        raise LabError(f"mounts cannot be told a path with {' '.join(sorted(found))} in it: choose another --folder")
    try:
        prepare()
    except Unavailable as missing:
        raise LabError(f"machines cannot be had here: {missing}") from None
    module = "poolkeeper.deployments.lab.real.machines.serve"
    serve = [sys.executable, "-m", module, "--folder", str(folder.path), "--machines", str(machines)]
    with _alone(folder):
        return _up(folder, [*OWN_MOUNTS, *serve], MACHINES_TIMEOUT_S)


@contextmanager
def _alone(folder: LabFolder) -> Iterator[None]:
    """Keep a second `up` or `down` off a folder: two would take each other's lab for a dead one. Raises LabError."""
    name = hashlib.sha256(os.fsencode(folder.path)).hexdigest()[:32]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:  # gone with this process, however it ends
        try:
            claim.bind(f"\0poolkeeper-lab-folder-{name}")
        except OSError:
            raise LabError(f"another `lab up` or `lab down` is at work in {folder.path}: wait for it") from None
        yield


def _up(folder: LabFolder, command: Sequence[str], timeout_s: float) -> bool:
    if is_running(folder):
        return False
    if folder.path.exists() and any(folder.path.iterdir()):
        if not folder.identity.exists():
            raise NotALab(f"{folder.path} is there already and is not a lab: choose another --folder")
        _down(folder)  # what an earlier lab that was killed has left
    private_folder(folder.path)  # it holds the keys to its cluster
    lab = secrets.token_hex(8)
    folder.identity.write_text(lab)
    code = Path(poolkeeper.__path__[0]).parent
    with folder.log.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder.path,
            env={
                **os.environ,
                LAB_MARK: lab,
                "PYTHONPATH": os.pathsep.join([str(code), os.environ.get("PYTHONPATH", "")]),
            },
            start_new_session=True,
        )
    folder.pid.write_text(f"{process.pid}\n")
    deadline = time.monotonic() + timeout_s
    while not folder.ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            words = folder.log.read_text(errors="replace").strip().splitlines()[-1:]
            _down(folder)
            raise LabError(f"the lab did not start: {words[0] if words else 'it said nothing'}")
        time.sleep(0.02)
    return True


def start_prefect(folder: LabFolder, *, alone: bool = False) -> bool:
    """Give a lab that is up a Prefect server, a worker and every deployment; False if it had them. Raises LabError.

    alone: the server and nothing else
    """
    told = status(folder)
    if told["prefect_api_url"]:
        return False
    try:
        # on loopback also beside machines, which have no business with it
        prefect_server.start(folder, Network(int(told["network"].split(".")[1])), alone=alone)
    except prefect_server.PrefectNotStarted as error:
        raise LabError(str(error)) from None
    return True


def is_running(folder: LabFolder) -> bool:
    """Whether the lab's process lives: the one of the pid file, and ours by its mark."""
    return _running_pid(folder) is not None


def _running_pid(folder: LabFolder) -> int | None:
    try:
        lab, pid = folder.identity.read_text(), int(folder.pid.read_text())
    except (OSError, ValueError):
        return None
    return pid if environment_of(pid).get(LAB_MARK) == lab else None


def down(folder: LabFolder) -> bool:
    """End a lab, everything it has started, and its folder; False if there was none. Raises LabError, NotALab."""
    with _alone(folder):
        return _down(folder)


def _down(folder: LabFolder) -> bool:
    if not folder.path.exists() or not any(folder.path.iterdir()):
        return False
    try:
        lab = folder.identity.read_text()
    except OSError:
        raise NotALab(f"{folder.path} is not a lab's folder: it is left as it is") from None
    pid = _running_pid(folder)
    if pid is not None:
        _end(pid, lab)
    stayed = kill_marked(lab) if lab else ()
    if stayed:
        raise LabError(f"these processes of the lab would not end: {', '.join(map(str, stayed))}")
    if folder.machines_network.exists():
        _remove_machines(folder, lab)
    for entry in folder.path.iterdir():
        if entry != folder.identity:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    folder.identity.unlink()  # last, so that what was cut off here can be finished
    folder.path.rmdir()
    return True


def _remove_machines(folder: LabFolder, lab: str) -> None:
    """What the kernel keeps of machines beyond their lab's own processes. Raises LabError."""
    from poolkeeper.deployments.lab.real.machines.control_groups import ControlGroups
    from poolkeeper.deployments.lab.real.machines.network import NetworkRefused, unplug

    try:
        groups = ControlGroups(lab)
        if not groups.end():
            raise LabError(f"processes of the lab's machines would not end: see {groups.path}")
        unplug(int(folder.machines_network.read_text()), lab)
    except (OSError, ValueError, NetworkRefused) as error:
        raise LabError(f"what is left of the lab's machines cannot be removed: {error}") from None


def _end(pid: int, lab: str) -> None:
    """Ask a process to end and wait for it; what is left is killed afterwards with all others."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if environment_of(pid).get(LAB_MARK) == lab:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            _wait(descriptor, STOP_TIMEOUT_S)
    finally:
        os.close(descriptor)


def _wait(descriptor: int, timeout_s: float) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll(timeout_s * 1000)


def status(folder: LabFolder) -> Json:
    """What runs where, with the faults of hosts, sites and the cloud. Raises NotALab when no lab is up."""
    if not is_running(folder) or not folder.ready.exists():
        raise NotALab(f"no lab is up in {folder.path}: start one with `poolkeeper lab up`")
    told: Json = json.loads(folder.ready.read_text())
    url = folder.prefect_api_url
    return {
        "kubeconfig": str(folder.kubeconfig),
        "fleet": str(folder.fleet),
        "prefect_api_url": url.read_text().strip() if url.exists() else None,
        "provider_url": told["provider_url"],
        "billing_url": told["billing_url"],
        "api_url": told["api_url"],
        "dns": told["dns"],
        "network": told["network"],
        "kubectl": told["kubectl"],
        "folder": str(folder.path),
        "hosts": [{**host, "fault": _noted(folder.host(host["name"]))} for host in told["hosts"]],
        "sites": [{"name": site, "fault": _noted(folder.place(site))} for site in SITES],
        "cloud": {"name": CLOUD, "fault": _noted(folder.place(CLOUD))},
    }


def _noted(folder: Path) -> str | None:
    return ",".join(NotedFaults(folder).all()) or None


def why_not(name: str, fault: Fault) -> str | None:
    """Why a host, a site or the cloud cannot be broken by a fault whatever lab it is in; None: it may be."""
    subject, of = subject_of(name), FAULTS[fault].subjects
    if subject in of:
        return None
    wanted = " or ".join("the cloud" if kind is Subject.CLOUD else f"a {kind}" for kind in of)
    return f"{name} cannot be broken by {fault}, which is of {wanted}; it can by: {', '.join(faults_of(subject))}"


def break_host(folder: LabFolder, name: str, fault: Fault) -> None:
    """Break a host, a site or the cloud. Raises LabError when it cannot be, NotALab when there is no such."""
    _tell(folder, {"do": "break", "host": name, "fault": fault})


def mend_host(folder: LabFolder, name: str, fault: Fault | None) -> None:
    """Mend one fault of a host, a site or the cloud, or all. Raises as `break_host`."""
    _tell(folder, {"do": "mend", "host": name, "faults": [fault] if fault else list(Fault)})


def let_api_server_be(folder: LabFolder, *, away: bool) -> None:
    """Have the API server cut all connections, or serve again. Raises LabError, and NotALab when no lab is up."""
    status(folder)
    _ask(folder, {"do": "api server", "away": away})


def _tell(folder: LabFolder, request: Json) -> None:
    name, names = request["host"], [host["name"] for host in status(folder)["hosts"]]
    if subject_of(name) is not Subject.HOST:
        if not folder.machines_network.exists():
            raise NotALab(f"{name} is for machines, where there are lines to cut: start them with `lab up --real`")
    elif name not in names:
        raise NotALab(f"no {name} in this lab; there are: {', '.join([*names, *SITES, CLOUD])}")
    _ask(folder, request)


def _ask(folder: LabFolder, request: Json) -> None:
    try:
        control.ask(folder.identity.read_text(), request)
    except control.ControlError as error:
        raise LabError(str(error)) from None
