"""Breaks of `tasks/audit`."""

from __future__ import annotations

from tests.mutations.breaks.row import Break

_TEMPLATES = "tests/unit/pages/test_templates.py"
_UNVERIFIED = "tests/contract/cluster/test_unverified.py"

BREAKS = (
    Break(
        "a template calls a text markup",
        "tasks/audit/report/page.html.jinja",
        "<p>{{ report.caches }}</p>",
        "<p>{{ report.caches|safe }}</p>",
        f"{_TEMPLATES}::test_no_template_makes_markup_of_a_text",
    ),
    Break(
        "the API server is asked at its root by hosts",
        "tasks/audit/planning/plan.py",
        'f"{parts.path}/readyz" if parts.path else "",',
        '"",',
        "tests/unit/audit/test_plan.py::test_an_api_server_with_a_path_and_a_name_of_its_own",
    ),
    Break(
        "an audit does not tell that the API server is not verified",
        "tasks/audit/run.py",
        '                clusters.notes += (f"{finding}" for finding in api.findings)\n',
        "",
        f"{_UNVERIFIED}::test_an_audit_tells_it",
    ),
    Break(
        "an answer that makes no sense ends a night",
        "tasks/audit/judging/verdicts.py",
        "except Exception as error:  # of one answer",
        "except ArithmeticError as error:  # of one answer",
        "tests/unit/audit/test_verdicts.py::test_an_answer_that_makes_no_sense_is_its_own_unknown",
    ),
    Break(
        "the audit verifies the API server against its address, whatever it is to be verified against",
        "tasks/audit/remote/protocol.py",
        "        question.server_name,\n",
        '        "",\n',
        "tests/contract/audit/test_without_python.py::test_curl",
    ),
    Break(
        "a target's authority must be without any words around it",
        "tasks/audit/run.py",
        "        return authorities(read_bytes(path))\n",
        '        return read_bytes(path).decode("ascii", "replace")\n',
        f"{_UNVERIFIED}::test_the_authority_of_a_target_may_have_any_words_around_it",
    ),
    Break(
        "what a host answers the audit is not redacted",
        "tasks/audit/remote/protocol.py",
        "redact(decoded(fields[2]))",
        "decoded(fields[2])",
        "tests/unit/audit/test_protocol.py::test_reading",
    ),
)
