"""What the site's mirror serves, made once in the cache: packages, and the images of the lab's pods."""

from __future__ import annotations

import hashlib
import inspect
import shutil
import sys
from pathlib import Path

from poolkeeper.deployments.lab.real.building import Say, cache_folder, cache_home, say_on_stderr
from poolkeeper.deployments.lab.real.machines import images, kubernetes_packages, rebuilt_packages
from poolkeeper.deployments.lab.real.machines.base import base_key, base_tree, locked
from poolkeeper.deployments.lab.real.machines.images import Image
from poolkeeper.deployments.lab.real.machines.kubernetes_packages import apt_repository
from poolkeeper.deployments.lab.real.machines.rebuilt_packages import CONTAINER_RUNTIME, rebuilt
from poolkeeper.deployments.lab.real.pins import COREDNS, EARLIER_KUBERNETES, KUBERNETES
from poolkeeper.deployments.lab.real.programs import find

_APPLETS = (
    "cat", "cut", "echo", "grep", "head", "hostname", "httpd", "ip", "kill", "ls", "mkdir", "mktemp", "mv", "nc",
    "nslookup", "ping", "rm", "sed", "sleep", "tail", "test", "touch", "true",
)  # fmt: skip
_PAUSE = "trap 'exit 0' TERM INT; sleep 2147483647 & wait"
_WGET = """\
#!/bin/sh
# wget of Debian 12's busybox crashes on -T: the same limit by other means
limit=900
left=$#
while [ "$left" -gt 0 ]; do
  case $1 in
    -T) limit=$2; shift 2; left=$((left - 2));;
    *) set -- "$@" "$1"; shift; left=$((left - 1));;
  esac
done
exec busybox timeout "$limit" busybox wget "$@"
"""
BUSYBOX_IMAGE = "registry.lab/busybox:1"


def mirror_tree(*, say: Say = say_on_stderr) -> Path:
    """The folder that `mirror` serves: the one in the cache, or made now. Raises Unavailable."""
    done = cache_home() / f"mirror-{_key()}"
    if done.exists():
        return done
    done.parent.mkdir(parents=True, exist_ok=True)
    with locked(done.with_suffix(".lock")):
        if not done.exists():
            part = done.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)  # of one that was killed
            apt_repository(part / "apt", say=say)
            with (part / "apt/Packages").open("a") as index:
                index.write("\n" + rebuilt(base_tree(say=say), CONTAINER_RUNTIME, part / "apt"))
            for image in _images(base_tree(say=say)):
                image.write(part)
            part.rename(done)
    return done


def _images(base: Path) -> tuple[Image, ...]:
    programs = find(["kube-proxy", "coredns"])
    libraries = "lib/x86_64-linux-gnu"
    shell = {
        "bin/busybox": base / "bin/busybox",
        # not busybox's own shell, which runs its own wget whatever is on the PATH
        "bin/sh": base / "usr/bin/dash",
        f"{libraries}/libc.so.6": base / "usr" / libraries / "libc.so.6",
        "lib64/ld-linux-x86-64.so.2": base / "usr" / libraries / "ld-linux-x86-64.so.2",
    }
    applets = {f"bin/{name}": "busybox" for name in _APPLETS}
    # kube-proxy calls `nft`, which it gets with its libraries from the machine, mounted at /usr
    machine = {name: f"usr/{name}" for name in ("lib", "lib64")}
    return (
        Image("busybox", "1", shell, applets, {"bin/wget": _WGET}, ("sh",)),
        Image("pause", "1", shell, applets, command=("sh", "-c", _PAUSE)),
        Image("coredns", COREDNS.version, {"bin/coredns": programs["coredns"]}),
        Image("kube-proxy", KUBERNETES.version, {"bin/kube-proxy": programs["kube-proxy"]}, machine),
    )


def _key() -> str:
    """Another tree for other programs, another system or another way of making it."""
    decisive = [cache_folder(module).name for module in (KUBERNETES, EARLIER_KUBERNETES, COREDNS)]
    sources = [
        inspect.getsource(module) for module in (images, kubernetes_packages, rebuilt_packages, sys.modules[__name__])
    ]
    return hashlib.sha256("\0".join([*decisive, base_key(), *sources]).encode()).hexdigest()[:16]
