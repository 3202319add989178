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
"""Cost of a measurement that contradicts a cause: from over two thirds failing on, one cause may explain them."""

# A part -> parts that contain it. If both have the same failures, and all else that depends on the second could not be
# measured, the second is the cause: a host that is down lets nobody log in, so its outgoing paths are unknown.
_PART_OF = {
    Part.KUBELET: (Part.HOST,),
    Part.WAY_IN: (Part.HOST,),
    Part.DOMAIN_EDGE: (Part.DOMAIN,),
    Part.LINE_ONE_WAY: (Part.LINE,),
}
# If both have the same failures, the second is the cause: if a site has one domain only, a failure of the line is
# likelier than a failure of all hosts.
_LIKELIER = {
    Part.DOMAIN_EDGE: (Part.LINE_ONE_WAY, Part.LINE, Part.SITE),
    Part.DOMAIN: (Part.LINE_ONE_WAY, Part.LINE, Part.SITE),
}
# The same, where the only failures are nodes that are not Ready.
_LIKELIER_OF_NODES = dict.fromkeys(
    (Part.ENDPOINT, Part.SITE_TARGET, Part.DOMAIN_EDGE, Part.DOMAIN, Part.LINE_ONE_WAY), (Part.LINE,)
)
_PASSES = 20


@dataclass(frozen=True, slots=True)
class Cause:
    """A root cause: one part that is broken, as far as the measurements show."""

    candidate: CandidateCause
    quality: Quality
    """FAIL, or SLOW where the part makes others slow."""
    explains: tuple[Measurement, ...]
    """Sorted by path. Each failed measurement is in one cause only, even if several causes would make it fail."""
    against: tuple[Measurement, ...]
    """Measurements that passed although they depend on the part, or whose symptom clears it."""
    unknown: int
    """How many measurements that depend on the part are unknown."""
    symptom: str
    """The most frequent symptom of the measurements that it explains."""


def group_by_cause(measured: Sequence[Measurement]) -> tuple[Cause, ...]:
    """The causes of all failures, then those of all slow answers; those that explain the most first.

    Invariants: each failed measurement is explained by exactly one cause; the order of `measured` does not matter; an
    unknown measurement neither supports nor contradicts a cause. A slow answer does not contradict a failure, nor the
    other way round: a line that loses packets causes both.
    """
    return (*_group(measured, Quality.FAIL), *_group(measured, Quality.SLOW))


@dataclass(slots=True, eq=False)
class _Explanation:
    """A candidate cause with all measurements that depend on it; these are indexes into the list of measurements."""

    candidate: CandidateCause
    fails: list[int] = field(default_factory=list)
    against: int = 0
    unknown: int = 0
    other: int = 0
    """How many measurements that depend on it have another quality, which is no evidence here."""
    unexplained: int = 0
    """How many of `fails` no chosen cause explains."""

    @property
    def cost(self) -> int:
        return 1 + AGAINST * self.against

    @property
    def rank(self) -> tuple[float, int, tuple[int, str, int]]:
        """To sort by, the best first: explains the most for its cost, explains the most in all, is the narrowest."""
        return -self.unexplained / self.cost, -len(self.fails), self.candidate.order


_Explanations = dict[CandidateCause, _Explanation]
_Possible = dict[int, Collection[CandidateCause]]
"""Failed measurement -> the candidate causes that its symptom leaves."""


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
    """The candidate causes of a failure; never empty: the path itself, where the measurement names none."""
    return fact.possible or (CandidateCause(Part.PATH, f"{fact.source} -> {fact.target}"),)


def _explanations(measured: Sequence[Measurement], quality: Quality, possible: _Possible) -> _Explanations:
    """Every candidate cause of at least one failure, with all its evidence."""
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
        explanation.unexplained = len(explanation.fails)
    return found


def _counted(candidates: Iterable[frozenset[CandidateCause]]) -> list[tuple[CandidateCause, int]]:
    """How often each occurs; equal candidates that are different objects are listed separately.

    A night has a million occurrences of a few objects: counting by identity is faster than hashing.
    """
    members = list(chain.from_iterable(candidates))
    objects = dict(zip(map(id, members), members, strict=True))
    return [(objects[key], count) for key, count in Counter(map(id, members)).items()]


def _greedy(explanations: _Explanations, possible: _Possible, of_nodes: set[int]) -> _Explanations:
    """Causes that explain every failure, chosen the best first."""
    unexplained = set(possible)
    heap = [(explanation.rank, explanation) for explanation in explanations.values()]  # ranks are unique
    heapq.heapify(heap)
    chosen: _Explanations = {}
    while unexplained:
        rank, best = heapq.heappop(heap)
        if not best.unexplained:
            continue
        if best.rank != rank:  # it explains less than when it was pushed
            heapq.heappush(heap, (best.rank, best))
            continue
        rules = _LIKELIER_OF_NODES if of_nodes.issuperset(best.fails) else _LIKELIER
        best = _likelier(best, explanations, possible, rules)
        chosen[best.candidate] = best
        for number in best.fails:
            if number in unexplained:
                unexplained.discard(number)
                for other in possible[number]:
                    explanations[other].unexplained -= 1
    return chosen


def _likelier(
    best: _Explanation, explanations: _Explanations, possible: _Possible, rules: Mapping[Part, tuple[Part, ...]]
) -> _Explanation:
    """`best`, or a likelier candidate with the same failures: by `rules`, or because it contains `best`."""
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
    """Causes that explain the same at less cost: without superfluous ones, and with one in place of several."""
    cover = Counter(number for cause in chosen.values() for number in cause.fails)
    _drop(chosen, list(chosen.values()), cover)
    order = sorted(explanations.values(), key=lambda explanation: (explanation.cost, *explanation.rank[1:]))
    for _ in range(_PASSES):
        swapped = [_swap(explanation, chosen, cover) for explanation in _worth_trying(order, chosen, cover)]
        if not any(swapped):
            break
    return list(chosen.values())


def _drop(chosen: _Explanations, these: Iterable[_Explanation], cover: Counter[int]) -> list[_Explanation]:
    """Drop the causes among `these` that the rest makes superfluous, the most expensive first; returns those."""
    dropped = []
    for cause in sorted(these, key=lambda cause: (-cause.cost, len(cause.fails), cause.candidate.order)):
        if all(cover[number] > 1 for number in cause.fails):
            cover.subtract(cause.fails)
            del chosen[cause.candidate]
            dropped.append(cause)
    return dropped


def _worth_trying(order: list[_Explanation], chosen: _Explanations, cover: Counter[int]) -> list[_Explanation]:
    """Candidates that would save more than they cost, if no other choice changed."""
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
    """Choose it in place of others if that costs less; returns whether it did."""
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
    """The causes, each failure assigned to the one among its causes that explains the most."""
    causes, assigned = [], set[int]()
    against: dict[CandidateCause, list[Measurement]] = {cause.candidate: [] for cause in chosen}
    names = set(against)  # a set, so that the hashes stored in the other set are used
    for fact in measured:
        if fact.quality is Quality.OK or fact.quality is quality:
            for candidate in (fact.candidates if fact.quality is Quality.OK else fact.cleared) & names:
                against[candidate].append(fact)
    for cause in sorted(chosen, key=lambda cause: (-len(cause.fails), cause.candidate.order)):
        explains = [measured[number] for number in cause.fails if number not in assigned]
        assigned.update(cause.fails)
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
