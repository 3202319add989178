"""Comparing versions the way kernels and Kubernetes write them."""

from __future__ import annotations

import re


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: `6.1.0-18-amd64` is (6, 1, 0), `v1.36.3+lab` is (1, 36, 3)."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, found.group(1).split("."))) if found else ()


def at_least(version: str, least: str) -> bool:
    """Whether `version` is `least` or newer; one without numbers is not."""
    seen, wanted = numbers(version), numbers(least)
    return bool(seen) and seen >= wanted


def minor_of(version: str) -> tuple[int, int] | None:
    """(major, minor) of a Kubernetes version, or None."""
    found = numbers(version)
    return (found[0], found[1]) if len(found) >= 2 else None


def same_version(kubelet: str, wanted: str) -> bool:
    """Whether a kubelet is of the wanted version.

    `1.36.3` asks for v1.36.3 with any build behind it, `1.36` for any patch; a build named is compared as well.
    """
    kubelet, wanted = kubelet.removeprefix("v"), wanted.removeprefix("v")
    if wanted.count(".") == 1 and kubelet.startswith(f"{wanted}."):
        return True
    return kubelet == wanted or kubelet.startswith((f"{wanted}-", f"{wanted}+"))
