"""Two views of a breast: which image goes where, and what a missing view does."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mmdc_tf.models import ModelSettings, build_model

SETTINGS = ModelSettings(image_size=32, class_count=3)


def pictures(seed: int, count: int = 4) -> np.ndarray:
    """Noise, each picture of its own brightness and contrast."""
    rng = np.random.default_rng(seed)
    bounds = np.sort(rng.uniform(0, 255, (2, count, 1, 1, 3)), axis=0)
    return rng.uniform(*bounds, (count, 32, 32, 3)).astype("float32")


FIRST, SECOND = pictures(1), pictures(2)
MISSING = np.full_like(FIRST, np.nan)


@pytest.fixture
def model(tiny_backbone) -> keras.Model:
    """With a last layer so large that the images show in the output, and statistics unlike those of a batch."""
    keras.utils.set_random_seed(0)
    model = build_model("two_view_classifier", SETTINGS, backbone=tiny_backbone)
    kernel = model.get_layer("probabilities").kernel
    kernel.assign(np.random.default_rng(3).normal(0, 2, kernel.shape))
    model.get_layer("tiny_bn1").moving_mean.assign([0.1, -0.2, 0.3, -0.4])
    return model


def probabilities(model: keras.Model, image: np.ndarray, other: np.ndarray, training: bool = False) -> np.ndarray:
    return keras.ops.convert_to_numpy(model({"image": image, "other_view": other}, training=training))


def distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one - other).max(axis=-1)


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_a_missing_view_is_the_image_twice(model, training):
    # In training, too: BatchNorm's statistics are those of the image twice, and no black image is among them.
    missing, twice = (probabilities(model, FIRST, other, training) for other in (MISSING, FIRST))
    np.testing.assert_array_equal(missing, twice)
    assert distance(missing, probabilities(model, FIRST, np.zeros_like(FIRST), training)).min() > 1e-4


def test_the_pair_is_the_pooled_features_of_each_view(model):
    pooled = keras.Model(model.inputs, model.get_layer("image_pool").output)
    pair = keras.Model(model.inputs, model.get_layer("both_views").output)
    alone = [np.asarray(pooled({"image": v, "other_view": v}, training=False))[:4] for v in (FIRST, SECOND)]
    found = np.asarray(pair({"image": FIRST, "other_view": SECOND}, training=False))
    np.testing.assert_allclose(found, np.concatenate(alone, axis=1), atol=1e-5)
