"""Pythons of this machine that stand for those of hosts: each minor version from 3.6 on."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

MINORS = tuple(range(6, 14))


@functools.cache
def python(minor: int) -> str:
    """The program of Python 3.MINOR; empty if there is none."""
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [str(path) for path in sorted(kept.glob(f"3.{minor}.*/bin/python3"))]
    found += filter(None, [shutil.which(f"python3.{minor}")])
    return next(filter(_runs, found), "")


def _runs(program: str) -> bool:
    try:
        return (
            subprocess.run([program, "-I", "-S", "-c", "import ssl"], capture_output=True, timeout=30).returncode == 0
        )
    except (OSError, subprocess.SubprocessError):
        return False


def lacking_pythons() -> str:
    """Which there are not, as a clause; empty: there are all."""
    absent = [f"3.{minor}" for minor in MINORS if not python(minor)]
    return f"there is no Python {', '.join(absent)}" if absent else ""
