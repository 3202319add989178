"""What a kubeadm cluster tells joining machines, where it is not as it should be: on the embedded server."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest

from poolkeeper.deployments.lab.kubernetes import LabCA
from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.bootstrap import SECRETS, SIGNATURE
from poolkeeper.tasks.fleet.model import KubeadmProvider
from poolkeeper.tasks.outcomes import Finding, redact
from poolkeeper.tasks.provider import ProviderError
from poolkeeper.tasks.provider.kubeadm import Kubeadm
from tests.contract.cluster.conftest import DEADLINE_S, SomeoneIsQuicker
from tests.contract.kubernetes.conftest import Api, Client, cluster_info
from tests.unit.onboard.builders import CLUSTER, a_host

SETTINGS = KubeadmProvider()
HOST = a_host(cluster={"provider": SETTINGS})


@pytest.fixture
async def provider(cluster: ClusterApi, admin: Client) -> Kubeadm:
    """Ours, for a cluster that has everything but cluster-info, and whose control plane signs nothing."""
    for name in ("kubeadm-config", "kubelet-config"):
        await write(admin, "kube-system", name, {})
    return Kubeadm(replace(CLUSTER, provider=SETTINGS), SETTINGS, cluster, signed_within_s=0.3)


async def write(admin: Client, namespace: str, name: str, data: dict[str, str]) -> None:
    body = {"metadata": {"name": name}, "data": data}
    assert (await admin("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)).code == 201


async def findings(provider: Kubeadm, **pool: Any) -> list[Finding]:
    checked = await provider.check_pool(replace(HOST.pool, **pool))
    return [c.finding for c in checked if c.finding is not None]


async def tokens(admin: Client) -> list[Any]:
    found: list[Any] = (await admin("GET", SECRETS)).body["items"]
    return found


async def test_none(provider: Kubeadm, admin: Client) -> None:
    (finding,) = await findings(provider)
    assert (finding.id, str(finding.subject)) == ("provider.cluster-info", "cluster main")
    assert (
        finding.evidence.observed
        == "the cluster has no ConfigMap kube-public/cluster-info, which joining machines read"
    )
    assert finding.next_step.startswith("Run `kubeadm init phase bootstrap-token` on a control-plane host")
    with pytest.raises(ProviderError, match="has no ConfigMap kube-public/cluster-info"):
        await provider.join_script(HOST, "amd64")
    assert await tokens(admin) == []


async def test_of_another_authority(provider: Kubeadm, admin: Client, api: Api) -> None:
    other = LabCA().certificate_pem.decode()
    await write(admin, "kube-public", "cluster-info", cluster_info(api.url, other))
    (finding,) = await findings(provider)
    assert finding.evidence.observed == (
        "the certificate authority in kube-public/cluster-info is not the one in the kubeconfig of cluster main, so hosts"
        " would trust another cluster than we do"
    )
    with pytest.raises(ProviderError, match="is not the one in the kubeconfig"):
        await provider.join_script(HOST, "amd64")
    assert await tokens(admin) == []


async def test_that_tells_nothing(provider: Kubeadm, admin: Client) -> None:
    await write(admin, "kube-public", "cluster-info", {"kubeconfig": "words"})
    (finding,) = await findings(provider)
    assert finding.evidence.observed.startswith("the ConfigMap kube-public/cluster-info holds no kubeconfig")


async def test_that_nobody_signs(provider: Kubeadm, admin: Client, api: Api) -> None:
    """The token is of no use then, and does not stay."""
    await write(admin, "kube-public", "cluster-info", cluster_info(api.url, api.ca_file.read_text()))
    with pytest.raises(ProviderError, match=r"has not signed kube-public/cluster-info for a new token within 0\.3 s"):
        await provider.join_script(HOST, "amd64")
    assert await tokens(admin) == []


async def test_a_cluster_that_kubeadm_did_not_make(provider: Kubeadm, admin: Client, api: Api) -> None:
    await write(admin, "kube-public", "cluster-info", cluster_info(api.url, api.ca_file.read_text()))
    for name in ("kubeadm-config", "kubelet-config"):
        await admin("DELETE", f"/api/v1/namespaces/kube-system/configmaps/{name}")
    assert [(f.id, f.evidence.observed, f.next_step) for f in await findings(provider)] == [
        (
            f"provider.{name}",
            "there is none",
            "Run `kubeadm init phase upload-config all` on a control-plane host.",
        )
        for name in ("kubeadm-config", "kubelet-config")
    ]


async def test_a_version_that_does_not_fit(provider: Kubeadm, admin: Client, api: Api) -> None:
    await write(admin, "kube-public", "cluster-info", cluster_info(api.url, api.ca_file.read_text()))
    (finding,) = await findings(provider, kubernetes_version="1.99.0")
    assert (finding.id, str(finding.subject)) == ("provider.version.skew", "pool general")
    assert finding.evidence.observed.startswith("kubernetes_version 1.99.0 is newer than the API server's v1.")


async def test_a_joins_token_is_redacted_whole_and_by_its_secret_half(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, admin: Client, api: Api
) -> None:
    """What a joiner prints of it need not have the shape of a token."""
    await write(admin, "kube-public", "cluster-info", cluster_info(api.url, api.ca_file.read_text()))

    def sign(name: str) -> None:
        """What the control plane does for a new token."""
        signed = {f"{SIGNATURE}{name.removeprefix('bootstrap-token-')}": "x..y"}
        embedded.store.modify(
            "configmaps", "cluster-info", "kube-public", lambda info: {**info, "data": {**info["data"], **signed}}
        )

    def look(resource: Any, event: Any) -> None:
        if event.after and not event.before and event.after["kind"] == "Secret":
            asyncio.get_running_loop().call_soon(sign, event.after["metadata"]["name"])

    embedded.store.journal.listeners.append(look)
    provider = Kubeadm(replace(CLUSTER, provider=SETTINGS), SETTINGS, cluster, signed_within_s=DEADLINE_S)
    script = await provider.join_script(HOST, "amd64")
    await provider.join_ended(HOST)
    found = re.search(r"[a-z0-9]{6}\.([a-z0-9]{16})", script.reveal())
    assert found is not None
    assert set(script.words()) == {found[0], found[1]}
    said = redact(f"token id {found[0][:6]}, secret {found[1]}\nboth {found[0]}\nstate: joining", script)
    assert found[1] not in said
    assert said.endswith("\nstate: joining")
