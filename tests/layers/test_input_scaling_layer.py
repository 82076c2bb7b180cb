"""Scaling by hand; models/test_backbones.py compares it with that of each backbone's family."""

import keras
import numpy as np
import pytest

from mmdc_tf.layers import InputScaling


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("tf", [1.0, 0.0, -1.0]),
        ("caffe", [-103.939, 127.5 - 116.779, 255.0 - 123.68]),
        ("torch", [(1.0 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, -0.406 / 0.225]),
        ("none", [255.0, 127.5, 0.0]),
    ],
)
def test_one_pixel_by_hand(mode, expected):
    red_is_brightest = np.array([[[[255.0, 127.5, 0.0]]]], dtype="float32")
    np.testing.assert_allclose(np.asarray(InputScaling(mode)(red_is_brightest)), [[[expected]]], atol=1e-4)


@pytest.mark.parametrize("mode", ["torch", "tf", "caffe", "none"])
def test_the_given_pixels_stay_as_they_were_and_integers_are_fine(mode):
    given = np.arange(48, dtype="uint8").reshape(1, 4, 4, 3)
    floats = given.astype("float32")
    from_floats = np.asarray(InputScaling(mode)(floats))
    np.testing.assert_array_equal(floats, given)
    np.testing.assert_array_equal(np.asarray(InputScaling(mode)(given)), from_floats)


def test_mixed_precision_scales_in_float32():
    # 127.5 and 127.53 are the same number in float16; scaled to [-1, 1] they are 0 and 0.000235.
    given = np.array([[[[127.5, 127.53, 127.5]]]], dtype="float32")
    image = keras.Input((1, 1, 3))
    output = keras.Model(image, InputScaling("tf", dtype="mixed_float16")(image)).predict(given, verbose=0)
    assert output.dtype == np.float16
    np.testing.assert_allclose(output[0, 0, 0], [0.0, 0.03 / 127.5, 0.0], atol=1e-6)
