"""Command lines of the control plane's programs, as pure functions of where everything is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from poolkeeper.deployments.lab.layout import Network
from poolkeeper.deployments.lab.real.credentials import CONTROLLER_MANAGER, SCHEDULER, Credentials

NODE_GRACE_S = 3600
"""How long a node may be silent. Nodes that a test only writes down never report, and must stay Ready."""
MACHINE_GRACE_S = 20
"""The same of machines; Kubernetes' default is 50."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything of one control plane is."""

    programs: Mapping[str, Path]
    folder: Path
    credentials: Credentials
    network: Network
    ports: Mapping[str, int]
    """Program -> its port; `etcd-peers` besides."""
    joinable: bool = False
    """Whether machines join it."""

    @property
    def address(self) -> str:
        """Where all of it listens."""
        return self.network.api

    def url(self, program: str) -> str:
        """Where a program listens."""
        return f"https://{self.address}:{self.ports[program]}"


def etcd(places: Places) -> list[str]:
    """One member; it may lose its data with the machine, which is not kept anyway."""
    peers = f"https://{places.address}:{places.ports['etcd-peers']}"
    return _command(
        places,
        "etcd",
        name="lab",
        data_dir=places.folder / "etcd",
        unsafe_no_fsync="true",
        log_level="warn",
        listen_client_urls=places.url("etcd"),
        advertise_client_urls=places.url("etcd"),
        listen_peer_urls=peers,
        initial_advertise_peer_urls=peers,
        initial_cluster=f"lab={peers}",
        client_cert_auth="true",
        trusted_ca_file=places.credentials.path("etcd-ca.crt"),
        **_pair(places, "etcd", "cert_file", "key_file"),
        # etcd's own JSON gateway shows this to the member behind it
        **_pair(places, "etcd-client", "client_cert_file", "client_key_file"),
        peer_client_cert_auth="true",
        peer_trusted_ca_file=places.credentials.path("etcd-ca.crt"),
        **_pair(places, "etcd", "peer_cert_file", "peer_key_file"),
    )


def api_server(places: Places) -> list[str]:
    """kube-apiserver as kubeadm sets it up, on loopback."""
    credentials = places.credentials
    service_accounts, service_accounts_key = credentials.pair("service-accounts")
    return _command(
        places,
        "kube-apiserver",
        bind_address=places.address,
        advertise_address=places.address,
        secure_port=places.ports["kube-apiserver"],
        # the API refuses loopback addresses as endpoints: there its own Service stays without any
        endpoint_reconciler_type="lease" if places.joinable else "none",
        etcd_servers=places.url("etcd"),
        etcd_cafile=credentials.path("etcd-ca.crt"),
        **_pair(places, "etcd-client", "etcd_certfile", "etcd_keyfile"),
        **_pair(places, "server", "tls_cert_file", "tls_private_key_file"),
        client_ca_file=credentials.path("ca.crt"),
        token_auth_file=credentials.path("tokens.csv"),
        enable_bootstrap_token_auth="true",
        authorization_mode="Node,RBAC",
        enable_admission_plugins="NodeRestriction",
        allow_privileged="true",
        **_pair(places, "kubelet-client", "kubelet_client_certificate", "kubelet_client_key"),
        kubelet_preferred_address_types="InternalIP,ExternalIP,Hostname",  # names of nodes are in no DNS
        service_account_issuer="https://kubernetes.default.svc",
        service_account_key_file=service_accounts,
        service_account_signing_key_file=service_accounts_key,
        service_cluster_ip_range=places.network.services,
        profiling="false",
    )


def controller_manager(places: Places) -> list[str]:
    """All controllers, and those that let machines join with a bootstrap token."""
    credentials = places.credentials
    grace_s = MACHINE_GRACE_S if places.joinable else NODE_GRACE_S
    return _command(
        places,
        "kube-controller-manager",
        **_client(places, "kube-controller-manager", CONTROLLER_MANAGER),
        controllers="*,bootstrap-signer-controller,token-cleaner-controller",
        use_service_account_credentials="true",
        service_account_private_key_file=credentials.pair("service-accounts")[1],
        root_ca_file=credentials.path("ca.crt"),
        cluster_signing_cert_file=credentials.path("ca.crt"),
        cluster_signing_key_file=credentials.path("ca.key"),
        node_monitor_period="1s",
        node_monitor_grace_period=f"{grace_s}s",
        node_startup_grace_period=f"{grace_s}s",
    )


def scheduler(places: Places) -> list[str]:
    """The default scheduler."""
    return _command(places, "kube-scheduler", **_client(places, "kube-scheduler", SCHEDULER))


def _client(places: Places, program: str, user: str) -> dict[str, object]:
    """What controller-manager and scheduler have in common: one of each, so nobody is elected."""
    kubeconfig = places.credentials.kubeconfig(places.url("kube-apiserver"), user)
    return {
        "kubeconfig": kubeconfig,
        "authentication_kubeconfig": kubeconfig,
        "authorization_kubeconfig": kubeconfig,
        # there is no front proxy to be told of
        "authentication_skip_lookup": "true",
        "bind_address": places.address,
        "secure_port": places.ports[program],
        "leader_elect": "false",
        "profiling": "false",
        **_pair(places, "server", "tls_cert_file", "tls_private_key_file"),
    }


def _pair(places: Places, name: str, certificate: str, key: str) -> dict[str, object]:
    paths = places.credentials.pair(name)
    return {certificate: paths[0], key: paths[1]}


def _command(places: Places, program: str, **flags: object) -> list[str]:
    return [str(places.programs[program]), *(f"--{name.replace('_', '-')}={value}" for name, value in flags.items())]
