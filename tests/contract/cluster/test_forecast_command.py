"""`poolkeeper forecast`, as a person or a script calls it, against a real API server's answers."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from poolkeeper.deployments.lab.kubernetes import ApiServer
from tests.contract.cluster.conftest import kubeconfig_of
from tests.contract.kubernetes.conftest import Api, Client, make_node, pod_body, report_pod, run_pod
from tests.contract.kubernetes.test_eviction import counted, make_budget

POOLKEEPER = Path(sys.executable).with_name("poolkeeper")
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@dataclass(frozen=True)
class Said:
    """What the command answered."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.out)
        return rows


async def forecast(folder: Path, *arguments: str, **environment: str) -> Said:
    """Runs it in a folder, with no environment but this."""
    process = await asyncio.create_subprocess_exec(
        POOLKEEPER,
        "forecast",
        *arguments,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "COLUMNS": "200", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return Said(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
async def cluster_of_two(admin: Client, namespace: str) -> str:
    """Two nodes: on n1 a pod under a budget that allows nothing; n2 is empty."""
    for name in ("n1", "n2"):
        await make_node(admin, name)
    await make_budget(admin, namespace, maxUnavailable=0)
    await run_pod(admin, namespace, "web-1", "n1")
    await counted(admin, namespace, currentHealthy=1)
    return namespace


@pytest.fixture
async def limited(api: Api, admin: Client, embedded: ApiServer, tmp_path: Path) -> Path:
    """A kubeconfig of someone who may only list nodes and pods."""
    rule = {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list"]}
    await admin("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "looker"}, "rules": [rule]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "looker"}
    subject = {"kind": "User", "name": "joe", "apiGroup": "rbac.authorization.k8s.io"}
    await admin(
        "POST", f"{RBAC}/clusterrolebindings", {"metadata": {"name": "l"}, "roleRef": role, "subjects": [subject]}
    )
    return kubeconfig_of(
        tmp_path / "joe", {"server": api.url, "certificate-authority": "ca.crt"}, {"token": "joe-token"}
    )


async def test_what_scripts_rely_on(api: Api, cluster_of_two: str, tmp_path: Path) -> None:
    said = await forecast(tmp_path, "n1", "n2", "--kubeconfig", str(api.kubeconfig), "--json")
    assert said.code == 1, said.err
    blocked, clear = said.rows
    assert (blocked["node"], blocked["verdict"]) == ("n1", "blocked")
    assert (clear["node"], clear["verdict"], clear["pods"], clear["services"]) == ("n2", "clear", [], [])
    (pod,) = blocked["pods"]
    assert {key: pod[key] for key in ("namespace", "name", "verdict", "blocked_by")} == {
        "namespace": cluster_of_two,
        "name": "web-1",
        "verdict": "budget-never",
        "blocked_by": "web",
    }
    assert pod["reason"] == "PDB web can never allow it: it says maxUnavailable: 0"
    assert [finding["id"] for finding in blocked["findings"]] == ["drain.pdb.never", "drain.pod.no-controller"]


async def test_what_a_person_reads(api: Api, cluster_of_two: str, tmp_path: Path) -> None:
    said = await forecast(tmp_path, "n2", "n1", "--kubeconfig", str(api.kubeconfig))
    lines = said.out.splitlines()
    assert said.code == 1
    assert lines[0] == "n1: blocked (1 budget-never)"
    assert lines[-1] == "n2: clear (no pods)"
    assert f"`kubectl -n {cluster_of_two} edit pdb web`" in said.out


async def test_a_clear_node_is_fine(api: Api, cluster_of_two: str, tmp_path: Path) -> None:
    assert (await forecast(tmp_path, "n2", "--kubeconfig", str(api.kubeconfig))).code == 0


async def test_a_node_that_is_not_there_is_bad_input(api: Api, cluster_of_two: str, tmp_path: Path) -> None:
    said = await forecast(tmp_path, "m2", "--kubeconfig", str(api.kubeconfig))
    assert said.code == 2
    assert said.err.strip() == "there is no node m2: run `kubectl get nodes` for the names."
    near = await forecast(tmp_path, "n1x", "elsewhere", "--kubeconfig", str(api.kubeconfig))
    assert "there is no node n1x: did you mean n1?" in near.err
    assert "there is no node elsewhere" in near.err
    assert (near.code, near.out) == (2, "")


async def test_what_may_not_be_read_is_unknown_and_never_fine(
    cluster_of_two: str, limited: Path, tmp_path: Path
) -> None:
    said = await forecast(tmp_path, "n1", "--kubeconfig", str(limited), "--json")
    (row,) = said.rows
    assert row["services"] is None
    assert row["services_unknown"].startswith("Services cannot be read: HTTP 403")
    (pod,) = row["pods"]
    assert [reason["verdict"] for reason in pod["reasons"]] == ["no-controller", "unknown"]
    assert pod["reasons"][1]["reason"].startswith(
        "whether a PDB blocks it: PodDisruptionBudgets cannot be read: HTTP 403"
    )


async def test_nothing_but_the_unknown_is_could_not_find_out(
    admin: Client, cluster_of_two: str, limited: Path, tmp_path: Path
) -> None:
    labels, pods = {"app": "x"}, f"/api/v1/namespaces/{cluster_of_two}/pods"
    template = {"metadata": {"labels": labels}, "spec": pod_body("x", nodeName="n2")["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    path = f"/apis/apps/v1/namespaces/{cluster_of_two}/replicasets"
    assert (await admin("POST", path, {"metadata": {"name": "x"}, "spec": spec})).code == 201
    (made,) = await admin.until(pods, lambda found: len(found) == 1, labelSelector="app=x")
    await report_pod(admin, cluster_of_two, made["metadata"]["name"], ready=False)
    said = await forecast(tmp_path, "n2", "--kubeconfig", str(limited), "--json")
    assert (said.code, said.rows[0]["verdict"]) == (3, "unknown")


async def test_without_the_nodes_nothing_can_be_found_out(api: Api, tmp_path: Path) -> None:
    path = kubeconfig_of(
        tmp_path / "joe", {"server": api.url, "certificate-authority": "ca.crt"}, {"token": "joe-token"}
    )
    said = await forecast(tmp_path, "n1", "--kubeconfig", str(path))
    assert said.code == 3
    assert "HTTP 403" in said.err


async def test_kubectls_own_kubeconfig(api: Api, cluster_of_two: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    document = yaml.safe_load(api.kubeconfig.read_text())
    (home / ".kube" / "config").write_text(yaml.safe_dump(document))
    (home / ".kube" / "ca.crt").write_text(api.ca_file.read_text())
    assert (await forecast(home, "n2")).code == 0
    assert (await forecast(home, "n2", KUBECONFIG=str(tmp_path / "absent"))).code == 3


async def test_kubeconfigs_are_merged_and_paths_start_at_their_folders(
    api: Api, cluster_of_two: str, tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (other / "pki").mkdir(parents=True)
    (other / "pki" / "ca.crt").write_text(api.ca_file.read_text())
    contexts = [{"name": name, "context": {"cluster": "c", "user": name}} for name in ("nobody", "admin")]
    users = [{"name": "nobody", "user": {}}, {"name": "admin", "user": {"token": "admin-token"}}]
    (one / "config").write_text(yaml.safe_dump({"current-context": "nobody", "contexts": contexts, "users": users}))
    cluster = {"server": api.url, "certificate-authority": "pki/ca.crt"}
    (other / "config").write_text(
        yaml.safe_dump({"current-context": "x", "clusters": [{"name": "c", "cluster": cluster}]})
    )
    files = f"{one / 'config'}:{tmp_path / 'absent'}:{other / 'config'}"
    assert (await forecast(tmp_path, "n2", KUBECONFIG=files)).code == 3
    assert (await forecast(tmp_path, "n2", "--context", "admin", KUBECONFIG=files)).code == 0
    wrong = await forecast(tmp_path, "n2", "--context", "admn", KUBECONFIG=files)
    assert wrong.code == 2
    assert wrong.err.startswith("the kubeconfig has no context admn (nobody, admin). Name a context")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["n1", "--kubeconfig", "absent"], "absent: there is no such file", id="no such kubeconfig"),
        pytest.param(["n1", "--kubeconfig", "/"], "/: it is a folder", id="a folder"),
        pytest.param(["n1", "--deadline", "soon"], "write it as 90s, 5m or 1h", id="no duration"),
        pytest.param(["n1", "--deadline", "-5m"], "write it as 90s, 5m or 1h", id="less than no time"),
        pytest.param(["n1", "--fleet", "x", "--kubeconfig", "y"], "leave out --fleet", id="two ways to name a cluster"),
        pytest.param([], "Missing argument", id="no node"),
    ],
)
async def test_bad_input(tmp_path: Path, arguments: list[str], told: str) -> None:
    said = await forecast(tmp_path, *arguments)
    assert said.code == 2
    assert told in said.err
