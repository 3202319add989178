"""What hosts run to join and leave by kubeadm, in real shells: with every program that changes a machine as a stand-in."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.fleet.model import Host, KubeadmProvider
from poolkeeper.tasks.outcomes import Secret, redact
from poolkeeper.tasks.provider.kubeadm_scripts import (
    Discovery,
    join_configuration,
    join_script,
    leave_script,
    upgrade_script,
)
from tests.unit.onboard.builders import POOL, a_host

DEADLINE_S = 20.0
TOKEN = "abcdef.0123456789abcdef"
DISCOVERY = Discovery("10.0.0.1:6443", TOKEN, ("sha256:bb", "sha256:aa"))
SETTINGS = KubeadmProvider()
SOCKET = "unix:///run/containerd/containerd.sock"
SHELLS = [
    pytest.param(command, id=command[0], marks=[] if shutil.which(command[0]) else pytest.mark.skip(f"no {command[0]}"))
    for command in (["dash"], ["bash", "--posix"], ["busybox", "sh"])
]
TOOLS = ("mkdir", "rm", "tee", "grep", "cat", "stat", "cp", "date")

_KUBEADM = """\
case $1 in
  version) echo "v$(cat "$world/kubeadm-version")"; exit;;
  join)
    stat -c %a "$3" > "$world/mode"
    cp "$3" "$world/configuration"
    if [ -e "$world/hangs" ]; then echo began; sleep 60; fi;;
esac
cat "$world/kubeadm-says" 2>/dev/null
[ ! -e "$world/kubeadm-fails" ]
"""
_APT_GET = """\
case "$*" in
  *update*) [ ! -e "$world/update-fails" ] || { echo 'E: Some index files failed to download.' >&2; exit 100; };;
  *install*)
    if [ -e "$world/locked" ]; then
      rm "$world/locked"; echo 'E: Could not get lock /var/cache/apt/archives/lock. It is held by process 7' >&2; exit 100
    fi
    if [ -e "$world/interrupted" ]; then
      echo "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem." >&2; exit 100
    fi
    [ ! -e "$world/install-fails" ] || { echo 'E: Unable to locate package' >&2; exit 100; }
    for each; do
      case $each in
        kubelet=*|kubeadm=*) cp "$world/ready-made/${each%%=*}" "$world/bin/"; cat "$world/brings" > "$world/${each%%=*}-version";;
        containerd) cp "$world/ready-made/containerd" "$world/bin/";;
      esac
    done
    if [ -e "$world/killed-after-install" ]; then rm "$world/killed-after-install"; kill -KILL 0; fi;;
