"""A table of kubeconfigs, each read by the real kubectl and by us: the server must have been asked the same."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from poolkeeper.deployments.lab.kubernetes import LabCA
from poolkeeper.tasks.cluster import ApiError, ClusterUnreachable
from tests.contract.cluster.conftest import DEADLINE_S, kubeconfig_of, reach
from tests.contract.cluster.noting import HOST, Asked, NotingProxy, NotingServer, plain_environment

pytestmark = pytest.mark.tier("kubectl")

V1, BETA = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"


@dataclass
class World:
    """What the rows of the table are made of."""

    folder: Path
    server: NotingServer
    proxy: NotingProxy
    tls_proxy: NotingProxy
    ca: LabCA

    def file(self, name: str, content: str | bytes, *, mode: int = 0o600) -> str:
        """Beside the kubeconfig; its name."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return name

    def client(self, name: str) -> dict[str, str]:
        """A client certificate as files, for the user entry."""
        made = self.ca.client_certificate(name)
        return {
            "client-certificate": self.file(f"{name}.crt", made.certificate_pem),
            "client-key": self.file(f"{name}.key", made.key_pem),
        }

    def plugin(self, status: str, name: str = "bin/plugin") -> str:
        """A program that notes what it was told, and gives a credential."""
        path = self.folder / "told"
        answer = f'{{"apiVersion":"\'"${{VERSION-{V1}}}"\'","kind":"ExecCredential","status":{status}}}'
        body = f"#!/bin/sh\nprintf '%s\\n' \"$KUBERNETES_EXEC_INFO\" >> {path}\nprintf '%s\\n' '{answer}'\n"
        return f"./{self.file(name, body, mode=0o700)}"

    def exec(self, status: str, **more: Any) -> dict[str, Any]:
        return {"exec": {"apiVersion": V1, "command": self.plugin(status), "interactiveMode": "Never"} | more}

    @property
    def told(self) -> list[Any]:
        """What the plugin was told, call by call; then it is forgotten."""
        path = self.folder / "told"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines if line]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    ca = LabCA()
    server, proxy, tls_proxy = NotingServer(ca), NotingProxy(), NotingProxy(tls=ca.server_context(["127.0.0.1"]))
    for each in (server, proxy, tls_proxy):
        await each.start()
    made = World(tmp_path / "kube", server, proxy, tls_proxy, ca)
    made.folder.mkdir()
    made.file("ca.crt", ca.certificate_pem)
    yield made
    for each in (tls_proxy, proxy, server):
        await each.stop()


Row = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One kubeconfig."""

    entries: Callable[[World], Row]
    """What differs in the cluster's entry, and the user's."""
    environment: Callable[[World], Mapping[str, str]] = field(default=lambda world: {})
    written: Callable[[str], str] = field(default=str)
    """What becomes of the kubeconfig's text."""
    stricter: bool = False
    """Whether we refuse what kubectl takes, and say so in the table of `tasks.cluster.kubeconfig`."""


