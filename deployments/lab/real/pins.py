"""Which programs there are and what they are built from. Versions are in `modules/*/go.mod` and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_MODULES = Path(__file__).parent / "modules"
_KUBERNETES_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
"""Where Kubernetes' own build writes its version; without it the programs call themselves v0.0.0-master."""

GoVersion = tuple[int, int, int]


@dataclass(frozen=True)
class Module:
    """One pinned Go module."""

    folder: Path
    """Has go.mod and go.sum, and perhaps a program of the lab's own."""
    source: str
    """Path of the required module that says the version."""
    packages: Mapping[str, str]
    """Program -> its main package."""

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def go_mod(self) -> str:
        """The text of go.mod."""
        return (self.folder / "go.mod").read_text(encoding="utf-8")

    @cached_property
    def version(self) -> str:
        """Version of the programs, such as `v1.36.3`."""
        return self._only(rf"^(?:require)?\s+{re.escape(self.source)} (v\S+)")

    @cached_property
    def needs_go(self) -> GoVersion:
        """The oldest Go that builds it."""
        return go_version(self._only(r"^go (\S+)"))

    @cached_property
    def pinned_bytes(self) -> bytes:
        """What decides every byte of the source."""
        return b"".join(path.read_bytes() for path in sorted(self.folder.iterdir()))

    @property
    def linker_flags(self) -> str:
        """Stripped, and with the version where the program would not know it otherwise."""
        flags = ["-s", "-w"]
        if self.source == "k8s.io/kubernetes":
            major, minor, _ = self.version.removeprefix("v").split(".", 2)
            told = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
            for package in _KUBERNETES_VERSION_PACKAGES:
                flags += [f"-X {package}.{field}={value}" for field, value in told.items()]
        return " ".join(flags)

    def _only(self, pattern: str) -> str:
        found = re.findall(pattern, self.go_mod, re.MULTILINE)
        if len(found) != 1:
            raise ValueError(f"{self.folder / 'go.mod'} has {len(found)} lines like {pattern}")
        return str(found[0])


def go_version(text: str) -> GoVersion:
    """`1.26`, `1.26.0` or `go1.26.8` as numbers. Raises ValueError."""
    match = re.match(r"(?:go)?(\d+)\.(\d+)(?:\.(\d+))?", text)
    if match is None:
        raise ValueError(f"{text!r} is no version of Go")
    major, minor, patch = match.groups(default="0")
    return int(major), int(minor), int(patch)


def _commands(*names: str) -> dict[str, str]:
    return {name: f"k8s.io/kubernetes/cmd/{name}" for name in names}


ETCD = Module(_MODULES / "etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"})
KUBERNETES = Module(
    _MODULES / "kubernetes",
    "k8s.io/kubernetes",
    _commands(
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kubeadm",
        "kubectl",
        "kube-proxy",
        "kubemark",
    ),
)
EARLIER_KUBERNETES = Module(
    _MODULES / "kubernetes-1.35", "k8s.io/kubernetes", _commands("kubelet", "kubeadm", "kubectl")
)
"""The minor version before, for skew and upgrades that are true."""
COREDNS = Module(_MODULES / "coredns", "github.com/coredns/coredns", {"coredns": "poolkeeper/coredns"})
"""With the plugins that the lab uses, see its main.go."""

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
HOLLOW_NODES = ("kubemark",)
MACHINES = (*CONTROL_PLANE, "kubeadm", "kubelet", "kube-proxy", "coredns")


def module_of(program: str) -> Module:
    """The module that a program comes from: of Kubernetes, the later version. Raises KeyError."""
    for module in (ETCD, KUBERNETES, COREDNS):
        if program in module.packages:
            return module
    raise KeyError(program)
