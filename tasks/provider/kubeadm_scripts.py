"""What a host runs to join a cluster by kubeadm, to leave it, and to follow its upgrade. Pure.

POSIX shell. Every value goes in quoted; the token is in a file that only root can read, never on a command line. A
script that stops has the reason in its last line. What kubeadm leaves to the operator (kernel settings, the set-up of
the container runtime) is left to the operator here, too; preflight checks it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poolkeeper.tasks.cluster.nodes import POOL_ID_LABEL, POOL_TYPE_LABEL
from poolkeeper.tasks.fleet.model import Host, KubeadmProvider
from poolkeeper.tasks.packages.apt.installing import INSTALL
from poolkeeper.tasks.packages.apt.shell import APT, pins

API_VERSION = "kubeadm.k8s.io/v1beta4"
FIRST_KUBEADM_MINOR = 31
"""The first that reads this version of its configuration."""
MAX_MINORS_BEHIND = 3
"""How many minors a kubelet may be older than the API server (kubernetes.io, "Version Skew Policy")."""
PACKAGES = ("kubelet", "kubeadm", "kubectl")
UPGRADE_SOURCE = (
    "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/create-cluster-kubeadm/#version-skew-policy"
)
"""kubeadm may be of the minor that the node was last upgraded by, or of the next one."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """By what a host knows the cluster that it joins."""

    endpoint: str
    """`host:port` of the API server."""
    token: str
    authorities: tuple[str, ...]
    """`sha256:` hashes of the cluster's certificate authorities."""


def join_configuration(host: Host, settings: KubeadmProvider, discovery: Discovery) -> Mapping[str, Any]:
    """kubeadm's JoinConfiguration (kubernetes.io, "kubeadm Configuration (v1beta4)").

    A kubelet may not label itself within kubernetes.io (NodeRestriction); the labels by which poolkeeper knows its
    pools and the user's own machines are outside of it.
    """
    labels = {POOL_ID_LABEL: host.pool.nodepool_id, POOL_TYPE_LABEL: "hybridcloud"}
    arguments = {"node-labels": ",".join(f"{key}={value}" for key, value in labels.items())}
    if host.node_address is not None:
        arguments["node-ip"] = str(host.node_address)
    return {
        "apiVersion": API_VERSION,
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "token": discovery.token,
                "apiServerEndpoint": discovery.endpoint,
                "caCertHashes": sorted(discovery.authorities),
            }
        },
        "nodeRegistration": {
            "name": host.node_name,
            "criSocket": settings.cri_socket,
            "taints": [{"key": key, "value": value, "effect": effect} for key, value, effect in settings.taints],
            "kubeletExtraArgs": [{"name": name, "value": value} for name, value in arguments.items()],
            "ignorePreflightErrors": list(settings.ignore_preflight_errors),
        },
    }


def packages_of(version: str) -> str:
    """How apt is asked for a Kubernetes version: `1.36` is its newest patch, `1.36.3` its newest package."""
    version = version.removeprefix("v")
    if re.fullmatch(r"\d+\.\d+", version):
        return f"{version}.*"
    return f"{version}-*" if re.fullmatch(r"\d+\.\d+\.\d+", version) else version


_HEADER = """\
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
R=${POOLKEEPER_ROOT-}
have() { command -v "$1" >/dev/null 2>&1; }
stop() { printf '%s\\n' "$1" >&2; exit 1; }
version_of() { # kubelet or kubeadm: 1.36.3
  case $1 in
    kubelet) found=$(kubelet --version 2>/dev/null);;
    kubeadm) found=$(kubeadm version -o short 2>/dev/null);;
  esac
  found=${found##* }
  printf '%s' "${found#v}"
}
minor_of() { # 1.36.3: 36; nothing where it is no version
  rest=${1#1.}
  rest=${rest%%[!0-9]*}
  case $1 in 1.*) printf '%s' "$rest";; esac
}
is() { # whether a version is the one that is asked for, which may leave out patch or build; not one before its release
  case $1 in *-alpha*|*-beta*|*-rc*) [ "$1" = "$2" ]; return;; esac
  case $1 in "$2"|"$2"[-+]*|"$2".*) return 0;; esac
  return 1
}
"""

