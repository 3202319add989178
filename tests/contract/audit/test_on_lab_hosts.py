"""The probe over SSH on hosts of the lab, their faults among what it finds."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest
import yaml

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.tasks.audit.planning.questions import Answer, Kind, Outcome, Question, RequestBatch
from poolkeeper.tasks.audit.remote.protocol import ask_host
from poolkeeper.tasks.fleet import load_fleet
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import Sessions, errors
from tests.contract.hosts.conftest import open_sessions


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabFolder]:
    folder = LabFolder(tmp_path_factory.mktemp("lab") / "lab")
    lifecycle.up(folder, 2)
    yield folder
    lifecycle.down(folder)


@pytest.fixture
def hosts(lab: LabFolder) -> Iterator[list[Host]]:
    """Both of them, as declared; mended afterwards."""
    declared = list(load_fleet(lab.fleet).hosts.values())
    yield declared
    for host in declared:
        lifecycle.mend_host(lab, host.name, None)


@pytest.fixture
async def sessions() -> AsyncIterator[Sessions]:
    async with open_sessions() as opened:
        yield opened


QUESTIONS = ("api", "ssh", "dns", "dns-tcp", "missing", "stub", "settings", "mtu", "no way")


def _sheet(lab: LabFolder, other: Host) -> RequestBatch:
    told = json.loads(lab.ready.read_text())
    api, dns = urlsplit(told["api_url"]), told["dns"].partition(":")[0]
    questions = (
        Question(Kind.API, api.hostname or "", api.port or 0, authority="cluster"),
        Question(Kind.TCP, other.address, other.ssh.port),
        Question(Kind.DNS, dns, 53, f"{other.name}.{other.site.name}.lab", "udp", "A"),
        Question(Kind.DNS, dns, 53, f"{other.name}.{other.site.name}.lab", "tcp", "A"),
        Question(Kind.DNS, dns, 53, "missing.lab", "udp", "A"),
        Question(Kind.STUB, name=f"{other.name}.{other.site.name}.lab"),
        Question(Kind.SETTINGS),
        Question(Kind.MTU, other.address, sizes=(1280, 1500)),
        Question(Kind.DNS, "169.254.20.10", 53, "missing.lab", "udp", "A"),
    )
    return RequestBatch(questions, {"cluster": _authority(lab)}, deadline_s=20, timeout_s=3)


def _authority(lab: LabFolder) -> str:
    config = yaml.safe_load(lab.kubeconfig.read_text())
    return base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()


async def _asked(lab: LabFolder, sessions: Sessions, hosts: list[Host]) -> dict[str, Answer]:
    return dict(zip(QUESTIONS, await ask_host(sessions, hosts[0], _sheet(lab, hosts[1])), strict=True))


async def test_a_host_as_it_should_be(lab: LabFolder, sessions: Sessions, hosts: list[Host]) -> None:
    told = await _asked(lab, sessions, hosts)
    ways = {name: answer.outcome for name, answer in told.items() if name != "mtu"}
    assert ways == {**dict.fromkeys(ways, Outcome.OK), "no way": Outcome.UNREACHABLE}
    assert told["dns"].values["addresses"] == told["dns-tcp"].values["addresses"] == hosts[1].address
    assert told["missing"].values["rcode"] == "NXDOMAIN"
    assert told["stub"].values["addresses"] == hosts[1].address
    assert told["settings"].values["servers"] == json.loads(lab.ready.read_text())["dns"].partition(":")[0]
    assert told["mtu"].outcome in (Outcome.OK, Outcome.UNKNOWN)
    assert abs(float(told["api"].values["clock_offset_s"])) < 5
    assert not os.listdir(lab.host(hosts[0].name) / "root/tmp"), "something was left on the host"


async def test_faults(lab: LabFolder, sessions: Sessions, hosts: list[Host]) -> None:
    lifecycle.break_host(lab, hosts[0].name, Fault.CLOCK)
    told = await _asked(lab, sessions, hosts)
    assert 595 < float(told["api"].values["clock_offset_s"]) < 605
    lifecycle.break_host(lab, hosts[0].name, Fault.API_UNREACHABLE)
    told = await _asked(lab, sessions, hosts)
    assert (told["api"].outcome, told["api"].values["stage"]) == (Outcome.REFUSED, "connect")
    assert told["ssh"].outcome is Outcome.OK
    lifecycle.break_host(lab, hosts[0].name, Fault.RESOLVER_DEAD)
    told = await _asked(lab, sessions, hosts)
    assert (told["dns"].outcome, told["stub"].outcome) == (Outcome.TIMEOUT, Outcome.NO_NAME)


async def test_a_line_that_drops(lab: LabFolder, sessions: Sessions, hosts: list[Host]) -> None:
    lifecycle.break_host(lab, hosts[0].name, Fault.DROPS_MID_COMMAND)
    with pytest.raises(errors.HostError):
        await _asked(lab, sessions, hosts)
