"""Which versions a host gets, and whether its runtime is the wanted one."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.packages.runtimes import same_runtime
from poolkeeper.tasks.packages.versions import Choice, Package, choose, newest, numbers_of

RUNTIME = "1.6.24~ds1-1+deb12u1"


def package(installed: str, *available: str) -> Package:
    return Package("containerd", installed, False, available)


@pytest.mark.parametrize(
    ("here", "choice"),
    [
        pytest.param(package("1.6.20~ds1-1", RUNTIME), Choice({"containerd": RUNTIME}), id="its sources have it"),
        pytest.param(package(RUNTIME), Choice({"containerd": RUNTIME}), id="it is installed"),
        pytest.param(package("1.6.20"), Choice({}, missing={"containerd": RUNTIME}), id="its sources do not have it"),
        pytest.param(
            package("1.6.24~ds1-1+deb12u2", RUNTIME),
            Choice({}, older={"containerd": RUNTIME}),
            id="it is older than the installed one",
        ),
        pytest.param(package("", RUNTIME), Choice({}, not_installed=("containerd",)), id="it is not installed"),
    ],
)
def test_exact_versions(here: Package, choice: Choice) -> None:
    assert choose({"containerd": RUNTIME}, {"containerd": here}) == choice


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        pytest.param("1.36", "1.36.10-1.1", id="the newest patch, as apt lists it"),
        pytest.param("v1.36.3", "1.36.3-1.1", id="one patch"),
        pytest.param("1.36.1", None, id="a patch that is no prefix of another"),
        pytest.param("1.37", None, id="nothing but what came before a release"),
        pytest.param("1.3", None, id="a minor that is no prefix of another"),
        pytest.param("27.1", "5:27.1-1", id="without its epoch"),
    ],
)
def test_the_version_that_is_meant(wanted: str, version: str | None) -> None:
    available = ("1.37.0~rc.0-1.1", "1.36.10-1.1", "1.36.3-1.1", "1.35.4-1.1", "5:27.1-1")
    assert newest(Package("kubelet", "", False, available), wanted) == version


@pytest.mark.parametrize(
    ("package", "version"), [("1.36.3-1.1", "1.36.3"), ("5:27.1.1-1~debian", "27.1.1"), ("1.6.24~ds1-1", "1.6.24")]
)
def test_numbers_ofs(package: str, version: str) -> None:
    assert numbers_of(package) == version


@pytest.mark.parametrize(
    ("reported", "packages", "same"),
    [
        ("containerd://1.6.24~ds1", {"containerd": RUNTIME}, True),
        ("containerd://1.6.24", {"containerd": RUNTIME}, True),
        ("containerd://1.6.20~ds1", {"containerd": RUNTIME}, False),
        ("containerd://1.7.22", {"containerd.io": "1.7.22-1"}, True),
        ("", {"containerd": RUNTIME}, True),
        ("containerd://1.6.20", {"runc": "1.1.5+ds1-1"}, True),
        ("containerd://1.6.20", {}, True),
        ("cri-o://1.36.1", {"cri-o": "1.36.1-1.1"}, True),
        ("cri-o://1.35.0", {"cri-o": "1.36.1-1.1"}, False),
    ],
)
def test_runtimes(reported: str, packages: dict[str, str], same: bool) -> None:
    assert same_runtime(reported, packages) is same
