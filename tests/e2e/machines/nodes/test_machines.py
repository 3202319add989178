"""The lab of machines: what they are, what can be done to them, and that nothing of them is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.deployments.lab.processes import marked
from poolkeeper.deployments.lab.real.machines.control_groups import ControlGroups
from poolkeeper.deployments.lab.real.machines.network import device_of
from tests.e2e.conftest import MachinesCluster

pytestmark = pytest.mark.tier("machines")

DEADLINE_S = 60.0


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that tells nobody when it happens."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:g} s: {what}"
        time.sleep(0.05)


@pytest.fixture
def spare(machines: MachinesCluster) -> str:
    """A machine that no other test makes a node of."""
    return machines.spare


def boot_id(machines: MachinesCluster, host: str) -> str:
    return machines.shell(host, "cat /proc/sys/kernel/random/boot_id")


def answers(machines: MachinesCluster, host: str) -> bool:
    with contextlib.suppress(OSError, asyncssh.Error, TimeoutError):
        return machines.shell(host, "echo yes", timeout_s=3) == "yes"
    return False


def booted_since(machines: MachinesCluster, host: str, before: str) -> bool:
    """Whether it answers from another boot; a machine that goes down breaks off in the middle of an answer."""
    with contextlib.suppress(OSError, asyncssh.Error, TimeoutError):
        return boot_id(machines, host) != before
    return False


def test_a_machine_is_a_system_of_its_own(machines: MachinesCluster, spare: str) -> None:
    told = machines.shell(
        spare, "hostname; cat /proc/1/comm; systemctl is-system-running; systemctl is-active containerd"
    )
    assert told.split() == [spare, "systemd", "running", "active"]
    ids = {machines.shell(host, "cat /etc/machine-id") for host in machines.names}
    assert len(ids) == len(machines.names)


def test_apt_has_kubernetes_in_two_minor_versions(machines: MachinesCluster, spare: str) -> None:
    machines.shell(spare, "apt-get -qq update")
    told = machines.shell(spare, "apt-cache madison kubelet kubeadm kubectl")
    rows = {tuple(word.strip() for word in line.split("|")[:2]) for line in told.splitlines()}
    assert rows == {(name, version) for name in ("kubelet", "kubeadm", "kubectl") for version in machines.kubernetes}


def test_names_are_resolved_by_the_sites_own_server(machines: MachinesCluster, spare: str) -> None:
    assert machines.shell(spare, "getent hosts mirror.lab").split()[0].startswith("10.")
    assert machines.shell(spare, "getent hosts nobody.invalid; echo $?") == "2"


def test_a_reboot_is_another_boot_of_the_same_machine(machines: MachinesCluster, spare: str) -> None:
    before, machine_id = boot_id(machines, spare), machines.shell(spare, "cat /etc/machine-id; echo kept > /root/file")
    machines.shell(spare, "systemd-run --on-active=1 --timer-property=AccuracySec=10ms systemctl reboot 2>/dev/null")
    until(lambda: booted_since(machines, spare, before), "another boot id")
    assert machines.shell(spare, "cat /etc/machine-id /root/file").split() == [machine_id, "kept"]


def test_a_power_loss_ends_it_at_once_and_mending_boots_it(machines: MachinesCluster, spare: str) -> None:
    before = boot_id(machines, spare)
    machines.break_host(spare, Fault.POWER_LOST)
    assert not answers(machines, spare)
    machines.mend_host(spare, Fault.POWER_LOST)
    assert boot_id(machines, spare) != before


def test_a_cut_line_is_felt_and_comes_back(machines: MachinesCluster, spare: str) -> None:
    before = boot_id(machines, spare)
    machines.break_host(spare, Fault.LINE_CUT)
    assert not answers(machines, spare)
    machines.mend_host(spare, Fault.LINE_CUT)
    until(lambda: answers(machines, spare), "an answer over the mended line")
    assert boot_id(machines, spare) == before


def test_what_only_the_embedded_lab_can_break_is_refused(machines: MachinesCluster, spare: str) -> None:
    with pytest.raises(lifecycle.LabError, match="machines cannot be broken by clock; they can by: resolver-dead"):
        machines.break_host(spare, Fault.CLOCK)


def mounts_below(folder: Path) -> list[str]:
    """Mounts of a lab in whatever mount namespace has some."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/mountinfo"):
        with contextlib.suppress(OSError):
            found += [line for line in entry.read_text().splitlines() if f" {folder}/" in line]
    return found


@pytest.mark.parametrize("stage", ["machines-network", "hosts/cloud-1/console.log", "fleet.yaml"])
def test_after_a_kill_lab_down_leaves_nothing(stage: str, tmp_path: Path) -> None:
    folder = LabFolder(tmp_path / "lab")
    words = ["lab", "up", "--real", "--machines", "1", "--folder", str(folder.path)]
    with (tmp_path / "up.log").open("wb") as log:
        up = subprocess.Popen([Path(sys.executable).with_name("poolkeeper"), *words], stdout=log, stderr=log)
    until((folder.path / stage).exists, stage)
    lab, octet = folder.identity.read_text(), int(folder.machines_network.read_text())
    up.kill()
    up.wait(10)
    os.kill(int(folder.pid.read_text()), signal.SIGKILL)

    assert lifecycle.down(folder)

    assert marked(lab) == ()
    assert not ControlGroups(lab).path.exists()
    assert not Path("/sys/class/net", device_of(octet)).exists()
    assert mounts_below(folder.path) == []
    assert not folder.path.exists()
