"""ACK through the vendor's SDK: scripts, pools, and every way in which a call can go wrong, told in a sentence."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.deployments.lab.ack import AckOpenApi
from poolkeeper.deployments.lab.layout import CLUSTER_ID
from poolkeeper.deployments.lab.tokens import JoinTokens
from poolkeeper.tasks.fleet.model import Cluster, Fleet
from poolkeeper.tasks.ledger import LIFECYCLE, Spool
from poolkeeper.tasks.outcomes import Secret, Severity, Verdict
from poolkeeper.tasks.provider import OutcomeUnknown, ProviderError, ProviderThrottled
from poolkeeper.tasks.provider.ack import JOIN_TOKEN_S, Ack
from poolkeeper.tasks.provider.lifetimes import record_clusters
from poolkeeper.tasks.provider.resources import billed_of
from poolkeeper.tasks.runs.recording import Recorder
from tests.contract.cluster.faulty import CutsInMidAnswer, LoginPage, Says, Silent
from tests.contract.provider import faulty as endpoints
from tests.contract.provider.conftest import (
    HOST,
    HYBRID,
    KEY_ID,
    KEY_SECRET,
    ack_at,
    cluster_at,
    pool,
    read_secret,
    refused,
)

Start = Callable[..., Awaitable[Ack]]
RUNNING = {"state": "running"}
ACTIVE = {"status": {"state": "active"}, "nodepool_info": {"type": "hybrid"}}


# scripts


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
async def test_a_script_for_the_pool_and_the_architecture(ack: Ack, tokens: JoinTokens, arch: str) -> None:
    script = (await ack.join_script(HOST, arch)).reveal()
    assert script.startswith("edgeadm join --openapi-token=")
    assert f"--arch={arch}" in script
    token = script.split("--openapi-token=")[1].split()[0]
    assert tokens.redeem(token, time.time()) == "np-general"


async def test_what_is_asked_for(faulty: Start) -> None:
    """The pool always: without it a host lands in the default pool. The token lives an hour."""
    server = endpoints.Scripts("edgeadm join")
    await (await faulty(server)).join_script(HOST, "arm64")
    (body,) = server.bodies
    assert body["nodepool_id"] == "np-general"
    assert body["arch"] == "arm64"
    assert 0 <= time.time() + JOIN_TOKEN_S - body["expired"] < 5
    assert server.asked == [("POST", "/clusters/c-poolkeeper-lab/attachscript")]


async def test_a_script_is_never_shown(ack: Ack, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script = await ack.join_script(HOST, "amd64")
    token = script.reveal().split("--openapi-token=")[1].split()[0]
    assert isinstance(script, Secret)
    shown = f"{script} {script!r} {[script]} {ack!r} {vars(ack)!r} {caplog.text}"
    assert token not in shown
    assert KEY_SECRET not in shown
    with pytest.raises(TypeError):
        json.dumps(script)


@pytest.mark.parametrize("text", ["", "  \n", "\ufeff"], ids=["nothing", "blanks", "a byte order mark"])
async def test_an_answer_without_a_script(faulty: Start, text: str) -> None:
    with pytest.raises(ProviderError, match=r"attach script"):
        await (await faulty(endpoints.Scripts(text))).join_script(HOST, "amd64")


@pytest.mark.parametrize("text", ["<html>Please log in</html>", ' {"code": "Busy"}', "[]"])
async def test_what_is_no_shell_command_never_reaches_a_host(faulty: Start, text: str) -> None:
    with pytest.raises(ProviderError, match=r"the answer in place of the attach script is not a shell command"):
        await (await faulty(endpoints.Scripts(text))).join_script(HOST, "amd64")


def test_the_way_out_is_the_fleet_files(openapi: AckOpenApi) -> None:
    script = ack_at(openapi.endpoint, reset_command="edgeadm reset -f").leave_script(HOST).reveal()
    assert script.splitlines()[-1] == "edgeadm reset -f"


# pools


async def test_a_pool_that_takes_hosts(ack: Ack) -> None:
    checked = await ack.check_pool(HYBRID)
    assert {c.check: c.verdict for c in checked} == {
        "provider.cluster.state": Verdict.OK,
        "provider.pool.state": Verdict.OK,
        "provider.pool.type": Verdict.OK,
    }


@pytest.mark.parametrize(
    ("cluster", "found", "check", "observed", "subject"),
    [
        pytest.param(
            {"state": "updating"}, ACTIVE, "provider.cluster.state", "it is updating", "cluster main", id="cluster busy"
        ),
        pytest.param(
            {}, ACTIVE, "provider.cluster.state", "it is not reported", "cluster main", id="cluster tells nothing"
        ),
        pytest.param(
            RUNNING,
            {**ACTIVE, "status": {"state": "scaling"}},
            "provider.pool.state",
            "it is scaling",
            "pool general",
            id="pool busy",
        ),
        pytest.param(
            RUNNING,
            {**ACTIVE, "status": None},
            "provider.pool.state",
            "it is not reported",
            "pool general",
            id="pool without status",
        ),
        pytest.param(
            RUNNING,
            {**ACTIVE, "nodepool_info": {"type": "ess"}},
            "provider.pool.type",
            "it is ess",
            "pool general",
            id="a pool of ECS",
        ),
    ],
)
async def test_a_pool_that_takes_none(
    faulty: Start, cluster: Any, found: Any, check: str, observed: str, subject: str
) -> None:
    checked = await (await faulty(endpoints.Pools(cluster, found))).check_pool(HYBRID)
    (bad,) = (c for c in checked if c.verdict is not Verdict.OK)
    assert bad.finding is not None
    assert (bad.check, bad.verdict, bad.finding.severity) == (check, Verdict.FAIL, Severity.BLOCKER)
    assert (bad.finding.evidence.observed, str(bad.subject)) == (observed, subject)
    assert bad.finding.next_step.endswith(".")


# resources


async def test_resources_as_they_are_answered(ack: Ack) -> None:
    """With those of add-ons, and every field: what the SDK's models do not know is there too."""
    rows = {row["instance_id"]: row for row in await ack.cluster_resources()}
    assert rows["lb-lab-ingress"]["creator_type"] == "addon"
    assert rows["lb-lab-ingress"]["associated_object"]["name"] == "ingress"
    assert rows["i-lab-cloud-1"]["resource_type"] == "ALIYUN::ECS::Instance"


