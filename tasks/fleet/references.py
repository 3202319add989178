"""Rules for what the file refers to and others keep: secrets, keys, files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from poolkeeper.tasks.fleet.document import Document, SecretEntry, SshEntry
from poolkeeper.tasks.fleet.draft import Draft
from poolkeeper.tasks.fleet.paths import why_unusable
from poolkeeper.tasks.fleet.problems import Mistake, Path_, told


def files(draft: Draft, document: Document, folder: Path) -> Iterator[Mistake]:
    """Files that the document names must be there."""
    named: list[tuple[Path_, str]] = [
        ((*path, "file"), secret.file) for path, secret in secrets_in(document) if secret.file
    ]
    for path, ssh in _ssh_entries(document):
        named += [((*path, kind), getattr(ssh, kind)) for kind in ("certificate", "known_hosts") if getattr(ssh, kind)]
    for name, site in document.sites.items():
        named += [(("sites", name, "freeze_calendars", i), file) for i, file in enumerate(site.freeze_calendars)]
    named += [
        (("audit", "targets", i, "ca"), target.ca) for i, target in enumerate(document.audit.targets) if target.ca
    ]
    reasons: dict[str, str] = {}
    for path, file in named:
        if file not in reasons:
            reasons[file] = why_unusable(folder, file)
        if path[-1] == "known_hosts" and file == "/dev/null":
            yield Mistake(path, "host keys are always checked.", "Name a known_hosts file with the hosts' keys in it.")
        elif reasons[file]:
            # a word that looks like no path may be a pasted password
            shown = told(file) if path[-1] != "file" or re.search(r"[./]", file) else "named here"
            yield Mistake(
                path,
                f"the file {shown} {reasons[file]}.",
                f"Put it there, or correct the path; paths are relative to the fleet file's folder ({folder}).",
            )


def secrets_in(document: Document) -> Iterator[tuple[Path_, SecretEntry]]:
    """Every reference to a secret, with where it is."""
    for name, cluster in document.clusters.items():
        yield ("clusters", name, "kubeconfig"), cluster.kubeconfig
        if cluster.provider.ack:
            for key in ("access_key_id", "access_key_secret"):
                secret = getattr(cluster.provider.ack, key)
                if secret is not None:
                    yield ("clusters", name, "provider", "ack", key), secret
    for path, ssh in _ssh_entries(document):
        if ssh.key is not None:
            yield (*path, "key"), ssh.key


def _ssh_entries(document: Document) -> Iterator[tuple[Path_, SshEntry]]:
    yield ("ssh",), document.ssh
    for name, site in document.sites.items():
        yield ("sites", name, "ssh"), site.ssh
    for name, host in document.hosts.items():
        yield ("hosts", name, "ssh"), host.ssh
