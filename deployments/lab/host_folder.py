"""One host's folder: its file system as its programs see it, its faults, the environment of what runs on it."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from dataclasses import dataclass

from poolkeeper.deployments.lab.faults import Fault, NotedFaults
from poolkeeper.deployments.lab.layout import LabFolder, LabHost
from poolkeeper.deployments.lab.processes import HOST_MARK, LAB_MARK

KERNEL = "6.1.0-37-amd64"
MEMORY_BYTES = 32 * 1024**3
CPUS = 8

_OS_RELEASE = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
"""
_LEFTOVERS = {
    "etc/kubernetes/kubelet.conf": "# of an earlier cluster\n",
    "etc/kubernetes/pki/ca.crt": "# of an earlier cluster\n",
    "var/lib/kubelet/pki/kubelet-client-current.pem": "# of an earlier cluster\n",
    "etc/cni/net.d/10-flannel.conflist": "{}\n",
}


@dataclass(frozen=True, slots=True)
class LabSettings:
    """What every host of a lab is told by its environment."""

    id: str
    folder: LabFolder
    api: str
    dns: str
    dns_port: int
    join_url: str
    control: str


class HostFolder:
    """The files of one host. They are made when the host is first used, so that 500 hosts start at once."""

    def __init__(self, lab: LabSettings, host: LabHost) -> None:
        self.host = host
        self.lab = lab
        self.path = lab.folder.host(host.name)
        self.root = self.path / "root"
        self.faults = NotedFaults(self.path)

    @property
    def machine_id(self) -> str:
        """As a freshly installed host has it; what is in its file may have been changed since."""
        return hashlib.sha256(f"{self.lab.id} machine {self.host.name}".encode()).hexdigest()[:32]

    @property
    def product_uuid(self) -> str:
        return str(uuid.UUID(hashlib.sha256(f"{self.lab.id} product {self.host.name}".encode()).hexdigest()[:32]))

    def prepare(self) -> None:
        """Write the host's files unless they are there."""
        if self.root.exists():
            return
        new = self.path / "root.new"
        shutil.rmtree(new, ignore_errors=True)
        for path, text in self._files().items():
            file = new / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        for folder in (
            "home/ops",
            "root",
            "tmp",
            "usr/bin",
            "usr/sbin",
            "opt",
            "var/lib",
            "var/log",
            "run/systemd/system",
        ):
            (new / folder).mkdir(parents=True, exist_ok=True)
        for folder in ("state/units/ssh.service", "state/units/systemd-timesyncd.service", "state/packages", "faults"):
            (self.path / folder).mkdir(parents=True, exist_ok=True)
        for unit in ("ssh", "systemd-timesyncd"):
            state = self.path / "state" / "units" / f"{unit}.service"
            (state / "active").write_text("active")
            (state / "enabled").write_text("yes")
        for package, version in (("openssh-server", "1:9.2p1-2+deb12u6"), ("systemd", "252.38-1~deb12u1")):
            (self.path / "state" / "packages" / package).write_text(version)
        new.rename(self.root)

    def _files(self) -> dict[str, str]:
        host, total_kib = self.host, MEMORY_BYTES // 1024
        return {
            "etc/os-release": _OS_RELEASE,
            "etc/debian_version": "12.11\n",
            "etc/apt/sources.list": "deb http://mirror.example/debian bookworm main\n",
            "etc/hostname": f"{host.name}\n",
            "etc/hosts": f"127.0.0.1 localhost\n{host.address} {host.name}.{host.site}.lab {host.name}\n",
            "etc/machine-id": f"{self.machine_id}\n",
            "etc/resolv.conf": f"nameserver {self.lab.dns}\n",
            "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nops:x:1000:1000::/home/ops:/bin/sh\n",
            "etc/fstab": "/dev/vda1 / ext4 defaults 0 1\n",
            "proc/1/comm": "systemd\n",
            "proc/cmdline": "BOOT_IMAGE=/boot/vmlinuz root=/dev/vda1 ro\n",
            "proc/cpuinfo": "".join(f"processor\t: {n}\nmodel name\t: lab\n\n" for n in range(CPUS)),
            "proc/loadavg": "0.10 0.08 0.05 1/120 4711\n",
            "proc/meminfo": f"MemTotal:       {total_kib} kB\nMemFree:        {total_kib // 2} kB\n"
            f"MemAvailable:   {total_kib * 7 // 8} kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n",
            "proc/mounts": "/dev/vda1 / ext4 rw,relatime 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev 0 0\n",
            "proc/self/mountinfo": "25 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n"
            "31 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n",
            "proc/swaps": "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
            "proc/filesystems": "nodev\tcgroup2\nnodev\toverlay\n\text4\n",
            "proc/uptime": "86400.00 600000.00\n",
            "proc/sys/kernel/osrelease": f"{KERNEL}\n",
            "proc/sys/kernel/hostname": f"{host.name}\n",
            "proc/sys/kernel/random/boot_id": f"{uuid.uuid4()}\n",
            "proc/sys/net/ipv4/ip_forward": "1\n",
            "proc/sys/net/bridge/bridge-nf-call-iptables": "1\n",
            "proc/sys/fs/file-max": "9223372036854775807\n",
            "proc/sys/fs/inotify/max_user_instances": "8192\n",
            "sys/bus/pci/devices/0000:00:02.0/class": "0x030000\n",
            "sys/bus/pci/devices/0000:00:02.0/vendor": "0x1234\n",
            "sys/class/dmi/id/product_uuid": f"{self.product_uuid}\n",
            "sys/class/net/eth0/mtu": "1500\n",
            "sys/class/net/eth0/operstate": "up\n",
            "sys/class/net/lo/mtu": "65536\n",
            "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc\n",
        }

    def environment(self, ssh_port: int) -> dict[str, str]:
        """What a command on this host is started with."""
        folder, root = self.lab.folder, self.root
        tools = str(folder.path / "tools")
        own = [str(root / place) for place in ("usr/local/bin", "usr/sbin", "usr/bin")]
        return {
            LAB_MARK: self.lab.id,
            HOST_MARK: self.host.name,
            "PATH": ":".join([str(folder.programs), *own, tools]),
            "POOLKEEPER_ROOT": str(root),
            "POOLKEEPER_LAB_STATE": str(self.path),
            "POOLKEEPER_LAB_ADDRESS": self.host.address,
            "POOLKEEPER_LAB_API": self.lab.api,
            "POOLKEEPER_LAB_DNS_PORT": str(self.lab.dns_port),
            "POOLKEEPER_LAB_SSH_PORT": str(ssh_port),
            "POOLKEEPER_LAB_CONTROL": self.lab.control,
            "POOLKEEPER_LAB_JOIN": self.lab.join_url,
            "POOLKEEPER_LAB_PATH": tools,
            "HOME": str(root / "home/ops"),
            "USER": "ops",
            "LOGNAME": "ops",
            "SHELL": "/bin/sh",
            "TMPDIR": str(root / "tmp"),
            "LC_ALL": "C.UTF-8",
        }

    def unit_active(self, unit: str) -> bool:
        """Whether the host's systemctl has a unit running."""
        try:
            return (self.path / "state" / "units" / f"{unit}.service" / "active").read_text().strip() == "active"
        except OSError:
            return False

    def read(self, path: str) -> str:
        """One of the host's files, stripped; empty if it is not there."""
        try:
            return (self.root / path).read_text().strip()
        except OSError:
            return ""

    def boot(self) -> None:
        """What a reboot changes on disk: another boot id, an empty /run and /tmp, only enabled units running."""
        (self.root / "proc/sys/kernel/random/boot_id").write_text(f"{uuid.uuid4()}\n")
        (self.root / "proc/uptime").write_text("1.00 1.00\n")
        for volatile in ("run", "tmp"):
            shutil.rmtree(self.root / volatile, ignore_errors=True)
            (self.root / volatile).mkdir()
        (self.root / "run/systemd/system").mkdir(parents=True)
        for unit in (self.path / "state" / "units").iterdir():
            if (unit / "transient").exists():
                shutil.rmtree(unit)
            else:
                (unit / "active").write_text("active" if (unit / "enabled").exists() else "inactive")

    def leave_leftovers(self) -> None:
        """Parts of an earlier cluster. Raises ValueError on a host that is in the cluster."""
        if self.unit_active("kubelet"):
            raise ValueError(f"{self.host.name} is a node now: `edgeadm reset` it first")
        for path, text in _LEFTOVERS.items():
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def remove_leftovers(self) -> None:
        """Take them off again, unless a reset has done so."""
        if not self.unit_active("kubelet"):
            for path in _LEFTOVERS:
                (self.root / path).unlink(missing_ok=True)
            for folder in (
                "etc/kubernetes/pki",
                "etc/kubernetes",
                "var/lib/kubelet/pki",
                "var/lib/kubelet",
                "etc/cni/net.d",
            ):
                if (self.root / folder).exists() and not any((self.root / folder).iterdir()):
                    (self.root / folder).rmdir()

    def has(self, fault: Fault) -> bool:
        """Whether the host is broken in this way at this moment."""
        return self.faults.has(fault)
