"""``mmdc-tf demo``: what it refuses in one line before anything heavy is imported."""

from __future__ import annotations

import importlib.util
import socket

import pytest
from command_line import imported_by_help, refused
from served_model import write_card

from mmdc_tf.preprocessing import get_recipe


@pytest.fixture
def model(tmp_path):
    """A folder with a card, and a file in the model's place: nothing here is loaded."""
    content = {"class_names": ["a", "b"], "inputs": ["image"], "image_size": 32}
    write_card(tmp_path, {**content, "preprocessing": get_recipe("plain").to_config()})
    (tmp_path / "model.keras").write_text("no model")
    return tmp_path


@pytest.fixture
def gradio(monkeypatch):
    """As if the package were there, where it is not."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_without_gradio_it_says_what_to_install(model, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    error = refused(capsys, "demo", "--model", model)
    assert "Expected gradio" in error and "pip install 'mmdc_tf[demo]'" in error


def test_a_port_that_is_taken_is_refused(model, gradio, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Expected a port that is free. Received: port={port}" in refused(
            capsys, "demo", "--model", model, "--port", str(port)
        )


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_that_is_none_is_refused(model, capsys, port):
    assert f"received {port!r}".replace("'", "") in refused(capsys, "demo", "--model", model, f"--port={port}").replace(
        "'", ""
    )


def test_a_model_that_is_absent_is_refused(tmp_path, gradio, capsys):
    assert "Expected a saved model" in refused(capsys, "demo", "--model", tmp_path / "nowhere")


def test_help_imports_neither_tensorflow_nor_gradio():
    assert imported_by_help("demo", {"tensorflow", "keras", "gradio", "uvicorn", "fastapi"}) == []
