"""Files that are no fleet file at all: one problem with its place, quickly, whatever the bytes."""

from __future__ import annotations

import time

import pytest

from poolkeeper.tasks.fleet import FleetInvalid, Problem, load_fleet
from poolkeeper.tasks.fleet.problems import MAX_SHOWN
from poolkeeper.tasks.fleet.source import MAX_BYTES
from tests.unit.fleet.builders import GOOD, a_file, problems_of

BEGIN = "Begin with `fleet: NAME`, then clusters, sites, pools, hosts."
NESTED = "here blocks are nested more than 50 deep."
UNNEST = "Remove the nesting; an alias (*name) must not be inside its own anchor (&name)."
LARGER = "this file has more than 500,000 values, with its aliases (*name) expanded."
IN_FULL = "Write values in full instead of aliases of aliases, and declare one fleet per file."
CORRECT = "Correct the YAML on this line or just above."


def doublings(line: str, times: int = 10) -> str:
    """`&a`, then ten times `&b` of ten `*a`, and so on."""
    rows = [f"{chr(98 + n)}: &{chr(98 + n)} " + line.format(", ".join([f"*{chr(97 + n)}"] * 10)) for n in range(times)]
    return "\n".join(rows) + "\n"


FILES = [
    ("empty", b"", 1, 1, "the file is empty.", BEGIN),
    ("a comment only", b"# nothing yet\n", 1, 1, "the file is empty.", BEGIN),
    (
        "a list at the top",
        b"\n- fleet: acme\n",
        2,
        1,
        "the top level is a list; a fleet file needs a block of keys.",
        BEGIN,
    ),
    ("a word", b"hello", 1, 1, "the top level is a single value; a fleet file needs a block of keys.", BEGIN),
    (
        "two documents",
        b"fleet: a\n---\nfleet: b\n",
        2,
        1,
        "a second document begins here.",
        "Delete the line ---; declare one fleet per file.",
    ),
    (
        "Latin-1",
        "# é\nfleet: caf".encode() + b"\xe9\n",
        2,
        11,
        "this character is not UTF-8.",
        "Save the file as UTF-8.",
    ),
    ("UTF-16", GOOD.encode("utf-16"), 1, 1, "the file is UTF-16.", "Save it as UTF-8."),
    (
        "a NUL byte",
        b"fleet: a\nmode: ac\0t\n",
        2,
        9,
        "there is a control character (U+0000) here.",
        "Delete it; YAML is plain text.",
    ),
    ("a tab", b"ssh:\n\tuser: ops\n", 2, 1, "this line is indented with a tab.", "Indent with spaces."),
    (
        "a bracket that is not closed",
        b"fleet: [a\nmode: act\n",
        2,
        5,
        "this is not YAML: while parsing a flow sequence did not find expected ',' or ']' (it begins on line 1).",
        CORRECT,
    ),
    ("an alias to nothing", b"fleet: *a\n", 1, 8, "this is not YAML: found undefined alias.", CORRECT),
    (
        "a list as key",
        b"? [a, b]\n: 1\n",
        1,
        3,
        "a block or a list cannot be a key.",
        "Write a plain name before the colon; a text that begins with [ or { needs quotes.",
    ),
    (
        "a merge of text",
        b"hosts:\n  n01: {<<: text}\n",
        2,
        13,
        "only blocks of keys can be merged in with <<.",
        "Write <<: *name, where &name is at a block of keys.",
    ),
    ("an alias inside its own anchor", b"a: &a\n  b: *a\n", 1, 4, NESTED, UNNEST),
    ("a merge into its own anchor", b"a: &a\n  <<: *a\n", 1, 4, NESTED, UNNEST),
    ("10,000 lists in lists", b"a: " + b"[" * 10_000 + b"]" * 10_000, 1, 53, NESTED, UNNEST),
    ("200,000 lists in lists, which ends a parser", b"a: " + b"[" * 200_000, 1, 53, NESTED, UNNEST),
    ("10,000 keys in keys", b"{a: " * 10_000 + b"1" + b"}" * 10_000, 1, 201, NESTED, UNNEST),
    ("10,000 dashes", b"- " * 10_000 + b"x", 1, 101, NESTED, UNNEST),
    ("2,000 keys, each further in", b"".join(b" " * n + b"a:\n" for n in range(2_000)), 51, 51, NESTED, UNNEST),
    (
        "billion laughs",
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + doublings("[{}]")).encode(),
        1,
        1,
        LARGER,
        IN_FULL,
    ),
    (
        "a million merges",
        ("a: &a {" + ", ".join(f"k{n}: 1" for n in range(1_000)) + "}\nb: {<<: [" + "*a, " * 20_000 + "]}\n").encode(),
        1,
        1,
        LARGER,
        IN_FULL,
    ),
    (
        "more than 5 MB",
        b"#" * (MAX_BYTES + 1),
        1,
        1,
        "the file is larger than 5 MB.",
        "Declare one fleet a file; 5,000 hosts take less than 1 MB.",
    ),
]


