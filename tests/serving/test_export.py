"""Exported models say what the Keras model says, in every format, for every kind of registered model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from served_model import CLASSES, SIZE, write_model

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.serving.export import FORMATS, default_place, export_model
from mmdc_tf.serving.parity import LARGEST_DIFFERENCE, OUTPUT, RUNTIMES, Parity, compare, with_the_rest

FILES = ("onnx", "tflite")


def tensors(model: keras.Model, count: int = 5) -> dict[str, np.ndarray]:
    pixels = np.random.default_rng(5).uniform(0, 255, (count, SIZE, SIZE, 3))
    pixels *= np.linspace(0.1, 1, count)[:, None, None, None]  # from dark to bright, so that the answers differ
    return with_the_rest([tensor.name for tensor in model.inputs], pixels)


def exported(folder: Path, name: str, quantise: bool = False):
    """The exported model as a call, of a training's folder."""
    place = default_place(folder / "model.keras", FORMATS[name], quantise)
    model = keras.models.load_model(folder / "model.keras")
    export_model(model, folder / "model.json", FORMATS[name], place, quantise)
    return RUNTIMES[name](place)


def by_keras(folder: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return keras.models.load_model(folder / "model.keras").predict(inputs, verbose=0)


@pytest.mark.parametrize("name", FORMATS)
def test_any_number_of_images_with_their_other_view_or_without(saved, name):
    folder = saved("two_view_classifier")
    inputs = tensors(keras.models.load_model(folder / "model.keras"))
    predict, expected = exported(folder, name), by_keras(folder, inputs)
    assert np.isnan(inputs["other_view"]).all(axis=(1, 2, 3)).tolist() == [True, False, True, False, True]
    for rows in (slice(0, 4), slice(4, 5), slice(0, 2)):
        found = predict({key: values[rows] for key, values in inputs.items()})
        np.testing.assert_allclose(found, expected[rows], atol=LARGEST_DIFFERENCE)
    assert np.ptp(expected, axis=0).max() > 10 * LARGEST_DIFFERENCE  # not the same for all images


@pytest.mark.parametrize("name", FORMATS)
def test_unknown_is_not_a_number_in_disguise(saved, name):
    """NaN gives another answer than 0 and than the mean, and both values have their own unknown."""
    folder = saved("mmdcnet")
    image = np.repeat(tensors(keras.models.load_model(folder / "model.keras"))["image"][:1], 5, axis=0)
    metadata = np.array([[np.nan, np.nan], [np.nan, 0], [0, np.nan], [0, 0], [60, 2]], "float32")
    inputs = {"image": image, "metadata": metadata}
    found = exported(folder, name)(inputs)
    assert len(np.unique(found[:, 0].round(5))) == 5
    np.testing.assert_allclose(found, by_keras(folder, inputs), atol=LARGEST_DIFFERENCE)


FAMILIES = {
    "swin": {"embed": 12, "depths": [2], "heads": [2], "window": 4},
    "convmixer": {"width": 16, "depth": 1},
    "vit": {"patch": 8, "width": 16, "depth": 1, "heads": 2, "mlp": 32},
    "medfuse": {"backbone": "tiny", "width": 16},
    "bcdnet": {"backbone": "tiny"},
}


@pytest.mark.parametrize("model", FAMILIES)
def test_every_kind_of_layer_has_its_counterpart(tiny_backbone, tmp_path, model):
    """In ONNX and TFLite; a SavedModel holds TensorFlow's own operations."""
    folder = write_model(tmp_path, model, **FAMILIES[model])
    loaded = keras.models.load_model(folder / "model.keras")
    inputs = tensors(loaded)
    assert np.ptp(by_keras(folder, inputs), axis=0).max() > 10 * LARGEST_DIFFERENCE
    for name in FILES:
        parity = compare(loaded, exported(folder, name), inputs, quantised=False)
        assert parity.passed, f"{name}: {parity.text}"


def test_the_onnx_file_says_how_it_is_to_be_used(saved):
    import onnx

    folder = saved("mmdcnet")
    exported(folder, "onnx")
    network = onnx.load(folder / "model.onnx")
    facts = {entry.key: entry.value for entry in network.metadata_props}
    assert {one.name for one in network.graph.input} == {"image", "metadata"}
    assert [one.name for one in network.graph.output] == [OUTPUT]
    assert json.loads(facts["class_names"]) == list(CLASSES)
    assert facts["preprocessing"] == "plain" and "Research use only" in facts["notice"]
    assert json.loads(facts["card"])["temperature"] == 1.5


@pytest.mark.parametrize("name", FILES)
def test_files_run_without_tensorflow_or_this_package(saved, tmp_path, name):
    folder = saved("backbone_classifier")
    inputs = tensors(keras.models.load_model(folder / "model.keras"), 2)
    exported(folder, name)
    np.save(tmp_path / "image.npy", inputs["image"])
    code = {
        "onnx": "import onnxruntime as o; found = o.InferenceSession(sys.argv[1]).run(None, {'image': image})[0]",
        "tflite": "from ai_edge_litert.interpreter import Interpreter; "
        "found = Interpreter(sys.argv[1]).get_signature_runner()(image=image)['probabilities']",
    }[name]
    code = f"import sys, numpy as np; image = np.load(sys.argv[2]); {code}; np.save(sys.argv[2], found); "
    code += "print(sorted({'tensorflow', 'keras', 'mmdc_tf'} & set(sys.modules)))"
    file = next(folder.glob(f"model{FORMATS[name].suffix}"))
    command = [sys.executable, "-c", code, str(file), str(tmp_path / "image.npy")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "image.npy"), by_keras(folder, inputs), atol=LARGEST_DIFFERENCE)


