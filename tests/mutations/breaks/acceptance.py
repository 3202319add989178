"""Breaks of `tasks/acceptance`."""

from __future__ import annotations

from tests.mutations.breaks.row import Break

_PROVING = "tests/contract/cluster/test_proving.py"
_WHOSE = "tests/contract/upgrade/test_whose_host.py"

BREAKS = (
    Break(
        "a refused test pod ends the proof in an error",
        "tasks/acceptance/pod_probe.py",
        "            if not isinstance(error, AdmissionDenied) and not error.missing_right:\n",
        "            if error:\n",
        f"{_PROVING}::test_a_test_pod_that_may_not_be_there_is_an_answer_with_its_next_step",
    ),
    Break(
        "a node on which no test pod was allowed passes",
        "tasks/acceptance/checks.py",
        "return (*of_the_node, _no_pod(seen, here), *not_tried)",
        "return (*of_the_node, *not_tried)",
        "tests/unit/acceptance/test_checks.py",
    ),
    Break(
        "a webhook that is against a test pod for a moment costs the proof",
        "tasks/acceptance/proof.py",
        "    if seen.may_pass and spent_s < REFUSED_PATIENCE_S:\n",
        "    if seen.may_pass and spent_s < 0:\n",
        "tests/unit/acceptance/test_proof.py",
    ),
    Break(
        "any machine is taken for the Node's",
        "tasks/acceptance/identity.py",
        "    if registered != seen:\n",
        "    if registered is None:\n",
        f"{_WHOSE}::test_another_machine_is_neither_changed_nor_told_our_number",
    ),
)