@pytest.mark.parametrize(
    ("content", "problem"), [pytest.param(f[1], Problem(*f[2:4], "", *f[4:]), id=f[0]) for f in FILES]
)
def test_a_file_that_is_no_fleet_is_one_problem(tmp_path, content, problem):
    began = time.process_time()
    assert problems_of(tmp_path, content) == (problem,)
    assert time.process_time() - began < 10


def test_brackets_in_texts_and_comments_are_not_nesting(tmp_path):
    assert problems_of(tmp_path, GOOD + "#" + " [" * 2_000 + "\n") == ()


def test_a_byte_order_mark_and_other_line_ends_do_no_harm(tmp_path):
    assert problems_of(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()) == ()


def test_what_cannot_be_loaded_says_all_in_its_message(tmp_path):
    with pytest.raises(FleetInvalid) as raised:
        load_fleet(a_file(tmp_path, "hosts: 1\nmode: act\nmoed: act\n"))
    assert raised.value.in_full.splitlines()[:3] == [
        "fleet.yaml has 6 problems:",
        "fleet.yaml:1:1: clusters: clusters is missing. Add `clusters:`.",
        "fleet.yaml:1:1: fleet: fleet is missing. Add `fleet:`.",
    ]
    assert len(raised.value.problems) == 6


HOST = "  n{0}: {{address: 10.1.{1}.{2}, site: fra1, pool: general, domain: rack1}}\n"
BEFORE_HOSTS = GOOD[: GOOD.index("hosts:")]


def with_hosts(row: str, count: int) -> str:
    return f"{BEFORE_HOSTS}hosts:\n" + "".join(row.format(n, n >> 8, n & 255) for n in range(1, count + 1))


MANY = {
    "a port of letters": (HOST.replace("}}", ", port: x}}"), 1),
    "an unknown key and a missing one": (HOST.replace("address", "adress"), 2),
    "a pool that there is not": (HOST.replace("general", "genral{0}"), 1),
    "a domain that there is not": (HOST.replace("rack1", "rak{0}"), 1),
    "one name again and again": (HOST.replace("n{0}", "n"), 1),
    "tags": (HOST.replace("fra1", "!x fra1"), 1),
}


@pytest.mark.parametrize(("row", "each"), MANY.values(), ids=MANY)
def test_tens_of_thousands_of_wrong_hosts_are_counted_and_the_first_are_told(tmp_path, row, each):
    text = with_hosts(row, 12_000)
    assert len(text) < MAX_BYTES
    began = time.process_time()
    problems = problems_of(tmp_path, text)
    assert time.process_time() - began < 15
    assert len(problems) == MAX_SHOWN
    assert 12_000 * each - 2 <= problems.in_all <= 12_000 * each + 10
    assert [p.line for p in problems] == sorted(p.line for p in problems)


SECRET = "LTAI5tQ7m2Xz8Kd4Wv9Rb3Ncaaaa"
BOMBS = {
    "one long text, meant again and again": f"a: &a {'x' * 1_000_000}\nb: [{'*a, ' * 100_000}]\n",
    "as hosts": BEFORE_HOSTS + "hosts:\n  n0: &a {labels: {a: " + "x" * 500_000 + "}}\n"
    + "".join(f"  n{n}: *a\n" for n in range(1, 100_000)),
    "millions of small values": f"a: [{'1,' * 2_400_000}]\n",
    "millions of lines": "a:\n" + "- 1\n" * 1_200_000,
    "secrets": "".join(f"k{n}: {SECRET}{n}\n" for n in range(30_000)),
    "secrets in comments": "a: 1\n" + "".join(f"# {SECRET}{n}\n" for n in range(30_000)),
    "one key without an end": f"{'k' * 4_000_000}: 1\n",
}  # fmt: skip


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_what_is_small_and_stands_for_much_is_answered_soon_and_briefly(tmp_path, text):
    assert len(text) < MAX_BYTES
    began = time.process_time()
    problems = problems_of(tmp_path, text)
    assert time.process_time() - began < 15
    told = "".join(f"{p.path} {p.message} {p.fix}" for p in problems)
    assert 0 < len(told) < 200_000
    assert SECRET not in told
