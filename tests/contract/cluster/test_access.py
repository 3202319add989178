"""Who we are to an API server from request to request, and what lies on the way to it."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import select
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from poolkeeper.deployments.lab.kubernetes import LabCA
from poolkeeper.deployments.lab.kubernetes.certificates import Certificate, load_certificate
from poolkeeper.tasks.cluster import ApiError, ClusterUnreachable
from poolkeeper.tasks.cluster.kubeconfig import ExecEntry, KubeconfigUnusable
from poolkeeper.tasks.cluster.plugin import ask_plugin
from tests.contract.cluster import faulty as servers
from tests.contract.cluster.conftest import kubeconfig_of, reach
from tests.contract.cluster.noting import HOST, NotingProxy, NotingServer, plain_environment

V1 = "client.authentication.k8s.io/v1"
PAST = "2026-01-01T00:00:00Z"
PASSWORD = "example-password"


@pytest.fixture
def ca() -> LabCA:
    return LabCA()


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(os.environ) - set(plain_environment(os.environ)):
        monkeypatch.delenv(name)


@pytest.fixture
async def server(ca: LabCA) -> AsyncIterator[NotingServer]:
    made = NotingServer(ca)
    await made.start()
    yield made
    await made.stop()


class Kubeconfig:
    """One with an exec plugin, which is a shell script that counts its calls."""

    def __init__(self, folder: Path, server: NotingServer, ca: LabCA) -> None:
        self.folder, self.server = folder, server
        (folder / "ca.crt").write_bytes(ca.certificate_pem)

    def of(self, user: dict[str, Any], **cluster: Any) -> Path:
        entry = {"server": self.server.url, "certificate-authority": "ca.crt"} | cluster
        return kubeconfig_of(self.folder / "config", {k: v for k, v in entry.items() if v is not None}, user)

    def plugin(self, body: str, **more: Any) -> Path:
        path = self.folder / "plugin"
        path.write_text(f"#!/bin/sh\necho called >> '{self.folder}/calls'\n{body}\n")
        path.chmod(0o700)
        return self.of({"exec": {"apiVersion": V1, "command": "./plugin", "interactiveMode": "Never"} | more})

    def gives(self, **status: str) -> str:
        """A plugin's body: the credential that lies in a file, which may be replaced."""
        answer = {"apiVersion": V1, "kind": "ExecCredential", "status": status}
        (self.folder / "credential").write_text(json.dumps(answer))
        return f"cat '{self.folder}/credential'"

    @property
    def calls(self) -> int:
        return len((self.folder / "calls").read_text().splitlines())


@pytest.fixture
def kubeconfig(tmp_path: Path, server: NotingServer, ca: LabCA) -> Kubeconfig:
    return Kubeconfig(tmp_path, server, ca)


def pair(ca: LabCA, name: str) -> dict[str, str]:
    made = ca.client_certificate(name)
    return {"clientCertificateData": made.certificate_pem.decode(), "clientKeyData": made.key_pem.decode()}


def answers(status: str) -> str:
    """A plugin's body: a status as it stands there."""
    return f"""printf '%s' '{{"apiVersion": "{V1}", "kind": "ExecCredential", "status": {status}}}'"""


async def refused(path: Path) -> str:
    with pytest.raises(ClusterUnreachable) as caught:
        async with reach(path) as api:
            await api.request("GET", "/version")
    assert PASSWORD not in str(caught.value) + repr(caught.value)
    return caught.value.summary


# exec plugins


async def test_a_plugin_is_asked_once_while_its_credential_is_good(kubeconfig: Kubeconfig) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    async with reach(kubeconfig.plugin(kubeconfig.gives(token="one", expirationTimestamp=soon))) as api:
        for _ in range(3):
            await api.request("GET", "/version")
    assert kubeconfig.calls == 1


async def test_a_plugins_certificate_is_asked_for_again_once_it_is_over(
    kubeconfig: Kubeconfig, server: NotingServer, ca: LabCA
) -> None:
    async with reach(kubeconfig.plugin(kubeconfig.gives(**pair(ca, "one"), expirationTimestamp=PAST))) as api:
        await api.request("GET", "/version")
        kubeconfig.gives(**pair(ca, "two"), expirationTimestamp=PAST)
        await api.request("GET", "/version")
    assert [asked.certificate for asked in server.asked] == ["one", "two"]
    assert kubeconfig.calls == 3  # one of them as the connection was made


