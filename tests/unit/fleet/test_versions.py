import pytest

from tasks.fleet.versions import at_least, minor_of


@pytest.mark.parametrize(
    ("version", "least", "answer"),
    [
        ("6.1.0-18-amd64", "5.10", True),
        ("5.10", "5.10", True),
        ("5.9.16", "5.10", False),
        ("4.19.91-26.al7.x86_64", "4.19", True),
        ("10.0", "9.9", True),
        ("unknown", "1.0", False),
    ],
)
def test_at_least(version, least, answer):
    assert at_least(version, least) is answer


@pytest.mark.parametrize(
    ("version", "minor"), [("v1.36.3", (1, 36)), ("1.33.1-aliyun.1", (1, 33)), ("v1.36.3+lab", (1, 36)), ("", None)]
)
def test_minor_of(version, minor):
    assert minor_of(version) == minor
