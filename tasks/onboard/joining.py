"""Joining one host: the provider's script runs on it as a transient unit, and its Node is cordoned as it appears.

Both are one change of the gate: between them the Node would take workloads, for those of hybrid pools tolerate ACK's
taint.
"""

from __future__ import annotations

import asyncio

from poolkeeper.tasks.cluster.claims import claim_of
from poolkeeper.tasks.cluster.nodes import NodeRow, get_node, list_nodes, wait_node
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import changes
from poolkeeper.tasks.hosts.units import UnitRun, UnitState, start_unit, wait_unit
from poolkeeper.tasks.onboard.context import Context, Look, NotAdmitted, finding
from poolkeeper.tasks.onboard.host_cleanup import JOIN_UNIT, last_output, remove_node
from poolkeeper.tasks.onboard.messages import removing
from poolkeeper.tasks.onboard.next_action import Step, other_names
from poolkeeper.tasks.onboard.quarantine import cordon_as_ours
from poolkeeper.tasks.outcomes import Finding, HostState, Known, Secret, Subject
from poolkeeper.tasks.provider import ProviderError


async def join(context: Context, host: Host, look: Look) -> list[Finding]:
    """Start the provider's join script, or follow the one that runs, until the Node is there and cordoned.

    Findings: pods that started early. Raises NotAdmitted.
    """
    pool, action = host.pool, look.action

    async def act() -> list[Finding]:
        script = None
        if action.step is not Step.FOLLOW_JOIN:
            script = await context.provider.join_script(host, _arch(host, look))
            await changes.remember(context.sessions, host)
            await start_unit(context.sessions, host, JOIN_UNIT, script, timeout_s=pool.join.timeout_s)
            await changes.record_start(context.sessions, host)
        return await _follow(context, host, look, script)

    if (stale := action.stale_node) is not None:
        await context.gate.change(
            Subject("node", host.node_name),
            f"delete the stale Node {host.node_name}, which this machine had before its reinstallation",
            lambda: _remove_stale(context, host, stale),
            if_dry_run=None,
        )
    try:
        return await context.gate.change(
            Subject("host", host.name), _join_sentence(host, action.step), act, if_dry_run=[]
        )
    except ProviderError as error:
        no_script = finding(
            host,
            "onboard.join.script",
            error.observed,
            "a join script from the provider",
            f"{error.next_step} The host is unchanged.",
        )
        raise NotAdmitted("the provider returned no join script", [no_script], ends_as=HostState.STOPPED) from None


def _join_sentence(host: Host, step: Step) -> str:
    verb = "follow the running join of" if step is Step.FOLLOW_JOIN else "join"
    new_token = host.pool.cluster.by_kubeadm and step is not Step.FOLLOW_JOIN
    token = " with a bootstrap token made for it and revoked afterwards," if new_token else ""
    return f"{verb} host {host.name} to pool {host.pool.name}{token} and cordon node {host.node_name} as it appears"


async def _remove_stale(context: Context, host: Host, stale: NodeRow) -> None:
    """Delete the Node that the machine had before its reinstallation, if it is still as it was looked at."""
    node = await get_node(context.api, host.node_name)
    if node is None:
        return
    if node.uid != stale.uid or node.ready or claim_of(node) is not None:
        became = "Ready again" if node.ready else "replaced by another one, or claimed by a rollout"
        came_back = finding(
            host,
            "onboard.identity.came-back",
            f"Node {node.name} is {became}",
            "the Node that this machine had before its reinstallation, not Ready",
            "Find out which machine has this node name, before anything else.",
        )
        raise NotAdmitted("its old Node came back", [came_back], ends_as=HostState.STOPPED)
    await remove_node(context.api, context.recorder, host, node)


