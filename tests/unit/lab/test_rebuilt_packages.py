"""A package made again of what is installed."""

from __future__ import annotations

from poolkeeper.deployments.lab.real.machines.rebuilt_packages import fields_of

STATUS = """\
Package: containerd
Status: install ok installed
Version: 1.6.20~ds1-1+deb12u3
Depends: runc (>= 0.1.0~), libc6 (>= 2.34)
Conffiles:
 /etc/containerd/config.toml 773cf1c5a249197a8ef37a08ac168414
Description: open and reliable container runtime
 It is a daemon.
 .
 This package contains the binaries.
Built-Using: runc (= 1.1.5+ds1-1+deb12u1)

Package: containerd-tools
Version: 1
"""


def test_what_a_package_says_of_itself() -> None:
    assert fields_of(STATUS, "containerd") == {
        "Package": "containerd",
        "Version": "1.6.20~ds1-1+deb12u3",
        "Depends": "runc (>= 0.1.0~), libc6 (>= 2.34)",
        "Description": "open and reliable container runtime\n It is a daemon.\n .\n This package contains the binaries.",
    }
