"""What can be broken, of what, and how the command line refuses the rest before it asks any lab."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from click.testing import CliRunner

from poolkeeper.deployments.lab.cli import lab as command
from poolkeeper.deployments.lab.faults import FAULTS, MACHINES_ONLY, Fault, NotedFaults, Subject, faults_of, subject_of
from poolkeeper.deployments.lab.layout import Network, plan_hosts
from poolkeeper.deployments.lab.real.machines.faults import of_cloud, of_host, of_site
from poolkeeper.deployments.lab.real.machines.intranet import Certificates
from poolkeeper.deployments.lab.real.machines.machine import PoweredMachine
from poolkeeper.deployments.lab.real.machines.network import Wires
from poolkeeper.deployments.lab.real.machines.resolvers import Resolvers

ALL_OF_A_SITE = "api-unreachable, line-cut, one-way, udp-53-blocked, mtu-lowered, resolver-lies"


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (
            ["break", "fra1", "clock"],
            f"fra1 cannot be broken by clock, which is of a host; it can by: {ALL_OF_A_SITE}\n",
        ),
        (["mend", "ams1", "clock"], "ams1 cannot be broken by clock, which is of a host"),
        (["break", "fra1-n01", "one-way"], "fra1-n01 cannot be broken by one-way, which is of a site"),
        (["break", "fra1-n01", "certificate-expired"], "by certificate-expired, which is of the cloud"),
        (
            ["break", "cloud", "line-cut"],
            "cloud cannot be broken by line-cut, which is of a host or a site; it can by: cert",
        ),
        (["break", "fra1", "no-such-fault"], "'no-such-fault' is not one of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_fault_of_something_else_is_bad_input(tmp_path: Path, words: list[str], refusal: str) -> None:
    ended = CliRunner().invoke(command, [*words, "--folder", str(tmp_path / "none")])
    assert ended.exit_code == 2
    assert refusal in ended.output


def test_a_fault_that_it_can_have_is_asked_of_the_lab(tmp_path: Path) -> None:
    ended = CliRunner().invoke(command, ["break", "fra1", "line-cut", "--folder", str(tmp_path / "none")])
    assert (ended.exit_code, "no lab is up" in ended.output) == (2, True)


def test_every_fault_is_listed_with_its_subjects() -> None:
    told = json.loads(CliRunner().invoke(command, ["faults", "--json"]).output)
    assert list(told) == list(FAULTS)
    assert set(told) == set(Fault)
    assert told["line-cut"]["subjects"] == ["host", "site"]
    lines = CliRunner().invoke(command, ["faults"]).output.splitlines()
    assert [line.split()[0] for line in lines] == list(Fault)


@pytest.mark.parametrize(
    ("name", "subject"),
    [("cloud", Subject.CLOUD), ("ams1", Subject.SITE), ("ams1-n01", Subject.HOST), ("cloud-1", Subject.HOST)],
)
def test_what_a_name_stands_for(name: str, subject: Subject) -> None:
    assert subject_of(name) is subject


def test_machines_can_be_broken_by_what_the_table_says(tmp_path: Path) -> None:
    wires, noted = Wires(64, "no-lab"), NotedFaults(tmp_path)
    machine = cast(PoweredMachine, SimpleNamespace(machine=SimpleNamespace(disk=tmp_path)))
    made = {
        Subject.HOST: of_host(wires, machine, plan_hosts(Network(64, first=10), 1)[0]),
        Subject.SITE: of_site(wires, cast(Resolvers, None), "fra1"),
        Subject.CLOUD: of_cloud(cast(Certificates, None), noted),
    }
    for subject, breakages in made.items():
        assert set(breakages) <= set(faults_of(subject))
        assert set(breakages) >= set(faults_of(subject)) & set(MACHINES_ONLY)
