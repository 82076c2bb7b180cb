"""A model's own attention as maps: against the attention's formula, computed from the layers' weights in numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mmdc_tf.explain.attention_maps import attention_maps
from mmdc_tf.models import ModelSettings, build_model

SIZE = 32


def tensors() -> dict[str, np.ndarray]:
    images = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")
    return {"image": images, "metadata": np.array([[61.0, 3.0], [np.nan, np.nan]], "float32")}


def built(name: str, **arguments) -> keras.Model:
    model = build_model(name, ModelSettings(SIZE, 3), **arguments)
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(scale=0.3, size=weight.shape))
    return model


def entering(model: keras.Model, layer: keras.layers.Layer) -> np.ndarray:
    inputs = [tensors()[tensor.name] for tensor in model.inputs]
    return np.asarray(keras.Model(model.inputs, layer.input)(inputs, training=False), "float64")


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_spatial_attention_that_each_position_receives(tiny_backbone):
    model = built("bcdnet", backbone=tiny_backbone)
    layer = model.get_layer("self_attention")
    x = entering(model, layer)
    flat = x.reshape(2, -1, x.shape[-1])
    query, key, value = (
        flat @ np.asarray(one.kernel, "float64")[0, 0] + np.asarray(one.bias, "float64")
        for one in (layer.query, layer.key, layer.value)
    )
    weights = softmax(query @ key.transpose(0, 2, 1) / np.sqrt(key.shape[-1]))
    # These weights are what the layer does: γ · weights @ values + x is its output.
    output = float(layer.gamma) * (weights @ value).reshape(x.shape) + x
    np.testing.assert_allclose(np.asarray(layer(x.astype("float32"))), output, atol=1e-3)
    ((name, maps),) = attention_maps(model, tensors()).items()
    assert name == f"self-attention (γ = {float(layer.gamma):.2g})"
    np.testing.assert_allclose(maps, weights.mean(axis=1).reshape(2, 16, 16), atol=1e-5)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), 1.0, atol=1e-5)


def test_fusion_by_clinical_and_by_image_tokens(tiny_backbone):
    model = built("mmdcnet", backbone=tiny_backbone, conv_filters=8)
    layer = model.get_layer("fusion")
    tokens = entering(model, layer)
    wq, bq, wk, bk = (np.asarray(weight, "float64") for weight in layer.attention.weights[:4])
    query, key = (np.einsum("ntw,whd->nhtd", tokens, w) + b[:, None] for w, b in ((wq, bq), (wk, bk)))
    weights = softmax(query @ key.transpose(0, 1, 3, 2) / np.sqrt(wq.shape[2]))
    maps = attention_maps(model, tensors())
    assert list(maps) == ["fusion, by the clinical token", "fusion, by the image tokens"]
    mean = weights.mean(axis=1)
    np.testing.assert_allclose(maps["fusion, by the clinical token"], mean[:, 0, 1:].reshape(2, 4, 4), atol=1e-4)
    by_image = mean[:, 1:, 1:].mean(axis=1).reshape(2, 4, 4)
    np.testing.assert_allclose(maps["fusion, by the image tokens"], by_image, atol=1e-4)
    to_itself = 1 - maps["fusion, by the clinical token"].sum(axis=(1, 2))
    np.testing.assert_allclose(to_itself, mean[:, 0, 0], atol=1e-4)


def test_the_clinical_tokens_map_depends_on_age_and_density(tiny_backbone):
    model, inputs = built("mmdcnet", backbone=tiny_backbone, conv_filters=8), tensors()
    changed = {**inputs, "metadata": np.array([[30.0, 1.0], [np.nan, np.nan]], "float32")}
    before, after = (attention_maps(model, one)["fusion, by the clinical token"] for one in (inputs, changed))
    assert np.abs(before[0] - after[0]).max() > 1e-6
    np.testing.assert_allclose(before[1], after[1], atol=1e-6)


def test_a_loaded_model_has_the_same_maps_and_one_without_attention_none(tiny_backbone, tmp_path):
    model = built("ablation", backbone=tiny_backbone, attention=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    before, after = attention_maps(model, tensors()), attention_maps(loaded, tensors())
    assert before.keys() == after.keys()
    for name, maps in before.items():
        np.testing.assert_allclose(after[name], maps, atol=1e-6)
    assert attention_maps(built("backbone_classifier", backbone=tiny_backbone), tensors()) == {}


@pytest.mark.parametrize("missing", ["image", "metadata"])
def test_a_missing_input_is_named(tiny_backbone, missing):
    inputs = tensors()
    del inputs[missing]
    with pytest.raises(ValueError, match=f"without {missing}"):
        attention_maps(built("mmdcnet", backbone=tiny_backbone, conv_filters=8), inputs)
