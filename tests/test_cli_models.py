"""``mmdc-tf predict``, ``explain`` and ``export`` from end to end with a small saved model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from command_line import PROJECT, ended, refused
from served_model import CLASSES, change_card, scan, write_dicom, write_image, write_model

import mmdc_tf
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import RESEARCH_USE
from mmdc_tf.serving import parity
from mmdc_tf.serving.export import in_float32

PHANTOM = "phantom: not a reproduction"
P_COLUMNS = [f"p_{name}" for name in CLASSES]


@pytest.fixture
def model(phantom_model) -> Path:
    return phantom_model


@pytest.fixture
def scans(tmp_path) -> Path:
    """A folder with two scans, the second with a lesion mask that is half of it, and notes beside them."""
    for name, seed in (("a.png", 1), ("b/c.png", 2)):
        write_image(tmp_path / "scans" / name, scan(seed))
    mask = np.zeros((48, 40), np.uint8)
    mask[:24] = 255
    write_image(tmp_path / "scans" / "b" / "c_Mask.png", mask)
    (tmp_path / "scans" / "notes.txt").write_text("no image")
    return tmp_path / "scans"


def parsed(text: str) -> dict:
    """Strict JSON: no NaN."""
    return json.loads(text, parse_constant=pytest.fail)


def names_of(content: dict) -> list[str]:
    return [Path(one["path"]).name for one in content["predictions"]]


def values_of(content: dict) -> list[tuple[float | None, float | None]]:
    return [(one["age"]["value"], one["density"]["value"]) for one in content["predictions"]]


# predict


def test_a_folder_becomes_a_table(model, scans, capsys):
    code, out, err = ended(capsys, "predict", "--model", model, scans, "--age", "61", "--density", "3")
    assert code == 0 and "lesion masks" in err
    assert f"{PHANTOM}. {RESEARCH_USE}" in out
    assert "cancer at or above 0.300 (sensitivity 0.9, fitted on: validation part)" in out
    lines = [line for line in out.splitlines() if ".png" in line]
    assert [Path(line.split()[0]).name for line in lines] == ["a.png", "c.png"]
    expected = mmdc_tf.load_predictor(model).predict([scans / "a.png"], age=61, density=3)[0]
    assert lines[0].split()[1:4] == [f"{value:.3f}" for value in expected.probabilities.values()]
    assert f"cancer {expected.with_unknown['age']['cancer']:.3f}" in lines[0] and "61 (given)" in lines[0]
    change_card(model, threshold=None, positive_class=None)
    out = ended(capsys, "predict", "--model", model, scans / "a.png")[1]
    assert "decision: none, since no class was named with --positive-class when it was trained" in out


def test_json_is_alone_on_the_output_stream_of_a_process_and_a_csv_file_holds_the_same(model, scans, tmp_path):
    """No cell of the file is a formula, and TensorFlow says nothing on the error stream."""
    write_image(tmp_path / "=1+1.png", scan(1))
    options = ["--model", str(model), "=1+1.png", "scans", "scans/a.png", "--json", "--output", "found.csv"]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment["PYTHONPATH"] = str(PROJECT)
    command = [sys.executable, "-m", "mmdc_tf.cli", "predict", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=240)
    content = parsed(done.stdout)
    assert done.returncode == 0 and names_of(content) == ["=1+1.png", "a.png", "c.png"]
    assert content["research_use_only"] is True and RESEARCH_USE in content["notice"] and content["failed"] == []
    assert content["predictions"][0]["age"] == {"value": None, "source": "unknown", "in_header": None}
    assert [line[:6] for line in done.stderr.splitlines()] == ["note: ", "note: ", "writte"]
    table, predictions = pd.read_csv(tmp_path / "found.csv"), content["predictions"]
    assert table["image_path"].tolist() == ["'=1+1.png", *(one["path"] for one in predictions[1:])]
    expected = [[one["probabilities"][name] for name in CLASSES] for one in predictions]
    pd.testing.assert_frame_equal(table[P_COLUMNS], pd.DataFrame(expected, columns=P_COLUMNS))
    assert table["decision"].tolist() == [one["decision"] for one in predictions]
    assert table["notice"].str.contains(f"{PHANTOM}. {RESEARCH_USE}", regex=False).all() and table["error"].isna().all()


def test_a_table_gives_values_by_image_before_those_for_all(model, scans, tmp_path, capsys):
    lines = ["image_path,age,density", "scans/a.png,45,", f"{scans / 'b' / 'c.png'},,unknown", "scans/gone.png,50,1"]
    (tmp_path / "values.csv").write_text("\n".join(lines))
    command = ("predict", "--model", model, "--table", tmp_path / "values.csv", "--age", 61, "--density", 2, "--json")
    code, out, err = ended(capsys, *command, scans)
    assert code == 0 and values_of(parsed(out)) == [(45.0, 2.0), (61.0, None)]
    assert "for images that are not asked for: 1" in err
    code, out, err = ended(capsys, *command)
    assert code == 1 and len(parsed(out)["predictions"]) == 2 and "gone.png" in err


def test_a_table_may_be_written_as_people_do(model, scans, tmp_path, capsys):
    """Semicolons, decimal commas, a byte order mark, another case, back-slashes; one image is called in two ways."""
    write_image(scans / "b" / "Se\u0301no.png", scan(7))
    lines = ["Image Path;AGE;Density;BMI", "scans\\A.PNG;45,5;B;22", "scans\\b\\s\u00e9no.PNG;0;BI-RADS 3;23"]
    (tmp_path / "values.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    code, out, err = ended(capsys, "predict", "--model", model, "--table", tmp_path / "values.csv", "--json")
    content = parsed(out)
    assert code == 0 and names_of(content) == ["a.png", "Se\u0301no.png"]
    assert values_of(content) == [(45.5, 2.0), (None, 3.0)]
    assert "note: age 0, taken as unknown: 1, for example in row 3" in err
    assert "note: columns of the table that are not used: 'BMI'" in err


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image_path", "a.png"], "Expected a column age, density or both"),
        (["image,age", "a.png,4"], "without image_path"),
        (["image_path,age", "a.png,400"], "age='400' in row 2"),
        (["image_path,age", ",40"], "none in row 2"),
        (["image_path,age", "a.png,40", "./a.png,41"], "again in row 3"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(model, scans, tmp_path, capsys, lines, message):
    (tmp_path / "values.csv").write_text("\n".join(lines))
    assert message in refused(capsys, "predict", "--model", model, scans, "--table", tmp_path / "values.csv")


def test_a_broken_file_is_named_and_the_rest_is_done(model, scans, capsys):
    (scans / "broken.png").write_bytes(b"no image")
    code, out, err = ended(capsys, "predict", "--model", model, scans, scans / "nowhere.png", "--json")
    content = parsed(out)
    assert code == 1 and names_of(content) == ["a.png", "c.png"]
    assert [Path(one["path"]).name for one in content["failed"]] == ["broken.png", "nowhere.png"]
    assert err.count("failed: ") == 2 and str(scans / "broken.png") in err
    code, out, _ = ended(capsys, "predict", "--model", model, scans / "broken.png", "--output", scans / "found.csv")
    table = pd.read_csv(scans / "found.csv")
    assert code == 1 and RESEARCH_USE in out
    assert table["image_path"].tolist() == [str(scans / "broken.png")]
    assert "broken.png" in table["error"][0] and RESEARCH_USE in table["notice"][0]


def test_the_age_of_a_header_is_used_and_a_disagreement_is_printed(model, tmp_path, capsys):
    path = write_dicom(tmp_path / "a.dcm", scan(), PatientAge="061Y")
    _, out, err = ended(capsys, "predict", "--model", model, path)
    assert "61 (header)" in out and "in the DICOM header" not in err
    _, out, err = ended(capsys, "predict", "--model", model, path, "--age", "40")
    assert "40 (given)" in out and "age_differs_from_header" in out
    assert f"note: {path}: age 61 in the DICOM header; used: the given 40" in err
    out = ended(capsys, "predict", "--model", model, path, "--age", "unknown", "--json")[1]
    assert parsed(out)["predictions"][0]["age"] == {"value": None, "source": "unknown", "in_header": 61.0}


# explain


def explain(capsys, model: Path, scans: Path, *more: object) -> tuple[int, list[str], list[str]]:
    """Both scans; the lines of both streams."""
    images = (scans / "a.png", scans / "b" / "c.png")
    code, out, err = ended(capsys, "explain", "--model", model, "--output", scans.parent / "out", *images, *more)
    return code, out.splitlines(), err.splitlines()


def test_a_picture_an_image_and_scores_where_a_mask_is(model, scans, capsys):
    code, (first, plain, lesion), _ = explain(capsys, model, scans, "--age", "61", "--density", "3")
    assert code == 0 and first == f"{PHANTOM}. {RESEARCH_USE}"
    for name in ("Grad-CAM", "fusion, by the clinical token", "fusion, by the image tokens"):
        assert f"{name}: " in lesion
    assert "chance" not in plain and "chance 50.0 %" in lesion
    for name in ("a.heatmap.png", "b/c.heatmap.png"):
        picture = cv2.imread(str(scans.parent / "out" / name))
        assert picture.shape[1] > 4 * 400  # the image and three heatmaps beside each other
    assert {path.name for path in scans.parent.iterdir()} == {"out", "scans", "models"}


def test_lesions_are_summed_up_and_uniform_maps_have_no_score(model, scans, capsys):
    """A fusion whose queries are zero attends to all tokens alike: 1/5 each."""
    (scans / "a_Mask.png").write_bytes((scans / "b" / "c_Mask.png").read_bytes())
    masks = (scans / "a_Mask.png", scans / "b" / "c_Mask.png")  # as a shell's *.png gives them: no scans
    network = keras.models.load_model(model / "model.keras")
    for weight in network.get_layer("fusion").attention.weights[:2]:
        weight.assign(0 * weight)
    network.save(model / "model.keras")
    code, lines, _ = explain(capsys, model, scans, *masks)
    assert code == 0 and len(lines) == 1 + 2 + 3 and all("phantom" in line for line in lines)
    assert lines[1].count("fusion, by the clinical token: n/a (uniform)") == 1
    assert "fusion, by the image tokens: n/a; uniform maps, without a score: 2" in lines[-1]
    assert lines[3].startswith("Grad-CAM: pointing game ") and " of 2 lesions" in lines[3]


def test_a_broken_image_and_a_broken_mask_are_named_and_the_rest_is_done(model, scans, capsys):
    (scans / "broken.png").write_text("x")
    (scans / "a_mask.png").write_text("x")
    code, _, errors = explain(capsys, model, scans, scans / "broken.png")
    assert code == 1 and len(errors) == 2
    assert errors[0].startswith("a.png: drawn without its lesion: Expected")
    assert errors[1].startswith("broken.png: Expected a PNG")
    assert len(list((scans.parent / "out").rglob("*.png"))) == 2


def test_the_class_asked_for_and_a_mask_elsewhere(model, scans, capsys):
    command = ("explain", "--model", model / "model.keras", "--output", scans.parent / "out", scans / "a.png")
    code, out, _ = ended(capsys, *command, "--class", "normal", "--mask", scans / "b" / "c_Mask.png")
    assert code == 0 and "a.png: normal 0." in out.splitlines()[1] and "Grad-CAM: " in out
    assert "Did you mean 'cancer'?" in refused(capsys, *command, "--class", "canser")
    change_card(model, image_size=64)
    assert "Expected the card of this model beside it" in refused(capsys, *command)


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_what_files_and_models_are_called_is_text_on_the_terminal(model, scans, capsys, command):
    """No name is a control sequence to the terminal, and one that is not UTF-8 is a name like others."""
    paths = [scans / os.fsdecode(name) for name in (b"s\x1b[31m\xff.png", b"t\xc2\x9b\xff.png")]
    paths[0].write_bytes((scans / "a.png").read_bytes())
    paths[1].write_text("x")
    change_card(model, model="net\x1b[2J", notice=f"\x1b[2J{PHANTOM}", class_names=["be\x1bnign", "cancer", "normal"])
    output = scans / ("found\x1b.csv" if command == "predict" else "out")
    code, out, err = ended(capsys, command, "--model", model, *paths, "--output", output)
    assert code == 1 and "s?[31m?.png" in out and "t??.png" in err
    assert all(character.isprintable() for character in (out + err).replace("\n", ""))


# export


@pytest.mark.parametrize(
    ("form", "place"), [("onnx", "model.onnx"), ("tflite", "model.tflite"), ("saved_model", "saved_model")]
)
def test_it_is_written_beside_the_model_and_compared(model, scans, capsys, form, place):
    code, out, err = ended(capsys, "export", "--model", model, "--format", form, "--images", scans)
    assert code == 0 and not err and (model / place).exists() and not list(model.glob(".*"))
    for part in (
        f"written: {model / place} (",
        "compared with Keras on 2 images: largest difference of a probability",
        "same most probable class in 2 of 2",
        "metadata (batch, 2), age in years and density 1 to 4, NaN where unknown",
        "before the card's temperature of 1.5",
        f"{PHANTOM}. {RESEARCH_USE}",
    ):
        assert part in out


def test_elsewhere_the_card_goes_along_and_phantoms_are_compared(model, capsys):
    place = model.parent / "out" / "mine.tflite"
    command = ("export", "--model", model / "model.keras", "--format", "tflite", "--quantize", "--output", place)
    code, out, _ = ended(capsys, *command)
    assert code == 0 and "at least 90 % needed" in out
    assert "compared with Keras on 50 phantom images; --images PATH compares on real ones: " in out
    assert {path.name for path in place.parent.iterdir()} == {"mine.tflite", "mine.json"}
    assert json.loads(place.with_name("mine.json").read_text()) == json.loads((model / "model.json").read_text())


def test_another_answer_is_a_failure_and_the_file_stays(model, scans, capsys, monkeypatch):
    wrong = np.array([[0.2, 0.3, 0.5]])
    monkeypatch.setitem(parity.RUNTIMES, "onnx", lambda *_: lambda inputs: wrong[[0] * len(inputs["image"])])
    code, out, err = ended(capsys, "export", "--model", model, "--format", "onnx", "--images", scans)
    assert code == 1 and err.count("\n") == 1 and "The file is kept" in err
    assert err.startswith(f"failed: {model / 'model.onnx'} does not say what the Keras model says")
    assert (model / "model.onnx").is_file() and "compared with Keras" in out


def test_nothing_but_an_earlier_export_is_replaced(model, capsys):
    own = model / "saved_model" / "notes.txt"
    own.parent.mkdir()
    own.write_text("mine")
    assert "something else is there" in refused(capsys, "export", "--model", model, "--format", "saved_model")
    (model / "a.onnx").mkdir()
    (model / "b.json").write_text("[]")
    change_card(shutil.copytree(model, model.parent / "other"), temperature=3.0)
    command = ("export", "--model", model, "--format", "onnx", "--output")
    assert "something else is there" in refused(capsys, *command, model / "a.onnx")
    for place in (model / "b.onnx", model.parent / "other" / "model.onnx"):
        assert "another file has that name" in refused(capsys, *command, place)
    assert own.read_text() == "mine"


def test_what_is_not_installed_is_named(model, capsys, monkeypatch, tmp_path):
    import importlib.util

    found = importlib.util.find_spec
    absent = ("tf2onnx", "gradio", "gdcm")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else found(name))
    error = refused(capsys, "export", "--model", model, "--format", "onnx")
    assert "no tf2onnx" in error and "pip install 'mmdc_tf[export]'" in error
    error = refused(capsys, "demo", "--model", model)
    assert "Expected gradio" in error and "pip install 'mmdc_tf[demo]'" in error
    (tmp_path / "scan.dcm").touch()
    code, _, error = ended(capsys, "predict", "--model", model, tmp_path / "scan.dcm")
    assert code == 1 and "no gdcm" in error and "pip install 'mmdc_tf[dicom]'" in error


@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_a_model_trained_in_mixed_precision_is_exported_in_float32(tiny_backbone, scans, tmp_path, capsys, form):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = write_model(tmp_path / "mixed", backbone=tiny_backbone, conv_filters=8, grid=2)
    finally:
        keras.config.set_dtype_policy("float32")
    code, out, err = ended(capsys, "export", "--model", model, "--format", form, "--images", scans)
    assert code == 0 and not err and "note: trained in mixed precision; rebuilt in float32" in out
    saved = keras.models.load_model(model / "model.keras")
    again = in_float32(saved)
    assert saved.get_layer("fusion").compute_dtype == "bfloat16"
    assert {layer.compute_dtype for layer in again._flatten_layers()} == {"float32"}
    for before, after in zip(saved.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
