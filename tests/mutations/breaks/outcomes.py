"""Breaks of `tasks/outcomes`."""

from __future__ import annotations

from tests.mutations.breaks.row import Break

_GATE = "tests/unit/outcomes/test_gate.py"
_REDACTION = "tests/unit/outcomes/test_redaction.py"
_GROWTH = "tests/unit/test_growth.py"
_QUOTING = "tests/unit/outcomes/test_quoting.py"

BREAKS = (
    Break(
        "redaction takes four times as long for twice the text",
        "tasks/outcomes/redaction.py",
        "((?<![a-z-])--[a-z-]*+(?:",
        "(--[a-z-]*(?:",
        f"{_GROWTH}::test_four_times_the_text_takes_some_four_times_as_long[redacted]",
    ),
    Break(
        "of a long text the half of a secret is kept",
        "tasks/outcomes/redaction.py",
        "text = whole_words(text[-MAX_CHARACTERS:])",
        "text = text[-MAX_CHARACTERS:]",
        f"{_REDACTION}::test_of_much_text_the_end_is_kept_from_a_whole_word_on",
    ),
    Break(
        "letters that turn text round pass",
        "tasks/outcomes/visible.py",
        "\\u2028-\\u202e",
        "\\u2028-\\u2029",
        "tests/unit/outcomes/test_visible.py",
    ),
    Break(
        "the gate goes on where a guard objects",
        "tasks/outcomes/gate.py",
        "            raise GateRefused(change, refusal)\n        record =",
        "        record =",
        f"{_GATE}::test_an_objection_stops_the_change",
    ),
    Break(
        "the gate asks its first guard alone",
        "tasks/outcomes/gate.py",
        "for guard in self.guards:",
        "for guard in self.guards[:1]:",
        f"{_GATE}::test_an_objection_stops_the_change",
    ),
    Break(
        "a dry run makes the change",
        "tasks/outcomes/gate.py",
        "            return if_dry_run\n        if refusal is not None:\n",
        "        if refusal is not None:\n",
        f"{_GATE}::test_a_dry_run_walks_on_with_what_the_change_would_have_brought",
    ),
    Break(
        "a change that was cut off is told as not made",
        "tasks/outcomes/gate.py",
        "if isinstance(error, TimeoutError) or not isinstance(error, Exception):",
        "if False:",
        f"{_GATE}::test_how_a_change_ended_is_known_by_its_error",
    ),
    Break(
        "each try of a change is another change",
        "tasks/outcomes/gate.py",
        "if record is None or record.is_in_progress or record.state in (ChangeState.DONE, ChangeState.DRY_RUN):",
        "if True:",
        f"{_GATE}::test_what_is_tried_again_stays_one_change",
    ),
    Break(
        "a join that was refused at its last step is told as without effect",
        "tasks/outcomes/gate.py",
        "if state is ChangeState.REFUSED and not one_request:",
        "if False:",
        f"{_GATE}::test_what_is_refused_after_other_steps_is_not_told_as_without_effect",
    ),
    Break(
        "a later refusal takes back what may have taken effect",
        "tasks/outcomes/gate.py",
        "if state is ChangeState.REFUSED and self._may_have_effect:",
        "if False:",
        f"{_GATE}::test_a_later_refusal_does_not_take_back_what_may_have_taken_effect",
    ),
    Break(
        "known secrets are not redacted",
        "tasks/outcomes/redaction.py",
        "        text = text.replace(word, REDACTED)\n",
        "        text = text.replace(word, word)\n",
        _REDACTION,
    ),
    Break(
        "nothing is redacted by its shape",
        "tasks/outcomes/redaction.py",
        "    for shape in _SHAPES:\n",
        "    for shape in _SHAPES[:0]:\n",
        _REDACTION,
    ),
    Break(
        "the shape of a bootstrap token is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"()\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
""",
        "",
        _REDACTION,
    ),
    Break(
        "the shape of a private key is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
""",
        "",
        _REDACTION,
    ),
    Break(
        "the shape of a bearer token is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"([Bb]earer )[A-Za-z0-9._~+/=-]{8,}"),
""",
        "",
        _REDACTION,
    ),
    Break(
        "the shape of a service account's token is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"((?<![\w.-])(?:(?!eyJ)[\w.-])*+)eyJ(?:[\w-]*+\.){2}[\w.-]*+", re.ASCII),
""",
        "",
        _REDACTION,
    ),
    Break(
        "the shape of a named secret is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"(?i)((?:token|secret|password)\"?(?:=|:\s*)\"?)[^\s\"',;&]{4,}"),
""",
        "",
        _REDACTION,
    ),
    Break(
        "the shape of an option's secret is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"(?i)((?<![a-z-])--[a-z-]*+(?:(?<=token)|(?<=secret)|(?<=password)) +)[^\s\"',;]{4,}"),
""",
        "",
        _REDACTION,
    ),
    Break(
        "the last half of a private key is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"()\A(?:(?!-----BEGIN ).)*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL),
""",
        "",
        _REDACTION,
    ),
    Break(
        "somebody else's words are not redacted",
        "tasks/outcomes/quoting.py",
        "lines = redact(str(words)[:_READ], *secrets).strip().splitlines()",
        "lines = str(words)[:_READ].strip().splitlines()",
        _QUOTING,
    ),
    Break(
        "the shape of a URL's password is not redacted",
        "tasks/outcomes/redaction.py",
        r"""    re.compile(r"(://(?:[^\s/:@]*:)?)[^\s/]+(?=@)"),
""",
        "",
        _QUOTING,
    ),
    Break(
        "a dry run's step that is started again plans its changes twice",
        "tasks/outcomes/gate.py",
        "            record.repeated = True\n            self.records.remove(record)\n",
        "            pass\n",
        "tests/unit/test_recording.py::test_a_dry_runs_step_that_is_started_again_is_recorded_once",
    ),
)
