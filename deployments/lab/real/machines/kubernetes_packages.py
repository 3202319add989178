"""Kubernetes as Debian packages, in an apt repository: what a site's mirror has, in two minor versions.

`kubelet`, `kubeadm` and `kubectl` are packed as the Kubernetes project packs them: program, systemd unit, kubeadm's
drop-in. Nothing is compressed, because it is made and unpacked on one machine.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from poolkeeper.deployments.lab.real.building import Say, Unavailable, built, say_on_stderr
from poolkeeper.deployments.lab.real.pins import EARLIER_KUBERNETES, KUBERNETES, Module

NAMES = ("kubelet", "kubeadm", "kubectl")
REVISION = "1.1"
"""Behind each version, as in the project's own packages: `1.36.3-1.1`."""
_ARCHITECTURE = "amd64"

_KUBELET_UNIT = """\
[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=2

[Install]
WantedBy=multi-user.target
"""
_KUBEADM_DROP_IN = """\
[Service]
Environment="KUBELET_BOOTSTRAP_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf"
Environment="KUBELET_KUBECONFIG_ARGS=--kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_BOOTSTRAP_ARGS $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS \\
  $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"""
_FILES: Mapping[str, Mapping[str, str]] = {
    "kubelet": {"usr/lib/systemd/system/kubelet.service": _KUBELET_UNIT},
    "kubeadm": {"usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": _KUBEADM_DROP_IN},
    "kubectl": {},
}
_DEPENDS = {"kubelet": "iptables, iproute2, mount, util-linux, ethtool, conntrack", "kubeadm": "kubelet", "kubectl": ""}
_AFTER_INSTALL = """\
#!/bin/sh
set -e
systemctl daemon-reload >/dev/null 2>&1 || true
if [ "$1" = configure ] && [ -z "$2" ]; then systemctl enable kubelet >/dev/null 2>&1 || true; fi
"""


@dataclass(frozen=True, slots=True)
class Package:
    """One package of one version."""

    name: str
    version: str
    """Debian's, such as `1.36.3-1.1`."""
    program: Path

    @property
    def file_name(self) -> str:
        return f"{self.name}_{self.version}_{_ARCHITECTURE}.deb"

    @property
    def control(self) -> str:
        """The package's description as dpkg wants it."""
        lines = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": _ARCHITECTURE,
            "Maintainer": "poolkeeper's practice world <lab@localhost>",
            "Installed-Size": str(self.program.stat().st_size // 1024),
            "Depends": _DEPENDS[self.name],
            "Section": "misc",
            "Priority": "optional",
            "Description": f"{self.name} for machines of poolkeeper's practice world",
        }
        return "".join(f"{key}: {value}\n" for key, value in lines.items() if value)


def apt_repository(folder: Path, *, say: Say = say_on_stderr) -> None:
    """Fill a folder with packages and their index. Raises Unavailable."""
    folder.mkdir(parents=True)
    packages = [
        Package(name, packaged_version(module), program)
        for module in (EARLIER_KUBERNETES, KUBERNETES)
        for name, program in built(module, *NAMES, say=say).items()
    ]
    (folder / "Packages").write_text("\n".join(_pack(package, folder) for package in packages))


def packaged_version(module: Module) -> str:
    """How a module's packages are versioned."""
    return f"{module.version.removeprefix('v')}-{REVISION}"


def _pack(package: Package, repository: Path) -> str:
    """Make one package; answers its stanza for the index."""
    target = repository / package.file_name
    with tempfile.TemporaryDirectory(dir=repository) as name:
        tree = Path(name)
        tree.chmod(0o755)
        for path, text in {**_FILES[package.name], "DEBIAN/control": package.control}.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        if package.name == "kubelet":
            (tree / "DEBIAN/postinst").write_text(_AFTER_INSTALL)
            (tree / "DEBIAN/postinst").chmod(0o755)
        (tree / "usr/bin").mkdir(parents=True)
        (tree / "usr/bin" / package.name).hardlink_to(package.program)
        return packed(tree, target)


def packed(tree: Path, target: Path) -> str:
    """Make a package of a tree with its DEBIAN folder; answers its stanza for the index. Raises Unavailable."""
    command = ["dpkg-deb", "--build", "--root-owner-group", "-Znone", str(tree), str(target)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if told.returncode != 0:
        raise Unavailable(f"{target.name} could not be packed: {told.stderr.strip()[-300:]}")
    with target.open("rb") as made:
        digest = hashlib.file_digest(made, "sha256").hexdigest()
    control = (tree / "DEBIAN/control").read_text()
    return f"{control}Filename: ./{target.name}\nSize: {target.stat().st_size}\nSHA256: {digest}\n"
