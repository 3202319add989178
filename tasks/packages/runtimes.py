"""Packages of container runtimes: which service is restarted after one was installed, and what a Node reports. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolkeeper.tasks.packages.versions import numbers_of


@dataclass(frozen=True, slots=True)
class Runtime:
    """A container runtime's package."""

    unit: str
    """Its systemd unit."""
    kind: str
    """Its name in a Node's `containerRuntimeVersion`."""


RUNTIMES: Mapping[str, Runtime] = {
    "containerd": Runtime("containerd", "containerd"),
    "containerd.io": Runtime("containerd", "containerd"),
    "runc": Runtime("containerd", "runc"),
    "cri-o": Runtime("crio", "cri-o"),
    "docker.io": Runtime("docker", "docker"),
    "docker-ce": Runtime("docker", "docker"),
}
"""By package name."""


def units_of(packages: Iterable[str]) -> tuple[str, ...]:
    """Units that have to be restarted once these packages are installed, each once."""
    return tuple(dict.fromkeys(RUNTIMES[name].unit for name in packages if name in RUNTIMES))


def same_runtime(reported: str, packages: Mapping[str, str]) -> bool:
    """Whether a Node reports the runtime version that the packages have.

    reported: `containerRuntimeVersion`, such as `containerd://1.6.24~ds1`
    packages: name -> exact version
    Distributions write builds in different ways, so only the numbers are compared. True where no package is that
    runtime's.
    """
    kind, _, version = reported.partition("://")
    wanted = [numbers_of(packages[name]) for name in RUNTIMES if name in packages and RUNTIMES[name].kind == kind]
    return not wanted or numbers_of(version) in wanted
