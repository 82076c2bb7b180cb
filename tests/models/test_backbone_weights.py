"""Weights of backbones: from files in the official format, and from the addresses that Keras itself uses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from mmdc_tf.errors import ConfigurationError, WeightsError
from mmdc_tf.experiments.rows import require_weights
from mmdc_tf.models import BACKBONES, ModelSettings, build_model, resolve_weights

ROOT = Path(__file__).parents[2]
SCALING = {
    "vgg16": keras.applications.vgg16,
    "densenet121": keras.applications.densenet,
    "resnet50": keras.applications.resnet,
    "mobilenet": keras.applications.mobilenet,
    "mobilenetv2": keras.applications.mobilenet_v2,
    "xception": keras.applications.xception,
    "inceptionv3": keras.applications.inception_v3,
}
"""The modules whose ``preprocess_input`` is the oracle of the scaling."""


def images_of(size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (3, size, size, 3)).astype("float32")


def randomise(network: keras.Model) -> None:
    """Other numbers in every weight, so that a weight that is not loaded shows; variances stay positive."""
    draw = np.random.default_rng(7)
    for weight in network.weights:
        scale = 1.0 if weight.path.endswith(("gamma", "variance")) else 0.0
        noise = draw.normal(0, 0.05, weight.shape)
        weight.assign(np.abs(weight.numpy() + noise) if scale else weight.numpy() + noise)


def write_official(network: keras.Model, path: Path) -> None:
    """The format of the official files: that of Keras 1 and 2, layer by layer in order."""
    whole = path.with_name("whole.h5")
    network.save(whole)
    with h5py.File(whole) as saved, h5py.File(path, "w") as file:
        file.attrs.update(saved["model_weights"].attrs)
        for name in saved["model_weights"]:
            saved.copy(f"model_weights/{name}", file)
    whole.unlink()


def outputs(model: keras.Model, layer: str, images: np.ndarray) -> np.ndarray:
    """What a layer gives for these images in inference."""
    return keras.ops.convert_to_numpy(keras.Model(model.inputs, model.get_layer(layer).output)([images]))


def classifier(name: str, folder: Path) -> keras.Model:
    """Our model with the weight file of a folder."""
    settings = ModelSettings(BACKBONES[name].smallest_size, 3, resolve_weights(name, str(folder)))
    return build_model("backbone_classifier", settings, backbone=name)


def official(name: str) -> keras.Model:
    """Keras' own model with random numbers."""
    size = BACKBONES[name].smallest_size
    network = BACKBONES[name].builder(include_top=False, weights=None, input_shape=(size, size, 3))
    randomise(network)
    return network


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", SCALING)
def test_features_from_a_file_are_those_of_keras(name, tmp_path):
    """Some layers are called conv2d_12, after how many there were before: files go by the order, not by names."""
    network, images = official(name), images_of(BACKBONES[name].smallest_size)
    write_official(network, tmp_path / BACKBONES[name].weights_file)
    expected = keras.ops.convert_to_numpy(network(SCALING[name].preprocess_input(images.copy()), training=False))
    keras.layers.Conv2D(1, 1)
    model = classifier(name, tmp_path)
    model.save(tmp_path / "model.keras")
    keras.layers.BatchNormalization()
    saved = keras.models.load_model(tmp_path / "model.keras")
    for ours in (model, saved):
        assert_same(outputs(ours, BACKBONES[name].gradcam_layer, images), expected)


def test_the_standard_deviation_in_efficientnets_file_is_mended(tmp_path):
    """The official file holds one where Keras divides by the root of a variance: tensorflow issue 49930."""
    network, images = official("efficientnetb0"), images_of(32)
    normalization = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
    normalization.adapt_mean.assign([0.485, 0.456, 0.406])
    deviation = np.array([0.229, 0.224, 0.225])
    normalization.adapt_variance.assign(deviation)
    write_official(network, tmp_path / "efficientnetb0_notop.h5")
    normalization.adapt_variance.assign(deviation**2)
    normalization.finalize_state()
    model = classifier("efficientnetb0", tmp_path)
    model.save(tmp_path / "model.keras")
    for ours in (model, keras.models.load_model(tmp_path / "model.keras")):
        for layer in ("stem_conv", "top_activation"):
            assert_same(outputs(ours, layer, images), outputs(network, layer, images))