TAKEN: dict[str, Case] = {
    "token": Case(lambda w: ({}, {"token": "known-token"})),
    "byte order mark": Case(lambda w: ({}, {"token": "t"}), written=lambda text: f"\ufeff{text}"),
    "line ends of Windows": Case(lambda w: ({}, {"token": "t"}), written=lambda text: text.replace("\n", "\r\n")),
    "JSON with tabs": Case(
        lambda w: ({}, {"token": "t"}), written=lambda text: json.dumps(yaml.safe_load(text), indent="\t")
    ),
    "a document's marks and comments": Case(lambda w: ({}, {"token": "t"}), written=lambda text: f"---\n# k\n{text}..."),
    "aliases and merges": Case(
        lambda w: ({}, {"token": "t"}),
        written=lambda text: text.replace("user:\n    token: t", "user: &u {token: t}\n- name: v\n  user:\n    <<: *u"),
    ),
    "keys of others": Case(lambda w: ({"unknown": ["x"]}, {"token": "t", "expiry": 7})),
    "nothing behind keys": Case(lambda w: ({"extensions": None}, {"token": "t", "exec": None, "as-groups": None})),
    "token with blanks": Case(lambda w: ({}, {"token": "known token"})),
    "token file": Case(lambda w: ({}, {"tokenFile": w.file("t", " in-file\n")})),
    "token and token file": Case(lambda w: ({}, {"token": "first", "tokenFile": w.file("t", "in-file\n")})),
    "token, and a token file that is not there": Case(lambda w: ({}, {"token": "first", "tokenFile": "gone"})),
    "user and password": Case(lambda w: ({}, {"username": "us\u00e9r", "password": "p:w"})),
    "password alone": Case(lambda w: ({}, {"username": "a", "password": ""})),
    "client certificate": Case(lambda w: ({}, w.client("ops"))),
    "client certificate and token": Case(lambda w: ({}, w.client("ops") | {"token": "t"})),
    "client key alone": Case(lambda w: ({}, {"client-key": "gone", "token": "t"})),
    "authority with words around it": Case(
        lambda w: ({"certificate-authority": w.file("u", "# M\u00fcller\n".encode() + w.ca.certificate_pem)}, {"token": "t"})
    ),
    "authority in another encoding": Case(
        lambda w: ({"certificate-authority": w.file("l", b"# M\xfcller\n" + w.ca.certificate_pem)}, {"token": "t"})
    ),
    "authority in the kubeconfig": Case(
        lambda w: (
            {"certificate-authority": None, "certificate-authority-data": base64.b64encode(w.ca.certificate_pem).decode()},
            {"token": "t"},
        )
    ),
    "not verified": Case(
        lambda w: ({"certificate-authority": None, "insecure-skip-tls-verify": True}, {"token": "t"})
    ),
    "verified in so many words": Case(lambda w: ({"insecure-skip-tls-verify": False}, {"token": "t"})),
    "server with a path": Case(lambda w: ({"server": f"{w.server.url}/k8s/clusters/c-m-1"}, {"token": "t"})),
    "server with a path and a slash": Case(lambda w: ({"server": f"{w.server.url}/k8s/"}, {"token": "t"})),
    "server with a query": Case(lambda w: ({"server": f"{w.server.url}/k8s?a=b#c"}, {"token": "t"})),
    "server in capitals": Case(lambda w: ({"server": f"HTTPS://127.0.0.1:{w.server.port}"}, {"token": "t"})),
    "tls-server-name": Case(lambda w: ({"tls-server-name": "api.example"}, {"token": "t"})),
    "uncompressed": Case(lambda w: ({"disable-compression": True}, {"token": "t"})),
    "impersonation": Case(lambda w: ({}, {"token": "t", "as": "somebody-else", "as-groups": ["few-rights", "b"]})),
    "impersonation of everything": Case(
        lambda w: (
            {},
            {"token": "t", "as": "a b", "as-uid": "7", "as-user-extra": {"scopes": ["v", "w"], "example.com/\u00e4 b": ["x"]}},
        )
    ),
    "proxy": Case(lambda w: ({"proxy-url": f"http://127.0.0.1:{w.proxy.port}"}, {"token": "t"})),
    "proxy with a login": Case(
        lambda w: ({"proxy-url": f"http://us%40er:p%3Aw@127.0.0.1:{w.proxy.port}"}, {"token": "t"})
    ),
    "proxy over TLS": Case(
        lambda w: ({"proxy-url": f"https://u:p@127.0.0.1:{w.tls_proxy.port}"}, {"token": "t"}),
    ),
    "proxy and tls-server-name": Case(
        lambda w: ({"proxy-url": f"http://127.0.0.1:{w.proxy.port}", "tls-server-name": "api.example"}, {"token": "t"})
    ),
    "proxy of the environment": Case(
        lambda w: ({"server": f"https://{HOST}:{w.server.port}"}, {"token": "t"}),
        lambda w: {"HTTPS_PROXY": f"http://u:p@127.0.0.1:{w.proxy.port}", "NO_PROXY": "10.0.0.0/8"},
    ),
    "proxy of the environment, without a scheme": Case(
        lambda w: ({"server": f"https://{HOST}:{w.server.port}"}, {"token": "t"}),
        lambda w: {"https_proxy": f"127.0.0.1:{w.proxy.port}"},
    ),
    "exempt by a range": Case(
        lambda w: ({"server": f"https://{HOST}:{w.server.port}"}, {"token": "t"}),
        lambda w: {"HTTPS_PROXY": f"http://127.0.0.1:{w.proxy.port}", "NO_PROXY": "192.168.0.0/16, 0.0.0.0/8"},
    ),
    "exempt by address and port": Case(
        lambda w: ({"server": f"https://{HOST}:{w.server.port}"}, {"token": "t"}),
        lambda w: {"HTTPS_PROXY": f"http://127.0.0.1:{w.proxy.port}", "NO_PROXY": f"{HOST}:{w.server.port}"},
    ),
    "not exempt by another port": Case(
        lambda w: ({"server": f"https://{HOST}:{w.server.port}"}, {"token": "t"}),
        lambda w: {"HTTPS_PROXY": f"http://127.0.0.1:{w.proxy.port}", "NO_PROXY": f"{HOST}:1,*.0.0.0"},
    ),
    "exempt because it is this machine": Case(
        lambda w: ({}, {"token": "t"}), lambda w: {"HTTPS_PROXY": f"http://127.0.0.1:{w.proxy.port}"}
    ),
    "proxy of the kubeconfig before the environment's, which exempts": Case(
        lambda w: ({"proxy-url": f"http://127.0.0.1:{w.proxy.port}"}, {"token": "t"}),
        lambda w: {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "*"},
    ),
    "plugin with a relative path": Case(lambda w: ({}, w.exec('{"token":"from-plugin"}'))),
    "plugin of the beta": Case(
        lambda w: (
            {},
            w.exec('{"token":"t"}', apiVersion=BETA, interactiveMode=None, env=[{"name": "VERSION", "value": BETA}]),
        )
    ),
    "plugin that is told of the cluster": Case(
        lambda w: (
            {
                "tls-server-name": "api.example",
                "proxy-url": f"http://u:p@127.0.0.1:{w.proxy.port}",
                "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}],
            },
            w.exec('{"token":"t"}', provideClusterInfo=True),
        )
    ),
    "plugin that would take a terminal": Case(lambda w: ({}, w.exec('{"token":"t"}', interactiveMode="IfAvailable"))),
    "plugin beside a token": Case(lambda w: ({}, w.exec('{"token":"from-plugin"}') | {"token": "own"})),
    "plugin that gives a certificate": Case(
        lambda w: ({}, w.exec(json.dumps(_certificate(w, "from-plugin")), interactiveMode="Never"))
    ),
    "plugin that gives both": Case(
        lambda w: ({}, w.exec(json.dumps(_certificate(w, "from-plugin") | {"token": "t"})))
    ),
    "id-token that is good": Case(
        lambda w: ({}, {"auth-provider": {"name": "oidc", "config": _oidc(9999999999)}}),
    ),
}  # fmt: skip

