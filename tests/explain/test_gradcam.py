"""Heatmaps by construction, against formulas and numerical differentiation, on every registered model and backbone."""

from __future__ import annotations

from pathlib import Path

import golden_files
import keras
import numpy as np
import pytest
from backbone_families import one_of_each_family
from scipy.special import softmax

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.explain.gradcam import attention_maps, enlarged, fine_layer, grad_cam, grad_cam_layer, layer_cam
from mmdc_tf.models import BACKBONES, MODELS, ModelSettings, build_model

SMALL = golden_files.MODELS | {
    "sw_forknet": {"width": 16},
    "vit": {"width": 12, "depth": 2, "heads": 3, "mlp": 20},
}
LAYERS = {
    "densenet161": "final_relu",
    "densenet40": "final_relu",
    "sw_forknet": "conv3_block12_concat",  # where its branches part: no later map is on the way of all three
    "convmixer": "block1_point_norm",
    "swin": "final_norm",
    "vit": "block1_mlp_residual",  # the tokens that enter the last of two blocks
    "vgg_like": "block2_dropout",
    "brint_custom_cnn": "position_dropout",
}
SIZE = 64
BACKBONE_SIZE = 128  # the smallest that leaves every backbone a map of more than one position
CLASSES = 3


def tensors(count: int = 2, size: int = SIZE) -> dict[str, np.ndarray]:
    """All that any model takes; of the second sample nothing but the image is known."""
    rng = np.random.default_rng(0)
    images, others = rng.uniform(0, 255, (2, count, size, size, 3)).astype("float32")
    metadata = np.tile(np.array([[61.0, 3.0]], "float32"), (count, 1))
    metadata[1:], others[1:] = np.nan, np.nan
    return {"image": images, "other_view": others, "metadata": metadata}


def built(name: str, size: int = SIZE) -> keras.Model:
    """A small model in which everything has an effect: new layers' zeros (γ, biases) are moved away from it."""
    keras.utils.set_random_seed(0)
    model = build_model(name, ModelSettings(size, CLASSES), **SMALL[name])
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(scale=0.1, size=weight.shape))
    return model


def colour_model() -> keras.Model:
    """Class 0 is red, class 1 is green: two channels that see one colour each, their means, and a softmax."""
    image = keras.Input((32, 32, 3), name="image")
    scaled = keras.layers.Rescaling(1 / 255)(image)
    seen = keras.layers.Conv2D(2, 4, strides=4, activation="relu", use_bias=False, name="colours")(scaled)
    pooled = keras.layers.GlobalAveragePooling2D()(seen)
    model = keras.Model({"image": image}, keras.layers.Dense(2, "softmax", name="probabilities")(pooled))
    kernel = np.zeros((4, 4, 3, 2), "float32")
    kernel[:, :, 0, 0] = kernel[:, :, 1, 1] = 1 / 16
    model.get_layer("colours").set_weights([kernel])
    model.get_layer("probabilities").set_weights([np.array([[2.0, -1.0], [-1.0, 3.0]], "float32"), np.zeros(2)])
    return model


def colour_image() -> np.ndarray:
    """Red in the upper right quadrant, green in the lower left, black elsewhere."""
    image = np.zeros((1, 32, 32, 3), "float32")
    image[0, 4:12, 20:28, 0] = 200.0
    image[0, 20:28, 4:12, 1] = 100.0
    return image


@pytest.mark.parametrize(
    ("class_index", "rows", "columns"),
    [(0, slice(0, 16), slice(16, 32)), (1, slice(16, 32), slice(0, 16))],
)
def test_the_quadrant_on_which_the_decision_depends_is_lit(tmp_path, class_index, rows, columns):
    heat = grad_cam(saved_and_loaded(colour_model(), tmp_path), {"image": colour_image()}, class_index)[0]
    assert heat[rows, columns].max() == 1.0
    assert heat[rows, columns].sum() == pytest.approx(heat.sum())


def test_equal_their_formulas_where_means_enter_a_dense_layer():
    """Selvaraju et al. 2017, section 3.1: there Grad-CAM is CAM (Zhou et al. 2016), Σ_k w_kc A_k.

    LayerCAM weighs each position by its own positive gradient, for class 1 -1/64 for red, 3/64 for green: green alone
    counts.
    """
    model, image = colour_model(), np.random.default_rng(2).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    cells = (image / 255).reshape(3, 8, 4, 8, 4, 3).mean(axis=(2, 4))[..., :2]
    cam = np.maximum(cells @ np.array([-1.0, 3.0]), 0)
    np.testing.assert_allclose(grad_cam(model, {"image": image}, 1), enlarged(cam, (32, 32)), atol=1e-5)
    found = layer_cam(model, {"image": image}, 1, "colours")
    np.testing.assert_allclose(found, enlarged(cells[..., 1], (32, 32)), atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "size", "layer"),
    [("mobilenet", 64, "conv_pw_3_relu"), ("mobilenet", 224, None), ("vgg16", 64, "block2_pool")],
)
def test_a_fine_layer_is_named_where_the_last_map_is_too_coarse_to_point(backbone, size, layer):
    """2 × 2 positions at 64 pixels, 7 × 7 at 224; the fine map has 16 × 16, after its activation and no padding."""
    model = build_model("backbone_classifier", ModelSettings(size, CLASSES), backbone=backbone)
    assert fine_layer(model) == layer
    if layer is not None:
        assert model.get_layer(layer).output.shape[1:3] == (16, 16)


