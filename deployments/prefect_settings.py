"""The settings that every Prefect process of ours runs with. Prefect reads them when it is imported."""

from __future__ import annotations

import os
from pathlib import Path

from poolkeeper.tasks.ledger import private_folder
from poolkeeper.tasks.settings import state_folder

SERVER_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    # By default the server writes each event by itself: some 45 task runs a second, and flows wait for the database.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
}
"""What a Prefect server of ours runs with: no telemetry, and records written in batches."""


def prepare_environment() -> None:
    """Set them, unless the user has set others. Without PREFECT_API_URL an ephemeral server uses the state folder."""
    os.environ.setdefault("PREFECT_HOME", str(state_folder() / "prefect"))
    for name, value in SERVER_SETTINGS.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("PREFECT_API_URL"):  # an ephemeral server writes to the terminal, also as it is ended
        os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    private_folder(Path(os.environ["PREFECT_HOME"]))  # Prefect itself makes only the last folder, for everyone
