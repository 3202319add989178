"""Comparing versions the way kernels, Kubernetes and Debian's packages write them."""

from __future__ import annotations

import re
from itertools import zip_longest

KUBERNETES_VERSION = r"v?1\.[0-9]{1,3}(\.[0-9]{1,3}(-[A-Za-z][0-9A-Za-z.+-]*|\+[0-9A-Za-z.+-]+)?)?"
"""A version of Kubernetes, which may leave out its build or its patch. What stands behind a dash begins with a letter:
`1.36.3-1.1` is a package's version."""

_NUMBERS = re.compile(r"v?([0-9]{1,9}(?:\.[0-9]{1,9})*)(?![0-9])")
_PRERELEASE = re.compile(r"[-~](alpha|beta|rc)(?![a-z])")


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: `6.1.0-18-amd64` is (6, 1, 0), `v1.36.3+lab` is (1, 36, 3).

    One of more than nine digits is no number of a version.
    """
    found = _NUMBERS.match(version)
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

    `1.36.3` asks for v1.36.3 with any build behind it, `1.36` for any patch; a build named is compared as well. What
    came before a release, such as `1.36.3-rc.0`, is no build of it.
    """
    kubelet, wanted = kubelet.removeprefix("v"), wanted.removeprefix("v")
    if kubelet == wanted:
        return True
    begins = [f"{wanted}-", f"{wanted}+", *([f"{wanted}."] if wanted.count(".") == 1 else [])]
    return kubelet.startswith(tuple(begins)) and _before_release(kubelet) == _before_release(wanted)


def goes_back(now: str, to: str) -> bool | None:
    """Whether a kubelet's version is newer than one that it is to have; None: nobody can tell.

    now: `v1.36.3-aliyun.2`
    to: the same, or without its build or patch, which any will do for then
    Of two builds with the same numbers those of one vendor can be compared, and a release with what came before it.
    """
    if same_version(now, to):
        return False
    ours, theirs = numbers(now), numbers(to)
    if not ours or not theirs:
        return None
    if ours[: len(theirs)] != theirs:
        return ours[: len(theirs)] > theirs
    if _before_release(now) != _before_release(to):
        return _before_release(to)
    return _newer_build(_build(now), _build(to))


def vendor_of(version: str) -> str:
    """Whose build a version of Kubernetes is: `aliyun` of `v1.36.3-aliyun.1`; empty: it names none."""
    words = [word for word in _build(version) if word.isalpha()]
    return "" if _before_release(version) else words[0] if words else ""


def _before_release(version: str) -> bool:
    found = _NUMBERS.match(version)
    return bool(found and _PRERELEASE.match(version, found.end()))


def _build(version: str) -> list[str]:
    """What stands behind the numbers, in words and numbers: `aliyun`, `2`."""
    found = _NUMBERS.match(version)
    return re.findall(r"[0-9]+|[a-z]+", version[found.end() :].lower() if found else "")


def _newer_build(one: list[str], other: list[str]) -> bool | None:
    """Whether a build is newer than another one; None where their words differ, or one has none."""
    if not one or not other:
        return None
    for mine, theirs in zip_longest(one, other, fillvalue=""):
        if mine == theirs:
            continue
        if (mine or "0").isdecimal() and (theirs or "0").isdecimal():
            return _number(mine) > _number(theirs)
        stages = ("alpha", "beta", "rc")
        return mine > theirs if mine in stages and theirs in stages else None
    return False


def older_package(version: str, than: str) -> bool:
    """Whether a version of a Debian package is older than another one, as dpkg compares them (deb-version(7))."""
    for mine, theirs in zip(_debian(version), _debian(than), strict=True):
        # words and numbers in turn; where one ends first, the other goes on against nothing
        pairs = (re.findall(r"([^0-9]*)([0-9]*)", part) for part in (mine, theirs))
        for (word, number), (their_word, their_number) in zip_longest(*pairs, fillvalue=("", "")):
            here, there = (_weights(word), _number(number)), (_weights(their_word), _number(their_number))
            if here != there:
                return here < there
    return False


def _debian(version: str) -> tuple[str, str, str]:
    """Epoch, upstream version and revision."""
    epoch, rest = version.split(":", 1) if ":" in version else ("", version)
    upstream, dash, revision = rest.rpartition("-")
    return epoch, upstream if dash else rest, revision if dash else ""


def _weights(word: str) -> tuple[int, ...]:
    """`~` comes before the end, the end before letters, letters before everything else."""
    return (*(-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in word), 0)


def _number(digits: str) -> tuple[int, str]:
    """Digits by their worth, however many there are."""
    worth = digits.lstrip("0")
    return len(worth), worth
