"""What the probe program makes of what it is answered; nothing from the network ends it in an unforeseen way."""

from __future__ import annotations

import ssl
import struct
from contextlib import suppress
from datetime import UTC, datetime

import dns.message
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poolkeeper.deployments.lab.kubernetes import LabCA
from poolkeeper.tasks.audit.remote import probe

QUERY = b"\1\2" + probe.dns_query("a.lab", 1)[2:]


@given(st.binary(max_size=200))
@example(b"\xc0\x0c" + bytes(10))
def test_hostile_dns(tail: bytes) -> None:
    for head in (b"", b"\1\2\x81\x80\0\1\0\2\0\1\0\0" + QUERY[12:], QUERY[:2] + b"\x81\x80"):
        message = head + tail
        if probe.differs(message, QUERY):
            continue
        with suppress(probe.Ended):
            values = probe.dns_answer(message, QUERY, 1)
            assert set(values) <= {"rcode", "truncated", "addresses", "ttl_s", "authoritative_ttl_s"}


@given(st.lists(st.from_regex("[a-z0-9_-]{1,63}", fullmatch=True), min_size=1, max_size=3), st.booleans())
def test_a_query_is_one(labels: list[str], has_end: bool) -> None:
    name = ".".join(labels)
    query = dns.message.from_wire(probe.dns_query(name + "." * has_end, 28))
    assert query.question[0].to_text() == f"{name}. IN AAAA"
    assert query.edns == -1


def test_an_alias_in_circles_ends() -> None:
    there = b"\1b\3lab\0"
    alias = struct.pack(">HHIH", 5, 1, 9, len(there)) + there
    back = there + struct.pack(">HHIH", 5, 1, 8, 2) + b"\xc0\x0c"
    message = QUERY[:2] + b"\x81\x80\0\1\0\2\0\0\0\0" + QUERY[12:] + b"\xc0\x0c" + alias + back
    values = probe.dns_answer(message, QUERY, 1)
    assert values == {"rcode": "NOERROR", "truncated": "no", "addresses": "", "ttl_s": "8"}


CERTIFICATE = ssl.PEM_cert_to_DER_cert(LabCA("ours").certificate_pem.decode())


@given(st.binary(max_size=100), st.integers(0, len(CERTIFICATE) - 1), st.binary(max_size=4))
def test_hostile_certificates(raw: bytes, at: int, other: bytes) -> None:
    for der in (raw, CERTIFICATE[:at], CERTIFICATE[:at] + other + CERTIFICATE[at + len(other) :]):
        values: dict[str, str] = {}
        probe.read_certificate(der, values)
        assert set(values) in (set(), {"not_after", "issuer"})


def test_a_certificate() -> None:
    not_after, issuer = probe.certificate(CERTIFICATE)
    assert datetime.fromisoformat(not_after) > datetime.now(UTC)
    assert issuer == "CN=ours"


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        ("sun, 06 nov 1994 08:49:37 gmt", 784111777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None),
        ("Sun, 06 Foo 1994 08:49:37 GMT", None),
        ("Sun, 99 Nov 0000 08:49:37 GMT", None),
        ("", None),
    ],
)
def test_dates(date: str, seconds: int | None) -> None:
    assert probe.seconds_of(date) == seconds


@given(st.binary(), st.binary())
def test_hostile_pages(body: bytes, more: bytes) -> None:
    assert len(probe.unchunked(bytearray(body))) <= len(body)
    assert probe.unchunked(bytearray(b"%x\r\n%s\r\n0\r\n%s" % (len(body), body, more))) == body
    assert set(probe.metrics(bytearray(b"coredns_cache_hits_total{" + body + b"} " + more))) <= {"hits"}


@pytest.mark.parametrize(
    ("body", "counted"),
    [
        (b"coredns_cache_hits_total 3\ncoredns_cache_hits_total{a=\"}\"} 4\n", {"hits": "7"}),
        (b"coredns_cache_hits_total 1e+999\ncoredns_cache_misses_total e\n", {}),
        (b"coredns_forward_request_count_total{to=\"a\"} 2\n", {"forwards": "2"}),
        (b"coredns_dns_response_rcode_count_total{rcode=\"NOERROR\"} 2\n", {"errors": "0"}),
        (b"go_goroutines 3\n", {}),
    ],
)  # fmt: skip
def test_metrics(body: bytes, counted: dict[str, str]) -> None:
    assert probe.metrics(bytearray(body)) == counted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nameserver 10.0.0.1\nnameserver fd00::1\n", ("10.0.0.1,fd00::1", "", "1")),
        ("search a.lab b.lab\ndomain c.lab # the last one counts\n", ("", "c.lab", "1")),
        ("options timeout:1 ndots:5 edns0\n; options ndots:2\nnameserver\n", ("", "", "5")),
        ("options ndots:99 ndots:x\n", ("", "", "15")),
        ("", ("", "", "1")),
    ],
)
def test_settings(text: str, expected: tuple[str, str, str]) -> None:
    assert tuple(probe.settings(text).values()) == expected


@given(st.binary(max_size=64))
def test_checksum(packet: bytes) -> None:
    whole = packet + b"\0" * (len(packet) % 2)
    assert probe.checksum(whole + probe.checksum(whole)) == b"\0\0"
