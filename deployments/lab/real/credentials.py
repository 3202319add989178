"""Certificates, keys, tokens and kubeconfigs of a real control plane, as files of its folder."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Iterable
from pathlib import Path

from poolkeeper.deployments.lab.kubeconfig import by_certificate, by_token, kubeconfig
from poolkeeper.deployments.lab.kubernetes.certificates import LabCA, load_certificate
from poolkeeper.deployments.lab.layout import Network

MASTERS = "system:masters"
CONTROLLER_MANAGER = "system:kube-controller-manager"
SCHEDULER = "system:kube-scheduler"
_API_SERVER_CLIENT = "kube-apiserver"


class Credentials:
    """Everything by which the parts of one control plane know each other.

    folder: gets all files, readable by their owner only
    network: its `api` is where all of them listen
    """

    def __init__(self, folder: Path, network: Network) -> None:
        folder.mkdir(mode=0o700)
        self._folder = folder
        self.ca, self._etcd_ca = LabCA("poolkeeper-lab"), LabCA("poolkeeper-lab-etcd")
        self.ca.authority.write(self.path("ca.crt"), self.path("ca.key"))
        self._etcd_ca.authority.write(self.path("etcd-ca.crt"), self.path("etcd-ca.key"))
        service = str(network.services.network_address + 1)
        names = (network.api, service, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        self._etcd_ca.server_certificate([network.api]).write(*self.pair("etcd"))
        self._etcd_client = self._etcd_ca.client_certificate(_API_SERVER_CLIENT)
        self._etcd_client.write(*self.pair("etcd-client"))
        self.ca.server_certificate(names).write(*self.pair("server"))
        self.ca.client_certificate(_API_SERVER_CLIENT, [MASTERS]).write(*self.pair("kubelet-client"))
        # only its key pair is used: it signs the tokens of ServiceAccounts
        self.ca.client_certificate("service-accounts").write(*self.pair("service-accounts"))
        self.admin_token = secrets.token_hex(24)
        tokens = self.path("tokens.csv")
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self.admin_token},kubernetes-admin,kubernetes-admin,"{MASTERS}"\n')

    def path(self, name: str) -> Path:
        """A file of the folder."""
        return self._folder / name

    def pair(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of that name."""
        return self.path(f"{name}.crt"), self.path(f"{name}.key")

    def kubeconfig(self, server: str, user: str, groups: Iterable[str] = ()) -> Path:
        """A kubeconfig with a client certificate for a user, as a file."""
        certificate = self.ca.client_certificate(user, groups)
        credential = by_certificate(certificate.certificate_pem, certificate.key_pem)
        return self._write_kubeconfig(server, user, credential)

    def admin_kubeconfig(self, server: str) -> Path:
        """The admin's, with a bearer token."""
        return self._write_kubeconfig(server, "kubernetes-admin", by_token(self.admin_token))

    def _write_kubeconfig(self, server: str, user: str, credential: dict[str, str]) -> Path:
        path = self.path(f"{user.replace(':', '-')}.kubeconfig")
        path.touch(mode=0o600)
        path.write_text(kubeconfig(server, self.ca.certificate_pem, user, credential))
        return path

    def etcd_context(self) -> ssl.SSLContext:
        """TLS of a client of etcd."""
        context = self._etcd_ca.client_context()
        load_certificate(context, self._etcd_client)
        return context