esac
"""
_PROGRAMS = {
    "kubeadm": _KUBEADM,
    "kubelet": 'echo "Kubernetes v$(cat "$world/kubelet-version")"\n',
    "containerd": "",
    "apt-get": _APT_GET,
    "apt-mark": '[ "$1" != showhold ] || cat "$world/holds"\n',
    "dpkg": 'rm -f "$world/interrupted"\n',
    "dpkg-query": '[ ! -e "$world/bin/$4" ] || echo installed\n',
    "sleep": f'[ "$1" = 3 ] || exec {shutil.which("sleep")} "$@"\n',  # between two tries for a lock: no time passes
    "nft": '[ "$3" != ip6 ]\n',  # it has no such table there
    "systemctl": 'case $1 in is-active) [ -e "$world/containerd-runs" ];; esac\n',
}


@dataclass(frozen=True)
class Ran:
    """What came of a script."""

    code: int
    words: str
    did: Sequence[str]
    """Commands that change a machine, in order."""


@dataclass
class Machine:
    """A host: which programs it has, and what they say. By default all are there, in the API server's version."""

    root: Path
    has: Sequence[str] = tuple(_PROGRAMS)
    kubelet: str = "1.36.3"
    kubeadm: str = "1.36.3"
    brings: str = "1.36.4"
    """Version of what apt installs."""
    marks: Sequence[str] = ()
    """`update-fails`, `install-fails`, `kubeadm-fails`, `hangs`, `containerd-runs`, `locked`, `interrupted`,
    `killed-after-install` (once)."""
    holds: Sequence[str] = ()
    says: str = ""
    """What kubeadm prints."""
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in ("bin", "ready-made"):
            (self.root / folder).mkdir(parents=True)
        for tool in TOOLS:
            (self.root / "bin" / tool).symlink_to(str(shutil.which(tool)))
        for name, body in _PROGRAMS.items():
            path = self.root / "ready-made" / name
            logged = f'#!/bin/sh\nworld="{self.root}"\n'
            if name in ("kubeadm", "apt-get", "apt-mark", "dpkg", "nft", "systemctl"):
                logged += f'[ "$1" = version ] || [ "$1" = is-active ] || echo "{name} $*" >> "$world/did"\n'
            path.write_text(logged + body)
            path.chmod(0o755)
            if name in self.has:
                shutil.copy(path, self.root / "bin" / name)
        texts = {"kubelet-version": self.kubelet, "kubeadm-version": self.kubeadm, "brings": self.brings}
        for name, text in {
            **texts,
            "kubeadm-says": self.says,
            "holds": "\n".join(self.holds),
            **dict.fromkeys(self.marks, ""),
        }.items():
            (self.root / name).write_text(f"{text}\n" if text else "")

    def start(self, script: str, shell: Sequence[str]) -> subprocess.Popen[str]:
        # as the host's units do: the script is on a descriptor of its own
        (self.root / "script").write_text(script)
        program = [str(shutil.which(shell[0])), *shell[1:]]
        command = [*program, "-c", 'exec "$@" /dev/fd/3 3< "$0"', str(self.root / "script"), *program]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": str(self.root / "bin"), "POOLKEEPER_ROOT": str(self.root)},
            cwd=self.root,
            start_new_session=True,
        )

    def run(self, script: str, shell: Sequence[str] = ("sh",)) -> Ran:
        process = self.start(script, shell)
        words, _ = process.communicate(timeout=DEADLINE_S)
        return Ran(process.returncode, words, self.did())

    def did(self) -> list[str]:
        return (self.root / "did").read_text().splitlines() if (self.root / "did").exists() else []

    @property
    def own_folder(self) -> Path:
        """Where the configuration is while kubeadm runs."""
        return self.root / "run/poolkeeper/kubeadm"


def script_for(host: Host | None = None, settings: KubeadmProvider = SETTINGS, *, api_minor: int = 36) -> str:
    return join_script(host or a_host(), settings, DISCOVERY, api_minor=api_minor)


def asking_for(version: str) -> Host:
    return a_host(pool={"kubernetes_version": version})


UPDATE = "apt-get -q -o DPkg::Lock::Timeout=300 -o APT::Update::Error-Mode=any update"
ENABLE = ["systemctl enable --now containerd", "systemctl enable kubelet"]
HOLD = ["apt-mark hold kubelet kubeadm"]
APT = ("apt-get", "apt-mark", "dpkg-query")


def exactly(*packages: str) -> list[str]:
    """One transaction, and the look at holds before it."""
    return [
        "apt-mark showhold",
        "apt-get -q -o DPkg::Lock::Timeout=300 -y -o Dpkg::Options::=--force-confdef"
        " -o Dpkg::Options::=--force-confold --no-install-recommends --no-remove --allow-change-held-packages"
        f" install {' '.join(packages)}",
    ]


def test_the_configuration_whole() -> None:
    host = a_host("fra1-n01", node_address=ip_address("10.1.0.11"))
    settings = KubeadmProvider(
        "unix:///run/crio/crio.sock", ("SystemVerification",), (("dedicated", "a", "NoSchedule"),)
    )
    assert join_configuration(host, settings, DISCOVERY) == {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "token": TOKEN,
                "apiServerEndpoint": "10.0.0.1:6443",
                "caCertHashes": ["sha256:aa", "sha256:bb"],
            }
        },
        "nodeRegistration": {
            "name": "fra1-n01",
            "criSocket": "unix:///run/crio/crio.sock",
            "taints": [{"key": "dedicated", "value": "a", "effect": "NoSchedule"}],
            "kubeletExtraArgs": [
                {
                    "name": "node-labels",
                    "value": "alibabacloud.com/nodepool-id=np-1,alibabacloud.com/nodepool-type=hybridcloud",
                },
                {"name": "node-ip", "value": "10.1.0.11"},
            ],
            "ignorePreflightErrors": ["SystemVerification"],
        },
    }


