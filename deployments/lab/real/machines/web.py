"""A small https service, which reads its certificate anew for each connection.

`python -m poolkeeper.deployments.lab.real.machines.web CERTIFICATE ADDRESS...`: a PEM file with key and certificate,
and where to listen. `/` is a few bytes, `/large` more than fits into a packet.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 443
LARGE_BYTES = 64 * 1024
_PATIENCE_S = 10


class Page(BaseHTTPRequestHandler):
    """What is there to be seen."""

    timeout = _PATIENCE_S

    def do_GET(self) -> None:
        body = b"x" * LARGE_BYTES if self.path == "/large" else b"intranet\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


class Server(ThreadingHTTPServer):
    """https at one address; a client that does not get on with the certificate is nobody else's concern."""

    daemon_threads = True

    def __init__(self, address: str, certificate: str) -> None:
        self._certificate = certificate
        super().__init__((address, PORT), Page)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread, so that one who does not shake hands holds up nobody."""
        request.settimeout(_PATIENCE_S)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate)
        with context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def shutdown_request(self, request: Any) -> None:
        """TLS has the connection, and has ended it."""
        request.close()

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """It went away, or did not like what it saw."""


def main(certificate: str, *addresses: str) -> None:
    """Serve until killed."""
    servers = [Server(address, certificate) for address in addresses]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