_JOIN = """\
fits() { # stops with the reason if the installed programs cannot join this cluster
  if have kubeadm; then
    version=$(version_of kubeadm) minor=$(minor_of "$(version_of kubeadm)")
    [ -n "$minor" ] || stop 'kubeadm does not report its version: see what `kubeadm version` says on the host'
    [ "$minor" -le "$api_minor" ] ||
      stop "kubeadm $version is newer than the API server (1.$api_minor): install kubeadm 1.$api_minor"
    [ "$minor" -ge "$first_kubeadm_minor" ] ||
      stop "kubeadm $version is too old: install kubeadm 1.$api_minor (1.$first_kubeadm_minor at least)"
  fi
  if have kubelet && [ "$1" = all ]; then
    version=$(version_of kubelet) minor=$(minor_of "$(version_of kubelet)")
    [ -n "$minor" ] || stop 'kubelet does not report its version: see what `kubelet --version` says on the host'
    [ "$minor" -le "$api_minor" ] ||
      stop "kubelet $version is newer than the API server (1.$api_minor): install kubelet 1.$api_minor"
    [ "$minor" -ge "$oldest_minor" ] ||
      stop "kubelet $version is more than three minors behind the API server (1.$api_minor): install a newer one"
  fi
}

set --
kubelet=all
have kubelet || set -- "kubelet=$packages"
if have kubelet && [ -n "$declared" ] && ! is "$(version_of kubelet)" "$declared"; then
  kubelet=replaced
  set -- "kubelet=$packages"
fi
have kubeadm || set -- "$@" "kubeadm=$packages"
case $socket in */containerd/containerd.sock) have containerd || set -- "$@" containerd;; esac
# checked before anything is touched
fits "$kubelet"
unheld='apt-mark could not hold kubelet and kubeadm at their version'
hold_again || stop "$unheld"  # left by a join that was killed after it had installed them
if [ $# -gt 0 ]; then
  wanted=$*
  have apt-get || stop "there is no apt-get to install $wanted with: install that by hand, then start again"
  # after a failed update, an installation uses old lists, or does nothing and succeeds
  apt -o APT::Update::Error-Mode=any update ||
    stop 'apt-get update failed, so nothing was installed: correct what it reports (it uses the sources of the host)'
  # the pool's version may be older than the installed one; apt downgrades only these packages
  [ "$kubelet" = all ] || set -- --allow-downgrades "$@"
  hold_later kubelet kubeadm || stop "$unheld"
  install_exactly "$@" ||
    stop "apt-get could not install $wanted: see its lines above, and whether the host's sources have that version\\
 (apt-cache madison kubelet)"
  fits all
fi
have kubelet && have kubeadm || stop 'kubelet and kubeadm are installed and not on the PATH of root'

umask 077
own=$R/run/poolkeeper/kubeadm
rm -rf "$own"
trap 'rm -rf "$own"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$own" && printf '%s\\n' "$configuration" > "$own/join.yaml" || stop 'there is no free space below /run'
umask 022
# its package makes it, and an undoing removes it
mkdir -p "$R/etc/kubernetes/manifests"
if have systemctl; then
  # one that runs without being enabled is started by another unit, such as docker
  case $socket in */containerd/containerd.sock)
    systemctl is-active --quiet containerd || systemctl enable --now containerd;;
  esac
  systemctl enable kubelet
fi
{ kubeadm join --config "$own/join.yaml" 2>&1; echo $? > "$own/status"; } | tee "$own/output"
status=1
read -r status < "$own/status"
[ "$status" = 0 ] && exit 0
errors=$(grep -e '\\[ERROR ' -e '^error' "$own/output" | while read -r line; do printf '%s; ' "$line"; done)
stop "kubeadm join ended with $status: ${errors%; }"
"""

