"""How much memory a benchmark's own process has had."""

from __future__ import annotations

from pathlib import Path


def peak_mb() -> float:
    """This process's largest resident set. Not `ru_maxrss`: that begins with the one of whoever started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000
