"""A server whose certificate nobody verifies: every kind of run tells it, in its log, its rows and its summary."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.audit import run as auditing
from poolkeeper.tasks.fleet.model import AuditSettings, AuditTarget, Fleet, Host, KubeadmProvider, SecretRef, Service
from poolkeeper.tasks.ledger import FINDINGS, Spool
from poolkeeper.tasks.onboard.run import open_run
from poolkeeper.tasks.outcomes import Gate, Secret
from poolkeeper.tasks.rollout.run import open_rollout
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.runs.result import RunResult
from tests.contract.cluster.conftest import kubeconfig_of
from tests.contract.kubernetes.conftest import Api
from tests.unit.onboard.builders import a_fleet, a_host

TOLD = "is not verified (insecure-skip-tls-verify)"


@pytest.fixture
def host(api: Api, tmp_path: Path) -> Host:
    path = kubeconfig_of(
        tmp_path / "k", {"server": api.url, "insecure-skip-tls-verify": True}, {"token": "admin-token"}
    )
    return a_host(cluster={"provider": KubeadmProvider(), "kubeconfig": SecretRef(file=path)})


@pytest.fixture
def fleet(host: Host) -> Fleet:
    return a_fleet(host)


def secret(reference: SecretRef) -> Secret:
    assert reference.file is not None
    return Secret(reference.file.read_text())


def onboarding(fleet: Fleet, host: Host, recorder: Recorder) -> AbstractAsyncContextManager[Any]:
    return open_run(fleet, [host], secret, recorder, dry_run=True)


def a_rollout(fleet: Fleet, host: Host, recorder: Recorder) -> AbstractAsyncContextManager[Any]:
    return open_rollout(fleet, [host], "upgrade", secret, recorder, dry_run=True)


@pytest.mark.parametrize("opened", [onboarding, a_rollout])
async def test_a_run_over_hosts_tells_it(
    fleet: Fleet, host: Host, tmp_path: Path, opened: Callable[..., Any], said: list[str]
) -> None:
    recorder = Recorder(Spool(tmp_path), "run-1")
    for _ in range(2):  # as `recover` does, pool by pool
        async with opened(fleet, host, recorder):
            pass
    assert len([line for line in said if TOLD in line]) == 1
    (row,) = recorder.spool.rows(FINDINGS)
    assert (row["id"], row["severity"], row["subject_name"]) == ("cluster.connection.unverified", "warning", "main")
    answer = RunResult.of_run("upgrade", recorder, [], [], Gate())
    assert "- **warning** `cluster.connection.unverified`: the certificate of the API server at " in answer.text


async def test_the_authority_of_a_target_may_have_any_words_around_it(
    fleet: Fleet, host: Host, api: Api, tmp_path: Path
) -> None:
    pem = api.ca_file.read_text()
    (tmp_path / "target.crt").write_bytes(b"# M\xfcller\n" + pem.encode())
    target = AuditTarget("registry", tls=Service("tls", "10.0.0.1", 443), authority=tmp_path / "target.crt")
    fleet = replace(fleet, audit=AuditSettings(targets=(target,)))
    recorder = Recorder(Spool(tmp_path), "run-1")
    async with auditing.open_run(fleet, [host], secret, recorder, required=lambda cluster, way: ()) as run:
        assert run.plan.authorities[host.name] == {str(target.authority): pem}


async def test_an_audit_tells_it(fleet: Fleet, host: Host, tmp_path: Path) -> None:
    recorder = Recorder(Spool(tmp_path), "run-1")
    async with auditing.open_run(fleet, [host], secret, recorder, required=lambda cluster, way: ()) as run:
        assert any(TOLD in note for note in run.notes)