@pytest.mark.parametrize("shell", SHELLS)
def test_a_join(tmp_path: Path, shell: list[str]) -> None:
    machine = Machine(tmp_path / "m")
    ran = machine.run(script_for(), shell)
    config = f"{machine.own_folder}/join.yaml"
    assert (ran.code, ran.did) == (0, [*ENABLE, f"kubeadm join --config {config}"]), ran.words
    assert json.loads((machine.root / "configuration").read_text()) == join_configuration(a_host(), SETTINGS, DISCOVERY)
    assert (machine.root / "mode").read_text() == "600\n"
    assert not machine.own_folder.exists()
    assert TOKEN not in ran.words + "".join(ran.did)


def test_a_containerd_that_runs_is_left_as_it_is(tmp_path: Path) -> None:
    """It may run without being enabled, started by docker: to enable it would make it ours to disable."""
    machine = Machine(tmp_path / "m", marks=("containerd-runs",))
    ran = machine.run(script_for())
    assert (ran.code, ran.did[:-1]) == (0, ["systemctl enable kubelet"]), ran.words


@pytest.mark.parametrize(
    ("has", "host", "did"),
    [
        pytest.param(
            APT,
            a_host(),
            [UPDATE, *exactly("kubelet=1.36.*", "kubeadm=1.36.*", "containerd"), *HOLD],
            id="nothing there: the API server's minor",
        ),
        pytest.param(
            (*APT, "containerd"),
            asking_for("v1.36.4"),
            [UPDATE, *exactly("kubelet=1.36.4-*", "kubeadm=1.36.4-*"), *HOLD],
            id="the pool's version",
        ),
        pytest.param(
            (*APT, "containerd", "kubelet"),
            a_host(),
            [UPDATE, *exactly("kubeadm=1.36.*"), *HOLD],
            id="kubeadm alone is missing",
        ),
        pytest.param(
            (*APT, "containerd", "kubelet", "kubeadm"),
            asking_for("1.36.4"),
            [UPDATE, *exactly("--allow-downgrades", "kubelet=1.36.4-*"), *HOLD],
            id="kubelet of another version than the pool's",
        ),
        pytest.param(("containerd", "kubelet", "kubeadm"), asking_for("1.36.3"), [], id="the pool's version is there"),
        pytest.param(("containerd", "kubelet", "kubeadm"), asking_for("1.36"), [], id="its minor is there"),
    ],
)
def test_what_is_installed_first(tmp_path: Path, has: Sequence[str], host: Host, did: list[str]) -> None:
    machine = Machine(tmp_path / "m", has)
    ran = machine.run(script_for(host))
    assert (ran.code, ran.did) == (0, [*did, f"kubeadm join --config {machine.own_folder}/join.yaml"]), ran.words


