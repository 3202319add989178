"""Records what tasks/hosts/facts.sh really answers: `python -m tests.unit.hosts.record`, as root, into recorded/.

Each recording is one run of the program, under one shell with one set of tools. What would name this machine (its
name, kernel, addresses, ports, disks, clock) is replaced; ids come from a root folder made here.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import asyncssh

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.tasks.hosts.facts import FACTS_PROGRAM

RECORDED = Path(__file__).parent / "recorded"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

FILES = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/resolv.conf": "# made by hand\nsearch example\nnameserver 127.0.0.1",  # no line's end
    "etc/environment": '#http_proxy=http://old.example\nhttps_proxy="http://ops:p@ss/w:rd@proxy.example:3128"\nno_proxy=.svc',
    "etc/apt/sources.list": "",
    "etc/cni/net.d/10-flannel.conflist": "{}\n",
    "proc/meminfo": "MemTotal:       16303428 kB\nMemFree:         1000000 kB\nSwapTotal:       2097148 kB\n",
    "proc/mounts": "/dev/vda1 / ext4 rw 0 0\ntmpfs /var/lib/kubelet/pods/p1/volumes/v1 tmpfs rw 0 0\n",
    "proc/swaps": "Filename Type Size Used Priority\n",
    "proc/sys/kernel/random/boot_id": "11111111-2222-3333-4444-555555555555\n",
    "proc/sys/net/ipv4/ip_forward": "1\n",
    "proc/net/tcp": "  sl  local_address rem_address   st\n   0: 00000000:0016 00000000:0000 0A\n"
    "   1: 0100007F:280A 0100007F:1234 01\n   2: 0100007F:280A 00000000:0000 0A\n",
    **{
        f"sys/bus/pci/devices/0000:{slot}/{name}": f"{value}\n"
        for slot, device, vendor in (
            ("00:1f.0", "0x060100", "0x8086"),  # a bridge
            ("03:00.0", "0x030000", "0x1a03"),  # the board's own display
            ("41:00.0", "0x030200", "0x10de"),
            ("41:00.1", "0x040300", "0x10de"),  # a GPU's sound
            ("c1:00.0", "0x120000", "0x1002"),
        )
        for name, value in (("class", device), ("vendor", vendor))
    },
    "sys/class/dmi/id/product_uuid": "4C4C4544-0042-3510-8052-B4C04F4E4D32\n",
    "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
}


def record(name: str, command: list[str], root: Path, *, path: str = SYSTEM_PATH, **more: str) -> None:
    """One run."""
    environment = {"PATH": path, "POOLKEEPER_ROOT": str(root), "EXTERNAL_NAME": "name.invalid", **more}
    program = [shutil.which(command[0]) or command[0], *command[1:]]
    done = subprocess.run(program, input=FACTS_PROGRAM, env=environment, capture_output=True, text=True, check=True)
    keep(name, done.stdout, {str(root): ""})


def keep(name: str, answer: str, names: Mapping[str, str]) -> None:
    uname = os.uname()
    for word, instead in {**names, uname.nodename: "n01", uname.release: "6.1.0-37-amd64"}.items():
        answer = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", instead, answer)
    answer = re.sub(r"(?m)^fact clock \d+(.*)$", r"fact clock 1795000000\1", answer)
    answer = re.sub(r"(?m)^fact clock (\d+)\.\d+$", r"fact clock \1.250000000", answer)
    answer = re.sub(r"(?m)^fact disk \d+ \d+ ", "fact disk 261932284 137424824 ", answer)
    answer = re.sub(r"(?m)^(fact (?:address|route) )(?!127\.|::1)[\d.]+(/\d+)?$", r"\g<1>192.0.2.0\2", answer)
    answer = re.sub(r"(?m)^(fact (?:address|route) )f[de][0-9a-f:]+(/\d+)?$", r"\g<1>2001:db8::\2", answer)
    answer = re.sub(r"(?m)^fact port (?!22$|10250$|10)\d+$", "fact port 4711", answer)
    (RECORDED / f"{name}.txt").write_text(answer)


def tools(folder: Path, shell: str, *names: str, **programs: str) -> str:
    """A folder to stand as PATH: a shell, some of the machine's tools, and programs of its own."""
    folder.mkdir()
    (folder / "sh").symlink_to(shutil.which(shell) or shell)
    for name in names:
        (folder / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def record_gpus(folder: Path) -> None:
    """Hosts whose GPUs are told in other ways, or not at all."""
    folder.mkdir()
    path = tools(folder / "tools", "dash", "cat", "ls", "uname", ip="exit 1")
    gpu = {"class": "0x030200\n", "vendor": "0x10de\n"}

    def root(name: str, files: Mapping[str, str]) -> Path:
        for file, text in files.items():
            place = folder / name / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return folder / name

    devices = "sys/bus/pci/devices/0000:41:00"
    parts = root("parts", {f"{devices}.{part}/{name}": text for part in (0, 4, 5) for name, text in gpu.items()})
    for part in (4, 5):
        (parts / f"{devices}.{part}/physfn").symlink_to("../0000:41:00.0")
    record("gpu-parts", ["dash", "-s"], parts, path=path)
    driver = {f"proc/driver/nvidia/gpus/0000:{slot}:00.0/information": "Model: A100\n" for slot in ("41", "81", "c1")}
    record("gpu-driver-alone", ["dash", "-s"], root("driver", driver), path=path)
    unread = root("unread", {f"{devices}.0/class": "0x030200\n"})
    record("gpu-unread", ["dash", "-s"], unread, path=path)
    record("gpu-none", ["dash", "-s"], root("none", {"sys/bus/pci/devices/.keep": ""}), path=path)


async def record_lab(folder: Path) -> None:
    """A lab host as it is, and with leftovers of an earlier cluster."""
    lab = LabFolder(folder)
    lifecycle.up(lab, 2)
    try:
        hosts = json.loads(lab.ready.read_text())["hosts"]
        lifecycle.break_host(lab, hosts[1]["name"], Fault.LEFTOVERS)
        for host, name in zip(hosts, ("lab-host", "lab-host-leftovers"), strict=True):
            async with asyncssh.connect(
                host["address"],
                host["port"],
                username="ops",
                client_keys=[str(lab.keys / "ops")],
                known_hosts=str(lab.keys / "known_hosts"),
                config=None,
            ) as connection:
                done = await connection.run("sudo -n sh -s", input=FACTS_PROGRAM)
            keep(name, done.stdout, {host["address"]: "192.0.2.11"})
    finally:
        lifecycle.down(lab)


def main() -> None:
    RECORDED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        root = folder / "root"
        for path, text in FILES.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        record("dash", ["dash", "-s"], root)
        record("bash", ["bash", "-s"], root)
        record("busybox-shell", ["busybox", "sh", "-s"], root)
        applets = folder / "applets"
        applets.mkdir()
        subprocess.run(["busybox", "--install", "-s", str(applets)], check=True)
        record("busybox-only", ["busybox", "sh", "-s"], root, path=str(applets))
        few = tools(folder / "few", "dash", "cat", "ls", "uname")
        record("hardly-any-tools", ["dash", "-s"], root, path=few)
        names = (
            "df",
            "ip",
            "ss",
            "systemctl",
            "timedatectl",
            "nproc",
            "date",
            "kubelet",
            "containerd",
            "getent",
            "nslookup",
        )
        failing = tools(folder / "failing", "dash", "cat", "ls", "uname", "timeout", **dict.fromkeys(names, "exit 1"))
        record("every-tool-fails", ["dash", "-s"], root, path=failing)
        router = tools(
            folder / "router",
            "dash",
            "cat",
            "ls",
            "uname",
            ip='case "$*" in *route*) printf "%s\\n" "default via 192.0.2.1 dev eth0" "blackhole 10.9.0.0/26 proto bird"'
            ' "unreachable default metric 4" "throw 198.51.100.7";; *) exit 1;; esac',
        )
        record("router", ["dash", "-s"], root, path=router)
        unused = "https://127.0.0.1:1"  # nothing listens on port 1
        record("api-refused", ["dash", "-s"], root, API_URL=unused, API_CA="none", http_proxy="http://proxy.example")
        record("nowhere-to-write", ["dash", "-s"], root, API_URL=unused, API_CA="none", TMPDIR="/nonexistent")
        for path in ("etc/machine-id", "sys/class/dmi/id/product_uuid"):
            (root / path).chmod(0o400)
        (root / "etc/cni/net.d").chmod(0o700)
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/bin/dash", "-s"]
        record("not-root", as_nobody, root)
        empty = folder / "empty"
        empty.mkdir()
        record("an-empty-root", ["dash", "-s"], empty, path=few)
        record_gpus(folder / "gpus")
        asyncio.run(record_lab(folder / "lab"))


if __name__ == "__main__":
    main()
