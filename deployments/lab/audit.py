"""The API server's audit log as a file: who changed what, one JSON object a line.

As an audit policy of level Metadata has it: no request bodies, in which secrets stand. What kubelets send about their
own nodes is left out, as most policies do: it would be most of the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Json = dict[str, Any]

KUBELETS = "system:nodes"
TOLD = ("user", "verb", "group", "resource", "subresource", "namespace", "name", "code")


class AuditLog:
    """Appends to a file while it is open.

    version: the newest resourceVersion, which places a request among the changes that a watch tells
    """

    def __init__(self, path: Path, version: Callable[[], int]) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8")
        self._version = version

    def __call__(self, event: Json) -> None:
        """One request that was answered."""
        if KUBELETS in event["groups"]:
            return
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        line = {"at": at, "version": self._version(), **{key: event[key] for key in TOLD}}
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Nothing is written any more."""
        self._file.close()
