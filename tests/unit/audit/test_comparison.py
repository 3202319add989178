"""Night against night: new, still, flapping, gone; silence; what a path takes as a rule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest

from poolkeeper.tasks.audit.measurements import CandidateCause, Measurement, Part, Quality
from poolkeeper.tasks.audit.nights.comparison import (
    Baseline,
    Comparison,
    FindingStatus,
    PastFinding,
    PastRun,
    Seen,
    against_baseline,
    baselines,
    compare,
    first_night,
    silent,
    worth_reading,
)
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject

NOW = datetime(2026, 11, 24, 2, tzinfo=UTC)
LINE, HOST = Subject("line", "cloud -- fra1"), Subject("host", "n1")


def at(ago: float) -> datetime:
    """So many days ago."""
    return NOW - timedelta(days=ago)


def finding(subject: Subject) -> Finding:
    return Finding("audit.x", Severity.BLOCKER, subject, Evidence("broken", "whole", "probe", NOW), "Mend it.")


def compared(found: list[Subject], before: list[PastRun], known: str = "", looked_at: str = "line host") -> Comparison:
    """Tonight's comparison. known, looked_at: kinds of what was shown to work, and of what was asked about."""
    findings = [finding(subject) for subject in found]
    return compare(
        findings, lambda key: key[1].kind in known.split(), lambda key: key[1].kind in looked_at.split(), NOW, before
    )


def older(ago: int, *found: Subject, carried: Subject | None = None) -> PastRun:
    """A run that did not write down since when a finding is there, and what is fixed."""
    seen = {("audit.x", subject): Seen(f"{subject} was broken") for subject in found}
    unknown = {("audit.x", carried): Seen(f"{carried} was broken")} if carried else {}
    return PastRun(f"r{ago}", at(ago), frozenset(), found=seen, carried=unknown, tells_all=True)


def a_run(ago: float, since: float | None = None, nights: int = 0, fixed: bool = False) -> PastRun:
    """A run that found the line broken since so many days ago, or fixed, or tells nothing of it."""
    found = {} if since is None else {("audit.x", LINE): Seen("broken", at(since), nights)}
    return PastRun(f"r{ago}", at(ago), frozenset(), found=found, fixed=[("audit.x", LINE)] if fixed else ())