ASK = """
import io, json, shutil, sys, urllib.request, urllib.response
from pathlib import Path

import keras

from mmdc_tf.models import BACKBONES, resolve_weights

asked = []

def answer(url, *more):
    asked.append(url)
    return urllib.response.addinfourl(io.BytesIO(b"not the file"), {}, url)

def message(call):
    try:
        return str(call())
    except Exception as error:
        return str(error)

urllib.request.urlopen = answer
found = {}
for name, backbone in BACKBONES.items():
    theirs = message(lambda: backbone.builder(include_top=False, weights="imagenet", input_shape=(224, 224, 3)))
    shutil.rmtree(Path(sys.argv[1], "models"))
    ours = message(lambda: resolve_weights(name, "imagenet"))
    found[name] = [theirs, ours, asked.copy()]
    asked.clear()
Path(sys.argv[1], "found.json").write_text(json.dumps(found))
"""


def test_imagenet_is_the_file_that_keras_itself_asks_for(tmp_path):
    """By address and checksum, in a process of its own, whose cache is empty."""
    environment = {**os.environ, "KERAS_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", ASK, str(tmp_path)], env=environment, check=True, capture_output=True)
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == set(BACKBONES)
    for name, (theirs, ours, asked) in found.items():
        file = BACKBONES[name].weights_file
        assert len(asked) == 2 and asked[0] == asked[1] and asked[0].endswith(file), name
        if BACKBONES[name].weights_md5 is None:  # the two MobileNets have none: what came is taken
            assert "hash" not in theirs and ours == str(tmp_path / "models" / file)
        else:
            assert f"does not match the provided value of {BACKBONES[name].weights_md5}" in theirs
            assert theirs in ours


def test_a_failed_download_names_the_two_other_choices(monkeypatch):
    def fail(*arguments: object, **more: object) -> str:
        raise Exception("URL fetch failure on https://storage.googleapis.com/…: None -- [Errno -3]")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(WeightsError, match="URL fetch failure") as caught:
        resolve_weights("densenet201", "imagenet")
    for words in ("densenet201", "--weights DIR", BACKBONES["densenet201"].weights_file, "--weights none"):
        assert words in str(caught.value)


def test_what_weights_may_be(monkeypatch, tmp_path):
    monkeypatch.setattr(keras.utils, "get_file", lambda *arguments, **more: str(tmp_path / arguments[0]))
    found = resolve_weights("vgg16", "imagenet")
    assert found == tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert resolve_weights("vgg16", "none") is None
    with pytest.raises(ConfigurationError, match="Did you mean 'vgg16'"):
        resolve_weights("vgg-16", "none")
    with pytest.raises(WeightsError, match="imagnet"):
        resolve_weights("vgg16", str(tmp_path / "imagnet"))


def test_a_folder_without_the_file_raises_and_names_it(tmp_path):
    (tmp_path / "other_notop.h5").write_bytes(b"")
    with pytest.raises(WeightsError, match=f"(?s)Expected the file {BACKBONES['vgg16'].weights_file}.*--weights none"):
        resolve_weights("vgg16", str(tmp_path))


def write_other_network(path: Path) -> None:
    images = keras.Input((32, 32, 3))
    write_official(keras.Model(images, keras.layers.Conv2D(4, 3)(images)), path)


def write_other_widths(path: Path) -> None:
    """As many layers as VGG16, but narrow ones."""
    x = images = keras.Input((32, 32, 3))
    for _ in range(13):
        x = keras.layers.Conv2D(2, 3, padding="same")(x)
    write_official(keras.Model(images, x), path)


def write_new_format(path: Path) -> None:
    """A file of Keras 3 under the official name."""
    images = keras.Input((32, 32, 3))
    model = keras.Model(images, keras.layers.Conv2D(4, 3)(images))
    model.save_weights(path.with_name("new.weights.h5"))
    path.with_name("new.weights.h5").rename(path)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("<html>404 Not Found</html>"),
        write_other_network,
        write_other_widths,
        write_new_format,
    ],
    ids=["empty", "web page", "another network", "other widths", "Keras 3 format"],
)
def test_a_file_with_other_content_raises_and_names_it(write, tmp_path):
    write(tmp_path / BACKBONES["vgg16"].weights_file)
    weights = resolve_weights("vgg16", str(tmp_path))
    with pytest.raises(WeightsError, match=r"(?s)vgg16.*Received: .*_notop\.h5.*Fetch the file again"):
        build_model("backbone_classifier", ModelSettings(32, 3, weights), backbone="vgg16")


def test_the_options_page_names_the_file_of_each_backbone():
    readme = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    for backbone in BACKBONES.values():
        assert f"| `{backbone.name}` | `{backbone.weights_file}` |" in readme


def test_all_files_that_a_folder_lacks_are_named_at_once(tmp_path):
    (tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").touch()
    with pytest.raises(WeightsError) as error:
        require_weights(str(tmp_path), ["vgg16", "mobilenet", "mobilenetv2"])
    assert str(error.value).startswith(
        "Expected the files mobilenet_1_0_224_tf_no_top.h5 for mobilenet, "
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5 for mobilenetv2. Received: --weights"
    )
