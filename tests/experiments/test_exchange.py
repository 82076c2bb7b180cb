"""What passes through a folder or object store comes back whole, or counts as not there."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import fsspec
import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments.exchange import Exchange

PLACE = "table2/plain/paper/fold0-seed0"
CONFIG = {"row": "plain", "classes": ("benign", "cancer")}


@pytest.fixture(params=["memory", "folder"])
def exchange(request, tmp_path) -> Exchange:
    return Exchange(f"memory://{uuid.uuid4().hex}" if request.param == "memory" else str(tmp_path / "exchange"))


@pytest.fixture
def training(tmp_path) -> Path:
    """A finished one, with names as they may be."""
    folder = tmp_path / "training"
    files = {"config.json": json.dumps(CONFIG), "status.json": '{"status": "ok"}', "tb/train/a b%20ü#1?.txt": "curve"}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_training_comes_back_as_it_was_sent(exchange, training, tmp_path):
    exchange.require_usable()
    assert not exchange.has_finished(PLACE, CONFIG)
    exchange.send(training, PLACE)
    assert exchange.has_finished(PLACE, CONFIG)
    assert not exchange.has_finished(PLACE, {**CONFIG, "row": "other"})
    exchange.fetch(PLACE, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(training)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "exchange") == ["back", "training"]


def test_one_that_failed_or_was_sent_in_part_is_not_finished(exchange, training):
    (training / "status.json").write_text('{"status": "failed", "error": "out of memory"}')
    exchange.send(training, PLACE)
    assert not exchange.has_finished(PLACE, CONFIG)
    (training / "status.json").unlink()  # the status goes last
    exchange.send(training, "elsewhere")
    assert not exchange.has_finished("elsewhere", CONFIG)


def test_features_that_were_sent_in_part_are_not_taken(exchange, tmp_path):
    entry, here = tmp_path / "cache" / "tiny-1", tmp_path / "other" / "tiny-1"
    entry.mkdir(parents=True)
    (entry / "output0.bin").write_bytes(b"features")
    (entry / "users").mkdir()
    (entry / "part00000.lock").touch()
    exchange.send_features(entry)
    exchange.fetch_features(here)
    assert not here.exists()  # without the facts
    (entry / "facts.json").write_text("{}")
    exchange.send_features(entry)
    exchange.fetch_features(here)
    assert contents(here) == {"output0.bin": b"features", "facts.json": b"{}"}
    (here / "output0.bin").write_bytes(b"own")
    exchange.fetch_features(here)
    assert (here / "output0.bin").read_bytes() == b"own"


def test_an_exchange_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for url in (str(tmp_path / "file" / "run"), "nowhere://run"):
        with pytest.raises(ConfigurationError, match=r"exchange=.*Correct it"):
            Exchange(url).require_usable()
    assert "nowhere" not in fsspec.available_protocols()
