"""From thousands of facts to the smallest set of causes that explains the failures. Pure.

The cost of an explanation is one for each cause and `AGAINST` for each fact that passed although it depends on a cause.
So a wide suspect is accused where it saves more causes than that: two hosts of two are their domain, two of ten are two
hosts, and one lucky connect among forty failures does not make forty causes of a line. Causes are taken greedily, by
what they explain for their cost; then each suspect is tried in place of those that it makes superfluous.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from poolkeeper.tasks.audit.measurements import NOT_READY, Measured, Part, Quality, Suspect

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

    suspect: Suspect
    quality: Quality
    """FAIL, or SLOW where it makes slow."""
    explains: tuple[Measured, ...]
    """By path. Each failing fact is explained by one cause, though others may make it fail as well."""
    against: tuple[Measured, ...]
    """What passed although it depends on it, or failed in a manner that clears it."""
    unknown: int
    """How many facts that depend on it could not be measured."""
    symptom: str
    """The most frequent one of those that it explains."""


def fold(measured: Sequence[Measured]) -> tuple[Cause, ...]:
    """The causes of all that failed, then of all that is slow; the one that explains the most first.

    The order of what is measured does not matter. Unknown facts accuse nobody and clear nobody. What is slow does not
    speak against a failure nor the other way round: a line that loses packets does both.
    """
    return (*_fold(measured, Quality.FAIL), *_fold(measured, Quality.SLOW))


@dataclass(slots=True, eq=False)
class _Candidate:
    """A suspect with all that depends on it; facts are numbers."""

    suspect: Suspect
    fails: list[int] = field(default_factory=list)
    against: int = 0
    unknown: int = 0
    other: int = 0
    """Measured, and of no use here."""
    left: int = 0
    """Of `fails`, those that no chosen cause explains."""

    @property
    def cost(self) -> int:
        return 1 + AGAINST * self.against

    @property
    def rank(self) -> tuple[float, int, tuple[int, str, int]]:
        """The least is the best: what it explains for its cost, then what it explains in all, then the narrower."""
        return -self.left / self.cost, -len(self.fails), self.suspect.order


_Candidates = dict[Suspect, _Candidate]
_Accused = dict[int, Collection[Suspect]]
"""Failing fact -> who may have made it fail."""


def _fold(measured: Sequence[Measured], quality: Quality) -> list[Cause]:
    failing = [number for number, fact in enumerate(measured) if fact.quality is quality]
    if not failing:
        return []
    accused = {number: _accused(measured[number]) for number in failing}
    candidates = _candidates(measured, quality, accused)
    of_nodes = {number for number in failing if measured[number].symptom == NOT_READY}
    chosen = _improved(_greedy(candidates, accused, of_nodes), candidates)
    return _told(measured, quality, chosen)


def _accused(fact: Measured) -> Collection[Suspect]:
    """Somebody always: the path itself, where a fact names nobody."""
    return fact.accused or (Suspect(Part.PATH, f"{fact.source} -> {fact.target}"),)


def _candidates(measured: Sequence[Measured], quality: Quality, accused: _Accused) -> _Candidates:
    """Whoever is accused by one fact at least, with all its evidence."""
    found: _Candidates = {}
    for number, suspects in accused.items():
        for suspect in suspects:
            candidate = found.get(suspect)
            if candidate is None:
                candidate = found[suspect] = _Candidate(suspect)
            candidate.fails.append(number)
    for each, count in _counted(fact.acquitted for fact in measured if fact.quality is quality):
        if (candidate := found.get(each)) is not None:
            candidate.against += count
    for other in (Quality.OK, Quality.SLOW, Quality.FAIL, Quality.UNKNOWN):
        if other is quality:
            continue
        for each, count in _counted(fact.suspects for fact in measured if fact.quality is other):
            if (candidate := found.get(each)) is None:
                continue
            if other is Quality.OK:
                candidate.against += count
            elif other is Quality.UNKNOWN:
                candidate.unknown += count
            else:
                candidate.other += count
    for candidate in found.values():
        candidate.left = len(candidate.fails)
    return found


def _counted(suspects: Iterable[frozenset[Suspect]]) -> list[tuple[Suspect, int]]:
    """How often each occurs; one that is several objects comes several times.

    A night has a million of them, and all but a few are the same objects: they are counted by identity, not hashed.
    """
    members = list(chain.from_iterable(suspects))
    objects = dict(zip(map(id, members), members, strict=True))
    return [(objects[key], count) for key, count in Counter(map(id, members)).items()]


def _greedy(candidates: _Candidates, accused: _Accused, of_nodes: set[int]) -> _Candidates:
    """Causes that explain everything, the best first."""
    unexplained = set(accused)
    heap = [(candidate.rank, candidate) for candidate in candidates.values()]  # no two have one rank
    heapq.heapify(heap)
    chosen: _Candidates = {}
    while unexplained:
        rank, best = heapq.heappop(heap)
        if not best.left:
            continue
        if best.rank != rank:  # it explains less than when it was put there
            heapq.heappush(heap, (best.rank, best))
            continue
        rules = _LIKELIER_OF_NODES if of_nodes.issuperset(best.fails) else _LIKELIER
        best = _meant(best, candidates, accused, rules)
        chosen[best.suspect] = best
        for number in best.fails:
            if number in unexplained:
                unexplained.discard(number)
                for other in accused[number]:
                    candidates[other].left -= 1
    return chosen


def _meant(
    best: _Candidate, candidates: _Candidates, accused: _Accused, rules: Mapping[Part, tuple[Part, ...]]
) -> _Candidate:
    """`best`, or what is meant in its place: by `rules`, or as a part of a whole."""
    alike = sorted(
        (
            other
            for other in (candidates[suspect] for suspect in accused[best.fails[0]])
            if other.suspect.fault is best.suspect.fault and other.against == best.against and other.fails == best.fails
        ),
        key=lambda other: other.suspect.order,
    )
    while True:
        part = best.suspect.part
        likelier = [other for other in alike if other.suspect.part in rules.get(part, ())]
        wholes = [
            other
            for other in alike
            if other.suspect.part in _PART_OF.get(part, ())
            and other.unknown > best.unknown
            and other.other == best.other
        ]
        if not likelier and not wholes:
            return best
        best = (likelier or wholes)[0]


def _improved(chosen: _Candidates, candidates: _Candidates) -> list[_Candidate]:
    """The same explained at less cost: without the superfluous ones, and with one suspect in place of several."""
    cover = Counter(number for cause in chosen.values() for number in cause.fails)
    _drop(chosen, list(chosen.values()), cover)
    order = sorted(candidates.values(), key=lambda candidate: (candidate.cost, *candidate.rank[1:]))
    for _ in range(_PASSES):
        swapped = [_swap(candidate, chosen, cover) for candidate in _worth_trying(order, chosen, cover)]
        if not any(swapped):
            break
    return list(chosen.values())


def _drop(chosen: _Candidates, these: Iterable[_Candidate], cover: Counter[int]) -> list[_Candidate]:
    """Drop those of `these` that the rest makes superfluous, the dearest first, and say which they were."""
    dropped = []
    for cause in sorted(these, key=lambda cause: (-cause.cost, len(cause.fails), cause.suspect.order)):
        if all(cover[number] > 1 for number in cause.fails):
            cover.subtract(cause.fails)
            del chosen[cause.suspect]
            dropped.append(cause)
    return dropped


def _worth_trying(order: list[_Candidate], chosen: _Candidates, cover: Counter[int]) -> list[_Candidate]:
    """Those that would save more than they cost, if none of the rest changed."""
    owner = {number: cause for cause in chosen.values() for number in cause.fails if cover[number] == 1}
    alone = Counter(owner.values())
    found = []
    for candidate in order:
        if candidate.suspect in chosen or len(candidate.fails) < 2:
            continue
        explained = Counter(owner[number] for number in candidate.fails if number in owner)
        saved = sum(cause.cost for cause, count in explained.items() if count == alone[cause])
        if saved > candidate.cost:
            found.append(candidate)
    return found


def _swap(candidate: _Candidate, chosen: _Candidates, cover: Counter[int]) -> bool:
    """Whether it was put in place of others, at less cost than theirs."""
    mine = set(candidate.fails)
    cover.update(mine)
    dropped = _drop(chosen, [cause for cause in chosen.values() if not mine.isdisjoint(cause.fails)], cover)
    if sum(cause.cost for cause in dropped) > candidate.cost:
        chosen[candidate.suspect] = candidate
        return True
    cover.subtract(mine)
    for cause in dropped:
        cover.update(cause.fails)
        chosen[cause.suspect] = cause
    return False


def _told(measured: Sequence[Measured], quality: Quality, chosen: list[_Candidate]) -> list[Cause]:
    """Each failing fact to the cause that explains the most, of those that explain it."""
    causes, told = [], set[int]()
    against: dict[Suspect, list[Measured]] = {cause.suspect: [] for cause in chosen}
    names = set(against)  # a set, so that the other's stored hashes are used
    for fact in measured:
        if fact.quality is Quality.OK or fact.quality is quality:
            for suspect in (fact.suspects if fact.quality is Quality.OK else fact.acquitted) & names:
                against[suspect].append(fact)
    for cause in sorted(chosen, key=lambda cause: (-len(cause.fails), cause.suspect.order)):
        explains = [measured[number] for number in cause.fails if number not in told]
        told.update(cause.fails)
        causes.append(
            Cause(
                cause.suspect,
                quality,
                _by_path(explains),
                _by_path(against[cause.suspect]),
                cause.unknown,
                min(Counter(fact.symptom for fact in explains).items(), key=lambda item: (-item[1], item[0]))[0],
            )
        )
    return sorted(causes, key=lambda cause: (-len(cause.explains), cause.suspect.order))


def _by_path(facts: Iterable[Measured]) -> tuple[Measured, ...]:
    return tuple(sorted(facts, key=lambda fact: (*fact.path, fact.symptom, fact.evidence, fact.duration_ms or 0.0)))
