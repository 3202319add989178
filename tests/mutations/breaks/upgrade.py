"""Breaks of `tasks/upgrade`."""

from __future__ import annotations

from tests.mutations.breaks.row import Break

_WHOSE = "tests/contract/upgrade/test_whose_host.py"
_UPGRADE_FAULTS = "tests/contract/upgrade/test_what_goes_wrong.py"
_SKEW = "tests/unit/upgrade/test_skew.py"
_PINNING = "tests/unit/upgrade/test_pinning.py"
_VERSIONS = "tests/unit/packages/test_versions.py"

BREAKS = (
    Break(
        "an upgrade changes another machine than the Node's",
        "tasks/upgrade/host_upgrade.py",
        """\
        if (other := await self._another_machine(host)) is not None:
            return (other,)  # this machine is neither drained nor this rollout's, so the fence is not written to it
""",
        "",
        f"{_WHOSE}::test_another_machine_is_neither_changed_nor_told_our_number",
    ),
    Break(
        "an upgrade stages another machine than the Node's",
        "tasks/upgrade/host_upgrade.py",
        """\
        if (other := await self._another_machine(host)) is not None:
            return (other,)
        if self._resolver.names:
""",
        "        if self._resolver.names:\n",
        f"{_WHOSE}::test_another_machine_is_neither_changed_nor_told_our_number",
    ),
    Break(
        "an upgrade by a call or by a person shows the host no number",
        "tasks/upgrade/host_upgrade.py",
        "        await write_fence(self.sessions, host, fence)\n        try:\n",
        "        try:\n",
        f"{_WHOSE}::test_a_host_of_a_later_run_is_neither_called_for_nor_handed_over",
    ),
    Break(
        "an upgrade by a script shows its number once",
        "tasks/upgrade/host_upgrade.py",
        "                may_start=lambda: write_fence(self.sessions, host, fence),\n",
        "                may_start=lambda: asyncio.sleep(0),\n",
        f"{_WHOSE}::test_what_a_later_run_has_by_then_is_not_started",
    ),
    Break(
        "an upgrade's unit is started without another look at the number",
        "tasks/packages/scripts.py",
        "    await may_start()\n    if state.state is not UnitRun.ABSENT:",
        "    if state.state is not UnitRun.ABSENT:",
        f"{_WHOSE}::test_what_a_later_run_has_by_then_is_not_started",
    ),
    Break(
        "builds that nobody can compare are upgraded",
        "tasks/upgrade/skew.py",
        "    if back is None:\n",
        "    if back is None and now is None:\n",
        f"{_SKEW}::test_builds_of_whom_the_api_servers_is",
    ),
    Break(
        "a build that no kubelet will ever tell is a goal",
        "tasks/upgrade/skew.py",
        "    if vendor and vendor not in map(vendor_of, (api_server, *kubelets)):\n",
        "    if vendor and not api_server:\n",
        f"{_SKEW}::test_goals_that_no_node_may_have",
    ),
    Break(
        "a package of the goal is taken back",
        "tasks/packages/versions.py",
        "        elif older_package(version, package.installed):\n",
        "        elif older_package(version, version):\n",
        f"{_VERSIONS}::test_exact_versions",
    ),
    Break(
        "a pinned version does not win over the installed one",
        "tasks/upgrade/pinning.py",
        "        found = pins.packages.get(name) or _installed(package, version) or newest(package, version)\n",
        "        found = _installed(package, version) or pins.packages.get(name) or newest(package, version)\n",
        f"{_PINNING}::test_packages_of_kubernetes",
    ),
    Break(
        "the next step begins while a host has not finished the one before",
        "tasks/upgrade/minor_steps.py",
        "    return not halted and all(outcome.state is HostState.DONE for outcome in outcomes)\n",
        "    return not halted and any(outcome.state is HostState.DONE for outcome in outcomes)\n",
        "tests/unit/upgrade/test_minor_steps.py::test_when_the_next_step_may_begin",
    ),
    Break(
        "a goal that goes back is seen once the node is drained",
        "tasks/upgrade/host_upgrade.py",
        "        if version is not None and (refused := blockers((await self._skew(host, version)).findings)):\n",
        "        if version is None and (refused := ()):\n",
        f"{_UPGRADE_FAULTS}::test_what_would_go_back_is_refused_before_anything_is_touched",
    ),
    Break(
        "a version that the provider brings no node to is refused once the node is drained",
        "tasks/upgrade/host_upgrade.py",
        "        if isinstance(way, ByCall) and (why := await way.refuses()):\n",
        "        if isinstance(way, ByCall) and not (why := await way.refuses()) and why:\n",
        f"{_UPGRADE_FAULTS}::test_a_version_that_the_provider_brings_no_node_to",
    ),
)
