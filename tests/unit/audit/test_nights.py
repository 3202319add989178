"""Night against night: new, still, flapping, gone; silence; what a path takes as a rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasks.audit.measured import Measured, Part, Quality, Suspect
from tasks.audit.nights import (
    Baseline,
    Gone,
    Night,
    Since,
    against_baseline,
    baselines,
    compare,
    silent,
)
from tasks.outcomes import Evidence, Finding, Severity, Subject

NOW = datetime(2026, 11, 24, 2, tzinfo=UTC)
LINE, HOST = Subject("line", "cloud -- fra1"), Subject("host", "n1")


def night(ago: int, *found: Subject, hosts: str = "", mute: str = "", carried: Subject | None = None) -> Night:
    findings = {("audit.x", s): f"{s} was broken" for s in found}
    measured = {**dict.fromkeys(hosts.split(), True), **dict.fromkeys(mute.split(), False)}
    unknown = {("audit.x", carried): f"{carried} was broken"} if carried else {}
    return Night(NOW - timedelta(days=ago), findings, measured, unknown)


def finding(subject: Subject) -> Finding:
    return Finding("audit.x", Severity.BLOCKER, subject, Evidence("broken", "whole", "probe", NOW), "Mend it.")


@pytest.mark.parametrize(
    ("before", "told"),
    [
        pytest.param([], (Since.NEW, 0, 1), id="the first night there is"),
        pytest.param([night(1)], (Since.NEW, 0, 1), id="not there last night"),
        pytest.param([night(1, LINE)], (Since.STILL, 1, 2), id="there last night"),
        pytest.param([night(1, HOST)], (Since.NEW, 0, 1), id="another one's last night"),
        pytest.param([night(1, LINE), night(2, LINE), night(5)], (Since.STILL, 2, 3), id="since two nights"),
        pytest.param([night(1), night(2, LINE)], (Since.NEW, 0, 1), id="come back after one night"),
        pytest.param([night(1), night(2, LINE), night(3)], (Since.FLAPPING, 0, 1), id="every other night"),
        pytest.param([night(1, carried=LINE), night(2, LINE)], (Since.STILL, 2, 2), id="not measured last night"),
        pytest.param([night(1, carried=LINE), night(2, carried=LINE)], (Since.NEW, 0, 1), id="never measured"),
        pytest.param(
            [night(1, LINE), night(2), night(3, LINE), night(4)],
            (Since.FLAPPING, 1, 2),
            id="on and off, on since yesterday",
        ),
    ],
)
def test_how_a_finding_stands(before: list[Night], told: tuple[Since, int, int]) -> None:
    (one,) = compare([finding(LINE)], {("audit.x", LINE)}.__contains__, NOW, before).told
    stands, days_ago, nights = told
    assert (one.stands, one.since, one.nights) == (stands, NOW - timedelta(days=days_ago), nights)


@pytest.mark.parametrize(
    ("measured", "is_known"),
    [
        pytest.param([LINE], True, id="measured: it is fixed"),
        pytest.param([HOST], False, id="not measured: nobody knows"),
    ],
)
def test_what_was_there_last_night(measured: list[Subject], is_known: bool) -> None:
    known = {("audit.x", subject) for subject in measured}.__contains__
    compared = compare([], known, NOW, [night(1, LINE), night(2, HOST)])
    gone = Gone("audit.x", LINE, "line cloud -- fra1 was broken", is_known)
    assert (compared.fixed, compared.not_measured) == (((gone,), ()) if is_known else ((), (gone,)))
    carried = compare([], known, NOW, [night(1, carried=LINE), night(2, HOST)])
    assert carried == compared, "it is known until someone has looked"


@pytest.mark.parametrize(
    ("before", "nights"),
    [
        pytest.param([], {}, id="the first night of all"),
        pytest.param([night(1, mute="n2"), night(2, hosts="n2")], {}, id="two nights"),
        pytest.param([night(1, mute="n2"), night(2, mute="n2"), night(3, hosts="n2")], {"n2": 3}, id="three nights"),
        pytest.param([night(1, mute="n2"), night(2, mute="n2")], {"n2": 3}, id="never since there are nights"),
        pytest.param([night(n, hosts="n1") for n in range(1, 30)], {}, id="a host that is new"),
        pytest.param(
            [night(1, mute="n2"), night(2, hosts="n1"), night(3, mute="n2")], {"n2": 3}, id="a night without it between"
        ),
    ],
)
def test_silence_is_told_after_three_nights(before: list[Night], nights: dict[str, int]) -> None:
    assert silent(["n1", "n2"], {"n1"}, before, 3) == nights


PATH = ("connect.host", "n1", "n2")


@pytest.mark.parametrize(
    ("seen", "usual"),
    [
        pytest.param([], {}, id="no night"),
        pytest.param([1.0] * 4, {}, id="too few nights"),
        pytest.param([1.0] * 4 + [9.0], {PATH: Baseline(1.0, 0.0, 5)}, id="one bad night moves nothing"),
        pytest.param([0.0, 10.0, 20.0, 30.0, 40.0], {PATH: Baseline(20.0, 1.4826 * 10.0, 5)}, id="a path that varies"),
    ],
)
def test_a_baseline_is_robust(seen: list[float], usual: dict[tuple[str, str, str], Baseline]) -> None:
    assert baselines({PATH: value} for value in seen) == usual


@pytest.mark.parametrize(
    ("usual", "took_ms", "quality"),
    [
        pytest.param(None, 900.0, Quality.OK, id="no baseline, no judgement"),
        pytest.param(Baseline(1.0, 0.1, 5), 100.9, Quality.OK, id="less than a busy host makes of it"),
        pytest.param(Baseline(1.0, 0.1, 5), 101.1, Quality.SLOW, id="a hundred milliseconds more"),
        pytest.param(Baseline(100.0, 1.0, 5), 299.0, Quality.OK, id="not yet three times as long"),
        pytest.param(Baseline(100.0, 1.0, 5), 301.0, Quality.SLOW, id="more than three times as long"),
        pytest.param(Baseline(100.0, 60.0, 5), 339.0, Quality.OK, id="within how much it varies"),
        pytest.param(Baseline(100.0, 60.0, 5), 341.0, Quality.SLOW, id="beyond how much it varies"),
    ],
)
def test_what_left_its_baseline(usual: Baseline | None, took_ms: float, quality: Quality) -> None:
    fact = Measured(*PATH, Quality.OK, "connected", frozenset({Suspect(Part.HOST, "n2")}), took_ms)
    (judged,) = against_baseline([fact], {PATH: usual} if usual else {})
    assert judged.quality is quality
    if quality is Quality.SLOW:
        assert usual is not None
        assert f"{usual.median_ms:.1f} ms is the median of 5 nights" in judged.evidence


def test_a_failure_is_never_made_slow() -> None:
    fact = Measured(*PATH, Quality.FAIL, "refused", frozenset({Suspect(Part.HOST, "n2")}), 900.0)
    assert against_baseline([fact], {PATH: Baseline(1.0, 0.1, 5)}) == (fact,)
