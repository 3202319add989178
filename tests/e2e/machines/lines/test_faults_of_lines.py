"""Faults of network and DNS in the lab of machines: what each breaks, seen by plain programs, and that it breaks no more.

On every machine the same probes run at once. A fault is told by the probes that fail; all others go on, and after
mending all of them do. Probes that are not about names are told the address.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import CLOUD_NODE
from poolkeeper.deployments.lab.real.machines import intranet
from poolkeeper.deployments.lab.real.machines.faults import NODE_LOCAL_DNS
from poolkeeper.deployments.lab.real.machines.resolvers import EXTERNAL_ADDRESS
from tests.e2e.conftest import MachinesCluster

pytestmark = pytest.mark.tier("machines")

HERE, AWAY, BESIDE = "fra1-n01", "ams1-n01", "fra1-n03"
"""The first and the last are of one site; the last is no node."""
DEADLINE_S = 40.0
CA = "/root/intranet-ca.crt"
ABOVE_1400, JUST_1400, WHOLE = 1373, 1372, 1472
"""Bytes of a ping's data, which 28 of headers are added to."""


@pytest.fixture(scope="module")
def cluster(networked: MachinesCluster) -> MachinesCluster:
    """Machines that trust the intranet's authority, with nothing broken."""
    authority = shlex.quote(networked.folder.intranet_ca.read_text())
    networked.shells(dict.fromkeys((HERE, AWAY, BESIDE), f"printf %s {authority} > {CA}"))
    until_failing(networked, set())
    return networked


def ping(address: str, data_bytes: int) -> str:
    return f"ping -c 1 -W 1 -M do -s {data_bytes} {address}"


def https(name: str, address: str, path: str = "/") -> str:
    return f"curl -sS --max-time 2 --cacert {CA} --resolve {name}:443:{address} https://{name}{path}"


def resolves(name: str, address: str, options: str = "use-vc") -> str:
    """By the machine's own resolv.conf, over TCP unless told otherwise; a last dot keeps a search list out of it."""
    asked = f"RES_OPTIONS='timeout:1 attempts:1 {options}' timeout 3 getent ahostsv4 {name}"
    return f"{asked} | grep -q '^{address} '"


def asks(server: str, name: str) -> str:
    """Over UDP."""
    return f"timeout 2 busybox nslookup {name} {server}"


def connects(address: str, port: int) -> str:
    return f"timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/{port}'"


def probes(cluster: MachinesCluster) -> dict[str, dict[str, str]]:
    """Where it runs -> what it is called -> a command that succeeds when all is well."""
    network = cluster.network
    address = {host["name"]: host["address"] for host in lifecycle.status(cluster.folder)["hosts"]}
    cloud = intranet.cloud_address(network)
    found: dict[str, dict[str, str]] = {}
    for host, other in ((HERE, AWAY), (AWAY, BESIDE), (BESIDE, AWAY)):
        site = host.split("-")[0]
        own, own_name = intranet.site_address(network, site), intranet.site_name(site)
        truth = [("aliyun.com.", EXTERNAL_ADDRESS), (f"{own_name}.", own), (f"{intranet.CLOUD_NAME}.", cloud)]
        found[host] = {
            "cloud": ping(network.cloud_node, JUST_1400),
            "cloud-large": ping(network.cloud_node, ABOVE_1400),
            "other-site": ping(address[other], JUST_1400),
            "api": f"curl -sS --max-time 2 -k https://{network.api}:6443/readyz",
            "udp-53": resolves(f"{intranet.CLOUD_NAME}.", cloud, ""),
            "tcp-53": resolves(f"{intranet.CLOUD_NAME}.", cloud),
            "truth": " && ".join(resolves(name, wanted) for name, wanted in truth),
            "short-name": resolves(intranet.CLOUD_NAME, cloud),
            "https": https(intranet.CLOUD_NAME, cloud),
            "https-large": https(intranet.CLOUD_NAME, cloud, "/large"),
            "https-on-prem": https(own_name, own, "/large"),
        }
    found[HERE]["beside"], found[BESIDE]["beside"] = (ping(address[host], WHOLE) for host in (BESIDE, HERE))
    found[HERE]["cache"] = asks(NODE_LOCAL_DNS, f"{intranet.CLOUD_NAME}.")
    service = str(network.services.network_address + 10)
    found[HERE]["cluster-dns"] = asks(service, "kubernetes.default.svc.cluster.local.")
    found[CLOUD_NODE] = {
        "ping-here": ping(address[HERE], JUST_1400),
        "ping-here-large": ping(address[HERE], ABOVE_1400),
        "ssh-here": connects(address[HERE], 22),
        "kubelet-here": connects(address[HERE], 10250),
    }
    return found