@pytest.mark.parametrize(
    ("changed", "host", "last", "did"),
    [
        pytest.param(
            {"has": ("kubelet",)},
            a_host(),
            "there is no apt-get to install kubeadm=1.36.* containerd with: install that by hand, then start again",
            [],
            id="no apt",
        ),
        pytest.param(
            {"has": APT, "marks": ("update-fails",)},
            a_host(),
            "apt-get update failed, so nothing was installed: correct what it reports (it uses the sources of the host)",
            [UPDATE],
            id="lists cannot be fetched",
        ),
        pytest.param(
            {"has": (*APT, "containerd"), "marks": ("install-fails",)},
            a_host(),
            "apt-get could not install kubelet=1.36.* kubeadm=1.36.*: see its lines above, and whether the host's sources"
            " have that version (apt-cache madison kubelet)",
            [UPDATE, *exactly("kubelet=1.36.*", "kubeadm=1.36.*")],
            id="no such package",
        ),
        pytest.param(
            {"has": (*APT, "containerd"), "brings": "1.37.0"},
            a_host(),
            "kubeadm 1.37.0 is newer than the API server (1.36): install kubeadm 1.36",
            [UPDATE, *exactly("kubelet=1.36.*", "kubeadm=1.36.*"), *HOLD],
            id="apt brought another version than it was asked for",
        ),
        pytest.param(
            {"has": (*APT, "containerd", "kubeadm"), "kubeadm": "1.37.0"},
            a_host(),
            "kubeadm 1.37.0 is newer than the API server (1.36): install kubeadm 1.36",
            [],
            id="kubeadm too new, before anything is touched",
        ),
        pytest.param(
            {"kubeadm": "1.30.9"},
            a_host(),
            "kubeadm 1.30.9 is too old: install kubeadm 1.36 (1.31 at least)",
            [],
            id="kubeadm cannot read its configuration",
        ),
        pytest.param(
            {"kubeadm": "unknown"},
            a_host(),
            "kubeadm does not report its version: see what `kubeadm version` says on the host",
            [],
            id="kubeadm without a version",
        ),
        pytest.param(
            {"kubelet": "1.37.0-alpha.1"},
            a_host(),
            "kubelet 1.37.0-alpha.1 is newer than the API server (1.36): install kubelet 1.36",
            [],
            id="kubelet too new",
        ),
        pytest.param(
            {"kubelet": "1.32.9"},
            a_host(),
            "kubelet 1.32.9 is more than three minors behind the API server (1.36): install a newer one",
            [],
            id="kubelet four minors behind",
        ),
    ],
)
def test_why_it_stops_before_the_join(
    tmp_path: Path, changed: dict[str, Any], host: Host, last: str, did: list[str]
) -> None:
    ran = Machine(tmp_path / "m", **changed).run(script_for(host))
    assert (ran.code, ran.words.splitlines()[-1], ran.did) == (1, last, did)


def test_a_kubelet_three_minors_behind_joins(tmp_path: Path) -> None:
    assert Machine(tmp_path / "m", kubelet="1.33.0").run(script_for()).code == 0


def test_kubeadms_errors_come_last(tmp_path: Path) -> None:
    says = """\
[preflight] Running pre-flight checks
error: error execution phase preflight: [preflight] Some fatal errors occurred:
\t[ERROR Port-10250]: Port 10250 is in use
\t[ERROR CRI]: no socket
[preflight] If you know what you are doing, you can make a check non-fatal
To see the stack trace of this error execute with --v=5 or higher"""
    machine = Machine(tmp_path / "m", marks=("kubeadm-fails",), says=says)
    ran = machine.run(script_for())
    assert ran.code == 1
    assert ran.words.splitlines()[-1] == (
        "kubeadm join ended with 1: error: error execution phase preflight: [preflight] Some fatal errors occurred:;"
        " [ERROR Port-10250]: Port 10250 is in use; [ERROR CRI]: no socket"
    )
    assert not machine.own_folder.exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_ended_from_outside_it_leaves_no_token(tmp_path: Path, shell: list[str]) -> None:
    machine = Machine(tmp_path / "m", marks=("hangs",))
    process = machine.start(script_for(), shell)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "began\n"
        assert (machine.own_folder / "join.yaml").exists()
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)
        assert not machine.own_folder.exists()
    finally:
        process.kill()


def test_what_a_killed_one_left_is_in_nobodys_way(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "m")
    machine.own_folder.mkdir(parents=True)
    (machine.own_folder / "join.yaml").write_text("of an earlier join")
    assert machine.run(script_for()).code == 0
    assert not machine.own_folder.exists()


HOSTILE = "'; touch pwned #\"$(touch pwned)`touch pwned`\n\\ %s"


