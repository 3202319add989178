"""What a kubeconfig comes to: where its API server is, how it is trusted, and who we are to it, request by request."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import string
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from multidict import CIMultiDict
from yarl import URL

from poolkeeper.tasks.cluster.kubeconfig import (
    EXEC_EXTENSION,
    AuthProviderEntry,
    ClusterEntry,
    KubeconfigUnusable,
    UserEntry,
    read_bytes,
    read_kubeconfig,
    unusable,
)
from poolkeeper.tasks.cluster.plugin import Credential, ask_plugin
from poolkeeper.tasks.cluster.proxies import Proxy, ProxyUnusable, declared_proxy, environments_proxy
from poolkeeper.tasks.fleet.model import Cluster
from poolkeeper.tasks.outcomes import Secret

_CERTIFICATE = re.compile(
    rb"^-----BEGIN CERTIFICATE-----[ \t]*\r?\n[A-Za-z0-9+/=\s]+?-----END CERTIFICATE-----", re.MULTILINE
)
_HEADER_NAME = frozenset(string.ascii_letters + string.digits + "!#$&'*+-.^_`|~")
"""What a header's name may hold; other bytes of an extra's key are written as %XX."""


@dataclass(slots=True)
class Access:
    """How to reach one API server. Made by `open_access`."""

    cluster: Cluster
    url: str
    """Of the server, with its path and without a slash at the end."""
    server_name: str = ""
    """The name in its certificate, if that is not the URL's host."""
    ca_pem: str | None = None
    """The certificates of its authorities, PEM only; None: those of the system are trusted."""
    verified: bool = True
    """Whether its certificate is verified."""
    proxy: Proxy | None = None
    compressed: bool = True
    """Whether answers may come compressed."""
    impersonation: tuple[tuple[str, str], ...] = ()
    """Headers of user impersonation."""
    give: Callable[[], Awaitable[Credential]] | None = None
    """Reads the current credential."""
    renews: bool = False
    """Whether a second read may return another credential."""
    _held: Credential | None = None
    _context: tuple[tuple[bytes, bytes] | None, ssl.SSLContext] | None = None
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def warning(self) -> str:
        """Why its answers may not be trusted, and what to do; empty: they may."""
        if self.url.startswith("http:"):
            return (
                f"requests to the API server at {self.url} have no TLS and no credential, so anyone on the network path"
                " can answer instead of it. Write its server with https:// in the kubeconfig."
            )
        if not self.verified:
            return (
                f"the certificate of the API server at {self.url} is not verified (insecure-skip-tls-verify), so anyone"
                " on the network path can take the credential and answer instead of it."
                " Name its certificate-authority instead."
            )
        return ""

    async def credential(self, refused: Credential | None = None) -> Credential:
        """The current credential. Raises ClusterUnreachable.

        refused: a credential that the server does not accept; it is not returned again if there may be another one
        """
        if self.give is None:
            return Credential()
        async with self._one_at_a_time:
            held = self._held
            if held is None or not self.renews or held is refused or held.expired(datetime.now(UTC)):
                self._held = held = await self._given()
            return held

    async def _given(self) -> Credential:
        assert self.give is not None
        try:
            return await self.give()
        except KubeconfigUnusable as error:
            raise unusable(self.cluster, str(error)) from None

    def headers(self, credential: Credential) -> CIMultiDict[str]:
        """The headers of a request with this credential; its client certificate is used from then on.

        Raises ClusterUnreachable.
        """
        if self.url.startswith("https:"):
            self._context_for(credential.certificate)
        headers = CIMultiDict([("User-Agent", "poolkeeper"), *self.impersonation])
        if credential.authorization:
            headers.add("Authorization", credential.authorization)
        if not self.compressed:
            headers.add("Accept-Encoding", "identity")
        if self.proxy and self.proxy.authorization and self.url.startswith("http:"):
            headers.add("Proxy-Authorization", self.proxy.authorization.reveal())
        return headers

    @property
    def way(self) -> dict[str, Any]:
        """The options with which aiohttp sends a request."""
        options: dict[str, Any] = {"allow_redirects": False}
        if self._context is not None:
            options["ssl"] = self._context[1]
            options["server_hostname"] = self.server_name or None
        if self.proxy:
            options["proxy"] = self.proxy.url
            if self.proxy.authorization:
                options["proxy_headers"] = {"Proxy-Authorization": self.proxy.authorization.reveal()}
        return options

    def _context_for(self, certificate: tuple[bytes, bytes] | None) -> ssl.SSLContext:
        """One context per client certificate, so that connections of another certificate are not reused."""
        if self._context is None or self._context[0] != certificate:
            try:
                self._context = certificate, tls_context(self.ca_pem, certificate, verified=self.verified)
            except KubeconfigUnusable as error:
                if self._context is None or self.renews:  # else its files are being replaced, one after the other
                    raise unusable(self.cluster, str(error)) from None
        return self._context[1]


