"""The command line: a thin shell over the same flows and tasks. Each command is a module here, registered below.

Exit codes: 0 fine, 1 something is wrong with hosts or cluster, 2 bad input, 3 the answer is unknown. Answers go to
stdout (as JSON with --json), messages to stderr. A command's module is imported when the command is used, and slow
imports are inside its functions: `check` does not pay for what only `run` needs.
"""

from __future__ import annotations

import importlib
import importlib.util

import click

from poolkeeper.deployments.terminal import prepare_terminal

COMMANDS = {
    "approve": ".approve:approve",
    "bill": ".bill:bill",
    "check": ".check:check",
    "forecast": ".forecast:forecast",
    "freeze": ".freeze:freeze",
    "hold": ".hold:hold",
    "lab": "..lab.cli:lab",
    "probe": ".probe:probe",
    "reject": ".approve:reject",
    "release": ".release:release",
    "run": ".run:run",
    "schema": ".schema:schema",
    "status": ".status:status",
    "stop": ".stop:stop",
    "thaw": ".freeze:thaw",
    "unhold": ".hold:unhold",
    "windows": ".windows:windows",
}
"""Command -> its module, as seen from here, and its name there. A wheel does not contain the lab."""


class Commands(click.Group):
    """The commands above, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(name for name, place in COMMANDS.items() if _is_installed(place))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS or not _is_installed(COMMANDS[name]):
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(module, __name__), attribute)
        return command


def _is_installed(place: str) -> bool:
    package = place.partition(":")[0].rpartition(".")[0]
    return not package or importlib.util.find_spec(package, __name__) is not None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="poolkeeper")
def main() -> None:
    """Keep your own servers healthy as hybrid node pools of a managed Kubernetes cluster."""
    prepare_terminal()
