"""A kubeconfig is read as kubectl reads it, or refused by position and never by content."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from poolkeeper.tasks.cluster import kubeconfig as module
from poolkeeper.tasks.cluster.access import authorities
from poolkeeper.tasks.cluster.kubeconfig import KubeconfigUnusable, read_kubeconfig, unusable
from poolkeeper.tasks.cluster.plugin import Credential
from poolkeeper.tasks.fleet.model import SecretRef
from poolkeeper.tasks.outcomes import REDACTED, Secret
from tests.unit.onboard.builders import CLUSTER

SECRET = "s3cr3t-t0ken-of-the-kubeconfig"
EXEC = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./bin/token", "interactiveMode": "Never"}


def document(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"} | (cluster or {})}],
        "users": [{"name": "u", "user": {"token": SECRET} if user is None else user}],
        "contexts": [{"name": "only", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "only",
    } | more


def refused(text: str) -> str:
    with pytest.raises(KubeconfigUnusable) as caught:
        read_kubeconfig(CLUSTER, Secret(text))
    assert REDACTED not in str(unusable(CLUSTER, str(caught.value))), "its words look like a secret's"
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


@pytest.mark.parametrize(
    ("cluster", "user", "words"),
    [
        pytest.param({"insecure-skip-tls-verify": "false"}, None, "clusters[0].cluster.insecure-skip-tls-verify must be true or false", id="a truth value as text"),
        pytest.param({"insecure-skip-tls-verify": "no"}, None, "insecure-skip-tls-verify must be true or false", id="no as text"),
        pytest.param({"insecure-skip-tls-verify": 0}, None, "insecure-skip-tls-verify must be true or false", id="a number for it"),
        pytest.param({"disable-compression": "true"}, None, "disable-compression must be true or false", id="another truth value"),
        pytest.param({"server": 6443}, None, "clusters[0].cluster.server must be text", id="a number for text"),
        pytest.param({"certificate-authority-data": "!"}, None, "certificate-authority-data is not base64", id="no base64"),
        pytest.param({"certificate-authority-data": ["x"]}, None, "certificate-authority-data must be text", id="a list for data"),
        pytest.param({"extensions": {"a": 1}}, None, "clusters[0].cluster.extensions must be a list", id="a block for a list"),
        pytest.param({}, {"token": f"{SECRET}\n"}, "users[0].user.token has a line end", id="a token with a line end"),
        pytest.param({}, {"token": f"{SECRET}\r"}, "users[0].user.token has a line end", id="a carriage return"),
        pytest.param({}, {"token": 12345678}, "users[0].user.token must be text", id="a number for a token"),
        pytest.param({}, {"as": "x", "as-groups": "few-rights"}, "users[0].user.as-groups must be a list", id="text for groups"),
        pytest.param({}, {"as": "x", "as-groups": [f"a\n{SECRET}"]}, "users[0].user.as-groups[0] has a line end", id="a header within a group"),
        pytest.param({}, {"as": "x", "as-user-extra": {SECRET: "x"}}, "users[0].user.as-user-extra must be a list", id="a key is not repeated"),
        pytest.param({}, {"exec": {**EXEC, "args": SECRET}}, "users[0].user.exec.args must be a list", id="text for arguments"),
        pytest.param({}, {"exec": {**EXEC, "env": [{"name": "A", "value": 1}]}}, "users[0].user.exec.env[0].value must be text", id="a number for a variable"),
        pytest.param({}, {"exec": {**EXEC, "provideClusterInfo": "yes"}}, "exec.provideClusterInfo must be true or false", id="a plugin's truth value"),
        pytest.param({}, [SECRET], "users[0].user must be a block of keys", id="a list for a user"),
        # what clientcmd's validation refuses
        pytest.param({"server": ""}, None, "its cluster c names no server", id="no server"),
        pytest.param({"certificate-authority": "a", "certificate-authority-data": "YQ=="}, None, "both certificate-authority and", id="two authorities"),
        pytest.param({"certificate-authority": "a", "insecure-skip-tls-verify": True}, None, "both insecure-skip-tls-verify and", id="an authority that is not asked"),
        pytest.param({}, {"token": SECRET, "username": "a"}, "both a token and username", id="two credentials"),
        pytest.param({}, {"client-certificate": "a"}, "no client-key", id="no key"),
        pytest.param({}, {"client-certificate": "a", "client-certificate-data": "YQ==", "client-key": "b"}, "both client-certificate and", id="two certificates"),
        pytest.param({}, {"client-certificate": "a", "client-key": "b", "client-key-data": "YQ=="}, "both client-key and", id="two keys"),
        pytest.param({}, {"as-groups": ["g"]}, "and no `as`", id="groups of nobody"),
        pytest.param({}, {"as-uid": "7"}, "and no `as`", id="a uid of nobody"),
        pytest.param({}, {"as-user-extra": {"a": ["b"]}}, "and no `as`", id="an extra of nobody"),
        pytest.param({}, {"exec": EXEC, "auth-provider": {"name": "oidc"}}, "both exec and auth-provider", id="two ways to ask"),
        pytest.param({}, {"exec": {**EXEC, "command": ""}}, "without command", id="a plugin without a command"),
        pytest.param({}, {"exec": {**EXEC, "apiVersion": "v1"}}, "apiVersion that is neither", id="a plugin of another version"),
        pytest.param({}, {"exec": {**EXEC, "apiVersion": EXEC["apiVersion"] + "alpha1"}}, "apiVersion that is neither", id="a plugin of an old version"),
        pytest.param({}, {"exec": {**EXEC, "interactiveMode": ""}}, "needs an interactiveMode", id="a plugin that does not say whether it asks"),
        pytest.param({}, {"exec": {**EXEC, "interactiveMode": "always"}}, "needs an interactiveMode", id="a mode that is none"),
        pytest.param({}, {"exec": {**EXEC, "env": [{"value": "x"}]}}, "a variable without a name", id="a variable without a name"),
        # what only a person could do
        pytest.param({}, {"exec": {**EXEC, "interactiveMode": "Always"}}, "asks a person at a terminal", id="a plugin that needs a terminal"),
    ],
)  # fmt: skip
def test_what_is_refused(cluster: dict[str, Any], user: dict[str, Any] | None, words: str) -> None:
    assert words in refused(yaml.safe_dump(document(cluster, user)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "it is no YAML mapping", id="empty"),
        pytest.param("- a\n- list\n", "it is no YAML mapping", id="a list"),
        pytest.param(f"a: {SECRET}\n  b: [", "it is not YAML at line 2", id="not YAML"),
        pytest.param(f"a: b\ntoken: *{SECRET}\n", "it is not YAML at line 2", id="an alias of nothing"),
        pytest.param(f"a: b\ntoken: {SECRET}\x00", "it is not YAML at line 2", id="binary"),
        pytest.param(f"a: b\n---\n{SECRET}: c", "it is not YAML at line 2", id="two documents"),
        pytest.param("a:\n" + "[" * 100_000, "it is not YAML at line 2", id="nested for ever"),
        pytest.param(f"{SECRET}: 1\n{SECRET}: 2", "line 2: a key is there twice", id="a key twice"),
        pytest.param(f"token: !!python/name:{SECRET} x", "or a value has a tag", id="a tag"),
        pytest.param("x" * 4_000_001, "it is larger than 4 MB", id="huge"),
        pytest.param(yaml.safe_dump(document(kind="Pod")), "its kind is not Config", id="another kind"),
        pytest.param(yaml.safe_dump(document(apiVersion="v2")), "or its apiVersion is not v1", id="another version"),
        pytest.param("kind: Config", "it has no current-context (there is no context)", id="nothing in it"),
        pytest.param(yaml.safe_dump(document(**{"current-context": "x"})), "it has no context x (only)", id="a context that is not there"),
        pytest.param(yaml.safe_dump(document(clusters=[])), "the cluster c of its context only is not among", id="a cluster that is not there"),
        pytest.param(yaml.safe_dump(document(users=[])), "the user u of its context only is not among", id="a user that is not there"),
        pytest.param(yaml.safe_dump(document(users=[{"name": "u"}, {"name": "u"}])), "users has two entries of one name", id="a user twice"),
        pytest.param(yaml.safe_dump(document(contexts=[{"name": n} for n in "ab"])), "set clusters.main.context (a, b)", id="which context is left to chance"),
    ],
)  # fmt: skip
def test_what_is_no_kubeconfig(text: str, words: str) -> None:
    assert words in refused(text)


def test_the_line_is_told() -> None:
    text = "kind: Config\nclusters:\n- name: c\n  cluster:\n    server: https://x\n    insecure-skip-tls-verify: 'no'\n"
    assert refused(text).startswith("line 6: clusters[0].cluster.insecure-skip-tls-verify must be")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(yaml.safe_dump(document(preferences={"colors": True}, unknown={"of": "others"})), id="fields of others"),
        pytest.param('{\n\t"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],\n\t"users": [{"name": "u"}],'
                     '\n\t"contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x"}', id="JSON with tabs"),
        pytest.param(yaml.safe_dump(document(user={"token": None, "exec": None, "as-groups": None, "client-certificate-data": None})), id="nothing behind keys"),
        pytest.param(yaml.safe_dump(document(user={"exec": {**EXEC, "apiVersion": "client.authentication.k8s.io/v1beta1", "interactiveMode": None}})), id="a beta plugin may leave out how it asks"),
    ],
)  # fmt: skip
def test_what_is_taken(text: str) -> None:
    server, _ = read_kubeconfig(CLUSTER, Secret(text))
    assert server.server == "https://127.0.0.1:1"


def test_paths_start_at_the_kubeconfigs_folder(tmp_path: Path) -> None:
    user = {"client-certificate": "a.crt", "client-key": "/b.key", "tokenFile": "t", "exec": EXEC}
    text = yaml.safe_dump(document({"certificate-authority": "pki/ca.crt"}, user))
    cluster = replace(CLUSTER, kubeconfig=SecretRef(file=tmp_path / "config"))
    server, us = read_kubeconfig(cluster, Secret(text))
    assert us.exec is not None
    assert [server.certificate_authority, us.client_certificate, us.client_key, us.token_file, us.exec.command] == [
        *(str(tmp_path / name) for name in ("pki/ca.crt", "a.crt")),
        "/b.key",
        *(str(tmp_path / name) for name in ("t", "bin/token")),
    ]


def test_a_command_without_a_slash_is_looked_up() -> None:
    cluster = replace(CLUSTER, kubeconfig=SecretRef(file=Path("/nowhere/config")))
    _, us = read_kubeconfig(cluster, Secret(yaml.safe_dump(document(user={"exec": {**EXEC, "command": "aws"}}))))
    assert us.exec is not None
    assert us.exec.command == "aws"


_CLIENTCMD = """
apiVersion kind preferences colors extensions clusters users contexts current-context name extension cluster server
tls-server-name insecure-skip-tls-verify certificate-authority certificate-authority-data proxy-url disable-compression
user client-certificate client-certificate-data client-key client-key-data token tokenFile as as-uid as-groups
as-user-extra username password auth-provider config exec command args env value installHint provideClusterInfo
interactiveMode context namespace
"""
CLIENTCMD = _CLIENTCMD.split()
"""Every field of k8s.io/client-go/tools/clientcmd/api/v1, by its name in JSON."""


def test_every_field_is_read_and_in_the_table() -> None:
    assert set(module._KEYS) == set(CLIENTCMD)
    told = module.__doc__ or ""
    told_of = [name for name in CLIENTCMD if f"`{name.removesuffix('-data')}" in told]
    assert sorted(set(CLIENTCMD) - set(told_of)) == ["value"]  # of a variable of `env`


# authorities


def test_an_authoritys_file_may_hold_anything_beside_its_certificates() -> None:
    pem = (Path(__file__).parent / "authorities" / "ec.pem").read_bytes()
    around = "# Aussteller: M\u00fcller\n".encode()
    for text in (around + pem, around.decode().encode("latin-1") + pem, pem.replace(b"\n", b"\r\n") + b"\xff\xfe"):
        assert authorities(text) == authorities(pem)
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert authorities(broken + pem + pem) == authorities(pem) * 2
    assert authorities(pem).isascii()


@pytest.mark.parametrize("pem", [b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_an_authority_that_is_none(pem: bytes) -> None:
    with pytest.raises(KubeconfigUnusable, match="no certificate in PEM"):
        authorities(pem)


def test_a_credential_is_not_printed() -> None:
    credential = Credential(f"Bearer {SECRET}", (SECRET.encode(), b64encode(b"x")), datetime(2026, 1, 1, tzinfo=UTC))
    assert SECRET not in repr(credential)
    assert credential.expired(datetime(2026, 1, 2, tzinfo=UTC))
    assert not credential.expired(datetime(2025, 1, 2, tzinfo=UTC))
