"""systemctl, systemd-run, journalctl and reboot: units as folders, transient ones really run.

A unit's folder in `state/units/` holds `active` (active, inactive, failed), `enabled`, `journal`, and for a
transient unit `transient`, `pid`, `exit`, `runs` (running, exited), and `supervisor`, who writes these. What
`systemd-run` starts has left the caller's session, so that a dropped SSH connection does not end it.
"""

from __future__ import annotations

import os
import sys

from poolkeeper.deployments.lab.standins.paths import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

ROOT = Path(os.environ["POOLKEEPER_ROOT"])
UNITS = Path(os.environ["POOLKEEPER_LAB_STATE"]) / "state" / "units"
SUFFIXES = (".service", ".timer", ".socket", ".target", ".slice", ".scope", ".mount", ".path")


def tell_lab(what: str) -> None:
    """One line to the lab's process, and its word that it has heard."""
    import json
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        sock.connect("\0" + os.environ["POOLKEEPER_LAB_CONTROL"])
        sock.sendall(json.dumps({"do": what, "host": os.environ["POOLKEEPER_LAB_HOST"]}).encode() + b"\n")
        sock.recv(4096)


def full_name(name: str) -> str:
    return name if name.endswith(SUFFIXES) else f"{name}.service"


class Unit:
    """One unit by its name; whatever is not on disk has its default."""

    def __init__(self, name: str) -> None:
        self.name = full_name(name)
        self.folder = UNITS / self.name

    def read(self, what: str, default: str = "") -> str:
        try:
            return (self.folder / what).read_text().strip()
        except OSError:
            return default

    def write(self, what: str, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".{what}.{os.getpid()}"
        partial.write_text(text)
        partial.rename(self.folder / what)

    @property
    def transient(self) -> bool:
        return (self.folder / "transient").exists()

    @property
    def loaded(self) -> bool:
        places = ("etc/systemd/system", "lib/systemd/system", "usr/lib/systemd/system")
        return self.folder.exists() or any((ROOT / place / self.name).exists() for place in places)

    @property
    def active(self) -> str:
        """active, inactive or failed; a transient unit whose process was killed has failed."""
        state = self.read("active", "inactive")
        if state == "active" and self.transient and self.read("runs") == "running":
            pid = self.read("pid")
            if pid and not Path(f"/proc/{pid}").exists():
                return self.read("active") if self.read("runs") == "exited" else "failed"
        return state

    def load(self) -> bool:
        """Make it a transient unit that is about to start, all at once; False: someone else was quicker."""
        partial = UNITS / f".{self.name}.{os.getpid()}"
        partial.mkdir(parents=True)
        for what, text in (("transient", "yes"), ("active", "activating"), ("invocation", os.urandom(16).hex())):
            (partial / what).write_text(text)
        try:
            partial.rename(self.folder)
        except OSError:  # a folder that is there and not empty
            for path in partial.iterdir():
                path.unlink()
            partial.rmdir()
            return False
        return True

    def wait_written(self) -> None:
        """Once its main process has ended, until it is written down how: nothing is written of it later."""
        import time

        until = time.monotonic() + 10
        while (pid := self.read("supervisor")) and self.active != "active" and time.monotonic() < until:
            if not Path(f"/proc/{pid}").exists():
                return
            time.sleep(0.02)

    def forget(self) -> None:
        """All at once: a unit that is half gone would be one that is there."""
        gone = UNITS / f".{self.name}.gone.{os.getpid()}"
        try:
            self.folder.rename(gone)
        except OSError:  # someone else was quicker
            return
        for path in gone.iterdir():
            path.unlink()
        gone.rmdir()

    def properties(self) -> dict[str, str]:
        active, runs, status = self.active, self.read("runs"), self.read("exit", "0")
        sub = {"active": runs or "running", "failed": "failed"}.get(active, "dead")
        running = active == "active" and sub == "running"
        number = int(status or 0)
        result = "success" if active != "failed" else ("signal" if number >= 128 or not status else "exit-code")
        return {
            "Id": self.name,
            "LoadState": "loaded" if self.loaded else "not-found",
            "ActiveState": active,
            "SubState": sub,
            "Result": self.read("result") or result,
            "MainPID": self.read("pid", "0") if running else "0",
            "ExecMainPID": self.read("pid", "0"),
            "ExecMainStatus": status or "0",
            "ExecMainCode": "0" if running else "1",
            "UnitFileState": "transient" if self.transient else "enabled" if self.read("enabled") else "disabled",
            "Type": "exec",
            "InvocationID": self.read("invocation"),
        }


def change(verb: str, unit: Unit) -> int:
    """start, stop, restart, enable and their like, for one unit."""
    if verb in ("start", "restart", "enable", "reload", "try-restart", "reload-or-restart") and not unit.loaded:
        print(f"Failed to {verb} {unit.name}: Unit {unit.name} not found.", file=sys.stderr)
        return 5
    if verb in ("start", "restart", "reload-or-restart"):
        unit.write("active", "active")
    elif verb in ("stop", "kill"):
        if unit.transient:
            if unit.active == "active":
                import signal

                try:
                    os.killpg(int(unit.read("pid")), signal.SIGTERM)
                except (ProcessLookupError, ValueError):
                    pass
            unit.wait_written()
            if unit.read("runs") == "exited":
                unit.forget()
        elif unit.loaded:
            unit.write("active", "inactive")
    elif verb in ("enable", "disable"):
        if verb == "enable":
            unit.write("enabled", "yes")
        elif unit.folder.exists():
            (unit.folder / "enabled").unlink(missing_ok=True)
    elif verb == "reset-failed" and unit.active == "failed":
        if unit.transient:
            unit.wait_written()
            unit.forget()
        else:
            unit.write("active", "inactive")
    if unit.name in ("kubelet.service", "containerd.service"):  # kubelet tells the runtime's version
        tell_lab("kubelet")
    return 0


CHANGES = ("start", "stop", "restart", "reload-or-restart", "try-restart", "reload", "kill", "reset-failed")


def systemctl(arguments: list[str]) -> int:
    """The verbs that provisioning and poolkeeper use."""
    flags = [word for word in arguments if word.startswith("-")]
    asked, words, quiet = [], [], "-q" in flags or "--quiet" in flags
    rest = iter(arguments)
    for word in rest:
        if word in ("-p", "--property"):
            asked += next(rest, "").split(",")
        elif word.startswith("--property=") or (word.startswith("-p") and len(word) > 2):
            asked += word.removeprefix("--property=").removeprefix("-p").split(",")
        elif not word.startswith("-"):
            words.append(word)
    if not words:
        print("systemctl: the lab wants a verb", file=sys.stderr)
        return 1
    verb, units = words[0], [Unit(name) for name in words[1:]]
    if verb == "is-system-running":
        print("running")
        return 0
    if verb in ("daemon-reload", "daemon-reexec"):
        return 0
    if verb in ("reboot", "poweroff", "halt"):
        return reboot([])
    if verb == "show":
        for unit in units:
            told = unit.properties()
            for key in asked or told:
                print(told.get(key, "") if "--value" in flags else f"{key}={told.get(key, '')}")
        return 0
    if verb in ("is-active", "is-failed"):
        for unit in units:
            if not quiet:
                print(unit.active)
        wanted = "active" if verb == "is-active" else "failed"
        return 0 if any(unit.active == wanted for unit in units) else 3 if verb == "is-active" else 1
    if verb == "is-enabled":
        states = [unit.properties()["UnitFileState"] if unit.loaded else "not-found" for unit in units]
        if not quiet:
            print("\n".join(states))
        return 0 if "enabled" in states else 1
    if verb == "status":
        for unit in units:
            print(f"{unit.name}\n     Active: {unit.active} ({unit.properties()['SubState']})")
        return 0 if all(unit.active == "active" for unit in units) else 3
    if verb == "list-units":
        for folder in sorted(UNITS.iterdir()) if UNITS.exists() else ():
            hidden = folder.name.startswith(".")
            if not hidden and (not words[1:] or any(folder.match(pattern) for pattern in words[1:])):
                told = Unit(folder.name).properties()
                print(f"{folder.name} loaded {told['ActiveState']} {told['SubState']} {folder.name}")
        return 0
    if verb in CHANGES or verb in ("enable", "disable", "mask", "unmask"):
        worst = 0
        for unit in units:
            worst = max(worst, change(verb, unit))
            if "--now" in flags and verb in ("enable", "disable"):
                worst = max(worst, change("start" if verb == "enable" else "stop", unit))
        return worst
    print(f"Unknown command verb {verb}: the lab does not know it.", file=sys.stderr)
    return 1


class Transient:
    """What a systemd-run command line asks for."""

    def __init__(self, arguments: list[str]) -> None:
        self.name = f"run-u{os.getpid()}"
        self.properties: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        self.collect = self.wait = self.quiet = self.remain = False
        rest = list(arguments)
        while rest and rest[0].startswith("-"):
            word = rest.pop(0)
            key, equals, value = word.partition("=")
            if key in ("--unit", "-u", "--property", "-p", "--setenv", "-E", "--description") and not equals:
                value = rest.pop(0)
            if key in ("--unit", "-u"):
                self.name = value
            elif key in ("--property", "-p"):
                name, _, setting = value.partition("=")
                self.properties[name] = setting
            elif key in ("--setenv", "-E"):
                name, _, setting = value.partition("=")
                self.environment[name] = setting
            elif key in ("--collect", "-G"):
                self.collect = True
            elif key in ("--wait", "-W"):
                self.wait = True
            elif key in ("--remain-after-exit", "-r"):
                self.remain = True
            elif key in ("--quiet", "-q"):
                self.quiet = True
            elif key == "--working-directory":
                self.properties["WorkingDirectory"] = value
            elif key == "--":
                break
            elif key not in (
                "--no-block",
                "--service-type",
                "--description",
                "--slice",
                "--no-ask-password",
                "--system",
            ):
                raise SystemExit(f"systemd-run: the lab does not know option {word}")
        if not rest:
            raise SystemExit("systemd-run: give a command")
        self.command = rest
        self.remain = self.remain or self.properties.get("RemainAfterExit") in ("yes", "true", "1")
        limit = self.properties.get("RuntimeMaxSec", "infinity").removesuffix("s")
        self.limit_s = None if limit == "infinity" else float(limit)

    def stream(self, name: str, journal: Path) -> int:
        """Where an output goes: `file:`, `append:`, `truncate:` and a path, `null`, else the journal."""
        kind, _, path = self.properties.get(name, "").partition(":")
        flags = os.O_WRONLY | os.O_CREAT
        if kind in ("file", "append", "truncate"):
            return os.open(path, flags | {"append": os.O_APPEND, "truncate": os.O_TRUNC}.get(kind, 0), 0o600)
        return os.open(os.devnull if kind == "null" else journal, flags | os.O_APPEND, 0o600)


def systemd_run(arguments: list[str]) -> int:
    """Start a transient service and return when it runs (or, with --wait, when it has ended)."""
    wanted = Transient(arguments)
    unit = Unit(wanted.name)
    if unit.loaded or not unit.load():
        print(
            f"Failed to start transient service unit: Unit {unit.name} was already loaded or has a fragment file.",
            file=sys.stderr,
        )
        return 1
    told, tells = os.pipe()
    if os.fork() == 0:
        os.close(told)
        os.setsid()
        _supervise(wanted, unit, tells)
    os.close(tells)
    os.read(told, 1)  # it has been started, or could not be
    if not wanted.quiet:
        print(f"Running as unit: {unit.name}", file=sys.stderr)
    if wanted.wait:
        import time

        while unit.active == "active" and unit.read("runs") == "running":
            time.sleep(0.05)
        return int(unit.read("exit", "0") or 0)
    return 0


def _supervise(wanted: Transient, unit: Unit, tells: int) -> NoReturn:
    """Run the command to its end and write down how it ended."""
    import signal
    import subprocess

    journal = unit.folder / "journal"
    out = wanted.stream("StandardOutput", journal)
    errors = wanted.stream("StandardError", journal) if "StandardError" in wanted.properties else out
    environment = os.environ | wanted.environment | {"POOLKEEPER_LAB_AS": "root"}
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # the caller's streams would keep its SSH session open
        os.dup2(quiet, stream)
    folder = wanted.properties.get("WorkingDirectory") or str(ROOT)
    try:
        command = subprocess.Popen(
            wanted.command, stdin=quiet, stdout=out, stderr=errors, env=environment, cwd=folder, start_new_session=True
        )
    except OSError as error:
        os.write(out, f"{wanted.command[0]}: {error.strerror}\n".encode())
        unit.write("exit", "203")  # systemd's EXIT_EXEC
        unit.write("runs", "exited")
        unit.write("active", "failed")
        os._exit(0)
    unit.write("supervisor", str(os.getpid()))
    unit.write("pid", str(command.pid))
    unit.write("runs", "running")
    unit.write("active", "active")
    os.write(tells, b"+")
    os.close(tells)
    try:
        status = command.wait(wanted.limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(command.pid, signal.SIGKILL)
        status = command.wait()
        unit.write("result", "timeout")
    status = status if status >= 0 else 128 - status
    unit.write("exit", str(status))
    unit.write("active", "failed" if status else "active" if wanted.remain else "inactive")
    unit.write("runs", "exited")
    if wanted.collect or (status == 0 and not wanted.remain):
        unit.forget()
    os._exit(0)


def journalctl(arguments: list[str]) -> int:
    """`journalctl -u UNIT [-n N] [--no-pager]`."""
    rest, name, lines = iter(arguments), "", 0
    for word in rest:
        if word in ("-u", "--unit"):
            name = next(rest, "")
        elif word.startswith("--unit="):
            name = word.partition("=")[2]
        elif word in ("-n", "--lines"):
            lines = int(next(rest, "0"))
        elif word.startswith("--lines="):
            lines = int(word.partition("=")[2])
    text = Unit(name).read("journal").splitlines() if name else []
    print("\n".join(text[-lines:] if lines else text) or "-- No entries --")
    return 0


def reboot(arguments: list[str]) -> int:
    """The lab ends everything on the host, this too, and starts it again with another boot id."""
    tell_lab("reboot")
    return 0


PROGRAMS = {
    "systemctl": systemctl,
    "systemd-run": systemd_run,
    "journalctl": journalctl,
    "reboot": reboot,
    "shutdown": reboot,
}
