"""Which exact versions a host gets, and whether its runtime is the wanted one."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.hosts.packages import Package
from poolkeeper.tasks.upgrade.goal import Goal
from poolkeeper.tasks.upgrade.pinning import Choice, Pins, choose, exact_version, same_runtime

CARRIERS = ("kubelet", "kubeadm", "kubectl")
OFFERED = ("1.36.3-1.2", "1.36.3-1.1", "1.35.4-1.1")
RUNTIME = "1.6.24~ds1-1+deb12u1"


def host(kubelet: str = "1.35.4-1.1", offered: tuple[str, ...] = OFFERED, **more: Package) -> dict[str, Package]:
    """A host with kubelet and kubeadm, and without kubectl."""
    return {
        "kubelet": Package("kubelet", kubelet, True, offered),
        "kubeadm": Package("kubeadm", kubelet, True, offered),
        "kubectl": Package("kubectl", "", False, offered),
        "containerd": Package("containerd", "1.6.20~ds1-1+deb12u1", False, (RUNTIME,)),
        **more,
    }


def both(version: str) -> dict[str, str]:
    return {"kubelet": version, "kubeadm": version}


@pytest.mark.parametrize(
    ("here", "pins", "choice"),
    [
        pytest.param(host(), Pins(), Choice(both("1.36.3-1.2")), id="the first host: the newest build"),
        pytest.param(
            host(), Pins("1.36.3", both("1.36.3-1.1")), Choice(both("1.36.3-1.1")), id="a later host: the first one's"
        ),
        pytest.param(host("1.36.3-1.1"), Pins(), Choice(both("1.36.3-1.1")), id="what is there already stays"),
        pytest.param(
            host("1.36.3-1.1", offered=()), Pins(), Choice(both("1.36.3-1.1")), id="also if nothing is offered any more"
        ),
        pytest.param(
            host(offered=("1.35.4-1.1",)), Pins(), Choice({}, missing=both("1.36.3")), id="its sources lack the version"
        ),
        pytest.param(
            host(offered=("1.36.3-1.2", "1.35.4-1.1")),
            Pins("1.36.3", both("1.36.3-1.1")),
            Choice({}, missing=both("1.36.3-1.1")),
            id="its sources lack the first one's build",
        ),
        pytest.param(
            host("1.36.3-1.2"),
            Pins("1.36.3", both("1.36.3-1.1")),
            Choice({}, going_back=both("1.36.3-1.1")),
            id="its own build is newer than the first one's",
        ),
        pytest.param(
            host(kubeadm=Package("kubeadm", "1.37.0-1.1", True, OFFERED)),
            Pins(),
            Choice({"kubelet": "1.36.3-1.2"}, going_back={"kubeadm": "1.36.3-1.2"}),
            id="kubeadm is ahead",
        ),
        pytest.param(
            host(offered=("1.36.3~rc.0-1.1",)),
            Pins(),
            Choice({}, missing=both("1.36.3")),
            id="nothing but what came before it",
        ),
        pytest.param(
            host(kubelet=""), Pins(), Choice({}, not_installed=("kubelet",)), id="a kubelet that did not come by apt"
        ),
    ],
)
def test_packages_of_kubernetes(here: dict[str, Package], pins: Pins, choice: Choice) -> None:
    assert choose(Goal("1.36.3"), "1.36.3", CARRIERS, here, pins) == choice


@pytest.mark.parametrize(
    ("here", "choice"),
    [
        pytest.param(host(), Choice({"containerd": RUNTIME}), id="offered"),
        pytest.param(
            host(containerd=Package("containerd", RUNTIME, False, ())), Choice({"containerd": RUNTIME}), id="there"
        ),
        pytest.param(
            host(containerd=Package("containerd", "1.6.20", False, ())),
            Choice({}, missing={"containerd": RUNTIME}),
            id="not offered",
        ),
        pytest.param(
            host(containerd=Package("containerd", "1.6.24~ds1-1+deb12u2", False, (RUNTIME,))),
            Choice({}, going_back={"containerd": RUNTIME}),
            id="offered, and older than what is there",
        ),
        pytest.param(
            host(containerd=Package("containerd", "", False, (RUNTIME,))),
            Choice({}, not_installed=("containerd",)),
            id="offered and not installed: nothing new is brought",
        ),
    ],
)
def test_packages_of_the_goal(here: dict[str, Package], choice: Choice) -> None:
    assert choose(Goal(packages={"containerd": RUNTIME}), None, (), here, Pins()) == choice


def test_pins_survive_being_kept() -> None:
    pins = Pins("1.36.3", both("1.36.3-1.1"))
    assert Pins.of_row(pins.row()) == pins
    assert Pins.of_row(Pins().row()) == Pins()


@pytest.mark.parametrize(
    ("package", "version"), [("1.36.3-1.1", "1.36.3"), ("5:27.1.1-1~debian", "27.1.1"), ("1.6.24~ds1-1", "1.6.24")]
)
def test_exact_versions(package: str, version: str) -> None:
    assert exact_version(package) == version


@pytest.mark.parametrize(
    ("told", "packages", "same"),
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
def test_runtimes(told: str, packages: dict[str, str], same: bool) -> None:
    assert same_runtime(told, packages) is same
