"""What an answer is worth: one row an answer, the whole fact that comes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolkeeper.tasks.audit.causes.candidates import Server, Stage, candidates_of_target
from poolkeeper.tasks.audit.judging.verdicts import Agreed, agree, judge
from poolkeeper.tasks.audit.measurements import CandidateCause, FailureMode, Part, Quality
from poolkeeper.tasks.audit.planning.plan import CLOCK, NEGATIVE_TTL, Expected, PlannedQuestion
from poolkeeper.tasks.audit.planning.questions import Answer, Kind, Outcome, Question
from tests.unit.onboard.builders import a_host

NOW = datetime(2026, 11, 24, 2, tzinfo=UTC)
SUSPECT = frozenset({CandidateCause(Part.TARGET, "db", FailureMode.CUT)})
OK, SLOW, FAIL, UNKNOWN = Quality.OK, Quality.SLOW, Quality.FAIL, Quality.UNKNOWN


def asked(kind: Kind, name: str = "", expected: Expected = Expected(), address: str = "10.1.0.2") -> PlannedQuestion:  # noqa: B008 - frozen
    stages = dict.fromkeys((*Stage, CLOCK) if kind is Kind.API else ("", NEGATIVE_TTL), SUSPECT)
    return PlannedQuestion(Question(kind, address, 53, name), "x", "db", stages, expected)


def facts(one: PlannedQuestion, answer: Answer, agreed: Agreed | None = None) -> list[tuple[Any, ...]]:
    judged = judge("n1", [one], [answer], agreed or {}, NOW)
    assert all(fact.candidates == SUSPECT and fact.source == "n1" and fact.target == "db" for fact in judged)
    return [(fact.check, fact.quality, fact.symptom, fact.evidence) for fact in judged]


def answered(took_ms: float = 3.0, **values: str) -> Answer:
    return Answer(Outcome.OK, took_ms, values)


@pytest.mark.parametrize(
    ("kind", "expected", "answer", "fact"),
    [
        pytest.param(Kind.TCP, Expected(), answered(), (OK, "", "connected"), id="a connect"),
        pytest.param(Kind.TCP, Expected(), answered(501), (SLOW, "slow", "connected, after 501 ms"), id="a slow one"),
        pytest.param(
            Kind.TCP, Expected(), Answer(Outcome.TIMEOUT, 3000), (FAIL, "timeout", "timeout"), id="nobody answers"
        ),
        pytest.param(
            Kind.TCP,
            Expected(),
            Answer(Outcome.REFUSED, 1, reason="Connection refused"),
            (FAIL, "refused", "refused: Connection refused"),
            id="nobody listens",
        ),
        pytest.param(
            Kind.TCP,
            Expected(),
            Answer(Outcome.UNKNOWN, reason="no time was left"),
            (UNKNOWN, "", "no time was left"),
            id="it was not asked",
        ),
        pytest.param(
            Kind.TCP,
            Expected(),
            Answer(Outcome.NO_NAME, 1, reason="Name or service not known"),
            (FAIL, "no-name", "the name cannot be resolved: Name or service not known"),
            id="its name is not known",
        ),
        pytest.param(Kind.HTTP, Expected(), answered(status="302"), (OK, "", "status 302"), id="a page"),
        pytest.param(
            Kind.HTTP,
            Expected(),
            answered(status="503"),
            (FAIL, "bad-status", "answers with status 503"),
            id="a bad page",
        ),
        pytest.param(
            Kind.TLS,
            Expected(expires_in_s=86400.0),
            answered(not_after="2026-11-25T02:00:01+00:00", verified="yes"),
            (OK, "", "connected"),
            id="a certificate for one more day",
        ),
        pytest.param(
            Kind.TLS,
            Expected(expires_in_s=86400.0),
            answered(not_after="2026-11-25T01:59:59+00:00", verified="yes"),
            (FAIL, "expires-soon", "the certificate expires on 2026-11-25 01:59 UTC"),
            id="a certificate that ends within the day",
        ),
        pytest.param(
            Kind.TLS,
            Expected(expires_in_s=86400.0),
            Answer(Outcome.TLS, 3, {"not_after": "2026-11-20T00:00:00+00:00", "verified": "certificate has expired"}),
            (FAIL, "expired", "the certificate expired on 2026-11-20 00:00 UTC"),
            id="a certificate that has ended",
        ),
        pytest.param(
            Kind.TLS,
            Expected(),
            Answer(Outcome.TLS, 3, {"issuer": "CN=proxy", "verified": "self-signed certificate"}),
            (FAIL, "untrusted", "the certificate does not verify: self-signed certificate (issued by CN=proxy)"),
            id="a certificate of someone else's",
        ),
        pytest.param(
            Kind.TLS,
            Expected(),
            Answer(Outcome.TLS, 3, reason="it breaks the connection off"),
            (
                FAIL,
                "no-handshake",
                "the server accepts the connection, but the TLS handshake fails: it breaks the connection off",
            ),
            id="a load balancer with nobody behind it",
        ),
        pytest.param(
            Kind.MTU,
            Expected(path_mtu=1500),
            answered(largest="1500"),
            (OK, "", "packets of 1500 bytes pass unfragmented"),
            id="all",
        ),
        pytest.param(
            Kind.MTU,
            Expected(path_mtu=1500),
            answered(largest="1450"),
            (
                FAIL,
                "too-big",
                "packets of 1450 bytes pass, of 1500 do not; the network drops them without an ICMP error",
            ),
            id="big packets vanish",
        ),
        pytest.param(
            Kind.MTU,
            Expected(path_mtu=1500),
            answered(largest="576", reported="1400"),
            (FAIL, "too-big", "packets of 576 bytes pass, of 1500 do not; the network reports an MTU of 1400"),
            id="big packets are turned back",
        ),
        pytest.param(
            Kind.MTU,
            Expected(path_mtu=1500),
            Answer(Outcome.TIMEOUT, 3000),
            (UNKNOWN, "", "no echo reply arrived, small or big: ICMP may be filtered"),
            id="no echo at all",
        ),
        pytest.param(
            Kind.SETTINGS,
            Expected(),
            answered(servers="10.1.0.2", search="a.lab,b.lab", ndots="5"),
            (OK, "", "10.1.0.2; search a.lab b.lab; ndots:5"),
            id="two questions too many",
        ),
        pytest.param(
            Kind.SETTINGS,
            Expected(),
            answered(servers="10.1.0.2", search="a,b,c", ndots="5"),
            (FAIL, "wrong-answer", "ndots:5 and search a b c: example.com costs 3 extra lookups"),
            id="three questions too many",
        ),
        pytest.param(
            Kind.SETTINGS,
            Expected(),
            answered(servers="10.1.0.2", search="a,b,c", ndots="1"),
            (OK, "", "10.1.0.2; search a b c; ndots:1"),
            id="a long list that names with dots do not meet",
        ),
        *(
            pytest.param(
                Kind.SETTINGS,
                Expected(),
                answered(servers="s", search="a,b,c", ndots=nonsense),
                (OK, "", "s; search a b c; ndots:1"),
                id=f"ndots:{nonsense}",
            )
            for nonsense in ("inf", "nan", "", "many")
        ),
        pytest.param(
            Kind.SETTINGS,
            Expected(),
            Answer(Outcome.GARBLED, 1),
            (UNKNOWN, "", "resolv.conf cannot be read: garbled"),
            id="no settings",
        ),
        pytest.param(
            Kind.TLS,
            Expected(expires_in_s=86400.0),
            answered(not_after="2026-11-24T02:00:00"),
            (OK, "", "connected"),
            id="a time without a zone is none",
        ),
        pytest.param(
            Kind.METRICS,
            Expected(),
            answered(hits="9", misses="1"),
            (OK, "", "hits=9 misses=1 forwards=? errors=?"),
            id="hits",
        ),
        pytest.param(
            Kind.METRICS,
            Expected(),
            Answer(Outcome.REFUSED, 1),
            (UNKNOWN, "", "the metrics cannot be read: refused"),
            id="no metrics say nothing of the cache",
        ),
    ],
)
def test_an_answer_is_one_fact(kind: Kind, expected: Expected, answer: Answer, fact: tuple[Any, ...]) -> None:
    assert facts(asked(kind, expected=expected), answer) == [("x", *fact)]


NAME = "db.example.com"
A, B = "10.1.9.20", "10.1.9.21"


@pytest.mark.parametrize(
    ("expected", "answer", "agreed", "fact"),
    [
        pytest.param(Expected(), answered(addresses=A, rcode="NOERROR"), {}, (OK, "", A), id="an address"),
        pytest.param(Expected(), answered(rcode="NXDOMAIN"), {}, (FAIL, "nxdomain", "no such name"), id="no such name"),
        pytest.param(
            Expected(), answered(rcode="NOERROR"), {}, (FAIL, "nxdomain", "no address"), id="a name without any"
        ),
        pytest.param(
            Expected(), answered(rcode="SERVFAIL"), {}, (FAIL, "servfail", "answers SERVFAIL"), id="a failure"
        ),
        pytest.param(
            Expected(), Answer(Outcome.TIMEOUT, 3000), {}, (FAIL, "timeout", "timeout"), id="a server that is silent"
        ),
        pytest.param(
            Expected(addresses=(A, B)), answered(addresses=f"{A},{B}"), {}, (OK, "", f"{A},{B}"), id="as declared"
        ),
        pytest.param(
            Expected(addresses=(A,)),
            answered(addresses=B),
            {},
            (FAIL, "wrong-answer", f"answers {B}; the fleet file declares {A}"),
            id="not as declared",
        ),
        pytest.param(
            Expected(compared=True),
            answered(addresses=A),
            {("", NAME): A},
            (OK, "", A),
            id="what the others answer, too",
        ),
        pytest.param(
            Expected(compared=True),
            answered(addresses=B),
            {("", NAME): A},
            (FAIL, "wrong-answer", f"answers {B}; most servers answer {A}"),
            id="another answer than the others'",
        ),
        pytest.param(
            Expected(compared=True),
            answered(addresses=B),
            {("", NAME): None},
            (FAIL, "wrong-answer", f"answers {B}; the servers have no majority answer"),
            id="no two answer alike",
        ),
        pytest.param(
            Expected(absent=True),
            answered(rcode="NXDOMAIN"),
            {},
            (OK, "", "no such name, as expected"),
            id="a name that must not be",
        ),
        pytest.param(
            Expected(absent=True),
            answered(addresses=A),
            {},
            (FAIL, "wrong-answer", f"answers {A} for a name that does not exist"),
            id="an answer for every name",
        ),
    ],
)
@pytest.mark.parametrize("kind", [Kind.DNS, Kind.STUB])
def test_a_name(kind: Kind, expected: Expected, answer: Answer, agreed: Agreed, fact: tuple[Any, ...]) -> None:
    assert facts(asked(kind, NAME, expected), answer, agreed) == [("x", *fact)]


CACHE, RESOLVER, LINE = (
    CandidateCause(Part.CACHE, "n1"), CandidateCause(Part.RESOLVER, "10.1.0.2"), CandidateCause(Part.LINE, "cloud -- fra1"),
)  # fmt: skip
WRONG = CandidateCause(Part.RESOLVER, "10.1.0.2", FailureMode.WRONG)


@pytest.mark.parametrize(
    ("answer", "candidates", "possible", "cleared"),
    [
        pytest.param(answered(addresses=A, rcode="NOERROR"), {CACHE}, {CACHE}, set(), id="from memory, perhaps"),
        pytest.param(
            answered(rcode="NXDOMAIN"),
            {CACHE, RESOLVER, WRONG, LINE},
            {WRONG},
            {CACHE},
            id="a wrong answer from memory shows that the cache runs, and nothing of what is behind it",
        ),
        pytest.param(
            Answer(Outcome.TIMEOUT, 3000),
            {CACHE, RESOLVER, WRONG, LINE},
            {CACHE, RESOLVER, WRONG, LINE},
            set(),
            id="no answer",
        ),
    ],
)
def test_what_a_cache_hides_is_not_cleared(
    answer: Answer, candidates: set[CandidateCause], possible: set[CandidateCause], cleared: set[CandidateCause]
) -> None:
    behind = frozenset({CACHE, RESOLVER, WRONG, LINE})
    one = PlannedQuestion(
        Question(Kind.DNS, "", 53, NAME), "dns.cache", "db", {"": frozenset({CACHE})}, Expected(), behind
    )
    (fact,) = judge("n1", [one], [answer], {}, NOW)
    assert (fact.candidates, fact.possible, fact.cleared) == (candidates, possible, cleared)


@pytest.mark.parametrize(
    ("expected", "answer", "fact"),
    [
        pytest.param(
            Expected(absent=True),
            Answer(Outcome.NO_NAME, 1, {"certain": "no"}, "getent finds none"),
            (UNKNOWN, "", "getent finds none"),
            id="none, or nobody answered",
        ),
        pytest.param(
            Expected(),
            Answer(Outcome.NO_NAME, 1, {"certain": "no"}, "getent finds none"),
            (FAIL, "no-name", "no-name: getent finds none"),
            id="either way it should be there",
        ),
        pytest.param(
            Expected(absent=True),
            Answer(Outcome.NO_NAME, 1, reason="Temporary failure in name resolution"),
            (FAIL, "no-name", "no-name: Temporary failure in name resolution"),
            id="nobody answered",
        ),
        pytest.param(Expected(absent=True), answered(addresses=""), (OK, "", "no such name, as expected"), id="none"),
    ],
)
def test_a_lookup_that_finds_none(expected: Expected, answer: Answer, fact: tuple[Any, ...]) -> None:
    assert facts(asked(Kind.STUB, NAME, expected), answer) == [("x", *fact)]


CUT_OFF = "the answer does not fit into a datagram"


@pytest.mark.parametrize(
    ("transport", "expected", "values", "fact"),
    [
        pytest.param("udp", Expected(), {}, (OK, "", CUT_OFF), id="no address fits"),
        pytest.param("udp", Expected(compared=True), {"addresses": B}, (OK, "", CUT_OFF), id="some of them fit"),
        pytest.param(
            "udp", Expected(addresses=(A, B)), {"addresses": B}, (OK, "", CUT_OFF), id="some of those declared"
        ),
        pytest.param("udp", Expected(), {"rcode": "SERVFAIL"}, (FAIL, "servfail", "answers SERVFAIL"), id="a failure"),
        pytest.param("udp", Expected(), {"rcode": "NXDOMAIN"}, (FAIL, "nxdomain", "no such name"), id="no such name"),
        pytest.param("tcp", Expected(), {}, (FAIL, "nxdomain", "no address"), id="a stream has room for all"),
    ],
)
def test_an_answer_that_is_cut_off(
    transport: str, expected: Expected, values: dict[str, str], fact: tuple[Any, ...]
) -> None:
    one = asked(Kind.DNS, NAME, expected)
    one = replace(one, question=replace(one.question, transport=transport))
    answer = answered(**{"rcode": "NOERROR", "truncated": "yes", "addresses": "", **values})
    assert facts(one, answer, {("", NAME): A}) == [("x", *fact)]


@pytest.mark.parametrize(
    ("at_most_s", "ttl_s", "quality"),
    [(600, "600", OK), (600, "601", FAIL), (600, "", None), (600, "nonsense", None), (0, "86400", None)],
)
def test_that_there_is_no_such_name_should_not_be_remembered_long(
    at_most_s: float, ttl_s: str, quality: Quality | None
) -> None:
    expected = Expected(absent=True, negative_ttl_s=at_most_s)
    told = facts(asked(Kind.DNS, NAME, expected), answered(rcode="NXDOMAIN", authoritative_ttl_s=ttl_s))
    assert [(check, how) for check, how, *_ in told[1:]] == ([("settings.negative-ttl", quality)] if quality else [])


WHOLE = {
    "name_ms": "0.2", "connect_ms": "1.0", "tls_ms": "4.0", "http_ms": "2.0", "status": "200", "clock_offset_s": "0.4",
}  # fmt: skip
GREEN = [("name.api", OK), ("connect.api", OK), ("tls.api", OK), ("ready.api", OK), ("clock.api", OK)]


@pytest.mark.parametrize(
    ("answer", "differs"),
    [
        pytest.param(answered(**WHOLE), {}, id="all is well"),
        pytest.param(answered(**{**WHOLE, "status": "401"}), {}, id="who may not ask has been answered"),
        pytest.param(answered(**{**WHOLE, "status": "500"}), {"ready.api": FAIL}, id="it is not ready"),
        pytest.param(answered(**{**WHOLE, "clock_offset_s": "-5.1"}), {"clock.api": FAIL}, id="a clock behind"),
        pytest.param(answered(**{**WHOLE, "clock_offset_s": "5.0"}), {}, id="a clock ahead, within what is borne"),
        pytest.param(answered(**{**WHOLE, "clock_offset_s": ""}), {"clock.api": UNKNOWN}, id="no clock"),
        pytest.param(
            Answer(Outcome.NO_NAME, 1, {"stage": "name"}),
            {"name.api": FAIL, "connect.api": UNKNOWN, "tls.api": UNKNOWN, "ready.api": UNKNOWN, "clock.api": UNKNOWN},
            id="its name is not known",
        ),
        pytest.param(
            Answer(Outcome.TIMEOUT, 3000, {"stage": "connect"}),
            {"connect.api": FAIL, "tls.api": UNKNOWN, "ready.api": UNKNOWN, "clock.api": UNKNOWN},
            id="it takes no connections",
        ),
        pytest.param(
            Answer(Outcome.TLS, 5, {"stage": "tls", "verified": "self-signed certificate", "issuer": "CN=proxy"}),
            {"tls.api": FAIL, "ready.api": UNKNOWN, "clock.api": UNKNOWN},
            id="another authority's certificate",
        ),
        pytest.param(
            Answer(Outcome.TLS, 5, {"stage": "tls"}, "it ends the connection within the handshake"),
            {"tls.api": FAIL, "ready.api": UNKNOWN, "clock.api": UNKNOWN},
            id="no handshake",
        ),
        pytest.param(
            Answer(Outcome.TIMEOUT, 3000, {"stage": "http"}),
            {"ready.api": FAIL, "clock.api": UNKNOWN},
            id="no answer to the request",
        ),
        pytest.param(
            Answer(Outcome.UNKNOWN, reason="no time"),
            {check: UNKNOWN for check, _ in GREEN},
            id="it was not asked",
        ),
        pytest.param(
            Answer(Outcome.TIMEOUT, 9, {"stage": "foo", "status": "200"}),
            {check: UNKNOWN for check, _ in GREEN},
            id="a stage that there is not",
        ),
        pytest.param(
            Answer(Outcome.TIMEOUT, 9), {check: UNKNOWN for check, _ in GREEN}, id="it does not say how far it came"
        ),
        pytest.param(answered(**{**WHOLE, "clock_offset_s": "nan"}), {"clock.api": UNKNOWN}, id="a clock of nonsense"),
    ],
)
def test_the_api_endpoint_stage_by_stage(answer: Answer, differs: dict[str, Quality]) -> None:
    told = {check: quality for check, quality, _, _ in facts(asked(Kind.API), answer)}
    assert told == dict(GREEN) | differs


TLS_ENDS = {
    "untrusted": {"verified": "self-signed certificate", "issuer": "CN=proxy"},
    "expired": {"verified": "certificate has expired", "not_after": "2026-11-20T00:00:00+00:00"},
    "no-handshake": {},
}


@pytest.mark.parametrize("symptom", TLS_ENDS)
def test_targets_and_the_api_endpoint_report_tls_failures_alike(symptom: str) -> None:
    values = TLS_ENDS[symptom]
    (target,) = facts(asked(Kind.TLS), Answer(Outcome.TLS, 5, values))
    api = facts(asked(Kind.API), Answer(Outcome.TLS, 5, {"stage": "tls", **values}))
    assert target[1:] == next(fact for fact in api if fact[0] == "tls.api")[1:]
    assert target[2] == symptom


def test_who_takes_a_connection_is_reached() -> None:
    """Without a handshake it is not the line that is cut, but it may be who took the connection in the target's place."""
    target = Server("db:443", "fra1")
    one = replace(
        asked(Kind.TLS), candidates={"": candidates_of_target(a_host("n1", domain="rack1"), target, answers=True)}
    )
    (fact,) = judge("n1", [one], [Answer(Outcome.TLS, 5, reason="it breaks the connection off")], {}, NOW)
    assert {(s.part, s.mode) for s in fact.possible} == {
        (Part.TARGET, FailureMode.CUT), (Part.TARGET, FailureMode.WRONG), (Part.SITE_TARGET, FailureMode.CUT), (Part.SITE_TARGET, FailureMode.WRONG),
        (Part.PATH, FailureMode.WRONG), (Part.HOST, FailureMode.WRONG), (Part.SITE, FailureMode.WRONG),
    }  # fmt: skip


