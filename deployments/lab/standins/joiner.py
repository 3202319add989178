"""edgeadm: `join` makes the host a node of the lab's cluster, `upgrade` renews its kubelet, `reset` undoes it.

The phases, the files and the refusals follow what is documented of ACK Edge's tool of that name
(https://www.alibabacloud.com/help/en/ack/ack-edge/user-guide/edge-node-faq): an expired token or a clock
that is off gives TOKEN_EXPIRED, a taken name is refused, leftovers end in `text file busy` and code 40009.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(os.environ["POOLKEEPER_ROOT"])
FAULTS = Path(os.environ["POOLKEEPER_LAB_STATE"]) / "faults"
OWN = os.environ["POOLKEEPER_LAB_ADDRESS"]
CONTAINERD = "1.6.20~ds1-1+deb12u1"
PHASE_S = 0.2
"""Each phase takes a moment, so that one can watch it and cut it off."""

MADE = (
    "etc/kubernetes",
    "etc/cni/net.d",
    "etc/containerd",
    "etc/default/kubelet",
    "etc/systemd/system/containerd.service",
    "etc/systemd/system/kubelet.service",
    "opt/cni",
    "usr/bin/containerd",
    "usr/bin/kubelet",
    "var/lib/containerd",
    "var/lib/kubelet",
    "var/log/pods",
)
"""All that a join leaves on a host, and a reset removes."""
REFUSED_BY = ("etc/kubernetes/kubelet.conf", "etc/kubernetes/pki/ca.crt", "usr/bin/kubelet", "var/lib/kubelet/pki")
"""What an earlier join has left, if it is there."""


class Failed(Exception):
    """A phase failed; the message is what the tool prints last."""


def has_fault(name: str) -> bool:
    return (FAULTS / name).exists()


def write(path: str, text: str, mode: int = 0o644) -> None:
    """Write a file below the host's root, its folders with it."""
    target = ROOT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=mode)
    target.write_text(text)


def phase(text: str) -> None:
    print(f"[edgeadm] {text}", flush=True)
    time.sleep(PHASE_S)


def options(arguments: list[str], *known: str) -> dict[str, str]:
    """`--name=value` words; anything else is refused."""
    pairs = [word.removeprefix("--").partition("=") for word in arguments]
    for name, equals, _ in pairs:
        if not equals or name not in known:
            raise Failed(f"unknown option {name}: the lab's edgeadm knows {', '.join(sorted(known))}")
    return {name: value for name, _, value in pairs}


def host_time() -> float:
    """What the host takes the time to be."""
    return float(subprocess.run(["date", "+%s"], capture_output=True, check=True, text=True).stdout)


def exchange(token: str) -> dict[str, Any]:
    """Trade the join token for a kubelet's own credential."""
    body = {
        "token": token,
        "node_name": (ROOT / "etc/hostname").read_text().strip(),
        "machine_id": (ROOT / "etc/machine-id").read_text().strip(),
        "now": host_time(),
    }
    parts = urlsplit(os.environ["POOLKEEPER_LAB_JOIN"])
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, 10, (OWN, 0))
    connection.request("POST", parts.path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    told: dict[str, Any] = json.loads(answer.read())
    if answer.status != 200:
        raise Failed(f"{told['code']}: {told['message']}")
    return told


def join(arguments: list[str]) -> None:
    """Make this host a node. Raises Failed."""
    given = options(arguments, "openapi-token", "node-spec", "region", "arch", "interconnect-mode")
    if not given.get("openapi-token"):
        raise Failed("TOKEN_MISSING: --openapi-token is required")
    phase("preflight: checking what is on this host")
    found = [path for path in REFUSED_BY if (ROOT / path).exists()]
    if found:
        busy = "install kubelet: open /usr/bin/kubelet: text file busy; " if "usr/bin/kubelet" in found else ""
        raise Failed(f"code 40009: {busy}/{found[0]} is left from an earlier cluster. Run `edgeadm reset` first")
    phase("runtime: installing containerd 1.6.20")
    write("etc/containerd/config.toml", "version = 2\n")
    subprocess.run(["apt-get", "-y", "-q", "install", f"containerd={CONTAINERD}"], check=True)
    write("etc/systemd/system/containerd.service", "[Service]\nExecStart=/usr/bin/containerd\n")
    write("opt/cni/bin/loopback", "", 0o755)
    subprocess.run(["systemctl", "enable", "--now", "containerd"], check=True)
    if has_fault("join-fails-half-way"):
        raise Failed("install kubelet: download of kubelet.tar.gz broke off after 31 of 118 MB: unexpected EOF")
    phase("token: asking the cluster for this node's credential")
    if has_fault("api-unreachable"):
        raise Failed(f"timeout: https://{os.environ['POOLKEEPER_LAB_API']}:6443/cluster-info did not answer")
    told = exchange(given["openapi-token"])
    phase(f"kubelet: installing {told['version']}")
    write("usr/bin/kubelet", f'#!/bin/sh\necho "Kubernetes {told["version"]}"\n', 0o755)
    write("etc/systemd/system/kubelet.service", "[Service]\nExecStart=/usr/bin/kubelet\n")
    write("etc/kubernetes/pki/ca.crt", told["ca"])
    labels = ",".join(f"{name}={value}" for name, value in told["labels"].items())
    write("etc/default/kubelet", f"KUBELET_EXTRA_ARGS=--node-labels={labels}\n")
    config = {"registerWithTaints": told["taints"], "podCIDR": told["pod_cidr"], "clusterDNS": told["dns"]}
    write("var/lib/kubelet/config.yaml", json.dumps(config, indent=2) + "\n")
    user = {"user": {"token": told["kubelet_token"]}, "name": "kubelet"}
    cluster = {"server": told["api"], "certificate-authority": "/etc/kubernetes/pki/ca.crt"}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "ack", "cluster": cluster}],
        "users": [user],
        "contexts": [{"name": "kubelet", "context": {"cluster": "ack", "user": "kubelet"}}],
        "current-context": "kubelet",
    }
    write("etc/kubernetes/kubelet.conf", json.dumps(kubeconfig, indent=2) + "\n", 0o600)
    phase("kubelet: starting")
    subprocess.run(["systemctl", "enable", "--now", "kubelet"], check=True)
    print("[edgeadm] this node has joined the cluster", flush=True)


