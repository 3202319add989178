"""Rules for what the file refers to and others keep: secrets, keys, files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from poolkeeper.tasks.fleet.draft import Draft
from poolkeeper.tasks.fleet.model import Fleet
from poolkeeper.tasks.fleet.paths import why_unusable
from poolkeeper.tasks.fleet.problems import Mistake, Path_, quoted_value

_HALVES = ("id", "secret")


def files(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    """Files that the fleet file names must be there."""
    named: list[Path_] = [(*path, "file") for path, _ in secrets_in(draft, fleet)]
    named += [(*path, kind) for path, _ in _ssh_entries(draft, fleet) for kind in ("certificate", "known_hosts")]
    for name, site in fleet.sites.items():
        named += [("sites", name, "freeze_calendars", i) for i in range(len(site.freeze_calendars))]
    named += [("audit", "targets", i, "ca") for i in range(len(fleet.audit.targets))]
    reasons: dict[str, str] = {}
    for path in named:
        file = draft.given(*path)
        if file is None:
            continue
        if file not in reasons:
            reasons[file] = why_unusable(folder, file)
        if path[-1] == "known_hosts" and file == "/dev/null":
            yield Mistake(path, "host keys are always checked.", "Name a known_hosts file with the hosts' keys in it.")
        elif reasons[file]:
            # a word that looks like no path may be a pasted password
            shown = quoted_value(file) if path[-1] != "file" or re.search(r"[./]", file) else "named here"
            yield Mistake(
                path,
                f"the file {shown} {reasons[file]}.",
                f"Put it there, or correct the path; paths are relative to the fleet file's folder ({folder}).",
            )


def secrets_in(draft: Draft, fleet: Fleet) -> Iterator[tuple[Path_, Mapping[str, Any]]]:
    """Every reference to a secret as it is written, with where it is."""
    for name in fleet.clusters:
        path: Path_ = ("clusters", name)
        for secret in ((*path, "kubeconfig"), *((*path, "provider", "ack", f"access_key_{half}") for half in _HALVES)):
            if (given := draft.given(*secret)) is not None:
                yield secret, given
    for path, ssh in _ssh_entries(draft, fleet):
        if (given := ssh.get("key")) is not None:
            yield (*path, "key"), given


def _ssh_entries(draft: Draft, fleet: Fleet) -> Iterator[tuple[Path_, Mapping[str, Any]]]:
    """What is written at each level, before they are merged."""
    levels: list[Path_] = [("ssh",), *(("sites", name, "ssh") for name in fleet.sites)]
    levels += [("hosts", name, "ssh") for name in fleet.hosts]
    for path in levels:
        if given := draft.given(*path):
            yield path, given