def dns(
    address: str,
    answer: Answer,
    name: str = NAME,
    expected: Expected = Expected(compared=True),  # noqa: B008 - frozen
    transport: str = "",
) -> tuple[PlannedQuestion, Answer]:
    one = asked(Kind.DNS, name, expected, address)
    return replace(one, question=replace(one.question, transport=transport)), answer


@pytest.mark.parametrize(
    ("said", "agreed"),
    [
        pytest.param([], {}, id="nobody asked"),
        pytest.param([dns("s1", answered(addresses=A, rcode="NOERROR"))], {("", NAME): A}, id="one server"),
        pytest.param(
            [dns("s1", answered(addresses=A, rcode="NOERROR")), dns("s2", answered(addresses=B, rcode="NOERROR"))],
            {("", NAME): None},
            id="one word against another",
        ),
        pytest.param(
            [
                *[dns("s1", answered(addresses=B, rcode="NOERROR"))] * 50,
                dns("s2", answered(addresses=A, rcode="NOERROR")),
                dns("s3", answered(addresses=A, rcode="NOERROR")),
            ],
            {("", NAME): A},
            id="each server has one vote, however many ask it",
        ),
        pytest.param(
            [dns("s1", answered(addresses=A, rcode="NOERROR")), dns("s2", answered(rcode="NXDOMAIN"))],
            {("", NAME): A},
            id="who does not know the name says nothing of its address",
        ),
        pytest.param(
            [
                dns("s1", answered(addresses=A, rcode="NOERROR")),
                *[
                    dns(s, answered(addresses=B, rcode="NOERROR", truncated="yes"), transport="udp")
                    for s in ("s2", "s3")
                ],
            ],
            {("", NAME): A},
            id="who has room for a part of it says nothing",
        ),
        pytest.param(
            [dns("s1", answered(addresses=A, rcode="NOERROR"), expected=Expected())], {}, id="a name that may differ"
        ),
    ],
)
def test_what_most_servers_say(said: list[tuple[PlannedQuestion, Answer]], agreed: Agreed) -> None:
    assert agree(said) == agreed
    assert agree(reversed(said)) == agreed