def upgrade(arguments: list[str]) -> None:
    """Give this node a kubelet of another version, and restart it. Raises Failed.

    The real one takes the cluster's version; the last line is the one that is documented
    (https://help.aliyun.com/zh/ack/ack-edge/user-guide/upgrade-ack-edge-cluster).
    """
    version = options(arguments, "version", "region", "interconnect-mode").get("version", "")
    if not re.fullmatch(r"v?1\.[0-9]+\.[0-9]+([-+.][0-9A-Za-z.]+)?", version):
        raise Failed(f"give --version=v1.X.Y; this is none: {version}")
    phase("preflight: checking this node")
    if not (ROOT / "usr/bin/kubelet").exists():
        raise Failed("this host is no node: there is no kubelet on it")
    version = version.removeprefix("v").partition("-")[0]
    phase(f"kubelet: fetching v{version}")
    if has_fault("package-missing") or has_fault("mirror-down"):
        raise Failed(f"download kubelet v{version}: 404 Not Found, or no answer. The old kubelet was left running")
    if has_fault("disk-full"):
        raise Failed("unpack kubelet.tar.gz: no space left on device. The old kubelet was left running")
    phase(f"kubelet: installing v{version}")
    if not has_fault("upgrade-keeps-old-kubelet"):
        write("usr/bin/kubelet", f'#!/bin/sh\necho "Kubernetes v{version}"\n', 0o755)
    (FAULTS.parent / "state" / "kubelet-upgraded").touch()
    phase("kubelet: restarting")
    subprocess.run(["systemctl", "restart", "kubelet"], check=True)
    print("[edgeadm] This node has been upgraded successfully", flush=True)


def reset(arguments: list[str]) -> None:
    """Stop kubelet and containerd and remove all that a join has made."""
    print("[edgeadm] reset: stopping kubelet and what runs under it", flush=True)
    for unit in ("kubelet", "containerd"):
        subprocess.run(["systemctl", "disable", "--now", unit], check=False, stderr=subprocess.DEVNULL)
    print("[edgeadm] reset: removing files", flush=True)
    for path in MADE:
        target = ROOT / path
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
    subprocess.run(["apt-get", "-y", "-q", "purge", "containerd"], check=False)
    (FAULTS.parent / "state" / "kubelet-upgraded").unlink(missing_ok=True)
    (FAULTS / "leftovers").unlink(missing_ok=True)
    for unit in ("kubelet", "containerd"):
        shutil.rmtree(FAULTS.parent / "state" / "units" / f"{unit}.service", ignore_errors=True)
    print("[edgeadm] this host is clean", flush=True)


def main(arguments: list[str]) -> int:
    verbs = {"join": join, "upgrade": upgrade, "reset": reset}
    if not arguments or arguments[0] not in verbs:
        print("edgeadm: give `join`, `upgrade` or `reset`; the lab's edgeadm knows no other verb", file=sys.stderr)
        return 2
    try:
        verbs[arguments[0]](arguments[1:])
    except (Failed, OSError, subprocess.CalledProcessError) as error:
        print(f"[edgeadm] {arguments[0]} failed: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
