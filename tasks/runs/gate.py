"""The gate of a run, with the guards of every flow: `mode: observe`, declared freezes, and the stops in the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.stops import stops_guard
from poolkeeper.tasks.fleet.guards import freeze_guard, observe_guard
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.outcomes import Gate
from poolkeeper.tasks.runs.recording import Recorder


def gate_of(api: ClusterApi, hosts: Sequence[Host], recorder: Recorder, *, dry_run: bool) -> Gate:
    """What every change to these hosts, their nodes and their cluster has to pass."""
    recorder.dry_run = dry_run
    return Gate(
        [
            observe_guard(hosts),
            freeze_guard(hosts, now=lambda: datetime.now(UTC)),
            stops_guard(api, {host.name: host.node_name for host in hosts}),
        ],
        dry_run=dry_run,
        on_change=recorder.change,
    )
