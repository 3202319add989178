"""Undoing a failed join: the provider's reset, then our record of changes, then the Node.

Only a join that the host itself shows to be ours is undone: anyone who may patch Nodes can write on a Node. Right
before the reset the cluster is read once more, and a machine that someone has taken into service is left as it is.
"""

from __future__ import annotations

import logging

from poolkeeper.tasks.cluster.nodes import NodeRow, list_nodes
from poolkeeper.tasks.cluster.pods import pods_on
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import HostError, changes, read_facts
from poolkeeper.tasks.hosts.units import forget_unit
from poolkeeper.tasks.onboard.context import Context, Look, NotAdmitted, finding, is_workload
from poolkeeper.tasks.onboard.host_cleanup import LEAVE_UNIT, ResetFailed, clean_host, remove_node
from poolkeeper.tasks.onboard.next_action import JoinState, other_names, own_node, reason_not_to_undo
from poolkeeper.tasks.outcomes import Finding, HostState, Observed, Severity, Subject, Unknown

_log = logging.getLogger(__name__)


async def is_our_join(context: Context, host: Host, look: Look) -> bool:
    """Whether the host itself shows a join of ours that is not finished."""
    if look.join is not JoinState.NONE:
        return True
    try:
        return await changes.is_unfinished(context.sessions, host)
    except HostError as error:
        _log.warning("%s: %s", host.name, error.summary)
        return False


async def undo_join(context: Context, host: Host, found: NodeRow | None, machine_id: Observed[str]) -> list[Finding]:
    """Undo a join of ours; findings: what is left on the host.

    found: the Node of the host's name; it is deleted only if it has this machine id
    Raises NotAdmitted, GateRefused, HostError, ApiError, ClusterUnreachable and TimeoutError.
    """
    node = own_node(found, machine_id)

    async def act() -> tuple[str, ...]:
        await _refuse_if_in_service(context, host, node, machine_id)
        script = context.provider.leave_script(host)
        try:
            kept = await clean_host(context.sessions, host, script, started=lambda: context.join_ended(host))
        except ResetFailed as failed:
            not_undone = undo_failed(host, failed.observed)
            raise NotAdmitted("the undo failed", [not_undone], ends_as=HostState.FAILED) from None
        if node is not None:
            await remove_node(context.api, context.recorder, host, node)
        await forget_unit(context.sessions, host, LEAVE_UNIT)
        return kept

    sentence = f"undo the failed join of host {host.name} and delete its Node if there is one"
    kept = await context.gate.change(Subject("host", host.name), sentence, act, if_dry_run=())
    left = await context.gate.unless_dry_run(lambda: _leftovers(context, host), if_dry_run=())
    if not kept and not left:
        return []
    return [
        finding(
            host,
            "onboard.undo.leftovers",
            "; ".join((*kept, *left)),
            "nothing of the failed join",
            "Unmount what is mounted there, then remove it with the provider's reset before the next join.",
            severity=Severity.WARNING,
        )
    ]


def undo_failed(host: Host, observed: str) -> Finding:
    """The host is not as it was before the join."""
    return finding(
        host,
        "onboard.undo.failed",
        observed,
        "the host as it was before the join, and no Node",
        f"Run this again; or by hand: run the provider's reset on the host, then `kubectl delete node"
        f" {host.node_name}`.",
    )


async def _leftovers(context: Context, host: Host) -> tuple[str, ...]:
    leftovers = (await read_facts(context.sessions, host, context.request)).leftovers
    return () if isinstance(leftovers, Unknown) else leftovers.value


async def _refuse_if_in_service(context: Context, host: Host, node: NodeRow | None, machine_id: Observed[str]) -> None:
    """The last look before a reset: pods may run by now on a machine that someone has taken into service."""
    nodes = await list_nodes(context.api)
    name, why = host.node_name, ""
    if elsewhere := other_names(host, nodes.values(), machine_id):
        name, why = elsewhere[0], f"this machine is in the cluster as node {elsewhere[0]}"
    elif node is not None and (now := nodes.get(name)) is not None:
        workloads = [pod for pod in await pods_on(context.api, name) if is_workload(pod)]
        why = reason_not_to_undo(now, len(workloads))
    if why:
        in_service = finding(
            host,
            "onboard.undo.in-service",
            why,
            "a Node that nobody else has taken over",
            f"Decide about node {name}: keep it, or drain it and remove it by hand.",
        )
        raise NotAdmitted("not undone: the node is in service", [in_service], ends_as=HostState.FAILED)
