"""Upgrade hosts of one pool: Kubernetes, the container runtime, or both.

Skew rules -> forecast -> plan -> packages fetched everywhere -> wave by wave: cordon, drain, the provider's own step,
proof, uncordon. How a host is upgraded is the provider's: by apt and `kubeadm upgrade node`, by a call to ACK, by the
operator's command, or by a person.
Needs: the fleet file, an SSH key, a kubeconfig, the provider's credentials.
Killed at any point: start it again with the same goal; every host gets the versions that the first one was given.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.rolling import answered, roll
from flows.surroundings import run_name
from tasks.rollout.goal import Goal, Limits, OnBlocked
from tasks.rollout.run import RolloutRun
from tasks.runs.answer import Answer
from tasks.runs.choosing import ChoiceInvalid
from tasks.upgrade.change import Limits as UpgradeLimits
from tasks.upgrade.change import Upgrade
from tasks.upgrade.goal import Goal as Versions
from tasks.upgrade.goal import GoalInvalid
from tasks.upgrade.skew import SkewPlan, plan_steps
from tasks.upgrade.work import UpgradeWork


@flow(name="upgrade", flow_run_name=lambda: run_name(flow_run.parameters, "upgrade"))
async def upgrade(
    kubernetes: str = "",
    packages: dict[str, str] | None = None,
    pool: str = "",
    hosts: str = "all",
    dry_run: bool = True,
    approval: bool = False,
    on_blocked: OnBlocked = OnBlocked.STOP,
    delete_emptydir_data: bool = False,
    failure_budget: int = 1,
    soak_s: float = 0,
    drain_timeout_s: float = 600,
    outside_windows: bool = False,
    fleet: str = "",
) -> State[Any]:
    """Upgrade the hosts of a pool, wave by wave, or say what keeps them from it.

    Args:
        kubernetes: Version of the kubelet, such as 1.36.3, or 1.36 for its newest patch; empty: it stays.
        packages: Exact versions of other packages, such as {"containerd": "1.7.24-1"}: a runtime alone is a goal too.
        pool: Pool whose hosts to upgrade, as named in the fleet file.
        hosts: Which of them, such as `site=fra1`; `all` for every one.
        dry_run: Publish the plan, with what each drain would meet, and change nothing.
        approval: Wait for `poolkeeper approve` before anything is changed.
        on_blocked: What to do when a drain does not end in time: stop, skip, or force (ignores budgets; is approved).
        delete_emptydir_data: Evict pods with emptyDir volumes too; their data is lost.
        failure_budget: As soon as so many hosts have failed, nothing new starts.
        soak_s: Seconds to wait between waves before their gates are looked at.
        drain_timeout_s: How long one drain may take, in seconds.
        outside_windows: Start although a site has no window now; freezes count all the same.
        fleet: Path of the fleet file on the worker; empty for $POOLKEEPER_FLEET, else ./fleet.yaml.
    """
    limits = Limits(
        on_blocked=on_blocked,
        delete_emptydir_data=delete_emptydir_data,
        drain_timeout_s=drain_timeout_s,
        failure_budget=failure_budget,
        soak_s=soak_s,
        outside_windows=outside_windows,
    )

    async def carry_out(run: RolloutRun) -> Answer:
        versions = _versions(kubernetes, packages)
        skew = await _skew(run, versions)
        if skew is not None and skew.refused:
            return Answer.refused("upgrade", run.recorder, list(run.hosts), skew.findings)
        goal = Goal("upgrade", run.pool.name, versions.row())
        return await roll(run, goal, limits, upgrade_of(run, versions), approval=approval)

    return await answered("upgrade", pool, hosts, fleet, carry_out, dry_run=dry_run)


def _versions(kubernetes: str, packages: dict[str, str] | None) -> Versions:
    try:
        return Versions(kubernetes or None, packages or {})
    except GoalInvalid as error:
        raise ChoiceInvalid(str(error)) from None


async def _skew(run: RolloutRun, versions: Versions) -> SkewPlan | None:
    """What the versions of cluster and nodes allow; None where kubelets stay."""
    if versions.kubernetes is None:
        return None
    chosen = {host.node_name for host in run.hosts.values()}
    return plan_steps(
        versions.kubernetes,
        cluster=run.pool.cluster.name,
        api_server=run.api_version,
        kubelets={name: node.kubelet_version for name, node in run.nodes.items() if name in chosen},
        rule=run.provider.upgrade_rule,
        control_plane=await run.provider.check_pool(run.pool),
    )


def upgrade_of(run: RolloutRun, versions: Versions) -> UpgradeWork:
    """The work on one host."""
    return UpgradeWork(
        Upgrade(
            api=run.api,
            sessions=run.sessions,
            provider=run.provider,
            gate=run.gate,
            say=run.recorder.say,
            goal=versions,
            request=run.request,
            limits=UpgradeLimits(settle_s=run.pool.join_timeout_s),
        )
    )