def carrying(ago: float, since: int, nights: int, last: int, severity: str = "") -> PastRun:
    """A run that could not tell whether the line is broken still."""
    seen = Seen("broken", at(since), nights, at(last), severity)
    return PastRun(f"r{ago}", at(ago), frozenset(), carried={("audit.x", LINE): seen})


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        pytest.param([], (FindingStatus.NEW, 0, 1), id="the first night there is"),
        pytest.param([a_run(1)], (FindingStatus.NEW, 0, 1), id="not there last night"),
        pytest.param([a_run(1, since=1, nights=1)], (FindingStatus.STILL, 1, 2), id="there last night"),
        pytest.param(
            [a_run(1, since=90, nights=88)], (FindingStatus.STILL, 90, 89), id="a quarter that one row tells of"
        ),
        pytest.param(
            [a_run(0.04, since=3, nights=4)], (FindingStatus.STILL, 3, 4), id="there an hour ago, which is tonight too"
        ),
        pytest.param(
            [a_run(1, fixed=True), a_run(2, since=9, nights=8)], (FindingStatus.NEW, 0, 1), id="come back after long"
        ),
        pytest.param(
            [a_run(1), a_run(2, since=9, nights=8)], (FindingStatus.STILL, 9, 9), id="a run elsewhere between"
        ),
        pytest.param(
            [carrying(1, 9, 8, last=2)], (FindingStatus.STILL, 9, 9), id="not measured since longer than runs are read"
        ),
        pytest.param(
            [carrying(1, 9, 8, last=2), a_run(1.1, fixed=True), a_run(2, since=9, nights=8)],
            (FindingStatus.NEW, 0, 1),
            id="fixed in a run that a second one at the same time did not know of",
        ),
        pytest.param(
            [a_run(1, since=1, nights=1), a_run(1.05, since=1.05, nights=1)],
            (FindingStatus.STILL, 1.05, 2),
            id="new in two runs at once",
        ),
        pytest.param(
            [a_run(1, fixed=True), a_run(2, since=2, nights=1), a_run(3, fixed=True)],
            (FindingStatus.FLAPPING, 0, 1),
            id="every other night",
        ),
        pytest.param(
            [a_run(1, since=1, nights=1), a_run(2, fixed=True), a_run(3, since=3, nights=1)],
            (FindingStatus.FLAPPING, 1, 2),
            id="on and off, on since yesterday",
        ),
        pytest.param(
            [a_run(1, since=1, nights=1), a_run(2, fixed=True), a_run(3, since=90, nights=88)],
            (FindingStatus.STILL, 1, 2),
            id="off once, long before a beginning that is remembered",
        ),
    ],
)
def test_the_status_of_a_finding(before: list[PastRun], changes: tuple[FindingStatus, float, int]) -> None:
    (one,) = compared([LINE], before).changes
    status, days_ago, nights = changes
    assert (one.status, one.since, one.nights) == (status, at(days_ago), nights)


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        pytest.param([older(1)], (FindingStatus.NEW, 0, 1), id="not there last night"),
        pytest.param([older(1, LINE)], (FindingStatus.STILL, 1, 2), id="there last night"),
        pytest.param([older(1, HOST)], (FindingStatus.NEW, 0, 1), id="another one's last night"),
        pytest.param([older(1, LINE), older(2, LINE), older(5)], (FindingStatus.STILL, 2, 3), id="since two nights"),
        pytest.param([older(1), older(2, LINE)], (FindingStatus.FLAPPING, 0, 1), id="come back after one night"),
        pytest.param([older(1), older(2, LINE), older(3)], (FindingStatus.FLAPPING, 0, 1), id="every other night"),
        pytest.param(
            [older(1, carried=LINE), older(2, LINE)], (FindingStatus.STILL, 2, 2), id="not measured last night"
        ),
        pytest.param([older(1, carried=LINE), older(2, carried=LINE)], (FindingStatus.NEW, 0, 1), id="never measured"),
        pytest.param(
            [a_run(1, since=3, nights=3), older(2, LINE)], (FindingStatus.STILL, 2, 3), id="the first new row"
        ),
    ],
)
def test_rows_of_older_versions_are_counted(before: list[PastRun], changes: tuple[FindingStatus, int, int]) -> None:
    (one,) = compared([LINE], before).changes
    status, days_ago, nights = changes
    assert (one.status, one.since, one.nights) == (status, at(days_ago), nights)


def as_it_was(ago: float, severity: str, since: float | None = 9) -> PastRun:
    """A run that found the line broken, and how bad that was."""
    seen = Seen("broken", None if since is None else at(since), 1 if since else 0, severity=severity)
    return PastRun(f"r{ago}", at(ago), frozenset(), found={("audit.x", LINE): seen})


@pytest.mark.parametrize(
    ("before", "was"),
    [
        pytest.param([], "", id="the first night there is"),
        pytest.param([as_it_was(1, "warning")], "warning", id="last night"),
        pytest.param([as_it_was(1, "blocker"), as_it_was(2, "warning")], "blocker", id="the last that has it counts"),
        pytest.param([a_run(1), as_it_was(2, "warning")], "warning", id="a run elsewhere between"),
        pytest.param([carrying(1, 9, 8, last=2), as_it_was(2, "info")], "info", id="not measured last night"),
        pytest.param([carrying(1, 9, 8, last=2, severity="info")], "info", id="not measured for longer than is read"),
        pytest.param([carrying(1, 9, 8, last=2)], "", id="the same, as older versions wrote it"),
        pytest.param([a_run(1, fixed=True), as_it_was(2, "blocker")], "", id="it was gone meanwhile"),
        pytest.param([older(1), as_it_was(2, "blocker", None)], "", id="gone, as older versions wrote it"),
    ],
)
def test_how_bad_a_finding_was_before(before: list[PastRun], was: str) -> None:
    (one,) = compared([LINE], before).changes
    assert one.was == was
    gone = {gone.subject: gone.severity for gone in compared([], before).gone}
    assert gone.get(LINE, "") == was, "the next run is told"


