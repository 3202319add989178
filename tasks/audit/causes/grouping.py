"""From thousands of measurements to the smallest set of causes that explains the failures. Pure.

An explanation costs 1 for each cause, and `AGAINST` for each measurement that passed although it depends on a cause.
A wide candidate cause is therefore chosen only where it saves more causes than its contradictions cost: if two hosts of
two fail, their domain is the cause; if two of ten fail, the two hosts are; and one connection that passes among forty
failures does not turn one line into forty causes. Causes are chosen greedily, by what they explain for their cost; then
each candidate is tried in place of the chosen causes that it makes superfluous.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from poolkeeper.tasks.audit.measurements import NOT_READY, CandidateCause, Measurement, Part, Quality

AGAINST = 2
"""What a fact costs that speaks against a cause, in causes: above two thirds failing, one cause may explain them."""

# Of a part and another with the very same failures. The second is meant where the first's surplus over it could not be
# measured at all: nobody can log in to a host that is down, so that nothing is known of its ways out.
_PART_OF = {
    Part.KUBELET: (Part.HOST,),
    Part.WAY_IN: (Part.HOST,),
    Part.DOMAIN_EDGE: (Part.DOMAIN,),
    Part.LINE_ONE_WAY: (Part.LINE,),
}
# The second is meant in any case: where a domain is all that a site has, its line is likelier than all hosts at once.
_LIKELIER = {
    Part.DOMAIN_EDGE: (Part.LINE_ONE_WAY, Part.LINE, Part.SITE),
    Part.DOMAIN: (Part.LINE_ONE_WAY, Part.LINE, Part.SITE),
}
# Where nodes are not Ready, and nothing else is known of what they depend on.
_LIKELIER_OF_NODES = dict.fromkeys(
    (Part.ENDPOINT, Part.SITE_TARGET, Part.DOMAIN_EDGE, Part.DOMAIN, Part.LINE_ONE_WAY), (Part.LINE,)
)
_PASSES = 20


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is broken, as far as the facts tell."""

    candidate: CandidateCause
    quality: Quality
    """FAIL, or SLOW where it makes slow."""
    explains: tuple[Measurement, ...]
    """By path. Each failing fact is explained by one cause, though others may make it fail as well."""
    against: tuple[Measurement, ...]
    """What passed although it depends on it, or failed in a manner that clears it."""
    unknown: int
    """How many facts that depend on it could not be measured."""
    symptom: str
    """The most frequent one of those that it explains."""


def group_by_cause(measured: Sequence[Measurement]) -> tuple[Cause, ...]:
    """The causes of all that failed, then of all that is slow; the one that explains the most first.

    The order of what is measured does not matter. Unknown facts accuse nobody and clear nobody. What is slow does not
    speak against a failure nor the other way round: a line that loses packets does both.
    """
    return (*_group(measured, Quality.FAIL), *_group(measured, Quality.SLOW))


@dataclass(slots=True, eq=False)
class _Explanation:
    """A candidate with all that depends on it; facts are numbers."""

    candidate: CandidateCause
    fails: list[int] = field(default_factory=list)
    against: int = 0
    unknown: int = 0
    other: int = 0
    """Measurement, and of no use here."""
    left: int = 0
    """Of `fails`, those that no chosen cause explains."""

    @property
    def cost(self) -> int:
        return 1 + AGAINST * self.against

    @property
    def rank(self) -> tuple[float, int, tuple[int, str, int]]:
        """The least is the best: what it explains for its cost, then what it explains in all, then the narrower."""
        return -self.left / self.cost, -len(self.fails), self.candidate.order


_Explanations = dict[CandidateCause, _Explanation]
_Possible = dict[int, Collection[CandidateCause]]
"""Failing fact -> who may have made it fail."""