async def open_access(cluster: Cluster, kubeconfig: Secret) -> Access:
    """How a kubeconfig says to reach its cluster. An exec plugin is run now, so that its error comes before any change.

    Raises ClusterUnreachable with what is wrong with the kubeconfig.
    """
    try:
        entry, user = read_kubeconfig(cluster, kubeconfig)
        access = _way(cluster, entry)
        _identify(access, entry, user)
        access.headers(await access.credential())
    except (KubeconfigUnusable, ProxyUnusable) as error:
        raise unusable(cluster, str(error)) from None
    return access


def _way(cluster: Cluster, entry: ClusterEntry) -> Access:
    url = _server(entry.server)
    own = declared_proxy(entry.proxy_url, "its proxy-url") if entry.proxy_url else None
    pem = entry.certificate_authority_data
    if entry.certificate_authority:
        pem = read_bytes(Path(entry.certificate_authority))
    return Access(
        cluster,
        url,
        entry.tls_server_name,
        authorities(pem) if pem or entry.certificate_authority else None,
        not entry.insecure_skip_tls_verify,
        own or environments_proxy(url, os.environ),
        not entry.disable_compression,
    )


def _server(text: str) -> str:
    """The server's URL, without what is not part of it. Raises KubeconfigUnusable."""
    try:
        url = URL(text) if text.isprintable() and " " not in text else URL()
    except ValueError:  # of a port; of brackets
        url = URL()
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise KubeconfigUnusable("its server is no URL, such as https://HOST:6443")
    if url.user is not None or url.password is not None:
        raise KubeconfigUnusable("its server holds a login, which belongs to the user entry")
    return f"{url.scheme}://{url.raw_authority}{url.raw_path.rstrip('/')}"


def _identify(access: Access, entry: ClusterEntry, user: UserEntry) -> None:
    """Set the credential of requests. Over http there is none, as in kubectl. Raises KubeconfigUnusable."""
    access.impersonation = _impersonation(user)
    if access.url.startswith("http:"):
        return
    if user.is_credential:
        authorization, certificate = _authorization_of(user), _certificate_of(user)

        async def own() -> Credential:
            return Credential(authorization(), certificate())

        access.give = own
    elif user.exec is not None:
        plugin, told = user.exec, _told_of(access, entry)

        async def asked() -> Credential:
            return await ask_plugin(plugin, told)

        access.give, access.renews = asked, True
    elif user.auth_provider is not None:
        provider = user.auth_provider

        async def kept() -> Credential:
            return _oidc(provider, datetime.now(UTC))

        access.give = kept


def _impersonation(user: UserEntry) -> tuple[tuple[str, str], ...]:
    """The headers of user impersonation."""
    if not user.impersonate:
        return ()
    uid = [("Impersonate-Uid", user.impersonate_uid)] if user.impersonate_uid else []
    groups = [("Impersonate-Group", group) for group in user.impersonate_groups]
    extra = [
        (f"Impersonate-Extra-{_header_name(key)}", value)
        for key, values in user.impersonate_user_extra.items()
        for value in values
    ]
    return ("Impersonate-User", user.impersonate), *uid, *groups, *extra


def _header_name(key: str) -> str:
    return "".join(chr(byte) if chr(byte) in _HEADER_NAME else f"%{byte:02X}" for byte in key.encode())


def _authorization_of(user: UserEntry) -> Callable[[], str]:
    """Reads the value of the header Authorization; a token in a file is read again each time."""
    if user.username or user.password:
        basic = b64encode(f"{user.username}:{user.password}".encode()).decode()
        return lambda: f"Basic {basic}"
    last = user.token

    def bearer() -> str:
        nonlocal last
        if user.token_file:
            try:
                last = _token_in(Path(user.token_file))
            except KubeconfigUnusable:
                if not last:  # else it is being replaced: the last one is good for a while
                    raise
        return f"Bearer {last}" if last else ""

    return bearer


