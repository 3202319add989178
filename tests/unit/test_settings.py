"""What the environment of a process allows: which files a run's parameters may name, and who may look into its state."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from poolkeeper.flows import surroundings
from poolkeeper.tasks.ledger import private_folder, write_whole
from poolkeeper.tasks.settings import FileRefused, file_of_parameter, fleet_of_parameter, state_folder


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worker's own fleet file, a folder that it allows, and what it does not."""
    for name in (
        "own/fleet.yaml",
        "allowed/berlin.yaml",
        "allowed/in/rome.yaml",
        "secret/shadow",
        "allowed-not/x.yaml",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("root:hunter2\n")
    (tmp_path / "allowed/out.yaml").symlink_to(tmp_path / "secret/shadow")
    (tmp_path / "allowed/out").symlink_to(tmp_path / "secret")
    (tmp_path / "allowed/ring.yaml").symlink_to(tmp_path / "allowed/ring.yaml")
    (tmp_path / "allowed/same.yaml").symlink_to(tmp_path / "allowed/berlin.yaml")
    (tmp_path / "link").symlink_to(tmp_path / "allowed")
    monkeypatch.setenv("POOLKEEPER_FLEET", str(tmp_path / "own/fleet.yaml"))
    monkeypatch.setenv("POOLKEEPER_FILES", f"{tmp_path / 'link'}{os.pathsep}{tmp_path / 'not-there'}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "is_"),
    [
        ("own/fleet.yaml", "own/fleet.yaml"),
        ("allowed/berlin.yaml", "allowed/berlin.yaml"),
        ("link/berlin.yaml", "allowed/berlin.yaml"),
        ("allowed/in/rome.yaml", "allowed/in/rome.yaml"),
        ("secret/../allowed/berlin.yaml", "allowed/berlin.yaml"),
        ("allowed/same.yaml", "allowed/berlin.yaml"),
        ("allowed/new.yaml", "allowed/new.yaml"),
    ],
)
def test_a_file_that_a_parameter_may_name(world: Path, given: str, is_: str) -> None:
    assert file_of_parameter(given) == fleet_of_parameter(str(world / given)) == world / is_


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("secret/shadow", id="elsewhere"),
        pytest.param("secret/not-there", id="elsewhere and not there"),
        pytest.param("/etc/shadow", id="of the system"),
        pytest.param("allowed/../secret/shadow", id="up and out"),
        pytest.param("allowed/out.yaml", id="a link out"),
        pytest.param("allowed/out/shadow", id="a folder's link out"),
        pytest.param("link/out/shadow", id="through two links"),
        pytest.param("allowed-not/x.yaml", id="a folder whose name begins alike"),
        pytest.param("own/other.yaml", id="beside the worker's own"),
        pytest.param("allowed/ring.yaml/x", id="a ring of links"),
        pytest.param("/proc/self/root/etc/shadow", id="by way of the kernel"),
        pytest.param("allowed/\0", id="no name"),
        pytest.param("a" * 5000, id="no end"),
        pytest.param(".", id="where the worker stands"),
    ],
)
def test_a_file_that_a_parameter_may_not_name(world: Path, given: str) -> None:
    with pytest.raises(FileRefused) as refused:
        file_of_parameter(given)
    assert "runs on this worker may not read" in str(refused.value)
    assert "$POOLKEEPER_FILES" in str(refused.value)
    assert "hunter2" not in refused.value.in_full


def test_what_is_refused_is_told_alike_whether_it_is_there_or_not(world: Path) -> None:
    told = []
    for given in ("secret/shadow", "secret/absent"):
        with pytest.raises(FileRefused) as refused:
            file_of_parameter(given)
        told.append(str(refused.value).replace(given, "IT"))
    assert told[0] == told[1]


def test_without_a_setting_a_parameter_names_the_workers_own_file_or_none(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POOLKEEPER_FILES")
    assert fleet_of_parameter("") == file_of_parameter("own/fleet.yaml") == world / "own/fleet.yaml"
    for given in ("allowed/berlin.yaml", "fleet.yaml", ""):
        with pytest.raises(FileRefused):
            file_of_parameter(given)


def test_flows_reach_a_file_by_its_parameter_in_no_other_way() -> None:
    for path in Path(surroundings.__file__).parent.glob("*.py"):
        text = path.read_text()
        assert not re.findall(r"(?<![\w.])(?:fleet_path|Path|open)\(", text), path.name
        for function in ("load_fleet", "load_tariff", "evidence_of_csv", "bill_of_csv"):
            for given in re.findall(rf"(?<![\w.]){function}\((.*)", text):
                assert re.match(
                    r"(tariff_path\(given\) if given in shipped_tariffs\(\) else )?(file|fleet)_of_parameter\(", given
                )


# the state folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_made_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_whole(tmp_path / "state/spool/steps/run-1/x.jsonl", "{}\n")
    finally:
        os.umask(before)
    made = list((tmp_path / "state").rglob("*"))
    assert {mode(path) for path in made if path.is_dir()} | {mode(tmp_path / "state")} == {0o700}
    assert [(path.name, mode(path)) for path in made if path.is_file()] == [("x.jsonl", 0o600)]


def test_a_state_folder_of_an_older_version_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("POOLKEEPER_STATE", str(state))
    for name in ("spool", "runs", "reports", "prefect"):
        (state / name).mkdir(parents=True, mode=0o755)
    state.chmod(0o755)
    assert state_folder() == state
    assert {mode(path) for path in (state, *state.iterdir())} == {0o700}


def test_a_folder_that_is_not_ours_alone_is_left_open_but_for_what_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOLKEEPER_STATE", str(tmp_path / "srv"))
    for name in ("spool", "photos"):
        (tmp_path / "srv" / name).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "srv/runs").symlink_to(tmp_path / "elsewhere")
    for folder in (tmp_path / "srv", tmp_path / "srv/photos", tmp_path / "elsewhere"):
        folder.chmod(0o755)
    state_folder()
    assert {name: mode(tmp_path / "srv" / name) for name in ("", "spool", "photos")} == {
        "": 0o755,
        "spool": 0o700,
        "photos": 0o755,
    }
    assert mode(tmp_path / "elsewhere") == 0o755


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert private_folder(tmp_path / "a/b") == tmp_path / "a/b"
    assert [mode(path) for path in (tmp_path, tmp_path / "a", tmp_path / "a/b")] == [0o755, 0o700, 0o700]
