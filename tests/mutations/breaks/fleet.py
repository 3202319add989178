"""Breaks of `tasks/fleet`."""

from __future__ import annotations

from tests.mutations.breaks.row import Break

_TOLD_OF_FILES = "tests/unit/test_what_is_told_of_files.py"
_GROWTH = "tests/unit/test_growth.py"
_RUN = "tests/unit/onboard/test_run.py"
_CALENDARS = "tests/unit/fleet/test_calendars.py"
_MEANING = "tests/unit/fleet/test_meaning.py"
_VERSIONS = "tests/unit/fleet/test_versions.py"
_GOAL = "tests/unit/upgrade/test_goal.py"

BREAKS = (
    Break(
        "a run quotes a file that it cannot use",
        "tasks/fleet/problems.py",
        'if in_full or problem.is_ours else ""',
        'if problem.message else ""',
        f"{_TOLD_OF_FILES}::test_nothing_of_a_file_stands_in_what_a_run_says",
    ),
    Break(
        "every problem of a file is told, however many",
        "tasks/fleet/problems.py",
        "for one in found[:MAX_SHOWN]",
        "for one in found",
        "tests/unit/fleet/test_bad_files.py::test_tens_of_thousands_of_wrong_hosts_are_counted_and_the_first_are_told",
    ),
    Break(
        "pasted secrets are looked for in quadratic time",
        "tasks/fleet/pasted.py",
        "[A-Za-z0-9+/\\s]{40,}+=",
        "[A-Za-z0-9+/\\s]{40,}=",
        f"{_GROWTH}::test_four_times_the_text_takes_some_four_times_as_long[pasted secrets]",
    ),
    Break(
        "brackets in a choice of hosts are more than brackets",
        "tasks/fleet/selection.py",
        'pattern.replace("[", "[[]")',
        "pattern",
        "tests/unit/fleet/test_selection.py",
    ),
    Break(
        "a choice of hosts may be held against every name for ever",
        "tasks/fleet/selection.py",
        'expression.count("*") + expression.count("?") > MAX_PATTERNS',
        'expression.count("*") + expression.count("?") > MAX_CHARACTERS',
        "tests/unit/fleet/test_selection.py",
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
        'return Refusal("freeze", f"the freezes of site {site.name} cannot be read: {error}", "Fix its calendar.")',
        "return None if error else None",
        f"{_RUN}::test_a_declared_freeze_refuses",
    ),
    Break(
        "ACK is asked without TLS",
        "tasks/fleet/rules.py",
        "        if not all(endpoint and is_this_machine(endpoint) for endpoint in asked):\n",
        "        if not asked:\n",
        "tests/unit/fleet/test_mistakes.py",
    ),
    Break(
        "a level of ssh hides by its defaults what the level above says",
        "tasks/fleet/model.py",
        "for one in fields(SshAccess) if given.get(key_of(one.name)) is not None)",
        "for one in fields(SshAccess))",
        f"{_MEANING}::test_how_to_log_in_is_merged_from_fleet_site_and_host",
    ),
    Break(
        "a site acts where its fleet observes",
        "tasks/fleet/model.py",
        "Mode.OBSERVE in (mode, info.context.mode)",
        "mode is Mode.OBSERVE",
        f"{_MEANING}::test_the_stricter_mode_counts",
    ),
    Break(
        "a default hides what is written",
        "tasks/fleet/reading.py",
        "defaults(entry, reading).items() if entry.get(key) is None}",
        "defaults(entry, reading).items()}",
        f"{_MEANING}::test_what_a_kubeadm_cluster_may_say",
    ),
    Break(
        "a name inside of an entry is passed over",
        "tasks/fleet/values.py",
        "ArgsKwargs((name,), entry) if",
        'ArgsKwargs((), {**entry, "name": name}) if',
        "tests/unit/fleet/test_mistakes.py",
    ),
    Break(
        "a host may be at a site that there is not",
        "tasks/fleet/rules.py",
        'yield from refer(("hosts", name, "site"), host.site.name, "sites")',
        "pass",
        "tests/unit/fleet/test_mistakes.py",
    ),
    Break(
        "an editor offers a default that a file may not say",
        "tasks/fleet/schema.py",
        'elif found.get("pattern") == SIZE:',
        'elif found.get("pattern") == "":',
        "tests/unit/fleet/test_schema.py::test_defaults_in_the_schema_can_be_written_in_a_file",
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
        "revisions of packages are compared as text",
        "tasks/fleet/versions.py",
        "    return len(worth), worth\n",
        "    return 0, worth\n",
        f"{_VERSIONS}::test_older_packages",
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
