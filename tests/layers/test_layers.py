"""What every layer of the package must do, by one harness; what each computes stands in the files beside this one."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest

from mmdc_tf import layers
from mmdc_tf.errors import ConfigurationError


@dataclass(frozen=True)
class Case:
    """A layer: arguments that are not its defaults, input and output shapes, and its weights.

    Args:
        arguments: all of the layer's own.
        shapes: of each input, with the batch.
        output: the output's shape.
        trainable, frozen: numbers of weights.
        dtype: of the output; None for the layer's compute dtype.
    """

    arguments: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    trainable: int
    frozen: int = 0
    dtype: str | None = None


MAP = (2, 5, 4, 3)
CASES = {
    "ClassToken": Case({}, ((2, 5, 8),), (2, 6, 8), 2),
    "ClinicalMask": Case({"image_tokens": 3}, ((2, 2),), (2, 4), 0, dtype="bool"),
    "DoubleConv": Case({"filters": 6, "kernel_size": 5}, (MAP,), (2, 5, 4, 6), 6, 4),
    "DoubleConvSE": Case({"filters": 6, "ratio": 2}, (MAP,), (2, 5, 4, 6), 10, 4),
    "InputScaling": Case({"mode": "caffe"}, (MAP,), MAP, 0),
    "JoinViews": Case({}, ((6, 5),), (3, 10), 0),
    "MetadataEmbedding": Case({"width": 5}, ((3, 2),), (3, 10), 3, 2),
    "PatchEmbedding": Case({"width": 6, "patch": 2}, ((2, 7, 4, 3),), (2, 3, 2, 6), 4),
    "PatchMerging": Case({}, (MAP,), (2, 3, 2, 6), 3),
    "SpatialSelfAttention": Case({"key_ratio": 4, "min_key_width": 3}, ((2, 4, 3, 8),), (2, 4, 3, 8), 7),
    "SqueezeExcitation": Case({"ratio": 2}, ((2, 5, 3, 8),), (2, 5, 3, 8), 4),
    "StackViews": Case({}, (MAP, MAP), (4, 5, 4, 3), 0),
    "SwinBlock": Case({"heads": 2, "window": 5, "shift": 1, "mlp_ratio": 2}, ((2, 8, 8, 4),), (2, 8, 8, 4), 13),
    "TokenFusion": Case({"heads": 4, "width": 20, "dropout": 0.25}, ((2, 5, 20),), (2, 5, 20), 10),
    "WindowAttention": Case({"heads": 2, "window": 5, "shift": 1}, ((2, 7, 7, 4),), (2, 7, 7, 4), 5),
}


def model_of(name: str, dtype: str = "float32") -> keras.Model:
    """The layer between inputs of any batch size and its output."""
    inputs = [keras.Input(shape[1:]) for shape in CASES[name].shapes]
    layer = getattr(layers, name)(**CASES[name].arguments, dtype=dtype, name="layer")
    return keras.Model(inputs, layer(inputs if len(inputs) > 1 else inputs[0]))


def arrays(name: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(size=shape).astype("float32") for shape in CASES[name].shapes]


def test_every_layer_has_a_case():
    assert sorted(CASES) == sorted(layers.__all__)


@pytest.mark.parametrize("name", CASES)
def test_arguments_survive_the_configuration(name):
    layer_class, arguments = getattr(layers, name), CASES[name].arguments
    parameters = inspect.signature(layer_class).parameters
    assert arguments.keys() == parameters.keys() - {"kwargs"}
    assert all(parameters[key].default != value for key, value in arguments.items())
    layer = layer_class(**arguments, name="given", dtype="mixed_float16")
    revived = layer_class.from_config(layer.get_config())
    assert {key: getattr(revived, key) for key in arguments} == arguments
    assert (revived.name, revived.dtype_policy.name) == ("given", "mixed_float16")
    assert layer.get_config().items() >= arguments.items()


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
@pytest.mark.parametrize("name", CASES)
def test_shapes_dtypes_weights_and_the_way_through_a_file(name, dtype, tmp_path):
    case, model, given = CASES[name], model_of(name, dtype), arrays(name)
    layer = model.get_layer("layer")
    compute = case.dtype or layer.compute_dtype
    assert model.output.dtype == compute
    assert model.output.shape[1:] == case.output[1:]
    assert model.output.shape[0] is None
    assert (len(layer.trainable_weights), len(layer.non_trainable_weights)) == (case.trainable, case.frozen)
    assert {weight.dtype for weight in layer.weights} <= {"float32"}
    output = model(given, training=False)
    assert tuple(output.shape) == case.output
    assert keras.backend.standardize_dtype(output.dtype) == compute
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    again = loaded(given, training=False)
    np.testing.assert_array_equal(np.asarray(again), np.asarray(output))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.trainable])
def test_a_step_of_training_reaches_every_weight(name):
    model, given = model_of(name), arrays(name)
    layer, rng = model.get_layer("layer"), np.random.default_rng(1)
    for weight in layer.trainable_weights:  # from γ = 0, say, only γ would learn
        weight.assign(rng.normal(scale=0.5, size=weight.shape))
    if name == "MetadataEmbedding":
        given[0][0, 0] = given[0][1, 1] = np.nan  # so that the vectors of the unknown are used
    before = layer.get_weights()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    target = rng.normal(size=CASES[name].output).astype("float32")
    loss = model.train_on_batch(given, target)
    assert np.isfinite(loss)
    changed = [np.abs(new - old).max() > 0 for new, old in zip(layer.get_weights(), before, strict=True)]
    # a key's bias adds the same to all scores of a row, which their softmax takes away again
    keys_biases = name in ("TokenFusion", "SpatialSelfAttention")
    assert changed.count(False) <= keys_biases + (name == "MetadataEmbedding") * 2
    assert all(np.isfinite(weight).all() for weight in layer.get_weights())


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("ClinicalMask", {"image_tokens": 0}, "Received: image_tokens=0"),
        ("ClinicalMask", {"image_tokens": True}, "Received: image_tokens=True"),
        ("DoubleConv", {"filters": 0}, "Received: filters=0"),
        ("DoubleConv", {"filters": 4, "kernel_size": 0}, "Received: kernel_size=0"),
        ("DoubleConvSE", {"filters": -4}, "Received: filters=-4"),
        ("DoubleConvSE", {"filters": 4, "ratio": 0}, "Received: ratio=0"),
        ("InputScaling", {"mode": "imagenet"}, "'torch', 'tf', 'caffe', 'none'. Received: mode='imagenet'"),
        ("MetadataEmbedding", {"width": 1}, "at least 2. Received: width=1"),
        ("PatchEmbedding", {"width": 0}, "Received: width=0"),
        ("PatchEmbedding", {"width": 4, "patch": 0}, "Received: patch=0"),
        ("SpatialSelfAttention", {"key_ratio": 0}, "Received: key_ratio=0"),
        ("SpatialSelfAttention", {"min_key_width": 0}, "Received: min_key_width=0"),
        ("SqueezeExcitation", {"ratio": 2.5}, "Received: ratio=2.5"),
        ("SqueezeExcitation", {"ratio": "16"}, "Received: ratio='16'"),
        ("SwinBlock", {"heads": 2, "window": 4, "shift": 4}, r"Received: shift=4, window=4\. Take shift=2"),
        ("SwinBlock", {"heads": 2, "mlp_ratio": 0}, "Received: mlp_ratio=0"),
        ("TokenFusion", {"heads": 8, "width": 100}, r"Received: width=100, heads=8. Take width=104"),
        ("TokenFusion", {"heads": 0}, "Received: heads=0"),
        ("TokenFusion", {"dropout": 1.0}, "Received: dropout=1.0"),
        ("TokenFusion", {"dropout": -0.1}, "Received: dropout=-0.1"),
        ("WindowAttention", {"heads": 0}, "Received: heads=0"),
        ("WindowAttention", {"heads": 2, "window": 0}, "Received: window=0"),
        ("WindowAttention", {"heads": 2, "window": 7, "shift": -1}, "Received: shift=-1"),
    ],
)
def test_bad_arguments_are_named(name, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        getattr(layers, name)(**arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "message"),
    [
        ("ClassToken", {}, (None, None, 8), r"fixed.*Received: shape=\(None, "),
        ("ClassToken", {}, (None, 5, None), r"fixed.*Received: shape=\(None, "),
        ("PatchEmbedding", {"width": 4}, (None, 8, 3, 3), r"one patch of 4\. Received: shape=\(None, 8, 3, 3\)"),
        ("PatchMerging", {}, (None, 8, None, 8), r"fixed height and width.*Received: shape=\(None, 8, None, 8\)"),
        ("PatchMerging", {}, (None, 8, 8, None), r"last axis.*Received: shape=\(None, 8, 8, None\)"),
        ("SqueezeExcitation", {}, (None, 7, 7, None), "last axis has a fixed length"),
        ("TokenFusion", {}, (None, 5, 64), r"Received: shape=\(None, 5, 64\)"),
        ("WindowAttention", {"heads": 3}, (None, 8, 8, 8), "channels=8, heads=3"),
        ("WindowAttention", {"heads": 2}, (None, None, 8, 8), r"fixed height.*shape=\(None, None, 8, 8\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(name, arguments, shape, message):
    with pytest.raises(ConfigurationError, match=message):
        getattr(layers, name)(**arguments).build(shape)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [("DoubleConv", (2, 3), "ndim=4"), ("InputScaling", (1, 4, 4, 1), "to have value 3")],
)
def test_inputs_of_another_rank_are_refused_by_keras(name, shape, message):
    with pytest.raises(ValueError, match=message):
        getattr(layers, name)(**CASES[name].arguments)(np.zeros(shape, "float32"))
