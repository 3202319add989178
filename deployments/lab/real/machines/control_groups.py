"""Control groups of the lab: one a machine, by which everything on it is found and ended."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

END_TIMEOUT_S = 10.0


class ControlGroups:
    """The groups of one lab, below `poolkeeper-<id>` of the machine's cgroup2 hierarchy."""

    def __init__(self, lab: str) -> None:
        hierarchy = cgroup2_folder()
        if hierarchy is None:
            raise OSError("cgroup2 is not mounted on this machine")
        self.path = hierarchy / f"poolkeeper-{lab}"

    def make(self, machine: str) -> Path:
        """A machine's group."""
        group = self.path / machine
        group.mkdir(parents=True, exist_ok=True)
        return group

    def end(self, machine: str | None = None) -> bool:
        """Kill all processes of a machine, or of all, and remove the group; False if some would not go in time."""
        group = self.path / machine if machine else self.path
        if not group.exists():
            return True
        deadline = time.monotonic() + END_TIMEOUT_S
        (group / "cgroup.kill").write_text("1")  # with all groups below; a fork cannot slip through
        while not _removed(group):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def cgroup2_folder() -> Path | None:
    """Where cgroup2 is mounted: alone, or beside the controllers of version 1; None where it is not."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    return None


def _removed(group: Path) -> bool:
    """Remove a group and those below, as far as they are empty; whether it is gone."""
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return not group.exists()
