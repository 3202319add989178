"""Shell completion: hosts, pools, sites and clusters of the fleet file, and parameters of flows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from poolkeeper.flows.parameters import signature_of
from poolkeeper.flows.registry import FLOWS
from poolkeeper.tasks.outcomes import on_one_line

if TYPE_CHECKING:
    from poolkeeper.tasks.fleet import Fleet

Names = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def hosts(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """A selection of hosts: `pool=general,site=fra1`, or names separated by `|`."""
    fleet = _fleet(ctx)
    if fleet is None:
        return []
    cut = max(typed.rfind(","), typed.rfind("|")) + 1
    before, last = typed[:cut], typed[cut:]
    known = {
        "pool=": list(fleet.pools),
        "site=": list(fleet.sites),
        "domain=": list(fleet.domains),
        "name=": list(fleet.hosts),
    }
    for key, names in known.items():
        if last.startswith(key):
            return _items((f"{before}{key}{name}" for name in names), typed)
    return _items((f"{before}{word}" for word in ("all", *known, *fleet.hosts)), typed)


def nodes(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of Nodes, as hosts declare them."""
    fleet = _fleet(ctx)
    return _items((host.node_name for host in fleet.hosts.values()) if fleet else (), typed)


def pools(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    fleet = _fleet(ctx)
    return _items(fleet.pools if fleet else (), typed)


def sites(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    fleet = _fleet(ctx)
    return _items(fleet.sites if fleet else (), typed)


def clusters(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    fleet = _fleet(ctx)
    return _items(fleet.clusters if fleet else (), typed)


def parameters(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Parameters after `-p` of a flow, and their values if there is a list of them or the fleet file has them."""
    known = {each.name: each for each in signature_of(FLOWS[ctx.command.name or ""]).parameters}
    name, equals, value = typed.partition("=")
    if not equals:
        return _items((f"{name}=" for name in known), typed)
    if name not in known:
        return []
    choices = ("true", "false") if known[name].is_switch else known[name].choices
    if choices:
        return _items((f"{name}={choice}" for choice in choices), typed)
    offered = BY_PARAMETER[name](ctx, parameter, value) if name in BY_PARAMETER else []
    return [CompletionItem(f"{name}={item.value}") for item in offered]


BY_PARAMETER: dict[str, Names] = {"hosts": hosts, "pool": pools}
"""Parameter of a flow -> completion of its value."""


def _fleet(ctx: click.Context) -> Fleet | None:
    """The fleet file of the command; None: there is no valid one."""
    from poolkeeper.tasks.fleet import FleetInvalid, load_fleet
    from poolkeeper.tasks.settings import fleet_path

    try:
        return load_fleet(fleet_path(ctx.params.get("fleet")))
    except FleetInvalid:
        return None


def _items(words: Iterable[str], typed: str) -> list[CompletionItem]:
    return [CompletionItem(on_one_line(word)) for word in words if word.startswith(typed)]