async def test_a_401_asks_the_plugin_again_and_sends_the_request_once_more(
    kubeconfig: Kubeconfig, server: NotingServer, ca: LabCA
) -> None:
    async with reach(kubeconfig.plugin(kubeconfig.gives(token="one"))) as api:
        await api.request("GET", "/version")
        server.refuses.add("Bearer one")
        kubeconfig.gives(**pair(ca, "two"))
        await api.request("GET", "/version")
        await api.request("GET", "/version")
    seen = [(asked.authorization, asked.certificate) for asked in server.asked]
    assert seen == [("Bearer one", ""), ("Bearer one", ""), ("", "two"), ("", "two")]
    assert kubeconfig.calls == 2


async def test_a_401_that_stays_is_told_after_one_more_try(kubeconfig: Kubeconfig, server: NotingServer) -> None:
    server.refuses.add("Bearer one")
    async with reach(kubeconfig.plugin(kubeconfig.gives(token="one"))) as api:
        with pytest.raises(ApiError, match="401"):
            await api.request("GET", "/version")
    assert (len(server.asked), kubeconfig.calls) == (2, 2)


async def test_a_401_for_a_token_is_final(kubeconfig: Kubeconfig, server: NotingServer) -> None:
    server.refuses.add("Bearer one")
    async with reach(kubeconfig.of({"token": "one"})) as api:
        with pytest.raises(ApiError, match="401"):
            await api.request("GET", "/version")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param("echo no such account >&2; exit 7", "it ended with code 7 (no such account)", id="fails"),
        pytest.param(f"echo https://u:{PASSWORD}@idp says no >&2; exit 1", "(https://u:[redacted]@idp says no)", id="fails with a password"),
        pytest.param('echo "we have $PLUGIN_SECRET" >&2; exit 1', "(we have [redacted])", id="fails and tells its env"),
        pytest.param(f"echo {PASSWORD}", "its answer is no JSON", id="no JSON"),
        pytest.param("echo '[]'", "its answer is no ExecCredential", id="a list"),
        pytest.param("yes 0123456789abcdef | head -c 5000000", "it answered more than 1 MB", id="floods"),
        pytest.param("yes | head -c 5000000 >&2; exit 1", "it ended with code 1 (y)", id="floods stderr"),
        pytest.param(answers('{"token": "a\\nb"}'), "gave a token with a line end", id="a token with a line end"),
        pytest.param(answers('{"token": "a", "expirationTimestamp": "soon"}'), "its expirationTimestamp is no time", id="an end that is none"),
    ],
)  # fmt: skip
async def test_a_plugin_that_gives_nothing(kubeconfig: Kubeconfig, body: str, words: str) -> None:
    env = [{"name": "PLUGIN_SECRET", "value": "opaque-credential-4711"}]
    said = await refused(kubeconfig.plugin(body, env=env))
    assert "its exec plugin `" in said
    assert words in said


@pytest.mark.parametrize("ends", ["sleep 600", "exit 0"])
async def test_a_plugin_that_hangs_is_ended_with_all_that_it_has_begun(tmp_path: Path, ends: str) -> None:
    body = f"sleep 600 & echo $! > '{tmp_path}/child'; {ends}"
    entry = ExecEntry(command="sh", args=["-c", body], apiVersion=V1, interactiveMode="Never")
    with pytest.raises(KubeconfigUnusable, match=r"its exec plugin `sh` gave no credential within 0.5 s"):
        await ask_plugin(entry, {}, timeout_s=0.5)
    child = int((tmp_path / "child").read_text())
    async with asyncio.timeout(10):
        await asyncio.to_thread(_until_ended, child)


def _until_ended(pid: int) -> None:
    with suppress(OSError), select.epoll() as ended:
        ended.register(os.pidfd_open(pid), select.EPOLLIN)
        assert ended.poll(10)