@pytest.mark.parametrize("shell", SHELLS)
def test_hostile_values_stay_values(tmp_path: Path, shell: list[str]) -> None:
    host = replace(
        a_host(node_name=HOSTILE), pool=replace(POOL, nodepool_id=HOSTILE, kubernetes_version=f"1.36.3{HOSTILE}")
    )
    settings = KubeadmProvider(HOSTILE, (HOSTILE,), ((HOSTILE, HOSTILE, "NoSchedule"),))
    machine = Machine(tmp_path / "m")
    machine.run(script_for(host, settings), shell)
    machine.run(leave_script(settings), shell)
    machine.run(upgrade_script(settings, HOSTILE, {HOSTILE: HOSTILE}), shell)
    assert json.loads((machine.root / "configuration").read_text()) == join_configuration(host, settings, DISCOVERY)
    assert not list(tmp_path.rglob("pwned*"))


def test_its_own_sentences_survive_redaction_and_the_token_does_not() -> None:
    script = Secret(script_for(), secret_words=(TOKEN, TOKEN.partition(".")[2]))
    told = "apt-get update failed, so nothing was installed: correct what it reports (it uses the sources of the host)"
    assert redact(f"{told} 0123456789abcdef {TOKEN}", script) == f"{told} [redacted] [redacted]"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_reset(tmp_path: Path, shell: list[str]) -> None:
    machine = Machine(tmp_path / "m")
    machine.own_folder.mkdir(parents=True)
    ran = machine.run(leave_script(SETTINGS), shell)
    tables = [f"nft delete table {family} kube-proxy" for family in ("ip", "ip6")]
    assert (ran.code, ran.did) == (0, [f"kubeadm reset --force --cri-socket {SOCKET}", *tables])
    assert not machine.own_folder.exists()


def test_nothing_to_reset_without_kubeadm(tmp_path: Path) -> None:
    ran = Machine(tmp_path / "m", has=()).run(leave_script(SETTINGS))
    assert (ran.code, ran.words, ran.did) == (0, "there is no kubeadm, so there is nothing to reset\n", [])


def test_a_reset_that_fails(tmp_path: Path) -> None:
    ran = Machine(tmp_path / "m", marks=("kubeadm-fails",)).run(leave_script(SETTINGS))
    assert (ran.code, ran.words) == (1, "kubeadm reset failed: see its lines above\n")


PINS = {"kubelet": "1.36.4-1.1", "kubeadm": "1.36.4-1.1"}
RESTART = ["systemctl daemon-reload", "systemctl restart kubelet"]
UPGRADE = "kubeadm upgrade node"


@pytest.mark.parametrize("shell", SHELLS)
def test_an_upgrade_in_the_documented_order(tmp_path: Path, shell: list[str]) -> None:
    machine = Machine(tmp_path / "m", kubelet="1.35.4", kubeadm="1.35.4")
    ran = machine.run(upgrade_script(SETTINGS, "v1.36.4", PINS), shell)
    did = [*exactly("kubeadm=1.36.4-1.1"), UPGRADE, *exactly("kubelet=1.36.4-1.1"), *RESTART]
    assert (ran.code, ran.did) == (0, did), ran.words


def test_an_upgrade_leaves_holds_as_they_were(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "m", kubelet="1.35.4", kubeadm="1.35.4", holds=("kubelet", "linux-image-amd64"))
    ran = machine.run(upgrade_script(SETTINGS, "1.36.4", {**PINS, "kubectl": "1.36.4-1.1"}))
    pair = exactly("kubelet=1.36.4-1.1", "kubectl=1.36.4-1.1")
    did = [*exactly("kubeadm=1.36.4-1.1"), UPGRADE, *pair, "apt-mark hold kubelet", *RESTART]
    assert (ran.code, ran.did) == (0, did), ran.words


