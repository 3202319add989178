"""A night's audit, its host half: up to 1,000 hosts asked and concluded on, against bare asyncssh. Prints JSON.

Both arms send the same programs, within the limits on SSH that a fleet has by default; each host runs its probe for real,
asks a loopback name server about 30 questions and connects to 8 others. What the bare arm does not do: tell errors apart,
read answers. The hosts are one other process on the same cores, so that most of the time is theirs: `cpu_s` is what an arm
itself has spent. Each arm is a process of its own, for its memory. Wanted: 1,000 hosts concluded on in less than 3
minutes and 1.5 GB on 2 cores, at most 1.3 times the time of bare asyncssh, as long per host as with 100; a probe in less
than 15 s and 30 MB.

Not asked: an API server, targets over TLS, the stub's absent name (which would be looked up beyond loopback).

    python -m tests.bench.bench_audit [HOSTS ...]
"""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from poolkeeper.tasks.audit.conclusion import Response
from poolkeeper.tasks.audit.measurements import Quality
from poolkeeper.tasks.audit.planning.plan import ABSENT, NightPlan, PlannedQuestion, plan_night
from poolkeeper.tasks.audit.planning.questions import Answer, Kind, Outcome, RequestBatch
from poolkeeper.tasks.audit.remote.protocol import END, program, python_program, read_answers
from poolkeeper.tasks.audit.report.audit_report import AuditReport
from poolkeeper.tasks.audit.report.messages import host_outcomes
from poolkeeper.tasks.audit.run import DEADLINE_S, JITTER_S, PARALLEL, AuditRun, Clusters
from poolkeeper.tasks.fleet.model import AuditName, AuditSettings, Domain, Fleet, SecretRef, Site, SiteDns, SshAccess
from poolkeeper.tasks.hosts import Sessions
from poolkeeper.tasks.hosts.errors import ConnectTimeout
from poolkeeper.tasks.ledger import Spool
from poolkeeper.tasks.outcomes import RunState
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.settings import secret_reader
from tests.bench.bare import Bare, make_key
from tests.bench.memory import peak_mb
from tests.bench.probed_hosts import HERE
from tests.unit.onboard.builders import CLUSTER, a_fleet, a_host

SITES, RACKS = 10, 5
NAMES = tuple(AuditName(f"n{number}.bench", zone="on-prem") for number in range(13))
EXTERNAL = "external.bench"
SETTINGS = AuditSettings(every_pair_up_to=1, neighbours=8, names=NAMES)
EARLIER_NIGHTS = 7
AT_ITS_END = """
_exit = os._exit
def told(status):
    sys.stderr.write([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1])
    sys.stderr.flush()
    _exit(status)
os._exit = told
"""


def the_fleet(folder: Path, ports: Sequence[int]) -> Fleet:
    """A host for each port, in sites and racks."""
    dns = SiteDns(resolvers=(HERE,), external_name=EXTERNAL)
    sites = [Site(f"s{number}", ZoneInfo("UTC"), dns=dns) for number in range(SITES)]
    racks = [Domain(f"{site.name}-r{number}", site) for number in range(RACKS) for site in sites]
    key = SecretRef(file=folder / "ours")
    hosts = []
    for number, port in enumerate(ports):
        rack = racks[number % len(racks)]
        access = SshAccess("ops", port, key, known_hosts=folder / "known_hosts", sudo=False)
        host = a_host(f"{rack.name}-n{number:04}", address=HERE, ssh=access)
        hosts.append(replace(host, site=rack.site, domain=rack))
    return replace(a_fleet(*hosts), audit=SETTINGS)


def the_plan(fleet: Fleet, dns_port: int) -> NightPlan:
    """Tonight's, with the name server where it is; what would leave loopback is left out."""
    plan = plan_night(fleet, list(fleet.hosts.values()), {}, 0, {})
    asked = {
        name: tuple(there for one in of if (there := _on_loopback(one, dns_port))) for name, of in plan.asked.items()
    }
    return replace(plan, asked=asked)


def _on_loopback(asked: PlannedQuestion, dns_port: int) -> PlannedQuestion | None:
    question = asked.question
    if question.kind is Kind.DNS:
        return replace(asked, question=replace(question, port=dns_port))
    if question.kind is Kind.STUB:
        if question.name == ABSENT.name:
            return None
        return replace(asked, question=replace(question, name="localhost", record="A"))
    return asked