def test_equals_numerical_differentiation_through_fusion_and_metadata(tiny_backbone):
    model, inputs = built("mmdcnet"), tensors()
    place = model.get_layer(grad_cam_layer(model)).output
    metadata = next(tensor for tensor in model.inputs if tensor.name == "metadata")
    features = np.asarray(keras.Model(model.inputs[0], place)(inputs["image"], training=False))
    head = keras.Model([place, metadata], model.layers[-1].input)
    kernel, bias = (np.asarray(w, "float64") for w in model.layers[-1].weights)

    def score(maps: np.ndarray) -> np.ndarray:
        hidden = head([maps.astype("float32"), inputs["metadata"]], training=False)
        return (np.asarray(hidden, "float64") @ kernel + bias)[:, 0]

    expected = numerical_map(score, features.astype("float64"), 1e-2, SIZE)
    found = grad_cam(model, inputs, 0)
    assert found.max() == 1.0
    np.testing.assert_allclose(found, expected, atol=0.02)


def numerical_map(score, features: np.ndarray, step: float, size: int) -> np.ndarray:
    """Grad-CAM with α by central differences: a channel as a whole is moved, so that α is the slope by its mean."""
    total = np.zeros(features.shape[:3])
    for channel in range(features.shape[-1]):
        moved = np.zeros(features.shape[-1])
        moved[channel] = step
        slope = (score(features + moved) - score(features - moved)) / (2 * step)
        total += slope[:, None, None] * features[..., channel]
    return enlarged(np.maximum(total, 0), (size, size))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_registered_model_has_a_map_that_saving_keeps(tiny_backbone, tmp_path, name):
    model, inputs = built(name), tensors()
    assert grad_cam_layer(model) == LAYERS.get(name, "tiny_conv2")
    maps = [grad_cam(model, inputs, index) for index in range(2)]
    for heat in maps:
        assert heat.shape == (2, SIZE, SIZE) and heat.dtype == np.float32
        assert heat.min() >= 0 and set(heat.max(axis=(1, 2))) <= {0.0, 1.0}
    assert any(heat.any() for heat in maps)
    assert not np.array_equal(maps[0], maps[1])
    loaded = saved_and_loaded(model, tmp_path)
    assert grad_cam_layer(loaded) == grad_cam_layer(model)
    np.testing.assert_allclose(grad_cam(loaded, inputs, 1), maps[1], atol=1e-5)
    before, after = attention_maps(model, inputs), attention_maps(loaded, inputs)
    assert len(before) == len(after) == {"bcdnet": 1, "ablation": 1, "mmdcnet": 2}.get(name, len(before))
    for kind, one in before.items():
        np.testing.assert_allclose(after[kind], one, atol=1e-5)


@pytest.mark.parametrize("name", one_of_each_family())
def test_every_backbone_saved_and_loaded_gives_its_class_activation_map(tmp_path, name):
    """As above, Σ_k w_kc A_k, with the maps and the kernel of the loaded model: no gradient is needed for it."""
    keras.utils.set_random_seed(0)
    model = build_model("backbone_classifier", ModelSettings(BACKBONE_SIZE, CLASSES), backbone=name)
    loaded, inputs = saved_and_loaded(model, tmp_path), tensors(1, BACKBONE_SIZE)
    layer = BACKBONES[name].gradcam_layer
    assert grad_cam_layer(loaded) == layer
    inputs["image"][:, BACKBONE_SIZE // 2 :] = 0.0
    features = keras.Model(loaded.input, loaded.get_layer(layer).output)({"image": inputs["image"]}, training=False)
    cams = np.maximum(np.asarray(features, "float64")[0] @ np.asarray(loaded.layers[-1].kernel, "float64"), 0)
    index = int(cams.max(axis=(0, 1)).argmax())
    cam = cams[..., index]
    assert cam.size >= 4 and np.ptp(cam) > 0.01 * cam.max()
    found = grad_cam(loaded, inputs, index)
    np.testing.assert_allclose(found, enlarged(cam[None], (BACKBONE_SIZE, BACKBONE_SIZE)), atol=1e-3)


def saved_and_loaded(model: keras.Model, folder: Path) -> keras.Model:
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras", compile=False)


def test_enlarging_is_bilinear_and_the_maximum_becomes_one():
    """Of the columns 0 and 4 in two pixels, four pixels have 0, 1, 3 and 4: their centres lie at -0.25, 0.25, …"""
    found = enlarged(np.array([[[0.0, 4.0]], [[0.0, 0.0]]]), (1, 4))
    np.testing.assert_allclose(found[:, 0], [[0, 0.25, 0.75, 1], [0, 0, 0, 0]], atol=1e-6)


def test_each_image_gets_the_map_of_its_own_class(tiny_backbone):
    model, inputs = built("mmdcnet"), tensors(3)
    alone = [grad_cam(model, inputs, index) for index in range(3)]
    together = grad_cam(model, inputs, [2, 0, 1])
    for place, index in enumerate((2, 0, 1)):
        np.testing.assert_allclose(together[place], alone[index][place], atol=1e-5)
    assert np.abs(together - alone[0]).max() > 0.1  # the class makes a difference


def entering(model: keras.Model, layer: keras.layers.Layer) -> np.ndarray:
    inputs = [tensors()[tensor.name] for tensor in model.inputs]
    return np.asarray(keras.Model(model.inputs, layer.input)(inputs, training=False), "float64")


def test_spatial_attention_that_each_position_receives(tiny_backbone):
    """By the attention's formula, from the layer's weights in numpy."""
    model = built("bcdnet")
    layer = model.get_layer("self_attention")
    flat = entering(model, layer).reshape(2, 32 * 32, -1)
    query, key = (
        flat @ np.asarray(one.kernel, "float64")[0, 0] + np.asarray(one.bias, "float64")
        for one in (layer.query, layer.key)
    )
    weights = softmax(query @ key.transpose(0, 2, 1) / np.sqrt(key.shape[-1]), axis=-1)
    ((name, maps),) = attention_maps(model, tensors()).items()
    assert name == f"self-attention (γ = {float(layer.gamma):.2g})"
    np.testing.assert_allclose(maps, weights.mean(axis=1).reshape(2, 32, 32), atol=1e-5)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), 1.0, atol=1e-5)