@pytest.mark.parametrize("name", FILES)
def test_quantised_files_are_smaller_and_near(tmp_path, name):
    """A network large enough for its weights to be most of the file."""
    folder = write_model(tmp_path, "convmixer", width=256, depth=1, patch=8)
    model = keras.models.load_model(folder / "model.keras")
    inputs, suffix = tensors(model, 16), FORMATS[name].suffix
    exported(folder, name)
    parity = compare(model, exported(folder, name, quantise=True), inputs, quantised=True)
    whole, small = (folder / f"{stem}{suffix}" for stem in ("model", "model-int8"))
    assert small.stat().st_size < 0.5 * whole.stat().st_size
    assert 0 < parity.largest < 0.2


def test_an_operation_without_counterpart_is_one_line(tmp_path, saved):
    """A random number in the graph: LiteRT has none like TensorFlow's."""
    folder = saved("backbone_classifier")
    image = keras.Input((SIZE, SIZE, 3), name="image")
    hidden = keras.layers.Lambda(lambda x: keras.ops.fft2((x[..., 0], x[..., 1]))[0])(image)
    model = keras.Model({"image": image}, keras.layers.Dense(3)(keras.layers.Flatten()(hidden)))
    with pytest.raises(ConfigurationError, match="Expected a model that TFLite can hold"):
        export_model(model, folder / "model.json", FORMATS["tflite"], tmp_path / "new" / "a.tflite")
    assert not (tmp_path / "new" / "a.tflite").exists()


def test_an_export_replaces_an_earlier_one_whole(saved):
    folder = saved("backbone_classifier")
    exported(folder, "saved_model")
    (folder / "saved_model" / "variables" / "old").write_text("")
    exported(folder, "saved_model")
    assert not (folder / "saved_model" / "variables" / "old").exists()
    assert {path.name for path in folder.iterdir()} == {"model.keras", "model.json", "saved_model"}
    assert (folder / "saved_model" / "model.json").read_bytes() == (folder / "model.json").read_bytes()


@pytest.mark.parametrize(
    ("parity", "passed"),
    [
        (Parity(50, 9e-5, 49, False), True),
        (Parity(50, 2e-4, 50, False), False),
        (Parity(50, float("nan"), 50, False), False),
        (Parity(50, 0.3, 45, True), True),
        (Parity(50, 0.01, 44, True), False),
        (Parity(50, float("nan"), 50, True), False),
    ],
)
def test_what_is_near_enough(parity, passed):
    assert parity.passed is passed


def test_a_difference_is_found_in_any_image(saved):
    """The last image of the last batch, by a known amount."""
    model = keras.models.load_model(saved("mmdcnet") / "model.keras")
    inputs = tensors(model, 18)

    def wrong(part):
        found = model.predict(part, verbose=0)
        if len(found) == 2:
            found[-1, found[-1].argmin()] += 1.0
        return found

    found = compare(model, wrong, inputs, quantised=False)
    assert found.images == 18 and found.agreeing == 17 and not found.passed
    assert found.largest == pytest.approx(1.0, abs=1e-5)
