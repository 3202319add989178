"""Which HTTP proxy lies on the way to a URL, by Go's rules as kubectl has them (x/net/http/httpproxy). Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit

from poolkeeper.tasks.outcomes import PoolkeeperError, Secret

_PORTS = {"http": 80, "https": 443}


class ProxyUnusable(PoolkeeperError):
    """A declared proxy cannot be used. The message names the setting, and never its user or password."""

    id = "cluster.proxy.unusable"
    expected = "the URL of an HTTP proxy, as http://HOST:PORT"
    next_step = "Correct the proxy setting that it names."
    source = "kubeconfig"


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy."""

    url: str
    """Without user and password."""
    source: str
    """Where it is declared: `proxy-url`, `$HTTPS_PROXY`."""
    authorization: Secret | None = None
    """What the header Proxy-Authorization says."""


def declared_proxy(text: str, source: str) -> Proxy:
    """The proxy of a setting. Raises ProxyUnusable."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # of brackets; of a port
        parts, port = urlsplit(""), None
    if not text.isprintable() or " " in text or not parts.hostname or "@" in _behind(parts):
        raise ProxyUnusable(f"{source} is no URL of a proxy: write it as http://HOST:PORT")
    if parts.scheme.startswith("socks"):
        raise ProxyUnusable(f"{source} is a SOCKS proxy, which poolkeeper does not speak: name an HTTP proxy")
    if parts.scheme not in _PORTS:
        raise ProxyUnusable(f"{source} is neither an http:// nor an https:// proxy: write it as http://HOST:PORT")
    login, at, _ = parts.netloc.rpartition("@")
    authorization = None
    if at:
        user, _, password = login.partition(":")
        basic = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        authorization = Secret(f"Basic {basic}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Proxy(f"{parts.scheme}://{host}:{port or _PORTS[parts.scheme]}", source, authorization)


def environments_proxy(url: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy that the environment declares for a URL, if it is not exempt. Raises ProxyUnusable.

    Capitals come first: so has every kubectl it that is built with Go up to 1.26.
    """
    parts = urlsplit(url)
    name = f"{parts.scheme}_proxy"
    source = next((key for key in (name.upper(), name) if environment.get(key)), None)
    exempt = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    if source is None or _is_exempt(parts.hostname or "", parts.port or _PORTS[parts.scheme], exempt):
        return None
    text = environment[source]
    return declared_proxy(text if "://" in text else f"http://{text}", f"${source}")


def _behind(parts: SplitResult) -> str:
    """What stands behind the host: an @ there shows that the password holds a `/`, `?` or `#` that is not encoded."""
    return parts.path + parts.query + parts.fragment


def _is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Whether a host is asked without a proxy: this machine always, and what NO_PROXY names."""
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_names(entry.strip().lower(), host, address, port) for entry in no_proxy.split(","))


def _names(entry: str, host: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
    """Whether an entry of NO_PROXY names a host: `*`, a range, an address or a domain, the last two also with a port.

    A domain names its subdomains too; `.domain` and `*.domain` name these alone.
    """
    if entry == "*":
        return True
    if "/" in entry:
        with suppress(ValueError):
            return address is not None and address in ip_network(entry, strict=False)
        return False
    named, only = _host_and_port(entry)
    if not named or only not in ("", str(port)):
        return False
    if (exempt := _address(named)) is not None or address is not None:
        return exempt == address
    named = _ascii(named.removeprefix("*") if named.startswith("*.") else named)
    return _ascii(host).endswith(named) if named.startswith(".") else f".{_ascii(host)}".endswith(f".{named}")


def _host_and_port(entry: str) -> tuple[str, str]:
    """`1.2.3.4:80`, `[::1]:80`, `example.com`: an address with colons and no brackets has no port."""
    host, colon, port = entry.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return entry, ""
    return host.removeprefix("[").removesuffix("]"), port


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _ascii(name: str) -> str:
    with suppress(UnicodeError):
        return name if name.isascii() else name.encode("idna").decode()
    return name