def sheet_of(plan: NightPlan, name: str, jitter_s: float = JITTER_S) -> RequestBatch:
    """As `AuditRun` makes it."""
    questions = tuple(asked.question for asked in plan.asked[name])
    return RequestBatch(questions, plan.authorities[name], deadline_s=DEADLINE_S, parallel=PARALLEL, jitter_s=jitter_s)


# the two arms, each in a process of its own


def ours(folder: Path, ports: Sequence[int], dns_port: int) -> dict[str, Any]:
    """Plan, ask, conclude; then conclude on the same answers as after a week of nights, and with much broken."""
    began, busy = time.perf_counter(), time.process_time()
    fleet = the_fleet(folder, ports)
    plan = the_plan(fleet, dns_port)
    planned_s = time.perf_counter() - began
    spool = Spool(Path(tempfile.mkdtemp(dir=folder)))
    first = datetime.now(UTC) - timedelta(days=EARLIER_NIGHTS + 1)

    def recorder(night: int) -> Recorder:
        at = first + timedelta(days=night)
        return Recorder(spool, f"night-{night}", started_at=at, fleet=fleet.name)

    async def ask() -> tuple[AuditRun, dict[str, Response], float]:
        async with Sessions(fleet.ssh_limits, secret_reader()) as sessions:
            unread = Clusters(unread={CLUSTER.name: "it is not asked"})
            run = AuditRun(fleet, list(fleet.hosts.values()), plan, sessions, unread, recorder(0))
            began = time.perf_counter()
            await run.ask(list(fleet.hosts))
            return run, run.responses, time.perf_counter() - began

    run, responses, ask_s = asyncio.run(ask())
    conclude_s, report = _timed(run, responses)
    figures = {
        "seconds": time.perf_counter() - began,
        "cpu_s": time.process_time() - busy,
        "peak_rss_mb": peak_mb(),
        "plan_s": planned_s,
        "ask_s": ask_s,
        "conclude_s": conclude_s,
        "unread": len(report.unread),
        "facts": len(report.facts),
        "qualities": Counter(str(fact.quality) for fact in report.facts),
        "failing": Counter(f"{fact.check} {fact.symptom}" for fact in report.facts if fact.quality is Quality.FAIL),
        "bytes_each": len(program(sheet_of(plan, next(iter(fleet.hosts))))),
    }
    for night in range(1, EARLIER_NIGHTS + 1):
        run.recorder.end("audit", RunState.COMPLETED, "", host_outcomes(report))
        run.recorder = recorder(night)
        if night < EARLIER_NIGHTS:
            run.conclude()
    figures["conclude_after_a_week_s"], _ = _timed(run, responses)
    figures["conclude_broken_s"], report = _timed(run, _broken(run, responses))
    return {**figures, "broken_findings": len(report.compared.changes), "peak_rss_after_a_week_mb": peak_mb()}


def _timed(run: AuditRun, responses: Mapping[str, Response]) -> tuple[float, AuditReport]:
    began = time.perf_counter()
    run.responses = dict(responses)
    report = run.conclude()
    return time.perf_counter() - began, report


def _broken(run: AuditRun, responses: Mapping[str, Response]) -> dict[str, Response]:
    """One host in fifty is down, and nobody reaches any other host in one of the sites."""

    def answer(asked: PlannedQuestion, said: Answer) -> Answer:
        target = run.hosts.get(asked.target)
        lost = target is not None and (target.name in down or target.site.name == "s1")
        return Answer(Outcome.TIMEOUT, 3000.0, reason="no answer in time") if lost else said

    down = set(list(responses)[::50])
    told = {}
    for name, one in responses.items():
        answers = tuple(answer(*pair) for pair in zip(run.plan.asked[name], one.answers, strict=True))
        told[name] = Response(error=ConnectTimeout("no connection")) if name in down else Response(answers)
    return told


def bare(folder: Path, ports: Sequence[int], dns_port: int) -> dict[str, Any]:
    """The same without us: connect, send the program, keep what comes, close."""
    fleet = the_fleet(folder, ports)
    plan = the_plan(fleet, dns_port)

    async def ask() -> int:
        hosts = Bare(folder, fleet.ssh_limits)
        said = await asyncio.gather(
            *(hosts.run(host.ssh.port, program(sheet_of(plan, name))) for name, host in fleet.hosts.items())
        )
        return sum(f"{END}\n" not in text for text in said)

    began, busy = time.perf_counter(), time.process_time()
    unread = asyncio.run(ask())
    took_s, busy_s = time.perf_counter() - began, time.process_time() - busy
    return {"seconds": took_s, "cpu_s": busy_s, "peak_rss_mb": peak_mb(), "unread": unread}


# one probe