def test_fusion_by_clinical_and_by_image_tokens(tiny_backbone):
    model = built("mmdcnet")
    layer = model.get_layer("fusion")
    wq, bq, wk, bk = (np.asarray(weight, "float64") for weight in layer.attention.weights[:4])
    query, key = (np.einsum("ntw,whd->nhtd", entering(model, layer), w) + b[:, None] for w, b in ((wq, bq), (wk, bk)))
    mean = softmax(query @ key.transpose(0, 1, 3, 2) / np.sqrt(wq.shape[2]), axis=-1).mean(axis=1)
    maps, side = attention_maps(model, tensors()), round(np.sqrt(mean.shape[1] - 1))
    assert list(maps) == ["fusion, by the clinical token", "fusion, by the image tokens"]
    np.testing.assert_allclose(maps["fusion, by the clinical token"], mean[:, 0, 1:].reshape(2, side, side), atol=1e-4)
    by_image = mean[:, 1:, 1:].mean(axis=1).reshape(2, side, side)
    np.testing.assert_allclose(maps["fusion, by the image tokens"], by_image, atol=1e-4)


def test_a_map_asked_for_by_name_and_of_a_frozen_model_and_tokens_as_a_map(tiny_backbone):
    model, inputs = built("bcdnet"), tensors()
    attended, before = grad_cam(model, inputs, 0, "self_attention"), grad_cam(model, inputs, 0)
    assert attended.shape == (2, SIZE, SIZE) and not np.array_equal(attended, before)
    model.trainable = False
    np.testing.assert_array_equal(grad_cam(model, inputs, 0), before)  # a frozen backbone is looked into too
    # After the last attention of a Vision Transformer the class depends on the class token alone.
    assert not grad_cam(built("vit"), inputs, 0, "final_norm").any()


def test_what_gives_no_map_is_refused(tiny_backbone):
    model, pooled = built("bcdnet"), "layer='image_pool' with output"
    asked = ((3, None, "class_index=3"), ([0, -1], None, "class_index=-1"), (0, "nowhere", "layer='nowhere'"))
    for class_index, layer, message in (*asked, (0, "image_pool", pooled)):
        with pytest.raises(ConfigurationError, match=f"Received: {message}"):
            grad_cam(model, tensors(), class_index, layer)


def test_other_models_and_missing_inputs_are_refused(tiny_backbone):
    with pytest.raises(ConfigurationError, match="without metadata"):
        grad_cam(built("mmdcnet"), {"image": tensors()["image"]}, 0)
    numbers = keras.Input((2,), name="metadata")
    model = keras.Model(numbers, keras.layers.Dense(2, "softmax")(numbers))
    with pytest.raises(ConfigurationError, match="an input image"):
        grad_cam_layer(model)
    image = keras.Input((4, 4, 3), name="image")
    flat = keras.Model(image, keras.layers.Dense(2, "softmax")(keras.layers.Flatten()(image)))
    with pytest.raises(ConfigurationError, match="feature map through which"):
        grad_cam_layer(flat)
    logits = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(image)))
    with pytest.raises(ConfigurationError, match="Dense layer with softmax"):
        grad_cam(logits, {"image": np.zeros((1, 4, 4, 3))}, 0)