REFUSED: dict[str, Case] = {
    "truth value as text": Case(lambda w: ({"insecure-skip-tls-verify": "false"}, {"token": "t"})),
    "number for a token": Case(lambda w: ({}, {"token": 123456})),
    "token with a line end": Case(lambda w: ({}, {"token": "abcdef\n"})),
    "token with a carriage return": Case(lambda w: ({}, {"token": "abc\rdef"})),
    "group with a line end": Case(lambda w: ({}, {"token": "t", "as": "a", "as-groups": ["b\nc: d"]})),
    "groups without a user": Case(lambda w: ({}, {"token": "t", "as-groups": ["b"]})),
    "token and password": Case(lambda w: ({}, {"token": "t", "username": "a", "password": "b"})),
    "empty token file": Case(lambda w: ({}, {"tokenFile": w.file("t", " \n")})),
    "token file that is not there": Case(lambda w: ({}, {"tokenFile": "gone"})),
    "certificate without a key": Case(lambda w: ({}, {"client-certificate": w.client("a")["client-certificate"]})),
    "certificate and key of two": Case(lambda w: ({}, w.client("a") | {"client-key": w.client("b")["client-key"]})),
    "certificate twice": Case(lambda w: ({}, w.client("a") | {"client-certificate-data": "YQ=="})),
    "authority that is none": Case(lambda w: ({"certificate-authority": w.file("x", "no PEM")}, {"token": "t"})),
    "authority that is not there": Case(lambda w: ({"certificate-authority": "gone"}, {"token": "t"})),
    "authority twice": Case(lambda w: ({"certificate-authority-data": "YQ=="}, {"token": "t"})),
    "authority that nobody asks": Case(lambda w: ({"insecure-skip-tls-verify": True}, {"token": "t"})),
    "authority of others": Case(
        lambda w: ({"certificate-authority": w.file("x", LabCA("x").certificate_pem)}, {"token": "t"})
    ),
    "certificate for another name": Case(lambda w: ({"tls-server-name": "other.example"}, {"token": "t"})),
    "proxy of no scheme": Case(lambda w: ({"proxy-url": f"127.0.0.1:{w.proxy.port}"}, {"token": "t"})),
    "proxy of another scheme": Case(lambda w: ({"proxy-url": f"ftp://127.0.0.1:{w.proxy.port}"}, {"token": "t"})),
    "proxy without a port that is one": Case(lambda w: ({"proxy-url": "http://u:pw@127.0.0.1:99999"}, {"token": "t"})),
    "plugin without a mode": Case(lambda w: ({}, w.exec('{"token":"t"}', interactiveMode=None))),
    "plugin that needs a terminal": Case(lambda w: ({}, w.exec('{"token":"t"}', interactiveMode="Always"))),
    "plugin of no version": Case(lambda w: ({}, w.exec('{"token":"t"}', apiVersion="v1"))),
    "plugin of another version than it answers": Case(
        lambda w: ({}, w.exec('{"token":"t"}', env=[{"name": "VERSION", "value": BETA}]))
    ),
    "plugin that is not there": Case(lambda w: ({}, w.exec('{"token":"t"}', command="./gone"))),
    "plugin that gives nothing": Case(lambda w: ({}, w.exec("{}"))),
    "plugin that gives half": Case(lambda w: ({}, w.exec('{"clientKeyData":"x"}'))),
    "plugin that gives no certificate": Case(
        lambda w: ({}, w.exec('{"clientKeyData":"x","clientCertificateData":"y"}'))
    ),
    "plugin and auth-provider": Case(
        lambda w: ({}, w.exec('{"token":"t"}') | {"auth-provider": {"name": "oidc", "config": {}}})
    ),
    "auth-provider that is gone": Case(lambda w: ({}, {"auth-provider": {"name": "gcp", "config": {}}})),
    "id-token that is over": Case(lambda w: ({}, {"auth-provider": {"name": "oidc", "config": _oidc(1)}})),
    "two extensions of one name": Case(
        lambda w: ({"extensions": 2 * [{"name": "a", "extension": {"b": "c"}}]}, {"token": "t"})
    ),
    # what kubectl takes and we do not
    "server with a login": Case(
        lambda w: ({"server": f"https://user:pw@127.0.0.1:{w.server.port}"}, {"token": "t"}), stricter=True
    ),
}  # fmt: skip


