"""The site's mirror: an apt repository and a container registry, as one read-only web server.

`python -m poolkeeper.deployments.lab.real.machines.mirror FOLDER ADDRESS PORT`
"""

from __future__ import annotations

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from poolkeeper.deployments.lab.real.machines.images import media_type

PORT = 80


class Mirror(SimpleHTTPRequestHandler):
    """Files below a folder; the registry's part answers as https://github.com/opencontainers/distribution-spec asks."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """`/v2/` says that this is a registry; all else is a file."""
        if self.path == "/v2/":
            self._say(b"{}")
        else:
            super().do_GET()

    def guess_type(self, path: object) -> str:
        """The registry's own types; apt asks for none."""
        return media_type(Path(str(path)))

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Room for all machines that install and pull at once."""

    request_queue_size = 256
    daemon_threads = True


def main(folder: str, address: str, port: str = str(PORT)) -> None:
    """Serve until killed."""
    Server((address, int(port)), partial(Mirror, directory=folder)).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