async def test_a_plugin_that_hangs_later_costs_a_request_its_own_deadline(
    kubeconfig: Kubeconfig, server: NotingServer
) -> None:
    once = f"[ $(wc -l < '{kubeconfig.folder}/calls') -lt 2 ] || sleep 600"
    path = kubeconfig.plugin(f"{once}\n{kubeconfig.gives(token='one', expirationTimestamp=PAST)}")
    async with asyncio.timeout(20), reach(path, timeout_s=0.5) as api:
        with pytest.raises(ClusterUnreachable, match=r"exec plugin gave no credential within 0.5 s$"):
            await api.request("GET", "/version")
    assert server.asked == []


async def test_a_plugin_that_is_not_installed_says_how_it_is(kubeconfig: Kubeconfig) -> None:
    path = kubeconfig.plugin("", command="no-such-program", installHint="brew install it\nwith more words")
    assert "its exec plugin `no-such-program` is not there (brew install it)" in await refused(path)


# files that are replaced


async def test_client_certificates_in_files_are_read_again_when_they_change(
    kubeconfig: Kubeconfig, server: NotingServer, ca: LabCA
) -> None:
    crt, key = kubeconfig.folder / "my.crt", kubeconfig.folder / "my.key"
    ca.client_certificate("one").write(crt, key)
    async with reach(kubeconfig.of({"client-certificate": crt.name, "client-key": key.name})) as api:
        await api.request("GET", "/version")
        ca.client_certificate("another").write(crt, key)
        await api.request("GET", "/version")
        crt.unlink()  # being replaced
        await api.request("GET", "/version")
    assert [asked.certificate for asked in server.asked] == ["one", "another", "another"]


async def test_a_token_file_that_is_being_replaced(kubeconfig: Kubeconfig, server: NotingServer) -> None:
    token = kubeconfig.folder / "token"
    token.write_text("one\n")
    async with reach(kubeconfig.of({"tokenFile": "token"})) as api:
        token.unlink()
        await api.request("GET", "/version")
        token.write_text("two")
        await api.request("GET", "/version")
    assert [asked.authorization for asked in server.asked] == ["Bearer one", "Bearer two"]


# proxies


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        pytest.param(407, "Proxy Authentication Required", "answers HTTP 407 Proxy Authentication Required. Correct its user and password", id="407"),
        pytest.param(403, f"no \x1b[2J http://u:{PASSWORD}@x", "answers HTTP 403 no ?[2J http://u:[redacted]@x. Allow connections", id="403 with hostile words"),
        pytest.param(503, "Busy", "answers HTTP 503 Busy. Allow connections", id="503"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["proxy-url", "environment"])
async def test_a_proxy_that_refuses(
    kubeconfig: Kubeconfig, monkeypatch: pytest.MonkeyPatch, status: int, reason: str, words: str, where: str
) -> None:
    proxy = NotingProxy(status, reason)
    await proxy.start()
    url = f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}"
    if where == "environment":
        monkeypatch.setenv("HTTPS_PROXY", url)
        path = kubeconfig.of({"token": "t"}, server=f"https://{HOST}:{kubeconfig.server.port}")
    else:
        path = kubeconfig.of({"token": "t"}, **{"proxy-url": url})
    said = await refused(path)
    source = "$HTTPS_PROXY" if where == "environment" else "its proxy-url"
    assert said.startswith(
        f"the proxy http://127.0.0.1:{proxy.port} ({source}) on the way to the API server at https://"
    )
    assert words in said
    assert ("$NO_PROXY" in said) is (where == "environment")  # which does not count for a proxy-url
    await proxy.stop()


async def test_a_proxy_where_nobody_listens(kubeconfig: Kubeconfig) -> None:
    said = await refused(kubeconfig.of({"token": "t"}, **{"proxy-url": f"http://user:{PASSWORD}@127.0.0.1:1"}))
    assert said.startswith("the proxy http://127.0.0.1:1 (its proxy-url) on the way to the API server at https://")
    assert "cannot be reached: " in said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param(f"http://user:{PASSWORD}@127.0.0.1:99999", "its proxy-url is no URL of a proxy", id="no port"),
        pytest.param(f"socks5://user:{PASSWORD}@127.0.0.1:1080", "its proxy-url is a SOCKS proxy", id="SOCKS"),
    ],
)
async def test_a_proxy_that_is_none(kubeconfig: Kubeconfig, url: str, words: str) -> None:
    assert words in await refused(kubeconfig.of({"token": "t"}, **{"proxy-url": url}))