def failing(cluster: MachinesCluster) -> set[str]:
    """The probes that fail now, as `where what`. That this comes to know them says that SSH passes."""
    scripts = {
        host: "\n".join(f"( {command} ) >/dev/null 2>&1 </dev/null || echo {name} &" for name, command in named.items())
        for host, named in probes(cluster).items()
    }
    told = cluster.shells({host: f"{script}\nwait\n" for host, script in scripts.items()})
    found = {f"{host} {name}" for host, text in told.items() for name in text.split()}
    return found if the_control_plane_reaches(cluster, HERE) else found | {"control-plane kubelet"}


def the_control_plane_reaches(cluster: MachinesCluster, host: str) -> bool:
    """Whether the API server gets an answer of a node's kubelet.

    A kubelet that cannot ask back answers whom it has answered in the last minutes; the fixture has seen to that.
    """
    command = [lifecycle.status(cluster.folder)["kubectl"], "--kubeconfig", str(cluster.folder.admin_kubeconfig)]
    command += ["get", "--raw", f"/api/v1/nodes/{host}/proxy/healthz"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, timeout=2).returncode == 0
    return False


def until_failing(cluster: MachinesCluster, wanted: set[str]) -> None:
    """Wait until these probes fail and no other; caches keep an answer for some seconds."""
    deadline = time.monotonic() + DEADLINE_S
    while (found := failing(cluster)) != wanted:
        assert time.monotonic() < deadline, f"not so: {sorted(wanted - found)}, too many: {sorted(found - wanted)}"


def at(hosts: tuple[str, ...], *names: str) -> set[str]:
    return {f"{host} {name}" for host in hosts for name in names}


SITE = (HERE, BESIDE)
OUTWARDS = ("cloud", "cloud-large", "api", "https", "https-large")
CASES = {
    ("fra1", Fault.LINE_CUT): at(SITE, *OUTWARDS, "other-site")
    | at((AWAY,), "other-site")
    | at((HERE,), "cluster-dns")
    | at((CLOUD_NODE,), "ping-here", "ping-here-large", "ssh-here", "kubelet-here")
    | {"control-plane kubelet"},
    ("fra1", Fault.ONE_WAY): at(SITE, *OUTWARDS) | at((HERE,), "cluster-dns"),
    ("fra1", Fault.UDP_53_BLOCKED): at(SITE, "udp-53") | at((HERE,), "cache", "cluster-dns"),
    ("fra1", Fault.MTU_LOWERED): at(SITE, "cloud-large", "https-large") | at((CLOUD_NODE,), "ping-here-large"),
    ("fra1", Fault.RESOLVER_LIES): at(SITE, "truth"),
    ("fra1", Fault.API_UNREACHABLE): at(SITE, "api"),
    (HERE, Fault.API_UNREACHABLE): at((HERE,), "api"),
    (HERE, Fault.RESOLVER_DEAD): at((HERE,), "udp-53", "tcp-53", "truth", "short-name", "cache"),
    (HERE, Fault.CACHE_DOWN): at((HERE,), "cache"),
    (HERE, Fault.WRONG_SEARCH_LIST): at((HERE,), "short-name"),
    (HERE, Fault.KUBELET_PORT_BLOCKED): {"control-plane kubelet"},
    ("cloud", Fault.CERTIFICATE_EXPIRED): at((*SITE, AWAY), "https", "https-large"),
    ("cloud", Fault.CERTIFICATE_FOREIGN): at((*SITE, AWAY), "https", "https-large"),
}


