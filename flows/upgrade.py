"""Upgrade hosts of one pool: Kubernetes, the container runtime, or both.

Skew rules -> forecast -> plan -> packages fetched everywhere -> wave by wave: cordon, drain, the provider's own step,
proof, uncordon. How a host is upgraded is the provider's: by apt and `kubeadm upgrade node`, by a call to ACK, by the
operator's command, or by a person.
Needs: the fleet file, an SSH key, a kubeconfig, the provider's credentials.
Killed at any point: start it again with the same goal; every host gets the versions that the first one was given.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from poolkeeper.flows.rolling import answered, roll
from poolkeeper.flows.surroundings import run_name
from poolkeeper.tasks.fleet.versions import numbers
from poolkeeper.tasks.outcomes import Finding, HostOutcome, HostState, blockers
from poolkeeper.tasks.rollout.goal import Goal, Limits, OnBlocked
from poolkeeper.tasks.rollout.remedies import Found
from poolkeeper.tasks.rollout.rollout_state import intents_of
from poolkeeper.tasks.rollout.run import RolloutRun
from poolkeeper.tasks.runs.choosing import ChoiceInvalid
from poolkeeper.tasks.runs.result import RunResult
from poolkeeper.tasks.upgrade.change import Limits as UpgradeLimits
from poolkeeper.tasks.upgrade.change import Upgrade
from poolkeeper.tasks.upgrade.goal import Goal as Versions
from poolkeeper.tasks.upgrade.goal import GoalInvalid
from poolkeeper.tasks.upgrade.skew import SkewPlan, goals_in_turn, minor_on_the_way, plan_steps, ways_by
from poolkeeper.tasks.upgrade.work import UpgradeWork


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
        one_minor_steps: Go through every minor version on the way, all hosts through each before the next.
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

    async def carry_out(run: RolloutRun) -> RunResult:
        versions = _versions(kubernetes, packages)
        if (approval or on_blocked is OnBlocked.FORCE) and not versions.exact:
            raise ChoiceInvalid(f"a person approves one version: write {kubernetes} to its end, such as 1.36.3")
        skew = await _skew(run, versions, one_minor_steps=one_minor_steps)
        if skew.refused:
            return RunResult.refused("upgrade", run.recorder, list(run.hosts), skew.findings)
        await run.read_note()
        ways, answers, waiting = ways_by(skew.steps, _left_behind(run, versions)), list[RunResult](), frozenset[str]()
        for step in goals_in_turn(versions, ways):
            goal, excluded = Goal("upgrade", run.pool.name, step.row()), _kept_out(run, skew, ways, step, versions)
            answer = await roll(run, goal, limits, upgrade_of(run, step), approval=approval, excluded=excluded)
            answers.append(answer)
            undone = answer.halted or any(outcome.state is not HostState.DONE for outcome in answer.outcomes)
            if undone and not dry_run:
                waiting = frozenset(name for name, finding in excluded.items() if finding is None)
                break
            await run.read_again()
        return answers[0] if len(answers) == 1 and not waiting else _whole(run, answers, waiting)

    return await answered("upgrade", pool, hosts, fleet, carry_out, dry_run=dry_run)


def _versions(kubernetes: str, packages: dict[str, str] | None) -> Versions:
    try:
        return Versions(kubernetes or None, packages or {})
    except GoalInvalid as error:
        raise ChoiceInvalid(str(error)) from None


async def _skew(run: RolloutRun, versions: Versions, *, one_minor_steps: bool) -> SkewPlan:
    """What the versions of cluster and nodes allow; where kubelets stay, there is nothing to forbid."""
    if versions.kubernetes is None:
        return SkewPlan({})
    chosen, rule = {host.node_name for host in run.hosts.values()}, run.provider.upgrade_rule
    return plan_steps(
        versions.kubernetes,
        cluster=run.pool.cluster.name,
        api_server=run.api_version,
        kubelets={name: node.kubelet_version for name, node in run.nodes.items() if name in chosen},
        rule=replace(rule, one_minor_steps=rule.one_minor_steps or one_minor_steps),
        control_plane=await run.provider.check_pool(run.pool),
    )


def _left_behind(run: RolloutRun, goal: Versions) -> dict[str, str]:
    """Node -> the minor on the way to the goal that an earlier run was bringing it to, and has not proven."""
    found = {}
    for _, one, name, _ in intents_of(run.note):
        node = run.nodes.get(run.hosts[name].node_name) if name in run.hosts else None
        step = minor_on_the_way(one.goal, goal) if one.flow == "upgrade" else None
        if node is not None and step is not None and numbers(node.kubelet_version)[:2] <= numbers(step):
            found[node.name] = step
    return found


def _whole(run: RolloutRun, answers: Sequence[RunResult], waiting: Collection[str]) -> RunResult:
    """One answer for all steps: of each host the first outcome that is not *done*, or the last one; all findings.

    waiting: hosts of later steps, which nothing was begun on since this one is not done
    """
    outcomes: dict[str, HostOutcome] = {}
    for outcome in (outcome for answer in answers for outcome in answer.outcomes):
        before = outcomes.get(outcome.name, outcome)
        told = outcome if before.state is HostState.DONE else before
        findings = tuple(dict.fromkeys((*before.findings, *outcome.findings)))
        outcomes[outcome.name] = replace(told, findings=findings)
    for name in waiting:
        outcomes[name] = HostOutcome(
            name, HostState.POSTPONED, "nothing was begun: the step before its own is not done"
        )
    halted = answers[-1].halted
    return RunResult.of_run("upgrade", run.recorder, list(run.hosts), list(outcomes.values()), run.gate, halted=halted)


def _kept_out(
    run: RolloutRun, skew: SkewPlan, ways: Mapping[str, Sequence[str]], step: Versions, goal: Versions
) -> dict[str, Finding | None]:
    """Hosts that may not go to this step, and why; None for those that it does not concern."""
    refused = {f.subject.name: f for f in blockers(skew.findings) if f.subject.kind == "node"}
    kept: dict[str, Finding | None] = {}
    for name, host in run.hosts.items():
        if host.node_name in refused:
            kept[name] = refused[host.node_name]
        elif step != goal and step.kubernetes not in ways.get(host.node_name, ()):
            kept[name] = None
    return kept


def upgrade_of(run: RolloutRun, versions: Versions) -> UpgradeWork:
    """The work on one host."""
    return UpgradeWork(
        Upgrade(
            api=run.api,
            sessions=run.sessions,
            provider=run.provider,
            gate=run.gate,
            show=run.report,
            goal=versions,
            request=run.request,
            limits=UpgradeLimits(settle_s=run.pool.join.timeout_s),
        )
    )


def finishing(run: RolloutRun, found: Found) -> UpgradeWork:
    """For `recover`: the work that a killed run had begun with. Raises GoalInvalid."""
    return upgrade_of(run, Versions.of_row(found.goal.wanted))
