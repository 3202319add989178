"""A request batch sent to a host: the program to send, and a pure parser of the answers that come back."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Sequence
from importlib.resources import files

from poolkeeper.tasks.audit.planning.questions import Answer, Kind, Outcome, Question, RequestBatch
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.sessions import Sessions
from poolkeeper.tasks.outcomes import redact

PROBE = files("poolkeeper.tasks.audit.remote").joinpath("probe.py").read_text(encoding="ascii")
SHELL = files("poolkeeper.tasks.audit.remote").joinpath("probe.sh").read_text(encoding="ascii")
BEGIN, END = "poolkeeper-probe begin", "poolkeeper-probe end"

STARTING_S = 15.0
"""Beyond jitter and deadline: a busy host needs it to start Python, and to end the last step in shell."""

_MOST = (60.0, 10.0, 32, 60.0)
"""Limits of a batch that a worker receives: deadline and timeout in seconds, questions at once, jitter in seconds."""
_FIELDS = (
    "|".join(Kind),
    "([0-9A-Za-z:][0-9A-Za-z._:-]*)?",
    "[0-9]{1,5}",
    "([0-9A-Za-z_][0-9A-Za-z._-]*|/[!-~]*)?",
    "(udp|tcp)?",
    "(A|AAAA)?",
    "[^\\0]*",
    "([0-9]{1,5}(,[0-9]{1,5})*)?",
    "([0-9A-Za-z*][0-9A-Za-z._:*-]*)?",
)
"""Patterns of a question's fields in a batch that a worker receives: no field may look like a program's option."""
_LONGEST_FIELD = 4096
_MOST_VALUES = 32
_CODES = {"%": "%25", "\t": "%09", "\n": "%0A", "\r": "%0D"}
_LETTERS = {code: letter for letter, code in _CODES.items()}


async def ask_host(sessions: Sessions, host: Host, batch: RequestBatch) -> tuple[Answer, ...]:
    """A host's answers, one for each question, in order. One round trip, as root where the host has sudo.

    Takes at most the batch's jitter, its deadline and 15 s. Raises HostError.
    """
    stdout, stderr = await run_probe(sessions, host, batch)
    return read_answers(stdout, batch, stderr=stderr)


async def run_probe(sessions: Sessions, host: Host, batch: RequestBatch) -> tuple[str, str]:
    """Run the probe program: its stdout and stderr, for `read_answers`. Limits and errors are those of `ask_host`."""
    result = await sessions.run(host, program(batch), timeout_s=batch.jitter_s + batch.deadline_s + STARTING_S)
    return result.stdout, result.stderr


def program(batch: RequestBatch) -> str:
    """The POSIX shell program that a host runs. Pure.

    It passes the Python program through `printf`, a builtin of every usual shell: the program is in no argv, and no
    shell writes a file for it, as some do for here-documents.
    """
    asked = "\n".join(
        f"ask {' '.join(map(shlex.quote, _fields(number, question)))}"
        for number, question in enumerate(batch.questions)
    )
    cases = "\n".join(
        f"{shlex.quote(name)}) printf '%s' {shlex.quote(pem)};;" for name, pem in batch.authorities.items()
    )
    return "\n".join(
        (
            f"PROBE={shlex.quote(python_program(batch))}",
            f"DEADLINE_S={math.ceil(batch.deadline_s)} TIMEOUT_S={math.ceil(batch.timeout_s)}",
            f"JITTER_S={math.ceil(batch.jitter_s)}",
            f'authority() {{ case $1 in\n{cases}\n"") ;;\nesac; }}',
            f"questions() {{ :\n{asked}\n}}",
            SHELL,
        )
    )


def python_program(batch: RequestBatch) -> str:
    """The Python program that a host runs; at its end it ends its process. Pure."""
    return f"{PROBE}\nmain({batch_text(batch)!a})\n"


def batch_text(batch: RequestBatch) -> str:
    """The batch in the form that the probe program reads. Pure."""
    limits = ("limits", batch.deadline_s, batch.timeout_s, batch.parallel, batch.jitter_s)
    authorities = (("authority", name, pem) for name, pem in batch.authorities.items())
    questions = (("ask", *_fields(number, question)) for number, question in enumerate(batch.questions))
    return "\n".join(_line(fields) for fields in (limits, *authorities, *questions))


def read_batch(text: str) -> RequestBatch:
    """A batch from its text. Pure. Raises ValueError for a text that `batch_text` never writes, and beyond limits."""
    lines = [[_letters(field) for field in line.split("\t")] for line in text.split("\n")]
    (word, *limits), *rest = lines
    if word != "limits" or len(limits) != len(_MOST):
        raise ValueError("its first line is not `limits`")
    numbers = [float(limit) for limit in limits]
    if not all(0 <= number <= most for number, most in zip(numbers, _MOST, strict=True)):
        raise ValueError(f"its limits {' '.join(limits)} exceed {' '.join(map(str, _MOST))}")
    deadline_s, timeout_s, parallel, jitter_s = numbers
    authorities, questions = dict[str, str](), list[Question]()
    for row in rest:
        match row:
            case ["authority", name, pem]:
                authorities[name] = pem
            case ["ask", number, *fields] if number == str(len(questions)) and _is_question(fields):
                kind, address, port, name, transport, record, authority, sizes, server = fields
                of_packets = tuple(int(size) for size in sizes.split(",") if size)
                questions.append(
                    Question(Kind(kind), address, int(port), name, transport, record, authority, of_packets, server)
                )
            case _:
                raise ValueError(f"line `{' '.join(row)[:80]}` is not a question")
    if unknown := {question.authority for question in questions} - {"", *authorities}:
        raise ValueError(f"it has no certificates of authority {', '.join(sorted(unknown))}")
    return RequestBatch(tuple(questions), authorities, deadline_s, timeout_s, int(parallel), jitter_s)


def _is_question(fields: Sequence[str]) -> bool:
    """Whether these are a question's fields. Invariant: none of them looks like an option to a program."""
    return len(fields) == len(_FIELDS) and all(
        re.fullmatch(pattern, field) for pattern, field in zip(_FIELDS, fields, strict=True)
    )


