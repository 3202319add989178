"""Getting to an API server: kubeconfigs of all kinds, and every way in which it can go wrong, each told in a sentence."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.deployments.lab.kubernetes import ApiServer, LabCA, User
from poolkeeper.tasks.cluster import ApiError, ApiThrottled, ClusterApi, ClusterUnreachable, NotFound, connect
from poolkeeper.tasks.cluster.nodes import get_node
from poolkeeper.tasks.outcomes import Secret
from tests.contract.cluster import faulty as servers
from tests.contract.cluster.conftest import DEADLINE_S, declared, kubeconfig_of, reach
from tests.contract.kubernetes.conftest import Api

Start = Callable[..., Awaitable[ClusterApi]]
NODES = "/api/v1/nodes"
SECRET = "s3cr3t-t0ken-of-the-kubeconfig"


def trusting(api: Api) -> dict[str, Any]:
    return {"server": api.url, "certificate-authority": "ca.crt"}


async def version_by(kubeconfig: Path, **more: Any) -> str:
    async with asyncio.timeout(DEADLINE_S), reach(kubeconfig, **more) as cluster:
        return str((await cluster.request("GET", "/version"))["gitVersion"])


# kubeconfigs that work


async def test_token(api: Api, tmp_path: Path) -> None:
    assert await version_by(kubeconfig_of(tmp_path / "k", trusting(api), {"token": "admin-token"})) == "v1.36.3+lab"


async def test_authority_in_the_kubeconfig_itself(api: Api, tmp_path: Path) -> None:
    pem = api.ca_file.read_text()
    inline = {"server": api.url, "certificate-authority-data": base64.b64encode(pem.encode()).decode()}
    path = kubeconfig_of(tmp_path / "k", inline, {"token": "admin-token"})
    async with reach(path) as cluster:
        assert (await cluster.request("GET", "/version"))["gitVersion"] == "v1.36.3+lab"
        assert cluster.ca_pem == pem
        assert cluster.url == api.url


async def test_client_certificate(api: Api, tmp_path: Path) -> None:
    certificate, key = api.client_certificate("ops", ("system:masters",))
    user = {"client-certificate": certificate.name, "client-key": key.name}
    async with reach(kubeconfig_of(tmp_path / "k", trusting(api), user)) as cluster:
        assert await cluster.list_all(NODES)


async def test_token_file_is_read_again_when_it_is_replaced(api: Api, embedded: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("admin-token\n")
    async with reach(kubeconfig_of(tmp_path / "k", trusting(api), {"tokenFile": "token"})) as cluster:
        assert await cluster.list_all(NODES)
        embedded.tokens["new-token"] = embedded.tokens.pop("admin-token")
        (tmp_path / "token").write_text("new-token\n")
        assert await cluster.list_all(NODES)


async def test_the_context_that_the_fleet_file_names(api: Api, tmp_path: Path) -> None:
    path = kubeconfig_of(tmp_path / "k", trusting(api), {"token": "admin-token"})
    path.write_text(path.read_text().replace("current-context: only", "current-context: other"))
    assert await version_by(path, context="only") == "v1.36.3+lab"


# kubeconfigs that do not


GOOD = """\
{apiVersion: v1, kind: Config, current-context: only, clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}],
 users: [{name: u, user: {token: %s}}], contexts: [{name: only, context: {cluster: c, user: u}}]}
