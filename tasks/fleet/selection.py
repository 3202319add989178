"""Choosing hosts: one small language for every flow and command.

all                             every active host
fra1-n01   fra1-n0*             by name, with * and ?
pool=general,site=fra1          a comma means and
site=fra1|muc2                  a bar means or, between values of one term
name=fra1-*,domain!=fra1-rack1  != means not
label.gpu=a100  label.gpu=*     by label of the fleet file; * is any value
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from poolkeeper.tasks.fleet.model import Fleet, Host
from poolkeeper.tasks.fleet.problems import nearest
from poolkeeper.tasks.outcomes import Invalid

_TERM = re.compile(r"(?:(?P<key>[^=!|,\s]+)\s*(?P<operator>!?=)\s*)?(?P<values>[^=!,]+)")
_KEYS = ("pool", "site", "domain", "cluster", "name")


MAX_CHARACTERS = 100_000
MAX_PATTERNS = 200
"""Values with * or ?, each of which is held against every name."""


class SelectionInvalid(Invalid):
    """An expression that selects no hosts by its form; the message has the position and a correction."""

    id = "fleet.selection.invalid"
    expected = "an expression that selects hosts, such as `pool=general,site=fra1`"
    source = "parameter hosts"


def select(fleet: Fleet, expression: str) -> tuple[Host, ...]:
    """The active hosts that match, in the file's order. Raises SelectionInvalid."""
    if len(expression) > MAX_CHARACTERS or expression.count("*") + expression.count("?") > MAX_PATTERNS:
        raise SelectionInvalid(
            f"cannot choose hosts by {len(expression):,} characters",
            next_step=f"Write fewer than {MAX_CHARACTERS:,} characters, with at most {MAX_PATTERNS} of * and ?;"
            " a pool, a site or a label selects many hosts at once.",
        )
    terms = []
    position = 1
    for part in expression.split(","):
        terms.append(_term(fleet, part.strip(), position + len(part) - len(part.lstrip())))
        position += len(part) + 1
    return tuple(host for host in fleet.hosts.values() if host.active and all(term(host) for term in terms))


def _term(fleet: Fleet, text: str, position: int) -> Callable[[Host], bool]:
    def wrong(message: str) -> SelectionInvalid:
        shown = text if len(text) <= 200 else f"{text[:200]}..."
        return SelectionInvalid(f"cannot choose hosts by `{shown}` (position {position}): {message}")

    if not text:
        raise SelectionInvalid(f"cannot choose hosts: there is nothing at position {position}. Write a term like all.")
    found = _TERM.fullmatch(text)
    if not found:
        raise wrong("write terms like pool=general, name=fra1-* or all, with commas between them.")
    key, values = found["key"] or "name", [value.strip() for value in found["values"].split("|")]
    if "" in values:
        raise wrong("a value is empty.")
    if not found["key"] and values == ["all"]:
        return lambda host: True
    known = _known(fleet, key)
    if known is None and key.startswith("label."):
        labels = {f"label.{name}" for host in fleet.hosts.values() for name in _labels(host)}
        raise wrong(f"no host has the label {key.removeprefix('label.')}. {nearest(key, labels)}")
    if known is None:
        raise wrong(f"there is no {key}. {nearest(key, [*_KEYS, 'label.NAME'])}")
    what = {"name": "host"}.get(key, key)
    patterns = [value for value in values if "*" in value or "?" in value]
    named = frozenset(values).difference(patterns)
    for value in values:
        if value not in known and not (value in patterns and any(_is_like(name, value) for name in known)):
            raise wrong(f"no {what} is {value[:200]}. {nearest(value, known)}")
    wanted = found["operator"] != "!="

    def matches(host: Host) -> bool:
        has = _value(host, key)
        return has is not None and (has in named or any(_is_like(has, pattern) for pattern in patterns))

    return lambda host: matches(host) is wanted


def _is_like(name: str, pattern: str) -> bool:
    """With * and ? only: a bracket is a bracket."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _known(fleet: Fleet, key: str) -> frozenset[str] | None:
    """The values that a key can have; None when there is no such key."""
    sections = {
        "pool": fleet.pools,
        "site": fleet.sites,
        "domain": fleet.domains,
        "cluster": fleet.clusters,
        "name": fleet.hosts,
    }
    if key in sections:
        return frozenset(sections[key])
    if not key.startswith("label."):
        return None
    values = (_value(host, key) for host in fleet.hosts.values())
    return frozenset(value for value in values if value is not None) or None


def _labels(host: Host) -> Mapping[str, str]:
    return {**host.pool.labels, **host.labels}


def _value(host: Host, key: str) -> str | None:
    """A host's value; None where it has none, which only `!=` matches."""
    if key.startswith("label."):
        return _labels(host).get(key.removeprefix("label."))
    if key == "domain":
        return host.domain.name if host.domain else None
    if key == "cluster":
        return host.pool.cluster.name
    return {"pool": host.pool.name, "site": host.site.name, "name": host.name}[key]
