"""What a provider's nodes have to reach beside the API server, as data.

ACK lists these for its Edge clusters (network configuration for access over the internet, and the leased line's with
PrivateLink); for hybrid pools it lists none. Time servers are not among them: UDP has no connection to try.
"""

from __future__ import annotations

from collections.abc import Mapping

from poolkeeper.tasks.fleet.model import AckProvider, AuditTarget, Cluster, Service

_ACK: Mapping[str, tuple[tuple[str, str], ...]] = {
    "private": (
        ("registration", "cs-anony-vpc.{region}.aliyuncs.com"),
        ("packages", "aliacs-k8s-{region}.oss-{region}-internal.aliyuncs.com"),
        ("registry", "registry-{region}-vpc.ack.aliyuncs.com"),
    ),
    "public": (
        ("registration", "cs-anony.{region}.aliyuncs.com"),
        ("packages", "aliacs-k8s-{region}.oss-{region}.aliyuncs.com"),
        ("registry login", "dockerauth.{region}.aliyuncs.com"),
        ("enterprise registry login", "dockerauth-ee.{region}.aliyuncs.com"),
        ("registry", "registry-{region}.ack.aliyuncs.com"),
    ),
}
"""Way -> (what it is for, name); all on TCP 443."""


def required_endpoints(cluster: Cluster, way: str) -> tuple[AuditTarget, ...]:
    """What hosts of a cluster must be able to connect to. Pure.

    way: `private` (over the line), `public` (over the internet) or `none`
    """
    provider = cluster.provider
    if not isinstance(provider, AckProvider):
        return ()
    return tuple(
        AuditTarget(f"ACK {what}", tcp=Service("tcp", name.format(region=provider.region), 443))
        for what, name in _ACK.get(way, ())
    )