""".replace("%s", SECRET)


@pytest.mark.parametrize(
    ("text", "context", "words"),
    [
        pytest.param(f"a: {SECRET}\n  b: [", None, "it is not YAML at line 2", id="not YAML"),
        pytest.param("kind: Config", None, "it has no current-context", id="nothing in it"),
        pytest.param(
            GOOD.replace("contexts: [", "contexts: [{name: b, context: {cluster: c, user: u}}, "),
            None,
            "set clusters.main.context (b, only)",
            id="which context is left to chance",
        ),
        pytest.param(GOOD, "prod", "it has no context prod (only)", id="without the context"),
        pytest.param(
            GOOD.replace("name: only", 'name: "o\\e[2J"'), None, "it has no context only (o?[2J)", id="a hostile name"
        ),
        pytest.param(GOOD.replace("server:", "serving:"), None, "names no server", id="without a server"),
        pytest.param(
            GOOD.replace("server:", "certificate-authority-data: '!', server:"),
            None,
            "certificate-authority-data is not base64",
            id="authority not base64",
        ),
        pytest.param(
            GOOD.replace("server:", "certificate-authority-data: bm90IFBFTQ==, server:"),
            None,
            "its certificate authority is no certificate in PEM",
            id="authority not a certificate",
        ),
        pytest.param(
            GOOD.replace("server:", "certificate-authority: gone.crt, server:"),
            None,
            "gone.crt",
            id="authority missing",
        ),
        pytest.param(
            GOOD.replace(f"token: {SECRET}", "tokenFile: gone.token"), None, "No such file", id="token file missing"
        ),
        pytest.param(
            GOOD.replace(f"token: {SECRET}", "client-certificate-data: YQ==, client-key-data: YQ=="),
            None,
            "its client certificate and key cannot be used",
            id="a client certificate that is none",
        ),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used(tmp_path: Path, text: str, context: str | None, words: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ClusterUnreachable) as caught:
        async with reach(path, context=context):
            pass
    said = caught.value.summary
    assert said.startswith("the kubeconfig of cluster main cannot be used: ")
    assert words in said
    assert said.endswith("Try `kubectl --kubeconfig FILE version` on this machine.")
    assert SECRET not in said + repr(caught.value)
    assert caught.value.__cause__ is None


async def test_a_kubeconfig_that_is_no_file_has_no_folder(api: Api) -> None:
    cluster = declared(Path("unused"))
    inline = {"server": api.url, "certificate-authority": str(api.ca_file)}
    text = kubeconfig_of(api.kubeconfig.with_name("inline"), inline, {"token": "admin-token"}).read_text()
    async with connect(cluster, Secret(text)) as connected:
        assert await connected.list_all(NODES)


# the way there


async def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        path = kubeconfig_of(tmp_path / "k", {"server": f"http://127.0.0.1:{taken.getsockname()[1]}"}, {})
        with pytest.raises(ClusterUnreachable, match=r"cannot be reached: .*Connect call failed"):
            await version_by(path)


async def test_another_authority_than_the_kubeconfigs(api: Api, tmp_path: Path) -> None:
    (tmp_path / "other.crt").write_bytes(LabCA("someone else").certificate_pem)
    path = kubeconfig_of(tmp_path / "k", {"server": api.url, "certificate-authority": "other.crt"}, {})
    with pytest.raises(ClusterUnreachable) as caught:
        await version_by(path)
    assert caught.value.summary.startswith(f"the certificate of the API server at {api.url} is not trusted: ")
    assert "Get a fresh kubeconfig" in caught.value.summary


async def test_a_certificate_for_another_name(api: Api, tmp_path: Path) -> None:
    cluster = {**trusting(api), "tls-server-name": "other.example"}
    with pytest.raises(ClusterUnreachable, match="is not trusted"):
        await version_by(kubeconfig_of(tmp_path / "k", cluster, {"token": "admin-token"}))


@pytest.mark.parametrize(
    ("server", "words"),
    [
        pytest.param(servers.Silent, "did not answer within 0.3 s. Check the network path", id="never answers"),
        pytest.param(
            servers.StopsInMidAnswer,
            "stopped in the middle of its answer. Check the network path",
            id="stops in mid-answer",
        ),
    ],
)
async def test_a_server_that_hangs_costs_one_deadline(
    faulty: Start, server: type[servers.FaultyServer], words: str
) -> None:
    api = await faulty(server(), timeout_s=0.3)
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(ClusterUnreachable) as caught:
            await api.list_all(NODES)
    assert words in caught.value.summary


async def test_a_server_that_cuts_its_answer(faulty: Start) -> None:
    api = await faulty(servers.CutsInMidAnswer())
    with pytest.raises(ClusterUnreachable, match="was cut off: "):
        await api.list_all(NODES)


async def test_a_proxys_login_page(faulty: Start) -> None:
    api = await faulty(servers.LoginPage())
    with pytest.raises(ClusterUnreachable, match=r"is no API server: GET /api/v1/nodes gave no JSON object$"):
        await api.list_all(NODES)


# what the server says


async def test_an_unknown_token(api: Api, tmp_path: Path) -> None:
    with pytest.raises(ApiError) as caught:
        await version_by(kubeconfig_of(tmp_path / "k", trusting(api), {"token": SECRET}))
    assert caught.value.status == 401
    assert caught.value.summary == (
        "GET /version: HTTP 401 Unauthorized Unauthorized."
        " Renew the credential in the kubeconfig: the API server does not accept it."
    )
    assert not caught.value.temporary


async def test_a_user_without_rights(joe: ClusterApi) -> None:
    with pytest.raises(ApiError) as caught:
        await joe.list_all(NODES)
    said = caught.value.summary
    assert caught.value.status == 403
    assert 'User "joe" cannot list resource "nodes"' in said
    assert said.endswith("`kubectl auth can-i --list` shows the rights that it has.")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_server_that_is_unwell(faulty: Start, status: int) -> None:
    api = await faulty(servers.Refuses(status, reason="ServiceUnavailable"))
    with pytest.raises(ApiError) as caught:
        await api.list_all(NODES)
    assert caught.value.temporary
    assert caught.value.summary.startswith(f"GET /api/v1/nodes: HTTP {status} ServiceUnavailable no. Start again")


async def test_an_error_page_in_front_of_the_server(faulty: Start) -> None:
    api = await faulty(servers.Refuses(502, raw="<html>Bad Gateway</html>"))
    with pytest.raises(ApiError) as caught:
        await api.list_all(NODES)
    assert caught.value.summary.startswith("GET /api/v1/nodes: HTTP 502. Start again")


async def test_a_404_that_is_not_the_servers_own_is_not_absence(faulty: Start) -> None:
    """A proxy or a wrong path must not make a Node, or a freeze, look as if it were not there."""
    api = await faulty(servers.Refuses(404, raw="404 page not found"))
    with pytest.raises(ApiError) as caught:
        await get_node(api, "n1")
    assert not isinstance(caught.value, NotFound)
    assert "Compare the server in the kubeconfig" in caught.value.summary


async def test_absence(cluster: ClusterApi) -> None:
    with pytest.raises(NotFound, match='HTTP 404 NotFound nodes "n1" not found'):
        await cluster.request("GET", f"{NODES}/n1")


async def test_throttling_is_waited_out(embedded: ApiServer, cluster: ClusterApi) -> None:
    embedded.faults.throttled = 1
    async with asyncio.timeout(DEADLINE_S):
        await cluster.list_all(NODES)
    assert embedded.faults.throttled == 0


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_whatever_was_throttled_was_not_carried_out_and_is_sent_again(faulty: Start, method: str) -> None:
    server = servers.Throttles(4)
    api = await faulty(server)
    await api.request(method, NODES, body={} if method != "GET" else None)
    assert [asked for asked, _ in server.asked] == [method] * 5


async def test_of_an_error_without_end_little_is_read(faulty: Start) -> None:
    server = servers.FailsWithoutEnd()
    api = await faulty(server)
    async with asyncio.timeout(5):
        with pytest.raises(ApiError, match=r"HTTP 503$"):
            await api.request("GET", NODES)
    assert server.sent < 2**24, "and the connection is closed"


async def test_throttling_that_does_not_end_is_told_apart(faulty: Start) -> None:
    server = servers.Throttles(100)
    api = await faulty(server)
    with pytest.raises(ApiThrottled) as caught:
        await api.list_all(NODES)
    assert len(server.asked) == 5
    assert "the API server has too many requests" in caught.value.summary


async def test_a_disruption_budgets_429_is_not_throttling(faulty: Start) -> None:
    server = servers.Throttles(100, causes=[{"reason": "DisruptionBudget", "message": "no"}])
    api = await faulty(server)
    with pytest.raises(ApiError) as caught:
        await api.request("POST", "/api/v1/namespaces/default/pods/p/eviction", body={})
    assert not isinstance(caught.value, ApiThrottled)
    assert caught.value.causes == ("DisruptionBudget",)
    assert len(server.asked) == 1


# the server's clock


async def test_the_servers_clock(cluster: ClusterApi) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    told = await cluster.server_time()
    assert told.tzinfo is UTC
    assert before <= told <= datetime.now(UTC)


async def test_a_server_that_tells_no_time(faulty: Start) -> None:
    api = await faulty(servers.TellsNoTime())
    with pytest.raises(ClusterUnreachable, match="sends no Date header"):
        await api.server_time()


async def test_two_users_two_connections(api: Api, embedded: ApiServer, tmp_path: Path) -> None:
    """Nothing of one connection's credentials is shared with another's."""
    embedded.tokens["viewer"] = User("viewer", ("system:masters",))
    mine = kubeconfig_of(tmp_path / "k", trusting(api), {"token": "viewer"})
    async with reach(mine) as first, reach(api.kubeconfig) as second:
        del embedded.tokens["viewer"]
        assert await second.list_all(NODES)
        with pytest.raises(ApiError, match="401"):
            await first.list_all(NODES)
