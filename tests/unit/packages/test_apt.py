"""What apt's output means."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.packages.apt.downloads import parse_need
from poolkeeper.tasks.packages.apt.lists import parse_packages
from poolkeeper.tasks.packages.apt.shell import last_errors, pins
from poolkeeper.tasks.packages.errors import NoApt, PackageError
from poolkeeper.tasks.packages.space import FileSystem, Need
from poolkeeper.tasks.packages.versions import Package

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


URIS = """\
space archives 100000 50000 /var
space programs 200000 150000 /
Reading package lists...
'http://mirror/kubelet_1.36.3-1.1_amd64.deb' kubelet_1.36.3-1.1_amd64.deb 12000000 SHA256:00
'http://mirror/kubeadm_1.36.3-1.1_amd64.deb' kubeadm_1.36.3-1.1_amd64.deb 11000000 SHA256:00
end
"""


def test_what_is_needed() -> None:
    var, root = FileSystem("/var", 102_400_000, 51_200_000), FileSystem("/", 204_800_000, 153_600_000)
    assert parse_need(URIS) == Need(23_000_000, var, root)
    with pytest.raises(PackageError, match="could not be read"):
        parse_need(URIS.replace("space programs", "no"))


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            "Reading package lists...\nE: Version '9' for 'kubelet' was not found\n",
            "E: Version '9' for 'kubelet' was not found",
        ),
        ("Hit:1 a\nErr:2 http://mirror\nE: Some index files\n", "Err:2 http://mirror; E: Some index files"),
        ("something\nelse\nentirely\n", "else; entirely"),
        ("", "no output"),
    ],
)
def test_what_apt_says_last(output: str, words: str) -> None:
    assert last_errors(output) == words


def test_pins() -> None:
    assert pins({"kubelet": "1.36.3-1.1", "containerd": "1.6.24"}) == ("containerd=1.6.24", "kubelet=1.36.3-1.1")
