"""The wire between poolkeeper and the probe program: what is sent is read as it was meant, whatever comes back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolkeeper.tasks.audit.planning.questions import Answer, Kind, Outcome, Question, RequestBatch
from poolkeeper.tasks.audit.remote import probe
from poolkeeper.tasks.audit.remote.protocol import batch_text, decoded, encoded, program, read_answers, read_batch

TWO = RequestBatch((Question(Kind.SETTINGS), Question(Kind.TCP, "10.0.0.1", 22)))
BEGIN, END = "\npoolkeeper-probe begin\n", "poolkeeper-probe end\n"
CUT = Answer(Outcome.UNKNOWN, reason="the probe program was cut off before it answered this")
OK = Answer(Outcome.OK, 1.5)

texts = st.text(max_size=40)
questions = st.builds(
    Question,
    kind=st.sampled_from(Kind),
    address=texts,
    port=st.integers(0, 65535),
    name=texts,
    transport=texts,
    record=texts,
    authority=texts,
    sizes=st.lists(st.integers(0, 65535), max_size=3).map(tuple),
    server_name=texts,
)


@given(st.lists(questions, max_size=4), st.dictionaries(texts, texts, max_size=2))
def test_the_program_reads_the_batch_that_was_sent(asked: list[Question], authorities: dict[str, str]) -> None:
    read = probe.RequestBatch(batch_text(RequestBatch(tuple(asked), authorities, 12.5, 2.5, 3, 0.5)))
    assert (read.deadline_s, read.timeout_s, read.parallel, read.jitter_s) == (12.5, 2.5, 3, 0.5)
    assert read.authorities == authorities
    assert [
        Question(
            Kind(q.kind), q.address, q.port, q.name, q.transport, q.record, q.authority, tuple(q.sizes), q.server_name
        )
        for q in read.questions
    ] == asked
    assert [q.number for q in read.questions] == list(range(len(asked)))


names = st.from_regex("[0-9a-z_][0-9a-z._-]{0,9}|/[!-~]{0,9}|", fullmatch=True)
plain_questions = st.builds(
    Question,
    kind=st.sampled_from(Kind),
    address=st.one_of(
        st.just(""), st.ip_addresses().map(str), st.from_regex("[a-z0-9.-]{1,9}", fullmatch=True).map("a".__add__)
    ),
    port=st.integers(0, 65535),
    name=names,
    transport=st.sampled_from(["", "udp", "tcp"]),
    record=st.sampled_from(["", "A", "AAAA"]),
    authority=st.sampled_from(["", "cluster", "my ca.pem"]),
    sizes=st.lists(st.integers(0, 65535), max_size=3).map(tuple),
    server_name=st.sampled_from(["", "other.lab", "10.0.0.1", "*.lab"]),
)


@given(st.lists(plain_questions, max_size=4), texts)
def test_a_worker_reads_the_batch_that_was_sent(asked: list[Question], pem: str) -> None:
    batch = RequestBatch(tuple(asked), {"cluster": pem, "my ca.pem": pem}, 12.5, 2.5, 3, 0.5)
    assert read_batch(batch_text(batch)) == batch


LIMITS = "limits\t15\t3\t8\t0"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "limits", id="nothing"),
        pytest.param("limits\t15\t3\t8", "limits", id="limits that are too few"),
        pytest.param("limits\tnan\t3\t8\t0", "exceed", id="a limit that is no number"),
        pytest.param("limits\t3600\t3\t8\t0", "exceed", id="an hour"),
        pytest.param("limits\t15\t3\t1000\t0", "exceed", id="a thousand at once"),
        pytest.param(f"{LIMITS}\nrun\trm", "`run rm` is not a question", id="another word"),
        pytest.param(f"{LIMITS}\nask\t0\tshell\t\t0\t\t\t\t\t\t", "shell", id="another kind of question"),
        pytest.param(f"{LIMITS}\nask\t1\ttcp\ta\t22\t\t\t\t\t\t", "not a question", id="out of order"),
        pytest.param(f"{LIMITS}\nask\t0\ttcp\ta\tssh\t\t\t\t\t\t", "not a question", id="a port by name"),
        pytest.param(f"{LIMITS}\nask\t0\ttcp\t-w\t22\t\t\t\t\t\t", "not a question", id="an option for an address"),
        pytest.param(
            f"{LIMITS}\nask\t0\tdns\ta\t53\t@8.8.8.8\t\t\t\t\t", "not a question", id="another server for a name"
        ),
        pytest.param(
            f"{LIMITS}\nask\t0\tdns\ta\t53\tx\tudp\tx/y/%0A1e id%0As/a\t\t\t", "not a question", id="a script"
        ),
        pytest.param(
            f"{LIMITS}\nask\t0\ttls\ta\t443\t\t\t\tgone\t\t", "no certificates of authority gone", id="a lost authority"
        ),
        pytest.param(f"{LIMITS}\nask\t0\tapi\ta\t443\t\t\t\t\t\t-k", "not a question", id="an option for a name"),
    ],
)
def test_a_malformed_batch_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_batch(text)


@given(
    st.text(), st.floats(0, 1e6), st.text(), st.dictionaries(st.from_regex("[a-z_]{1,9}", fullmatch=True), st.text())
)
def test_an_answer_is_read_as_the_program_meant_it(
    noise: str, took_s: float, reason: str, values: dict[str, str]
) -> None:
    line = probe.answer_line(1, "tls", took_s, reason, values)
    assert "\n" not in line
    answer = read_answers(f"{noise}{BEGIN}{line}\n{END}{noise}", TWO)[1]
    assert answer.outcome is Outcome.TLS
    assert answer.duration_ms == pytest.approx(took_s * 1000, abs=0.06)
    assert answer.reason.isprintable()
    assert set(answer.values) == set(values) if len(values) <= 32 else len(answer.values) == 32


@given(st.text())
def test_a_field_comes_back(text: str) -> None:
    field = encoded(text)
    assert not set("\t\n\r") & set(field)
    assert probe.decoded(field) == text
    assert decoded(field) == "".join(letter if letter.isprintable() else "?" for letter in text)


@given(st.text(), st.lists(st.lists(st.one_of(st.text(), st.sampled_from(["0", "1", "ok", "nan", "-1", "1e999"])))))
def test_hostile_output_gives_one_answer_for_each_question(noise: str, lines: list[list[str]]) -> None:
    body = "\n".join("\t".join(fields) for fields in lines)
    for text in (noise, f"{BEGIN}{body}", f"{noise}{BEGIN}{body}\n{END}", f"{BEGIN}{BEGIN}{body}{END}"):
        answers = read_answers(text, TWO)
        assert len(answers) == 2
        for answer in answers:
            assert answer.duration_ms is None or (math.isfinite(answer.duration_ms) and answer.duration_ms >= 0)
            assert answer.reason.isprintable()
            assert all(value.isprintable() for value in answer.values.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"{BEGIN}0\tok\t1.5\t\n1\tok\t1.5\t\n{END}", (OK, OK), id="in order"),
        pytest.param(f"{BEGIN}1\tok\t1.5\t\n0\tok\t1.5\t\n{END}", (OK, OK), id="in another order"),
        pytest.param(f"Welcome!{BEGIN}0\tok\t1.5\t\n1\tok\t1.5\t\n{END}logout\n", (OK, OK), id="noise around"),
        pytest.param(f"{BEGIN}0\tok\t1.5\t\n1\tok\t1", (OK, CUT), id="cut short"),
        pytest.param(f"{BEGIN}0\tok\t1.5\t\n1\tok\t1.5\t", (OK, CUT), id="cut before the line's end"),
        pytest.param(
            f"{BEGIN}0\tok\t1.5\t\n{END}",
            (OK, Answer(Outcome.UNKNOWN, reason="the probe program did not answer this")),
            id="one is missing",
        ),
        pytest.param(
            "sh: 1: printf: not found\n",
            2 * (Answer(Outcome.UNKNOWN, reason="the probe program did not start: last words"),),
            id="never begun",
        ),
        pytest.param(
            f"{BEGIN}0\tok\t1.5\t\n1\ttimeout\t\thttp://u:example-password@proxy hangs\n{END}",
            (OK, Answer(Outcome.TIMEOUT, None, {}, "http://u:[redacted]@proxy hangs")),
            id="a proxy's password",
        ),
        pytest.param(f"{BEGIN}0\tfine\t1\t\n0\tok\t1.5\t\n1\tok\t1.5\t\n{END}", (OK, OK), id="an outcome that is none"),
        pytest.param(
            f"{BEGIN}0\tdns\t\n1\ttimeout\tinf\tno%0Aanswer\tX=1\trcode=%25\tx\n{END}",
            (
                Answer(Outcome.UNKNOWN, reason="the probe program did not answer this"),
                Answer(Outcome.TIMEOUT, None, {"rcode": "%"}, "no?answer"),
            ),
            id="fields that are none",
        ),
    ],
)
def test_reading(text: str, expected: tuple[Answer, ...]) -> None:
    assert read_answers(text, TWO, stderr="last words") == expected


def test_the_program_is_ascii_and_quotes_what_it_is_given() -> None:
    evil = "'; touch /never; $(touch /never) `touch /never`\nEOF\n\\"
    text = program(RequestBatch((Question(Kind.STUB, name=evil),), {evil: evil}))
    assert "touch /never" in text
    assert "ask 0 stub '' 0 ''\"'\"'; touch /never" in text
    assert text.encode("utf-8")
