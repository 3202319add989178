"""`poolkeeper check` and `schema`, as a person or a script calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from poolkeeper.deployments.cli import main
from tests.unit.fleet.builders import GOOD, a_file, changed

MISTAKES = Path(__file__).parent / "fleet" / "mistakes.yaml"
EXAMPLE = Path(__file__).parents[2] / "deployments" / "examples" / "fleet.yaml"


def run(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=env)


def test_every_problem_of_a_file_is_reported_at_its_line_and_no_other():
    remarks = [
        (number, line.partition(" #! ")[2])
        for number, line in enumerate(MISTAKES.read_text().splitlines(), start=1)
        if " #! " in line
    ]
    result = run("check", MISTAKES, "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 2
    assert len(remarks) >= 45
    assert sorted((p["line"], p["message"]) for p in answer["problems"]) == sorted(remarks)


def test_each_of_them_has_a_column_a_path_and_a_fix():
    lines = MISTAKES.read_text().splitlines()
    for problem in json.loads(run("check", MISTAKES, "--json").stdout)["problems"]:
        assert set(problem) == {"line", "column", "path", "message", "fix"}
        assert 1 <= problem["column"] <= len(lines[problem["line"] - 1])
        assert problem["path"]
        assert problem["fix"].endswith((".", "?"))
        assert "LTAI5t" not in json.dumps(problem)


def test_a_good_file_is_ok(tmp_path):
    result = run("check", a_file(tmp_path), "--json")
    assert json.loads(result.stdout) == {"ok": True, "problems": []}
    assert result.exit_code == 0


def test_the_example_is_ok():
    result = run("check", EXAMPLE)
    assert (result.exit_code, result.stdout) == (0, f"{EXAMPLE}: 3 hosts in 1 pool: no problems\n")


def test_one_problem_in_words(tmp_path):
    result = run("check", a_file(tmp_path, changed(("mode: act", "mode: obsrve"))))
    assert result.exit_code == 2
    assert result.stdout == (
        "fleet.yaml:2:7: mode: 'obsrve' is not one of act, observe.\n"
        "    fix: Did you mean observe?\n"
        f"\n1 problem in {tmp_path}/fleet.yaml\n"
    )


def test_the_file_may_come_from_the_environment(tmp_path):
    result = run("check", "--json", env={"POOLKEEPER_FLEET": str(a_file(tmp_path))})
    assert json.loads(result.stdout)["ok"] is True


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.yaml", "there is no file {folder}/absent.yaml."),
        ("folder", "{folder}/folder cannot be read: Is a directory."),
    ],
)
def test_a_file_that_cannot_be_read_is_one_problem(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    result = run("check", tmp_path / name, "--json")
    (problem,) = json.loads(result.stdout)["problems"]
    assert result.exit_code == 2
    assert problem["message"] == message.format(folder=tmp_path)


def test_schema_prints_what_is_committed():
    committed = Path(__file__).parents[2] / "tasks" / "fleet" / "fleet.schema.json"
    assert json.loads(run("schema").stdout) == json.loads(committed.read_text())


def test_no_secret_is_shown_in_words_either(tmp_path):
    secret = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1"
    result = run("check", a_file(tmp_path, GOOD.replace("keys/ops", secret).replace("general", secret)))
    assert result.exit_code == 2
    assert secret not in result.output
