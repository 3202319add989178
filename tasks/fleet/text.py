"""YAML text to plain data, with the line and column of everything in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

from poolkeeper.tasks.fleet.problems import Mistake, Path_, Problem, dotted
from poolkeeper.tasks.fleet.shape import FLEET_FILE, FileKind
from poolkeeper.tasks.fleet.source import MAX_DEPTH, Loader, TextInvalid, refused, too_deep

MAX_VALUES = 500_000
"""Values after aliases and merges are followed: a file that grows beyond is no fleet. 5,000 hosts have some 40,000."""
_BETWEEN_VALUES = ("\n", "\r", ",", "[", "{", "- ", ": ")
"""One of these stands before each value but the first."""
_LETTERS_A_VALUE = 200
"""A longer text counts as several values: one of a megabyte, meant a thousand times, is a gigabyte to look through."""

_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_PLAIN_TAGS = {_TEXT, _MERGE} | {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null", "timestamp")}
_PLAIN_TAGS |= {f"tag:yaml.org,2002:{kind}" for kind in ("value", "map", "seq")}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS = {
    spelt: value
    for word, value in (("true", True), ("false", False), ("null", None))
    for spelt in (word, word.title(), word.upper())
} | {"~": None, "": None}

_Entries = dict[str, tuple[yaml.Mark, yaml.Node]]
"""Key -> where it is written, and its value."""


class Positions:
    """A parsed document: its data, what is wrong with its text, and where each path stands.

    Values mean what YAML 1.2 says, as in editors: only `true` and `false` are truth values, 22:00 is text, 010 is ten.
    """

    def __init__(self, text: str, kind: FileKind = FLEET_FILE) -> None:
        """Raises TextInvalid."""
        self.problems: list[Problem] = []
        """Keys that stand twice, tags."""
        self._values_left = MAX_VALUES
        self._entries_of: dict[int, _Entries] = {}
        self._fraction = kind.fraction
        self._root = _composed(text, kind)
        self.data: Any = self._plain(self._root, (), 0)

    def place(self, mistake: Mistake) -> Problem:
        """A mistake with line and column: of the value, of the key, or of the nearest thing above it."""
        mark = self._root.start_mark
        node: yaml.Node = self._root
        for depth, part in enumerate(mistake.path):
            found = self._child(node, part)
            if found is None:
                break
            mark, node = found
            is_value = depth == len(mistake.path) - 1 and not mistake.at_key and isinstance(node, yaml.ScalarNode)
            if is_value and node.start_mark.index > mark.index:  # else an alias: its anchor is far away
                mark = node.start_mark
        return Problem(mark.line + 1, mark.column + 1, dotted(mistake.path), mistake.message, mistake.fix)

    def written(self, path: Path_) -> str | None:
        """A single value as it is written, without quotes; None for what has parts or is not there."""
        node: yaml.Node = self._root
        for part in path:
            found = self._child(node, part)
            if found is None:
                return None
            node = found[1]
        return str(node.value) if isinstance(node, yaml.ScalarNode) else None

    def _child(self, node: yaml.Node, part: str | int) -> tuple[yaml.Mark, yaml.Node] | None:
        if isinstance(node, yaml.MappingNode):
            return self._entries_of[id(node)].get(str(part))
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            child = node.value[part]
            return child.start_mark, child
        return None

    def _plain(self, node: yaml.Node, path: Path_, depth: int) -> Any:
        self._spend(1)
        if depth > MAX_DEPTH:
            raise too_deep(node.start_mark)
        if node.tag not in _PLAIN_TAGS:
            self._problem(node, path, "there is a tag (!) here.", "Write the value without it.")
        if isinstance(node, yaml.MappingNode):
            entries = self._entries(node, path, depth)
            return {key: self._plain(value, (*path, key), depth + 1) for key, (_, value) in entries.items()}
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(child, (*path, i), depth + 1) for i, child in enumerate(node.value)]
        self._spend(len(node.value) // _LETTERS_A_VALUE)
        return node.value if node.tag == _TEXT else _scalar(node.value, self._fraction)

    def _entries(self, node: yaml.MappingNode, path: Path_, depth: int) -> _Entries:
        """What a mapping holds, with what is merged into it (`<<`); what is written in it wins."""
        known = self._entries_of.get(id(node))
        if known is not None:
            return known
        if depth > MAX_DEPTH:
            raise too_deep(node.start_mark)
        written: _Entries = {}
        merged: _Entries = {}
        for key_node, value in node.value:
            if key_node.tag == _MERGE:
                for source in self._merge_sources(value):
                    found = self._entries(source, path, depth + 1)
                    self._spend(len(found))
                    merged = {**found, **merged}
                continue
            key = _key(key_node)
            if key in written:
                first = written[key][0].line + 1
                self._problem(
                    key_node,
                    (*path, key),
                    f"{key[:60]} is already on line {first}.",
                    "Keep one of the two, or give this one another name.",
                )
            written[key] = (key_node.start_mark, value)
        entries = {**merged, **written}
        self._entries_of[id(node)] = entries
        return entries

    def _merge_sources(self, value: yaml.Node) -> list[yaml.MappingNode]:
        given = value.value if isinstance(value, yaml.SequenceNode) else [value]
        sources = [source for source in given if isinstance(source, yaml.MappingNode)]
        if len(sources) < len(given):
            raise refused(
                "only blocks of keys can be merged in with <<.",
                "Write <<: *name, where &name is at a block of keys.",
                value.start_mark.line + 1,
                value.start_mark.column + 1,
            )
        return sources

    def _spend(self, values: int) -> None:
        self._values_left -= values
        if self._values_left < 0:
            raise _too_many()

    def _problem(self, node: yaml.Node, path: Path_, message: str, fix: str) -> None:
        mark = node.start_mark
        self.problems.append(Problem(mark.line + 1, mark.column + 1, dotted(path), message, fix))


def _too_many() -> TextInvalid:
    return refused(
        f"this file has more than {MAX_VALUES:,} values, with its aliases (*name) expanded.",
        "Write values in full instead of aliases of aliases, and declare one fleet per file.",
    )


def _composed(text: str, kind: FileKind) -> yaml.MappingNode:
    if sum(map(text.count, _BETWEEN_VALUES)) > MAX_VALUES:
        raise _too_many()
    loader = Loader(text)
    try:
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text, kind) from None
    finally:
        loader.dispose()
    if isinstance(root, yaml.MappingNode):
        return root
    if root is None:
        raise refused("the file is empty.", kind.begin)
    what = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
    mark = root.start_mark
    message = f"the top level is {what}; a {kind.name} file needs a block of keys."
    raise refused(message, kind.begin, mark.line + 1, mark.column + 1)


def _not_yaml(error: yaml.MarkedYAMLError, text: str, kind: FileKind) -> TextInvalid:
    """The parser's words, with the line that the broken thing begins on."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return refused(f"this is not YAML: {error.problem}.", "Correct the YAML.")
    if "another document" in str(error.problem):
        message, fix = "a second document begins here.", f"Delete the line ---; declare one {kind.name} per file."
    else:
        # pyyaml without libyaml quotes names there, and nothing of a text that is no YAML is told
        words = re.sub(r" '[^']{2,}'", "", " ".join(filter(None, (error.context, error.problem))))
        begun = error.context_mark.line + 1 if error.context_mark else mark.line + 1
        message = f"this is not YAML: {words}" + (f" (it begins on line {begun})." if begun <= mark.line else ".")
        fix = "Correct the YAML on this line or just above."
        lines = text.splitlines()
        line = lines[mark.line] if mark.line < len(lines) else ""
        if "\t" in line[: len(line) - len(line.lstrip())]:
            message, fix = "this line is indented with a tab.", "Indent with spaces."
    return refused(message, fix, mark.line + 1, mark.column + 1)


def _key(node: yaml.Node) -> str:
    """Keys are names; YAML's `on:` or `123:` is the text that was written."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    mark = node.start_mark
    raise refused(
        "a block or a list cannot be a key.",
        "Write a plain name before the colon; a text that begins with [ or { needs quotes.",
        mark.line + 1,
        mark.column + 1,
    )


def _scalar(text: str, fraction: Callable[[str], Any]) -> Any:
    """A value without quotes, by YAML 1.2's core schema; dates stay text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return fraction(text) if _DECIMAL.fullmatch(text) else text