def _group(measured: Sequence[Measurement], quality: Quality) -> list[Cause]:
    failing = [number for number, fact in enumerate(measured) if fact.quality is quality]
    if not failing:
        return []
    possible = {number: _possible(measured[number]) for number in failing}
    explanations = _explanations(measured, quality, possible)
    of_nodes = {number for number in failing if measured[number].symptom == NOT_READY}
    chosen = _improved(_greedy(explanations, possible, of_nodes), explanations)
    return _causes(measured, quality, chosen)


def _possible(fact: Measurement) -> Collection[CandidateCause]:
    """Somebody always: the path itself, where a fact names nobody."""
    return fact.possible or (CandidateCause(Part.PATH, f"{fact.source} -> {fact.target}"),)


def _explanations(measured: Sequence[Measurement], quality: Quality, possible: _Possible) -> _Explanations:
    """Whoever is possible by one fact at least, with all its evidence."""
    found: _Explanations = {}
    for number, candidates in possible.items():
        for candidate in candidates:
            explanation = found.get(candidate)
            if explanation is None:
                explanation = found[candidate] = _Explanation(candidate)
            explanation.fails.append(number)
    for each, count in _counted(fact.cleared for fact in measured if fact.quality is quality):
        if (explanation := found.get(each)) is not None:
            explanation.against += count
    for other in (Quality.OK, Quality.SLOW, Quality.FAIL, Quality.UNKNOWN):
        if other is quality:
            continue
        for each, count in _counted(fact.candidates for fact in measured if fact.quality is other):
            if (explanation := found.get(each)) is None:
                continue
            if other is Quality.OK:
                explanation.against += count
            elif other is Quality.UNKNOWN:
                explanation.unknown += count
            else:
                explanation.other += count
    for explanation in found.values():
        explanation.left = len(explanation.fails)
    return found


def _counted(candidates: Iterable[frozenset[CandidateCause]]) -> list[tuple[CandidateCause, int]]:
    """How often each occurs; one that is several objects comes several times.

    A night has a million of them, and all but a few are the same objects: they are counted by identity, not hashed.
    """
    members = list(chain.from_iterable(candidates))
    objects = dict(zip(map(id, members), members, strict=True))
    return [(objects[key], count) for key, count in Counter(map(id, members)).items()]


def _greedy(explanations: _Explanations, possible: _Possible, of_nodes: set[int]) -> _Explanations:
    """Causes that explain everything, the best first."""
    unexplained = set(possible)
    heap = [(explanation.rank, explanation) for explanation in explanations.values()]  # no two have one rank
    heapq.heapify(heap)
    chosen: _Explanations = {}
    while unexplained:
        rank, best = heapq.heappop(heap)
        if not best.left:
            continue
        if best.rank != rank:  # it explains less than when it was put there
            heapq.heappush(heap, (best.rank, best))
            continue
        rules = _LIKELIER_OF_NODES if of_nodes.issuperset(best.fails) else _LIKELIER
        best = _meant(best, explanations, possible, rules)
        chosen[best.candidate] = best
        for number in best.fails:
            if number in unexplained:
                unexplained.discard(number)
                for other in possible[number]:
                    explanations[other].left -= 1
    return chosen


def _meant(
    best: _Explanation, explanations: _Explanations, possible: _Possible, rules: Mapping[Part, tuple[Part, ...]]
) -> _Explanation:
    """`best`, or what is meant in its place: by `rules`, or as a part of a whole."""
    alike = sorted(
        (
            other
            for other in (explanations[candidate] for candidate in possible[best.fails[0]])
            if other.candidate.mode is best.candidate.mode
            and other.against == best.against
            and other.fails == best.fails
        ),
        key=lambda other: other.candidate.order,
    )
    while True:
        part = best.candidate.part
        likelier = [other for other in alike if other.candidate.part in rules.get(part, ())]
        wholes = [
            other
            for other in alike
            if other.candidate.part in _PART_OF.get(part, ())
            and other.unknown > best.unknown
            and other.other == best.other
        ]
        if not likelier and not wholes:
            return best
        best = (likelier or wholes)[0]


