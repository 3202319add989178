"""What the facts program finds on hosts that are set up in odd ways, in each shell that is here."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from poolkeeper.tasks.hosts.facts import FACTS_PROGRAM, HostFacts, OtherRuntime, parse_facts
from poolkeeper.tasks.outcomes import Known, Observed
from tests.contract.hosts.machines import SHELLS, Machine

CONTAINERD = "containerd containerd.io 1.7.24 0000000"
Make = Callable[..., HostFacts]


@pytest.fixture(params=SHELLS)
def facts_of(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes a host of files, programs (name -> what each says of its version) and sockets; answers its facts."""

    def make(
        files: Mapping[str, str] | None = None,
        programs: Mapping[str, str] | None = None,
        sockets: tuple[str, ...] = (),
        folders: tuple[str, ...] = (),
    ) -> HostFacts:
        machine = Machine(tmp_path, shell=request.param)
        for path, text in (files or {}).items():
            machine.put(path, text)
        for name, said in (programs or {}).items():
            machine.program(name, f"echo '{said}'")
        for path in sockets:
            bind(machine, path)
        for path in folders:
            machine.at(path).mkdir(parents=True)
        done = subprocess.run(
            [str(machine.programs / "sh"), "-s"],
            input=FACTS_PROGRAM,
            env={"PATH": str(machine.programs), "POOLKEEPER_ROOT": str(machine.root)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stderr == ""
        return parse_facts(done.stdout, datetime.now(UTC))

    return make


def bind(machine: Machine, path: str) -> None:
    """A socket, by a short way: its name may have 107 bytes."""
    folder = machine.at(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    short = Path(f"/tmp/pk-{folder.stat().st_ino}")
    short.symlink_to(folder)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(short / Path(path).name))
    finally:
        short.unlink()


def told(fact: Observed[object]) -> object:
    return fact.value if isinstance(fact, Known) else [fact.reason]


DOCKER = OtherRuntime("docker", "27.3.1", 0)


@pytest.mark.parametrize(
    ("host", "runtime", "others"),
    [
        pytest.param({}, "", (), id="none"),
        pytest.param({"programs": {"containerd": CONTAINERD}}, "containerd 1.7.24", (), id="containerd"),
        pytest.param(
            {"programs": {"containerd": CONTAINERD, "dockerd": "Docker version 27.3.1, build 0000000"}},
            "containerd 1.7.24",
            (DOCKER,),
            id="docker beside containerd",
        ),
        pytest.param(
            {"programs": {"containerd": CONTAINERD, "dockerd": "Docker"}},
            "containerd 1.7.24",
            (OtherRuntime("docker", "", 0),),
            id="docker that tells no version",
        ),
        pytest.param(
            {"programs": {"dockerd": "Docker version 27.3.1, build 0"}}, "docker 27.3.1", (), id="docker alone"
        ),
        pytest.param(
            {
                "programs": {"containerd": CONTAINERD, "crio": "crio version 1.30.0", "podman": "podman version 4.9.3"},
                "files": {
                    "/var/lib/containers/storage/overlay-containers/abc/userdata/config.json": "{}",
                    "/var/lib/containers/storage/overlay-containers/containers.json": "[]",
                },
            },
            "containerd 1.7.24",
            (OtherRuntime("cri-o", "1.30.0", 1), OtherRuntime("podman", "4.9.3", 1)),
            id="cri-o and podman, with a container",
        ),
        pytest.param(
            {"programs": {"podman": "podman version 4.9.3"}},
            "",
            (OtherRuntime("podman", "4.9.3", 0),),
            id="podman alone, which serves no kubelet",
        ),
        pytest.param(
            {
                "sockets": ("/run/containerd/containerd.sock", "/run/docker.sock"),
                "folders": ("/var/lib/docker/containers/a", "/var/lib/docker/containers/b"),
            },
            "containerd",
            (OtherRuntime("docker", "", 2),),
            id="by their sockets, wherever their programs are",
        ),
        pytest.param(
            {"folders": ("/snap/docker/2963", "/snap/microk8s/7000", "/snap/firefox/1")},
            "",
            (OtherRuntime("snap docker", "", None), OtherRuntime("snap microk8s", "", None)),
            id="by snap",
        ),
        pytest.param(
            {"folders": ("/var/lib/snapd/snap/docker",), "programs": {"k3s": "k3s version v1.36.3+k3s1 (0)"}},
            "",
            (OtherRuntime("k3s", "v1.36.3+k3s1", None), OtherRuntime("snap docker", "", None)),
            id="by snap where it has no /snap, and one that brings its own",
        ),
    ],
)
def test_every_runtime_is_found(
    facts_of: Make, host: dict[str, object], runtime: str, others: tuple[OtherRuntime, ...]
) -> None:
    facts = facts_of(**host)
    assert (told(facts.runtime), told(facts.other_runtimes)) == (runtime, others)


@pytest.mark.parametrize(
    ("config", "disabled"),
    [
        pytest.param(None, False, id="no configuration"),
        pytest.param("version = 2\n", False, id="nothing of it"),
        pytest.param('# as docker brings it\ndisabled_plugins = ["cri"]\n', True, id="docker's"),
        pytest.param("version = 2\n disabled_plugins=['io.containerd.grpc.v1.cri']", True, id="by its whole name"),
        pytest.param('version = 3\ndisabled_plugins = ["io.containerd.cri.v1.runtime"]\n', True, id="containerd 2"),
        pytest.param('disabled_plugins = [\n  "btrfs", # none here\n  "cri",\n]\n', True, id="over several lines"),
        pytest.param('disabled_plugins = ["btrfs"]\nrequired_plugins = ["cri"]\n', False, id="another one"),
        pytest.param('#disabled_plugins = ["cri"]\n', False, id="a comment"),
        pytest.param('disabled_plugins = []\n[plugins."io.containerd.grpc.v1.cri"]\n', False, id="none"),
        pytest.param('[debug]\ndisabled_plugins = ["cri"]\n', False, id="a key of a table"),
    ],
)
def test_a_containerd_without_its_cri_plugin(facts_of: Make, config: str | None, disabled: bool) -> None:
    files = {"/etc/containerd/config.toml": config} if config is not None else {}
    assert told(facts_of(files, {"containerd": CONTAINERD}).cri_disabled) is disabled


def test_a_configuration_as_containerd_itself_puts_it_together(facts_of: Make) -> None:
    """What it imports counts, and it alone reads that."""
    files = {"/etc/containerd/config.toml": 'imports = ["/etc/containerd/conf.d/*.toml"]\n'}
    said = 'containerd containerd.io 1.7.24\ndisabled_plugins = ["cri"]\n[debug]'
    assert told(facts_of(files, {"containerd": said}).cri_disabled) is True


def test_a_configuration_of_no_containerd(facts_of: Make) -> None:
    assert told(facts_of({"/etc/containerd/config.toml": 'disabled_plugins = ["cri"]\n'}).cri_disabled) is False


@pytest.mark.parametrize(
    ("text", "system", "version"),
    [
        pytest.param('ID=debian\nVERSION_ID="12"\n', "debian", "12", id="as most have it"),
        pytest.param("ID=\"rhel\"\r\nVERSION_ID='9.4'\r\n", "rhel", "9.4", id="from another system's editor"),
        pytest.param(
            'NAME=Example Linux\nVERSION=10 (beta)\nID=example\nVERSION_ID="10"\n',
            "example",
            "10",
            id="words without quotes",
        ),
        pytest.param("ID=a$(touch ran)b\nVERSION_ID=`touch ran`\n", None, None, id="commands"),
        pytest.param("touch ran\nID=debian\nVERSION_ID=12", "debian", "12", id="a command, and no line's end"),
        pytest.param(
            '# ID=no\n  ID=debian # really\nVERSION_ID="12" # bookworm\n', "debian", "12", id="comments and blanks"
        ),
        pytest.param("ID_LIKE=debian\nVERSION_ID=1\n", ["os-release has no ID"], "1", id="only like another"),
        pytest.param("ID=\nVERSION_ID=\n", ["os-release has no ID"], ["os-release has no VERSION_ID"], id="empty"),
        pytest.param("ID=a\nID=b\n", "b", ["os-release has no VERSION_ID"], id="twice: the last one"),
        pytest.param("\ufeffID=debian\nVERSION_ID=12\n", "debian", "12", id="with a mark of its bytes' order"),
        pytest.param("", ["os-release has no ID"], ["os-release has no VERSION_ID"], id="nothing"),
    ],
)
def test_which_system_it_is(
    facts_of: Make, tmp_path: Path, text: str, system: object, version: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    facts = facts_of({"/etc/os-release": text})
    assert not (tmp_path / "ran").exists(), "the file was run"
    if system is not None:
        assert (told(facts.os_id), told(facts.os_version)) == (system, version)
    else:
        assert not isinstance(facts.os_id, Known)


def test_a_system_that_keeps_its_name_elsewhere(facts_of: Make) -> None:
    assert told(facts_of({"/usr/lib/os-release": "ID=alpine\n"}).os_id) == "alpine"


def test_proxies_of_a_login(facts_of: Make) -> None:
    text = (
        'export HTTPS_PROXY="http://proxy.example:3128"\r\n'
        "#export HTTP_PROXY=http://old.example\n"
        "http_proxy=http://user:a://b@proxy:3128\n"
        "export NO_PROXY=.svc,10.0.0.0/8\n"
        "export PATH=/bin"
    )
    assert told(facts_of({"/etc/environment": text}).proxies) == {
        "HTTPS_PROXY": "http://proxy.example:3128",
        "http_proxy": "http://proxy:3128",
        "NO_PROXY": ".svc,10.0.0.0/8",
    }


def test_proxies_of_units(facts_of: Make) -> None:
    units = "/etc/systemd/system"
    files = {
        f"{units}/containerd.service.d/http-proxy.conf": (
            '[Service]\nEnvironment="HTTP_PROXY=http://ops:p@ss@proxy:3128" \\\n  "NO_PROXY=10.0.0.0/8"\n'
            "#Environment=HTTPS_PROXY=http://old:1\n;Environment=HTTPS_PROXY=http://old:1\n"
        ),
        "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": "[Service]\nEnvironmentFile=-/etc/default/kubelet\n",
        "/etc/default/kubelet": "# HTTPS_PROXY=http://old:1\nexport HTTPS_PROXY='http://proxy:3128'\nKUBELET_EXTRA_ARGS=\n",
        f"{units}/docker.service.d/proxy.conf": "[Service]\nEnvironment=HTTP_PROXY=http://docker:1\n",
        f"{units}/crio.service": "[Service]\nEnvironmentFile=/etc/nowhere\nExecStart=/usr/bin/crio\n",
    }
    assert told(facts_of(files).service_proxies) == {
        "containerd.service": {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.0/8"},
        "kubelet.service": {"HTTPS_PROXY": "http://proxy:3128"},
    }


def test_proxies_of_all_units(facts_of: Make) -> None:
    files = {
        "/etc/systemd/system.conf.d/proxy.conf": "[Manager]\nDefaultEnvironment=HTTPS_PROXY=http://proxy:3128\n",
        "/etc/systemd/system/service.d/no-proxy.conf": "[Service]\nEnvironment=NO_PROXY=.svc\n",
    }
    everywhere = {"HTTPS_PROXY": "http://proxy:3128"}
    of_unit = {**everywhere, "NO_PROXY": ".svc"}
    assert told(facts_of(files).service_proxies) == {
        "/etc/systemd/system.conf": everywhere,
        **{f"{unit}.service": of_unit for unit in ("containerd", "kubelet", "crio")},
    }