def _arch(host: Host, look: Look) -> str:
    """The architecture to ask a script for: a script for another one installs programs that cannot run."""
    arch = look.facts.arch
    if isinstance(arch, Known):
        return arch.value
    unknown = finding(
        host,
        "onboard.join.arch",
        f"unknown: {arch.reason}",
        "the answer of `uname -m`",
        "Make `uname -m` work for the login user on the host.",
    )
    raise NotAdmitted("the architecture of the host is unknown", [unknown], ends_as=HostState.STOPPED)


async def _follow(context: Context, host: Host, look: Look, script: Secret | None) -> list[Finding]:
    """Watch the Node and the join unit at the same time; the first failure of either ends both watches.

    script: None where an earlier run started the join, so that its output cannot be redacted
    """
    timeout_s = host.pool.join.timeout_s
    try:
        async with asyncio.timeout(timeout_s):
            appearing = asyncio.create_task(_cordon_as_it_appears(context, host, look))
            joining = asyncio.create_task(
                wait_unit(context.sessions, host, JOIN_UNIT, timeout_s=timeout_s, script=script)
            )
            try:
                pending = {appearing, joining}
                while pending:
                    done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    if joining in done:
                        await context.join_ended(host)
                    if joining in done and joining.result().state is not UnitRun.SUCCEEDED:
                        raise _join_failed(host, joining.result(), quotable=script is not None)
                    if appearing in done:
                        started_early = appearing.result()
                return started_early
            finally:
                appearing.cancel()
                joining.cancel()
                await asyncio.gather(appearing, joining, return_exceptions=True)
    except TimeoutError:
        raise await _join_timed_out(context, host, look) from None


async def _cordon_as_it_appears(context: Context, host: Host, look: Look) -> list[Finding]:
    row = await wait_node(context.api, host.node_name, lambda row: row is not None and row.machine_id != "")
    machine_id = look.facts.machine_id
    if row is not None and isinstance(machine_id, Known) and row.machine_id != machine_id.value:
        other_machine = finding(
            host,
            "onboard.identity.other-machine",
            f"Node {row.name} registered with machine id {row.machine_id}",
            f"machine id {machine_id.value}",
            "Find out which machine joined under this name, before anything else.",
        )
        raise NotAdmitted("another machine registered under its name", [other_machine])
    return await cordon_as_ours(context, host, look.facts, joined=True)


async def _join_timed_out(context: Context, host: Host, look: Look) -> NotAdmitted:
    """No Node of the declared name in time. The machine id shows whether the machine registered under another name."""
    timeout_s, nodes = host.pool.join.timeout_s, await list_nodes(context.api)
    if elsewhere := other_names(host, nodes.values(), look.facts.machine_id):
        remove = removing(host.pool.cluster, elsewhere[0])
        other_name = finding(
            host,
            "onboard.join.other-name",
            f"the machine registered as node {elsewhere[0]}, which is not cordoned",
            f"node {host.node_name}",
            f"{remove[:1].upper()}{remove[1:]}, set node_name: {elsewhere[0]} in the fleet file (or the hostname to the"
            " node name), and run this again.",
        )
        return NotAdmitted("the machine registered under another name", [other_name])
    timed_out = finding(
        host,
        "onboard.join.timeout",
        f"after {timeout_s:.0f} s there is no Node {host.node_name}, or the join script still runs",
        "the join script has ended, and the Node is registered",
        "Read the log of the joiner and of the kubelet on the host (`journalctl -u kubelet -n 100`);"
        " set on_failure: keep in the pool's join settings to inspect the host without an undo.",
    )
    return NotAdmitted("the join did not end in time", [timed_out])


def _join_failed(host: Host, ended: UnitState, *, quotable: bool) -> NotAdmitted:
    """quotable: this run has the script, so that secrets of it are redacted in the output"""
    hidden = f"exit status {ended.exit_status}; the output may quote the script, which only an earlier run had"
    failed = finding(
        host,
        "onboard.join.failed",
        last_output(ended) if quotable else hidden,
        "exit status 0",
        "Correct what the last lines of the join script name, then run this again.",
    )
    return NotAdmitted("the join script failed", [failed])
