"""Choosing hosts: one small language for every flow and command.

all                             every active host
fra1-n01   fra1-n0*             by name, with * and ?
pool=general,site=fra1          a comma means and
site=fra1|muc2                  a bar means or, between values of one term
name=fra1-*,domain!=fra1-rack1  != means not
label.gpu=a100                  by label of the fleet file
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase

from tasks.fleet.model import Fleet, Host
from tasks.fleet.problems import nearest

_TERM = re.compile(r"(?:(?P<key>[a-z]+|label\.[^=!|,\s]+)\s*(?P<operator>!?=)\s*)?(?P<values>[^=!,]+)")
_KEYS = ("pool", "site", "domain", "cluster", "name")


class SelectionInvalid(Exception):
    """An expression that means nothing; the message says where and what to write instead."""


def select(fleet: Fleet, expression: str) -> tuple[Host, ...]:
    """The active hosts that match, in the file's order. Raises SelectionInvalid."""
    terms = []
    position = 1
    for part in expression.split(","):
        terms.append(_term(fleet, part.strip(), position + len(part) - len(part.lstrip())))
        position += len(part) + 1
    return tuple(host for host in fleet.hosts.values() if host.active and all(term(host) for term in terms))


def _term(fleet: Fleet, text: str, position: int) -> Callable[[Host], bool]:
    def wrong(message: str) -> SelectionInvalid:
        return SelectionInvalid(f"cannot choose hosts by `{text}` (position {position}): {message}")

    found = _TERM.fullmatch(text)
    if not found:
        raise wrong("write terms like pool=general, name=fra1-* or all, with commas between them.")
    key, values = found["key"] or "name", [value.strip() for value in found["values"].split("|")]
    if "" in values:
        raise wrong("a value is empty.")
    if not found["key"] and values == ["all"]:
        return lambda host: True
    if not key.startswith("label.") and key not in _KEYS:
        raise wrong(f"there is no {key}. {nearest(key, [*_KEYS, 'label.NAME'])}")
    known = _known(fleet, key)
    for value in values:
        if known is not None and not any(fnmatchcase(name, value) for name in known):
            raise wrong(f"no {'host' if key == 'name' else key} is {value}. {nearest(value, known)}")
    wanted = found["operator"] != "!="
    return lambda host: any(fnmatchcase(_value(host, key), value) for value in values) is wanted


def _known(fleet: Fleet, key: str) -> list[str] | None:
    sections = {
        "pool": fleet.pools,
        "site": fleet.sites,
        "domain": fleet.domains,
        "cluster": fleet.clusters,
        "name": fleet.hosts,
    }
    return list(sections[key]) if key in sections else None


def _value(host: Host, key: str) -> str:
    if key.startswith("label."):
        return {**host.pool.labels, **host.labels}.get(key.removeprefix("label."), "")
    if key == "domain":
        return host.domain.name if host.domain else ""
    if key == "cluster":
        return host.pool.cluster.name
    return {"pool": host.pool.name, "site": host.site.name, "name": host.name}[key]
