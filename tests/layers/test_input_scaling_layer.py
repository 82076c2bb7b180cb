"""Scaling against that of keras.applications, and by hand."""

import keras
import numpy as np
import pytest
from keras import applications

from mmdc_tf.layers import InputScaling


def pixels():
    return np.random.default_rng(8).uniform(0.0, 255.0, size=(2, 4, 5, 3)).astype("float32")


@pytest.mark.parametrize(
    ("mode", "family"),
    [
        ("torch", applications.densenet),
        ("caffe", applications.vgg16),
        ("caffe", applications.vgg19),
        ("caffe", applications.resnet50),
        ("tf", applications.resnet_v2),
        ("tf", applications.xception),
        ("tf", applications.mobilenet),
        ("tf", applications.mobilenet_v2),
        ("tf", applications.inception_v3),
        ("none", applications.efficientnet),
    ],
)
def test_equals_the_familys_own_preprocessing(mode, family):
    # A copy: on arrays Keras scales in place.
    expected = family.preprocess_input(pixels().copy(), data_format="channels_last")
    np.testing.assert_allclose(np.asarray(InputScaling(mode)(pixels())), expected, rtol=1e-5, atol=1e-5)


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
