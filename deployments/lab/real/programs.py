"""Finding Kubernetes' programs: those of $KUBEBUILDER_ASSETS first, all others from the cache or by a build."""

from __future__ import annotations

import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from poolkeeper.deployments.lab.real.building import Say, Unavailable, built, lacks, say_on_stderr
from poolkeeper.deployments.lab.real.pins import KUBERNETES, module_of

ASSETS = "KUBEBUILDER_ASSETS"
"""Environment variable of Kubernetes' own test tools: a folder with etcd, kube-apiserver and kubectl, perhaps more."""


def find(names: Iterable[str], *, say: Say = say_on_stderr) -> Mapping[str, Path]:
    """Each program's path, built now where it must be. Raises Unavailable before anything is built in vain."""
    wanted = tuple(names)
    if missing := lacking(wanted):
        raise Unavailable(missing)
    found = {name: path for name in wanted if (path := _from_assets(name))}
    by_module = defaultdict[str, list[str]](list)
    for name in wanted:
        if name not in found:
            by_module[module_of(name).name].append(name)
    for names in by_module.values():
        found |= built(module_of(names[0]), *names, say=say)
    return found


def lacking(names: Iterable[str]) -> str:
    """Why these programs cannot be had here, as a clause; empty when they can. Builds nothing."""
    for name in names:
        if _from_assets(name) is None and (missing := lacks(module_of(name))):
            return f"{missing} (${ASSETS} has no {name})" if ASSETS in os.environ else missing
    return ""


def _from_assets(name: str) -> Path | None:
    folder = os.environ.get(ASSETS)
    if not folder or not _is_our_minor(folder):
        return None
    program = Path(folder, name)
    return program if os.access(program, os.X_OK) else None


@cache
def _is_our_minor(folder: str) -> bool:
    """Whether what is there goes together with what we would build beside it."""
    command = [str(Path(folder, "kube-apiserver")), "--version"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    minor = re.search(r"v\d+\.\d+\.", told)
    fits = minor is not None and KUBERNETES.version.startswith(minor.group())
    if not fits:
        say_on_stderr(f"${ASSETS} is not used: its kube-apiserver is {told.strip()}, {KUBERNETES.version} is wanted")
    return fits
