"""`poolkeeper ...` that kills itself, as a power cut would, the Nth time it comes to a given place.

    python -m tests.e2e.killed_run tasks.onboard.admission:start_unit:after:1 run onboard -p ...

A place is a function by the module that calls it, `before` or `after`, and a count. Nothing is replaced: the function
still does its work; the process just ends there, without any clean-up.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import signal
import sys
from typing import Any


def find(place: str) -> tuple[Any, str]:
    """The module or class that a place's function is looked up in, and its name there."""
    module, path, _, _ = place.split(":")
    *owner, name = path.split(".")
    holder = functools.reduce(getattr, owner, importlib.import_module(module))
    return holder, name


def arm(place: str) -> None:
    """Make the process end at a place."""
    holder, name = find(place)
    function = getattr(holder, name)
    _, _, when, count = place.split(":")
    left = int(count)

    def die() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def deadly(*args: Any, **kwargs: Any) -> Any:
            if when == "before":
                die()
            result = await function(*args, **kwargs)
            if when == "after":
                die()
            return result

    else:

        @functools.wraps(function)
        def deadly(*args: Any, **kwargs: Any) -> Any:
            if when == "before":
                die()
            result = function(*args, **kwargs)
            if when == "after":
                die()
            return result

    setattr(holder, name, deadly)


if __name__ == "__main__":
    from deployments import running

    running.prepare_environment()
    arm(sys.argv[1])
    from deployments.cli import main

    main(sys.argv[2:])
