"""Any conformant cluster that hosts join with `kubeadm join`; only the cluster's own API is called.

Each join has its own bootstrap token. The run that made it revokes it when the join has ended; the token of a killed
run expires a little after the join's time limit. A resumed run must not revoke it: the unit `poolkeeper-join` may still
run on the host with that token, and cannot get another one. The invariant: a token has a random id that only its run
knows, and no run looks for tokens of other runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

from poolkeeper.tasks.cluster import ApiError, ClusterApi, ClusterUnreachable, NotFound, connect
from poolkeeper.tasks.cluster.bootstrap import (
    BootstrapToken,
    ClusterInfo,
    ClusterInfoUnusable,
    create_token,
    public_key_hashes,
    read_cluster_info,
    require_configuration,
    revoke_token,
    wait_signed,
)
from poolkeeper.tasks.fleet.model import Cluster, Host, KubeadmProvider, Pool
from poolkeeper.tasks.outcomes import Checked, Evidence, Finding, Secret, Severity, Subject, Verdict
from poolkeeper.tasks.provider import kubeadm_scripts as scripts
from poolkeeper.tasks.provider.interface import OutcomeUnknown, ProviderError
from poolkeeper.tasks.provider.upgrading import OnHost, UpgradeRule, Way

TOKEN_MARGIN = timedelta(minutes=5)
"""From making a token to the start of the unit that uses it; the unit itself may run for the join's timeout."""
SIGNED_WITHIN_S = 20.0
CONFIGURATIONS = ("kubeadm-config", "kubelet-config")
"""ConfigMaps in kube-system that `kubeadm join` and `kubeadm upgrade node` read."""
_RIGHTS = "`kubectl apply -f deployments/kubernetes/kubeadm.yaml`"


