"""Weights of backbones: from files in the official format, and from the addresses that Keras itself uses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from mmdc_tf.errors import ConfigurationError, WeightsError
from mmdc_tf.experiments.rows import require_weights
from mmdc_tf.models import BACKBONES, ModelSettings, build_model, resolve_weights

OFFICIAL: dict[str, Callable[..., keras.Model]] = {
    "densenet121": keras.applications.DenseNet121,
    "densenet201": keras.applications.DenseNet201,
    "efficientnetb0": keras.applications.EfficientNetB0,
    "vgg16": keras.applications.VGG16,
    "vgg19": keras.applications.VGG19,
    "resnet50": keras.applications.ResNet50,
    "resnet101": keras.applications.ResNet101,
    "xception": keras.applications.Xception,
    "inceptionv3": keras.applications.InceptionV3,
    "mobilenet": keras.applications.MobileNet,
    "mobilenetv2": keras.applications.MobileNetV2,
}


KERAS_GET_FILE = "keras.src.utils.file_utils.get_file"
"""What keras.applications calls; keras.utils.get_file is the same function under another name."""


def images_of(size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (3, size, size, 3)).astype("float32")


@pytest.fixture
def images() -> np.ndarray:
    return images_of(32)


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


def official_with_file(name: str, folder: Path) -> keras.Model:
    """Keras' own model with random numbers, and a weight file of them under the official name."""
    size = BACKBONES[name].smallest_size
    official = OFFICIAL[name](include_top=False, weights=None, input_shape=(size, size, 3))
    randomise(official)
    write_official(official, folder / BACKBONES[name].weights_file)
    return official


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("vgg16", keras.applications.vgg16.preprocess_input),
        ("densenet121", keras.applications.densenet.preprocess_input),
        ("resnet50", keras.applications.resnet.preprocess_input),
        ("mobilenet", keras.applications.mobilenet.preprocess_input),
        ("mobilenetv2", keras.applications.mobilenet_v2.preprocess_input),
    ],
)
def test_features_from_a_file_are_those_of_keras(name, scale, tmp_path, images):
    official = official_with_file(name, tmp_path)
    expected = keras.ops.convert_to_numpy(official(scale(images.copy()), training=False))
    assert_same(outputs(classifier(name, tmp_path), BACKBONES[name].gradcam_layer, images), expected)


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("xception", keras.applications.xception.preprocess_input),
        ("inceptionv3", keras.applications.inception_v3.preprocess_input),
    ],
)
def test_layers_that_keras_numbers_anew_get_their_weights(name, scale, tmp_path):
    """Some layers are called conv2d_12, after how many there were before: files go by the order, not by names."""
    images = images_of(BACKBONES[name].smallest_size)
    official = official_with_file(name, tmp_path)
    expected = keras.ops.convert_to_numpy(official(scale(images.copy()), training=False))
    keras.layers.Conv2D(1, 1)
    model = classifier(name, tmp_path)
    model.save(tmp_path / "model.keras")
    keras.layers.BatchNormalization()
    saved = keras.models.load_model(tmp_path / "model.keras")
    names = {layer.name for layer in official.layers if layer.weights}
    assert names - {layer.name for layer in model.layers}
    for ours in (model, saved):
        assert_same(outputs(ours, BACKBONES[name].gradcam_layer, images), expected)


def test_efficientnet_from_a_file_is_keras_with_imagenet_weights(tmp_path, monkeypatch, images):
    """The official file holds a standard deviation for a variance, which Keras mends only for weights="imagenet".

    The numbers of the file are those of tensorflow issue 49930. The oracle is Keras' own model, given the same file in
    place of a download.
    """
    file = tmp_path / "efficientnetb0_notop.h5"
    source = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    randomise(source)
    normalization = next(layer for layer in source.layers if isinstance(layer, keras.layers.Normalization))
    normalization.adapt_mean.assign([0.485, 0.456, 0.406])
    normalization.adapt_variance.assign([0.229, 0.224, 0.225])
    normalization.finalize_state()
    write_official(source, file)
    monkeypatch.setattr(KERAS_GET_FILE, lambda *arguments, **more: str(file))
    oracle = keras.applications.EfficientNetB0(include_top=False, weights="imagenet", input_shape=(32, 32, 3))

    model = classifier("efficientnetb0", tmp_path)
    model.save(tmp_path / "model.keras")
    saved = keras.models.load_model(tmp_path / "model.keras")
    for layer in ("stem_conv", "block4a_project_conv", "top_activation"):
        expected = outputs(oracle, layer, images)
        size = np.abs(expected).max()
        for ours in (model, saved):
            np.testing.assert_allclose(outputs(ours, layer, images), expected, atol=2e-5 * size, err_msg=layer)
    # Without the mending, the first convolution sees half of the contrast: the comparison above would notice.
    expected, unmended = outputs(oracle, "stem_conv", images), outputs(source, "stem_conv", images)
    assert np.abs(unmended - expected).max() > 0.2 * np.abs(expected).max()


class AskedForError(Exception):
    """Carries what get_file was asked for."""


@pytest.mark.parametrize("name", OFFICIAL)
def test_imagenet_is_the_file_that_keras_itself_asks_for(name, monkeypatch):
    def ask(fname: str, origin: str, **more: object) -> str:
        raise AskedForError({"fname": fname, "origin": origin, **more})

    monkeypatch.setattr(KERAS_GET_FILE, ask)
    with pytest.raises(AskedForError) as theirs:
        OFFICIAL[name](include_top=False, weights="imagenet", input_shape=(224, 224, 3))
    monkeypatch.setattr(keras.utils, "get_file", ask)
    with pytest.raises(WeightsError) as ours:
        resolve_weights(name, "imagenet")
    asked = {"file_hash": None, **theirs.value.args[0]}  # the two MobileNets have none
    assert ours.value.__cause__.args[0] == asked
    assert set(asked) == {"fname", "origin", "cache_subdir", "file_hash"}


def test_a_failed_download_names_the_two_other_choices(monkeypatch):
    def fail(*arguments: object, **more: object) -> str:
        raise Exception("URL fetch failure on https://storage.googleapis.com/…: None -- [Errno -3]")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(WeightsError, match="URL fetch failure") as caught:
        resolve_weights("densenet201", "imagenet")
    message = str(caught.value)
    assert "densenet201" in message
    assert "--weights DIR" in message
    assert "densenet201_weights_tf_dim_ordering_tf_kernels_notop.h5" in message
    assert "--weights none" in message


def test_what_weights_may_be(monkeypatch, tmp_path):
    monkeypatch.setattr(keras.utils, "get_file", lambda *arguments, **more: str(tmp_path / arguments[0]))
    found = resolve_weights("vgg16", "imagenet")
    assert found == tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert resolve_weights("vgg16", "none") is None
    with pytest.raises(ConfigurationError, match="Did you mean 'vgg16'"):
        resolve_weights("vgg-16", "none")
    with pytest.raises(WeightsError, match="imagnet"):
        resolve_weights("vgg16", str(tmp_path / "imagnet"))


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_folder_without_the_file_raises_and_names_it(name, tmp_path):
    (tmp_path / "other_notop.h5").write_bytes(b"")
    with pytest.raises(WeightsError, match=f"(?s)Expected the file {BACKBONES[name].weights_file}.*--weights none"):
        resolve_weights(name, str(tmp_path))


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
    readme = (Path(__file__).parents[2] / "docs" / "options.md").read_text(encoding="utf-8")
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
