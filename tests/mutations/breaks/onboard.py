"""Breaks of `tasks/onboard`."""

from __future__ import annotations

from tests.mutations.breaks.row import Break

_RUN = "tests/unit/onboard/test_run.py"
_LEAVERS = "tests/unit/onboard/test_offboard_checks.py"
_JOINERS = "tests/unit/onboard/test_next_action.py"
_ADMITTING = "tests/contract/onboard/test_admitting.py"
_CLEANING = "tests/contract/onboard/test_host_cleanup.py"
_GONE = "tests/contract/onboard/test_host_is_gone.py"
_LEAVING = "tests/contract/onboard/test_offboarding.py"
_UNDOING = "tests/contract/onboard/test_undoing.py"
_PREFLIGHT = "tests/unit/onboard/test_preflight.py"

BREAKS = (
    Break(
        "a node is reset for what its annotation says",
        "tasks/onboard/undoing.py",
        "        return await changes.is_unfinished(context.sessions, host)\n",
        "        return look.joined_by_us\n",
        f"{_UNDOING}::test_only_what_the_host_itself_calls_a_join_of_ours_is_undone",
    ),
    Break(
        "a machine that is not the Node's is offboarded",
        "tasks/onboard/offboard_checks.py",
        "    if registered == seen:\n        return None\n",
        "    if registered:\n        return None\n",
        f"{_LEAVERS}::test_who_may_leave",
    ),
    Break(
        "a machine that is not the declared one is offboarded",
        "tasks/onboard/offboard_checks.py",
        "if host.machine_id and seen and host.machine_id != seen:",
        "if host.machine_id and not seen and host.machine_id != seen:",
        f"{_LEAVERS}::test_who_may_leave",
    ),
    Break(
        "offboarding does not look again before it cleans",
        "tasks/onboard/offboarding.py",
        "            else:\n                await self._look(host, node)\n",
        "",
        f"{_LEAVING}::test_another_machine_by_then_is_not_cleaned",
    ),
    Break(
        "offboarding shows the host no number",
        "tasks/onboard/offboarding.py",
        "            await write_fence(self.sessions, host, fence)\n",
        "            await asyncio.sleep(0)\n",
        f"{_LEAVING}::test_a_host_of_a_later_run_is_not_cleaned",
    ),
    Break(
        "offboarding switches a later run's kubelet off",
        "tasks/onboard/offboarding.py",
        "            await still_ours()\n            await switch_off(self.sessions, host)\n",
        "            await switch_off(self.sessions, host)\n",
        f"{_LEAVING}::test_a_kubelet_that_a_later_run_has_by_then_stays_on",
    ),
    Break(
        "leaving ends a later run's join",
        "tasks/onboard/host_cleanup.py",
        "    await still_ours()\n    await stop_unit(sessions, host, JOIN_UNIT)",
        "    await stop_unit(sessions, host, JOIN_UNIT)",
        f"{_CLEANING}::test_a_later_runs_join_is_not_ended",
    ),
    Break(
        "leaving starts its reset on a later run's host",
        "tasks/onboard/host_cleanup.py",
        "        await still_ours()\n        await start_unit(",
        "        await start_unit(",
        f"{_CLEANING}::test_a_reset_is_not_begun_on_a_host_that_a_later_run_has_by_then",
    ),
    Break(
        "leaving undoes what a later run has brought",
        "tasks/onboard/host_cleanup.py",
        "    await still_ours()\n    output = await changes.undo(sessions, host)\n",
        "    output = await changes.undo(sessions, host)\n",
        f"{_CLEANING}::test_what_a_later_run_has_is_not_undone",
    ),
    Break(
        "a machine that refuses a connection is taken for gone",
        "tasks/onboard/offboarding.py",
        "SILENCE = (ConnectTimeout, Unreachable)\n",
        "SILENCE = (ConnectTimeout, Unreachable, HostError)\n",
        f"{_GONE}::test_a_refused_connection_is_an_answer",
    ),
    Break(
        "a machine that answers by then is taken for gone",
        "tasks/onboard/offboarding.py",
        "                await self._refuse_if_alive(host, node)\n            else:\n                await self._look(",
        "                pass\n            else:\n                await self._look(",
        f"{_LEAVING}::test_a_machine_that_answers_by_then_is_not_gone",
    ),
    Break(
        "a machine whose Node is Ready is taken for gone",
        "tasks/onboard/offboard_checks.py",
        "    if node is not None and node.ready:\n",
        "    if node is not None and node.ready and not node.name:\n",
        f"{_LEAVERS}::test_whether_a_machine_is_gone",
    ),
    Break(
        "the Node of an earlier life is deleted though it came back",
        "tasks/onboard/joining.py",
        "if node.uid != stale.uid or node.ready or claim_of(node) is not None:",
        "if node.uid != stale.uid or claim_of(node) is not None:",
        f"{_ADMITTING}::test_a_dead_node_that_has_come_back_is_not_deleted",
    ),
    Break(
        "the Node of an earlier life is deleted though a rollout has it",
        "tasks/onboard/joining.py",
        "if node.uid != stale.uid or node.ready or claim_of(node) is not None:",
        "if node.uid != stale.uid or node.ready:",
        f"{_ADMITTING}::test_a_dead_node_that_has_come_back_is_not_deleted",
    ),
    Break(
        "a join is undone without a last look",
        "tasks/onboard/undoing.py",
        "        await _refuse_if_in_service(context, host, node, machine_id)\n",
        "",
        _UNDOING,
    ),
    Break(
        "the last look before an undo is not at the Node",
        "tasks/onboard/undoing.py",
        "        why = reason_not_to_undo(now, len(workloads))\n",
        '        why = reason_not_to_undo(now, len(workloads)) and ""\n',
        _UNDOING,
    ),
    Break(
        "the last look before an undo is not at other names",
        "tasks/onboard/undoing.py",
        "    if elsewhere := other_names(host, nodes.values(), machine_id):\n        name, why",
        "    if (elsewhere := other_names(host, nodes.values(), machine_id)) and not nodes:\n        name, why",
        _UNDOING,
    ),
    Break(
        "what is accepted is undone",
        "tasks/onboard/next_action.py",
        '    if node.accepted:\n        return "the node has been accepted since"\n',
        "",
        f"{_JOINERS}::test_what_must_not_be_undone_any_more",
    ),
    Break(
        "what a person has cordoned is undone",
        "tasks/onboard/next_action.py",
        '    if node.unschedulable and not node.cordoned_by_us:\n        return "someone else has cordoned the node"\n',
        "",
        f"{_JOINERS}::test_what_must_not_be_undone_any_more",
    ),
    Break(
        "the Node of another machine goes with an undone join",
        "tasks/onboard/next_action.py",
        "isinstance(machine_id, Known) and node.machine_id == machine_id.value",
        "isinstance(machine_id, Known) and node.machine_id",
        f"{_JOINERS}::test_only_its_own_node_goes_when_a_join_is_undone",
    ),
    Break(
        "a check that stumbles ends the checks of every host",
        "tasks/onboard/preflight/check.py",
        "except Exception as error:  # of one check on one host",
        "except ArithmeticError as error:  # of one check on one host",
        f"{_PREFLIGHT}::test_what_a_check_stumbles_over_is_its_unknown_on_that_host_alone",
    ),
    Break(
        "what a host has told makes a finding without end",
        "tasks/onboard/preflight/check.py",
        '    return text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 3]}..."\n',
        "    return text\n",
        f"{_PREFLIGHT}::test_what_a_check_stumbles_over_is_its_unknown_on_that_host_alone",
    ),
    Break(
        "a host that cannot be read ends the run of all",
        "tasks/onboard/run.py",
        "except Exception as error:  # an error of one host",
        "except ArithmeticError as error:  # an error of one host",
        f"{_RUN}::test_a_host_that_cannot_be_read_costs_the_others_nothing",
    ),
    Break(
        "a name passes for a resolver's address",
        "tasks/onboard/preflight/network.py",
        "    if strange:\n",
        "    if strange and not seen:\n",
        _PREFLIGHT,
    ),
    Break(
        "a runtime beside containerd is replaced with what runs in it",
        "tasks/onboard/preflight/machine.py",
        "    if has_containerd and not others:\n",
        "    if has_containerd:\n",
        _PREFLIGHT,
    ),
    Break(
        "a containerd without its CRI plugin passes",
        "tasks/onboard/preflight/machine.py",
        "if view.join_started or not known(view.facts.cri_disabled):",
        "if view.join_started or known(view.facts.cri_disabled):",
        _PREFLIGHT,
    ),
    Break(
        "a unit's own proxy is not seen",
        "tasks/onboard/preflight/network.py",
        'places = {"": known(view.facts.proxies), **services}',
        'places = {"": known(view.facts.proxies)}',
        _PREFLIGHT,
    ),
    Break(
        "a login's no_proxy holds for units",
        "tasks/onboard/preflight/network.py",
        "(lacking := _caught(settings, wanted))",
        '(lacking := _caught({**places[""], **settings}, wanted))',
        _PREFLIGHT,
    ),
    Break(
        "hosts that had joined before tell how long a join takes",
        "tasks/onboard/report.py",
        '    required=("join", "acceptance"),\n',
        "    required=(),\n",
        "tests/unit/runs/test_durations.py::test_how_long_onboarding_a_host_takes",
    ),
)
