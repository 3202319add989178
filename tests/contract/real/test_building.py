"""The builder, with a stand-in for Go that is quick, slow or broken as the test wants it."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from poolkeeper.deployments.lab.processes import environment_of
from poolkeeper.deployments.lab.real import building, programs
from poolkeeper.deployments.lab.real.building import Unavailable, built, cache_folder, lacks
from poolkeeper.deployments.lab.real.pins import COREDNS, EARLIER_KUBERNETES, ETCD, KUBERNETES, Module, go_version

DEADLINE_S = 20.0
_GO = """\
#!/bin/sh
# go env GOVERSION | go build ... -o FILE PACKAGE | go build ... -o FOLDER/ PACKAGE PACKAGE ...
if [ "$1" = env ]; then echo "${FAKE_GO_VERSION:-go1.26.8}"; exit; fi
echo build >> "$FAKE_GO_LOG"
until [ "$1" = -o ]; do shift; done
output=$2
shift 2
for package; do case $output in */) outputs="$outputs $output${package##*/}";; *) outputs=$output;; esac; done
for each in $outputs; do printf half > "$each"; done
eval "$FAKE_GO_DOES"
for each in $outputs; do printf whole > "$each"; done
"""


@pytest.fixture(autouse=True)
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `go` on PATH that takes note of each build; answers the note's file."""
    program = tmp_path / "bin" / "go"
    program.parent.mkdir()
    program.write_text(_GO)
    program.chmod(0o755)
    log = tmp_path / "builds"
    log.write_text("")
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FAKE_GO_LOG", str(log))
    monkeypatch.setenv("FAKE_GO_DOES", ":")
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    building.installed_go.cache_clear()
    programs._is_our_minor.cache_clear()
    return log


@pytest.fixture(autouse=True, scope="module")
def forget_the_fake() -> object:
    yield
    building.installed_go.cache_clear()
    programs._is_our_minor.cache_clear()


