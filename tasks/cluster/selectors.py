"""Selectors of labels and of nodes, as small values that can be compared and kept.

Rules: k8s.io/apimachinery `meta/v1/helpers.go` (LabelSelectorAsSelector) and k8s.io/component-helpers
`scheduling/corev1/nodeaffinity` (v1.36). A selector that is invalid matches nothing, as upstream has it for budgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from poolkeeper.tasks.cluster.api import Json
from poolkeeper.tasks.cluster.fields import Malformed, pairs, sections, text, texts

Labels = Mapping[str, str]

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: str
    """`In`, `NotIn`, `Exists`, `DoesNotExist`; for nodes also `Gt` and `Lt`."""
    values: tuple[str, ...] = ()

    def holds(self, labels: Labels) -> bool:
        """Whether the labels meet it. `NotIn` holds too where the label is absent."""
        value = labels.get(self.key)
        if self.operator == "In":
            return value in self.values
        if self.operator == "NotIn":
            return value not in self.values
        if self.operator == "Exists":
            return value is not None
        if self.operator == "DoesNotExist":
            return value is None
        try:
            left, right = int(value or ""), int(self.values[0])
        except (ValueError, IndexError):
            return False
        return left > right if self.operator == "Gt" else left < right


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector: all requirements must hold; without any it matches everything."""

    equal: tuple[tuple[str, str], ...] = ()
    """matchLabels."""
    requirements: tuple[Requirement, ...] = ()
    """matchExpressions."""
    nothing: bool = False
    """Absent or invalid: it matches no labels at all."""

    def matches(self, labels: Labels) -> bool:
        """Whether it selects an object with these labels."""
        if self.nothing:
            return False
        for key, value in self.equal:
            if labels.get(key) != value:
                return False
        return all(requirement.holds(labels) for requirement in self.requirements)


NOTHING = Selector(nothing=True)
EVERYTHING = Selector()


def parse_selector(selector: Json | None) -> Selector:
    """A LabelSelector object; None selects nothing, an empty one everything."""
    if selector is None:
        return NOTHING
    if not isinstance(selector, dict):
        raise Malformed("selector is no object")
    requirements = _requirements(selector, "matchExpressions")
    if any(each.operator not in _OPERATORS[:4] for each in requirements):
        return NOTHING
    return Selector(tuple(sorted(pairs(selector, "matchLabels").items())), requirements)


def equal_to(labels: Mapping[str, str]) -> Selector:
    """The selector that is a plain map of labels, as Services have; an empty map selects nothing."""
    return Selector(tuple(sorted(labels.items()))) if labels else NOTHING


def _requirements(parent: Json, key: str) -> tuple[Requirement, ...]:
    return tuple(
        Requirement(text(e, "key"), text(e, "operator"), tuple(texts(e, "values"))) for e in sections(parent, key)
    )


@dataclass(frozen=True, slots=True)
class NodeTerm:
    """One term of a node selector: everything in it must hold."""

    labels: tuple[Requirement, ...]
    fields: tuple[Requirement, ...] = ()
    """Of `metadata.name`, the only field there is."""

    def holds(self, name: str, labels: Labels) -> bool:
        """Whether a node meets it; an empty term is met by none."""
        if not self.labels and not self.fields:
            return False
        return all(r.holds(labels) for r in self.labels) and all(r.holds({"metadata.name": name}) for r in self.fields)


NodeTerms = tuple[NodeTerm, ...]
"""A node must meet one of them; of an empty tuple none can be met."""


def parse_node_terms(selector: Json | None) -> NodeTerms | None:
    """A NodeSelector object; None (no selector): every node will do."""
    if selector is None:
        return None
    if not isinstance(selector, dict):
        raise Malformed("node selector is no object")
    terms = sections(selector, "nodeSelectorTerms")
    return tuple(NodeTerm(_requirements(t, "matchExpressions"), _requirements(t, "matchFields")) for t in terms)


def any_holds(terms: NodeTerms | None, name: str, labels: Labels) -> bool:
    """Whether a node meets one of the terms, or there are none to meet."""
    return terms is None or any(term.holds(name, labels) for term in terms)
