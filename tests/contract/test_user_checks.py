"""The user's own checks, as real commands and against a server that speaks Prometheus' API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from poolkeeper.tasks.fleet.model import UserCheck
from poolkeeper.tasks.rollout.user_checks import failing

ANSWERS = {
    "nothing": {"status": "success", "data": {"resultType": "vector", "result": []}},
    "ALERTS": {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"alertname": "Down"}}]}},
    "(": {"status": "error", "errorType": "bad_data", "error": "parse error"},
    "odd": {"status": "success"},
}


@pytest.fixture
async def prometheus() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        if request.query["query"] == "login":
            return web.Response(text="<html>who are you?</html>")
        return web.json_response(ANSWERS[request.query["query"]])

    app = web.Application()
    app.router.add_get("/api/v1/query", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


@pytest.mark.parametrize(
    ("command", "observed"),
    [
        pytest.param(("true",), None, id="passes"),
        pytest.param(("sh", "-c", "echo one; echo two; exit 3"), "exit status 3: two", id="fails"),
        pytest.param(("no-such-program",), "no-such-program cannot be run: No such file or directory", id="not there"),
        pytest.param(("sleep", "60"), "no answer within 0 s", id="hangs"),
    ],
)
async def test_commands(command: tuple[str, ...], observed: str | None) -> None:
    found = await failing([UserCheck("c", command, timeout_s=0.3 if command[0] == "sleep" else 10)])
    assert [finding.evidence.observed for finding in found] == ([observed] if observed else [])


@pytest.mark.parametrize(
    ("query", "observed"),
    [
        pytest.param("nothing", None, id="finds nothing"),
        pytest.param("ALERTS", "it finds 1, such as {'alertname': 'Down'}", id="finds something"),
        pytest.param("(", "the query was refused: parse error", id="no query"),
        pytest.param("odd", "the server cannot be asked: 'data'", id="no Prometheus"),
        pytest.param("login", "the server cannot be asked: Expecting value", id="a login page"),
    ],
)
async def test_queries(prometheus: str, query: str, observed: str | None) -> None:
    found = await failing([UserCheck("q", prometheus=prometheus, query=query)])
    assert [finding.evidence.observed[: len(observed or "")] for finding in found] == ([observed] if observed else [])


async def test_a_server_that_is_away_is_no_pass() -> None:
    (found,) = await failing([UserCheck("q", prometheus="http://127.0.0.1:9", query="up", timeout_s=5)])
    assert "cannot be asked" in found.evidence.observed


async def test_a_commands_words_are_not_told() -> None:
    (found,) = await failing([UserCheck("c", ("false", "--token", "s3cret"))])
    assert (found.evidence.source, "s3cret" in str(found)) == ("false", False)
