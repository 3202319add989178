"""Plain HTTPS requests to programs on loopback."""

from __future__ import annotations

import ssl
import urllib.request


def ask(request: str | urllib.request.Request, tls: ssl.SSLContext, *, timeout_s: float) -> bytes:
    """The body of an answer. Raises OSError (a URLError or HTTPError among them) and http.client.HTTPException."""
    # whatever proxy the environment names is not for loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))
    with opener.open(request, timeout=timeout_s) as answer:
        body: bytes = answer.read()
    return body
