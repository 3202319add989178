"""A page as a browser understands it: a strict reader, which refuses what is not closed."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "rect"}
BLOCKS = {"p", "h1", "h2", "h3", "li", "td", "th", "dt", "dd", "summary", "figure", "tr"}


class Read(HTMLParser):
    """The page's text by section, its tags with their attributes, its cells by row. Runs of blanks are one, as shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.code: list[str] = []
        self.paragraphs: list[str] = []
        self.declared = ""
        self._sections: dict[str, str] = {"": ""}
        self._folded = ""
        self._open: list[str] = []
        self._section = ""
        self.feed(text)
        self.close()
        assert not self._open, self._open
        self.rows = [[_shown(cell) for cell in row] for row in self.rows]
        self.paragraphs = [_shown(text) for text in self.paragraphs]
        self.folded = _shown(self._folded)
        self.sections = {name: _shown(text) for name, text in self._sections.items()}

    def handle_decl(self, decl: str) -> None:
        self.declared = decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
            self._sections[self._section] = ""
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "code":
            self.code.append("")
        if tag == "p":
            self.paragraphs.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, tag
        assert self._open.pop() == tag
        if tag in BLOCKS:
            self._sections[self._section] += "\n"
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self._sections[self._section] += data
        if "code" in self._open:
            self.code[-1] += data
        if "p" in self._open:
            self.paragraphs[-1] += data
        if "details" in self._open:
            self._folded += data
        if ("td" in self._open or "th" in self._open) and self.rows:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(self.sections.values())

    @property
    def attributes(self) -> list[tuple[str, str | None]]:
        """Of all tags."""
        return [pair for _, attributes in self.tags for pair in attributes.items()]


def _shown(text: str) -> str:
    return " ".join(text.split())