def _improved(chosen: _Explanations, explanations: _Explanations) -> list[_Explanation]:
    """The same explained at less cost: without the superfluous ones, and with one candidate in place of several."""
    cover = Counter(number for cause in chosen.values() for number in cause.fails)
    _drop(chosen, list(chosen.values()), cover)
    order = sorted(explanations.values(), key=lambda explanation: (explanation.cost, *explanation.rank[1:]))
    for _ in range(_PASSES):
        swapped = [_swap(explanation, chosen, cover) for explanation in _worth_trying(order, chosen, cover)]
        if not any(swapped):
            break
    return list(chosen.values())


def _drop(chosen: _Explanations, these: Iterable[_Explanation], cover: Counter[int]) -> list[_Explanation]:
    """Drop those of `these` that the rest makes superfluous, the dearest first, and say which they were."""
    dropped = []
    for cause in sorted(these, key=lambda cause: (-cause.cost, len(cause.fails), cause.candidate.order)):
        if all(cover[number] > 1 for number in cause.fails):
            cover.subtract(cause.fails)
            del chosen[cause.candidate]
            dropped.append(cause)
    return dropped


def _worth_trying(order: list[_Explanation], chosen: _Explanations, cover: Counter[int]) -> list[_Explanation]:
    """Those that would save more than they cost, if none of the rest changed."""
    owner = {number: cause for cause in chosen.values() for number in cause.fails if cover[number] == 1}
    alone = Counter(owner.values())
    found = []
    for explanation in order:
        if explanation.candidate in chosen or len(explanation.fails) < 2:
            continue
        explained = Counter(owner[number] for number in explanation.fails if number in owner)
        saved = sum(cause.cost for cause, count in explained.items() if count == alone[cause])
        if saved > explanation.cost:
            found.append(explanation)
    return found


def _swap(explanation: _Explanation, chosen: _Explanations, cover: Counter[int]) -> bool:
    """Whether it was put in place of others, at less cost than theirs."""
    mine = set(explanation.fails)
    cover.update(mine)
    dropped = _drop(chosen, [cause for cause in chosen.values() if not mine.isdisjoint(cause.fails)], cover)
    if sum(cause.cost for cause in dropped) > explanation.cost:
        chosen[explanation.candidate] = explanation
        return True
    cover.subtract(mine)
    for cause in dropped:
        cover.update(cause.fails)
        chosen[cause.candidate] = cause
    return False


def _causes(measured: Sequence[Measurement], quality: Quality, chosen: list[_Explanation]) -> list[Cause]:
    """Each failing fact to the cause that explains the most, of those that explain it."""
    causes, told = [], set[int]()
    against: dict[CandidateCause, list[Measurement]] = {cause.candidate: [] for cause in chosen}
    names = set(against)  # a set, so that the other's stored hashes are used
    for fact in measured:
        if fact.quality is Quality.OK or fact.quality is quality:
            for candidate in (fact.candidates if fact.quality is Quality.OK else fact.cleared) & names:
                against[candidate].append(fact)
    for cause in sorted(chosen, key=lambda cause: (-len(cause.fails), cause.candidate.order)):
        explains = [measured[number] for number in cause.fails if number not in told]
        told.update(cause.fails)
        causes.append(
            Cause(
                cause.candidate,
                quality,
                _by_path(explains),
                _by_path(against[cause.candidate]),
                cause.unknown,
                min(Counter(fact.symptom for fact in explains).items(), key=lambda item: (-item[1], item[0]))[0],
            )
        )
    return sorted(causes, key=lambda cause: (-len(cause.explains), cause.candidate.order))


def _by_path(facts: Iterable[Measurement]) -> tuple[Measurement, ...]:
    return tuple(sorted(facts, key=lambda fact: (*fact.path, fact.symptom, fact.evidence, fact.duration_ms or 0.0)))
