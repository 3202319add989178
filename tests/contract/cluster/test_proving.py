"""Test pods at API servers that misbehave: none is left, and what is told is what was seen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from poolkeeper.tasks.acceptance.pod_probe import Probed, probe_node
from poolkeeper.tasks.acceptance.testpod import pod_name, way_back_pod
from poolkeeper.tasks.cluster import AdmissionDenied, ApiError, ClusterApi, ClusterUnreachable, pods
from poolkeeper.tasks.cluster.pods import create_pod
from poolkeeper.tasks.outcomes import Gate
from tests.contract.cluster import faulty as servers
from tests.contract.cluster.conftest import DEADLINE_S
from tests.unit.onboard.builders import a_host, a_node

Faulty = Callable[..., Awaitable[ClusterApi]]


async def probe(api: ClusterApi, timeout_s: float = DEADLINE_S) -> Probed:
    return await probe_node(api, Gate(dry_run=False), a_host(), a_node(), None, timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("how", "timeout_s", "raises", "words"),
    [
        ("never", 0.3, ClusterUnreachable, "did not create pod .* within 0.3 s"),
        ("cut", DEADLINE_S, ClusterUnreachable, "was cut off|cannot be reached"),
        ("504", DEADLINE_S, ApiError, "HTTP 504"),
    ],
)
async def test_a_pod_whose_creation_nobody_confirmed_is_removed(
    how: str, timeout_s: float, raises: type[Exception], words: str, faulty: Faulty
) -> None:
    server = servers.LosesAnswers(how)
    api = await faulty(server)
    with pytest.raises(raises, match=words) as caught:
        await probe(api, timeout_s)
    assert (server.created.is_set(), server.pods) == (True, set())
    assert "--force" not in caught.value.summary, "nobody has seen an earlier run's pod"


async def test_a_pod_whose_creation_is_broken_off_is_removed(faulty: Faulty) -> None:
    server = servers.LosesAnswers("never")
    probing = asyncio.create_task(probe(await faulty(server)))
    async with asyncio.timeout(DEADLINE_S):
        await server.created.wait()
        probing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probing
    assert server.pods == set()


async def test_what_the_server_refuses_is_not_there(faulty: Faulty) -> None:
    server = servers.Refuses(422, reason="Invalid")
    with pytest.raises(ApiError, match="HTTP 422"):
        await probe(await faulty(server))
    assert [method for method, _ in server.asked] == ["POST"]


async def test_a_test_pod_that_may_not_be_there_is_an_answer_with_its_next_step(faulty: Faulty) -> None:
    server = servers.Denies()
    probed = await probe(await faulty(server))
    assert probed.refused == 'admission webhook "guard.example.com" denied the request: not tonight'
    assert "find the owner of webhook guard.example.com" in probed.next_step
    assert (probed.ran, probed.refused in probed.log_error, probed.may_pass) == (False, True, True)
    assert [method for method, _ in server.asked] == ["POST"]


async def test_a_missing_right_is_told_as_one(joe: ClusterApi) -> None:
    probed = await probe(joe)
    assert 'User "joe" cannot create resource "pods"' in probed.refused
    assert probed.next_step.startswith("Give the kubeconfig's user this right")
    assert not probed.may_pass


async def test_a_quota_that_is_used_up_is_waited_for(faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "QUOTA_PAUSE_S", 0.01)
    pod = way_back_pod("n1", "n1", "busybox", "192.0.2.1")
    server = servers.WantsQuota(3)
    await create_pod(await faulty(server), pod, timeout_s=DEADLINE_S)
    assert len(server.asked) == 4
    with pytest.raises(AdmissionDenied, match="exceeded quota: few"):
        await create_pod(await faulty(servers.WantsQuota(10**6)), pod, timeout_s=0.2)


async def test_a_pod_of_an_earlier_run_that_stays(faulty: Faulty) -> None:
    name = pod_name("accept", "fra1-n01")
    api = await faulty(servers.KeepsPods())
    with pytest.raises(
        ClusterUnreachable, match=rf"pod {name} of an earlier run on node .* is still terminat"
    ) as caught:
        await probe(api, 0.5)
    assert f"kubectl delete pod -n poolkeeper {name} --force" in caught.value.next_step