def test_an_answer_that_makes_no_sense_is_its_own_unknown() -> None:
    """Whatever is in one: the others of that host, and of every other one, are judged."""
    strange = Answer(Outcome.OK, 3.0, None)  # type: ignore[arg-type]
    questions = [asked(Kind.TCP), asked(Kind.DNS, "a.example"), asked(Kind.API), asked(Kind.SETTINGS), asked(Kind.TCP)]
    judged = judge("n1", questions, [answered(), strange, strange, strange, answered()], {}, NOW)
    assert [fact.quality for fact in judged] == [OK, UNKNOWN, UNKNOWN, UNKNOWN, OK]
    assert judged[1].evidence.startswith("the answer is malformed (AttributeError: ")


TOLD = st.dictionaries(
    st.sampled_from(
        [
            "stage",
            "status",
            "clock_offset_s",
            "rcode",
            "addresses",
            "truncated",
            "authoritative_ttl_s",
            "ndots",
            "search",
            "largest",
            "told",
            "not_after",
            "verified",
            "issuer",
            "servers",
            "certain",
            "name_ms",
            "connect_ms",
        ]
    ),
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(
            [
                "",
                "-1",
                "nan",
                "inf",
                "1e400",
                "9" * 5000,
                "0001-01-01T00:00:00+23:59",
                "9999-12-31T23:59:59-23:59",
                "no",
                "connect",
            ]
        ),
    ),
)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(list(Kind)),
    st.builds(Answer, st.sampled_from(list(Outcome)), st.none() | st.floats(0, 1e9), TOLD, st.text(max_size=20)),
    st.sampled_from(
        [
            Expected(),
            Expected(("10.1.0.9",)),
            Expected(absent=True, negative_ttl_s=30),
            Expected(compared=True, path_mtu=1500),
        ]
    ),
)
def test_no_answer_is_stumbled_over(kind: Kind, answer: Answer, expected: Expected) -> None:
    """Not even where the guard around it would hold it."""
    one = asked(kind, "a.example", expected)
    judged = judge("n1", [one], [answer], agree([(one, answer)]), NOW)
    assert judged
    assert not any(fact.evidence.startswith("the answer is malformed") for fact in judged)
