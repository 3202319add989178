"""What runs in a test pod, with what wgets say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.acceptance.testpod import PodAnswers, parse_log, peer_pod, probe_pod, way_back_pod
from poolkeeper.tasks.fleet.model import SiteDns
from tests.contract.audit.conftest import ProbedHost


def ran(host: ProbedHost, pod: dict[str, Any], folder: Path, wget: str | None) -> PodAnswers:
    """What a pod's program says where wget is this script; None: there is none."""
    for tool in ("cut", "mktemp", "tail"):
        host.tool(tool)
    for served in ("httpd", "nslookup"):
        host.script(served, "exit 0")
    if wget is not None:
        host.script("wget", wget)
    (container,) = pod["spec"]["containers"]
    given = "".join(f"export {one['name']}='{one['value']}'\n" for one in container["env"])
    (program,) = container["command"][2:]
    return parse_log(host.run(f"export TMPDIR='{folder}' HOSTNAME=pod\n{given}{program}").stdout)


def says(words: str, status: int = 1) -> str:
    return f'echo "{words}" >&2; exit {status}'


@pytest.mark.parametrize(
    ("wget", "answer"),
    [
        pytest.param("exit 0", "", id="a page"),
        pytest.param(says("wget: server returned error: HTTP/1.0 400 Bad Request"), "", id="busybox: it wants TLS"),
        pytest.param(says("wget: error getting response: Connection reset by peer"), "", id="busybox: it hangs up"),
        pytest.param("exit 8", "", id="GNU wget says it by its status alone"),
        pytest.param("exit 4", "no answer", id="GNU wget: no way there"),
        pytest.param(
            says("wget: can't connect to remote host (10.1.0.11): Connection refused"),
            "wget: can't connect to remote host (10.1.0.11): Connection refused",
            id="refused",
        ),
        pytest.param(says("wget: download timed out"), "wget: download timed out", id="silent"),
        pytest.param(says("wget: bad address '10.1.0'"), "wget: bad address '10.1.0'", id="words that nobody foresaw"),
        pytest.param("exit 143", "no answer", id="ended by timeout"),
        pytest.param(None, None, id="an image without wget"),
        pytest.param("exit 126", None, id="a wget that may not run"),
        pytest.param("kill -SEGV $$", None, id="a wget that crashes"),
    ],
)
def test_whether_a_cloud_node_reaches_a_kubelet(
    wget: str | None, answer: str | None, host: ProbedHost, tmp_path: Path
) -> None:
    said = ran(host, peer_pod("cloud-1", "n1", "busybox", "10.1.0.11"), tmp_path, wget)
    assert (said.cloud_to_host, said.complete) == (answer, True)


def test_a_node_without_an_address_is_not_asked(host: ProbedHost, tmp_path: Path) -> None:
    assert ran(host, peer_pod("cloud-1", "n1", "busybox", ""), tmp_path, "exit 0") == PodAnswers(complete=True)


@pytest.mark.parametrize(("address", "where"), [("10.1.0.11", "10.1.0.11"), ("fd00::11", "[fd00::11]")])
@pytest.mark.parametrize(
    ("pod", "probe", "port"),
    [
        (lambda address: peer_pod("cloud-1", "n1", "busybox", address), "cloud_to_host", 10250),
        (lambda address: probe_pod("n1", "busybox", SiteDns(), address), "to_cloud", 18080),
        (lambda address: way_back_pod("cloud-1", "n1", "busybox", address), "from_cloud", 18080),
    ],
    ids=["peer", "probe", "way back"],
)
def test_where_pods_ask(
    pod: Callable[[str], dict[str, Any]],
    probe: str,
    port: int,
    address: str,
    where: str,
    host: ProbedHost,
    tmp_path: Path,
) -> None:
    said = ran(host, pod(address), tmp_path, says("wget: $*"))
    assert getattr(said, probe).endswith(f" http://{where}:{port}/")
