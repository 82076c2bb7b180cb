"""``mmdc-tf export`` from end to end with a small saved model, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from command_line import refused
from served_model import change_card, scan, write_image, write_model

from mmdc_tf.cli import main
from mmdc_tf.errors import RESEARCH_USE
from mmdc_tf.serving import parity
from mmdc_tf.serving.export import in_float32

NOTICE = "phantom: not a reproduction"


@pytest.fixture
def model(phantom_model) -> Path:
    return phantom_model


@pytest.fixture
def scans(tmp_path) -> Path:
    for number in range(3):
        write_image(tmp_path / "scans" / f"{number}.png", scan(number))
    return tmp_path / "scans"


def export(capsys, *arguments: object) -> tuple[int, str, str]:
    code = main(["export", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("name", "place"), [("onnx", "model.onnx"), ("tflite", "model.tflite"), ("saved_model", "saved_model")]
)
def test_it_is_written_beside_the_model_and_compared(model, scans, capsys, name, place):
    code, out, err = export(capsys, "--model", model, "--format", name, "--images", scans)
    assert code == 0 and not err
    assert (model / place).exists()
    assert f"written: {model / place} (" in out
    assert "compared with Keras on 3 images: largest difference of a probability" in out
    assert "same most probable class in 3 of 3" in out
    assert "metadata (batch, 2), age in years and density 1 to 4, NaN where unknown" in out
    assert "before the card's temperature of 1.5" in out
    assert f"{NOTICE}. {RESEARCH_USE}" in out
    assert not list(model.glob(".*"))


def test_without_images_it_is_compared_on_fifty_phantoms(model, capsys):
    code, out, _ = export(capsys, "--model", model / "model.keras", "--format", "onnx")
    assert code == 0
    assert "compared with Keras on 50 phantom images; --images PATH compares on real ones: " in out


def test_elsewhere_the_card_goes_along(model, scans, capsys):
    place = model.parent / "out" / "mine.tflite"
    code, out, _ = export(
        capsys, "--model", model, "--format", "tflite", "--quantize", "--output", place, "--images", scans
    )
    assert code == 0 and "at least 90 % needed" in out
    assert {path.name for path in place.parent.iterdir()} == {"mine.tflite", "mine.json"}
    assert json.loads(place.with_name("mine.json").read_text()) == json.loads((model / "model.json").read_text())


def test_another_answer_is_a_failure_and_the_file_stays(model, scans, capsys, monkeypatch):
    wrong = np.array([[0.2, 0.3, 0.5]])
    monkeypatch.setitem(parity.RUNTIMES, "onnx", lambda path, threads: lambda inputs: wrong[[0] * len(inputs["image"])])
    code, out, err = export(capsys, "--model", model, "--format", "onnx", "--images", scans)
    assert code == 1
    assert err.startswith(f"failed: {model / 'model.onnx'} does not say what the Keras model says")
    assert err.count("\n") == 1 and "The file is kept" in err
    assert (model / "model.onnx").is_file() and "compared with Keras" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "pickle"], "pickle"),
        (["--format", "saved_model", "--quantize"], "Expected --format onnx or tflite with --quantize"),
        (["--format", "onnx", "--output", "model.tflite"], "ends in .onnx"),
        (["--format", "onnx", "--images", "nowhere.png"], "nowhere.png"),
        (["--format", "onnx", "--images", "."], "Expected PNG, JPEG, TIFF, BMP or DICOM files"),
        (["--format", "onnx", "--model", "nowhere"], "Expected a saved model"),
        (["--format", "onnx", "--output", "/dev/null/x.onnx"], "output=/dev/null"),
    ],
)
def test_bad_input_is_one_line(model, capsys, monkeypatch, arguments, message):
    empty = model.parent / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert message in refused(capsys, "export", "--model", model, *arguments)
    assert not list(empty.iterdir()) and not list(model.glob("model.[ot]*"))


def test_nothing_but_an_earlier_export_is_replaced(model, capsys):
    own = model / "saved_model" / "notes.txt"
    own.parent.mkdir()
    own.write_text("mine")
    assert "something else is there" in refused(capsys, "export", "--model", model, "--format", "saved_model")
    (model / "a.onnx").mkdir()
    arguments = ["export", "--model", model, "--format", "onnx", "--output"]
    assert "something else is there" in refused(capsys, *arguments, model / "a.onnx")
    (model / "b.json").write_text("[]")
    assert "another file has that name" in refused(capsys, *arguments, model / "b.onnx")
    other = model.parent / "other"
    shutil.copytree(model, other)
    change_card(other, temperature=3.0)
    assert "another file has that name" in refused(capsys, *arguments, other / "model.onnx")
    assert own.read_text() == "mine"


def test_what_is_not_installed_is_named(model, capsys, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else found(name))
    error = refused(capsys, "export", "--model", model, "--format", "onnx")
    assert "no tf2onnx" in error and "pip install 'mmdc_tf[export]'" in error


def test_help_needs_no_tensorflow():
    code = "import sys\nfrom mmdc_tf.cli import main\ntry:\n    main(['export', '--help'])\nexcept SystemExit:\n"
    code += "    print(sorted({'tensorflow', 'keras', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("name", ["onnx", "tflite"])
def test_a_model_trained_in_mixed_precision_is_exported_in_float32(tiny_backbone, scans, tmp_path, capsys, name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = write_model(tmp_path / "mixed", backbone=tiny_backbone, conv_filters=8, grid=2)
    finally:
        keras.config.set_dtype_policy("float32")
    code, out, err = export(capsys, "--model", model, "--format", name, "--images", scans)
    assert code == 0 and not err
    assert "note: trained in mixed precision; rebuilt in float32" in out
    saved = keras.models.load_model(model / "model.keras")
    again = in_float32(saved)
    assert saved.get_layer("fusion").compute_dtype == "bfloat16"
    assert {layer.compute_dtype for layer in again._flatten_layers()} == {"float32"}
    for before, after in zip(saved.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
