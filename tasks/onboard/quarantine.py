"""Keeping a node that has joined free of workloads until it is accepted, and releasing it then."""

from __future__ import annotations

from datetime import UTC, datetime

from poolkeeper.tasks.cluster.nodes import HYBRID_TAINT, accept, cordon, get_node
from poolkeeper.tasks.cluster.pods import pods_on
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import HostFacts, changes
from poolkeeper.tasks.hosts.units import forget_unit
from poolkeeper.tasks.onboard.context import Context, Look, NotAdmitted, finding, is_workload
from poolkeeper.tasks.onboard.host_cleanup import JOIN_UNIT
from poolkeeper.tasks.outcomes import Finding, Known, Severity, Subject


async def quarantine(context: Context, host: Host, look: Look) -> list[Finding]:
    """Cordon a Node that has joined; one that is cordoned by us already stays so. Findings: pods that started early."""
    return await context.gate.change(
        Subject("node", host.node_name),
        f"keep node {host.node_name} cordoned until acceptance",
        lambda: cordon_as_ours(context, host, look.facts, joined=look.joined_by_us),
        if_dry_run=[],
    )


async def cordon_as_ours(context: Context, host: Host, facts: HostFacts, *, joined: bool) -> list[Finding]:
    """Cordon with our annotation, then look for pods that were placed before it.

    joined: our join made the Node
    """
    row = await cordon(
        context.api,
        host.node_name,
        why="quarantine until acceptance",
        run=context.recorder.run_id,
        at=datetime.now(UTC),
        joined=joined,
    )
    context.recorder.lifecycle(host, "joined", row, row.created_at, facts)
    early = [pod for pod in await pods_on(context.api, row.name) if is_workload(pod)]
    if not early:
        return []
    names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in early[:5])
    return [
        finding(
            host,
            "onboard.quarantine.started-early",
            f"{len(early)} pods were placed before the cordon: {names}",
            "no pods until acceptance",
            "Decide whether these pods may stay; `kubectl delete pod` moves them to another node.",
            severity=Severity.WARNING,
        )
    ]


async def release(context: Context, host: Host, look: Look) -> list[Finding]:
    """Record what the join changed, mark the Node as accepted, remove our cordon; then read the Node again.

    Raises NotAdmitted where the Node is not as it was written.
    """
    pool, name = host.pool, host.node_name
    seen = look.facts.machine_id
    machine_id = seen.value if isinstance(seen, Known) else ""

    async def record() -> None:
        await changes.record(context.sessions, host)
        await forget_unit(context.sessions, host, JOIN_UNIT)

    await context.gate.change(
        Subject("host", host.name),
        f"write the record of what the join changed on host {host.name}",
        record,
        if_dry_run=None,
    )
    lift = f" and remove the taint {HYBRID_TAINT}" if pool.lift_taint else ""
    await context.gate.change(
        Subject("node", name),
        f"release node {name}: write acceptance, remove our cordon{lift}",
        lambda: accept(
            context.api,
            name,
            run=context.recorder.run_id,
            at=datetime.now(UTC),
            machine_id=machine_id,
            lift_taint=pool.lift_taint,
        ),
        if_dry_run=None,
        one_request=True,
    )
    return await context.gate.unless_dry_run(lambda: _look_at_released(context, host, look), if_dry_run=[])


async def _look_at_released(context: Context, host: Host, look: Look) -> list[Finding]:
    name = host.node_name
    node = await get_node(context.api, name)
    if node is None or not node.accepted or node.cordoned_by_us:
        not_released = finding(
            host,
            "onboard.release.not-held",
            f"node {name} is gone" if node is None else f"node {name} still has our cordon, or is not accepted",
            "an accepted node without our cordon",
            f"Look at `kubectl get node {name} -o yaml`, and find out who else writes to it.",
        )
        raise NotAdmitted("the release did not last", [not_released])
    # an adopted node has no such row yet
    context.recorder.lifecycle(host, "joined", node, node.created_at, look.facts)
    context.recorder.lifecycle(host, "state:Ready", node, datetime.now(UTC))
    if not node.unschedulable:
        return []
    return [
        finding(
            host,
            "node.cordoned.by-others",
            f"node {name} is accepted, and still cordoned by someone else",
            "a schedulable node",
            f"Remove the cordon if it is no longer needed: `kubectl uncordon {name}`.",
            severity=Severity.INFO,
        )
    ]
