"""From failing facts to causes: every mode a night may meet, alone and with others."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolkeeper.tasks.audit.causes.candidates import Server, candidates_of_cache, candidates_of_resolver
from poolkeeper.tasks.audit.causes.grouping import group_by_cause
from poolkeeper.tasks.audit.measurements import CandidateCause, FailureMode, Measurement, Part, Quality
from tests.unit.audit.worlds import ENDPOINT, REGISTRY, World

BIG, WRONG, DEAD, CLOCK = FailureMode.BIG, FailureMode.WRONG, FailureMode.DEAD, FailureMode.CLOCK
UDP = "10.0.0.2 udp/53"

THREE = World({"a": {"a-1": 3, "a-2": 3}, "b": {"b-1": 2, "b-2": 2}, "c": {"c-1": 2, "c-2": 1}})
RACKS = World({"a": {"a-1": 10, "a-2": 4}})
ONE_RACK = World({"a": {"a-1": 4}, "b": {"b-1": 2}})
LINES = World({"a": {"a-1": 4, "a-2": 4}, "b": {"b-1": 3, "b-2": 2}})

LUCKY = ("connect.host", "a11", "b11")


def s(part: Part, name: str, mode: FailureMode = FailureMode.CUT) -> CandidateCause:
    return CandidateCause(part, name, mode)


def told(facts: list[Measurement]) -> list[tuple[str, int, int, str]]:
    """CandidateCause, how many facts it explains, how many speak against it, symptom."""
    return [
        (str(each.candidate), len(each.explains), len(each.against), each.symptom) for each in group_by_cause(facts)
    ]


def parts(facts: list[Measurement]) -> set[CandidateCause]:
    return {each.candidate for each in group_by_cause(facts)}


H_A11, H_A12 = s(Part.HOST, "a11"), s(Part.HOST, "a12")
B_TO_C, A_B = s(Part.LINE_ONE_WAY, "b -> c"), s(Part.LINE, "a -- b")
READY = ("node.ready", "kubelet.connect")


@pytest.mark.parametrize(
    ("world", "broken"),
    [
        pytest.param(THREE, [], id="nothing fails"),
        pytest.param(THREE, [s(Part.PATH, "a11 -> b11")], id="one path"),
        pytest.param(THREE, [H_A11], id="a host that is down"),
        pytest.param(THREE, [s(Part.WAY_IN, "a11")], id="a host's way in"),
        pytest.param(THREE, [s(Part.WAY_OUT, "a11")], id="a host's way out"),
        pytest.param(THREE, [B_TO_C], id="one direction of a line"),
        pytest.param(THREE, [A_B], id="a line"),
        pytest.param(THREE, [s(Part.LINE, "a -- cloud")], id="a site cut off from the cloud"),
        pytest.param(ONE_RACK, [s(Part.LINE, "a -- cloud")], id="so is a site of one domain"),
        pytest.param(THREE, [s(Part.SITE, "b")], id="a site cut off from everything"),
        pytest.param(THREE, [s(Part.SITE, "cloud")], id="the cloud cut off from every site"),
        pytest.param(THREE, [s(Part.ENDPOINT, ENDPOINT.name)], id="the API endpoint is down"),
        pytest.param(THREE, [s(Part.ENDPOINT, ENDPOINT.name, WRONG)], id="its certificate has expired"),
        pytest.param(THREE, [s(Part.SITE_TARGET, f"a -> {ENDPOINT.name}")], id="the endpoint from one site"),
        pytest.param(THREE, [s(Part.SITE_TARGET, f"a -> {UDP}")], id="UDP to a resolver blocked at one site"),
        pytest.param(THREE, [s(Part.RESOLVER, UDP)], id="UDP to a resolver blocked everywhere"),
        pytest.param(THREE, [s(Part.SITE_TARGET, "a -> 10.0.0.2")], id="both transports blocked at one site"),
        pytest.param(THREE, [s(Part.RESOLVER, "10.0.0.2")], id="a dead resolver"),
        pytest.param(THREE, [s(Part.RESOLVER, "10.0.0.2", WRONG)], id="a resolver that answers wrongly"),
        pytest.param(THREE, [s(Part.SITE_TARGET, "a -> 10.0.0.2", WRONG)], id="it answers one site wrongly"),
        pytest.param(THREE, [s(Part.NAME, "aliyun.com", WRONG)], id="a name that fails everywhere"),
        pytest.param(THREE, [s(Part.NAME, "aliyun.com at 10.0.0.2", WRONG)], id="a name that one resolver lacks"),
        pytest.param(THREE, [s(Part.CACHE, "a11")], id="a dead cache"),
        pytest.param(THREE, [s(Part.STUB, "a11")], id="a host's own resolver settings"),
        pytest.param(THREE, [s(Part.TARGET, REGISTRY.name)], id="a target that is down"),
        pytest.param(THREE, [s(Part.KUBELET, "a11")], id="a kubelet's port that is blocked"),
        pytest.param(THREE, [s(Part.KUBELET, "a11", DEAD)], id="a kubelet that does not run"),
        pytest.param(THREE, [s(Part.KUBELET, "a11", WRONG)], id="a node that is not Ready, and all else is well"),
        pytest.param(THREE, [s(Part.HOST, "a11", WRONG)], id="a host whose clock spoils every certificate"),
        pytest.param(THREE, [s(Part.HOST, "a11", CLOCK)], id="a host whose clock is wrong, and spoils nothing yet"),
        pytest.param(THREE, [s(Part.ENDPOINT, ENDPOINT.name, CLOCK)], id="the API endpoint's clock is wrong"),
        pytest.param(THREE, [s(Part.SITE_TARGET, "cloud -> kubelets at a")], id="every kubelet's port of a site"),
        pytest.param(THREE, [s(Part.LINE, "a -- b", BIG)], id="a line that loses big packets"),
        pytest.param(THREE, [s(Part.LINE_ONE_WAY, "a -> b", BIG)], id="one direction does"),
        pytest.param(THREE, [s(Part.WAY_IN, "a11", BIG)], id="a host's way in does"),
        pytest.param(THREE, [s(Part.DOMAIN, "a-1")], id="a rack without power"),
        pytest.param(THREE, [s(Part.DOMAIN_EDGE, "a-1")], id="a rack without uplink"),
        pytest.param(RACKS, [s(Part.HOST, "a11"), s(Part.HOST, "a15")], id="two hosts of ten in a domain"),
        pytest.param(THREE, [H_A11, B_TO_C], id="a host down, and a one-way line elsewhere"),
        pytest.param(THREE, [s(Part.HOST, "c11"), B_TO_C], id="a host down behind a one-way line"),
        pytest.param(THREE, [s(Part.HOST, "c11"), B_TO_C, s(Part.RESOLVER, UDP)], id="three that overlap"),
        pytest.param(THREE, [A_B, s(Part.LINE, "a -- c", BIG), H_A11], id="three more"),
        pytest.param(THREE, [s(Part.LINE, "a -- cloud"), s(Part.ENDPOINT, ENDPOINT.name, WRONG)], id="wrong beyond"),
        pytest.param(
            THREE, [s(Part.LINE, "a -- cloud"), s(Part.RESOLVER, "10.0.0.2", WRONG)], id="a line cut, a resolver wrong"
        ),
    ],
)
def test_what_is_broken_is_what_is_reported(world: World, broken: Collection[CandidateCause]) -> None:
    facts = world.night(*broken)
    causes = group_by_cause(facts)
    assert {each.candidate for each in causes} == set(broken)
    assert not [fact for each in causes for fact in each.against if fact.quality is Quality.OK]
    assert sum(len(each.explains) for each in causes) == sum(fact.quality is Quality.FAIL for fact in facts)


def test_a_wrong_answer_of_a_cache_does_not_clear_the_cut_line_behind_it() -> None:
    facts, wrong = THREE.night(s(Part.LINE, "a -- cloud")), []
    for host in THREE.hosts:
        if host.site.name == "a":
            own, resolver = candidates_of_cache(host, "old.example"), Server("10.0.0.2")
            behind = candidates_of_resolver(host, resolver, "udp", "old.example") - own
            told = (f"{host.name} old.example", Quality.FAIL, "no such name", own | behind)
            wrong.append(Measurement("dns.cache", host.name, *told, symptom="nxdomain", hidden=behind))
    causes = {each.candidate: each.against for each in group_by_cause([*facts, *wrong])}
    assert causes == {s(Part.LINE, "a -- cloud"): (), s(Part.SITE, "a", WRONG): ()}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(
            THREE.night(H_A11, checks=["connect.host"]),
            [("host a11", 12, 0, "timeout")],
            id="a host that is down, though only its ways in could be measured",
        ),
        pytest.param(
            [
                replace(fact, quality=Quality.OK) if fact.path[1:] == ("a11", "a12") else fact
                for fact in THREE.night(H_A11, checks=["connect.host"])
            ],
            [("way into a host a11", 12, 0, "timeout")],
            id="its way in, when one way out is well",
        ),
        pytest.param(
            THREE.night(s(Part.LINE, "a -- b", BIG)),
            [("line a -- b (big packets)", 48, 0, "too-big")],
            id="connects do not acquit a line of losing big packets",
        ),
        pytest.param(
            THREE.night(A_B, checks=["connect.host", "mtu.host"]),
            [("line a -- b", 96, 0, "timeout")],
            id="a cut line explains the big packets, too",
        ),
        pytest.param(
            LINES.night(A_B, checks=["connect.host"], lucky=[LUCKY]),
            [("line a -- b", 79, 1, "timeout")],
            id="a lucky connect does not split a line",
        ),
        pytest.param(
            LINES.night(s(Part.LINE_ONE_WAY, "a -> b"), checks=["connect.host"], lucky=[LUCKY]),
            [("one direction of a line a -> b", 39, 1, "timeout")],
            id="nor one direction of it",
        ),
        pytest.param(
            LINES.night(s(Part.LINE, "a -- cloud"), lucky=[("node.ready", "api-server", "a11")]),
            [("line a -- cloud", 111, 1, "timeout")],
            id="a node still Ready does not split a line into its targets",
        ),
        pytest.param(
            THREE.night(s(Part.LINE, "a -- cloud"), checks=["node.ready"]),
            [("line a -- cloud", 6, 0, "not-ready")],
            id="a whole site NotReady",
        ),
        pytest.param(
            ONE_RACK.night(s(Part.LINE, "a -- cloud"), checks=["node.ready"]),
            [("line a -- cloud", 4, 0, "not-ready")],
            id="also where it is one domain",
        ),
        pytest.param(
            THREE.night(s(Part.LINE, "a -- b"), quality=Quality.SLOW, checks=["connect.host"]),
            [("line a -- b", 48, 0, "")],
            id="a slow line",
        ),
        pytest.param(
            [
                replace(fact, quality=Quality.SLOW, symptom="") if fact.source > "b" and fact.symptom else fact
                for fact in THREE.night(A_B, checks=["connect.host"])
            ],
            [
                ("one direction of a line a -> b", 24, 0, "timeout"),
                ("one direction of a line b -> a", 24, 0, ""),
            ],
            id="slow one way and cut the other",
        ),
        pytest.param(
            [Measurement("x", "a", "b", Quality.FAIL, "", frozenset(), symptom="timeout")],
            [("path a -> b", 1, 0, "timeout")],
            id="a fact that names no candidate",
        ),
        pytest.param(
            [replace(fact, quality=Quality.UNKNOWN) for fact in ONE_RACK.night()], [], id="nothing could be measured"
        ),
    ],
)
def test_told(facts: list[Measurement], expected: list[tuple[str, int, int, str]]) -> None:
    assert told(facts) == expected


def test_a_cause_counts_what_could_not_be_measured() -> None:
    [cause] = group_by_cause(THREE.night(H_A11, checks=["connect.host"]))
    assert cause.unknown == 12
    assert [fact.target for fact in cause.explains] == ["a11"] * 12
    assert [fact.source for fact in cause.explains] == sorted(host.name for host in THREE.hosts[1:])


def test_two_hosts_are_their_domain_where_it_has_no_other() -> None:
    assert parts(THREE.night(s(Part.HOST, "b11"), s(Part.HOST, "b12"))) == {s(Part.DOMAIN, "b-1")}


def test_the_largest_is_no_cause_where_the_others_explain_all() -> None:
    left, middle, right = (s(Part.TARGET, name) for name in ("left", "middle", "right"))
    covers = [[left]] + [[left, middle]] * 3 + [[middle, right]] * 3 + [[right]]
    facts = [Measurement("x", f"{n}", "t", Quality.FAIL, "", frozenset(each)) for n, each in enumerate(covers)]
    assert parts(facts) == {left, right}


def test_a_path_that_fails_often_is_not_a_part_that_is_broken() -> None:
    line = s(Part.LINE, "a -- b")
    qualities = [Quality.FAIL] * 6 + [Quality.OK] * 3
    paths = [frozenset((line, s(Part.PATH, f"{n}"))) for n in range(9)]
    facts = [Measurement("x", f"{n}", "t", q, "", paths[n]) for n, q in enumerate(qualities)]
    assert {each.part for each in parts(facts)} == {Part.PATH}
    assert parts(facts[:-1]) == {line}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    sites = draw(st.integers(1, 3))
    shape = {
        name: {f"{name}-{n}": draw(st.integers(1, 3)) for n in range(1, draw(st.integers(1, 2)) + 1)}
        for name in "abc"[:sites]
    }
    places = st.sampled_from(["cloud", *shape])
    resolvers = [Server(f"10.0.0.{n}", draw(places)) for n in range(2, 2 + draw(st.integers(1, 2)))]
    return World(shape, tuple(resolvers))


def depending(facts: list[Measurement], candidate: CandidateCause, *, measured: bool) -> set[tuple[str, str, str]]:
    """What would fail with it, of all or of what was measured."""
    return {f.path for f in facts if candidate in f.candidates and (f.quality is not Quality.UNKNOWN or not measured)}


SLOWLY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SLOWLY
@given(st.data())
def test_any_one_part_is_one_cause(data: st.DataObject) -> None:
    world = data.draw(worlds())
    broken = data.draw(st.sampled_from(world.parts()))
    facts = world.night(broken)
    causes = group_by_cause(facts)
    if not any(fact.quality is Quality.FAIL for fact in facts):
        assert causes == ()  # a host alone in the world that nobody can ask
        return
    [cause] = causes
    assert [fact for fact in cause.against if fact.quality is Quality.OK] == []
    # what failed tells them apart, or nothing does
    assert depending(facts, cause.candidate, measured=True) == depending(facts, broken, measured=True)


@SLOWLY
@given(st.data())
def test_any_two_parts_are_two_causes_at_most(data: st.DataObject) -> None:
    world = data.draw(worlds())
    two = st.lists(st.sampled_from(world.parts()), min_size=2, max_size=2, unique=True)
    facts = world.night(*data.draw(two))
    assert len(group_by_cause(facts)) <= 2


@SLOWLY
@given(st.data(), st.randoms(use_true_random=False))
def test_whatever_fails_is_explained_once_in_any_order(data: st.DataObject, chance: random.Random) -> None:
    world = data.draw(worlds())
    broken = data.draw(st.lists(st.sampled_from(world.parts()), max_size=4))
    facts = [
        replace(fact, quality=data_quality) if (data_quality := chance.choice([None] * 30 + list(Quality))) else fact
        for fact in world.night(*broken)
    ]
    causes = group_by_cause(facts)
    for quality in (Quality.FAIL, Quality.SLOW):
        explained = Counter(f.path for each in causes if each.quality is quality for f in each.explains)
        assert explained == Counter(f.path for f in facts if f.quality is quality)
    chance.shuffle(facts)
    assert group_by_cause(facts) == causes
