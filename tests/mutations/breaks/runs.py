"""Breaks of `tasks/runs`."""

from __future__ import annotations

from tests.mutations.breaks.row import Break

_RECORDING = "tests/unit/test_recording.py"
_RUN_GATE = "tests/contract/test_gate_of_a_run.py"
_UNVERIFIED = "tests/contract/cluster/test_unverified.py"

BREAKS = (
    Break(
        "a full disk ends what a row tells of",
        "tasks/runs/recording.py",
        "except (OSError, RecursionError, RowInvalid, TypeError, ValueError) as error:",
        "except RowInvalid as error:",
        f"{_RECORDING}::test_what_cannot_be_written_stops_nothing_and_is_told_once",
    ),
    Break(
        "a run that is not written down ends as completed",
        "tasks/runs/result.py",
        "return RunState.UNRECORDED if done and self.recorder.unrecorded else self.state_so_far",
        "return self.state_so_far if done or self.recorder.unrecorded else self.state_so_far",
        f"{_RECORDING}::test_what_could_not_be_written_stands_in_the_answer_and_in_its_state",
    ),
    Break(
        "an older row is written over a newer one",
        "tasks/runs/recording.py",
        "        self._unwritten.pop(key, None)\n",
        "",
        f"{_RECORDING}::test_what_was_written_since_is_not_replaced_by_what_could_not_be",
    ),
    Break(
        "what could not be written is not tried again",
        "tasks/runs/result.py",
        "        self.recorder.write_rest()\n",
        "",
        f"{_RECORDING}::test_what_could_not_be_written_is_tried_again_at_the_end",
    ),
    Break(
        "a dry run's phases count as the time that hosts take",
        "tasks/runs/recording.py",
        "        if self.dry_run:\n            yield\n            return\n",
        "",
        f"{_RECORDING}::test_a_dry_run_says_would_and_takes_no_time",
    ),
    Break(
        "a bill whose evidence could not be written ends well",
        "tasks/runs/result.py",
        "done = self.state_so_far not in (RunState.FAILED, RunState.INVALID)",
        "done = self.state_so_far in (RunState.COMPLETED, RunState.UNFINISHED_HOSTS)",
        f"{_RECORDING}::test_what_could_not_be_written_stands_in_the_answer_and_in_its_state",
    ),
    Break(
        "the gate of a run does not ask for observe mode",
        "tasks/runs/gate.py",
        "            observe_guard(hosts),\n",
        "",
        _RUN_GATE,
    ),
    Break(
        "the gate of a run does not ask for declared freezes",
        "tasks/runs/gate.py",
        "            freeze_guard(hosts, now=lambda: datetime.now(UTC)),\n",
        "",
        _RUN_GATE,
    ),
    Break(
        "the gate of a run does not ask for a person's word",
        "tasks/runs/gate.py",
        "            stops_guard(api, {host.name: host.node_name for host in hosts}),\n",
        "",
        _RUN_GATE,
    ),
    Break(
        "a summary keeps quiet about what is wrong with no host",
        "tasks/runs/result.py",
        "    lines += _found(run_findings)\n",
        "",
        f"{_UNVERIFIED}::test_a_run_over_hosts_tells_it",
    ),
    Break(
        "a resumed run overwrites the changes of the process before it",
        "tasks/runs/recording.py",
        'f"{self.started_at:%Y%m%dT%H%M%S.%f}-{number:06}"',
        'f"{number:06}"',
        "tests/unit/test_recording.py::test_a_resumed_run_overwrites_no_change_of_the_process_before_it",
    ),
)
