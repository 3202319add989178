"""What a host runs for an upgrade, as the whole of its parts; the provider's own part is tested with the provider."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from poolkeeper.tasks.outcomes import Secret
from poolkeeper.tasks.packages.scripts import end_line
from poolkeeper.tasks.provider.upgrading import OnHost
from poolkeeper.tasks.upgrade.scripts import upgrade_script

PROGRAMS = {
    "apt-get": 'echo "apt-get: ${*##*install }" >> "$world/did"; [ ! -e "$world/apt-fails" ]\n',
    "apt-mark": "",
    "systemctl": 'echo "systemctl $*" >> "$world/did"\n',
}


def run(folder: Path, script: Secret, *marks: str) -> tuple[int, list[str], list[str]]:
    """Exit status, output, and what was done."""
    for name, body in PROGRAMS.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\nworld="{folder}"\n{body}')
        program.chmod(0o755)
    for mark in marks:
        (folder / mark).touch()
    ended = subprocess.run(
        ["sh", "-s"],
        input=script.reveal(),
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    did = (folder / "did").read_text().splitlines() if (folder / "did").exists() else []
    return ended.returncode, (ended.stdout + ended.stderr).split("\n"), did


def way(text: str) -> OnHost:
    return OnHost(Secret(text, secret_words=()))


@pytest.mark.parametrize(
    ("packages", "provider", "did"),
    [
        pytest.param({}, way("echo done"), [], id="the provider's alone"),
        pytest.param(
            {"containerd.io": "1.7.22-1", "runc": "1.1"},
            None,
            ["apt-get: containerd.io=1.7.22-1 runc=1.1", "systemctl restart containerd"],
            id="the runtime alone: restarted once",
        ),
        pytest.param({"socat": "1.7"}, None, ["apt-get: socat=1.7"], id="a package that no unit runs"),
    ],
)
def test_parts(tmp_path: Path, packages: dict[str, str], provider: OnHost | None, did: list[str]) -> None:
    script = upgrade_script(packages, provider, "abc")
    assert script is not None
    code, words, done = run(tmp_path, script)
    assert (code, words[-2], done) == (0, end_line("abc"), did)


def test_nothing_to_run() -> None:
    assert upgrade_script({}, None, "abc") is None


@pytest.mark.parametrize(
    ("text", "marks", "code"),
    [
        pytest.param("exit 3", (), 3, id="the provider's part says no"),
        pytest.param("exit 0", ("apt-fails",), 1, id="a package says no"),
        pytest.param("for in ; do", (), 2, id="a command that is no shell"),
    ],
)
def test_what_fails_ends_it_without_the_mark(tmp_path: Path, text: str, marks: tuple[str, ...], code: int) -> None:
    script = upgrade_script({"containerd": "1.6"}, way(text), "abc")
    assert script is not None
    ended, words, _ = run(tmp_path, script, *marks)
    assert ended == code
    assert end_line("abc") not in words


def test_hostile_versions_stay_values(tmp_path: Path) -> None:
    script = upgrade_script({"a": f"1; touch {tmp_path}/pwned; $(touch {tmp_path}/pwned) '"}, None, "abc")
    assert script is not None
    run(tmp_path, script)
    assert not (tmp_path / "pwned").exists()
