"""`provider/kubeadm` against the real control plane, as poolkeeper's ServiceAccount, and with the real kubeadm."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from poolkeeper.deployments.lab.real.control_plane import RealControlPlane
from poolkeeper.tasks.cluster import ApiError, ClusterApi
from poolkeeper.tasks.cluster.bootstrap import JOINERS, SECRETS, create_token, revoke_token
from poolkeeper.tasks.fleet.model import Join, KubeadmProvider
from poolkeeper.tasks.outcomes import Secret, Verdict
from poolkeeper.tasks.provider import ProviderError
from poolkeeper.tasks.provider.kubeadm import Kubeadm
from tests.contract.kubernetes.conftest import DEADLINE_S, Api, Client, admin, real_api, tls
from tests.contract.kubernetes.test_rights import OBJECTS, Cluster, cluster, rights_of
from tests.unit.onboard.builders import CLUSTER, a_host

__all__ = ["admin", "cluster"]

pytestmark = pytest.mark.tier("real")

SETTINGS = KubeadmProvider()
KUBEADM = replace(CLUSTER, provider=SETTINGS)


@pytest.fixture
def api(joinable_control_plane: RealControlPlane, tmp_path: Path) -> Api:
    """The real one, ready for machines to join."""
    return real_api(joinable_control_plane, tmp_path)


@pytest.fixture
async def ours(cluster: Cluster) -> ClusterApi:
    """Our client with the manifests' rights and no others."""
    return await cluster.connect("poolkeeper", rights_of(OBJECTS))


@pytest.fixture
def provider(ours: ClusterApi) -> Kubeadm:
    return Kubeadm(KUBEADM, SETTINGS, ours)


def host(name: str = "fra1-n01", **pool: Any) -> Any:
    return a_host(name, cluster={"provider": SETTINGS}, pool=pool)


def configuration_in(script: Secret) -> Mapping[str, Any]:
    """The JoinConfiguration that a script would write."""
    line = next(line for line in script.reveal().splitlines() if line.startswith("configuration="))
    (word,) = shlex.split(line.removeprefix("configuration="))
    found: Mapping[str, Any] = json.loads(word)
    return found


def token_in(script: Secret) -> str:
    return str(configuration_in(script)["discovery"]["bootstrapToken"]["token"])


