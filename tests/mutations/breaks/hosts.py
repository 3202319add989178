"""Breaks of `tasks/hosts`."""

from __future__ import annotations

from tests.mutations.breaks.row import Break

_FENCE = "tests/contract/hosts/test_fence.py"
_UNITS = "tests/contract/hosts/test_units.py"
_LOGINS = "tests/contract/hosts/test_logins.py"
_FACTS = "tests/unit/hosts/test_facts.py"
_FACTS_PROGRAM = "tests/contract/hosts/test_facts_program.py"
_COMMANDS = "tests/contract/hosts/test_commands.py"

BREAKS = (
    Break(
        "who recovers a host does not turn earlier runs away",
        "tasks/hosts/fence.py",
        '    return _parse_intent(await _show(sessions, host, fencing_token, ""))\n',
        "    return await read_intent(sessions, host)\n",
        f"{_FENCE}::test_who_recovers_is_told_and_no_earlier_run_begins_anything_any_more",
    ),
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
        "any host key is accepted",
        "tasks/hosts/logins.py",
        "                        known_hosts=known_hosts,\n",
        "                        known_hosts=None,\n",
        f"{_LOGINS}::test_wrong_host_key_names_both",
    ),
    Break(
        "a host key that nobody knows is accepted",
        "tasks/hosts/logins.py",
        '"""Called only for a key that is not in known_hosts: it is never trusted, and shown in the error."""\n'
        "        self.shown = key\n        return False\n",
        '"""Called only for a key that is not in known_hosts: it is never trusted, and shown in the error."""\n'
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
        "OUTPUT_KEPT_BYTES else whole_words(output)",
        "OUTPUT_KEPT_BYTES else output",
        "tests/unit/hosts/test_units.py::test_half_a_secret_at_its_beginning",
    ),
    Break(
        "a host's or its login's words are not redacted",
        "tasks/hosts/errors.py",
        "super().__init__(quoted(observed, most=500), next_step=next_step)",
        "super().__init__(observed, next_step=next_step)",
        "tests/unit/hosts/test_errors.py",
    ),
    Break(
        "a fact that its parser stumbles over takes the others with it",
        "tasks/hosts/facts.py",
        "except Exception:  # whatever one fact's text",
        "except ValueError:  # whatever one fact's text",
        f"{_FACTS}::test_whatever_a_parser_raises_is_that_facts_unknown",
    ),
    Break(
        "docker beside containerd is not looked for",
        "tasks/hosts/facts.sh",
        "runtime docker dockerd /run/docker.sock",
        '[ -n "$kubelets" ] || runtime docker dockerd /run/docker.sock',
        f"{_FACTS_PROGRAM}::test_every_runtime_is_found",
    ),
    Break(
        "os-release is run",
        "tasks/hosts/facts.sh",
        'elif found=$(setting $name "$R$release")',
        'elif found=$(. "$R$release"; setting $name "$R$release")',
        f"{_FACTS_PROGRAM}::test_which_system_it_is",
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
        "hosts verify the API server against its address, whatever it is to be verified against",
        "tasks/hosts/facts.py",
        "    if not request.api_server_name:\n",
        "    if request.api_server_name is not None:\n",
        "tests/contract/hosts/test_asking_the_api.py",
    ),
)
