"""Hosts joining the lab's cluster as they do on a real site: script from ACK's SDK, run over SSH, Node in the API."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_cs20151215 import models
from darabonba.exceptions import DaraException

from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import CLUSTER_ID
from poolkeeper.tasks.acceptance.testpod import peer_pod
from tests.contract.lab.conftest import DEADLINE_S, RunningLab, eventually

pytestmark = pytest.mark.tier("kubectl")


async def kubectl(lab: RunningLab, *words: str) -> str:
    return await asyncio.to_thread(lab.kubectl, *words)


async def get(lab: RunningLab, *words: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await kubectl(lab, "get", *words, "-o", "json"))
    return answer


async def ready_on(lab: RunningLab, node: str) -> set[str]:
    """The system DaemonSets with a Ready pod on a node."""
    pods = (await get(lab, "pods", "-n", "kube-system", "--field-selector", f"spec.nodeName={node}"))["items"]
    return {
        pod["metadata"]["labels"]["k8s-app"]
        for pod in pods
        if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
    }


def pod(name: str, node: str, program: str) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox", "command": ["sh", "-c", program]}
    spec = {
        "nodeName": node,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "poolkeeper"}, "spec": spec}


async def run_pod(lab: RunningLab, name: str, node: str, program: str) -> None:
    await create(lab, pod(name, node, program))


async def create(lab: RunningLab, manifest: dict[str, Any]) -> None:
    file = lab.folder.path.parent / f"{manifest['metadata']['name']}.json"
    file.write_text(json.dumps(manifest))
    await kubectl(lab, "create", "-f", str(file))


async def pod_status(lab: RunningLab, name: str) -> dict[str, Any]:
    status: dict[str, Any] = (await get(lab, "pod", "-n", "poolkeeper", name))["status"]
    return status


async def test_join_run_pods_both_ways_and_leave(lab: RunningLab) -> None:
    name = lab.host(0)["name"]
    done = await lab.join(0)
    assert done.exit_status == 0, done.stderr
    await kubectl(lab, "wait", "--for=condition=Ready", f"node/{name}", f"--timeout={DEADLINE_S}s")

    node = await get(lab, "node", name)
    machine_id = (await lab.run(0, 'cat "$POOLKEEPER_ROOT/etc/machine-id"')).stdout.strip()
    assert node["status"]["nodeInfo"]["machineID"] == machine_id
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.3"
    assert node["metadata"]["labels"]["alibabacloud.com/nodepool-type"] == "hybridcloud"
    assert {"key": "nodepool-type", "value": "hybridcloud", "effect": "NoSchedule"} in node["spec"]["taints"]

    async def both() -> bool:
        return await ready_on(lab, name) == {"terway-hybrid", "node-local-dns"}

    await eventually(both)

    serve = 'cd "$(mktemp -d)"; echo "page of $HOSTNAME" > index.html; exec httpd -f -p 18080 -h .'
    await run_pod(lab, "here", name, serve)
    await run_pod(lab, "there", "cloud-1", serve)
    addresses = {}
    for each in ("here", "there"):
        await kubectl(lab, "wait", "-n", "poolkeeper", "--for=condition=Ready", f"pod/{each}", "--timeout=20s")
        addresses[each] = (await pod_status(lab, each))["podIP"]
    fetch = (
        "nslookup kubernetes.default.svc.cluster.local > /dev/null || exit 9\n"
        "i=0; until wget -q -O - http://{}:18080/; do i=$((i+1)); [ $i -lt 50 ] || exit 1; done"
    )
    for caller, at, wanted in (("to-cloud", name, "there"), ("from-cloud", "cloud-1", "here")):
        await run_pod(lab, caller, at, fetch.format(addresses[wanted]))
        await kubectl(lab, "wait", "-n", "poolkeeper", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{caller}")
        assert f"page of {wanted}" in await kubectl(lab, "logs", "-n", "poolkeeper", caller)
    await kubectl(lab, "delete", "pods", "-n", "poolkeeper", "--all", "--timeout=20s")

    assert (await lab.join(0)).exit_status == 1, "a second join is refused"
    await lab.leave(0)
    kept = await lab.run(0, 'ls -d "$POOLKEEPER_ROOT"/etc/kubernetes "$POOLKEEPER_ROOT"/var/lib/kubelet 2>/dev/null')
    assert kept.stdout == ""
    assert (await lab.join(0)).exit_status == 0, "after a reset it can join again"
    await lab.leave(0)


async def test_a_pod_that_serves_the_test_pod_is_ready_once_it_serves(lab: RunningLab, tmp_path: Path) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)
    peer = peer_pod("cloud-1", "cloud-1", "busybox", "127.0.0.1")
    name, (container,) = peer["metadata"]["name"], peer["spec"]["containers"]
    container["command"][-1] = f"cat {held}\n{container['command'][-1]}"
    await create(lab, peer)
    await kubectl(lab, "wait", "-n", "poolkeeper", "--for=jsonpath={.status.phase}=Running", f"pod/{name}")
    assert not (await pod_status(lab, name))["containerStatuses"][0]["ready"]
    await asyncio.to_thread(held.write_text, "go on")
    await kubectl(lab, "wait", "-n", "poolkeeper", "--for=condition=Ready", f"pod/{name}", "--timeout=20s")
    address = (await pod_status(lab, name))["podIP"]
    await run_pod(lab, "asks", "cloud-1", f"exec wget -q -O - http://{address}:18080/")
    await kubectl(lab, "wait", "-n", "poolkeeper", "--for=jsonpath={.status.phase}=Succeeded", "pod/asks")
    await kubectl(lab, "delete", "pod", "-n", "poolkeeper", name, "asks", "--timeout=20s")


async def test_exit_status_and_restarts_are_told(lab: RunningLab) -> None:
    await run_pod(lab, "fails", "cloud-1", "echo last words; exit 3")

    async def failed() -> dict[str, Any] | None:
        status = await pod_status(lab, "fails")
        return status if status.get("phase") == "Failed" else None

    status = await eventually(failed)
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    assert await kubectl(lab, "logs", "-n", "poolkeeper", "fails") == "last words\n"
    await kubectl(lab, "delete", "pod", "-n", "poolkeeper", "fails", "--timeout=20s")


async def test_join_fails_half_way_then_reset_then_join(lab: RunningLab) -> None:
    lab.break_host(1, Fault.JOIN_FAILS)
    done = await lab.join(1)
    assert done.exit_status == 1
    assert "unexpected EOF" in done.stderr
    lab.mend_host(1)
    await lab.leave(1)
    assert (await lab.join(1)).exit_status == 0
    await lab.leave(1)


@pytest.mark.parametrize(
    ("fault", "words"),
    [(Fault.NEVER_READY, "PLEG is not healthy"), (Fault.CNI_MISSING, "cni plugin not initialized")],
)
async def test_node_that_stays_not_ready(lab: RunningLab, fault: Fault, words: str) -> None:
    name = lab.host(1)["name"]
    lab.break_host(1, fault)
    assert (await lab.join(1)).exit_status == 0

    async def condition() -> dict[str, Any] | None:
        node = await get(lab, "node", name, "--ignore-not-found")
        conditions = node.get("status", {}).get("conditions", ()) if node else ()
        return next((c for c in conditions if c["type"] == "Ready" and c["reason"] == "KubeletNotReady"), None)

    assert words in (await eventually(condition))["message"]
    lab.mend_host(1)
    await kubectl(lab, "wait", "--for=condition=Ready", f"node/{name}", f"--timeout={DEADLINE_S}s")
    await lab.leave(1)


async def test_name_duplicated(lab: RunningLab) -> None:
    name = lab.host(2)["name"]
    lab.break_host(2, Fault.NAME_DUPLICATED)
    info = (await get(lab, "node", name))["status"]["nodeInfo"]
    own = (await lab.run(2, 'cat "$POOLKEEPER_ROOT/etc/machine-id"')).stdout.strip()
    assert info["machineID"] != own
    done = await lab.join(2)
    assert "NODE_NAME_EXISTS" in done.stderr
    lab.mend_host(2)
    await lab.leave(2)
    assert await kubectl(lab, "get", "node", name, "--ignore-not-found") == ""


@pytest.mark.parametrize("cause", ["expired", "unknown", "clock"])
async def test_token_refused(lab: RunningLab, cause: str) -> None:
    expired = int(time.time()) - 1 if cause == "expired" else None
    request = models.DescribeClusterAttachScriptsRequest(nodepool_id="np-batch", expired=expired)
    script = (await lab.ack().describe_cluster_attach_scripts_async(CLUSTER_ID, request)).body
    if cause == "unknown":
        script = script.replace("--openapi-token=", "--openapi-token=x")
    if cause == "clock":
        lab.break_host(3, Fault.CLOCK)
    done = await lab.run(3, script)
    assert done.exit_status == 1
    assert "TOKEN_EXPIRED" in done.stderr
    lab.mend_host(3)
    await lab.leave(3)


async def test_wrong_signature_is_refused(lab: RunningLab) -> None:
    with pytest.raises(DaraException) as refused:
        await lab.ack(access_key_secret="another").describe_cluster_detail_async(CLUSTER_ID)
    assert (refused.value.status_code, refused.value.code) == (403, "SignatureDoesNotMatch")


async def test_what_is_missing_is_named(lab: RunningLab) -> None:
    with pytest.raises(DaraException) as refused:
        await lab.ack().describe_cluster_events_async(CLUSTER_ID, models.DescribeClusterEventsRequest())
    assert (refused.value.status_code, refused.value.code) == (501, "NotInTheLab.DescribeClusterEvents")


async def test_pools_nodes_and_removal_through_the_sdk(lab: RunningLab) -> None:
    client, name = lab.ack(), lab.host(0)["name"]
    pools = await client.describe_cluster_node_pools_async(CLUSTER_ID, models.DescribeClusterNodePoolsRequest())
    assert {pool.nodepool_info.nodepool_id for pool in pools.body.nodepools} == {"np-general", "np-batch"}
    assert (await lab.join(0)).exit_status == 0

    async def listed() -> bool:
        request = models.DescribeClusterNodesRequest(nodepool_id="np-general", page_size="100")
        nodes = await client.describe_cluster_nodes_async(CLUSTER_ID, request)
        return name in [node.node_name for node in nodes.body.nodes]

    await eventually(listed)
    request = models.RemoveNodePoolNodesRequest(instance_ids=[name], drain_node=False, release_node=False)
    removed = await client.remove_node_pool_nodes_async(CLUSTER_ID, "np-general", request)
    task = await client.describe_task_info_async(removed.body.task_id)
    assert task.body.state == "success"
    assert not await listed()
    await lab.leave(0)