@pytest.fixture
def mended(cluster: MachinesCluster) -> Iterator[MachinesCluster]:
    """The lab, with all sites and the cloud mended afterwards."""
    yield cluster
    for name in (HERE, "fra1", "ams1", "cloud"):
        cluster.mend_host(name)


@pytest.mark.parametrize(("subject", "fault"), CASES, ids=[" ".join(case) for case in CASES])
def test_it_breaks_what_it_says_and_mending_mends(mended: MachinesCluster, subject: str, fault: Fault) -> None:
    mended.break_host(subject, fault)
    until_failing(mended, CASES[subject, fault])
    told = lifecycle.status(mended.folder)
    noted = {row["name"]: row["fault"] for row in (*told["hosts"], *told["sites"], told["cloud"]) if row["fault"]}
    assert noted == {subject: fault}
    mended.mend_host(subject, fault)
    until_failing(mended, set())


def test_two_sites_are_mended_one_by_one(mended: MachinesCluster) -> None:
    for site in ("fra1", "ams1"):
        mended.break_host(site, Fault.MTU_LOWERED)
        mended.break_host(site, Fault.UDP_53_BLOCKED)
    mended.mend_host("fra1")
    until_failing(mended, at((AWAY,), "cloud-large", "https-large", "udp-53"))


def test_a_certificate_is_wrong_in_one_way_or_in_both(mended: MachinesCluster) -> None:
    look = f"{https(intranet.CLOUD_NAME, intranet.cloud_address(mended.network))} 2>&1; true"
    mended.break_host("cloud", Fault.CERTIFICATE_EXPIRED)
    assert "certificate has expired" in mended.shell(HERE, look)
    mended.break_host("cloud", Fault.CERTIFICATE_FOREIGN)
    assert "unable to get local issuer certificate" in mended.shell(HERE, look)
    mended.mend_host("cloud", Fault.CERTIFICATE_FOREIGN)
    assert "certificate has expired" in mended.shell(HERE, look)
    mended.mend_host("cloud")
    assert mended.shell(HERE, look) == "intranet"


def heard(cluster: MachinesCluster, meanwhile: Callable[[], None]) -> int:
    """How many bytes the cloud's SSH server answers on a connection that was open before something happened, up to 400."""
    script = f"""exec 3<>/dev/tcp/{cluster.network.cloud_node}/22
head -c 4 <&3 >/dev/null
echo open > /run/heard
until [ -e /run/happened ]; do sleep 0.05; done
echo SSH-2.0-probe >&3
timeout 2 head -c 400 <&3 | wc -c > /run/heard
"""
    begin = f"rm -f /run/heard /run/happened; systemd-run --quiet bash -c {shlex.quote(script)}"
    cluster.shell(BESIDE, f"{begin}; until grep -qs open /run/heard; do sleep 0.05; done", timeout_s=20)
    meanwhile()
    ended = "touch /run/happened; until grep -qs '^[0-9]' /run/heard; do sleep 0.05; done; cat /run/heard"
    return int(cluster.shell(BESIDE, ended, timeout_s=20))


def test_one_way_ends_what_is_open(mended: MachinesCluster) -> None:
    assert heard(mended, lambda: None) == 400
    assert heard(mended, lambda: mended.break_host("fra1", Fault.ONE_WAY)) < 100, "the greeting that was sent before"


def test_a_host_that_is_no_node_has_no_cache_to_lose(mended: MachinesCluster) -> None:
    with pytest.raises(lifecycle.LabError, match="there is no DNS cache on fra1-n03"):
        mended.break_host(BESIDE, Fault.CACHE_DOWN)
