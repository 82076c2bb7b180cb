"""Grad-CAM of several images, each for a class of its own."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.explain.gradcam import grad_cam
from mmdc_tf.models import ModelSettings, build_model


@pytest.fixture
def inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "image": rng.uniform(0, 255, (3, 32, 32, 3)).astype("float32"),
        "other_view": rng.uniform(0, 255, (3, 32, 32, 3)).astype("float32"),
        "metadata": np.array([[50, 2], [60, np.nan], [np.nan, 4]], "float32"),
    }


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("mmdcnet", {"backbone": "tiny", "conv_filters": 8, "grid": 2}), ("two_view_classifier", {"backbone": "tiny"})],
)
def test_each_image_gets_the_map_of_its_own_class(tiny_backbone, inputs, name, arguments):
    keras.utils.set_random_seed(0)
    model = build_model(name, ModelSettings(32), **arguments)
    last = model.layers[-1].kernel
    last.assign(np.random.default_rng(3).normal(0, 0.2, last.shape))
    alone = [grad_cam(model, inputs, index) for index in range(3)]
    together = grad_cam(model, inputs, [2, 0, 1])
    for place, index in enumerate((2, 0, 1)):
        np.testing.assert_allclose(together[place], alone[index][place], atol=1e-5)
    assert np.abs(together - alone[0]).max() > 0.1  # the class makes a difference


def test_a_class_that_does_not_exist_is_named(tiny_backbone, inputs):
    model = build_model("backbone_classifier", ModelSettings(32), backbone="tiny")
    with pytest.raises(ConfigurationError, match=r"class from 0 to 2\. Received: class_index=3"):
        grad_cam(model, inputs, [0, 1, 3])
