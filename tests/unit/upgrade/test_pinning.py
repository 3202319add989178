"""Which exact versions a host gets."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.packages.versions import Choice, Package
from poolkeeper.tasks.upgrade.goal import VersionGoal
from poolkeeper.tasks.upgrade.pinning import Pins, choose

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
            Choice({}, older=both("1.36.3-1.1")),
            id="its own build is newer than the first one's",
        ),
        pytest.param(
            host(kubeadm=Package("kubeadm", "1.37.0-1.1", True, OFFERED)),
            Pins(),
            Choice({"kubelet": "1.36.3-1.2"}, older={"kubeadm": "1.36.3-1.2"}),
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
    assert choose(VersionGoal("1.36.3"), "1.36.3", CARRIERS, here, pins) == choice


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
            Choice({}, older={"containerd": RUNTIME}),
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
    assert choose(VersionGoal(packages={"containerd": RUNTIME}), None, (), here, Pins()) == choice


def test_pins_survive_being_kept() -> None:
    pins = Pins("1.36.3", both("1.36.3-1.1"))
    assert Pins.of_row(pins.row()) == pins
    assert Pins.of_row(Pins().row()) == Pins()
