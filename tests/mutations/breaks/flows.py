"""Breaks of `flows`."""

from __future__ import annotations

from tests.mutations.breaks.row import Break

_SHOWN = "tests/unit/test_shown.py"
_DOCS = "tests/unit/test_docs.py"
_UNVERIFIED = "tests/contract/cluster/test_unverified.py"

BREAKS = (
    Break(
        "what our modules log does not reach the run's log",
        "flows/surroundings.py",
        "            log = get_run_logger()\n",
        "            raise MissingContextError\n",
        f"{_SHOWN}::test_what_our_modules_log_goes_to_the_run_that_they_are_called_in",
    ),
    Break(
        "a deployment is not of a registered flow",
        "flows/registry.py",
        'deployments=("onboard", "preflight-nightly"),',
        'deployments=("onboard",),',
        "tests/unit/test_prefect_yaml.py",
    ),
    Break(
        "a parameter's description is cut at its first line",
        "flows/parameters.py",
        "            words.append(line.strip())",
        "            pass",
        "tests/unit/test_registry.py::test_descriptions_are_those_of_the_form_in_the_ui",
    ),
    Break(
        "what others have written acts in the log",
        "flows/surroundings.py",
        "logging.setLogRecordFactory(_visible_record)",
        "logging.setLogRecordFactory(_new_record)",
        _SHOWN,
    ),
    Break(
        "a parameter's default is another one than its page says",
        "flows/upgrade.py",
        "    soak_s: NonNegativeFloat = 0,",
        "    soak_s: NonNegativeFloat = 60,",
        f"{_DOCS}::test_flow_has_its_page_with_its_parameters[upgrade]",
    ),
    *(
        Break(
            f"{what} does not tell that the API server is not verified",
            file,
            "        recorder.add_run_findings(api.findings)\n",
            "",
            f"{_UNVERIFIED}::test_a_run_over_hosts_tells_it[{test}]",
        )
        for what, file, test in (
            ("onboarding", "tasks/onboard/run.py", "onboarding"),
            ("a rollout", "tasks/rollout/run.py", "a_rollout"),
        )
    ),
)
