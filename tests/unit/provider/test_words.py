"""What an error of the vendor's SDK says, as a sentence of ours repeats it."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.provider.sdk import first_line


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(OSError("via http://user:example-password@proxy:3128: refused.\nmore"), "via http://user:[redacted]@proxy:3128: refused", id="a proxy's password"),
        pytest.param(None, "no reason given", id="nothing"),
        pytest.param(TimeoutError(), "no reason given", id="an error without words"),
    ],
)  # fmt: skip
def test_its_first_line(error: object, told: str) -> None:
    assert first_line(error) == told
