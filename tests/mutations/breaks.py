"""The breaks: one rule of the product taken away in each, and the quickest test that must fail then.

`old` stands exactly once in its file. A row is named by what the broken product would do.
"""

from __future__ import annotations

from typing import NamedTuple


class Break(NamedTuple):
    """One row."""

    id: str
    file: str
    old: str
    new: str
    test: str
    """A test file, or the node id of one test in it."""


_GATE = "tests/unit/outcomes/test_gate.py"
_REDACTION = "tests/unit/outcomes/test_redaction.py"
_RUN = "tests/unit/onboard/test_run.py"
_RUN_GATE = "tests/contract/test_gate_of_a_run.py"
_STOPS = "tests/contract/cluster/test_stops.py"
_NODES = "tests/contract/cluster/test_nodes.py"
_MARKS = "tests/contract/cluster/test_marks.py"
_LEASES = "tests/contract/cluster/test_leases.py"
_EVICTION = "tests/contract/cluster/test_eviction.py"
_CLUSTER_INFO = "tests/contract/cluster/test_cluster_info.py"
_ROOM = "tests/unit/rollout/test_room.py"
_STANDING = "tests/unit/rollout/test_standing.py"
_RECOVERY = "tests/unit/rollout/test_recovery.py"
_APPROVING = "tests/unit/rollout/test_approving.py"
_MEMORY = "tests/unit/rollout/test_memory.py"
_WINDOWS = "tests/unit/rollout/test_windows.py"
_WAVES = "tests/contract/rollout/test_waves.py"
_ENGINE = "tests/contract/rollout/test_engine.py"
_INTENTS = "tests/contract/rollout/test_intents.py"
_LEAVERS = "tests/unit/onboard/test_leavers.py"
_JOINERS = "tests/unit/onboard/test_standing.py"
_FENCE = "tests/contract/hosts/test_fence.py"
_UNITS = "tests/contract/hosts/test_units.py"
_LOGINS = "tests/contract/hosts/test_logins.py"
_ADMITTING = "tests/contract/onboard/test_admitting.py"
_CLEANING = "tests/contract/onboard/test_cleaning.py"
_GONE = "tests/contract/onboard/test_gone.py"
_LEAVING = "tests/contract/onboard/test_leaving.py"
_UNDOING = "tests/contract/onboard/test_undoing.py"
_WHOSE = "tests/contract/upgrade/test_whose_host.py"
_KUBECONFIG = "tests/unit/cluster/test_kubeconfig.py"
_PROXIES = "tests/unit/cluster/test_proxies.py"
_ACCESS = "tests/contract/cluster/test_access.py"
_QUOTING = "tests/unit/outcomes/test_quoting.py"
_UNVERIFIED = "tests/contract/cluster/test_unverified.py"
_UPGRADE_FAULTS = "tests/contract/upgrade/test_what_goes_wrong.py"
_PREFLIGHT = "tests/unit/onboard/test_preflight.py"
_FACTS = "tests/unit/hosts/test_facts.py"
_FACTS_PROGRAM = "tests/contract/hosts/test_facts_program.py"
_COMMANDS = "tests/contract/hosts/test_commands.py"
_CALENDARS = "tests/unit/fleet/test_calendars.py"
_VERSIONS = "tests/unit/fleet/test_versions.py"
_GOAL = "tests/unit/upgrade/test_goal.py"
_SKEW = "tests/unit/upgrade/test_skew.py"
_PINNING = "tests/unit/upgrade/test_pinning.py"

