"""One machine: a Debian of its own under systemd-nspawn, which boots, reboots, loses power and its line.

Its disk is a writable layer over the common system, so that it comes up as the same machine after a reboot. What
the container runtime unpacks lies beside it, because an overlay cannot stand on an overlay.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from poolkeeper.deployments.lab.layout import SSH_USER
from poolkeeper.deployments.lab.processes import HOST_MARK, exited, spawn
from poolkeeper.deployments.lab.real.machines.control_groups import ControlGroups
from poolkeeper.deployments.lab.real.machines.network import entering

SSH_PORT = 22
BOOT_TIMEOUT_S = 60.0
_REBOOT_STATUS = 133
"""What systemd-nspawn ends with when the system inside has asked for a reboot."""
_NOT_THEIRS = "CAP_SYS_TIME,CAP_SYS_MODULE,CAP_SYS_RAWIO,CAP_SYSLOG,CAP_WAKE_ALARM"
"""Rights over the one kernel and its clock, which belong to the machine that the lab runs on."""
_OWN_DISK = ("containerd", "kubelet")
"""Below /var/lib: on the disk itself, not on the overlay."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine is, and where its files are."""

    name: str
    address: str
    domain: str
    """Its DNS name's part behind the first dot."""
    folder: Path

    @property
    def disk(self) -> Path:
        """Its root as it is mounted in the lab's own mount namespace; empty from outside."""
        return self.folder / "disk"


class PoweredMachine:
    """A machine that is switched on until `power_off`; a reboot of its own starts it again."""

    def __init__(self, machine: Machine, base: Path, groups: ControlGroups, environment: Mapping[str, str]) -> None:
        self.machine = machine
        self.host_key = asyncssh.generate_private_key("ssh-ed25519", comment=machine.name)
        self._base, self._groups = base, groups
        self._environment = {**environment, HOST_MARK: machine.name}
        self._process: subprocess.Popen[bytes] | None = None
        self._keeping: asyncio.Task[None] | None = None

    def install(self, files: Mapping[str, str], user_key: bytes) -> None:
        """Mount its disk and write what makes it this machine.

        files: path below / -> text; user_key: public key of the operator's account
        """
        folder = self.machine.folder
        parts = {name: folder / name for name in ("disk", "layer", "work", *_OWN_DISK)}
        for part in parts.values():
            part.mkdir(parents=True)
        options = f"lowerdir={self._base},upperdir={parts['layer']},workdir={parts['work']}"
        command = ["mount", "-t", "overlay", "-o", options, "overlay", str(parts["disk"])]
        subprocess.run(command, check=True, timeout=30, capture_output=True)
        machine = self.machine
        own = {
            "etc/hostname": f"{machine.name}\n",
            "etc/hosts": f"127.0.0.1 localhost\n{machine.address} {machine.name}.{machine.domain} {machine.name}\n",
            "etc/machine-id": f"{secrets.token_hex(16)}\n",
            **files,
        }
        for path, text in own.items():
            place = machine.disk / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        key = machine.disk / "etc/ssh/ssh_host_ed25519_key"
        key.touch(mode=0o600)
        key.write_bytes(self.host_key.export_private_key())
        home = machine.disk / "home" / SSH_USER
        (home / ".ssh").mkdir(mode=0o700)
        (home / ".ssh/authorized_keys").write_bytes(user_key)
        owner = home.stat()
        for owned in (home / ".ssh", home / ".ssh/authorized_keys"):
            os.chown(owned, owner.st_uid, owner.st_gid)

    @property
    def known_hosts_line(self) -> str:
        """As it stands in a known_hosts file."""
        return f"{self.machine.address} {self.host_key.export_public_key().decode().strip()}"

    @property
    def is_on(self) -> bool:
        return self._keeping is not None and not self._keeping.done()

    def power_on(self) -> None:
        """Start it, and start it again whenever it reboots."""
        if not self.is_on:
            self._keeping = asyncio.create_task(self._keep_on())

    async def _keep_on(self) -> None:
        status = _REBOOT_STATUS
        with (self.machine.folder / "console.log").open("ab") as console:
            while status == _REBOOT_STATUS:
                self._process = spawn(
                    self._command(),
                    environment=self._environment,
                    folder=self.machine.folder,
                    output=console,
                    stdin=subprocess.DEVNULL,
                )
                await exited(self._process)
                status = self._process.wait()

    def _command(self) -> Sequence[str]:
        machine = self.machine
        group = self._groups.make(machine.name)
        binds = [f"--bind={machine.folder / name}:/var/lib/{name}" for name in _OWN_DISK]
        return [
            "sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group),
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--kill-signal=SIGRTMIN+3",
            # CNI sets up devices, runc makes keyrings and filters of its own
            "--capability=all", f"--drop-capability={_NOT_THEIRS}", "--system-call-filter=add_key keyctl bpf",
            f"--machine={machine.name}", f"--hostname={machine.name}", f"--directory={machine.disk}",
            f"--network-namespace-path={entering(machine.name)[1].removeprefix('--net=')}",
            *binds,
        ]  # fmt: skip

    async def until_up(self) -> None:
        """Wait until it takes SSH connections. Raises TimeoutError."""
        async with asyncio.timeout(BOOT_TIMEOUT_S):
            while not await self._answers():  # noqa: ASYNC110 - a machine that boots tells nobody
                await asyncio.sleep(0.05)

    async def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(self.machine.address, SSH_PORT)
            with contextlib.closing(writer):
                return (await reader.readline()).startswith(b"SSH-")
        return False

    async def power_off(self) -> None:
        """Take its power away: nothing on it is told, nothing is written any more."""
        if self._keeping is None:
            return
        keeping, self._keeping = self._keeping, None
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await asyncio.to_thread(self._groups.end, self.machine.name)
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            await exited(self._process)
            self._process.wait()
