"""Grad-CAM: by construction, against formulas and numerical differentiation, on every registered model and backbone."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from backbone_families import one_of_each_family

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.explain.gradcam import enlarged, fine_layer, grad_cam, grad_cam_layer, layer_cam
from mmdc_tf.layers import SpatialSelfAttention
from mmdc_tf.models import BACKBONES, MODELS, ModelSettings, build_model

TINY = "tiny"
SMALL = {
    "ablation": {"backbone": TINY, "attention": True},
    "ablation_image_only": {"backbone": TINY},
    "backbone_classifier": {"backbone": TINY},
    "bcdnet": {"backbone": TINY},
    "brint_classifier": {"backbone": TINY, "head": (8, 0.3, 8)},
    "brint_custom_cnn": {"width": 4, "dense_width": 6},
    "convmixer": {"width": 8, "depth": 2},
    "densenet161": {"growth": 4, "blocks": (1, 1, 1, 1)},
    "densenet40": {"growth": 4, "layers_per_block": 1},
    "medfuse": {"backbone": TINY, "width": 8},
    "mmdcnet": {"backbone": TINY, "conv_filters": 8},
    "sw_forknet": {"width": 16},
    "swin": {"embed": 8, "depths": [2, 1], "heads": [2, 4]},
    "two_view_classifier": {"backbone": TINY},
    "vgg_like": {"width": 4, "dense_width": 8},
    "vit": {"width": 12, "depth": 2, "heads": 3, "mlp": 20},
}
LAYERS = {
    "densenet161": "final_relu",
    "densenet40": "final_relu",
    "sw_forknet": "conv3_block12_concat",  # where its branches part: no later map is on the way of all three
    "convmixer": "block2_point_norm",
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


def test_equals_class_activation_mapping_where_means_enter_a_dense_layer():
    # Selvaraju et al. 2017, section 3.1: there Grad-CAM is CAM (Zhou et al. 2016), Σ_k w_kc A_k.
    model, image = colour_model(), np.random.default_rng(2).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    cells = (image / 255).reshape(3, 8, 4, 8, 4, 3).mean(axis=(2, 4))[..., :2]
    cam = np.maximum(cells @ np.array([-1.0, 3.0]), 0)
    for found, expected in zip(grad_cam(model, {"image": image}, 1), cam, strict=True):
        large = cv2.resize(expected, (32, 32), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(found, large / large.max(), atol=1e-5)


def test_layer_cam_weighs_each_position_by_its_own_positive_gradient():
    """Through means and a dense layer the gradient of class 1 is -1/64 for red, 3/64 for green: green alone counts."""
    model, image = colour_model(), np.random.default_rng(2).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    cells = (image / 255).reshape(3, 8, 4, 8, 4, 3).mean(axis=(2, 4))[..., 1]
    for found, green in zip(layer_cam(model, {"image": image}, 1, "colours"), cells, strict=True):
        large = cv2.resize(green, (32, 32), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(found, large / large.max(), atol=1e-5)


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


def test_equals_numerical_differentiation_through_two_dense_layers():
    model, inputs = built("vgg_like", 32), tensors(size=32)
    layer = grad_cam_layer(model)
    features = keras.Model(model.inputs, model.get_layer(layer).output)([inputs["image"]], training=False)
    features = np.asarray(features, "float64")
    hidden, last = (
        [np.asarray(w, "float64") for w in model.get_layer(n).weights] for n in ("head_dense", "probabilities")
    )

    def score(maps: np.ndarray) -> np.ndarray:
        return (np.maximum(maps.reshape(len(maps), -1) @ hidden[0] + hidden[1], 0) @ last[0] + last[1])[:, 2]

    found, expected = grad_cam(model, inputs, 2), numerical_map(score, features, 1e-6, 32)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.max() == 1.0


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
    maps = [grad_cam(model, inputs, index) for index in range(CLASSES)]
    for heat in maps:
        assert heat.shape == (2, SIZE, SIZE)
        assert heat.dtype == np.float32
        assert np.isfinite(heat).all()
        assert heat.min() >= 0
        assert set(heat.max(axis=(1, 2))) <= {0.0, 1.0}
    assert any(heat.any() for heat in maps)
    assert not np.array_equal(maps[0], maps[1])
    loaded = saved_and_loaded(model, tmp_path)
    assert grad_cam_layer(loaded) == grad_cam_layer(model)
    np.testing.assert_allclose(grad_cam(loaded, inputs, 1), maps[1], atol=1e-5)


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
    assert cam.size >= 4
    assert np.ptp(cam) > 0.01 * cam.max()
    large = cv2.resize(cam.astype("float32"), (BACKBONE_SIZE,) * 2, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(grad_cam(loaded, inputs, index)[0], large / large.max(), atol=1e-3)


def saved_and_loaded(model: keras.Model, folder: Path) -> keras.Model:
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras", compile=False)


def test_a_frozen_model_has_the_same_map(tiny_backbone):
    model, inputs = built("bcdnet"), tensors()
    before = grad_cam(model, inputs, 0)
    assert before.any()
    model.trainable = False
    np.testing.assert_array_equal(grad_cam(model, inputs, 0), before)


def test_a_map_asked_for_by_name_and_tokens_as_a_map(tiny_backbone):
    model, inputs = built("bcdnet"), tensors()
    attended = grad_cam(
        model, inputs, 0, next(one.name for one in model.layers if isinstance(one, SpatialSelfAttention))
    )
    assert attended.shape == (2, SIZE, SIZE)
    assert not np.array_equal(attended, grad_cam(model, inputs, 0))
    # After the last attention of a Vision Transformer the class depends on the class token alone.
    assert not grad_cam(built("vit"), inputs, 0, "final_norm").any()


@pytest.mark.parametrize(
    ("class_index", "layer", "message"),
    [
        (3, None, "class_index=3"),
        (-1, None, "class_index=-1"),
        (0, "nowhere", "layer='nowhere'"),
        (0, "image_pool", "layer='image_pool' with output"),
    ],
)
def test_what_gives_no_map_is_refused(tiny_backbone, class_index, layer, message):
    with pytest.raises(ConfigurationError, match=f"Received: {message}"):
        grad_cam(built("bcdnet"), tensors(), class_index, layer)


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
