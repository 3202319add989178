"""What a run is asked to do, checked before anything is read from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from poolkeeper.tasks.fleet import SelectionInvalid
from poolkeeper.tasks.fleet.model import AckProvider, KubeadmProvider, SecretRef, SshAccess
from poolkeeper.tasks.onboard.preflight import REGISTRY
from poolkeeper.tasks.onboard.skipped_checks import check_skips
from poolkeeper.tasks.runs.choosing import ChoiceInvalid, choose_hosts, secrets_of
from tests.unit.onboard.builders import a_fleet, a_host

FLEET = a_fleet(
    a_host("a1"),
    a_host("a2"),
    a_host("a3", active=False),
    a_host("b1", pool={"name": "batch"}),
    a_host("c1", cluster={"name": "other"}, pool={"name": "edge"}),
)


@pytest.mark.parametrize(
    ("pool", "hosts", "names"),
    [
        pytest.param("general", "all", ["a1", "a2"], id="a pool"),
        pytest.param("general", "name=*1", ["a1"], id="some of a pool"),
        pytest.param("", "name=b1", ["b1"], id="hosts of any pool"),
        pytest.param("", "pool=general|batch", ["a1", "a2", "b1"], id="two pools of one cluster"),
    ],
)
def test_hosts_of_a_run(pool: str, hosts: str, names: list[str]) -> None:
    assert [host.name for host in choose_hosts(FLEET, pool, hosts)] == names


@pytest.mark.parametrize(
    ("pool", "hosts", "words"),
    [
        ("", "all", "belong to several clusters: main, other$"),
        ("general", "pool=batch", "no active host of the fleet file matches `pool=general,pool=batch`"),
        ("", "name=a3", "no active host of the fleet file matches `name=a3`"),
    ],
    ids=["two clusters", "no host is in both", "declared and not active"],
)
def test_a_choice_that_cannot_be_made(pool: str, hosts: str, words: str) -> None:
    with pytest.raises(ChoiceInvalid, match=words):
        choose_hosts(FLEET, pool, hosts)


@pytest.mark.parametrize(("pool", "hosts"), [("genral", "all"), ("", "nmae=a1"), ("general", ",")])
def test_an_expression_that_means_nothing(pool: str, hosts: str) -> None:
    with pytest.raises(SelectionInvalid):
        choose_hosts(FLEET, pool, hosts)


def test_skips_are_known_checks_with_a_reason() -> None:
    skips = {"hosts.swap.off": "zram only", "hosts.mtu.enough": "a VPN"}
    assert check_skips(skips) == skips
    assert check_skips({}) == {}
    assert check_skips(dict.fromkeys(REGISTRY, "why not"))


@pytest.mark.parametrize(
    ("skips", "words"),
    [
        ({"hosts.swap": "zram"}, "there is no check hosts.swap; did you mean hosts.swap.off"),
        ({"zzz": "x"}, "there is no check zzz$"),
        ({"hosts.swap.off": ""}, "give the reason why hosts.swap.off is skipped; the reason is recorded"),
        ({"hosts.swap.off": "  "}, "give the reason why"),
        ({"onboard.identity.other-machine": "trust me"}, "there is no check onboard.identity.other-machine"),
    ],
    ids=["mistyped", "unlike any", "no reason", "blank reason", "not for anyone to skip"],
)
def test_skips_that_do_not_count(skips: dict[str, str], words: str) -> None:
    with pytest.raises(ChoiceInvalid, match=words):
        check_skips(skips)


def test_every_secret_of_a_run_and_no_other() -> None:
    kubeconfig, key, key_id, secret = (SecretRef(file=Path(name)) for name in ("kubeconfig", "key", "id", "secret"))
    provider = AckProvider("c", "r", access_key_id=key_id, access_key_secret=secret)
    hosts = (
        a_host("a1", ssh=SshAccess("ops", key=key), cluster={"provider": provider, "kubeconfig": kubeconfig}),
        a_host("a2", ssh=SshAccess("ops", agent=True), cluster={"provider": provider, "kubeconfig": kubeconfig}),
    )
    assert secrets_of(hosts) == {kubeconfig, key, key_id, secret}
    plain = a_host("a1", cluster={"provider": KubeadmProvider(), "kubeconfig": kubeconfig})
    assert secrets_of((plain,)) == {kubeconfig}


@pytest.mark.parametrize("pool", ["", "general"])
@pytest.mark.parametrize("hosts", ["", "  "])
def test_nothing_is_not_everything(pool: str, hosts: str) -> None:
    """An event without its `hosts` renders to an empty text, which must not onboard the fleet."""
    with pytest.raises(ChoiceInvalid, match="parameter hosts is empty"):
        choose_hosts(FLEET, pool, hosts)
