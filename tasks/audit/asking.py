"""Asking a host: a sheet of questions becomes a program for its shell, what the program prints becomes answers.

The program is the probe for the host's own Python. Where there is none, the shell itself asks what it has tools for.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from importlib.resources import files

from tasks.audit.questions import Answer, Outcome, Sheet
from tasks.fleet.model import Host
from tasks.hosts.sessions import Sessions

SPARE_S = 10.0
"""For login shell, the start of Python and the way back, beside the sheet's own deadline."""
_END = "poolkeeper-end-of-probe"
_PROBE = files("tasks.audit").joinpath("probe.py").read_text(encoding="utf-8")
_SHELL = files("tasks.audit").joinpath("probe.sh").read_text(encoding="utf-8")


async def ask_host(sessions: Sessions, host: Host, sheet: Sheet) -> tuple[Answer, ...]:
    """One answer for each question, in their order. Raises HostError."""
    limit_s = sheet.jitter_s + sheet.deadline_s + SPARE_S
    result = await sessions.run(host, program(sheet), timeout_s=limit_s)
    return read_answers(result.stdout, sheet)


def program(sheet: Sheet) -> str:
    """The text for a host's shell. Nothing of it stands in any argv. Pure."""
    shown = ascii("\n".join(_lines(sheet)))
    return (
        f"if command -v python3 >/dev/null 2>&1; then\npython3 -I -S - <<'{_END}'\nSHEET = {shown}\n{_PROBE}\n{_END}\n"
        f"else\nSHEET={shlex.quote(chr(10).join(_shell_lines(sheet)))}\n{_SHELL}\nfi"
    )


def _lines(sheet: Sheet) -> Iterator[str]:
    yield _line("limits", sheet.deadline_s, sheet.timeout_s, sheet.jitter_s, sheet.parallel)
    for name, pem in sheet.authorities.items():
        yield _line("authority", name, pem)
    for number, q in enumerate(sheet.questions):
        sizes = ",".join(map(str, q.sizes))
        yield _line("ask", number, q.kind, q.address, q.port, q.name, q.transport, q.record, q.authority, sizes)


def _shell_lines(sheet: Sheet) -> Iterator[str]:
    """Words parted by spaces; an empty one is a dash. What the shell cannot ask is left out."""
    for number, q in enumerate(sheet.questions):
        words = (
            number,
            q.kind,
            q.address or "-",
            q.port,
            q.name or "-",
            q.transport or "-",
            ",".join(map(str, q.sizes)),
        )
        if all(shlex.quote(str(word)) == str(word) or not word for word in words):
            yield " ".join(str(word) or "-" for word in words)


def _line(*fields: object) -> str:
    return "\t".join(_written(str(field)) for field in fields)


def _written(field: str) -> str:
    return field.replace("%", "%25").replace("\t", "%09").replace("\r", "%0D").replace("\n", "%0A")


def _plain(field: str) -> str:
    return field.replace("%0A", "\n").replace("%0D", "\r").replace("%09", "\t").replace("%25", "%")


def read_answers(text: str, sheet: Sheet) -> tuple[Answer, ...]:
    """What the program printed, one answer for each question of the sheet; noise around it is passed over. Pure."""
    _, begun, rest = text.partition("poolkeeper-probe begin\n")
    body, ended, _ = rest.partition("poolkeeper-probe end\n")
    if not begun:
        missing = "the probe did not start"
    elif not ended:
        body = body[: body.rfind("\n") + 1]  # half a line is not an answer
        missing = "the answer was cut short"
    else:
        missing = "no time was left for it"
    found = dict(_parsed(body.split("\n"), len(sheet.questions)))
    return tuple(found.get(number, Answer(Outcome.UNKNOWN, reason=missing)) for number in range(len(sheet.questions)))


def _parsed(lines: Iterable[str], count: int) -> Iterator[tuple[int, Answer]]:
    for line in lines:
        word, *fields = line.split("\t")
        if word != "answer" or len(fields) < 3 or not fields[0].isascii() or not fields[0].isdigit():
            continue
        number, outcome, took = int(fields[0][:9]), fields[1], fields[2]
        if number >= count or outcome not in _OUTCOMES:
            continue
        values = dict(pair for pair in (_pair(field) for field in fields[3:40]) if pair[0])
        yield number, Answer(Outcome(outcome), _milliseconds(took), values, values.pop("reason", ""))


_OUTCOMES = frozenset(map(str, Outcome))
_LONGEST_VALUE = 2000


def _pair(field: str) -> tuple[str, str]:
    name, _, value = _plain(field).partition("=")
    return name, value[:_LONGEST_VALUE]


def _milliseconds(text: str) -> float | None:
    try:
        took = float(text)
    except ValueError:
        return None
    return took if 0 <= took < 1e7 else None
