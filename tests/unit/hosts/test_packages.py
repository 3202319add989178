"""What apt's answers mean: packages, the version that is meant, and whether there is room."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.hosts.packages import (
    FileSystem,
    Need,
    NoApt,
    Package,
    PackageError,
    last_errors,
    newest,
    no_room,
    parse_need,
    parse_packages,
    pins,
)

MIB, GIB = 1024**2, 1024**3
ANSWER = """\
installed kubelet 1.35.4-1.1
available kubelet 1.36.3-1.1
available kubelet 1.36.10-1.1
available kubelet 1.35.4-1.1
available kubelet 1.35.4-1.1
held kubelet
held something-else
installed containerd 1.6.20~ds1-1+deb12u1
end
"""


def test_packages_as_a_host_tells_them() -> None:
    kubelet = ("1.36.3-1.1", "1.36.10-1.1", "1.35.4-1.1")
    assert parse_packages(ANSWER, ("kubelet", "kubectl", "containerd")) == {
        "kubelet": Package("kubelet", "1.35.4-1.1", True, kubelet),
        "kubectl": Package("kubectl", "", False, ()),
        "containerd": Package("containerd", "1.6.20~ds1-1+deb12u1", False, ()),
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param("no apt\n", NoApt, id="another package manager"),
        pytest.param(ANSWER.removesuffix("end\n"), PackageError, id="cut short"),
        pytest.param("", PackageError, id="nothing"),
    ],
)
def test_answers_that_are_none(text: str, error: type[PackageError]) -> None:
    with pytest.raises(error):
        parse_packages(text, ("kubelet",))


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


URIS = """\
room archives 100000 50000 /var
room programs 200000 150000 /
Reading package lists...
'http://mirror/kubelet_1.36.3-1.1_amd64.deb' kubelet_1.36.3-1.1_amd64.deb 12000000 SHA256:00
'http://mirror/kubeadm_1.36.3-1.1_amd64.deb' kubeadm_1.36.3-1.1_amd64.deb 11000000 SHA256:00
end
"""


def test_what_is_needed() -> None:
    var, root = FileSystem("/var", 102_400_000, 51_200_000), FileSystem("/", 204_800_000, 153_600_000)
    assert parse_need(URIS) == Need(23_000_000, var, root)
    with pytest.raises(PackageError, match="could not be read"):
        parse_need(URIS.replace("room programs", "no"))


def at(mount: str, free_bytes: int, size_bytes: int = 100 * GIB) -> FileSystem:
    return FileSystem(mount, size_bytes, free_bytes)


@pytest.mark.parametrize(
    ("need", "share", "why"),
    [
        pytest.param(Need(100 * MIB, at("/", 1112 * MIB), at("/", 1112 * MIB)), 0.0, "", id="just enough"),
        pytest.param(
            Need(100 * MIB, at("/", 1111 * MIB), at("/", 1111 * MIB)),
            0.0,
            "1111 MiB of 102400 MiB are free on /, where 600 MiB are taken and 512 MiB have to stay free",
            id="one MiB too little",
        ),
        pytest.param(
            Need(100 * MIB, at("/var", 611 * MIB), at("/", 50 * GIB)),
            0.0,
            "611 MiB of 102400 MiB are free on /var, where 100 MiB are taken and 512 MiB have to stay free",
            id="the archives have a file system of their own",
        ),
        pytest.param(Need(0, at("/", 21 * GIB), at("/", 21 * GIB)), 0.2, "", id="a share of it"),
        pytest.param(
            Need(0, at("/", 19 * GIB), at("/", 19 * GIB)),
            0.2,
            "19456 MiB of 102400 MiB are free on /, where 0 MiB are taken and 20480 MiB have to stay free",
            id="less than that share",
        ),
    ],
)
def test_room(need: Need, share: float, why: str) -> None:
    assert no_room(need, min_free_share=share) == why


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            "Reading package lists...\nE: Version '9' for 'kubelet' was not found\n",
            "E: Version '9' for 'kubelet' was not found",
        ),
        ("Hit:1 a\nErr:2 http://mirror\nE: Some index files\n", "Err:2 http://mirror; E: Some index files"),
        ("something\nelse\nentirely\n", "else; entirely"),
        ("", "it said nothing"),
    ],
)
def test_what_apt_says_last(output: str, words: str) -> None:
    assert last_errors(output) == words


def test_pins() -> None:
    assert pins({"kubelet": "1.36.3-1.1", "containerd": "1.6.24"}) == ("containerd=1.6.24", "kubelet=1.36.3-1.1")
