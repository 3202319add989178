"""Choosing hosts by an expression."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.fleet import SelectionInvalid, select
from tests.unit.fleet.builders import a_fleet

CHANGES = (
    ("n01: {address: 10.1.0.11, site: fra1", "n01: {labels: {gpu: a100, row: a}, address: 10.1.0.11, site: fra1"),
    ("n02: {address: 10.1.0.12, site: fra1", "n02: {labels: {gpu: h100, tier: edge}, address: 10.1.0.12, site: fra1"),
    ("domain: rack2}", "domain: rack2}\n  old: {address: 10.2.0.12, site: sha1, pool: spare, active: false}"
     "\n  m-1: {address: 10.2.0.13, site: sha1, pool: spare}"),
    ("hosts:", "  spare: {cluster: main, nodepool_id: np-2, labels: {tier: cold}}\nhosts:"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("all", "n01 n02 n03 m-1"),
        (" all ", "n01 n02 n03 m-1"),
        ("n01", "n01"),
        ("n0*", "n01 n02 n03"),
        ("n0?", "n01 n02 n03"),
        ("n01|m-1", "n01 m-1"),
        ("old", ""),
        ("name=n0*", "n01 n02 n03"),
        ("pool=general", "n01 n02 n03"),
        ("pool=general,site=fra1", "n01 n02"),
        ("pool = general , site = fra1", "n01 n02"),
        ("pool!=general", "m-1"),
        ("site=fra1|sha1,name!=n01", "n02 n03 m-1"),
        ("pool!=general|spare", ""),
        ("cluster=main,domain=rack1", "n01 n02"),
        ("domain=*", "n01 n02 n03"),
        ("domain!=rack1", "n03 m-1"),
        ("label.gpu=a100", "n01"),
        ("label.gpu=*", "n01 n02"),
        ("label.gpu!=a100", "n02 n03 m-1"),
        ("label.gpu!=*", "n03 m-1"),
        ("label.tier=cold|edge", "n02 m-1"),
        ("label.row=a,label.gpu=?100", "n01"),
    ],
)
def test_an_expression_chooses_active_hosts_in_the_files_order(tmp_path, expression, names):
    assert " ".join(host.name for host in select(a_fleet(tmp_path, *CHANGES), expression)) == names


TERMS = "write terms like pool=general, name=fra1-* or all, with commas between them."


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "cannot choose hosts: there is nothing at position 1. Write a term like all."),
        ("all,", "cannot choose hosts: there is nothing at position 5. Write a term like all."),
        ("pool=genral", "cannot choose hosts by `pool=genral` (position 1): no pool is genral. Did you mean general?"),
        ("all, site=muc1", "cannot choose hosts by `site=muc1` (position 6): no site is muc1. There are: fra1, sha1."),
        ("n1", "cannot choose hosts by `n1` (position 1): no host is n1. Did you mean n01?"),
        ("x*", "cannot choose hosts by `x*` (position 1): no host is x*. There are: m-1, n01, n02, n03, old."),
        ("pol=general", "cannot choose hosts by `pol=general` (position 1): there is no pol. Did you mean pool?"),
        ("Pool=general", "cannot choose hosts by `Pool=general` (position 1): there is no Pool. Did you mean pool?"),
        (
            "label.gpuu=a100",
            "cannot choose hosts by `label.gpuu=a100` (position 1): no host has the label gpuu. Did you mean label.gpu?",
        ),
        (
            "label.gpu=a10",
            "cannot choose hosts by `label.gpu=a10` (position 1): no label.gpu is a10. Did you mean a100?",
        ),
        ("pool==general", f"cannot choose hosts by `pool==general` (position 1): {TERMS}"),
        ("pool=", f"cannot choose hosts by `pool=` (position 1): {TERMS}"),
        ("pool=general|", "cannot choose hosts by `pool=general|` (position 1): a value is empty."),
        ("site=fra1,pool=general|", "cannot choose hosts by `pool=general|` (position 11): a value is empty."),
    ],
)
def test_what_means_nothing_says_where_and_what_to_write(tmp_path, expression, message):
    with pytest.raises(SelectionInvalid) as raised:
        select(a_fleet(tmp_path, *CHANGES), expression)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        pytest.param("n01|" * 30_000, "cannot choose hosts by 120,000 characters", id="too long"),
        pytest.param("n0*|" * 201 + "n01", "at most 200 of * and ?", id="too many patterns"),
        pytest.param("n0[1-2]*", "no host is n0[1-2]*.", id="a bracket is a bracket"),
        pytest.param(
            "x" * 5_000, f"by `{'x' * 200}...` (position 1): no host is {'x' * 200}. ", id="a long word is not repeated"
        ),
    ],
)
def test_what_would_take_for_ever_is_refused(tmp_path, expression, told):
    with pytest.raises(SelectionInvalid) as refused:
        select(a_fleet(tmp_path, *CHANGES), expression)
    assert told in refused.value.summary


def test_every_host_may_be_named(tmp_path):
    assert [host.name for host in select(a_fleet(tmp_path, *CHANGES), "|".join(["n01", "n03"] * 5_000))] == [
        "n01",
        "n03",
    ]