_LEAVE = """\
rm -rf "$R/run/poolkeeper/kubeadm"
if ! have kubeadm; then
  echo 'there is no kubeadm, so there is nothing to reset'
  exit 0
fi
kubeadm reset --force --cri-socket "$socket" || stop 'kubeadm reset failed: see its lines above'
# kube-proxy's own tables, by name: a kube-proxy that starts with old ones may serve no address for a long time
if have nft; then
  for family in ip ip6; do nft delete table "$family" kube-proxy 2>/dev/null; done
fi
exit 0
"""

_UPGRADE = """\
set -f
pin_of() { # the exact version that a package gets; no output: it keeps its own
  for each in $pins; do case $each in "$1="*) printf '%s' "$each";; esac; done
}
for program in kubeadm kubelet; do
  have "$program" || stop "there is no $program: install version $declared first"
done
# in the documented order: kubeadm, the node's configuration, and only then the kubelet that reads it
if pin=$(pin_of kubeadm) && [ -n "$pin" ]; then
  install_exactly "$pin" || stop "apt-get could not install $pin: see its lines above"
fi
is "$(version_of kubeadm)" "$declared" ||
  stop "kubeadm is $(version_of kubeadm), not $declared: see which one is first on the PATH of root (type kubeadm)"
set -- upgrade node
[ -z "$ignored" ] || set -- "$@" "--ignore-preflight-errors=$ignored"
kubeadm "$@" || stop 'kubeadm upgrade node failed: see its lines above'
set --
for name in kubelet kubectl; do
  pin=$(pin_of "$name")
  [ -z "$pin" ] || set -- "$@" "$pin"
done
if [ $# -gt 0 ]; then
  install_exactly "$@" || stop "apt-get could not install $*: see its lines above"
fi
is "$(version_of kubelet)" "$declared" ||
  stop "kubelet is $(version_of kubelet), not $declared: see which one is first on the PATH of root (type kubelet)"
systemctl daemon-reload && systemctl restart kubelet || stop 'kubelet could not be restarted: journalctl -u kubelet'
"""


def join_script(host: Host, settings: KubeadmProvider, discovery: Discovery, *, api_minor: int) -> str:
    """Install what is missing, write the configuration, join."""
    declared = (host.pool.kubernetes_version or "").removeprefix("v")
    return _script(
        APT + INSTALL + _JOIN,
        configuration=json.dumps(join_configuration(host, settings, discovery)),
        socket=settings.cri_socket,
        declared=declared,
        packages=packages_of(declared or f"1.{api_minor}"),
        api_minor=api_minor,
        oldest_minor=api_minor - MAX_MINORS_BEHIND,
        first_kubeadm_minor=FIRST_KUBEADM_MINOR,
    )


def leave_script(settings: KubeadmProvider) -> str:
    """Take off a host what kubeadm put there.

    kubeadm leaves CNI configuration and packet filter rules (kubernetes.io, "kubeadm reset"). The first is in the
    record of changes (`tasks.hosts.changes`) where the join brought it; rules may be anyone's, and go with a reboot.
    Only the nftables tables that bear kube-proxy's name are removed.
    """
    return _script(_LEAVE, socket=settings.cri_socket)


def upgrade_script(settings: KubeadmProvider, version: str, packages: Mapping[str, str]) -> str:
    """Bring a drained node to a version (kubernetes.io, "Upgrading Linux nodes"); run again it goes on where it was.

    packages: name -> exact version of those that are installed by it; one that is missing has to be there already
    """
    given = {"declared": version.removeprefix("v"), "ignored": ",".join(settings.ignore_preflight_errors)}
    return _script(APT + INSTALL + _UPGRADE, **given, pins=" ".join(pins(packages)))


def _script(body: str, **values: str | int) -> str:
    given = "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items())
    return _HEADER + given + body
