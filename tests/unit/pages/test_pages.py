"""What all pages have in common: one layout, nothing from elsewhere, and no text that is more than text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from poolkeeper.tasks.outcomes import visible
from poolkeeper.tasks.pages.templates import LONGEST
from tests.unit.pages.hostile import HUGE, TEXTS, all_pages
from tests.unit.pages.reading import Read

Page = Callable[[str], str]
PAGES = [pytest.param(page, id=name) for name, page in all_pages()]
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section", "article", "h1", "h2", "h3",
    "p", "a", "ul", "li", "dl", "dt", "dd", "div", "span", "strong", "code", "details", "summary", "figure",
    "table", "thead", "tbody", "tr", "th", "td", "svg", "g", "rect", "path", "text", "defs", "clippath", "use",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "name", "content", "http-equiv", "id", "class", "href", "open", "tabindex", "role", "scope",
    "colspan", "aria-label", "aria-hidden", "viewbox", "preserveaspectratio", "x", "y", "width", "height", "opacity",
    "version", "style", "transform", "d", "clip-path", "xlink:href", "type",
}  # fmt: skip


def classes(read: Read) -> Counter[str | None]:
    return Counter(value for name, value in read.attributes if name == "class")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in TEXTS.items()])
def test_what_others_have_written_is_text(page: Page, text: str) -> None:
    read = Read(made := page(text))
    plain = Read(page("plain"))
    assert {tag for tag, _ in read.tags} <= TAGS
    assert {name for name, _ in read.attributes} <= ATTRIBUTES
    assert Counter(tag for tag, _ in read.tags if tag != "code") == Counter(
        tag for tag, _ in plain.tags if tag != "code"
    )
    assert classes(read) == classes(plain)
    assert " ".join(visible(text).split()) in read.text
    assert visible(made) == made


@pytest.mark.parametrize("page", PAGES)
def test_a_huge_text_is_cut_and_says_how_long_it_is(page: Page) -> None:
    made = page(HUGE)
    assert len(made) < 1_500_000
    assert f"({len(HUGE):,} characters)" in made
    assert HUGE[: LONGEST + 1] not in Read(made).text


@pytest.mark.parametrize("page", PAGES)
def test_nothing_comes_from_elsewhere(page: Page) -> None:
    made = page("plain")
    read = Read(made)
    policy = [
        attributes["content"]
        for _, attributes in read.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]
    links = [value for name, value in read.attributes if name in ("href", "src", "xlink:href")]
    assert links
    assert {f"#{value}" for name, value in read.attributes if name == "id"} >= set(links)
    assert not re.findall(r"url\((?!#)|@import|https?:", made)


def test_one_layout_and_one_style_for_all() -> None:
    made = [page("plain") for _, page in all_pages()]
    heads = [re.sub("<title>.*?</title>", "", text.partition("</head>")[0]) for text in made]
    assert len(made) > 1
    assert len(set(heads)) == 1
    for text in made:
        read = Read(text)
        assert read.declared == "doctype html"
        assert [tag for tag, _ in read.tags[:3]] == ["html", "head", "meta"]
        assert [tag for tag, _ in read.tags].count("h1") == 1
        anchors = [(attributes["href"] or "")[1:] for tag, attributes in read.tags if tag == "a"]
        assert [attributes["id"] for tag, attributes in read.tags if tag == "section"] == list(dict.fromkeys(anchors))


@pytest.mark.parametrize("page", PAGES)
def test_every_table_scrolls_in_a_box_of_its_own_that_takes_the_keyboard(page: Page) -> None:
    tags = Read(page("plain")).tags
    boxes = [before for before, (tag, _) in pairwise(tags) if tag == "table"]
    assert len(boxes) == sum(tag == "table" for tag, _ in tags) > 3
    for tag, attributes in boxes:
        assert tag == "div"
        assert "wide" in (attributes["class"] or "").split()
        assert (attributes["tabindex"], attributes["role"]) == ("0", "region")
        assert attributes["aria-label"]


@pytest.mark.parametrize("page", PAGES)
def test_what_is_coloured_is_said_in_words(page: Page) -> None:
    made = page("plain")
    coloured = re.findall(r'<(?:span|p|h3) class="(?:status|lead)? ?(?:bad|warn|good)">(.*?)</', made, re.DOTALL)
    assert coloured
    assert all(re.sub("<.*?>", "", text).strip() for text in coloured)