def read_answers(stdout: str, batch: RequestBatch, *, stderr: str = "") -> tuple[Answer, ...]:
    """The program's answers: one for each question, in order. Pure.

    Text around the program's lines, such as a login banner, is ignored. A question without an answer is UNKNOWN.

    stderr: its last line is the reason where the program did not start
    """
    _, started, rest = stdout.rpartition(f"{BEGIN}\n")
    body, ended, _ = rest.partition(f"{END}\n")
    if not ended:
        body = body[: body.rfind("\n") + 1]  # a line that is cut off is not an answer
    answers: dict[int, Answer] = {}
    for line in body.split("\n") if started else ():
        number, _, fields = line.partition("\t")
        answer = _answer(fields.split("\t"))
        if re.fullmatch("0|[1-9][0-9]{0,6}", number) and answer is not None:
            answers.setdefault(int(number), answer)
    why = "the probe program was cut off before it answered this"
    if ended:
        why = "the probe program did not answer this"
    elif not started:
        last_line = stderr.strip().rpartition("\n")[2]
        why = f"the probe program did not start{f': {_bounded(last_line)}' if last_line else ''}"
    missing = Answer(Outcome.UNKNOWN, reason=why)
    return tuple(answers.get(number, missing) for number in range(len(batch.questions)))


def _answer(fields: list[str]) -> Answer | None:
    """An answer from the fields after its number; None: they are not an answer."""
    if len(fields) < 3:
        return None
    try:
        outcome = Outcome(fields[0])
        duration_ms = float(fields[1]) if fields[1] else None
    except ValueError:
        return None
    if duration_ms is not None and not (math.isfinite(duration_ms) and duration_ms >= 0):
        duration_ms = None
    pairs = (field.partition("=") for field in fields[3 : 3 + _MOST_VALUES])
    values = {name: decoded(value) for name, equals, value in pairs if equals and re.fullmatch("[a-z_]{1,40}", name)}
    return Answer(outcome, duration_ms, values, redact(decoded(fields[2])))


def _fields(number: int, question: Question) -> tuple[str, ...]:
    return (
        str(number),
        question.kind,
        question.address,
        str(question.port),
        question.name,
        question.transport,
        question.record,
        question.authority,
        ",".join(map(str, question.sizes)),
        question.server_name,
    )


def _line(fields: Iterable[object]) -> str:
    return "\t".join(encoded(str(field)) for field in fields)


def encoded(text: str) -> str:
    """Text as a field. Pure."""
    return re.sub("[%\t\n\r]", lambda found: _CODES[found.group()], text)


def decoded(field: str) -> str:
    """A field as text: bounded, and without characters that a terminal would act on. Pure."""
    return _bounded(_letters(field))


def _letters(field: str) -> str:
    return re.sub("%(?:25|09|0A|0D)", lambda found: _LETTERS[found.group()], field)


def _bounded(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST_FIELD])
