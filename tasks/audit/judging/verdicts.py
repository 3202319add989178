"""Judges a host's answers: each answer becomes measurements with a quality (ok, slow, fail, unknown). Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from poolkeeper.tasks.audit.causes.candidates import Stage
from poolkeeper.tasks.audit.measurements import (
    TOO_BIG,
    WRONG_TIME,
    CandidateCause,
    FailureMode,
    Measurement,
    Part,
    Quality,
)
from poolkeeper.tasks.audit.planning.plan import CLOCK, MTU_LEAST, NEGATIVE_TTL, PlannedQuestion
from poolkeeper.tasks.audit.planning.questions import Answer, Kind, Outcome

SLOW_MS = {Kind.TCP: 500.0, Kind.DNS: 1000.0, Kind.STUB: 2000.0, Kind.API: 3000.0, Kind.TLS: 2000.0}
"""Milliseconds above which an answer is slow, whatever it took on other nights."""
CLOCK_OFF_S = 5.0
"""A Date header has whole seconds and travels for some time; certificates and tokens tolerate some seconds."""
WASTED_LOOKUPS = 3
"""Lookups that a name costs before the right one: from this number on, the search list or `ndots` is wrong."""
_API_CHECKS = (
    (Stage.NAME, "name.api"),
    (Stage.CONNECT, "connect.api"),
    (Stage.TLS, "tls.api"),
    (Stage.HTTP, "ready.api"),
)
_TAKES_CONNECTIONS = frozenset({Part.TARGET, Part.ENDPOINT, Part.SITE_TARGET})
"""Parts that may accept a connection and not answer: a load balancer without backends, a firewall that inspects it."""

Agreed = Mapping[tuple[str, str], str | None]
"""(scope, name) -> the addresses that most servers answer, joined by commas; None: there is no majority."""


def agree(answered: Iterable[tuple[PlannedQuestion, Answer]]) -> Agreed:
    """The majority answer for each name that all hosts must resolve alike. Invariant: each DNS server has one vote.

    Only questions to a server itself count: a host's stub resolver repeats the answers of its servers. A truncated
    answer does not count: any address may be missing from it.
    """
    votes: defaultdict[tuple[str, str], defaultdict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for asked, answer in answered:
        if not asked.expected.compared or asked.expected.addresses or asked.question.kind is not Kind.DNS:
            continue
        if answer.outcome is Outcome.OK and answer.values.get("addresses") and not _is_truncated(asked, answer):
            votes[asked.expected.scope, asked.question.name][asked.question.address][answer.values["addresses"]] += 1
    return {name: _majority(servers) for name, servers in votes.items()}


def _majority(servers: Mapping[str, Counter[str]]) -> str | None:
    best = Counter(_vote(answers) for answers in servers.values()).most_common(2)
    if len(best) > 1 and best[0][1] == best[1][1]:
        return None
    return best[0][0]


def _vote(answers: Counter[str]) -> str:
    """A server's most frequent answer; of equally frequent ones the first by name, whatever the order of hosts."""
    return min(answers, key=lambda addresses: (-answers[addresses], addresses))


def _is_truncated(asked: PlannedQuestion, answer: Answer) -> bool:
    """Whether the answer did not fit into a datagram; over TCP it always fits."""
    return asked.question.transport == "udp" and answer.values.get("truncated") == "yes"


def judge(
    source: str, asked: Sequence[PlannedQuestion], answers: Sequence[Answer], agreed: Agreed, now: datetime
) -> list[Measurement]:
    """One host's measurements."""
    facts: list[Measurement] = []
    for question, answer in zip(asked, answers, strict=True):
        facts += _Judge(source, question, answer, agreed, now).facts()
    return facts


