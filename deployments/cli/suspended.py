"""Resumes or cancels a suspended run on a Prefect server, without Prefect's two seconds of import."""

from __future__ import annotations

from typing import Any

import httpx

TIMEOUT_S = 15.0
START_AGAIN = "start the same flow again, with the same parameters"


def resume(api_url: str, run: str) -> str:
    """Resume a suspended run; the result as a clause."""
    if not api_url:
        return f"no PREFECT_API_URL: resume the run there, or {START_AGAIN}"
    answer = _post(f"{api_url}/flow_runs/{run}/resume", {})
    if answer.get("status") == "ACCEPT":
        return "the run continues"
    return f"the run is not suspended on {api_url} ({_why(answer)}): {START_AGAIN}"


def cancel(api_url: str, run: str) -> str:
    """Cancel a suspended run; the result as a clause."""
    if not api_url:
        return "no PREFECT_API_URL: if the run is suspended, cancel it there"
    state = {"type": "CANCELLED", "message": "its plan was rejected"}
    answer = _post(f"{api_url}/flow_runs/{run}/set_state", {"state": state, "force": False})
    if answer.get("status") == "ACCEPT":
        return "the run is cancelled"
    return f"no run was waiting on {api_url} ({_why(answer)})"


def _why(answer: dict[str, Any]) -> str:
    return str((answer.get("details") or {}).get("reason") or answer.get("error") or answer.get("status"))


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The server's answer; `error` where there is none."""
    try:
        answer = httpx.post(url, json=body, timeout=TIMEOUT_S)
        answered = answer.json() if answer.is_success else {"error": f"HTTP {answer.status_code}"}
    except (httpx.HTTPError, ValueError) as error:
        return {"error": str(error)}
    return answered if isinstance(answered, dict) else {"error": "the answer is not a Prefect server's"}
