"""Breaks of `deployments`."""

from __future__ import annotations

from tests.mutations.breaks.row import Break

_SHOWN = "tests/unit/test_shown.py"
_DOCS = "tests/unit/test_docs.py"

BREAKS = (
    Break(
        "a command is in no table",
        "deployments/cli/__init__.py",
        '    "thaw": ".freeze:thaw",\n',
        "",
        "tests/unit/test_commands.py",
    ),
    Break(
        "what hosts have written acts on the terminal, in a live line",
        "deployments/terminal.py",
        'Text("\\n".join(map(line, lines))',
        'Text("\\n".join(lines)',
        "tests/unit/test_progress.py::test_nothing_that_hosts_have_written_acts_on_a_terminal_with_live_lines",
    ),
    Break(
        "off a terminal a run writes lines without bounds",
        "deployments/cli/progress.py",
        ">= QUIET_S",
        ">= 0",
        "tests/unit/test_progress.py::test_the_number_of_plain_lines_does_not_grow_with_the_fleet",
    ),
    Break(
        "a terminal that is closed ends a run",
        "deployments/cli/progress.py",
        "with suppress(OSError, ValueError):",
        "with suppress(KeyError):",
        "tests/unit/test_progress.py::test_a_run_goes_on_when_nobody_reads",
    ),
    Break(
        "a log that cannot be written is lost",
        "deployments/cli/run_log.py",
        "        if not self._verbose:\n            for line in lines:",
        "        if False:\n            for line in lines:",
        "tests/unit/test_progress.py",
    ),
    Break(
        "the command that a dry run ends with does not apply it",
        "deployments/cli/run.py",
        'shlex.join([*words, "--apply"])',
        "shlex.join(words)",
        "tests/unit/test_running.py::test_the_command_that_applies_is_the_same_but_for_apply",
    ),
    Break(
        "a parameter given twice is taken once",
        "deployments/cli/run.py",
        "        if name in given:\n",
        "        if False:\n",
        "tests/unit/test_running.py::test_mistakes_end_with_bad_input",
    ),
    Break(
        "what others have written acts on the terminal, in a sentence",
        "deployments/terminal.py",
        "click.echo(visible(text), file",
        "click.echo(text, file",
        f"{_SHOWN}::test_nothing_that_others_have_written_acts_on_the_terminal",
    ),
    Break(
        "what others have written acts on the terminal, in a table",
        "deployments/terminal.py",
        "super().render_str(visible(text), **named)",
        "super().render_str(text, **named)",
        f"{_SHOWN}::test_nothing_that_others_have_written_acts_on_the_terminal",
    ),
    Break(
        "a page of the docs names a command that is none",
        "deployments/cli/__init__.py",
        '"schema": ".schema:schema",',
        '"json-schema": ".schema:schema",',
        f"{_DOCS}::test_command_exists",
    ),
)
