"""What an error of the API server repeats of others' words."""

from __future__ import annotations

from poolkeeper.tasks.cluster.errors import api_error


def test_a_webhooks_password_is_not_repeated() -> None:
    words = 'failed calling webhook "w": Post "https://user:example-password@hook:443/": refused'
    causes = [{"reason": "x", "message": words}]
    error = api_error(500, "POST /x", {"kind": "Status", "message": words, "details": {"causes": causes}})
    assert "https://user:[redacted]@hook:443/" in str(error)
    assert "password" not in str(error) + error.message + "".join(error.cause_messages)