@pytest.mark.parametrize(
    ("known", "looked_at", "fixed", "not_measured", "elsewhere"),
    [
        pytest.param("line", "line host", 1, 0, 0, id="it was shown to work"),
        pytest.param("host", "line host", 0, 1, 0, id="it was not measured: nobody knows"),
        pytest.param("", "host", 0, 0, 1, id="a run over other hosts: no matter of its own"),
        pytest.param("line", "host", 1, 0, 0, id="a run over other hosts, which show that it works"),
    ],
)
@pytest.mark.parametrize(
    ("before", "of_it"),
    [
        pytest.param([a_run(1, since=9, nights=8)], (9, 8, 1), id="there last night"),
        pytest.param([carrying(1, 9, 7, last=2)], (9, 7, 2), id="not measured last night"),
        pytest.param([a_run(1), carrying(1.1, 9, 7, last=2)], (9, 7, 2), id="a run that knew nothing of it between"),
        pytest.param([older(1, LINE), older(2, LINE)], (2, 2, 1), id="as older versions wrote it"),
    ],
)
def test_what_is_there_no_more(
    before: list[PastRun],
    of_it: tuple[int, int, int],
    known: str,
    looked_at: str,
    fixed: int,
    not_measured: int,
    elsewhere: int,
) -> None:
    tonight = compared([], before, known, looked_at)
    assert (len(tonight.fixed), len(tonight.not_measured), len(tonight.elsewhere)) == (fixed, not_measured, elsewhere)
    (gone,) = (*tonight.gone, *tonight.elsewhere)
    since, nights, last = of_it
    assert (gone.id, gone.subject, gone.measured) == ("audit.x", LINE, bool(fixed))
    assert (gone.since, gone.nights, gone.last) == (at(since), nights, at(last))


@pytest.mark.parametrize(
    "before",
    [
        pytest.param([a_run(1, fixed=True), a_run(2, since=9, nights=8)], id="fixed last night"),
        pytest.param([a_run(1), a_run(2, fixed=True)], id="fixed before"),
        pytest.param([older(1), older(2, LINE)], id="as older versions wrote it"),
    ],
)
def test_what_is_fixed_is_reported_once(before: list[PastRun]) -> None:
    assert compared([], before, known="line") == Comparison((), ())


def test_older_rows_have_no_date_for_what_was_not_measured() -> None:
    (gone,) = compared([], [older(1, carried=LINE), older(2, carried=LINE)]).gone
    assert gone == PastFinding("audit.x", LINE, f"{LINE} was broken", False, last=at(2))


@pytest.mark.parametrize(
    ("agos", "first"),
    [
        pytest.param([], None, id="no night"),
        pytest.param(range(1, 30), None, id="not so many"),
        pytest.param(range(1, 40), 30, id="more of them"),
        pytest.param([ago + part for ago in range(1, 40) for part in (0, 0.01)], 30, id="several runs a night"),
        pytest.param([7 * ago for ago in range(1, 40)], 210, id="a run a week"),
    ],
)
def test_how_far_back_findings_are_looked_at(agos: Sequence[float], first: int | None) -> None:
    assert first_night([a_run(ago) for ago in agos]) == (date.min if first is None else at(first).date())


def asking(ago: float, hosts: str = "", mute: str = "") -> PastRun:
    """A run that measured the hosts but for the mute ones."""
    return PastRun(f"r{ago}", at(ago), frozenset(f"{hosts} {mute}".split()), frozenset(mute.split()))