def _certificate(world: World, name: str) -> dict[str, str]:
    made = world.ca.client_certificate(name)
    return {"clientCertificateData": made.certificate_pem.decode(), "clientKeyData": made.key_pem.decode()}


def _oidc(ends: int) -> dict[str, str]:
    parts = ({"alg": "none"}, {"exp": ends})
    head, claims = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return {"id-token": f"{head}.{claims}.c2ln", "idp-issuer-url": "https://127.0.0.1:1", "client-id": "x"}


@dataclass
class Heard:
    """What one of the two had the server, the proxy and the plugin see, and whether it got an answer."""

    answered: bool
    asked: list[Asked]
    proxied: list[tuple[str, str]]
    told: list[Any]
    said: str


def _kubeconfig(world: World, case: Case) -> Path:
    cluster, user = case.entries(world)
    entry = {"server": world.server.url, "certificate-authority": "ca.crt"} | cluster
    path = kubeconfig_of(world.folder / "config", {k: v for k, v in entry.items() if v is not None}, user)
    path.write_bytes(case.written(path.read_text()).encode())
    return path


def _heard(world: World, answered: bool, said: str) -> Heard:
    proxied = [*world.proxy.asked, *world.tls_proxy.asked]
    heard = Heard(answered, world.server.asked[:], proxied, world.told, said)
    for each in (world.server, world.proxy, world.tls_proxy):
        each.asked.clear()
    return heard


async def _by_kubectl(world: World, program: str, path: Path, environment: Mapping[str, str]) -> Heard:
    process = await asyncio.create_subprocess_exec(
        program,
        f"--kubeconfig={path}",
        "--request-timeout=10s",
        "get",
        "--raw",
        "/version",
        cwd="/",
        env={**plain_environment(os.environ), **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    return _heard(world, process.returncode == 0 and b"noted" in out, err.decode())


async def _by_us(world: World, path: Path, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Heard:
    for name in set(os.environ) - set(plain_environment(os.environ)):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = ""
    try:
        async with reach(path, timeout_s=10) as api:
            said = (await api.request("GET", "/version"))["gitVersion"]
    except (ClusterUnreachable, ApiError) as error:
        return _heard(world, False, error.summary)
    return _heard(world, "noted" in said, said)


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in TAKEN.items()])
async def test_the_server_is_asked_as_kubectl_asks(
    world: World, kubectl_program: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, environment = _kubeconfig(world, case), case.environment(world)
    theirs = await _by_kubectl(world, kubectl_program, path, environment)
    ours = await _by_us(world, path, environment, monkeypatch)
    assert theirs.answered, theirs.said
    assert ours.answered, ours.said
    assert (ours.asked, ours.proxied, ours.told) == (theirs.asked, theirs.proxied, theirs.told)


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in REFUSED.items()])
async def test_what_kubectl_refuses_is_refused_with_a_sentence(
    world: World, kubectl_program: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, environment = _kubeconfig(world, case), case.environment(world)
    theirs = await _by_kubectl(world, kubectl_program, path, environment)
    ours = await _by_us(world, path, environment, monkeypatch)
    assert theirs.answered is case.stricter, theirs.said
    assert not ours.answered
    assert ours.asked == []
    assert ours.said.endswith((".", "`kubectl --kubeconfig FILE version` on this machine."))
    assert "pw" not in ours.said
    assert "[redacted]" not in ours.said, "our own words are taken for a secret"
