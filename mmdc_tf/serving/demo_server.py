"""The page's server: on this machine alone, with a folder of its own that is gone when it ends. Needs no Gradio."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.errors import ConfigurationError

if TYPE_CHECKING:
    from fastapi import FastAPI

HOST = "127.0.0.1"
OFFLINE = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
"""Gradio counts its users and looks for new versions otherwise."""


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that only this user can read, for all that the page must write; deleted at the end, whatever ends it.

    From here on Gradio and ``tempfile`` write nowhere else, and a request to end or a closed terminal is as Ctrl-C. To
    be entered before Gradio is imported.
    """
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="mmdc-tf-demo-") as folder:
        os.environ.update(OFFLINE, GRADIO_TEMP_DIR=folder)
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


def listen(port: int) -> socket.socket:
    """Takes a port of this machine, 0 for any that is free; ``ConfigurationError`` where it is taken."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise ConfigurationError(
            f"Expected a port that is free. Received: port={port} ({error.strerror}). Choose another --port, or 0 for "
            "any that is free."
        ) from error


def run_server(app: FastAPI, listener: socket.socket) -> None:
    """Answers requests to a socket of ``listen`` until Ctrl-C, which is raised; open connections then get a second."""
    import uvicorn

    uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)).run(sockets=[listener])
