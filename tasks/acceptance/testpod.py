"""The test pod: its program, and its log.

`nodeName` binds it to its node, so that no scheduler, cordon or taint decides. It resolves an in-cluster and an
external name, fetches a page from a pod on a cloud node, and serves one itself for the other direction. A readable log
proves the connection from the API server to the node's kubelet.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poolkeeper.tasks.fleet.model import SiteDns

NAMESPACE = "poolkeeper"
PORT = 18080
FINISHED = "poolkeeper: probed"
"""The line after which the log holds all answers; the pod then serves until it is removed."""
_LABELS = {"app.kubernetes.io/managed-by": "poolkeeper", "app.kubernetes.io/name": "test-pod"}
SELECTOR = ",".join(f"{key}={value}" for key, value in _LABELS.items())
"""Label selector of every test pod."""
_ANSWER = re.compile(r"^poolkeeper: (?P<probe>[a-z-]+) (?P<answer>ok|fail)\b(?: (?P<detail>.*))?$")

_SERVE = f"""\
cd "$(mktemp -d)" || exit 1
echo "poolkeeper page of $HOSTNAME" > index.html
httpd -f -p {PORT} -h . &
"""
_PROBE = """\
say() { # name, command...: one line with the outcome, and the last words of a failure
  name=$1; shift
  if words=$("$@" 2>&1); then echo "poolkeeper: $name ok"
  else echo "poolkeeper: $name fail $(echo "$words" | tail -n 1 | cut -c1-200)"; fi
}
"""


@dataclass(frozen=True, slots=True)
class PodAnswers:
    """The answers in a test pod's log. None: not tried, or no answer."""

    dns_internal: str | None = None
    """Empty: it worked; else the last line of the error."""
    dns_external: str | None = None
    to_cloud: str | None = None
    from_cloud: str | None = None
    complete: bool = False
    cloud_to_host: str | None = None
    """From the cloud node to the kubelet's port of the node under test."""


def pod_name(purpose: str, node: str) -> str:
    """A name of at most 63 characters that two nodes never share."""
    return f"{purpose}-{re.sub('[^a-z0-9-]', '-', node)[:40]}-{hashlib.sha256(node.encode()).hexdigest()[:8]}"


def peer_pod(cloud_node: str, node: str, image: str, node_address: str, prefix: str = "") -> dict[str, Any]:
    """A pod on a cloud node that serves a page to the pod under test, and connects to that node's kubelet itself.

    The kubelet speaks TLS and refuses a plain request: any answer shows that it was reached. GNU wget reports an answer
    by its status (8), busybox by its message. Without an address, or without a working wget (the one in Debian 12's
    busybox crashes), nothing is known.
    """
    program = f"""\
{_SERVE}if [ -n "$NODE" ]; then
  words=$(wget -q -T 5 -O /dev/null "http://$NODE:10250/" 2>&1)
  case $?:$words in
    0:*|8:*|*"server returned error"*|*"error getting response"*) echo 'poolkeeper: cloud-to-host ok' ;;
    126:*|127:*|139:*) ;;
    *) echo "poolkeeper: cloud-to-host fail $(echo "$words" | tail -n 1 | cut -c1-200)" ;;
  esac
fi
echo "{FINISHED}"
wait
"""
    pod = _pod(pod_name(f"{prefix}peer", node), cloud_node, image, program, {"NODE": _in_url(node_address)})
    # the pod under test asks once, as soon as this one is Ready
    pod["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1}
    return pod


def probe_pod(node: str, image: str, dns: SiteDns, peer_ip: str | None, prefix: str = "") -> dict[str, Any]:
    """The pod on the node under test. Names and address go in as environment, never into the program."""
    program = [
        _SERVE,
        _PROBE,
        'say dns-internal nslookup "$INTERNAL_NAME"\n',
        'say dns-external nslookup "$EXTERNAL_NAME"\n',
        f'say to-cloud wget -q -T 5 -O /dev/null "http://$PEER:{PORT}/"\n' if peer_ip else "",
        f'echo "{FINISHED}"\nwait\n',
    ]
    environment = {
        "INTERNAL_NAME": dns.internal_name,
        "EXTERNAL_NAME": dns.external_name,
        "PEER": _in_url(peer_ip or ""),
    }
    return _pod(pod_name(f"{prefix}accept", node), node, image, "".join(program), environment)


def way_back_pod(cloud_node: str, node: str, image: str, pod_ip: str, prefix: str = "") -> dict[str, Any]:
    """A pod on a cloud node that fetches the page of the pod under test, then ends."""
    program = f'{_PROBE}say from-cloud wget -q -T 5 -O /dev/null "http://$PEER:{PORT}/"\necho "{FINISHED}"\n'
    return _pod(pod_name(f"{prefix}back", node), cloud_node, image, program, {"PEER": _in_url(pod_ip)})


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _pod(name: str, node: str, image: str, program: str, environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": _LABELS,
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": 600,  # ends by itself if we are killed
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": "probe",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", program],
                    "env": [{"name": key, "value": value} for key, value in environment.items()],
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "16Mi"},
                        "limits": {"memory": "64Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "runAsNonRoot": True,
                        "runAsUser": 65534,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                }
            ],
        },
    }


def parse_log(log: str) -> PodAnswers:
    """The answers in a test pod's log; other lines are skipped."""
    lines = log.splitlines()
    answers = {
        found["probe"]: "" if found["answer"] == "ok" else found["detail"] or "no answer"
        for found in map(_ANSWER.match, lines)
        if found
    }
    return PodAnswers(
        dns_internal=answers.get("dns-internal"),
        dns_external=answers.get("dns-external"),
        to_cloud=answers.get("to-cloud"),
        from_cloud=answers.get("from-cloud"),
        cloud_to_host=answers.get("cloud-to-host"),
        complete=FINISHED in lines,
    )