# how it is trusted


def old_pair() -> tuple[bytes, Certificate]:
    """An authority without key identifiers, as clusters of years ago have it, and a server's certificate of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.now(UTC)

    def builder(subject: x509.Name) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))

    authority = builder(name).add_extension(x509.BasicConstraints(True, None), critical=True).sign(key, hashes.SHA256())
    names = x509.SubjectAlternativeName([_general_name("127.0.0.1")])
    other = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    leaf = builder(other).add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    as_pem = serialization.Encoding.PEM
    return authority.public_bytes(as_pem), Certificate(leaf.public_bytes(as_pem), pem)


def _general_name(address: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(address))


async def test_an_authority_of_years_ago_is_trusted_on_newer_pythons_too(
    kubeconfig: Kubeconfig, server: NotingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ssl.create_default_context

    def strict(*given: Any, **named: Any) -> ssl.SSLContext:
        """What Python has made from 3.13 on."""
        context = made(*given, **named)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    authority, certificate = old_pair()
    load_certificate(server.context, certificate)
    (kubeconfig.folder / "old.crt").write_bytes(authority)
    async with reach(kubeconfig.of({"token": "t"}, **{"certificate-authority": "old.crt"})) as api:
        await api.request("GET", "/version")


async def test_a_server_that_is_not_verified_is_told(kubeconfig: Kubeconfig, caplog: pytest.LogCaptureFixture) -> None:
    path = kubeconfig.of({"token": "t"}, **{"certificate-authority": None, "insecure-skip-tls-verify": True})
    async with reach(path) as api:
        await api.request("GET", "/version")
        api.log_findings()
        (finding,) = api.findings
    assert finding.id == "cluster.connection.unverified"
    assert "is not verified (insecure-skip-tls-verify)" in finding.evidence.observed
    assert "is not verified (insecure-skip-tls-verify)" in caplog.text


async def test_plain_http_is_told_and_gets_no_credential(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = servers.TellsHeaders()
    await server.start()
    async with reach(kubeconfig_of(tmp_path / "k", {"server": server.url}, {"token": "t", "as": "x"})) as api:
        headers = await api.request("GET", "/version")
        api.log_findings()
        (finding,) = api.findings
    await server.stop()
    assert "Authorization" not in headers
    assert headers["Impersonate-User"] == "x"
    assert "have no TLS and no credential" in finding.evidence.observed
    assert "have no TLS and no credential" in caplog.text


async def test_a_verified_server_is_not_worth_a_word(kubeconfig: Kubeconfig, caplog: pytest.LogCaptureFixture) -> None:
    async with reach(kubeconfig.of({"token": "t"})) as api:
        assert api.findings == ()
    assert caplog.text == ""


@pytest.mark.parametrize(
    "url", ["127.0.0.1:6443", "ftp://127.0.0.1", "https://", "https://[::1", "https://h:port", "https://h\n"]
)
async def test_a_server_that_is_none(kubeconfig: Kubeconfig, url: str) -> None:
    assert "its server is no URL, such as https://HOST:6443" in await refused(kubeconfig.of({}, server=url))


async def test_a_server_with_a_login_is_refused_without_it(kubeconfig: Kubeconfig) -> None:
    said = await refused(kubeconfig.of({}, server=f"https://user:{PASSWORD}@127.0.0.1:1"))
    assert "its server holds a login, which belongs to the user entry." in said


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    server = servers.SendsElsewhere()
    await server.start()
    said = await refused(kubeconfig_of(tmp_path / "k", {"server": server.url}, {}))
    await server.stop()
    assert "is no API server: GET /version is redirected" in said
    assert [path for _, path in server.asked] == ["/version"]
