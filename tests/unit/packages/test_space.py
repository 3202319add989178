"""Whether there is enough space for an installation."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.packages.space import FileSystem, Need, too_little_space

MIB, GIB = 1024**2, 1024**3


def at(mount: str, free_bytes: int, size_bytes: int = 100 * GIB) -> FileSystem:
    return FileSystem(mount, size_bytes, free_bytes)


@pytest.mark.parametrize(
    ("need", "share", "why"),
    [
        pytest.param(Need(100 * MIB, at("/", 1112 * MIB), at("/", 1112 * MIB)), 0.0, "", id="just enough"),
        pytest.param(
            Need(100 * MIB, at("/", 1111 * MIB), at("/", 1111 * MIB)),
            0.0,
            "1111 MiB of 102400 MiB are free on /; the packages need 600 MiB, and 512 MiB must stay free",
            id="one MiB too little",
        ),
        pytest.param(
            Need(100 * MIB, at("/var", 611 * MIB), at("/", 50 * GIB)),
            0.0,
            "611 MiB of 102400 MiB are free on /var; the packages need 100 MiB, and 512 MiB must stay free",
            id="the archives have a file system of their own",
        ),
        pytest.param(Need(0, at("/", 21 * GIB), at("/", 21 * GIB)), 0.2, "", id="a share of it"),
        pytest.param(
            Need(0, at("/", 19 * GIB), at("/", 19 * GIB)),
            0.2,
            "19456 MiB of 102400 MiB are free on /; the packages need 0 MiB, and 20480 MiB must stay free",
            id="less than that share",
        ),
    ],
)
def test_space(need: Need, share: float, why: str) -> None:
    assert too_little_space(need, min_free_share=share) == why