@pytest.mark.parametrize(
    ("before", "nights"),
    [
        pytest.param([], {}, id="the first night of all"),
        pytest.param([asking(1, mute="n2"), asking(2, "n2")], {}, id="two nights"),
        pytest.param([asking(1, mute="n2"), asking(2, mute="n2"), asking(3, "n2")], {"n2": 3}, id="three nights"),
        pytest.param([asking(1, mute="n2"), asking(2, mute="n2")], {"n2": 3}, id="never since there are nights"),
        pytest.param([asking(n, "n1") for n in range(1, 30)], {}, id="a host that is new"),
        pytest.param(
            [asking(1, mute="n2"), asking(2, "n1"), asking(3, mute="n2")], {"n2": 3}, id="a night without it between"
        ),
        pytest.param([asking(n, "n1", mute="n2") for n in range(1, 90)], {"n2": 90}, id="a quarter"),
        pytest.param([asking(n / 100, mute="n2") for n in range(1, 8)], {}, id="one night, again and again"),
        pytest.param(
            [asking(1, mute="n2"), asking(1.01, "n2"), asking(2, mute="n2"), asking(3, mute="n2")],
            {},
            id="last night it was measured, and then not",
        ),
    ],
)
def test_silence_is_reported_after_three_nights(before: list[PastRun], nights: dict[str, int]) -> None:
    assert silent(["n1", "n2"], {"n1"}, NOW, before, 3) == nights


@pytest.mark.parametrize(
    ("before", "chosen"),
    [
        pytest.param([], [], id="no night"),
        pytest.param([asking(n, "n1 n2") for n in range(1, 9)], ["r1", "r2", "r3"], id="as many nights as are wanted"),
        pytest.param([asking(1, "n1 n2"), asking(9, "n1 n2")], ["r1", "r9"], id="so many there are not"),
        pytest.param(
            [*(asking(n / 100, "n1") for n in range(1, 9)), *(asking(n, "n1 n2") for n in range(1, 9))],
            ["r0.01", "r1", "r2", "r3"],
            id="one host several times in a night",
        ),
        pytest.param(
            [asking(1, "n2"), asking(1.02, "n1 n2"), asking(2, "n1 n2"), asking(3, "n1 n2")],
            ["r1.02", "r2", "r3"],
            id="of one night the run that asked most",
        ),
        pytest.param(
            [asking(n + part, hosts) for n in range(1, 9) for part, hosts in ((0, "n1"), (0.01, "n2"))],
            ["r1 r1.01", "r2 r2.01", "r3 r3.01"],
            id="a run for each site",
        ),
        pytest.param([asking(1, "m1"), asking(2, "n1 m1")], ["r2"], id="others are no matter"),
    ],
)
def test_which_runs_a_baseline_is_made_of(before: list[PastRun], chosen: list[str]) -> None:
    assert [" ".join(night) for night in worth_reading(before, ["n1", "n2"], 3)] == chosen


PATH = ("connect.host", "n1", "n2")


@pytest.mark.parametrize(
    ("seen", "usual"),
    [
        pytest.param([], {}, id="no night"),
        pytest.param([1.0] * 4, {}, id="too few nights"),
        pytest.param([1.0] * 4 + [9.0], {PATH: Baseline(1.0, 0.0, 5)}, id="one bad night moves nothing"),
        pytest.param([1.0] * 7 + [90.0] * 9, {PATH: Baseline(1.0, 0.0, 7)}, id="the newest nights count"),
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
    fact = Measurement(*PATH, Quality.OK, "connected", frozenset({CandidateCause(Part.HOST, "n2")}), took_ms)
    (judged,) = against_baseline([fact], {PATH: usual} if usual else {})
    assert judged.quality is quality
    if quality is Quality.SLOW:
        assert usual is not None
        assert f"the median of 5 nights is {usual.median_ms:.1f} ms" in judged.evidence


def test_a_failure_is_never_made_slow() -> None:
    fact = Measurement(*PATH, Quality.FAIL, "refused", frozenset({CandidateCause(Part.HOST, "n2")}), 900.0)
    assert against_baseline([fact], {PATH: Baseline(1.0, 0.1, 5)}) == (fact,)
