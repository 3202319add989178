"""YAML text to plain data, with the line and column of everything in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from tasks.fleet.problems import Mistake, Path_, Problem, dotted

MAX_BYTES = 20_000_000
MAX_VALUES = 2_000_000
"""Values after aliases are followed: a file that grows beyond is no fleet."""

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # pyyaml without libyaml: slower, the same answers
    from yaml import SafeLoader as Loader  # type: ignore[assignment]


class TextInvalid(Exception):
    """Text that is no YAML mapping; carries the one problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Positions:
    """A parsed document: its data, its duplicate keys, and where each path stands."""

    def __init__(self, text: str) -> None:
        """Raises TextInvalid."""
        loader = Loader(text)
        try:
            root = loader.get_single_node()
            if not isinstance(root, yaml.MappingNode):
                raise TextInvalid(
                    Problem(
                        1,
                        1,
                        "",
                        "this is not a fleet file.",
                        "Begin with `fleet: NAME`, then clusters, sites, pools, hosts.",
                    )
                )
            self._budget = MAX_VALUES
            self.duplicates: list[Mistake] = []
            self._root = root
            self._scalar = loader
            self.data: Any = self._plain(root, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            words = " ".join(filter(None, (error.context, error.problem)))
            fix = "Indent with spaces, not tabs." if "\\t" in words else "Correct the YAML on this line or just above."
            raise TextInvalid(Problem(line, column, "", f"this is not YAML: {words}.", fix)) from None
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise TextInvalid(
                Problem(
                    1,
                    1,
                    "",
                    f"this cannot be read as YAML: {str(error).splitlines()[0]}.",
                    "Save it as plain YAML in UTF-8.",
                )
            ) from None
        finally:
            loader.dispose()

    def _plain(self, node: yaml.Node, path: Path_) -> Any:
        self._budget -= 1
        if self._budget < 0:
            raise ValueError("its aliases make it larger than any fleet")
        if isinstance(node, yaml.MappingNode):
            plain: dict[Any, Any] = {}
            self._scalar.flatten_mapping(node)
            merged = len(node.value)
            for position, (key_node, value_node) in enumerate(node.value):
                key = self._key(key_node)
                if key in plain and position < merged and self._written_twice(node, key, key_node):
                    self.duplicates.append(
                        Mistake((*path, key), f"{key} stands twice.", "Keep one of the two.", at_key=True)
                    )
                plain[key] = self._plain(value_node, (*path, key))
            return plain
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(child, (*path, i)) for i, child in enumerate(node.value)]
        if node.tag == "tag:yaml.org,2002:str":
            return node.value
        return self._scalar.construct_object(node)

    def _key(self, node: yaml.Node) -> str:
        """Keys are names; YAML's `on:` or `123:` is the text that was written."""
        if not isinstance(node, yaml.ScalarNode):
            mark = node.start_mark
            raise yaml.MarkedYAMLError(problem="a key must be a plain name", problem_mark=mark)
        return str(node.value)

    def _written_twice(self, node: yaml.MappingNode, key: str, key_node: yaml.Node) -> bool:
        """Not so when the first one came in by a merge (`<<`), which a written key overrides."""
        first = next(k for k, _ in node.value if self._key(k) == key)
        inside = node.start_mark.index <= first.start_mark.index < node.end_mark.index
        return inside and first is not key_node

    def place(self, mistake: Mistake) -> Problem:
        """A mistake with line and column: of the value, of the key, or of the nearest thing above it."""
        mark, shown = self._root.start_mark, mistake.path
        node: yaml.Node | None = self._root
        for depth, part in enumerate(mistake.path):
            last = depth == len(mistake.path) - 1
            found = self._child(node, part, want_last=last and mistake.at_key)
            if found is None:
                break
            key_mark, node = found
            mark = key_mark if last and (mistake.at_key or not isinstance(node, yaml.ScalarNode)) else node.start_mark
            if not last:
                mark = key_mark
        return Problem(mark.line + 1, mark.column + 1, dotted(shown), mistake.message, mistake.fix)

    def _child(self, node: yaml.Node | None, part: str | int, *, want_last: bool) -> tuple[yaml.Mark, yaml.Node] | None:
        if isinstance(node, yaml.MappingNode):
            matches = [(k.start_mark, v) for k, v in node.value if k.value == part]
            return (matches[-1] if want_last else matches[0]) if matches else None
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            child = node.value[part]
            return child.start_mark, child
        return None


def every_text(data: Any, path: Path_ = ()) -> Iterator[tuple[Path_, str]]:
    """Every text value with its path."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from every_text(value, (*path, key))
    elif isinstance(data, list):
        for position, value in enumerate(data):
            yield from every_text(value, (*path, position))
    elif isinstance(data, str):
        yield path, data
