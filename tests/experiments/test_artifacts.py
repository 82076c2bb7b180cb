"""The files of a run: never half-written, never silently of another configuration, never lost."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess

import pytest

from mmdc_tf import io
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments import artifacts

CONFIG = {"seed": 0, "weights": "none", "class_names": ("benign", "cancer"), "training": {"epochs": 4, "size": 64}}


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_writer_sees_a_name_of_its_own_with_the_same_suffix(tmp_path):
    path = tmp_path / "new" / "model.keras"

    def write(temporary):
        assert temporary.parent == path.parent
        assert temporary.suffix == ".keras"  # Keras chooses the format by it
        assert not path.exists()
        temporary.write_text("done")

    artifacts.write_with(path, write)
    assert path.read_text() == "done"
    assert names(path.parent) == ["model.keras"]


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half of the n")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        artifacts.write_with(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_json_comes_back_as_it_was(tmp_path):
    content = {"label": "MMDCNet α", "values": [1, 2.5, None], "nested": {"a": True}}
    io.write_json(tmp_path / "a.json", content)
    assert io.read_json(tmp_path / "a.json") == content
    assert "α" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert io.read_json(tmp_path / "absent.json") is None


@pytest.mark.parametrize("text", ["", '{"seed": 0'])
def test_a_broken_json_file_is_named(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"a JSON file. Received: .*run\.json .*--fresh"):
        io.read_json(tmp_path / "run.json")


def test_a_folder_that_can_be_written_is_made_and_left_empty(tmp_path):
    io.require_writable(tmp_path / "a" / "b")
    io.require_writable(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match=rf"written to. Received: output=.*{place} \(.+\). Choose another"):
        io.require_writable(tmp_path / place)
    assert (tmp_path / "file").read_text() == "x"


def test_the_first_configuration_is_written_and_the_same_one_accepted(tmp_path):
    path = tmp_path / "run.json"
    artifacts.require_same(path, CONFIG)
    written = path.stat().st_mtime_ns
    artifacts.require_same(path, dict(reversed(CONFIG.items())))
    assert path.stat().st_mtime_ns == written
    assert json.loads(path.read_text())["training"] == {"epochs": 4, "size": 64}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"seed": 1}, "seed: 0 → 1"),
        ({"training": {"epochs": 5, "size": 64}}, "training.epochs: 4 → 5"),
        ({"weights": "imagenet", "seed": 2}, "seed: 0 → 2; weights: 'none' → 'imagenet'"),
        ({"cut": "pool4_pool"}, "cut: None → 'pool4_pool'"),
    ],
)
def test_a_change_is_refused_and_only_what_differs_is_named(tmp_path, change, expected):
    path = tmp_path / "run.json"
    artifacts.require_same(path, CONFIG)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=rf"Received: {re.escape(expected)}\. .*--fresh"):
        artifacts.require_same(path, {**CONFIG, **change})
    assert path.read_bytes() == before


def test_a_value_that_is_gone_is_a_change(tmp_path):
    artifacts.require_same(tmp_path / "run.json", CONFIG)
    with pytest.raises(ConfigurationError, match="weights: 'none' → None"):
        artifacts.require_same(tmp_path / "run.json", {key: CONFIG[key] for key in CONFIG if key != "weights"})


def test_an_earlier_result_is_set_aside_and_kept(tmp_path):
    folder = tmp_path / "table1"
    assert artifacts.set_aside(folder) is None
    places = []
    for content in ("first", "second"):
        io.write_text(folder / "row" / "status.json", content)
        places.append(artifacts.set_aside(folder))
        assert not folder.exists()
    assert [(place / "row" / "status.json").read_text() for place in places] == ["first", "second"]
    assert all(place.parent == tmp_path and place.name.startswith("table1.before-") for place in places)


def test_the_environment_names_versions_revision_and_dataset():
    facts = artifacts.environment("0123456789abcdef")
    assert facts["dataset_fingerprint"] == "0123456789abcdef"
    for package in ("tensorflow", "keras", "numpy", "opencv-python"):
        assert facts["packages"][package] == importlib.metadata.version(package)
    assert facts["git_revision"] is None or re.fullmatch("[0-9a-f]{40}", facts["git_revision"])
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 10)])
def test_without_git_there_is_no_revision(monkeypatch, error):
    def run(*_, **__):
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert artifacts.environment("")["git_revision"] is None
