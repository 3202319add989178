"""Upgrade hosts of one pool: Kubernetes, the container runtime, or both.

Skew rules -> forecast -> plan -> packages fetched on every host -> wave by wave: cordon, drain, upgrade, proof,
uncordon. The provider decides how a host is upgraded: by apt and `kubeadm upgrade node`, by a call to ACK, by the
operator's command, or by a person.
Needs: the fleet file, an SSH key, a kubeconfig, the provider's credentials.
Killed at any point: start it again with the same goal; every host gets the versions that the first host got.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from poolkeeper.flows.rolling import answered, roll
from poolkeeper.flows.surroundings import run_name
from poolkeeper.tasks.rollout.goal import Goal, Limits, OnBlocked
from poolkeeper.tasks.rollout.remedies import Found
from poolkeeper.tasks.rollout.rollout_state import intents_of
from poolkeeper.tasks.rollout.run import RolloutRun
from poolkeeper.tasks.runs.result import RunResult
from poolkeeper.tasks.upgrade.goal import VersionGoal
from poolkeeper.tasks.upgrade.host_upgrade import HostUpgrade, StepTimeouts
from poolkeeper.tasks.upgrade.minor_steps import (
    excluded_from,
    goals_in_turn,
    is_done,
    of_all_steps,
    unproven_steps,
    with_unproven,
)
from poolkeeper.tasks.upgrade.skew import SkewPlan, plan_steps
from poolkeeper.tasks.upgrade.upgrade_work import UpgradeWork


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
    failure_budget: PositiveInt = 1,
    soak_s: NonNegativeFloat = 0,
    drain_timeout_s: PositiveFloat = 600,
    outside_windows: bool = False,
    one_minor_steps: bool = False,
    fleet: str = "",
) -> State[Any]:
    """Upgrade the hosts of a pool, wave by wave, or report what prevents it.

    Args:
        kubernetes: Version of the kubelet, such as 1.36.3, or 1.36 for its newest patch; empty: kubelets keep theirs.
        packages: Exact versions of other packages, such as {"containerd": "1.7.24-1"}: a runtime alone is a goal, too.
        pool: Pool whose hosts to upgrade, as named in the fleet file.
        hosts: Which of them, such as `site=fra1`; `all` for every one.
        dry_run: Publish the plan, with what would block each drain, and change nothing.
        approval: Wait for `poolkeeper approve` before anything is changed.
        on_blocked: What to do when a drain does not end in time: stop, skip, or force (ignores budgets; is approved).
        delete_emptydir_data: Evict pods with emptyDir volumes too; their data is lost.
        failure_budget: Number of failed hosts at which nothing new starts.
        soak_s: Seconds to wait after each wave before its gates are checked.
        drain_timeout_s: Time limit of one drain, in seconds.
        outside_windows: Start outside the sites' maintenance windows; freezes still apply.
        one_minor_steps: Go through every minor version on the way; all hosts finish one before the next begins.
        fleet: Fleet file in a folder that the worker allows; empty for its $POOLKEEPER_FLEET, else ./fleet.yaml.
    """
    limits = Limits(
        on_blocked=on_blocked,
        delete_emptydir_data=delete_emptydir_data,
        drain_timeout_s=drain_timeout_s,
        failure_budget=failure_budget,
        soak_s=soak_s,
        outside_windows=outside_windows,
    )

    async def run_upgrade(run: RolloutRun) -> RunResult:
        goal = VersionGoal(kubernetes or None, packages or {})
        if approval or on_blocked is OnBlocked.FORCE:
            goal.require_exact()
        skew = await _skew(run, goal, one_minor_steps=one_minor_steps)
        if skew.refused:
            return RunResult.refused("upgrade", run.recorder, list(run.hosts), skew.findings)
        await run.read_note()
        begun = [(host, one.goal) for _, one, host, _ in intents_of(run.note) if one.flow == "upgrade"]
        ways = with_unproven(skew.steps, unproven_steps(begun, run.hosts, run.nodes, goal))
        answers, waiting = list[RunResult](), list[str]()
        for step in goals_in_turn(goal, ways):
            excluded = excluded_from(step, goal, run.hosts, skew, ways)
            rollout = Goal("upgrade", run.pool.name, step.row())
            answer = await roll(run, rollout, limits, upgrade_of(run, step), approval=approval, excluded=excluded)
            answers.append(answer)
            if not run.gate.seen(is_done(answer.outcomes, answer.halted), if_dry_run=True):
                waiting = [host for host, finding in excluded.items() if finding is None]
                break
            await run.read_again()
        if len(answers) == 1 and not waiting:
            return answers[0]
        outcomes = of_all_steps((outcome for one in answers for outcome in one.outcomes), waiting)
        halted = answers[-1].halted
        return RunResult.of_run("upgrade", run.recorder, list(run.hosts), outcomes, run.gate, halted=halted)

    return await answered("upgrade", pool, hosts, fleet, run_upgrade, dry_run=dry_run)


async def _skew(run: RolloutRun, goal: VersionGoal, *, one_minor_steps: bool) -> SkewPlan:
    """What the versions of cluster and nodes allow; a goal of packages alone has no steps and is always allowed."""
    if goal.kubernetes is None:
        return SkewPlan({})
    chosen = {host.node_name for host in run.hosts.values()}
    return plan_steps(
        goal.kubernetes,
        cluster=run.pool.cluster.name,
        api_server=run.api_version,
        kubelets={name: node.kubelet_version for name, node in run.nodes.items() if name in chosen},
        rule=run.provider.upgrade_rule,
        one_minor_steps=one_minor_steps,
        control_plane=await run.provider.check_pool(run.pool),
    )


def upgrade_of(run: RolloutRun, goal: VersionGoal) -> UpgradeWork:
    """What the rollout does with each host."""
    return UpgradeWork(
        HostUpgrade(
            api=run.api,
            sessions=run.sessions,
            provider=run.provider,
            gate=run.gate,
            goal=goal,
            request=run.request,
            timeouts=StepTimeouts(settle_s=run.pool.join.timeout_s),
        )
    )


def finishing(run: RolloutRun, found: Found) -> UpgradeWork:
    """For `recover`: what finishes the upgrade that a killed run has started. Raises GoalInvalid."""
    return upgrade_of(run, VersionGoal.of_row(found.goal.wanted))
