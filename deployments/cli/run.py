"""`poolkeeper run FLOW`: run a flow in this process. A flow's options are the parameters of its function."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, get_args

import click

from poolkeeper.deployments.cli import completion
from poolkeeper.deployments.cli.asking import (
    BAD_INPUT,
    COULD_NOT_FIND_OUT,
    FINE,
    WRONG_OUT_THERE,
    bad_input,
    fleet_option,
    json_option,
)
from poolkeeper.deployments.terminal import echo
from poolkeeper.flows.parameters import REQUIRED, Parameter, signature_of
from poolkeeper.flows.registry import COMMANDS, FLOWS, Registered
from poolkeeper.tasks.outcomes import quoted

_DRY_RUN = "dry_run"
_FLEET = "fleet"
"""An option that every flow's command has."""


class Flows(click.Group):
    """A command for each registered flow."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [flow.name for flow in COMMANDS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        flow = FLOWS.get(name)
        return None if flow is None or flow.started_by_flow else _command(flow)


@click.group(cls=Flows)
def run() -> None:
    """Run one flow now, in this process. A flow that changes hosts makes a dry run, unless --apply is given.

    It uses the Prefect server of $PREFECT_API_URL, else an ephemeral one in the state folder, which starts in about
    10 s. The log is in the state folder, `runs/<id>/log.txt`.
    """


def _command(flow: Registered) -> click.Command:
    signature = signature_of(flow)
    examples = "".join(f"\n  poolkeeper run {' '.join(filter(None, (flow.name, each)))}" for each in flow.examples)
    command = click.Command(
        flow.name,
        callback=partial(_run, flow),
        params=[_option(each) for each in signature.parameters if each.name != _FLEET],
        help=signature.about,
        epilog=f"\b\nExamples:{examples}" if examples else None,
    )
    for option in (
        json_option,
        click.option("-v", "--verbose", is_flag=True, help="Print the log to stderr, too."),
        click.option("--parameters", "only_parameters", is_flag=True, help="List the parameters, and run nothing."),
        fleet_option,
        click.option(
            "-p",
            "--param",
            "typed",
            multiple=True,
            metavar="NAME=VALUE",
            shell_complete=completion.parameters,
            help="A parameter by its name, instead of its option.",
        ),
    ):
        option(command)
    return command


def _option(parameter: Parameter) -> click.Option:
    """The option for one parameter. Without it, the flow's own default counts."""
    name = f"--{parameter.name.replace('_', '-')}"
    about = parameter.about + _default(parameter)
    if parameter.is_switch:
        off = "--apply" if parameter.name == _DRY_RUN else f"--no-{name.removeprefix('--')}"
        names = f"{name}/{off}" if parameter.default is True else name
        return click.Option([names, parameter.name], is_flag=True, default=None, help=about)
    if parameter.is_mapping:
        about += " May be repeated."
        return click.Option([name, parameter.name], multiple=True, metavar="NAME=VALUE", help=about)
    return click.Option(
        [name, parameter.name],
        type=click.Choice(parameter.choices) if parameter.choices else click.STRING,
        metavar=None if parameter.choices else "NUMBER" if _is_number(parameter.type) else "TEXT",
        shell_complete=completion.BY_PARAMETER.get(parameter.name),
        help=about,
    )


def _default(parameter: Parameter) -> str:
    if parameter.default is REQUIRED:
        return "  [required]"
    if parameter.default in ("", None, False):
        return ""
    shown = "dry-run" if parameter.name == _DRY_RUN else "on" if parameter.default is True else parameter.default
    return f"  [default: {shown}]"


def _is_number(kind: Any) -> bool:
    return any(part in (int, float, Decimal) for part in (kind, *get_args(kind)))


def _run(
    flow: Registered,
    *,
    typed: tuple[str, ...],
    fleet: str | None,
    only_parameters: bool,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    from poolkeeper.deployments.cli import outcome, running
    from poolkeeper.deployments.cli.progress import progress_of

    if only_parameters:
        _list_parameters(flow, as_json=as_json)
        return
    given = given_of(options, typed, fleet)
    dry_run = _is_dry_run(flow, given)
    progress = progress_of(flow.name, dry_run=dry_run, verbose=verbose)
    if dry_run and not as_json:
        echo(outcome.BANNER)
    try:
        answer = running.run(flow, given, progress, verbose=verbose)
    except running.ParametersInvalid as error:
        bad_input(error.summary)
    except running.OutcomeMissing as error:
        echo(error.summary, err=True)
        sys.exit(COULD_NOT_FIND_OUT)
    if as_json:
        echo(json.dumps(answer, indent=2))
    else:
        outcome.show(answer, progress, apply=applied(flow, given) if dry_run else "")
    sys.exit({"completed": FINE, "invalid": BAD_INPUT}.get(answer["state"], WRONG_OUT_THERE))


def given_of(options: Mapping[str, Any], typed: Iterable[str], fleet: str | None) -> dict[str, str]:
    """Name -> text of each given parameter. A parameter given twice is bad input."""
    from poolkeeper.tasks.settings import fleet_path

    given = dict(map(_named, typed))
    for name, value in options.items():
        if value is None or value == ():
            continue
        if name in given:
            bad_input(f"{name} is given twice: as an option, and by -p")
        if isinstance(value, tuple):
            given[name] = json.dumps(dict(map(_named, value)))
        else:
            given[name] = str(value).lower() if isinstance(value, bool) else str(value)
    if fleet:
        given[_FLEET] = str(fleet_path(fleet))
    return given


def _named(text: str) -> tuple[str, str]:
    """`name=value`."""
    name, equals, value = text.partition("=")
    if not equals:
        bad_input(f"{quoted(text)}: write it as name=value")
    return name, value


def _is_dry_run(flow: Registered, given: Mapping[str, str]) -> bool:
    """Whether the run only shows what it would do. An invalid value is refused later."""
    return flow.changes_hosts and given.get(_DRY_RUN, "true").lower() not in ("false", "0", "no", "off", "f", "n")


def applied(flow: Registered, given: Mapping[str, str]) -> str:
    """The command that applies what a dry run with these parameters has shown."""
    words = ["poolkeeper", "run", flow.name]
    for parameter in signature_of(flow).parameters:
        if parameter.name == _DRY_RUN or parameter.name not in given:
            continue
        value, option = given[parameter.name], f"--{parameter.name.replace('_', '-')}"
        if parameter.is_switch:
            words += [option] if value == "true" else ["-p", f"{parameter.name}={value}"]
        elif parameter.is_mapping:
            words += [word for name, one in (json.loads(value) or {}).items() for word in (option, f"{name}={one}")]
        else:
            words += [option, value]
    return shlex.join([*words, "--apply"])


def _list_parameters(flow: Registered, *, as_json: bool) -> None:
    """Print each parameter as it is written after `-p`, with its default and its description."""
    known = [
        {"name": each.name, "default": None if each.default is REQUIRED else each.default, "about": each.about}
        for each in signature_of(flow).parameters
    ]
    if as_json:
        echo(json.dumps(known, indent=2, default=str))
        return
    for each in known:
        default = each["default"] if isinstance(each["default"], str) else json.dumps(each["default"], default=str)
        echo(f"{each['name']}={default}\n    {each['about']}")
