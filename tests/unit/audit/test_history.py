"""What earlier runs left in the spool: whose they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.audit.history import earlier
from tasks.ledger import RUNS, Spool
from tests.unit.audit.test_planning import fleet
from tests.unit.onboard.builders import a_host

NOW = datetime(2026, 11, 24, 2, tzinfo=UTC)
ACME = fleet([a_host(name) for name in ("n1", "n2", "n3")])


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


def end(spool: Spool, run_id: str, ago: int, hosts: str = "n1 n2 n3", **more: Any) -> None:
    """The row of an audit that began so many days ago; of a host in capitals nothing was measured."""
    states = {name.lower(): "failed" if name.isupper() else "done" for name in hosts.split()}
    at = NOW - timedelta(days=ago)
    row = {"flow": "audit", "fleet": "acme", "state": "completed", "started_at": at, "hosts": states, **more}
    spool.append(RUNS, run_id, "run", [row])


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        pytest.param({}, True, id="of this fleet"),
        pytest.param({"fleet": "other"}, False, id="of another fleet, on hosts that are called alike"),
        pytest.param({"fleet": None}, True, id="from before fleets were named: its hosts are ours"),
        pytest.param({"fleet": None, "hosts": "n1 n2 sold"}, True, id="most of its hosts are ours still"),
        pytest.param({"fleet": None, "hosts": "n1 m1"}, False, id="no more of its hosts are ours than another's"),
        pytest.param({"fleet": None, "hosts": "m1 m2"}, False, id="from before fleets were named: another's hosts"),
        pytest.param({"flow": "onboard"}, False, id="of another flow"),
        pytest.param({"state": "invalid"}, False, id="what was asked for was wrong"),
        pytest.param({"hosts": ""}, False, id="it did not come as far as its hosts"),
        pytest.param({"ago": 0}, False, id="it began with this one"),
        pytest.param({"run_id": "tonight"}, False, id="this very run, before it was tried again"),
    ],
)
def test_whose_runs_count(spool: Spool, row: dict[str, Any], counts: bool) -> None:
    end(spool, **{"run_id": "before", "ago": 1, **row})
    assert earlier(spool, ACME, "tonight", NOW).run_ids == (("before",) if counts else ())
