"""Labs come up, stand side by side, and leave nothing behind, whatever became of their process."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.cli import lab as command
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.deployments.lab.processes import marked
from tests.contract.lab.conftest import RunningLab


def running(folder: LabFolder) -> RunningLab:
    return RunningLab(folder, json.loads(folder.ready.read_text()))


def listening(network: str) -> list[str]:
    """What listens on a lab's addresses, as /proc/net/tcp has it."""
    octet = int(network.split(".")[1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and row[1][4:8] == f"{octet:02X}7F"]


def test_fleet_file_loads_and_keys_are_private(shared_lab: RunningLab) -> None:
    from poolkeeper.tasks.fleet import load_fleet

    fleet = load_fleet(shared_lab.folder.fleet)
    assert sorted(fleet.hosts) == sorted(host["name"] for host in shared_lab.told["hosts"])
    for path in (shared_lab.folder.keys / "ops", shared_lab.folder.keys / "ack-secret", shared_lab.folder.kubeconfig):
        assert path.stat().st_mode & 0o077 == 0


def test_up_twice_says_so(shared_lab: RunningLab) -> None:
    assert lifecycle.up(shared_lab.folder, 4) is False
    done = CliRunner().invoke(command, ["up", "--folder", str(shared_lab.folder.path)])
    assert done.exit_code == 0
    assert "was up already" in done.output


def test_status_has_what_scripts_rely_on(shared_lab: RunningLab) -> None:
    done = CliRunner().invoke(command, ["status", "--json", "--folder", str(shared_lab.folder.path)])
    told = json.loads(done.output)
    assert {"kubeconfig", "fleet", "prefect_api_url", "provider_url", "hosts"} <= told.keys()
    assert told["prefect_api_url"] is None
    assert told["hosts"][0].keys() >= {"name", "address", "port", "fault"}


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["status"], 1),
        (["down"], 0),
        (["break", "fra1-n01", "clock"], 2),
        (["break", "fra1-n01", "no-such-fault"], 2),
        (["up", "--hosts", "0"], 2),
        (["up", "--machines", "2"], 2),
        (["up", "--real", "--hosts", "2"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_exit_codes_without_a_lab(tmp_path: Path, words: list[str], status: int) -> None:
    assert CliRunner().invoke(command, [*words, "--folder", str(tmp_path / "none")]).exit_code == status


def test_break_shows_in_status_until_mended(lab: RunningLab) -> None:
    lab.break_host(0, Fault.CLOCK)
    assert lifecycle.status(lab.folder)["hosts"][0]["fault"] == "clock"
    lab.mend_host(0, Fault.CLOCK)
    assert lifecycle.status(lab.folder)["hosts"][0]["fault"] is None


@pytest.mark.parametrize(
    ("name", "fault", "words"),
    [
        ("fra1", Fault.LINE_CUT, "fra1 is for machines"),
        ("fra9", Fault.CLOCK, "no fra9 in this lab; there are: fra1-n01"),
    ],
    ids=["a site, on loopback", "no such host"],
)
def test_what_is_not_there_cannot_be_broken(lab: RunningLab, name: str, fault: Fault, words: str) -> None:
    with pytest.raises(lifecycle.NotALab, match=words):
        lifecycle.break_host(lab.folder, name, fault)


def test_a_folder_that_is_no_lab_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    folder = LabFolder(tmp_path)
    with pytest.raises(lifecycle.NotALab):
        lifecycle.down(folder)
    with pytest.raises(lifecycle.NotALab):
        lifecycle.up(folder, 1)
    assert (tmp_path / "precious").read_text() == "mine"


async def test_two_labs_side_by_side(shared_lab: RunningLab, own_folder: LabFolder) -> None:
    lifecycle.up(own_folder, 1)
    other = running(own_folder)
    assert other.told["network"] != shared_lab.told["network"]
    other.break_host(0, Fault.CLOCK)
    assert lifecycle.status(shared_lab.folder)["hosts"][0]["fault"] is None
    assert (await other.run(0, "hostname")).stdout == (await shared_lab.run(0, "hostname")).stdout
    assert lifecycle.down(own_folder)
    assert (await shared_lab.run(0, "echo still")).stdout == "still\n"


@pytest.mark.parametrize("killed", [False, True], ids=["asked to end", "after kill -9"])
async def test_down_leaves_nothing(own_folder: LabFolder, killed: bool) -> None:
    lifecycle.up(own_folder, 2)
    lab = running(own_folder)
    identity = own_folder.identity.read_text()
    await lab.run(0, "systemd-run --quiet --unit=stays sleep 600; (sleep 600 >/dev/null 2>&1 </dev/null &)")
    pid = int(own_folder.pid.read_text())
    assert len(marked(identity)) > 2
    if killed:
        os.kill(pid, signal.SIGKILL)
    assert lifecycle.down(own_folder)
    assert marked(identity) == ()
    assert listening(lab.told["network"]) == []
    assert not own_folder.path.exists()
    assert lifecycle.down(own_folder) is False


def test_up_again_after_a_kill_begins_anew(own_folder: LabFolder) -> None:
    lifecycle.up(own_folder, 1)
    first = own_folder.identity.read_text()
    pid = int(own_folder.pid.read_text())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert lifecycle.up(own_folder, 1)
    assert own_folder.identity.read_text() != first
    assert marked(first) == ()


def test_500_hosts_start_in_seconds(own_folder: LabFolder) -> None:
    began = time.monotonic()
    lifecycle.up(own_folder, 500)
    assert len(running(own_folder).told["hosts"]) == 500
    assert time.monotonic() - began < 15


def test_two_at_work_in_one_folder_do_not_end_each_others_lab(tmp_path: Path) -> None:
    folder = LabFolder(tmp_path / "lab")
    with lifecycle._alone(folder), pytest.raises(lifecycle.LabError, match="another `lab up` or `lab down` is at work"):
        lifecycle.up(folder, 1)
    assert not folder.path.exists()