def _token_in(path: Path) -> str:
    found = read_bytes(path).decode("utf-8", "replace").strip()
    if not found.isprintable():
        raise KubeconfigUnusable(f"the token in {path} has a line end or another control character in it")
    if not found:
        raise KubeconfigUnusable(f"there is no token in {path}")
    return found


def _certificate_of(user: UserEntry) -> Callable[[], tuple[bytes, bytes] | None]:
    """Reads the client certificate and its key; what is in files, again when these have changed."""
    if not user.has_certificate:
        return lambda: None
    last: dict[Path, tuple[Any, bytes]] = {}

    def content(data: bytes, path: Path) -> bytes:
        if data:
            return data
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            found = None
        mark = found and (found.st_mtime_ns, found.st_size, found.st_ino)
        if path not in last or (mark is not None and last[path][0] != mark):  # else it is being replaced
            last[path] = mark, read_bytes(path)
        return last[path][1]

    return lambda: (
        content(user.client_certificate_data, Path(user.client_certificate)),
        content(user.client_key_data, Path(user.client_key)),
    )


def _told_of(access: Access, entry: ClusterEntry) -> Mapping[str, Any]:
    """What an exec plugin gets about the cluster, if it asks for it: fields with the names of the kubeconfig."""
    pem = entry.certificate_authority_data
    if entry.certificate_authority:
        pem = read_bytes(Path(entry.certificate_authority))
    told = {
        "server": access.url,
        "tls-server-name": entry.tls_server_name,
        "insecure-skip-tls-verify": entry.insecure_skip_tls_verify,
        "certificate-authority-data": b64encode(pem).decode(),
        "proxy-url": entry.proxy_url,
        "disable-compression": entry.disable_compression,
        "config": next((e.extension for e in entry.extensions if e.name == EXEC_EXTENSION), None),
    }
    return {key: value for key, value in told.items() if value or key == "server"}


def _oidc(provider: AuthProviderEntry, now: datetime) -> Credential:
    """The id-token that kubectl has left. Raises KubeconfigUnusable."""
    if provider.name != "oidc":
        raise KubeconfigUnusable("its auth-provider is none that kubectl still knows: use an exec plugin")
    token = provider.config.get("id-token", "")
    expires_at = None
    with suppress(ValueError, KeyError, TypeError, IndexError, OverflowError):
        claims = orjson.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    if expires_at is None or now >= expires_at:
        renew = "`kubectl --kubeconfig FILE version` renews it; an exec plugin lets poolkeeper renew it"
        raise KubeconfigUnusable(f"the id-token of its auth-provider oidc is over or none: {renew}")
    return Credential(f"Bearer {token}", expires_at=expires_at)


def authorities(pem: bytes) -> str:
    """The certificates of a file that may hold anything beside them, such as comments in any encoding. Pure.

    Raises KubeconfigUnusable when there is none.
    """
    blocks = [block.decode("ascii").replace("\r", "") for block in _CERTIFICATE.findall(pem)]
    good = [block for block in blocks if _is_certificate(block)]
    if not good:
        raise KubeconfigUnusable("its certificate authority is no certificate in PEM")
    return "\n".join(good) + "\n"


def _is_certificate(block: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=block)
    except (ssl.SSLError, ValueError):
        return False
    return True


def tls_context(
    ca_pem: str | None, certificate: tuple[bytes, bytes] | None, *, verified: bool = True
) -> ssl.SSLContext:
    """What verifies as Go does: an authority may lack what X.509 strictly wants, and need not be a root.

    A certificate's common name is no name of its server. Raises KubeconfigUnusable.
    """
    context = ssl.create_default_context(cadata=ca_pem)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.hostname_checks_common_name = False
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        with TemporaryDirectory() as folder:  # OpenSSL takes them from files alone
            paths = [Path(folder) / name for name in ("certificate", "key")]
            try:
                for path, content in zip(paths, certificate, strict=True):
                    path.write_bytes(content)
                context.load_cert_chain(paths[0], paths[1], password="")
            except (ssl.SSLError, ValueError):
                why = "its client certificate and key cannot be used: not PEM, not a pair, or with a passphrase"
                raise KubeconfigUnusable(why) from None
            except OSError as error:
                raise KubeconfigUnusable(
                    f"its client certificate cannot be put into {folder}: {error.strerror}"
                ) from None
    return context