async def test_what_resources_are_asked_for_with(faulty: Start) -> None:
    server = Says("[]")
    assert await (await faulty(server)).cluster_resources() == ()
    assert server.asked == [("GET", "/clusters/c-poolkeeper-lab/resources")]


@pytest.mark.parametrize("text", ["{}", "null", '["lb-1"]'])
async def test_resources_of_another_shape(faulty: Start, text: str) -> None:
    error = await refused((await faulty(Says(text))).cluster_resources())
    assert isinstance(error, OutcomeUnknown)
    assert "is not from ACK: it has no JSON list of objects" in error.summary


async def test_a_provider_that_does_not_tell_is_a_note(openapi: AckOpenApi) -> None:
    """What is declared stands; nothing is taken for a list that is empty."""
    own = replace(cluster_at(openapi.endpoint, cluster_id="c-gone"), billed_resources={"vbr-1": "line"})
    told = cluster_at(openapi.endpoint)
    gone = replace(own, name="gone")
    billed = await billed_of(fleet_of(gone, told), read_secret)
    assert billed.clusters == {"c-gone", CLUSTER_ID}
    assert billed.resources["vbr-1"] == "line (gone)"
    assert billed.resources["lb-lab-api"] == "SLB LoadBalancer, made by system (main)"
    (note,) = billed.notes
    assert note.startswith("Only the declared resources of cluster gone are known: ACK refused")


# lifetimes


def fleet_of(*clusters: Cluster) -> Fleet:
    by_name = {cluster.name: cluster for cluster in clusters}
    return Fleet(Path("fleet.yaml"), name="test", clusters=by_name, sites={}, pools={}, hosts={})