async def who_is(api: Api, token: str) -> tuple[int, str, list[str]]:
    """HTTP status, user and groups that the API server gives for a bearer token."""
    connector = aiohttp.TCPConnector(ssl=tls(api))
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(api.url, headers=headers, connector=connector) as session:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await Client(session)("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    user = answer.body["status"].get("userInfo", {}) if answer.code == 201 else {}
    return answer.code, user.get("username", ""), user.get("groups", [])


async def until_refused(api: Api, token: str) -> None:
    """A moment after its Secret has gone. For 10 s more it lets those in that it has let in before: an API server
    remembers. So it is asked of tokens that nobody has shown yet.
    """
    async with asyncio.timeout(DEADLINE_S):
        while (await who_is(api, token))[0] != 401:
            pass


async def test_a_cluster_that_takes_hosts(provider: Kubeadm) -> None:
    checked = await provider.check_pool(host().pool)
    assert {c.check: c.verdict for c in checked} == {
        "provider.version.skew": Verdict.OK,
        "provider.cluster-info": Verdict.OK,
        "provider.kubeadm-config": Verdict.OK,
        "provider.kubelet-config": Verdict.OK,
    }


async def test_a_token_lets_in(api: Api, provider: Kubeadm, admin: Client) -> None:
    token = token_in(await provider.join_script(host(), "amd64"))
    code, user, groups = await who_is(api, token)
    assert (code, user) == (201, f"system:bootstrap:{token.split('.')[0]}")
    assert JOINERS in groups
    made = (await admin("GET", f"{SECRETS}/bootstrap-token-{token.split('.')[0]}")).body
    assert made["type"] == "bootstrap.kubernetes.io/token"
    await provider.join_ended(host())
    assert (await admin("GET", f"{SECRETS}/bootstrap-token-{token.split('.')[0]}")).code == 404


async def test_one_that_is_revoked_does_not(api: Api, provider: Kubeadm) -> None:
    token = token_in(await provider.join_script(host(), "amd64"))
    await provider.join_ended(host())
    await until_refused(api, token)


async def test_it_lives_a_little_longer_than_the_join(provider: Kubeadm, ours: ClusterApi, admin: Client) -> None:
    name = token_in(await provider.join_script(host(join=Join(timeout_s=60.0)), "amd64")).split(".")[0]
    found = (await admin("GET", f"{SECRETS}/bootstrap-token-{name}")).body["data"]["expiration"]
    expires_at = datetime.fromisoformat(b64decode(found).decode())
    assert timedelta(minutes=5.5) < expires_at - datetime.now(UTC) < timedelta(minutes=6.1)
    await provider.join_ended(host())


async def test_the_token_of_a_running_join_outlives_everyone_else(
    api: Api, provider: Kubeadm, ours: ClusterApi
) -> None:
    """Another host's join ends; a resumed run ends with the same host: neither knows this token."""
    token = token_in(await provider.join_script(host("n1"), "amd64"))
    other = token_in(await provider.join_script(host("n2"), "amd64"))
    await provider.join_ended(host("n2"))
    await until_refused(api, other)
    resumed = Kubeadm(KUBEADM, SETTINGS, ours)
    await resumed.join_ended(host("n1"))
    assert (await who_is(api, token))[0] == 201
    await provider.join_ended(host("n1"))


async def test_a_script_that_was_never_started_takes_its_token_along(api: Api, provider: Kubeadm) -> None:
    unused = token_in(await provider.join_script(host(), "amd64"))
    used = token_in(await provider.join_script(host(), "amd64"))
    await until_refused(api, unused)
    assert (await who_is(api, used))[0] == 201
    await provider.join_ended(host())


async def test_an_expired_token_is_cleaned_up(api: Api, ours: ClusterApi, admin: Client) -> None:
    token = await create_token(ours, "n1", lives=timedelta(seconds=2))
    of_it = {"fieldSelector": f"metadata.name=bootstrap-token-{token.id}"}
    await admin.until(SECRETS, lambda found: not found, **of_it)
    assert (await who_is(api, token.text.reveal()))[0] == 401
    await revoke_token(ours, token)  # and is no concern any more


async def test_one_that_has_taken_its_name_stays(ours: ClusterApi, admin: Client) -> None:
    token = await create_token(ours, "n1", lives=timedelta(minutes=1))
    await revoke_token(ours, replace(token, uid="00000000-0000-0000-0000-000000000000"))
    assert (await admin("GET", f"{SECRETS}/bootstrap-token-{token.id}")).code == 200
    await revoke_token(ours, token)
    assert (await admin("GET", f"{SECRETS}/bootstrap-token-{token.id}")).code == 404


async def test_a_script_is_never_shown(provider: Kubeadm, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    script = await provider.join_script(host(), "amd64")
    assert token_in(script).split(".")[1] not in f"{script} {script!r} {vars(provider)!r} {caplog.text}"
    await provider.join_ended(host())


async def test_a_version_that_does_not_fit_makes_no_token(provider: Kubeadm, admin: Client) -> None:
    before = (await admin("GET", SECRETS)).body["items"]
    with pytest.raises(ProviderError, match=r"kubernetes_version 1\.37\.0 is newer than the API server's"):
        await provider.join_script(host(kubernetes_version="1.37.0"), "amd64")
    after = (await admin("GET", SECRETS)).body["items"]
    assert {item["metadata"]["name"] for item in after} <= {item["metadata"]["name"] for item in before}


# without rights


@pytest.fixture
async def nobody(cluster: Cluster, admin: Client) -> Kubeadm:
    """As a ServiceAccount that has the rights of an ACK cluster's poolkeeper only."""
    account = {"metadata": {"name": "nobody", "namespace": "poolkeeper"}}
    await admin("POST", "/api/v1/namespaces/poolkeeper/serviceaccounts", account)
    return Kubeadm(KUBEADM, SETTINGS, await cluster.connect("nobody", []))


async def test_missing_rights_are_told_with_their_manifest(nobody: Kubeadm) -> None:
    found = [c.finding for c in await nobody.check_pool(host().pool) if c.finding]
    assert [f.id for f in found] == ["provider.cluster-info", "provider.kubeadm-config", "provider.kubelet-config"]
    apply = "Give poolkeeper's user its rights: `kubectl apply -f deployments/kubernetes/kubeadm.yaml`."
    assert {f.next_step for f in found} == {apply}
    with pytest.raises(ProviderError, match=r"HTTP 403 ") as caught:
        await nobody.join_script(host(), "amd64")
    assert caught.value.next_step == apply


async def test_a_token_that_cannot_be_revoked_is_named_with_its_expiry(
    cluster: Cluster, provider: Kubeadm, api: Api, admin: Client
) -> None:
    (delete,) = [right for right in rights_of(OBJECTS) if str(right) == "delete secrets in kube-system"]
    weak = Kubeadm(KUBEADM, SETTINGS, await cluster.without(delete))
    token = token_in(await weak.join_script(host(), "amd64"))
    with pytest.raises(ProviderError, match=rf"bootstrap token {token.split('.')[0]} is not revoked and expires at 20"):
        await weak.join_ended(host())
    await admin("DELETE", f"{SECRETS}/bootstrap-token-{token.split('.')[0]}")


async def test_the_rights_read_no_secret(ours: ClusterApi) -> None:
    token = await create_token(ours, "n1", lives=timedelta(minutes=1))
    for path in (SECRETS, f"{SECRETS}/bootstrap-token-{token.id}"):
        with pytest.raises(ApiError) as caught:
            await ours.request("GET", path)
        assert caught.value.status == 403
    await revoke_token(ours, token)


# kubeadm itself


@pytest.fixture
def dry_join(
    joinable_control_plane: RealControlPlane, programs: Callable[..., Mapping[str, Path]], tmp_path: Path
) -> Callable[[Mapping[str, Any]], subprocess.CompletedProcess[str]]:
    """`kubeadm join` as far as it goes without changing anything: it finds, checks and asks the cluster for real."""
    kubeadm = str(programs("kubeadm")["kubeadm"])

    def join(configuration: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "join.yaml"
        path.write_text(json.dumps(configuration))
        command = [kubeadm, "join", "--config", str(path), "--dry-run", "--ignore-preflight-errors=all"]
        environment = {**joinable_control_plane.environment, "KUBEADM_JOIN_DRYRUN_DIR": str(tmp_path)}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL
        )

    return join


async def test_kubeadm_joins_with_it(
    provider: Kubeadm, dry_join: Callable[[Mapping[str, Any]], subprocess.CompletedProcess[str]]
) -> None:
    script = await provider.join_script(host(), "amd64")
    told = await asyncio.to_thread(dry_join, configuration_in(script))
    assert told.returncode == 0, told.stderr
    assert "This node has joined the cluster" in told.stdout
    flags = re.search(r'KUBELET_KUBEADM_ARGS="(.*)"', told.stdout)
    assert flags is not None
    assert "--hostname-override=fra1-n01" in flags[1]
    assert "--node-labels=alibabacloud.com/nodepool-id=np-1,alibabacloud.com/nodepool-type=hybridcloud" in flags[1]
    assert token_in(script) not in told.stdout + told.stderr
    await provider.join_ended(host())


async def test_kubeadm_trusts_the_hash_and_nothing_else(
    provider: Kubeadm, dry_join: Callable[[Mapping[str, Any]], subprocess.CompletedProcess[str]]
) -> None:
    configuration: Any = configuration_in(await provider.join_script(host(), "amd64"))
    (true,) = configuration["discovery"]["bootstrapToken"]["caCertHashes"]
    configuration["discovery"]["bootstrapToken"]["caCertHashes"] = [f"sha256:{'0' * 64}"]
    told = await asyncio.to_thread(dry_join, configuration)
    assert told.returncode == 1
    assert f'none of the public keys "{true}" are pinned' in told.stderr
    await provider.join_ended(host())