@pytest.mark.parametrize(
    ("changed", "ignored", "code", "last", "did"),
    [
        pytest.param({}, (), 0, "", [UPGRADE, *RESTART], id="packages are there"),
        pytest.param(
            {},
            ("SystemVerification", "Swap"),
            0,
            "",
            [f"{UPGRADE} --ignore-preflight-errors=SystemVerification,Swap", *RESTART],
            id="with errors that are declared to be of no matter",
        ),
        pytest.param(
            {"kubelet": "1.35.4"},
            (),
            1,
            "kubelet is 1.35.4, not 1.36.3: see which one is first on the PATH of root (type kubelet)",
            [UPGRADE],
            id="a kubelet that stayed behind is not restarted",
        ),
        pytest.param(
            {"kubeadm": "1.35.4"},
            (),
            1,
            "kubeadm is 1.35.4, not 1.36.3: see which one is first on the PATH of root (type kubeadm)",
            [],
            id="a kubeadm that stayed behind",
        ),
        pytest.param(
            {"kubeadm": "1.36.3-rc.0"},
            (),
            1,
            "kubeadm is 1.36.3-rc.0, not 1.36.3: see which one is first on the PATH of root (type kubeadm)",
            [],
            id="a kubeadm from before the release",
        ),
        pytest.param(
            {"has": ("kubelet",)}, (), 1, "there is no kubeadm: install version 1.36.3 first", [], id="no kubeadm"
        ),
        pytest.param(
            {"marks": ("kubeadm-fails",)},
            (),
            1,
            "kubeadm upgrade node failed: see its lines above",
            [UPGRADE],
            id="kubeadm fails, and kubelet goes on as it is",
        ),
    ],
)
def test_an_upgrade_with_packages_that_are_there(
    tmp_path: Path, changed: dict[str, Any], ignored: tuple[str, ...], code: int, last: str, did: list[str]
) -> None:
    settings = KubeadmProvider(ignore_preflight_errors=ignored)
    ran = Machine(tmp_path / "m", **changed).run(upgrade_script(settings, "v1.36.3", {}))
    assert (ran.code, ran.words, ran.did) == (code, f"{last}\n" if last else "", did)


def test_an_upgrade_whose_package_cannot_be_installed(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "m", kubelet="1.35.4", kubeadm="1.35.4", marks=("install-fails",))
    ran = machine.run(upgrade_script(SETTINGS, "1.36.4", PINS))
    assert (ran.code, ran.did) == (1, exactly("kubeadm=1.36.4-1.1"))
    assert ran.words.splitlines() == [
        "E: Unable to locate package",
        "apt-get could not install kubeadm=1.36.4-1.1: see its lines above",
    ]


@pytest.mark.parametrize("shell", SHELLS)
def test_others_locks_are_waited_for(tmp_path: Path, shell: list[str]) -> None:
    machine = Machine(tmp_path / "m", kubelet="1.35.4", kubeadm="1.35.4", marks=("locked",))
    assert machine.run(upgrade_script(SETTINGS, "1.36.4", PINS), shell).code == 0


def test_what_a_power_cut_interrupted_is_finished_first(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "m", kubelet="1.35.4", kubeadm="1.35.4", marks=("interrupted",))
    ran = machine.run(upgrade_script(SETTINGS, "1.36.4", PINS))
    assert ran.code == 0, ran.words
    assert ran.did[2] == "dpkg --force-confdef --force-confold --configure -a"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_join_that_is_killed_while_it_installs_holds_what_it_has_installed(tmp_path: Path, shell: list[str]) -> None:
    """The next one finds kubelet and kubeadm there and has nothing to install."""
    machine = Machine(tmp_path / "m", has=(*APT, "containerd", "systemctl"), marks=("killed-after-install",))
    assert machine.run(script_for(), shell).code != 0
    before = len(machine.did())
    assert not any(line in HOLD for line in machine.did())
    ran = machine.run(script_for(), shell)
    assert (ran.code, ran.did[before:][:1]) == (0, HOLD), ran.words
    again = len(ran.did)
    assert not any(line in HOLD for line in machine.run(script_for(), shell).did[again:]), "once"
