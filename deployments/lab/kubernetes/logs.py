"""`pods/log`: fetched from the kubelet of the pod's node, whose certificate must be of the lab's authority."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp import web

from poolkeeper.deployments.lab.kubernetes import statuses
from poolkeeper.deployments.lab.kubernetes.requests import is_true
from poolkeeper.deployments.lab.kubernetes.statuses import StatusError
from poolkeeper.deployments.lab.kubernetes.store import Store

Json = dict[str, Any]

_PASSED_ON = ("follow", "tailLines", "limitBytes", "sinceSeconds", "sinceTime", "timestamps")
_CONNECT_S = 10.0


def log_address(store: Store, pod: Json, container: str) -> tuple[str, int, str]:
    """Host, port and path of a container's log. Raises StatusError 400, 500."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    names = [c["name"] for kind in ("containers", "initContainers") for c in pod["spec"].get(kind) or ()]
    if not container:
        if len(pod["spec"]["containers"]) != 1:
            choices = " ".join(c["name"] for c in pod["spec"]["containers"])
            raise statuses.bad_request(f"a container name must be specified for pod {name}, choose one of: [{choices}]")
        container = names[0]
    elif container not in names:
        raise statuses.bad_request(f"container {container} is not valid for pod {name}")
    node_name = pod["spec"].get("nodeName")
    if not node_name:
        raise statuses.bad_request(f"pod {name} does not have a host assigned")
    status = store.get("nodes", node_name).get("status") or {}
    addresses = {a["type"]: a["address"] for a in status.get("addresses") or ()}
    # the order of kube-apiserver's --kubelet-preferred-address-types, of which the lab has these
    host = next((addresses[k] for k in ("InternalIP", "ExternalIP", "Hostname") if k in addresses), None)
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    if not host or not port:
        raise statuses.internal_error(f'no preferred addresses found; node "{node_name}" tells no kubelet endpoint')
    return host, int(port), f"/containerLogs/{namespace}/{name}/{container}"


async def serve_log(
    request: web.Request,
    session: aiohttp.ClientSession,
    tls: ssl.SSLContext,
    address: tuple[str, int, str],
    query: Mapping[str, str],
) -> web.StreamResponse:
    """Answer with the log, as it comes. Raises StatusError 400, 404, 500, 501."""
    if is_true(query.get("previous", "")):
        raise statuses.not_implemented("logs of previous containers (pods/log with previous=true)")
    host, port, path = address
    url = f"https://{host}:{port}{path}"
    passed = {key: query[key] for key in _PASSED_ON if key in query}
    timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_S, sock_connect=_CONNECT_S)
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    try:
        async with session.get(url, params=passed, ssl=tls, timeout=timeout) as answer:
            if answer.status not in (200, 206):
                raise _refused(answer.status, (await answer.text())[:2_000].strip())
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError) as error:
        if response.prepared:
            return response
        raise StatusError(500, "", f'Get "{url}": {error or "i/o timeout"}') from None
    return response


def _refused(code: int, text: str) -> StatusError:
    if code == 400:
        return statuses.bad_request(text)
    if code == 404:
        return StatusError(404, "NotFound", "the server could not find the requested resource")
    return statuses.internal_error(text or f"the kubelet answered {code}")
