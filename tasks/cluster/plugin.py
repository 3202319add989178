"""Exec plugins: programs that give credentials, run as client-go runs them (client.authentication.k8s.io).

Never interactively: poolkeeper's runs have no person at a terminal. Nothing that a plugin prints is repeated but its
last words on stderr, redacted, where it fails.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

import orjson

from poolkeeper.tasks.cluster.kubeconfig import ExecEntry, KubeconfigUnusable
from poolkeeper.tasks.outcomes import Secret, quoted

EXEC_TIMEOUT_S = 30.0
MOST_BYTES = 1_000_000
"""Of what a plugin answers."""
_WORDS_BYTES = 4096
"""Characters of its other output that are kept, from the end."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Who we are to an API server, for a while."""

    authorization: str = field(default="", repr=False)
    """Value of the header Authorization; empty: none."""
    certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)
    """A client certificate and its key, PEM."""
    expires_at: datetime | None = None

    def expired(self, now: datetime) -> bool:
        """Whether it is over."""
        return self.expires_at is not None and now > self.expires_at


async def ask_plugin(plugin: ExecEntry, cluster: Mapping[str, Any], timeout_s: float = EXEC_TIMEOUT_S) -> Credential:
    """The credential that a plugin gives. Raises KubeconfigUnusable.

    cluster: what it is told of the cluster, if it wants to be
    """
    spec = {"interactive": False} | ({"cluster": cluster} if plugin.provide_cluster_info else {})
    request = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    environment = {
        **os.environ,
        **{variable.name: variable.value for variable in plugin.env},
        "KUBERNETES_EXEC_INFO": orjson.dumps(request).decode(),
    }
    program = shutil.which(plugin.command)
    if program is None:
        hint = quoted(plugin.install_hint)
        _refuse(plugin, f"is not there{f' ({hint})' if hint else ''}")
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *plugin.args,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        _refuse(plugin, f"cannot be run: {getattr(error, 'strerror', None) or 'its arguments or env are no text'}")
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(timeout_s):
            answer, words, code = await asyncio.gather(_first(process.stdout), _last(process.stderr), process.wait())
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and whatever it has begun
        with suppress(TimeoutError):
            async with asyncio.timeout(1):  # a child that has left the group may hold its output for ever
                await process.wait()
        if isinstance(error, TimeoutError):
            _refuse(plugin, f"gave no credential within {timeout_s:g} s")
        raise
    if code != 0:
        secrets = [Secret(variable.value) for variable in plugin.env]
        said = quoted(words.strip().rpartition("\n")[2], *secrets)
        _refuse(plugin, f"gave no credential: it ended with code {code}{f' ({said})' if said else ''}")
    if len(answer) > MOST_BYTES:
        _refuse(plugin, "gave no credential: it answered more than 1 MB")
    return _credential(plugin, answer)


async def _first(stream: asyncio.StreamReader) -> bytes:
    """What a stream gives, to its end, as far as it is read."""
    kept = bytearray()
    while piece := await stream.read(65536):
        if len(kept) <= MOST_BYTES:
            kept += piece
    return bytes(kept)


async def _last(stream: asyncio.StreamReader) -> str:
    """The last of what a stream gives."""
    kept = b""
    while piece := await stream.read(65536):
        kept = (kept + piece)[-_WORDS_BYTES:]
    return kept.decode("utf-8", "replace")


def _credential(plugin: ExecEntry, answer: bytes) -> Credential:
    """What a plugin answered. Raises KubeconfigUnusable."""
    try:
        given = orjson.loads(answer)
    except ValueError:
        _refuse(plugin, "gave no credential: its answer is no JSON")
    if not isinstance(given, dict) or given.get("kind") != "ExecCredential":
        _refuse(plugin, "gave no credential: its answer is no ExecCredential")
    if given.get("apiVersion") != plugin.api_version:
        _refuse(plugin, f"gave no credential: it answers in another apiVersion than {plugin.api_version}")
    status = given.get("status") or {}
    given = status if isinstance(status, dict) else {}
    token, certificate, key, expires = (
        given.get(name) or "" for name in ("token", "clientCertificateData", "clientKeyData", "expirationTimestamp")
    )
    if not all(isinstance(text, str) for text in (token, certificate, key, expires)):
        _refuse(plugin, "gave no credential: its token or certificate is no text")
    if not (token or certificate or key):
        _refuse(plugin, "gave no credential: neither a token nor a certificate")
    if bool(certificate) != bool(key):
        _refuse(plugin, "gave no credential: a certificate or a key, and not both")
    if not token.isprintable():
        _refuse(plugin, "gave a token with a line end or another control character in it")
    return Credential(
        f"Bearer {token}" if token else "",
        (certificate.encode(), key.encode()) if certificate else None,
        _moment(plugin, expires) if expires else None,
    )


def _moment(plugin: ExecEntry, text: str) -> datetime | None:
    """When a credential ends; Go's zero time is never."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        _refuse(plugin, "gave no credential: its expirationTimestamp is no time, such as 2026-01-31T12:00:00Z")
    return moment.astimezone(UTC) if 1 < moment.year < 9999 else None


def _refuse(plugin: ExecEntry, why: str) -> NoReturn:
    raise KubeconfigUnusable(f"its exec plugin `{quoted(plugin.command)}` {why}")
