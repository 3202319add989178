"""What a lab host has to be upgraded with: apt as far as it is there, and ACK's node pool upgrade through the SDK."""

from __future__ import annotations

from typing import Any

import pytest
from alibabacloud_cs20151215 import models
from darabonba.exceptions import DaraException

from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import CLUSTER_ID
from tests.contract.lab.conftest import RunningLab, eventually

UPGRADE = "apt-get -y -q install kubectl=1.36.3-1.1"


@pytest.mark.parametrize(
    ("program", "status", "words"),
    [
        ("apt-get -q -o DPkg::Lock::Timeout=9 update", 0, "Reading package lists... Done"),
        ("apt-cache madison kubectl | wc -l", 0, "3"),
        ("apt-cache policy kubectl | head -n 3 | tail -n 1", 0, "  Candidate: 1.36.3-1.1"),
        (
            "apt-get -y --print-uris install 'kubectl=1.36*' | tail -n 1 | cut -d' ' -f 2,3",
            0,
            "kubectl_1.36.3-1.1_amd64.deb 10800000",
        ),
        ("apt-get -y --download-only install kubectl=1.35.4-1.1; dpkg-query -W kubectl", 1, "in download only mode"),
        ("apt-get -y install kubectl=1.35.4-1.1 && kubectl version", 0, "Client Version: v1.35.4"),
        (f"apt-mark hold kubectl; {UPGRADE}", 100, "Held packages were changed"),
        (f"{UPGRADE} --allow-change-held-packages >/dev/null; apt-mark showhold | wc -l", 0, "0"),
        ("apt-get -y install kubectl=1.34.9-1.1 --allow-change-held-packages", 100, "Packages were downgraded"),
        ("apt-mark unhold kubectl; apt-get -y purge kubectl; dpkg-query -W kubectl", 1, "no packages found"),
        ("apt-get -y install kubectl=9.9", 100, "E: Version '9.9' for 'kubectl' was not found"),
        ("apt-get dist-upgrade", 100, "E: Invalid operation dist-upgrade: the lab does not know it"),
        ("apt-mark auto kubectl", 100, "the lab does not know it"),
        ("apt-cache search x", 100, "the lab does not know it"),
    ],
)
async def test_apt(lab: RunningLab, program: str, status: int, words: str) -> None:
    """In this order: each goes on from where the one before has left the host."""
    ended = await lab.run(3, program)
    assert (ended.exit_status, words in f"{ended.stdout}{ended.stderr}") == (status, True), ended


@pytest.mark.parametrize(
    ("fault", "program", "words"),
    [
        (Fault.MIRROR_DOWN, "apt-get update", "Err:1 http://mirror.example/debian"),
        (Fault.MIRROR_DOWN, UPGRADE, "Failed to fetch"),
        (Fault.PACKAGE_MISSING, UPGRADE, "Version '1.36.3-1.1' for 'kubectl' was not found"),
        (Fault.DISK_FULL, UPGRADE, "You don't have enough free space"),
    ],
)
async def test_apts_faults(lab: RunningLab, fault: Fault, program: str, words: str) -> None:
    await lab.run(2, "rm -f $POOLKEEPER_ROOT/var/cache/apt/archives/*")
    lab.break_host(2, fault)
    ended = await lab.run(2, program)
    assert (ended.exit_status, words in f"{ended.stdout}{ended.stderr}") == (100, True), ended


async def asked(lab: RunningLab, **more: Any) -> str:
    request = models.UpgradeClusterNodepoolRequest(**{"kubernetes_version": "1.36.3-aliyun.1", **more})
    answer = await lab.ack().upgrade_cluster_nodepool_async(CLUSTER_ID, "np-general", request)
    return str(answer.body.task_id)


async def ended(lab: RunningLab, task: str) -> Any:
    async def look() -> Any:
        told = (await lab.ack().describe_task_info_async(task)).body
        return told if told.state != "running" else None

    return await eventually(look)


@pytest.mark.tier("kubectl")
async def test_acks_upgrade_of_a_node(lab: RunningLab) -> None:
    name = lab.host(1)["name"]
    assert (await lab.join(1)).exit_status == 0
    try:
        await lab.run(1, "edgeadm upgrade --version=v1.35.4")
        lab.break_host(1, Fault.PACKAGE_MISSING)
        failed = await ended(lab, await asked(lab, node_names=[name]))
        assert (failed.state, failed.error.code) == ("fail", "NodeUpgradeFailed")
        assert "404 Not Found" in failed.error.message
        lab.mend_host(1)
        task = await asked(lab, node_names=[name])
        with pytest.raises(DaraException, match="is upgrading"):
            await asked(lab, node_names=[name])
        done = await ended(lab, task)
        assert (done.state, [each.status for each in done.task_result]) == ("success", ["success"])
        assert (await lab.run(1, "kubelet --version")).stdout == "Kubernetes v1.36.3\n"
    finally:
        await lab.leave(1)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"kubernetes_version": "1.37.0"}, "is not the cluster's version"),
        ({"node_names": ["cloud-1"]}, "is not in pool np-general"),
        ({"use_replace": True}, "disks of nodes outside of ECS cannot be replaced"),
    ],
)
async def test_what_ack_does_not_upgrade(lab: RunningLab, more: dict[str, Any], words: str) -> None:
    with pytest.raises(DaraException, match=words):
        await asked(lab, **more)
