"""Whole flows whose state folder is a file system that is full: what is taken is given back, and the run says what it lacks."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.killed.volumes import refused
from tests.e2e.rollouts import RolloutLab, rollout_lab
from tests.e2e.test_killed_maintenance import give_back_lease, host_with_pods, words
from tests.e2e.test_rollouts_killed import kill
from tests.warm import Ended

pytestmark = pytest.mark.skipif(bool(refused()), reason=refused())

FULL = """
mkdir -p "$POOLKEEPER_STATE"
mount -t tmpfs -o size=64k tmpfs "$POOLKEEPER_STATE"
dd if=/dev/zero of="$POOLKEEPER_STATE/filler" bs=4k 2>/dev/null || :
exec "$@"
"""
POOLKEEPER = str(Path(sys.executable).with_name("poolkeeper"))
OWN_MOUNTS = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount", "--"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> Iterator[RolloutLab]:
    with rollout_lab(tmp_path_factory.mktemp("full"), prefect_api_url, 4) as made:
        yield made


def on_a_full_disk(lab: RolloutLab, *command: str) -> Ended:
    """A command of poolkeeper's, whose state folder is a small disk of its own without room."""
    return lab.program(*OWN_MOUNTS, "sh", "-ec", FULL, "sh", POOLKEEPER, *command)


def says_so(ended: Ended) -> bool:
    told = "NotRecorded", "ended with an incomplete record", "No space left on device"
    return ended.code != 0 and all(words in ended.err for words in told)


def test_a_host_goes_out_and_comes_back(lab: RolloutLab) -> None:
    pool = lab.pool("out-and-back", 2)
    host = host_with_pods(lab, pool)
    out = on_a_full_disk(lab, *words(host, back=False))
    assert says_so(out), shlex.quote(out.err)
    assert lab.unschedulable(pool) == [host]
    back = on_a_full_disk(lab, *words(host, back=True))
    assert says_so(back), shlex.quote(back.err)
    assert lab.unschedulable(pool) == []


def test_recover_gives_back_what_a_killed_run_has_left(lab: RolloutLab) -> None:
    pool = lab.pool("left", 2)
    host = host_with_pods(lab, pool)
    kill(lab, "after evict pod *", words(host, back=False))
    assert lab.unschedulable(pool) == [host]
    give_back_lease(lab, pool)
    ended = on_a_full_disk(lab, "run", "recover", "-p", f"pool={pool.name}", "-p", "dry_run=false")
    assert says_so(ended), shlex.quote(ended.err)
    assert lab.unschedulable(pool) == []