BREAKS = (
    # the gate and its guards
    Break(
        "the gate goes on where a guard objects",
        "tasks/outcomes/gate.py",
        "if refusal is not None and not self.dry_run:",
        "if refusal is not None and self.dry_run is None:",
        f"{_GATE}::test_an_objection_stops_the_change_before_it_is_told",
    ),
    Break(
        "the gate asks its first guard alone",
        "tasks/outcomes/gate.py",
        "for guard in self.guards:",
        "for guard in self.guards[:1]:",
        f"{_GATE}::test_an_objection_stops_the_change_before_it_is_told",
    ),
    Break(
        "a dry run makes the change",
        "tasks/outcomes/gate.py",
        "        if self.dry_run:\n            return Planned(change, refusal)\n",
        "",
        f"{_GATE}::test_a_dry_run_tells_the_same_and_changes_nothing",
    ),
    Break(
        "stops that cannot be read stop nothing",
        "tasks/cluster/stops.py",
        """\
            return Refusal(
                "freeze",
                f"whether the cluster is frozen cannot be read ({error})",
                "Make the API server reachable and let poolkeeper read the ConfigMap poolkeeper/stops.",
                temporary=isinstance(error, ClusterUnreachable) or error.temporary,
            )
""",
        "            return None if error else None\n",
        f"{_STOPS}::test_what_cannot_be_read_refuses",
    ),
    Break(
        "a frozen cluster is changed",
        "tasks/cluster/stops.py",
        "if stops.freeze is not None:",
        "if stops.freeze is None and stops.runs:",
        f"{_STOPS}::test_a_freeze_stops_the_next_change_of_a_running_gate",
    ),
    Break(
        "a held node is changed",
        "tasks/cluster/stops.py",
        'if subject.kind in ("host", "node") and node in stops.holds:',
        'if subject.kind == "pool" and node in stops.holds:',
        f"{_STOPS}::test_a_hold_keeps_the_node_and_its_host",
    ),
    Break(
        "a hold of a node does not hold its host",
        "tasks/cluster/stops.py",
        'node_of.get(subject.name, subject.name) if subject.kind == "host" else subject.name',
        "subject.name",
        f"{_STOPS}::test_a_hold_keeps_the_node_and_its_host",
    ),
    Break(
        "the gate of a run does not ask for observe mode",
        "tasks/runs/gate.py",
        "            observe_guard(hosts),\n",
        "",
        _RUN_GATE,
    ),
    Break(
        "the gate of a run does not ask for declared freezes",
        "tasks/runs/gate.py",
        "            freeze_guard(hosts, now=lambda: datetime.now(UTC)),\n",
        "",
        _RUN_GATE,
    ),
    Break(
        "the gate of a run does not ask for a person's word",
        "tasks/runs/gate.py",
        "            stops_guard(api, {host.name: host.node_name for host in hosts}),\n",
        "",
        _RUN_GATE,
    ),
    Break(
        "the gate of a rollout does not ask for its lease",
        "tasks/rollout/run.py",
        "self.gate.guards = [*before, lease_guard(self.api, lease)]",
        "self.gate.guards = [*before]",
        f"{_ENGINE}::test_a_rollout_that_has_lost_its_lease_changes_nothing",
    ),
    Break(
        "what is declared as observed is changed",
        "tasks/fleet/guards.py",
        "if not all_observed and (change.subject.kind, change.subject.name) not in observed:",
        "if (change.subject.kind, change.subject.name) not in ():",
        f"{_RUN}::test_observe_mode_refuses",
    ),
    Break(
        "a declared freeze is ignored",
        "tasks/fleet/guards.py",
        "        if freeze is None:\n",
        "        if freeze is None or freeze.end:\n",
        f"{_RUN}::test_a_declared_freeze_refuses",
    ),
    Break(
        "a calendar that cannot be read freezes nothing",
        "tasks/fleet/guards.py",
        'return Refusal("freeze", f"the freezes of site {site.name} cannot be read: {error}", "Mend its calendar.")',
        "return None if error else None",
        f"{_RUN}::test_a_declared_freeze_refuses",
    ),
    # Nodes: cordons, marks, deletion
    Break(
        "a Node is patched whoever has changed it since",
        "tasks/cluster/nodes.py",
        '        body.setdefault("metadata", {})["resourceVersion"] = row.resource_version\n',
        "",
        f"{_NODES}::test_a_person_who_cordons_meanwhile_owns_it",
    ),
    Break(
        "a Node is deleted without its uid",
        "tasks/cluster/nodes.py",
        'await api.request("DELETE", f"{PATH}/{row.name}", body={"preconditions": {"uid": row.uid}})',
        'await api.request("DELETE", f"{PATH}/{row.name}")',
        f"{_NODES}::test_a_node_that_registered_anew_under_the_name_is_not_deleted",
    ),
    Break(
        "acceptance removes a person's cordon",
        "tasks/cluster/nodes.py",
        '        if row.cordoned_by_us:\n            spec["unschedulable"] = None\n',
        '        if row.unschedulable:\n            spec["unschedulable"] = None\n',
        f"{_NODES}::test_a_persons_cordon_stays_the_persons",
    ),
    Break(
        "onboarding changes a node that a rollout has",
        "tasks/cluster/nodes.py",
        "    if ROLLOUT in row.annotations:\n",
        "    if ROLLOUT in row.labels:\n",
        f"{_NODES}::test_a_node_that_a_rollout_has_taken_meanwhile_is_its",
    ),
    Break(
        "giving back removes a person's cordon",
        "tasks/cluster/marks.py",
        '        if row.cordoned_by_us:\n            body["spec"]',
        '        if row.unschedulable:\n            body["spec"]',
        f"{_MARKS}::test_nothing_of_ours_is_left_on_a_node_that_is_given_back",
    ),
    Break(
        "an uncordoned node is marked as changing",
        "tasks/cluster/marks.py",
        "if mark.phase in (Phase.CHANGING, Phase.WITH_A_PERSON) and not row.unschedulable:",
        "if mark.phase in (Phase.WITH_A_PERSON,) and not row.unschedulable:",
        f"{_MARKS}::test_what_takes_pods_again_is_neither_changed_nor_handed_over",
    ),
    Break(
        "a mark of a greater generation is overwritten",
        "tasks/cluster/marks.py",
        "if theirs.generation > mine.generation:",
        "if theirs.generation > mine.generation + 1000:",
        f"{_MARKS}::test_a_persons_order_gives_back_whatever_is_there",
    ),
    Break(
        "a node that another rollout has marked is taken",
        "tasks/cluster/marks.py",
        "if theirs.rollout != mine.rollout:",
        'if theirs.rollout == "":',
        f"{_MARKS}::test_what_another_rollout_has_is_neither_taken_nor_given_back",
    ),
    Break(
        "a node in quarantine is taken by a rollout",
        "tasks/cluster/marks.py",
        '                raise MarkedByOthers(name, None, "is in quarantine: it was not accepted yet")\n',
        "                pass\n",
        f"{_MARKS}::test_what_is_cordoned_already_is_not_taken",
    ),
    Break(
        "a node that a person has cordoned meanwhile is taken",
        "tasks/cluster/marks.py",
        '                raise MarkedByOthers(name, None, "was cordoned by someone else meanwhile")\n',
        "                pass\n",
        f"{_MARKS}::test_what_is_cordoned_already_is_not_taken",
    ),
    Break(
        "a node whose mark a person has removed is marked again",
        "tasks/cluster/marks.py",
        '            raise MarkedByOthers(name, None, "has lost our mark: someone has given it back")\n',
        "            there = mark\n",
        f"{_MARKS}::test_a_node_that_someone_has_given_back_is_not_marked_again",
    ),
    Break(
        "what has come further than draining is given back",
        "tasks/cluster/marks.py",
        "if only is not None and there.phase is not only:",
        "if only is None and there.phase is not only and mark is None and False:",
        f"{_MARKS}::test_what_has_gone_further_between_reading_and_writing_is_not_given_back_as_draining",
    ),
    # leases
    Break(
        "a lease is never renewed",
        "tasks/cluster/leases.py",
        "                await self.renew()\n                pause_s = self._row.duration_s / RENEWALS\n",
        "                pause_s = self._row.duration_s / RENEWALS\n",
        f"{_LEASES}::test_a_holder_that_renews_is_left_alone",
    ),
    Break(
        "a lease is renewed whoever has it by now",
        "tasks/cluster/leases.py",
        '                metadata: Json = {"resourceVersion": self._row.resource_version}\n',
        "                metadata: Json = {}\n",
        f"{_LEASES}::test_a_lease_taken_by_force_is_lost_at_the_next_renewal",
    ),
    Break(
        "a lease is taken whoever was quicker",
        "tasks/cluster/leases.py",
        'metadata = {"resourceVersion": row.resource_version, "annotations": annotations}',
        'metadata = {"annotations": annotations}',
        f"{_LEASES}::test_whoever_was_quicker_has_it",
    ),
    Break(
        "a lease is trusted up to its last moment",
        "tasks/cluster/leases.py",
        "if lease.remaining_s > api.timeout_s:",
        "if lease.remaining_s > 0:",
        f"{_LEASES}::test_what_could_land_after_the_lease_is_not_sent",
    ),
    Break(
        "a lease that has run out is trusted",
        "tasks/cluster/leases.py",
        "return 0.0 if self._lost else max(0.0, self._trusted_until - _now())",
        "return 0.0 if self._lost else max(100.0, self._trusted_until - _now())",
        f"{_LEASES}::test_a_silent_holder_is_taken_over_and_knows_it",
    ),
    Break(
        "a lease is trusted from when its renewal was answered",
        "tasks/cluster/leases.py",
        "                self._trusted_until = sent_at + self._row.duration_s\n",
        "                self._trusted_until = _now() + self._row.duration_s\n",
        f"{_LEASES}::test_it_is_trusted_from_when_its_renewal_was_sent",
    ),
    Break(
        "a holder that renews is taken over",
        "tasks/cluster/leases.py",
        "            seen, seen_at = row.resource_version, _now()\n",
        "            seen, seen_at = row.resource_version, seen_at or _now()\n",
        f"{_LEASES}::test_a_patient_one_gets_it_as_soon_as_it_is_given_back",
    ),
    Break(
        "a later holder has no greater generation",
        "tasks/cluster/leases.py",
        "generation = max((row.generation if row else 0) + 1, int(datetime.now(UTC).timestamp() * 1000))",
        "generation = 1",
        f"{_LEASES}::test_a_free_lease_is_taken_at_once_and_given_back",
    ),
    # room
    Break(
        "nodes that are down in the domain do not count",
        "tasks/rollout/room.py",
        "    if not room.free or host.domain is None:\n",
        "    if room.free or host.domain is None:\n",
        _ROOM,
    ),
    Break(
        "the limit of the pool is not asked",
        "tasks/rollout/room.py",
        "    if not room.free or host.domain is None:\n",
        "    if host.domain is None:\n",
        _ROOM,
    ),
    Break(
        "a node that is not Ready is no loss",
        "tasks/rollout/room.py",
        "return not node.ready or node.unschedulable or (",
        "return node.unschedulable or (",
        _ROOM,
    ),
    Break(
        "a node that a person has cordoned is no loss",
        "tasks/rollout/room.py",
        "return not node.ready or node.unschedulable or (",
        "return not node.ready or (",
        _ROOM,
    ),
    Break(
        "a node that was deleted is no loss",
        "tasks/rollout/room.py",
        "there = sorted([*(names & down), *(f",
        "there = sorted([*(names & down)]) or sorted([*(f",
        _ROOM,
    ),
    Break(
        "one node too many may be down",
        "tasks/rollout/room.py",
        "    if len(there) < limit:\n",
        "    if len(there) <= limit:\n",
        _ROOM,
    ),
    Break(
        "the domain is counted without its lease",
        "tasks/rollout/carrying.py",
        "            if host.domain is not None:\n",
        "            if host.domain is not None and host.domain.name == host.pool.name:\n",
        f"{_ENGINE}::test_no_node_is_cordoned_while_someone_else_counts_in_its_domain",
    ),
    Break(
        "a node is cordoned on a domain's lease that is about to end",
        "tasks/rollout/carrying.py",
        "if room.free and (domain is None or domain.remaining_s > self.api.timeout_s):",
        "if room.free:",
        f"{_ENGINE}::test_no_node_is_cordoned_on_a_count_that_may_not_hold_any_more",
    ),
    Break(
        "a change is waited for when the lease has ended",
        "tasks/rollout/carrying.py",
        "                async with asyncio.timeout(self.lease.remaining_s):\n                    return await act()\n",
        "                return await act()\n",
        f"{_ENGINE}::test_no_change_is_waited_for_longer_than_the_lease_lasts",
    ),
    # goals, budgets, approvals, windows
    Break(
        "the mark of another goal is taken for ours",
        "tasks/rollout/standing.py",
        "if mark is not None and mark.rollout != goal.id:",
        "if mark is not None and mark.flow != goal.flow:",
        f"{_STANDING}::test_where_it_stands",
    ),
    Break(
        "recover goes by a mark that no rollout of ours knows of",
        "tasks/rollout/recovery.py",
        "            found.append(_Look(host, node, goal, None, mark, now).of_nobody())\n",
        "            found.append(Found(host, node, goal, None, mark, Remedy.GIVE_BACK))\n",
        f"{_RECOVERY}::test_a_mark_alone_orders_nothing",
    ),
    Break(
        "a rollout goes on by a mark that it has not written",
        "tasks/rollout/standing.py",
        "    if mark is not None and intent is None:\n",
        '    if mark is not None and intent is None and mark.run == "":\n',
        _STANDING,
    ),
    Break(
        "a rollout goes on with another machine than it began on",
        "tasks/rollout/standing.py",
        "    if mark is not None and intent is not None and intent.machine_id != node.machine_id:\n",
        "    if mark is not None and intent is not None and intent.machine_id == node.name:\n",
        _STANDING,
    ),
    Break(
        "recover believes the Node and not the host",
        "tasks/rollout/recovery.py",
        "            changed = told.value == intent.begun(self.goal.id)\n",
        "            changed = mark is not None and mark.phase is Phase.CHANGING\n",
        _RECOVERY,
    ),
    Break(
        "recover goes on for another intent than the host was changed for",
        "tasks/rollout/recovery.py",
        "told.value.rollout == self.goal.id and told.value.token != intent.token:",
        'told.value.rollout == self.goal.id and told.value.token == "":',
        _RECOVERY,
    ),
    Break(
        "recover takes a host that does not answer for unchanged",
        "tasks/rollout/recovery.py",
        "        elif told is None or isinstance(told, Unknown):\n",
        "        elif isinstance(told, Unknown):\n            changed = False\n        elif told is None:\n",
        _RECOVERY,
    ),
    Break(
        "recover finishes what its windows forbid",
        "tasks/rollout/recovering.py",
        "    if why := await not_now():\n",
        "    if (why := await not_now()) is None:\n",
        f"{_INTENTS}::test_a_half_changed_host_waits_for_its_window_and_for_room",
    ),
    Break(
        "recover counts no room for a node with pods on it",
        "tasks/rollout/run.py",
        "        if not any(map(must_go, await pods_on(self.api, host.node_name))):\n",
        "        if True:\n",
        f"{_INTENTS}::test_a_half_changed_host_waits_for_its_window_and_for_room",
    ),
    Break(
        "a node is taken before that is written down",
        "tasks/rollout/carrying.py",
        "                            await self._intend(host, now)\n",
        "",
        f"{_INTENTS}::test_what_is_begun_is_written_down_before_the_node_is_touched",
    ),
    Break(
        "a node is reset for what its annotation says",
        "tasks/onboard/admission.py",
        "            return await changes.is_unfinished(self.sessions, host)\n",
        "            return look.joined_by_us\n",
        f"{_UNDOING}::test_only_what_the_host_itself_calls_a_join_of_ours_is_undone",
    ),
    Break(
        "a host is changed though its Node is gone",
        "tasks/rollout/carrying.py",
        '        if await get_node(self.api, host.node_name) is None:\n            raise NodeLost(f"Node {host.node_name} is gone")\n',
        "        if await get_node(self.api, host.node_name) is None:\n            return\n",
        f"{_INTENTS}::test_a_host_whose_node_goes_before_its_change_is_not_changed",
    ),
    Break(
        "a drain goes on when its Node is deleted",
        "tasks/rollout/carrying.py",
        '                raise NodeLost(f"Node {name} was deleted while it was drained")\n',
        "                return await draining\n",
        f"{_INTENTS}::test_a_drain_ends_with_its_node",
    ),
    Break(
        "a drain goes on when someone uncordons its node",
        "tasks/rollout/carrying.py",
        "            return row is None or not row.unschedulable or not self._is_ours(row)\n",
        "            return row is None or not self._is_ours(row)\n",
        f"{_INTENTS}::test_a_drain_ends_when_someone_uncordons_its_node",
    ),
    Break(
        "pods that come back to the same node are evicted for ever",
        "tasks/cluster/eviction.py",
        "        if not pod.owner_kind or came <= RETURNS:\n",
        "        if not pod.owner_kind or came <= 10 * RETURNS:\n",
        f"{_EVICTION}::test_what_comes_back_again_and_again_is_not_evicted_for_ever",
    ),
    Break(
        "another goal takes over what a killed run has half done",
        "tasks/cluster/leases.py",
        "        if left_s <= 0 and (what := others(row.note)):\n",
        "        if left_s <= -3600 and (what := others(row.note)):\n",
        f"{_LEASES}::test_what_a_killed_holder_has_begun_is_left_to_whoever_finishes_it",
    ),
    Break(
        "a Node that was registered anew is taken unproven",
        "tasks/rollout/carrying.py",
        "        if members_of(self.lease.note).get(node.name, node.uid) == node.uid:\n",
        "        if node.name not in members_of(self.lease.note) or node.uid:\n",
        f"{_INTENTS}::test_a_node_that_was_registered_anew_is_proven_first",
    ),
    Break(
        "a generation that poisons is believed",
        "tasks/cluster/leases.py",
        "    known = text.isascii() and text.isdecimal() and len(text) < len(str(LAST_GENERATION))\n",
        "    known = text.isascii() and text.isdecimal() and len(text) < 4000\n",
        f"{_LEASES}::test_what_someone_has_written_on_a_lease_ends_nobody",
    ),
    Break(
        "recover gives back what is half changed",
        "tasks/rollout/recovery.py",
        "        if not changed:\n",
        "        if changed or not changed:\n",
        _RECOVERY,
    ),
    Break(
        "recover ends a person's work",
        "tasks/rollout/recovery.py",
        "        if mark is not None and mark.phase is Phase.WITH_A_PERSON:\n",
        '        if mark is not None and mark.phase is Phase.WITH_A_PERSON and mark.run == "":\n',
        _RECOVERY,
    ),
    Break(
        "the budget of failures is read from nowhere",
        "tasks/rollout/waves.py",
        "self.budget = Budget(plan.limits.failure_budget, spent_by(lease.note, plan.goal.id))",
        "self.budget = Budget(plan.limits.failure_budget)",
        f"{_WAVES}::test_what_was_spent_is_found_by_the_next_run_and_half_done_hosts_are_finished",
    ),
    Break(
        "the budget of failures is not written to the Lease",
        "tasks/rollout/waves.py",
        "await self._lease.change(lambda note: with_spent(note, self._plan.goal.id, outcome.name, what))",
        "await self._lease.change(lambda note: note)",
        f"{_WAVES}::test_what_was_spent_is_found_by_the_next_run_and_half_done_hosts_are_finished",
    ),
    Break(
        "a rollout that goes on begins with nothing spent",
        "tasks/rollout/memory.py",
        "    return _with(note, goal.id, replace(mine, at=at))\n",
        "    return _with(note, goal.id, replace(mine, at=at, spent={}))\n",
        f"{_MEMORY}::test_what_was_spent_is_there_when_it_goes_on",
    ),
    Break(
        "another goal in between forgets what was spent",
        "tasks/rollout/memory.py",
        "    kept = {key: one for key, one in there.items() if one.intents or key in latest}\n",
        "    kept = {key: one for key, one in there.items() if one.intents}\n",
        _MEMORY,
    ),
    Break(
        "what is begun on a host is forgotten when its rollout ends",
        "tasks/rollout/memory.py",
        "    left = replace(mine, spent={}) if mine is not None and mine.intents else None\n",
        "    left = None\n",
        _MEMORY,
    ),
    Break(
        "the budget of failures is never spent",
        "tasks/rollout/waves.py",
        "return len(self.spent) >= self.allowed",
        "return len(self.spent) > self.allowed + 100",
        f"{_WAVES}::test_what_stops",
    ),
    Break(
        "an approval holds for other limits",
        "tasks/rollout/approving.py",
        'for key in ("flow", "pool", "goal", "limits"))',
        'for key in ("flow", "pool", "goal"))',
        _APPROVING,
    ),
    Break(
        "an approval holds for another goal",
        "tasks/rollout/approving.py",
        'for key in ("flow", "pool", "goal", "limits"))',
        'for key in ("flow", "pool", "limits"))',
        _APPROVING,
    ),
    Break(
        "an approval holds for ever",
        "tasks/rollout/approving.py",
        'if approval.word != "approved" or _age(approval, now) > GOOD_FOR or not',
        'if approval.word != "approved" or not',
        _APPROVING,
    ),
    Break(
        "an approval covers hosts that were not in it",
        "tasks/rollout/approving.py",
        "        if not wanted.keys() <= waves.keys():\n            continue\n",
        "",
        _APPROVING,
    ),
    Break(
        "a plan that was rejected is carried out",
        "tasks/rollout/approving.py",
        'if approval.word != "approved" or',
        'if approval.word == "" or',
        _APPROVING,
    ),
    Break(
        "a host starts whatever is left of its window",
        "tasks/rollout/windows.py",
        "if ahead and ahead[0].start <= now and now + needed <= ahead[0].end:",
        "if ahead and ahead[0].start <= now:",
        _WINDOWS,
    ),
    Break(
        "a host starts outside of its window",
        "tasks/rollout/windows.py",
        "if ahead and ahead[0].start <= now and now + needed <= ahead[0].end:",
        "if ahead and now + needed <= ahead[0].end:",
        _WINDOWS,
    ),
    Break(
        "a host starts where its site's freezes cannot be read",
        "tasks/rollout/windows.py",
        'return f"the freezes of site {site.name} cannot be read: {error}"',
        'return "" if error else ""',
        _WINDOWS,
    ),
    Break(
        "a host that waited for room is not held to its window",
        "tasks/rollout/carrying.py",
        "if why := (self._halted() or self._may_start(host) or await self._stopped()):",
        "if why := (self._halted() or await self._stopped()):",
        f"{_ENGINE}::test_outside_of_its_window_no_node_is_cordoned",
    ),
    Break(
        "a host begins after a halt",
        "tasks/rollout/waves.py",
        "        if self.halted and not planned.half_done:\n",
        "        if self.halted and planned.half_done:\n",
        f"{_WAVES}::test_what_stops",
    ),
    Break(
        "a host that was drained before a halt is changed",
        "tasks/rollout/carrying.py",
        "            if step is not Step.CHANGE:\n                await self._refuse_if_ended()\n",
        "",
        f"{_ENGINE}::test_a_host_that_is_drained_when_the_budget_is_spent_is_given_back",
    ),
    Break(
        "a node that became another one while it waited is taken",
        "tasks/rollout/carrying.py",
        "                        if standing.step is not Step.TAKE:  # it has become another node while it waited\n",
        "                        if standing.step is Step.NOTHING:\n",
        f"{_ENGINE}::test_a_node_that_is_lost_while_it_waits_is_not_taken",
    ),
    # drains
    Break(
        "a stop does not stop evictions",
        "tasks/rollout/carrying.py",
        """\
    async def _evict(self, host: Host, pod: PodRow) -> Eviction:
        if why := await self._stopped():
            raise LeftForLater(why)
""",
        "    async def _evict(self, host: Host, pod: PodRow) -> Eviction:\n",
        f"{_ENGINE}::test_a_stop_that_comes_during_a_drain_ends_it",
    ),
    Break(
        "a pod is evicted without its uid",
        "tasks/cluster/eviction.py",
        '        "deleteOptions": {"preconditions": {"uid": pod.uid}},\n',
        "",
        f"{_EVICTION}::test_another_pod_of_the_same_name_is_left_alone",
    ),
    Break(
        "a pod is deleted without its uid",
        "tasks/cluster/eviction.py",
        'await api.request("DELETE", path, body={"preconditions": {"uid": pod.uid}})',
        'await api.request("DELETE", path)',
        f"{_EVICTION}::test_another_pod_of_the_same_name_is_left_alone",
    ),
    Break(
        "a drain evicts what it was told not to",
        "tasks/cluster/eviction.py",
        "            elif why := self._refuse(pod) or self._comes_back(pod):\n",
        "            elif why := self._comes_back(pod):\n",
        f"{_EVICTION}::test_a_pod_that_may_not_be_lost_stops_it_before_the_first_eviction",
    ),
    Break(
        "pods without controller are evicted",
        "tasks/rollout/carrying.py",
        "if not pod.owner_kind and self.limits.on_blocked is not OnBlocked.FORCE:",
        "if not pod.owner_kind and self.limits.on_blocked is OnBlocked.FORCE:",
        f"{_ENGINE}::test_a_node_whose_drain_is_blocked_is_given_back_and_that_is_said",
    ),
    Break(
        "data in an emptyDir is lost",
        "tasks/rollout/carrying.py",
        "if pod.local_data and not self.limits.delete_emptydir_data:",
        "if pod.local_data and self.limits.delete_emptydir_data is None:",
        f"{_ENGINE}::test_data_in_an_emptydir_is_lost_only_where_that_is_allowed",
    ),
    Break(
        "data in an emptyDir is lost where the drain is forced",
        "tasks/rollout/carrying.py",
        """\
                    remove=lambda pod: self._delete(host, pod),
                    refuse=self._may_not_lose,
""",
        "                    remove=lambda pod: self._delete(host, pod),\n",
        f"{_ENGINE}::test_data_in_an_emptydir_is_lost_only_where_that_is_allowed",
    ),
    # whose machine it is
    Break(
        "a machine that is not the Node's is offboarded",
        "tasks/onboard/leavers.py",
        "    if registered == seen:\n        return None\n",
        "    if registered:\n        return None\n",
        f"{_LEAVERS}::test_who_may_leave",
    ),
    Break(
        "a machine that is not the declared one is offboarded",
        "tasks/onboard/leavers.py",
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
        "an upgrade changes another machine than the Node's",
        "tasks/upgrade/change.py",
        """\
        if (other := await self._another_machine(host)) is not None:
            return (other,)  # which is neither drained nor to be told our generation
""",
        "",
        f"{_WHOSE}::test_another_machine_is_neither_changed_nor_told_our_number",
    ),
    Break(
        "an upgrade stages another machine than the Node's",
        "tasks/upgrade/change.py",
        """\
        if (other := await self._another_machine(host)) is not None:
            return (other,)
        if self._resolver.names:
""",
        "        if self._resolver.names:\n",
        f"{_WHOSE}::test_another_machine_is_neither_changed_nor_told_our_number",
    ),
    Break(
        "any machine is taken for the Node's",
        "tasks/audit/identity.py",
        "    if registered != seen:\n",
        "    if registered is None:\n",
        f"{_WHOSE}::test_another_machine_is_neither_changed_nor_told_our_number",
    ),
    # whose turn it is on a host
    Break(
        "a host lets an earlier run in",
        "tasks/hosts/fence.py",
        """if [ "$theirs" -gt "$own" ]; then echo""",
        """if [ "$theirs" -gt "$own" ] && false; then echo""",
        f"{_FENCE}::test_it_only_grows",
    ),
    Break(
        "a host's refusal is not heard",
        "tasks/hosts/fence.py",
        "    if result.exit_status == 0:\n",
        "    if result.exit_status in (0, _FENCED):\n",
        f"{_FENCE}::test_it_only_grows",
    ),
    Break(
        "an upgrade by a call or by a person shows the host no number",
        "tasks/upgrade/change.py",
        "        await claim(self.sessions, host, fence)\n        try:\n",
        "        try:\n",
        f"{_WHOSE}::test_a_host_of_a_later_run_is_neither_called_for_nor_handed_over",
    ),
    Break(
        "an upgrade by a script shows its number once",
        "tasks/upgrade/change.py",
        "                still_ours=lambda: claim(self.sessions, host, fence),\n",
        "                still_ours=lambda: asyncio.sleep(0),\n",
        f"{_WHOSE}::test_what_a_later_run_has_by_then_is_not_started",
    ),
    Break(
        "an upgrade's unit is started without another look at the number",
        "tasks/upgrade/carrying.py",
        "    await still_ours()\n    if state.state is not UnitRun.ABSENT:",
        "    if state.state is not UnitRun.ABSENT:",
        f"{_WHOSE}::test_what_a_later_run_has_by_then_is_not_started",
    ),
    Break(
        "offboarding shows the host no number",
        "tasks/onboard/offboarding.py",
        "            await claim(self.sessions, host, fence)\n",
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
        "tasks/onboard/leaving.py",
        "    await still_ours()\n    await stop_unit(sessions, host, JOIN_UNIT)",
        "    await stop_unit(sessions, host, JOIN_UNIT)",
        f"{_CLEANING}::test_a_later_runs_join_is_not_ended",
    ),
    Break(
        "leaving starts its reset on a later run's host",
        "tasks/onboard/leaving.py",
        "        await still_ours()\n        await start_unit(",
        "        await start_unit(",
        f"{_CLEANING}::test_a_reset_is_not_begun_on_a_host_that_a_later_run_has_by_then",
    ),
    Break(
        "leaving undoes what a later run has brought",
        "tasks/onboard/leaving.py",
        "    await still_ours()\n    told = await changes.undo(sessions, host)\n",
        "    told = await changes.undo(sessions, host)\n",
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
        "tasks/onboard/leavers.py",
        "    if node is not None and node.ready:\n",
        "    if node is not None and node.ready and not node.name:\n",
        f"{_LEAVERS}::test_whether_a_machine_is_gone",
    ),
    Break(
        "the Node of an earlier life is deleted though it came back",
        "tasks/onboard/admission.py",
        "if node.uid != stale.uid or node.ready or mark_of(node) is not None:",
        "if node.uid != stale.uid or mark_of(node) is not None:",
        f"{_ADMITTING}::test_a_dead_node_that_has_come_back_is_not_deleted",
    ),
    Break(
        "the Node of an earlier life is deleted though a rollout has it",
        "tasks/onboard/admission.py",
        "if node.uid != stale.uid or node.ready or mark_of(node) is not None:",
        "if node.uid != stale.uid or node.ready:",
        f"{_ADMITTING}::test_a_dead_node_that_has_come_back_is_not_deleted",
    ),
    # undoing
    Break(
        "what is mounted below a path is removed with it",
        "tasks/hosts/changes.py",
        """case $point in "$at"|"$at"/*) return 0;; esac""",
        """case $point in "$at") return 0;; esac""",
        "tests/contract/hosts/test_changes.py",
    ),
    Break(
        "mounts that cannot be read are taken for none",
        "tasks/hosts/changes.py",
        """if [ ! -r "$mounts" ]; then echo 'mounts cannot be read: nothing was undone' >&2; exit 1; fi""",
        """if [ ! -r "$mounts" ]; then mounts=/dev/null; fi""",
        "tests/contract/hosts/test_changes.py",
    ),
    Break(
        "a join is undone without a last look",
        "tasks/onboard/admission.py",
        "            await self._refuse_if_in_service(host, node, machine_id)\n",
        "",
        _UNDOING,
    ),
    Break(
        "the last look before an undo is not at the Node",
        "tasks/onboard/admission.py",
        "            why = taken_into_service(now, len(guests))\n",
        '            why = taken_into_service(now, len(guests)) and ""\n',
        _UNDOING,
    ),
    Break(
        "the last look before an undo is not at other names",
        "tasks/onboard/admission.py",
        "        if elsewhere := other_names(host, nodes.values(), machine_id):\n            name, why",
        "        if (elsewhere := other_names(host, nodes.values(), machine_id)) and not nodes:\n            name, why",
        _UNDOING,
    ),
    Break(
        "what is accepted is undone",
        "tasks/onboard/standing.py",
        '    if node.accepted:\n        return "it has been accepted meanwhile"\n',
        "",
        f"{_JOINERS}::test_what_must_not_be_undone_any_more",
    ),
    Break(
        "what a person has cordoned is undone",
        "tasks/onboard/standing.py",
        '    if node.unschedulable and not node.cordoned_by_us:\n        return "someone else has cordoned it"\n',
        "",
        f"{_JOINERS}::test_what_must_not_be_undone_any_more",
    ),
    Break(
        "the Node of another machine goes with an undone join",
        "tasks/onboard/standing.py",
        "isinstance(machine_id, Known) and node.machine_id == machine_id.value",
        "isinstance(machine_id, Known) and node.machine_id",
        f"{_JOINERS}::test_only_its_own_node_goes_when_a_join_is_undone",
    ),
    # secrets
    Break(
        "any host key is accepted",
        "tasks/hosts/logins.py",
        "                        known_hosts=known_hosts,\n",
        "                        known_hosts=None,\n",
        f"{_LOGINS}::test_wrong_host_key_names_both",
    ),
    Break(
        "a host key that nobody knows is accepted",
        "tasks/hosts/logins.py",
        '"""Asked only for a key that known_hosts does not vouch for: never trusted, but named."""\n'
        "        self.shown = key\n        return False\n",
        '"""Asked only for a key that known_hosts does not vouch for: never trusted, but named."""\n'
        "        self.shown = key\n        return True\n",
        f"{_LOGINS}::test_unknown_host_key_is_named",
    ),
    Break(
        "others can read a join script",
        "tasks/hosts/units.py",
        '_START = """\\\numask 077\n',
        '_START = """\\\numask 022\n',
        f"{_UNITS}::test_the_scripts_file_is_ours_alone_while_it_is_there",
    ),
    Break(
        "a join script stays on the host",
        "tasks/hosts/units.py",
        '3< "$own/script"\nrm -rf "$own"\n',
        '3< "$own/script"\n',
        f"{_UNITS}::test_the_script_is_never_seen",
    ),
    Break(
        "a unit that runs is started once more",
        "tasks/hosts/units.py",
        '[ -e "$d/pid" ] && exit 0\n',
        'rm -f "$d/pid"\n',
        f"{_UNITS}::test_started_twice_runs_once",
    ),
    Break(
        "what a host says is not redacted",
        "tasks/hosts/units.py",
        "kept = redact(_whole_words(output), *secrets)",
        "kept = _whole_words(output)",
        f"{_UNITS}::test_output_is_redacted",
    ),
    Break(
        "half a secret at the beginning of an output is shown",
        "tasks/hosts/units.py",
        '    return re.sub(r"\\A\\S*\\s*", "", output)\n',
        "    return output\n",
        "tests/unit/hosts/test_units.py::test_half_a_secret_at_its_beginning",
    ),
    Break(
        "known secrets are not redacted",
        "tasks/outcomes/redaction.py",
        "        text = text.replace(word, REDACTED)\n",
        "        text = text.replace(word, word)\n",
        _REDACTION,
    ),
    Break(
        "nothing is redacted by its shape",
        "tasks/outcomes/redaction.py",
        "    for shape in _SHAPES:\n",
        "    for shape in _SHAPES[:0]:\n",
        _REDACTION,
    ),
    Break(
        "the shape of a bootstrap token is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"()\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
""",
        "",
        _REDACTION,
    ),
    Break(
        "the shape of a private key is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
""",
        "",
        _REDACTION,
    ),
    Break(
        "the shape of a bearer token is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"([Bb]earer )[A-Za-z0-9._~+/=-]{8,}"),
""",
        "",
        _REDACTION,
    ),
    Break(
        "the shape of a service account's token is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"()\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"),
""",
        "",
        _REDACTION,
    ),
    Break(
        "the shape of a named secret is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"(?i)(\b[a-z_-]*(?:token|secret|password)\"?(?:=|:\s*)\"?)[^\s\"',;&]{4,}"),
""",
        "",
        _REDACTION,
    ),
    Break(
        "the shape of an option's secret is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"(?i)(--[a-z-]*(?:token|secret|password) +)[^\s\"',;]{4,}"),
""",
        "",
        _REDACTION,
    ),
    Break(
        "the secret half of a join's token is not among the redacted words",
        "tasks/provider/kubeadm.py",
        'return Secret(text, secret_words=(both, both.partition(".")[2]))',
        "return Secret(text, secret_words=(both,))",
        f"{_CLUSTER_INFO}::test_a_joins_token_is_redacted_whole_and_by_its_secret_half",
    ),
    Break(
        "the whole of a join's token is not among the redacted words",
        "tasks/provider/kubeadm.py",
        'return Secret(text, secret_words=(both, both.partition(".")[2]))',
        "return Secret(text, secret_words=())",
        f"{_CLUSTER_INFO}::test_a_joins_token_is_redacted_whole_and_by_its_secret_half",
    ),
    Break(
        "machines are sent to a cluster of another authority",
        "tasks/provider/kubeadm.py",
        "        if not info.authorities <= public_key_hashes(self._api.ca_pem):\n",
        "        if not info.authorities:\n",
        f"{_CLUSTER_INFO}::test_of_another_authority",
    ),
    # kubeconfigs and the way to an API server
    Break(
        "text is a truth value in a kubeconfig",
        "tasks/cluster/kubeconfig.py",
        '    insecure_skip_tls_verify: StrictBool = Field(False, alias="insecure-skip-tls-verify")\n',
        '    insecure_skip_tls_verify: bool = Field(False, alias="insecure-skip-tls-verify")\n',
        f"{_KUBECONFIG}::test_what_is_refused",
    ),
    Break(
        "a kubeconfig's own words are repeated where it is no YAML",
        "tasks/cluster/kubeconfig.py",
        "        raise KubeconfigUnusable(what) from None  # the parser's words may quote what stands there\n",
        "        raise KubeconfigUnusable(error.problem.message) from None\n",
        f"{_KUBECONFIG}::test_what_is_no_kubeconfig",
    ),
    Break(
        "a token with a line end is sent",
        "tasks/cluster/kubeconfig.py",
        '    if any(letter != "\\t" and (letter < " " or letter == "\\x7f") for letter in value):\n',
        "    if not isinstance(value, str):\n",
        f"{_KUBECONFIG}::test_what_is_refused",
    ),
    Break(
        "we act as ourselves where the kubeconfig says as whom",
        "tasks/cluster/access.py",
        "    access.impersonation = _impersonation(user)\n",
        "    access.impersonation = ()\n",
        f"{_ACCESS}::test_plain_http_is_told_and_gets_no_credential",
    ),
    Break(
        "a plugin's command is looked for beside whoever started poolkeeper",
        "tasks/cluster/kubeconfig.py",
        '        fixed["exec"] = {**inner["exec"], "command": str(folder / command)}\n',
        '        fixed["exec"] = inner["exec"]\n',
        f"{_KUBECONFIG}::test_paths_start_at_the_kubeconfigs_folder",
    ),
    Break(
        "a plugin's certificate is used after its end",
        "tasks/cluster/access.py",
        "or held.expired(datetime.now(UTC)):",
        "or held is None:",
        f"{_ACCESS}::test_a_plugins_certificate_is_asked_for_again_once_it_is_over",
    ),
    Break(
        "a 401 does not ask the plugin again",
        "tasks/cluster/api.py",
        "                if response.status != 401 or refused is not None or not self._access.renews:\n",
        "                if response.status:\n",
        f"{_ACCESS}::test_a_401_asks_the_plugin_again_and_sends_the_request_once_more",
    ),
    Break(
        "a 401 asks the plugin for ever",
        "tasks/cluster/api.py",
        "or refused is not None or not self._access.renews:",
        "or not self._access.renews or len(self._access.cluster.name) > 99:",
        f"{_ACCESS}::test_a_401_that_stays_is_told_after_one_more_try",
    ),
    Break(
        "what a plugin has begun goes on after its deadline",
        "tasks/cluster/plugin.py",
        "            os.killpg(process.pid, signal.SIGKILL)  # and whatever it has begun\n",
        "            process.kill()\n",
        f"{_ACCESS}::test_a_plugin_that_hangs_is_ended_with_all_that_it_has_begun",
    ),
    Break(
        "a proxy's password stands in its URL",
        "tasks/cluster/proxies.py",
        'return Proxy(f"{parts.scheme}://{host}:',
        'return Proxy(f"{parts.scheme}://{login}@{host}:',
        f"{_PROXIES}::test_user_and_password_stand_apart_from_the_url",
    ),
    Break(
        "ranges of NO_PROXY are not read",
        "tasks/cluster/proxies.py",
        "            return address is not None and address in ip_network(entry, strict=False)\n",
        "            return False\n",
        f"{_PROXIES}::test_no_proxy",
    ),
    Break(
        "ports of NO_PROXY are not compared",
        "tasks/cluster/proxies.py",
        'if not named or only not in ("", str(port)):',
        "if not named:",
        f"{_PROXIES}::test_no_proxy",
    ),
    Break(
        "a SOCKS proxy is taken for an HTTP proxy",
        "tasks/cluster/proxies.py",
        '    if parts.scheme.startswith("socks"):\n',
        "    if not parts.scheme:\n",
        f"{_PROXIES}::test_a_proxy_that_is_refused_is_told_without_its_password",
    ),
    Break(
        "an old authority is refused by newer Pythons",
        "tasks/cluster/access.py",
        "    context.verify_flags &= ~ssl.VERIFY_X509_STRICT\n",
        "",
        f"{_ACCESS}::test_an_authority_of_years_ago_is_trusted_on_newer_pythons_too",
    ),
    Break(
        "an authority's file goes on with all that stands in it",
        "tasks/cluster/access.py",
        '    return "\\n".join(good) + "\\n"\n',
        '    return pem.decode("latin-1")\n',
        f"{_KUBECONFIG}::test_an_authoritys_file_may_hold_anything_beside_its_certificates",
    ),
    Break(
        "a server that is not verified passes without a word",
        "tasks/cluster/access.py",
        "        if not self.verified:\n            return (",
        "        if self.verified is None:\n            return (",
        f"{_ACCESS}::test_a_server_that_is_not_verified_is_told",
    ),
    Break(
        "ACK is asked without TLS",
        "tasks/fleet/rules.py",
        "        if not all(endpoint and is_this_machine(endpoint) for endpoint in asked):\n",
        "        if not asked:\n",
        "tests/unit/fleet/test_mistakes.py",
    ),
    Break(
        "a redirect takes the credential elsewhere",
        "tasks/cluster/api.py",
        "allow_redirects=False",
        "allow_redirects=True",
        f"{_ACCESS}::test_a_redirect_is_not_followed",
    ),
    Break(
        "somebody else's words are not redacted",
        "tasks/outcomes/quoting.py",
        "lines = redact(str(words)[:_READ], *secrets).strip().splitlines()",
        "lines = str(words)[:_READ].strip().splitlines()",
        _QUOTING,
    ),
    Break(
        "the shape of a URL's password is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"(://(?:[^\s/:@]*:)?)[^\s/]+(?=@)"),
""",
        "",
        _QUOTING,
    ),
    Break(
        "the API server is asked at its root by hosts",
        "tasks/audit/planning.py",
        'f"{parts.path}/readyz" if parts.path else "",',
        '"",',
        "tests/unit/audit/test_planning.py::test_an_api_server_with_a_path_and_a_name_of_its_own",
    ),
    *(
        Break(
            f"{what} does not tell that the API server is not verified",
            file,
            "        recorder.about_the_run(api.findings)\n",
            "",
            f"{_UNVERIFIED}::test_a_run_over_hosts_tells_it[{test}]",
        )
        for what, file, test in (
            ("onboarding", "tasks/onboard/run.py", "onboarding"),
            ("a rollout", "tasks/rollout/run.py", "a_rollout"),
        )
    ),
    Break(
        "an audit does not tell that the API server is not verified",
        "tasks/audit/run.py",
        '                clusters.notes += (f"{finding}" for finding in api.findings)\n',
        "",
        f"{_UNVERIFIED}::test_an_audit_tells_it",
    ),
    Break(
        "a summary keeps quiet about what is wrong with no host",
        "tasks/runs/answer.py",
        "    lines += _found(beside)\n",
        "",
        f"{_UNVERIFIED}::test_a_run_over_hosts_tells_it",
    ),
    Break(
        "a host's or its login's words are not redacted",
        "tasks/hosts/errors.py",
        "self.observed = quoted(observed, most=500)",
        "self.observed = observed",
        "tests/unit/hosts/test_errors.py",
    ),
    Break(
        "the vendor's words are not redacted",
        "tasks/provider/sdk.py",
        'return quoted(getattr(error, "message", "") or error or "") or silent',
        'return str(getattr(error, "message", "") or error or "") or silent',
        "tests/unit/provider/test_words.py",
    ),
    Break(
        "an API server's words are not redacted",
        "tasks/cluster/errors.py",
        'self.message: str = redact(str(body.get("message", ""))[:500])',
        'self.message: str = str(body.get("message", ""))[:500]',
        "tests/unit/cluster/test_errors.py",
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
        '    return told if len(told) <= LONGEST_TOLD else f"{told[: LONGEST_TOLD - 3]}..."\n',
        "    return told\n",
        f"{_PREFLIGHT}::test_what_a_check_stumbles_over_is_its_unknown_on_that_host_alone",
    ),
    Break(
        "a fact that its parser stumbles over takes the others with it",
        "tasks/hosts/facts.py",
        "except Exception:  # whatever one fact's text",
        "except ValueError:  # whatever one fact's text",
        f"{_FACTS}::test_whatever_a_parser_raises_is_that_facts_unknown",
    ),
    Break(
        "a host that cannot be read ends the run of all",
        "tasks/onboard/run.py",
        "except Exception as error:  # whatever is wrong with one host",
        "except ArithmeticError as error:  # whatever is wrong with one host",
        f"{_RUN}::test_a_host_that_cannot_be_read_costs_the_others_nothing",
    ),
    Break(
        "an answer that makes no sense ends a night",
        "tasks/audit/judging.py",
        "except Exception as error:  # of one answer",
        "except ArithmeticError as error:  # of one answer",
        "tests/unit/audit/test_judging.py::test_an_answer_that_makes_no_sense_is_its_own_unknown",
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
        "docker beside containerd is not looked for",
        "tasks/hosts/facts.sh",
        "runtime docker dockerd /run/docker.sock",
        '[ -n "$kubelets" ] || runtime docker dockerd /run/docker.sock',
        f"{_FACTS_PROGRAM}::test_every_runtime_is_found",
    ),
    Break(
        "a containerd without its CRI plugin passes",
        "tasks/onboard/preflight/machine.py",
        "if view.begun or not known(view.facts.cri_disabled):",
        "if view.begun or known(view.facts.cri_disabled):",
        _PREFLIGHT,
    ),
    Break(
        "os-release is run",
        "tasks/hosts/facts.sh",
        'elif found=$(setting $name "$R$release")',
        'elif found=$(. "$R$release"; setting $name "$R$release")',
        f"{_FACTS_PROGRAM}::test_which_system_it_is",
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
        "credentials of a proxy are told",
        "tasks/hosts/facts.py",
        '(found["scheme"] or "") + found["place"] if found else',
        '(found["scheme"] or "") + value[found.end("scheme") :] if found and found["scheme"] else',
        f"{_FACTS}::test_one_fact",
    ),
    Break(
        "whoever begins no program is told to be sudo's password",
        "tasks/hosts/commands.py",
        "return next((cause for cause in found if sudo or not issubclass(cause, errors.SudoRefused)), otherwise)",
        "return otherwise if list(found) else otherwise",
        f"{_COMMANDS}::test_each_reason_why_no_program_is_begun_has_a_next_step_of_its_own",
    ),
    Break(
        "a second factor passes for a refused key",
        "tasks/hosts/logins.py",
        "                if client.wanted_besides:\n",
        "                if not client.connected:\n",
        f"{_LOGINS}::test_a_host_that_takes_no_keys_at_all",
    ),
    Break(
        "a refused key passes for a second factor",
        "tasks/hosts/logins.py",
        "        self._keys_refused = True\n",
        "        self._keys_refused = False\n",
        f"{_LOGINS}::test_a_refused_key_is_no_second_factor",
    ),
    Break(
        "a package's version passes for one of Kubernetes",
        "tasks/fleet/versions.py",
        "(-[A-Za-z][0-9A-Za-z.+-]*|",
        "(-[0-9A-Za-z.+-]*|",
        f"{_GOAL}::test_what_is_no_goal",
    ),
    Break(
        "a build goes back",
        "tasks/fleet/versions.py",
        "            return _number(mine) > _number(theirs)\n",
        "            return False\n",
        f"{_VERSIONS}::test_what_goes_back",
    ),
    Break(
        "a release goes back to what came before it",
        "tasks/fleet/versions.py",
        "        return _before_release(to)\n",
        "        return False\n",
        f"{_VERSIONS}::test_what_goes_back",
    ),
    Break(
        "what came before a release passes for it",
        "tasks/fleet/versions.py",
        " and _before_release(kubelet) == _before_release(wanted)",
        "",
        f"{_VERSIONS}::test_same_version",
    ),
    Break(
        "builds that nobody can compare are upgraded",
        "tasks/upgrade/skew.py",
        "    if back is None:\n",
        "    if back is None and now is None:\n",
        f"{_SKEW}::test_one_bad_node_costs_the_others_nothing",
    ),
    Break(
        "revisions of packages are compared as text",
        "tasks/fleet/versions.py",
        "    return len(worth), worth\n",
        "    return 0, worth\n",
        f"{_VERSIONS}::test_older_packages",
    ),
    Break(
        "a package of the goal is taken back",
        "tasks/upgrade/pinning.py",
        "        elif older_package(wanted, here[name].installed):\n",
        "        elif older_package(wanted, wanted):\n",
        f"{_PINNING}::test_packages_of_the_goal",
    ),
    Break(
        "a package of Kubernetes is taken back",
        "tasks/upgrade/pinning.py",
        "        if found is not None and older_package(found, package.installed):\n",
        "        if found is not None and older_package(found, found):\n",
        f"{_PINNING}::test_packages_of_kubernetes",
    ),
    Break(
        "a goal that goes back is seen once the node is drained",
        "tasks/upgrade/change.py",
        "        if version is not None and (refused := blockers((await self._skew(host, version)).findings)):\n",
        "        if version is None and (refused := ()):\n",
        f"{_UPGRADE_FAULTS}::test_what_would_go_back_is_refused_before_anything_is_touched",
    ),
    Break(
        "a version that the provider brings no node to is refused once the node is drained",
        "tasks/upgrade/change.py",
        "        if isinstance(way, ByCall) and (why := await way.refuses()):\n",
        "        if isinstance(way, ByCall) and not (why := await way.refuses()) and why:\n",
        f"{_UPGRADE_FAULTS}::test_a_version_that_the_provider_brings_no_node_to",
    ),
    Break(
        "a kubeadm from before a release passes for it",
        "tasks/provider/kubeadm_scripts.py",
        '*-alpha*|*-beta*|*-rc*) [ "$1" = "$2" ]; return;;',
        "'') return 1;;",
        "tests/contract/provider/test_kubeadm_scripts.py::test_an_upgrade_with_packages_that_are_there",
    ),
    Break(
        "a whole day that ends on itself freezes nothing",
        "tasks/fleet/calendars.py",
        '    del event["DURATION" if end is None else "DTEND"]\n',
        "    return\n",
        f"{_CALENDARS}::test_events_are_freezes",
    ),
    Break(
        "a time without an end freezes nothing",
        "tasks/fleet/calendars.py",
        '        if isinstance(start, datetime):\n            raise CalendarInvalid(f"{name} begins at a time',
        '        if start is None:\n            raise CalendarInvalid(f"{name} begins at a time',
        f"{_CALENDARS}::test_what_is_no_calendar_says_why_and_quickly",
    ),
    Break(
        "an event that ends before it begins is turned around",
        "tasks/fleet/calendars.py",
        "    if length < timedelta(0):\n",
        "    if length < timedelta.min:\n",
        f"{_CALENDARS}::test_what_is_no_calendar_says_why_and_quickly",
    ),
    Break(
        "the day until which an event repeats is left out",
        "tasks/fleet/calendars.py",
        "until = datetime.combine(until, time(23, 59, 59))",
        "until = datetime.combine(until, time(0, 0, 0))",
        f"{_CALENDARS}::test_events_are_freezes",
    ),
    Break(
        "a time until which an event repeats is in UTC",
        "tasks/fleet/calendars.py",
        "until.replace(tzinfo=start.tzinfo)",
        "until.replace(tzinfo=UTC)",
        f"{_CALENDARS}::test_events_are_freezes",
    ),
    Break(
        "of two events with one UID one is lost",
        "tasks/fleet/calendars.py",
        "        if taken[key] > 1:\n",
        "        if taken[key] > MAX_EVENTS:\n",
        f"{_CALENDARS}::test_events_with_one_uid_all_count_unless_one_supersedes_the_other",
    ),
)