@dataclass(frozen=True, slots=True)
class _Judge:
    """One answer."""

    source: str
    asked: PlannedQuestion
    answer: Answer
    agreed: Agreed
    now: datetime

    def facts(self) -> list[Measurement]:
        """The measurements of this answer. Invariant: no answer, whatever its text, raises."""
        try:
            return list(self._facts())
        except Exception as error:  # of one answer: every other answer is judged
            return [self._unknown(f"the answer is malformed ({type(error).__name__}: {error})")]

    def _facts(self) -> Iterable[Measurement]:
        kind = self.asked.question.kind
        if kind is Kind.API:
            return self._api()
        if self.answer.outcome is Outcome.UNKNOWN:
            return [self._unknown(self.answer.reason)]
        if kind is Kind.SETTINGS:
            return [self._settings()]
        if kind is Kind.METRICS:
            return [self._metrics()]
        if kind is Kind.MTU:
            return [self._big_packets()]
        if kind in (Kind.DNS, Kind.STUB):
            return self._name()
        return [self._target()]

    # facts of one kind of question

    def _api(self) -> Iterator[Measurement]:
        """A measurement for each stage; the stages after a failed one are unknown."""
        broke = "" if self.answer.outcome is Outcome.OK else self.answer.values.get("stage", "")
        if broke not in ("", *Stage) or (not broke and self.answer.outcome is not Outcome.OK):
            broke = Stage.NAME  # not asked, or the answer does not name the stage that failed: every stage is unknown
            if self.answer.outcome is not Outcome.UNKNOWN:
                yield from (
                    self._unknown("the answer does not name the stage that failed", c, s) for s, c in _API_CHECKS
                )
                yield self._unknown("the answer does not name the stage that failed", "clock.api", CLOCK)
                return
        failed = False
        for stage, check in _API_CHECKS:
            if failed:
                yield self._unknown("an earlier stage failed", check, stage)
            elif stage == broke:
                failed = True
                yield self._unanswered(check, stage)
            elif stage is Stage.HTTP:
                yield self._ready(check, stage)
            else:
                yield self._ok(f"{stage}: ok", check, stage, _number(self.answer.values.get(f"{stage}_ms")))
        yield self._unknown("an earlier stage failed", "clock.api", CLOCK) if failed else self._clock()

    def _ready(self, check: str, stage: Stage) -> Measurement:
        status = self.answer.values.get("status", "")
        if status not in ("200", "401", "403"):  # 401 and 403 are answers of the API server as well
            return self._fail(
                f"/readyz answers {f'status {status}' if status else 'without a status'}", "bad-status", check, stage
            )
        return self._ok(f"/readyz answers status {status}", check, stage, self.answer.duration_ms)

    def _clock(self) -> Measurement:
        offset_s = _number(self.answer.values.get("clock_offset_s"))
        if offset_s is None:
            return self._unknown("the answer has no Date header", "clock.api", CLOCK)
        if abs(offset_s) <= CLOCK_OFF_S:
            return self._ok(f"{offset_s:+.0f} s", "clock.api", CLOCK)
        direction = "ahead of" if offset_s > 0 else "behind"
        observed = f"the host's clock is {abs(offset_s):.0f} s {direction} the API server's"
        return self._fail(observed, WRONG_TIME, "clock.api", CLOCK)

    def _name(self) -> Iterator[Measurement]:
        values, expected, name = self.answer.values, self.asked.expected, self.asked.question.name
        if self.answer.outcome is Outcome.NO_NAME and expected.absent and values.get("certain") == "no":
            yield self._unknown(self.answer.reason)
            return
        if self.answer.outcome is not Outcome.OK:
            yield self._unanswered()
            return
        rcode, addresses = values.get("rcode", "NOERROR"), values.get("addresses", "")
        if rcode not in ("NOERROR", "NXDOMAIN"):
            # a cache that answers this got no answer from its upstream
            yield self._fail(f"answers {rcode}", "no-upstream" if self.asked.check == "dns.cache" else "servfail")
        elif rcode == "NOERROR" and _is_truncated(self.asked, self.answer):
            yield self._ok("the answer does not fit into a datagram")
        elif expected.absent:
            if addresses:
                yield self._fail(f"answers {addresses} for a name that does not exist", "wrong-answer")
            else:
                yield self._ok("no such name, as expected")
            ttl_s = _number(values.get("authoritative_ttl_s"))
            if ttl_s is not None and expected.negative_ttl_s:
                yield self._negative_ttl(ttl_s)
        elif not addresses:
            yield self._fail("no such name" if rcode == "NXDOMAIN" else "no address", "nxdomain")
        elif expected.addresses and addresses != ",".join(expected.addresses):
            yield self._fail(
                f"answers {addresses}; the fleet file declares {', '.join(expected.addresses)}", "wrong-answer"
            )
        elif expected.compared and self.agreed.get((expected.scope, name), addresses) != addresses:
            most = self.agreed[expected.scope, name]
            others = "the servers have no majority answer" if most is None else f"most servers answer {most}"
            yield self._fail(f"answers {addresses}; {others}", "wrong-answer")
        else:
            yield self._ok(addresses)

    def _negative_ttl(self, ttl_s: float) -> Measurement:
        check, observed = "settings.negative-ttl", f"resolvers cache 'no such name' for {ttl_s:.0f} s"
        if ttl_s > self.asked.expected.negative_ttl_s:
            return self._fail(observed, "wrong-answer", check, NEGATIVE_TTL)
        return self._ok(observed, check, NEGATIVE_TTL)

    def _settings(self) -> Measurement:
        """The cost of the search list: a name with fewer dots than `ndots` is looked up with each domain first."""
        if self.answer.outcome is not Outcome.OK:
            return self._unknown(f"resolv.conf cannot be read: {self.answer.reason or self.answer.outcome}")
        values = self.answer.values
        search, ndots = [s for s in values.get("search", "").split(",") if s], int(_number(values.get("ndots")) or 1)
        wasted = len(search) if ndots > 1 else 0
        if wasted >= WASTED_LOOKUPS:
            observed = f"ndots:{ndots} and search {' '.join(search)}: example.com costs {wasted} extra lookups"
            return self._fail(observed, "wrong-answer")
        return self._ok(f"{values.get('servers', '')}; search {' '.join(search) or '(none)'}; ndots:{ndots}")

    def _metrics(self) -> Measurement:
        if self.answer.outcome is not Outcome.OK:
            return self._unknown(f"the metrics cannot be read: {self.answer.reason or self.answer.outcome}")
        values = self.answer.values
        return self._ok(
            " ".join(f"{name}={values.get(name, '?')}" for name in ("hits", "misses", "forwards", "errors"))
        )

    def _big_packets(self) -> Measurement:
        wanted, largest = self.asked.expected.path_mtu, _number(self.answer.values.get("largest"))
        if self.answer.outcome is not Outcome.OK or largest is None or largest < MTU_LEAST:
            return self._unknown("no echo reply arrived, small or big: ICMP may be filtered")
        if largest >= wanted:
            return self._ok(f"packets of {wanted} bytes pass unfragmented")
        reported = self.answer.values.get("reported")
        mtu = (
            f"the network reports an MTU of {reported}" if reported else "the network drops them without an ICMP error"
        )
        return self._fail(f"packets of {largest:.0f} bytes pass, of {wanted} do not; {mtu}", TOO_BIG)

    def _target(self) -> Measurement:
        if self.answer.outcome is Outcome.NO_NAME:
            return self._fail(f"the name cannot be resolved: {self.answer.reason}", "no-name")
        values = self.answer.values
        expires = _moment(values.get("not_after"))
        if self.answer.outcome is not Outcome.OK:
            return self._unanswered()
        status = values.get("status")
        if status is not None and not status.startswith(("2", "3")):
            return self._fail(f"answers with status {status}", "bad-status")
        at_least_s = self.asked.expected.expires_in_s
        if at_least_s and expires is not None and (expires - self.now).total_seconds() < at_least_s:
            return self._fail(f"the certificate expires on {expires:%Y-%m-%d %H:%M} UTC", "expires-soon")
        return self._ok("connected" if status is None else f"status {status}")

    def _no_tls(self, check: str, stage: str) -> Measurement:
        """A certificate that does not verify, or no handshake. Without a handshake, the path itself is not cut."""
        values = self.answer.values
        if values.get("verified", "yes") == "yes":
            observed = f"the server accepts the connection, but the TLS handshake fails: {self.answer.reason}"
            fact = self._fail(observed, "no-handshake", check, stage)
            left = (s for s in fact.candidates if s.mode is not FailureMode.CUT or s.part in _TAKES_CONNECTIONS)
            return replace(fact, candidates=frozenset(left))
        expires, issuer = _moment(values.get("not_after")), values.get("issuer", "")
        if expires is not None and expires < self.now:
            return self._fail(f"the certificate expired on {expires:%Y-%m-%d %H:%M} UTC", "expired", check, stage)
        observed = f"the certificate does not verify: {values['verified']}"
        return self._fail(f"{observed}{f' (issued by {issuer})' if issuer else ''}", "untrusted", check, stage)

    # facts of one quality

    def _ok(self, evidence: str, check: str = "", stage: str = "", duration_ms: float | None = None) -> Measurement:
        took = duration_ms if check else self.answer.duration_ms
        limit = SLOW_MS.get(self.asked.question.kind)
        if took is not None and limit is not None and took > limit:
            return self._fact(Quality.SLOW, f"{evidence}, after {took:.0f} ms", check, stage, took, "slow")
        return self._fact(Quality.OK, evidence, check, stage, took)

    def _fail(self, evidence: str, symptom: str, check: str = "", stage: str = "") -> Measurement:
        return self._fact(Quality.FAIL, evidence, check, stage, self.answer.duration_ms, symptom)

    def _unanswered(self, check: str = "", stage: str = "") -> Measurement:
        """A question without an answer: its outcome is the failure, or it is unknown."""
        outcome, reason = self.answer.outcome, self.answer.reason
        if outcome is Outcome.UNKNOWN:
            return self._unknown(reason, check, stage)
        if outcome is Outcome.TLS:
            return self._no_tls(check, stage)
        symptom = "wrong-answer" if outcome is Outcome.GARBLED else str(outcome)
        return self._fail(f"{outcome}{f': {reason}' if reason else ''}", symptom, check, stage)

    def _unknown(self, reason: str, check: str = "", stage: str = "") -> Measurement:
        return self._fact(Quality.UNKNOWN, reason or "not measured", check, stage)

    def _fact(
        self,
        quality: Quality,
        evidence: str,
        check: str,
        stage: str,
        duration_ms: float | None = None,
        symptom: str = "",
    ) -> Measurement:
        asked = self.asked
        candidates = asked.candidates.get(stage) or frozenset()
        hidden = asked.behind - candidates if quality is Quality.FAIL else frozenset[CandidateCause]()
        return Measurement(
            check or asked.check,
            self.source,
            asked.target,
            quality,
            evidence[:300],
            candidates | hidden,
            duration_ms,
            symptom,
            hidden,
        )


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "nan")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None
