"""Which proxy lies on the way to a URL: Go's rules, row by row of its own tests and documentation."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.cluster.proxies import Proxy, ProxyUnusable, declared_proxy, environments_proxy

PROXY = {"HTTPS_PROXY": "http://proxy.example:3128"}


@pytest.mark.parametrize(
    ("url", "exempt", "asked"),
    [
        pytest.param("https://10.1.2.3:6443", "", True, id="nothing is exempt"),
        pytest.param("https://127.0.0.1:6443", "", False, id="this machine"),
        pytest.param("https://127.8.0.1:6443", "", False, id="this machine by another address"),
        pytest.param("https://[::1]:6443", "", False, id="this machine over IPv6"),
        pytest.param("https://localhost:6443", "", False, id="this machine by name"),
        pytest.param("https://10.1.2.3:6443", "*", False, id="everything"),
        pytest.param("https://api.example.com", "other.example, *", False, id="everything, further on"),
        pytest.param("https://10.1.2.3:6443", "10.0.0.0/8", False, id="a range"),
        pytest.param("https://10.1.2.3:6443", "10.1.2.0/25 ,192.168.0.0/16", False, id="ranges with blanks"),
        pytest.param("https://11.1.2.3:6443", "10.0.0.0/8", True, id="outside the range"),
        pytest.param("https://[2001:db8::7]:6443", "2001:db8::/32", False, id="an IPv6 range"),
        pytest.param("https://[::ffff:10.1.2.3]:6443", "10.0.0.0/8", False, id="an IPv4 address in IPv6's clothes"),
        pytest.param("https://api.example.com", "10.0.0.0/8", True, id="a range is not asked of names"),
        pytest.param("https://10.1.2.3:6443", "10.1.2.3", False, id="an address"),
        pytest.param("https://10.1.2.3:6443", "10.1.2.3:6443", False, id="an address with its port"),
        pytest.param("https://10.1.2.3:6443", "10.1.2.3:443", True, id="an address with another port"),
        pytest.param("https://10.1.2.3", "10.1.2.3:443", False, id="the port that https has"),
        pytest.param("https://[2001:db8::7]:6443", "[2001:db8::7]:6443", False, id="an IPv6 address with its port"),
        pytest.param("https://[2001:db8::7]:6443", "2001:db8:0::7", False, id="an IPv6 address, written otherwise"),
        pytest.param("https://10.1.2.3:6443", "10.1.2", True, id="half an address is a name"),
        pytest.param("https://api.example.com", "example.com", False, id="a domain's subdomain"),
        pytest.param("https://example.com", "example.com", False, id="a domain itself"),
        pytest.param("https://badexample.com", "example.com", True, id="no domain, only the same end"),
        pytest.param("https://api.example.com", ".example.com", False, id="subdomains alone"),
        pytest.param("https://example.com", ".example.com", True, id="subdomains alone, not itself"),
        pytest.param("https://api.example.com", "*.example.com", False, id="subdomains by a star"),
        pytest.param("https://example.com", "*.example.com", True, id="subdomains by a star, not itself"),
        pytest.param("https://API.Example.com", "api.EXAMPLE.com", False, id="in other letters"),
        pytest.param("https://api.example.com:6443", "example.com:6443", False, id="a domain with its port"),
        pytest.param("https://api.example.com:6443", "example.com:443", True, id="a domain with another port"),
        pytest.param("https://api.example.com", ", ,:80,/,10.0.0.0/99", True, id="entries that are none"),
        pytest.param("https://api.b\u00fccher.example", "xn--bcher-kva.example", False, id="an international name"),
        pytest.param("http://10.1.2.3:8080", "", False, id="another scheme has its own proxy"),
    ],
)
def test_no_proxy(url: str, exempt: str, asked: bool) -> None:
    found = environments_proxy(url, PROXY | {"NO_PROXY": exempt})
    assert found == (Proxy("http://proxy.example:3128", "$HTTPS_PROXY") if asked else None)


@pytest.mark.parametrize(
    ("environment", "url", "source"),
    [
        pytest.param({"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:2"}, "http://up:2", "$HTTPS_PROXY", id="capitals first"),
        pytest.param({"https_proxy": "http://low:1", "HTTPS_PROXY": ""}, "http://low:1", "$https_proxy", id="empty is absent"),
        pytest.param({"HTTPS_PROXY": "proxy.example:3128"}, "http://proxy.example:3128", "$HTTPS_PROXY", id="without a scheme"),
        pytest.param({"HTTPS_PROXY": "http://proxy.example"}, "http://proxy.example:80", "$HTTPS_PROXY", id="without a port"),
        pytest.param({"HTTPS_PROXY": "https://[2001:db8::1]"}, "https://[2001:db8::1]:443", "$HTTPS_PROXY", id="https and IPv6"),
    ],
)  # fmt: skip
def test_the_environments_proxy(environment: dict[str, str], url: str, source: str) -> None:
    assert environments_proxy("https://10.1.2.3:6443", environment) == Proxy(url, source)


@pytest.mark.parametrize("exempt", [{"NO_PROXY": "10.0.0.0/8", "no_proxy": "x"}, {"no_proxy": "10.0.0.0/8"}])
def test_capitals_first_in_no_proxy_too(exempt: dict[str, str]) -> None:
    assert environments_proxy("https://10.1.2.3:6443", PROXY | exempt) is None


def test_nothing_declared() -> None:
    assert environments_proxy("https://10.1.2.3:6443", {"ALL_PROXY": "http://x:1", "http_proxy": "http://x:1"}) is None


def test_user_and_password_stand_apart_from_the_url() -> None:
    proxy = declared_proxy("http://us%40er:p%C3%A4ss%3A@proxy:3128/path", "its proxy-url")
    assert proxy.url == "http://proxy:3128"
    assert proxy.authorization is not None
    assert proxy.authorization.reveal() == "Basic dXNAZXI6cMOkc3M6"
    assert "dXN" not in repr(proxy)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("http://user:example-password@127.0.0.1:99999", "is no URL of a proxy", id="no port"),
        pytest.param("http://user:example-password@127.0.0.1:port", "is no URL of a proxy", id="a word for a port"),
        pytest.param("http://user:example/password@127.0.0.1:1", "is no URL of a proxy", id="a slash in the password"),
        pytest.param("http://user:12#example-password@127.0.0.1:1", "is no URL of a proxy", id="a hash in it"),
        pytest.param("http://user:example-password@127.0.0.1:1\n", "is no URL of a proxy", id="a line end"),
        pytest.param("http://user:example password@127.0.0.1:1", "is no URL of a proxy", id="a blank"),
        pytest.param("http://user:example-password@[::1:1", "is no URL of a proxy", id="half a bracket"),
        pytest.param("http://user:example-password@", "is no URL of a proxy", id="no host"),
        pytest.param("socks5://user:example-password@127.0.0.1:1080", "is a SOCKS proxy", id="SOCKS"),
        pytest.param("socks5h://user:example-password@127.0.0.1:1080", "is a SOCKS proxy", id="SOCKS that looks up"),
        pytest.param("ftp://user:example-password@127.0.0.1:21", "is neither an http:// nor", id="another scheme"),
        pytest.param("127.0.0.1:3128", "is no URL of a proxy", id="no scheme, where one must be"),
    ],
)
def test_a_proxy_that_is_refused_is_told_without_its_password(text: str, words: str) -> None:
    with pytest.raises(ProxyUnusable, match=f"^its proxy-url {words}") as caught:
        declared_proxy(text, "its proxy-url")
    assert "password" not in str(caught.value)
    assert "example" not in str(caught.value)
