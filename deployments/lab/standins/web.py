"""httpd and wget as busybox has them: what pods serve and fetch pages with, each on its own pod's address."""

from __future__ import annotations

import http.client
import http.server
import os
import sys
from functools import partial
from urllib.parse import urlsplit

OWN = os.environ["POOLKEEPER_LAB_ADDRESS"]


class _Pages(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing, as busybox does."""


def httpd(arguments: list[str]) -> int:
    """`httpd -f -p PORT [-h FOLDER]`: serve a folder on the pod's address until it is ended."""
    port, folder, foreground, rest = 80, ".", False, iter(arguments)
    for word in rest:
        if word == "-p":
            port = int(next(rest, "80").rpartition(":")[2])
        elif word == "-h":
            folder = next(rest, ".")
        elif word == "-f":
            foreground = True
        else:
            print(f"httpd: the lab does not know option {word}", file=sys.stderr)
            return 1
    if not foreground and os.fork() > 0:
        return 0
    try:
        server = http.server.ThreadingHTTPServer((OWN, port), partial(_Pages, directory=folder))
    except OSError as error:
        print(f"httpd: bind: {error.strerror}", file=sys.stderr)
        return 1
    server.serve_forever()
    return 0


def wget(arguments: list[str]) -> int:
    """`wget [-q] [-T S] [-O FILE] URL` for plain http; `-O -` writes to stdout."""
    timeout_s, target, url, rest = 900.0, None, "", iter(arguments)
    for word in rest:
        if word == "-T":
            timeout_s = float(next(rest, "900"))
        elif word == "-O":
            target = next(rest, None)
        elif word.startswith("-") and word.strip("-q") == "":
            continue
        elif word.startswith("-"):
            print(f"wget: the lab does not know option {word}", file=sys.stderr)
            return 1
        else:
            url = word
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        print(f"wget: not an http URL: {url}", file=sys.stderr)
        return 1
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout_s, (OWN, 0))
    try:
        connection.connect()
    except OSError as error:
        print(f"wget: can't connect to remote host ({parts.hostname}): {error.strerror or error}", file=sys.stderr)
        return 1
    try:
        connection.request("GET", parts.path or "/", headers={"Host": parts.netloc})
        answer = connection.getresponse()
        body = answer.read()
    except TimeoutError:
        print("wget: download timed out", file=sys.stderr)
        return 1
    except (OSError, http.client.HTTPException) as error:
        print(f"wget: error getting response: {error}", file=sys.stderr)
        return 1
    if answer.status >= 400:
        print(f"wget: server returned error: HTTP/1.1 {answer.status} {answer.reason}", file=sys.stderr)
        return 1
    if target == "-":
        sys.stdout.buffer.write(body)
    else:
        with open(target or os.path.basename(parts.path) or "index.html", "wb") as file:
            file.write(body)
    return 0


if __name__ == "__main__":
    sys.exit({"httpd": httpd, "wget": wget}[sys.argv[1]](sys.argv[2:]))
