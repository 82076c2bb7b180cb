"""The page's server: on this machine alone, with a folder of its own that is gone when it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mmdc_tf.errors import ConfigurationError

if TYPE_CHECKING:
    from fastapi import FastAPI

HOST = "127.0.0.1"
OFFLINE = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
"""Gradio counts its users and looks for new versions otherwise."""
PATIENCE = 1
"""Seconds that open connections get when the server ends."""


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that only this user can read, for all that a page must write; deleted at the end, whatever ends it.

    Inside, Gradio and ``tempfile`` write nowhere else, and Gradio tells nobody that it runs. To be entered before
    Gradio is imported.
    """
    environment, place = dict(os.environ), tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="mmdc-tf-demo-") as folder:
        os.environ.update(OFFLINE, GRADIO_TEMP_DIR=folder)
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = place
            os.environ.clear()
            os.environ.update(environment)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """A request to end or a closed terminal is as Ctrl-C: a ``KeyboardInterrupt``, so that nothing is left behind."""

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(port: int) -> socket.socket:
    """Takes a port of this machine; nobody on the network can reach it.

    Args:
        port: 0 for any that is free.

    Raises:
        ConfigurationError: it is taken or may not be used.
    """
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise ConfigurationError(
            f"Expected a port that is free. Received: port={port} ({error.strerror}). Choose another --port, or 0 for "
            "any that is free."
        ) from error


def run_server(app: FastAPI, listener: socket.socket) -> None:
    """Answers requests until it is interrupted.

    Args:
        app: which answers them.
        listener: of ``listen``; closed at the end.

    Raises:
        KeyboardInterrupt: Ctrl-C, once the server has ended.
    """
    import uvicorn

    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=PATIENCE)
    uvicorn.Server(config).run(sockets=[listener])
