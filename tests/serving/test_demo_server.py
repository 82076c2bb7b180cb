"""The page's server: what it leaves behind, whatever ends it, and where it can be reached."""

from __future__ import annotations

import os
import signal
import tempfile
import time

import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.serving.demo_server import ended_by_signals, listen, private_folder


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_nothing_is_left_behind_whatever_ends_it(name):
    environment, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), ended_by_signals(), private_folder() as folder:
        (folder / "scan.png").write_text("of a patient")
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder) == tempfile.gettempdir()
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        assert folder.stat().st_mode & 0o077 == 0
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(5)  # interrupted at once
    assert not folder.exists()
    assert dict(os.environ) == environment and tempfile.gettempdir() != str(folder)
    assert signal.getsignal(signal.SIGTERM) is handler


def test_it_listens_on_this_machine_alone_and_a_taken_port_is_refused():
    with listen(0) as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(ConfigurationError, match=f"Received: port={port} "):
            listen(port)