@pytest.fixture
def tiny(tmp_path: Path) -> Module:
    """A module with two programs."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "go.mod").write_text("module lab/tiny\n\ngo 1.26.0\n\nrequire example.com/tiny v1.2.3\n")
    (folder / "go.sum").write_text("example.com/tiny v1.2.3 h1:x\n")
    return Module(folder, "example.com/tiny", {"one": "example.com/tiny/one", "two": "example.com/tiny/two"})


def builds(log: Path) -> int:
    return log.read_text().count("build")


@pytest.mark.parametrize(
    ("module", "version"),
    [(ETCD, "v3.7.3"), (KUBERNETES, "v1.36.3"), (EARLIER_KUBERNETES, "v1.35.4"), (COREDNS, "v1.14.7")],
    ids=lambda value: value.name if isinstance(value, Module) else value,
)
def test_pins(module: Module, version: str) -> None:
    assert module.version == version
    assert module.needs_go <= (1, 26, 99)
    for package in module.packages.values():
        assert any(f"{word}{package}\n" in module.go_mod for word in ("\t", "tool ", "module "))


def test_versions_are_told_to_kubernetes_only() -> None:
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3 " in KUBERNETES.linker_flags
    assert "-X k8s.io/component-base/version.gitMinor=35 " in EARLIER_KUBERNETES.linker_flags
    assert ETCD.linker_flags == "-s -w"


@pytest.mark.parametrize(
    ("text", "version"), [("1.26", (1, 26, 0)), ("go1.26.8", (1, 26, 8)), ("go1.27rc1", (1, 27, 0))]
)
def test_go_versions(text: str, version: tuple[int, int, int]) -> None:
    assert go_version(text) == version


def test_a_program_is_built_once_and_others_later(tiny: Module, fake_go: Path) -> None:
    said: list[str] = []
    first = built(tiny, "one", say=said.append)["one"]
    assert (first.read_text(), first.parent.parent.name) == ("whole", "poolkeeper")
    assert built(tiny, "one", say=said.append) == {"one": first}
    assert builds(fake_go) == 1
    assert built(tiny, "one", "two", say=said.append)["two"].parent == first.parent
    assert builds(fake_go) == 2
    assert [line.split()[:3] for line in said] == [
        ["building", "one", "v1.2.3"], ["built", "one", "in"], ["building", "two", "v1.2.3"], ["built", "two", "in"],
    ]  # fmt: skip


def test_several_programs_are_one_build(tiny: Module, fake_go: Path) -> None:
    found = built(tiny, "one", "two", say=lambda _: None)
    assert {name: (path.name, path.read_text()) for name, path in found.items()} == {
        "one": ("one", "whole"),
        "two": ("two", "whole"),
    }
    assert builds(fake_go) == 1


def test_other_pins_and_another_go_are_another_folder(tiny: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache_folder(tiny)
    (tiny.folder / "go.sum").write_text("example.com/tiny v1.2.3 h1:y\n")
    second = cache_folder(Module(tiny.folder, tiny.source, tiny.packages))
    monkeypatch.setenv("FAKE_GO_VERSION", "go1.26.9")
    building.installed_go.cache_clear()
    assert len({first, second, cache_folder(tiny)}) == 3


def test_two_processes_build_once(tiny: Module, fake_go: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    code = f"""
        import sys
        from pathlib import Path
        from poolkeeper.deployments.lab.real.building import built
        from poolkeeper.deployments.lab.real.pins import Module
        tiny = Module(Path({str(tiny.folder)!r}), {tiny.source!r}, {dict(tiny.packages)!r})
        print(built(tiny, "one")["one"].read_text())
    """
    starters = [start(code, FAKE_GO_DOES=f"read line < {gate}") for _ in range(2)]
    waiting = until_said(starters, "another process is building tiny")
    descriptor = os.open(gate, os.O_RDWR)
    os.write(descriptor, b"go on\n")
    for starter in starters:
        out, _ = starter.communicate(timeout=DEADLINE_S)
        assert (starter.returncode, out) == (0, "whole\n")
    os.close(descriptor)
    assert builds(fake_go) == 1
    assert waiting in starters


def start(code: str, **environment: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[3]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
    )


def until_said(processes: list[subprocess.Popen[str]], line: str) -> subprocess.Popen[str]:
    """The process that prints a line on stderr, which one of them must; all lines of both are read on the way."""
    deadline = time.monotonic() + DEADLINE_S
    with selectors.DefaultSelector() as selector:
        for process in processes:
            assert process.stderr is not None
            selector.register(process.stderr, selectors.EVENT_READ, process)
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if line in key.data.stderr.readline():
                    return key.data
    raise AssertionError(f"nobody said {line!r}")


def test_what_was_cut_off_is_built_anew(tiny: Module, fake_go: Path) -> None:
    left = cache_folder(tiny) / "building-killed"
    left.mkdir(parents=True)
    (left / "one").write_text("half")
    assert built(tiny, "one", say=lambda _: None)["one"].read_text() == "whole"
    assert not left.exists()


def test_a_build_that_fails_leaves_nothing(tiny: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GO_DOES", "echo no such module; exit 1")
    with pytest.raises(Unavailable, match="no such module"):
        built(tiny, "one", say=lambda _: None)
    assert [path.name for path in cache_folder(tiny).iterdir()] == ["lock"]


def test_a_build_has_a_deadline_and_ends_with_all_it_started(
    tiny: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    monkeypatch.setenv("FAKE_GO_DOES", f"(sh -c 'echo $$ > {tmp_path}/child; read line < {gate}')")
    with pytest.raises(Unavailable, match="took more than 1 s"):
        built(tiny, "one", say=lambda _: None, timeout_s=1.0)
    assert environment_of(int((tmp_path / "child").read_text())) == {}  # it has ended, even if nobody has reaped it


@pytest.mark.parametrize(
    ("version", "words"),
    [
        pytest.param("go1.19.8", "go1.19.8 is too old: example.com/tiny v1.2.3 needs Go 1.26.0", id="Debian's"),
        pytest.param("devel", "Go does not tell its version", id="no version"),
        pytest.param("go1.26.0", "", id="just new enough"),
    ],
)
def test_the_wrong_go_is_named(tiny: Module, monkeypatch: pytest.MonkeyPatch, version: str, words: str) -> None:
    monkeypatch.setenv("FAKE_GO_VERSION", version)
    told = lacks(tiny)
    assert words in told
    assert bool(told) is bool(words)


def test_without_go_and_assets_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"no Go on PATH .* \$KUBEBUILDER_ASSETS"):
        programs.find(["kubectl"])


def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> Path:
    folder = tmp_path / "assets"
    folder.mkdir()
    for name in ("etcd", "kube-apiserver", "kubectl"):
        (folder / name).write_text(f"#!/bin/sh\necho Kubernetes {version}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(folder))
    return folder


def test_ready_programs_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_go: Path) -> None:
    folder = assets(tmp_path, monkeypatch, "v1.36.1")
    found = programs.find(["etcd", "kube-apiserver", "kube-scheduler"], say=lambda _: None)
    assert [path.parent == folder for path in found.values()] == [True, True, False]
    assert builds(fake_go) == 1


def test_ready_programs_of_another_minor_are_not_mixed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_go: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = assets(tmp_path, monkeypatch, "v1.3.1")
    assert programs.find(["etcd"])["etcd"].parent != folder
    assert "$KUBEBUILDER_ASSETS is not used: its kube-apiserver is Kubernetes v1.3.1" in capsys.readouterr().err


def test_what_ready_programs_lack_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets(tmp_path, monkeypatch, "v1.36.1")
    monkeypatch.setenv("PATH", "/nonexistent")
    # its kube-apiserver is a shell script here, and needs no PATH
    assert programs.lacking(["kubectl", "etcd"]) == ""
    assert programs.lacking(["kube-scheduler"]).endswith("($KUBEBUILDER_ASSETS has no kube-scheduler)")