async def test_a_cluster_that_is_gone_is_written_down_once(openapi: AckOpenApi, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    gone = fleet_of(cluster_at(openapi.endpoint, cluster_id="c-gone"))
    with pytest.raises(ProviderError, match="ErrorClusterNotFound"):
        await record_clusters(gone, read_secret, Recorder(spool, "run-1"))  # a wrong id, perhaps
    assert list(spool.rows(LIFECYCLE)) == []
    seen_at = datetime(2026, 10, 5, tzinfo=UTC)
    spool.append(
        LIFECYCLE, "run-0", "c", [{"resource_id": "c-gone", "kind": "cluster", "event": "created", "at": seen_at}]
    )
    (told,) = await record_clusters(gone, read_secret, Recorder(spool, "run-2"))
    (released,) = [row for row in spool.rows(LIFECYCLE) if row["event"] == "released"]
    assert (released["not_before"], released["at"] > seen_at) == (seen_at, True)
    assert "its provider no longer lists it; it existed at 2026-10-05" in told
    (again,) = await record_clusters(gone, read_secret, Recorder(spool, "run-3"))
    assert again.endswith("an earlier run has recorded that")
    assert len(list(spool.rows(LIFECYCLE))) == 2


async def test_a_cluster_that_left_the_fleet_file_is_told(openapi: AckOpenApi, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    at = datetime(2026, 10, 5, tzinfo=UTC)
    spool.append(LIFECYCLE, "run-0", "c", [{"resource_id": "c-old", "kind": "cluster", "event": "created", "at": at}])
    told = await record_clusters(fleet_of(cluster_at(openapi.endpoint)), read_secret, Recorder(spool, "run-1"))
    assert told[0].startswith("cluster main: Running, created at ")
    assert told[1].startswith("cluster c-old is no longer in the fleet file")


async def test_a_provider_that_cannot_be_asked_releases_nothing(faulty: Start, tmp_path: Path) -> None:
    """Not to see is not to know that it is gone."""
    server = endpoints.Error(403, "StatusForbidden")
    await faulty(server)
    spool = Spool(tmp_path)
    here = cluster_at(server.url.removeprefix("http://"), cluster_id="c-1")
    spool.append(
        LIFECYCLE, "run-0", "c",
        [{"resource_id": "c-1", "kind": "cluster", "event": "created", "at": datetime(2026, 10, 5, tzinfo=UTC)}],
    )  # fmt: skip
    with pytest.raises(ProviderError, match="StatusForbidden"):
        await record_clusters(fleet_of(here), read_secret, Recorder(spool, "run-1"))
    assert len(list(spool.rows(LIFECYCLE))) == 1


# refusals


async def test_a_pool_that_is_not_there(ack: Ack) -> None:
    error = await refused(ack.check_pool(pool(nodepool_id="np-gone")))
    assert (error.status, error.code) == (404, "ErrorNodePoolNotFound")
    assert "Node pool np-gone not found" in error.summary
    assert error.summary.endswith("Compare cluster_id and nodepool_id in the fleet file with the console.")
    assert (
        await refused(ack.join_script(replace(HOST, pool=pool(nodepool_id="np-gone")), "amd64"))
    ).code == "ErrorNodePoolNotFound"


async def test_a_cluster_that_is_not_there(openapi: AckOpenApi) -> None:
    error = await refused(ack_at(openapi.endpoint, cluster_id="c-gone").check_pool(HYBRID))
    assert (error.status, error.code) == (404, "ErrorClusterNotFound")


async def test_ids_never_break_out_of_the_path(faulty: Start) -> None:
    server = endpoints.Pools(RUNNING, ACTIVE)
    await (await faulty(server, cluster_id="c/../d?x")).check_pool(pool(nodepool_id="../np"))
    assert [path for _, path in server.asked] == ["/clusters/c/../d?x", "/clusters/c/../d?x/nodepools/../np"]


async def test_a_wrong_secret(openapi: AckOpenApi) -> None:
    error = await refused(ack_at(openapi.endpoint, secret="not-the-secret-of-that-key").check_pool(HYBRID))
    assert (error.status, error.code) == (403, "SignatureDoesNotMatch")
    assert error.summary.endswith("Correct access_key_id and access_key_secret of the cluster in the fleet file.")
    assert "not-the-secret-of-that-key" not in error.summary


async def test_an_unknown_key(faulty: Start) -> None:
    error = await refused((await faulty(endpoints.Error(404, "InvalidAccessKeyId.NotFound"))).check_pool(HYBRID))
    assert "Correct access_key_id" in error.summary


async def test_a_user_without_the_right(faulty: Start) -> None:
    error = await refused((await faulty(endpoints.Error(403, "StatusForbidden"))).join_script(HOST, "amd64"))
    assert not isinstance(error, OutcomeUnknown)
    assert error.summary == (
        "ACK refused DescribeClusterAttachScripts: StatusForbidden code: 403, It is so. request id: R-1."
        " Give the RAM user this action, or ask the account manager whether hybrid pools are allow-listed."
    )


async def test_an_architecture_that_ack_does_not_have(ack: Ack) -> None:
    error = await refused(ack.join_script(HOST, "riscv64"))
    assert (error.status, error.code) == (400, "InvalidParam.Arch")


PROGRAM = """\
import asyncio, sys
from tests.contract.provider.conftest import HYBRID, ack_at
from poolkeeper.tasks.provider import ProviderError
try:
    checked = asyncio.run(ack_at(sys.argv[1], access_key_id=None, access_key_secret=None).check_pool(HYBRID))
    print(*(c.verdict for c in checked))
except ProviderError as error:
    print(error.summary)
"""


async def by_the_sdks_own_chain(openapi: AckOpenApi, home: Path, **keys: str) -> str:
    """What a provider without keys in the fleet file answers: in a process of its own, because the SDK reads its
    settings while it is imported. The metadata service is switched off: it is not on loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ALIBABA")}
    environment = {**kept, **keys, "HOME": str(home), "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, openapi.endpoint, env=environment, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    return out.decode()


async def test_no_credential_anywhere(openapi: AckOpenApi, tmp_path: Path) -> None:
    said = await by_the_sdks_own_chain(openapi, tmp_path)
    assert said.startswith("there is no credential for DescribeClusterDetail: ")
    assert said.endswith("Correct access_key_id and access_key_secret of the cluster in the fleet file.\n")


async def test_credentials_of_the_environment(openapi: AckOpenApi, tmp_path: Path) -> None:
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": KEY_ID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": KEY_SECRET}
    assert await by_the_sdks_own_chain(openapi, tmp_path, **keys) == "ok ok ok\n"


# throttling


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({}, id="with a time to wait"),
        pytest.param({"status": 503, "code": "Throttling"}, id="as unavailable"),
        pytest.param({"status": 400, "code": "Throttling.Api"}, id="as a bad request"),
    ],
)
async def test_throttling_is_waited_out(faulty: Start, how: dict[str, Any]) -> None:
    server = endpoints.Throttled(3, **how)
    assert (await (await faulty(server)).join_script(HOST, "amd64")).reveal() == "edgeadm join"
    assert len(server.asked) == 4


async def test_throttling_without_a_time_to_wait(faulty: Start) -> None:
    """The SDK gives another class of error then."""
    server = endpoints.Throttled(1, after_ms="")
    assert (await (await faulty(server)).join_script(HOST, "amd64")).reveal() == "edgeadm join"
    assert len(server.asked) == 2


async def test_throttling_that_does_not_end_is_told_apart(faulty: Start) -> None:
    server = endpoints.Throttled(100)
    error = await refused((await faulty(server)).join_script(HOST, "amd64"))
    assert isinstance(error, ProviderThrottled)
    assert not isinstance(error, OutcomeUnknown)
    assert len(server.asked) == 4
    assert error.summary.endswith("Wait a minute and start again; other automation uses up the API's quota.")


# the outcome is not known


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_server_error_is_not_repeated_blindly(faulty: Start, status: int) -> None:
    server = endpoints.Error(status, "InternalError")
    error = await refused((await faulty(server)).join_script(HOST, "amd64"))
    assert isinstance(error, OutcomeUnknown)
    assert (error.status, error.code) == (status, "InternalError")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("server", "words"),
    [
        pytest.param(Silent, "did not answer DescribeClusterDetail", id="hangs"),
        pytest.param(endpoints.Drips, "did not answer DescribeClusterDetail within 0.5 s", id="drips for ever"),
        pytest.param(CutsInMidAnswer, "did not answer DescribeClusterDetail", id="cuts its answer"),
        pytest.param(LoginPage, "the answer to DescribeClusterDetail is not from ACK", id="a login page"),
    ],
)
async def test_an_endpoint_that_does_not_answer(faulty: Start, server: Any, words: str) -> None:
    error = await refused((await faulty(server(), timeout_s=0.5)).check_pool(HYBRID))
    assert isinstance(error, OutcomeUnknown)
    assert words in error.summary
    assert error.summary.endswith("Check the way to its endpoint (route, proxy settings), then start again.")


async def test_a_gateways_error_page(faulty: Start) -> None:
    error = await refused((await faulty(endpoints.Error(502, page="<html>Bad Gateway</html>"))).check_pool(HYBRID))
    assert isinstance(error, OutcomeUnknown)


@pytest.mark.parametrize("text", ["[]", "null", '"running"'])
async def test_json_of_another_shape(faulty: Start, text: str) -> None:
    error = await refused((await faulty(Says(text))).check_pool(HYBRID))
    assert isinstance(error, OutcomeUnknown)
    assert "has no JSON object" in error.summary


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = await refused(ack_at(f"127.0.0.1:{taken.getsockname()[1]}").check_pool(HYBRID))
    assert isinstance(error, OutcomeUnknown)
    assert "did not answer DescribeClusterDetail" in error.summary