def probe(folder: Path, ports: Sequence[int], dns_port: int) -> dict[str, Any]:
    """One host's program by itself, as a shell on that host runs it."""
    fleet = the_fleet(folder, ports)
    plan = the_plan(fleet, dns_port)
    name = next(iter(fleet.hosts))
    batch, took = sheet_of(plan, name, jitter_s=0), []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run(["/bin/sh", "-s"], input=program(batch), capture_output=True, text=True, check=True)
        took.append(time.perf_counter() - began)
    said = read_answers(done.stdout, batch)
    text, call, rest = python_program(batch).rpartition("\nmain(")
    command = ["python3", "-I", "-S", "-B", "-"]
    done = subprocess.run(
        command, input=f"{text}\n{AT_ITS_END}{call}{rest}", capture_output=True, text=True, check=True
    )
    return {
        "questions": Counter(str(question.kind) for question in batch.questions),
        "answers": Counter(str(answer.outcome) for answer in said),
        "probe_s": round(min(took), 2),
        "probe_s_wanted": 15,
        "probe_peak_rss_mb": round(int(done.stderr) / 1000, 1),
        "probe_peak_rss_mb_wanted": 30,
    }


Arm = Callable[[Path, Sequence[int], int], dict[str, Any]]


def apart(arm: Arm, folder: Path, ports: Sequence[int], dns_port: int) -> dict[str, Any]:
    """What an arm tells, run in a process of its own; every host must have answered."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        told = process.submit(arm, folder, ports, dns_port).result()
    if told.get("unread"):
        raise SystemExit(f"{told['unread']} of {len(ports)} hosts did not answer: nothing was measured")
    return told


def measured(folder: Path, ports: Sequence[int], dns_port: int) -> dict[str, Any]:
    """One number of hosts, by both arms."""
    told = {arm: apart(arm, folder, ports, dns_port) for arm in (ours, bare)}

    def rounded(arm: Arm, figure: str, digits: int = 2) -> float:
        return round(told[arm][figure], digits)

    seconds, bare_s = rounded(ours, "seconds"), rounded(bare, "seconds")
    return {
        "hosts": len(ports),
        "facts": told[ours]["facts"],
        "qualities": told[ours]["qualities"],
        "failing": told[ours]["failing"],
        "program_bytes": told[ours]["bytes_each"],
        "ours_s": seconds,
        "bare_s": bare_s,
        "ours_to_bare": round(seconds / bare_s, 3),
        "ours_s_per_host": round(seconds / len(ports), 4),
        "plan_s": rounded(ours, "plan_s"),
        "ask_s": rounded(ours, "ask_s"),
        "conclude_s": rounded(ours, "conclude_s"),
        "conclude_after_a_week_s": rounded(ours, "conclude_after_a_week_s"),
        "conclude_broken_s": rounded(ours, "conclude_broken_s"),
        "broken_findings": told[ours]["broken_findings"],
        "ours_cpu_s": rounded(ours, "cpu_s"),
        "bare_cpu_s": rounded(bare, "cpu_s"),
        "ours_peak_rss_mb": rounded(ours, "peak_rss_mb", 0),
        "ours_peak_rss_after_a_week_mb": rounded(ours, "peak_rss_after_a_week_mb", 0),
        "bare_peak_rss_mb": rounded(bare, "peak_rss_mb", 0),
    }


def main(counts: Sequence[int]) -> None:
    """Measure and print."""
    hosts = max(counts)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_key(folder)
        names = [EXTERNAL, *(name.name for name in NAMES)]
        command = [sys.executable, "-m", "tests.bench.probed_hosts", str(folder), str(hosts), *names]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as servers:
            assert servers.stdin is not None
            assert servers.stdout is not None
            told = json.loads(servers.stdout.readline())
            ports, dns_port = told["live"], told["dns"]
            one = apart(probe, folder, ports[:100], dns_port)
            apart(bare, folder, ports[: math.ceil(hosts / 20)], dns_port)  # warms both sides up
            runs = []
            for count in counts:
                runs.append(measured(folder, ports[:count], dns_port))
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)  # minutes lie between them
            servers.stdin.close()
    figures = {
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
        **one,
        "runs": runs,
        "ours_s_wanted": 180,
        "ours_to_bare_wanted": 1.3,
        "ours_peak_rss_mb_wanted": 1500,
        "s_per_host_last_to_first": round(runs[-1]["ours_s_per_host"] / runs[0]["ours_s_per_host"], 2),
        "s_per_host_last_to_first_wanted": 1,
    }
    print(json.dumps({"bench": "audit", **figures}))


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [100, 300, 1000])
