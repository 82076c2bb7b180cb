"""The frozen part and the rest: together they are the whole model, and share its layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models import BACKBONES, ModelSettings, build_model, freeze_through
from mmdc_tf.models.frozen_part import FrozenSplit, split_frozen


def images_of(model: keras.Model, count: int = 3) -> np.ndarray:
    shape = next(tensor for tensor in model.inputs if tensor.name == "image").shape[1:]
    return np.random.default_rng(0).uniform(0, 255, (count, *shape)).astype("float32")


def split(name: str, size: int, cut: str, **arguments: object) -> tuple[keras.Model, FrozenSplit]:
    model = build_model(name, ModelSettings(size), **arguments)
    freeze_through(model, cut)
    parts = split_frozen(model, cut)
    assert parts is not None
    return model, parts


def features_of(parts: FrozenSplit, images: np.ndarray) -> dict[str, np.ndarray]:
    outputs = parts.frozen({"image": images})
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return {f"features{number}": output for number, output in enumerate(outputs)}


@pytest.mark.parametrize(
    ("name", "size", "cut", "arguments", "shapes"),
    [
        ("bcdnet", 64, "block4c_add", {"backbone": "efficientnetb0"}, ((4, 4, 80),)),
        # a cut on a ReLU beside a shortcut: the sum before it is stored, from which the ReLU follows
        ("backbone_classifier", 75, "block10_sepconv1_act", {"backbone": "xception"}, ((5, 5, 728),)),
        # the fork leaves before the transition, so that both are stored
        ("sw_forknet", 64, "pool3_pool", {"backbone": "densenet121"}, ((8, 8, 512), (4, 4, 256))),
        ("backbone_classifier", 32, BACKBONES["resnet50"].cuts[-1], {"backbone": "resnet50"}, None),
        ("backbone_classifier", 75, BACKBONES["inceptionv3"].cuts[-1], {"backbone": "inceptionv3"}, None),
        ("backbone_classifier", 32, BACKBONES["mobilenet"].cuts[-1], {"backbone": "mobilenet"}, None),
        ("backbone_classifier", 32, BACKBONES["mobilenetv2"].cuts[-1], {"backbone": "mobilenetv2"}, None),
    ],
)
def test_both_parts_are_the_whole_model(name, size, cut, arguments, shapes):
    model, parts = split(name, size, cut, **arguments)
    assert shapes in (None, parts.shapes)
    images = images_of(model)
    np.testing.assert_array_equal(parts.tail(features_of(parts, images)), model({"image": images}))


def test_other_inputs_go_to_the_tail(tiny_backbone):
    model, parts = split("mmdcnet", 32, "tiny_pool1", backbone=tiny_backbone, conv_filters=16)
    assert set(parts.tail.input) == {"features0", "metadata"}
    metadata = keras.ops.array([[50.0, 2.0], [61.0, np.nan], [np.nan, 4.0]], "float32")
    images = keras.ops.array(images_of(model))
    given = {**features_of(parts, images), "metadata": metadata}
    np.testing.assert_array_equal(parts.tail(given), model({"image": images, "metadata": metadata}))


def test_what_the_tail_learns_the_model_has_learned(tiny_backbone):
    model, parts = split("backbone_classifier", 32, "tiny_pool1", backbone=tiny_backbone)
    images = images_of(model)
    before, frozen = model({"image": images}), [weight.numpy() for weight in parts.frozen.weights]
    parts.tail.compile(keras.optimizers.SGD(0.5), "categorical_crossentropy")
    parts.tail.train_on_batch(features_of(parts, images), np.eye(3, dtype="float32"))
    after = model({"image": images})
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, parts.tail(features_of(parts, images)))
    assert {weight.path for weight in parts.tail.trainable_weights} == {w.path for w in model.trainable_weights}
    for one, two in zip(frozen, parts.frozen.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_frozen_part_gives_the_same_in_training():
    """EfficientNet's stochastic depth drops whole blocks in training: in a frozen part it must not."""
    model, parts = split("backbone_classifier", 32, "block4c_add", backbone="efficientnetb0")
    images = images_of(model)
    np.testing.assert_array_equal(
        parts.frozen({"image": images}, training=True), parts.frozen({"image": images}, training=False)
    )
    late = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout) and layer.trainable]
    assert late and all(layer.rate > 0 for layer in late)


def test_the_digest_tells_weights_apart_and_forgets_those_of_the_rest(tiny_backbone):
    model, parts = split("backbone_classifier", 32, "tiny_pool1", backbone=tiny_backbone)
    before = parts.weights_digest
    model.get_layer("probabilities").bias.assign([1.0, 2.0, 3.0])
    assert parts.weights_digest == before
    model.get_layer("tiny_bn1").moving_mean.assign([0.0, 0.0, 0.0, 1e-3])
    assert parts.weights_digest != before


def test_a_frozen_part_of_two_images_or_of_metadata_is_none(tiny_backbone):
    pair = build_model("two_view_classifier", ModelSettings(32), backbone=tiny_backbone)
    assert split_frozen(pair, "tiny_pool1") is None
    fused = build_model("mmdcnet", ModelSettings(32), backbone=tiny_backbone, conv_filters=16)
    assert split_frozen(fused, "fusion") is None


def test_an_unknown_cut_is_refused(tiny_backbone):
    model = build_model("backbone_classifier", ModelSettings(32), backbone=tiny_backbone)
    with pytest.raises(ConfigurationError, match="Received: cut='pool9'"):
        split_frozen(model, "pool9")
