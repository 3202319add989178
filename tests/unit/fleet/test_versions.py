"""Versions of kernels, of Kubernetes and of Debian's packages, compared."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolkeeper.tasks.fleet.versions import at_least, goes_back, minor_of, older_package, same_version


@pytest.mark.parametrize(
    ("version", "least", "answer"),
    [
        ("6.1.0-18-amd64", "5.10", True),
        ("5.10", "5.10", True),
        ("5.9.16", "5.10", False),
        ("4.19.91-26.al7.x86_64", "4.19", True),
        ("10.0", "9.9", True),
        ("unknown", "1.0", False),
        ("9" * 5000, "1.0", False),
    ],
)
def test_at_least(version, least, answer):
    assert at_least(version, least) is answer


@pytest.mark.parametrize(
    ("version", "minor"),
    [
        ("v1.36.3", (1, 36)),
        ("1.33.1-aliyun.1", (1, 33)),
        ("v1.36.3+lab", (1, 36)),
        ("", None),
        (f"v1.{'9' * 5000}", None),
        ("v1.\u0663\u0666", None),
    ],
)
def test_minor_of(version, minor):
    assert minor_of(version) == minor


@pytest.mark.parametrize(
    ("kubelet", "wanted", "same"),
    [
        ("v1.36.3", "1.36.3", True),
        ("v1.36.3", "v1.36", True),
        ("v1.36.3-aliyun.1", "1.36.3", True),
        ("v1.36.3+k3s1", "1.36.3", True),
        ("v1.36.3-aliyun.1", "1.36.3-aliyun.1", True),
        ("v1.36.3-aliyun.2", "1.36.3-aliyun.1", False),
        ("v1.36.30", "1.36.3", False),
        ("v1.36.3", "1.3", False),
        ("1.36.3-1.1", "1.36.3", True),
        pytest.param("v1.36.3-rc.0", "1.36.3", False, id="what came before a release is no build of it"),
        pytest.param("v1.36.0-beta.2", "1.36", False, id="nor is it a patch"),
        pytest.param("1.36.0~rc.0-1.1", "1.36", False, id="as a package has it"),
        ("v1.36.3-rc.0", "1.36.3-rc.0", True),
        ("v1.36.3-rc.0+lab", "1.36.3-rc.0", True),
    ],
)
def test_same_version(kubelet, wanted, same):
    assert same_version(kubelet, wanted) is same


@pytest.mark.parametrize(
    ("now", "to", "back"),
    [
        ("v1.36.3", "1.36.4", False),
        ("v1.36.4", "1.36.3", True),
        ("v1.36.10", "1.36.9", True),
        ("v1.36.3", "1.35", True),
        ("v1.35.9", "1.36", False),
        ("v1.36.3", "1.36", False),
        ("v1.36.3-aliyun.2", "1.36.3-aliyun.1", True),
        ("v1.36.3-aliyun.1", "1.36.3-aliyun.2", False),
        ("v1.36.3-aliyun.10", "1.36.3-aliyun.9", True),
        ("v1.36.3-aliyun.1.2", "1.36.3-aliyun.1", True),
        ("v1.36.3-aliyun.2", "1.36.3", False),
        ("v1.36.3-aliyun.2", "1.36.2-aliyun.9", True),
        ("v1.36.3+k3s2", "1.36.3+k3s1", True),
        ("v1.36.3", "1.36.3-rc.0", True),
        ("v1.36.3-aliyun.1", "1.36.3-rc.0", True),
        ("v1.36.3-rc.0", "1.36.3", False),
        ("v1.36.3-rc.0", "1.36", False),
        ("v1.36.3-rc.1", "1.36.3-rc.0", True),
        ("v1.36.3-rc.0", "1.36.3-beta.9", True),
        ("v1.36.3-alpha.3", "1.36.3-beta.0", False),
        pytest.param("v1.36.3", "1.36.3-aliyun.1", None, id="a build of whom, nobody can tell"),
        pytest.param("v1.36.3-gke.2", "1.36.3-aliyun.1", None, id="builds of two vendors"),
        pytest.param("v1.36.3-eks-ab12cd", "1.36.3-eks-cd34ef", None, id="builds by their hash"),
        pytest.param("", "1.36.3", None, id="nothing told"),
        pytest.param("v1.36.3", "latest", None, id="a goal that is none"),
        pytest.param(f"v1.36.3-aliyun.{'9' * 5000}", "1.36.3-aliyun.1", True, id="a number without end"),
    ],
)
def test_what_goes_back(now, to, back):
    assert goes_back(now, to) is back


OLDER = [
    ("1.36.3-1.1", "1.36.3-1.2"),
    ("1.36.9-1.1", "1.36.10-1.1"),
    ("1.36.3-1.9", "1.36.3-1.10"),
    ("1.36.0~rc.0-1.1", "1.36.0-1.1"),
    ("1.6.20~ds1-1+deb12u1", "1.6.24~ds1-1+deb12u1"),
    ("1.6.24~ds1-1", "1.6.24~ds1-1+deb12u1"),
    ("1.6.24~ds1-1+deb12u1", "1.6.24-1"),
    ("27.1-1", "5:1.0-1"),
    ("1.0-1~bpo1", "1.0-1"),
    ("1.0", "1.0-1"),
    ("1.0a", "1.0+b"),
    ("1.0", "1.0a"),
    (f"1.{'9' * 5000}", f"1.{'9' * 5001}"),
]


@pytest.mark.parametrize(("older", "newer"), OLDER)
def test_older_packages(older, newer):
    assert older_package(older, newer)
    assert not older_package(newer, older)


@pytest.mark.parametrize(("one", "same"), [("1.0", "1.0-0"), ("0:1.0", "1.0"), ("1.00", "1.0"), ("1.0-1", "1.0-1")])
def test_packages_that_are_alike(one, same):
    assert not older_package(one, same)
    assert not older_package(same, one)


UPSTREAM = st.text("0123456789.+~-abz", min_size=1, max_size=8).map(lambda text: f"1{text}1")
DEBIAN = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "0:", "1:", "10:"]),
    UPSTREAM,
    st.sampled_from(["", "-0", "-1", "-1.1", "-1~bpo12+1", "-1+deb12u1", "-1ubuntu2"]),
)


@pytest.mark.skipif(not shutil.which("dpkg"), reason="dpkg is not here")
@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(DEBIAN, DEBIAN), min_size=15, max_size=15))
def test_packages_are_compared_as_dpkg_does(pairs):
    script = "".join(f"dpkg --compare-versions '{a}' lt '{b}' && echo yes || echo no\n" for a, b in pairs)
    told = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=True, timeout=60).stdout
    assert told.split() == ["yes" if older_package(a, b) else "no" for a, b in pairs]
