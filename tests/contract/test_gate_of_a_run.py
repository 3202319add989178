"""The gate that every flow opens asks all who may object: the fleet file's mode, its freezes, and a person's word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.stops import Stop, freeze, hold
from poolkeeper.tasks.fleet.model import Freeze, Host, Mode
from poolkeeper.tasks.ledger import Spool
from poolkeeper.tasks.outcomes import GateRefused, Subject
from poolkeeper.tasks.runs.gate import gate_of
from poolkeeper.tasks.runs.recording import Recorder
from tests.contract.cluster.conftest import admin, api, ca, cluster, embedded
from tests.unit.onboard.builders import SITE, a_host

__all__ = ["admin", "api", "ca", "cluster", "embedded"]

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
WORD = Stop("joe", "2026-11-24T12:00:00+00:00", "wait")
PLAIN = a_host("h1", node_name="n1")
OBSERVED = replace(PLAIN, pool=replace(PLAIN.pool, mode=Mode.OBSERVE))
FROZEN = replace(PLAIN, site=replace(SITE, freezes=(Freeze(NOW - DAY, NOW + DAY, "year end"),)))


async def nothing(cluster: ClusterApi) -> None:
    """Nobody says anything."""


async def hold_it(cluster: ClusterApi) -> None:
    await hold(cluster, "n1", WORD)


async def freeze_all(cluster: ClusterApi) -> None:
    await freeze(cluster, WORD)


@pytest.mark.parametrize(
    ("host", "word", "guard"),
    [
        pytest.param(PLAIN, nothing, "", id="nobody objects"),
        pytest.param(OBSERVED, nothing, "observe", id="observe mode"),
        pytest.param(FROZEN, nothing, "freeze", id="a declared freeze"),
        pytest.param(PLAIN, freeze_all, "freeze", id="a frozen cluster"),
        pytest.param(PLAIN, hold_it, "hold", id="a hold of its node"),
    ],
)
async def test_who_is_asked(
    cluster: ClusterApi, tmp_path: Path, host: Host, word: Callable[[ClusterApi], Awaitable[None]], guard: str
) -> None:
    await word(cluster)
    recorder = Recorder(Spool(tmp_path / "spool"), "run-1")
    gate = gate_of(cluster, [host], recorder, dry_run=False)

    async def act() -> str:
        return "made"

    for subject in (Subject("host", "h1"), Subject("node", "n1")):
        if guard:
            with pytest.raises(GateRefused) as refused:
                await gate.change(subject, "change it", act, if_dry_run="")
            assert refused.value.refusal.guard == guard
        else:
            assert await gate.change(subject, "change it", act, if_dry_run="") == "made"