class Kubeadm:
    """One cluster that hosts join by kubeadm. Make it with `open_kubeadm`.

    signed_within_s: how long the control plane may take to sign `cluster-info` for a new token
    """

    def __init__(
        self, cluster: Cluster, settings: KubeadmProvider, api: ClusterApi, *, signed_within_s: float = SIGNED_WITHIN_S
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._api = api
        self._signed_within_s = signed_within_s
        self._tokens: dict[str, BootstrapToken] = {}

    async def check_pool(self, pool: Pool) -> tuple[Checked, ...]:
        """Whether versions fit, and what joining hosts read is in the cluster. Raises ProviderError.

        Only a token shows whether `cluster-info` is signed: `join_script` waits for that.
        """
        with _as_provider_error():
            api_version = await self._api_version()
            cluster = Subject("cluster", self._cluster.name)
            return (
                _checked(
                    "provider.version.skew",
                    Subject("pool", pool.name),
                    skew_between(pool.kubernetes_version, api_version),
                    "a kubelet at most three minors older than the API server, never newer",
                    "Correct kubernetes_version of the pool in the fleet file.",
                ),
                await self._check_cluster_info(cluster),
                *[await self._check_configuration(cluster, name) for name in CONFIGURATIONS],
            )

    async def _check_cluster_info(self, cluster: Subject) -> Checked:
        check, expected = "provider.cluster-info", "kube-public/cluster-info with the kubeconfig's own authority"
        try:
            await self._cluster_info()
        except (ClusterInfoUnusable, ApiError) as error:
            if isinstance(error, ApiError) and error.status != 403:
                raise
            return _checked(check, cluster, error.observed, expected, _or_rights(error, error.next_step))
        return Checked(check, Verdict.OK, cluster)

    async def _check_configuration(self, cluster: Subject, name: str) -> Checked:
        check, expected = f"provider.{name}", f"ConfigMap kube-system/{name}, as `kubeadm init` writes it"
        try:
            await require_configuration(self._api, name)
        except ApiError as error:
            if not isinstance(error, NotFound) and error.status != 403:
                raise
            what = "there is none" if isinstance(error, NotFound) else "it may not be read"
            next_step = "Run `kubeadm init phase upload-config all` on a control-plane host."
            return _checked(check, cluster, what, expected, _or_rights(error, next_step))
        return Checked(check, Verdict.OK, cluster)

    async def join_script(self, host: Host, arch: str) -> Secret:
        """Make a token, wait until the cluster has signed for it, and return the script. Raises ProviderError.

        `arch` is not used: apt knows the host's.
        """
        await self.join_ended(host)  # a token whose script was never started
        with _as_provider_error():
            api_version = await self._api_version()
            if wrong := skew_between(host.pool.kubernetes_version, api_version):
                raise ProviderError(wrong, next_step="Correct kubernetes_version of the pool in the fleet file.")
            info = await self._cluster_info()
            lives = timedelta(seconds=host.pool.join.timeout_s) + TOKEN_MARGIN
            token = self._tokens[host.name] = await create_token(self._api, host.name, lives=lives)
            try:
                await wait_signed(self._api, token, timeout_s=self._signed_within_s)
            except (ClusterInfoUnusable, ApiError, ClusterUnreachable):
                await self.join_ended(host)
                raise
        both = token.text.reveal()
        discovery = scripts.Discovery(info.endpoint, both, tuple(info.authorities))
        text = scripts.join_script(host, self._settings, discovery, api_minor=minor_of(api_version))
        return Secret(text, secret_words=(both, both.partition(".")[2]))

    async def join_ended(self, host: Host) -> None:
        """Revoke the token of a host's join, if this run has made one. Raises ProviderError."""
        token = self._tokens.get(host.name)
        if token is None:
            return
        try:
            with _as_provider_error():
                await revoke_token(self._api, token)
            del self._tokens[host.name]
        except ProviderError as error:
            raise ProviderError(
                f"bootstrap token {token.id} is not revoked and expires at {token.expires_at.isoformat()}:"
                f" {error.observed}",
                next_step=error.next_step,
                status=error.status,
            ) from None

    def leave_script(self, host: Host) -> Secret:
        """`kubeadm reset`, or nothing on a host without kubeadm."""
        return Secret(scripts.leave_script(self._settings), secret_words=())

    async def lists_node(self, host: Host) -> bool:
        """Never: there is no list beside the Node objects."""
        return False

    async def remove_node(self, host: Host) -> str:
        """Nothing."""
        return ""

    @property
    def upgrade_rule(self) -> UpgradeRule:
        """Kubernetes' rule for the kubelet, and kubeadm's own, which upgrades a node by one minor at most."""
        return UpgradeRule(scripts.MAX_MINORS_BEHIND, one_minor_steps=True, source=scripts.UPGRADE_SOURCE)

    @property
    def upgrades_one_by_one(self) -> bool:
        """False: hosts are upgraded independently of each other."""
        return False

    @property
    def upgrade_packages(self) -> tuple[str, ...]:
        """The kubelet's, kubeadm's, and kubectl's where it is installed."""
        return scripts.PACKAGES

    async def newest_patch(self, minor: str) -> str | None:
        """None: the hosts' package sources decide."""
        return None

    def upgrade_way(self, host: Host, version: str, packages: Mapping[str, str]) -> Way:
        """A script that installs the packages and runs `kubeadm upgrade node`."""
        return OnHost(Secret(scripts.upgrade_script(self._settings, version, packages), secret_words=()))

    async def _api_version(self) -> str:
        version = str((await self._api.request("GET", "/version")).get("gitVersion", ""))
        minor_of(version)
        return version

    async def _cluster_info(self) -> ClusterInfo:
        """Raises ClusterInfoUnusable, also where its authority is not the kubeconfig's."""
        info = await read_cluster_info(self._api)
        if self._api.ca_pem is None:
            raise ClusterInfoUnusable(
                f"the kubeconfig of cluster {self._cluster.name} has no certificate authority to compare"
                " kube-public/cluster-info with",
                next_step="Put certificate-authority-data into it.",
            )
        if not info.authorities <= public_key_hashes(self._api.ca_pem):
            raise ClusterInfoUnusable(
                "the certificate authority in kube-public/cluster-info is not the one in the kubeconfig of cluster"
                f" {self._cluster.name}, so hosts would trust another cluster than we do",
                next_step="Find out which is right; after a change of the authority both need the new one.",
            )
        return info


@asynccontextmanager
async def open_kubeadm(cluster: Cluster, settings: KubeadmProvider, kubeconfig: Secret) -> AsyncIterator[Kubeadm]:
    """The provider with its own connection, closed at the end. Raises ClusterUnreachable."""
    async with connect(cluster, kubeconfig) as api:
        yield Kubeadm(cluster, settings, api)


def minor_of(version: str) -> int:
    """36 of `v1.36.3`. Raises ProviderError for a text that is not a version of Kubernetes 1."""
    major, _, rest = version.removeprefix("v").partition(".")
    minor = rest.split(".")[0]
    if major != "1" or not minor.isdecimal():
        raise ProviderError(
            f"the API server reports the version `{version}`, which is not one of Kubernetes",
            next_step="See which server version `kubectl version` shows.",
        )
    return int(minor)


def skew_between(kubelet: str | None, api_server: str) -> str:
    """Why that kubelet version does not fit the API server, as a clause; empty: it fits. Pure.

    kubernetes.io, "Version Skew Policy". kubelet: None: the API server's own minor is installed.
    """
    if kubelet is None:
        return ""
    behind = minor_of(api_server) - minor_of(kubelet)
    if behind < 0:
        return f"kubernetes_version {kubelet} is newer than the API server's {api_server}"
    if behind > scripts.MAX_MINORS_BEHIND:
        return f"kubernetes_version {kubelet} is {behind} minors older than the API server's {api_server}"
    return ""


def _checked(check: str, subject: Subject, wrong: str, expected: str, next_step: str) -> Checked:
    if not wrong:
        return Checked(check, Verdict.OK, subject)
    evidence = Evidence(wrong, expected, "Kubernetes API")
    return Checked(check, Verdict.FAIL, subject, Finding(check, Severity.BLOCKER, subject, evidence, next_step))


def _or_rights(error: Exception, next_step: str) -> str:
    """The next step: to give the missing right, if that is the cause."""
    missing = isinstance(error, ApiError) and error.missing_right
    return f"Give poolkeeper's user its rights: {_RIGHTS}." if missing else next_step


@contextmanager
def _as_provider_error() -> Iterator[None]:
    """Turns errors of the cluster's API into ProviderError."""
    try:
        yield
    except ClusterInfoUnusable as error:
        raise ProviderError(error.observed, next_step=error.next_step) from None
    except ClusterUnreachable as error:
        raise OutcomeUnknown(error.observed, next_step=error.next_step) from None
    except ApiError as error:
        next_step = _or_rights(error, error.next_step)
        raise ProviderError(error.observed, next_step=next_step, code=error.reason, status=error.status) from None
