"""VGG-Like: the smallest network of Moon et al. (paper, Table I, [25])."""

from __future__ import annotations

import keras
from keras import layers

from mmdc_tf.layers import InputScaling
from mmdc_tf.layers.arguments import require_whole_number
from mmdc_tf.models.image_head import image_input
from mmdc_tf.models.registry import ModelSettings, register_model

SMALLEST_IMAGE = 16  # what four convolutions without padding and two poolings leave one pixel of


@register_model("vgg_like", inputs=("image",))
def vgg_like(settings: ModelSettings, width: int = 32, dense_width: int = 256) -> keras.Model:
    """Two blocks of two 3×3 convolutions without padding, then two dense layers (Moon et al. 2020, "VGG-Like").

    conv 32 - conv 32 - pool - dropout 0.25 - conv 64 - conv 64 - pool - dropout 0.25 - Flatten - Dense 256 -
    dropout 0.5 - Dense with softmax, ReLU throughout. It starts from random weights: there are none to load, so
    ``settings.weights`` is not used.

    Assumed: the whole of it, since Moon et al. print no layers. It is the network that Keras' early documentation
    called "VGG-like convnet" (7,998,250 parameters at 100 pixels and ten classes); images of at most 128 pixels (the
    row lowers larger settings to it: the first dense layer grows with their square); pixels scaled to [−1, 1]; three
    classes in place of Moon's two.

    Args:
        settings: image size (at least 16 pixels) and classes; the weights of the first dense layer depend on the size.
        width: channels of the first block; the second has twice as many.
        dense_width: units of the first dense layer.

    Returns:
        A functional model: image float32 (batch, S, S, 3) in [0, 255] → probabilities (batch, classes). The last
        feature map before pooling is ``block2_conv2``.

    Raises:
        ConfigurationError: the image is too small, or a width is not a whole number of at least 1.
    """
    images = image_input(settings, SMALLEST_IMAGE, ", since the convolutions of vgg_like do not pad")
    features = InputScaling("tf", name="input_scaling")(images)
    width = require_whole_number("width", width)
    for number in (1, 2):
        features = _block(features, number * width, f"block{number}")
    hidden = layers.Flatten(name="flatten")(features)
    hidden = layers.Dense(require_whole_number("dense_width", dense_width), "relu", name="head_dense")(hidden)
    hidden = layers.Dropout(0.5, name="head_dropout")(hidden)
    outputs = layers.Dense(settings.class_count, "softmax", dtype="float32", name="probabilities")(hidden)
    return keras.Model({"image": images}, outputs, name="vgg_like")


def _block(features: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """(batch, h, w, C) → (batch, (h − 4) / 2, (w − 4) / 2, filters)."""
    for number in (1, 2):
        features = layers.Conv2D(filters, 3, activation="relu", name=f"{name}_conv{number}")(features)
    features = layers.MaxPooling2D(2, name=f"{name}_pool")(features)
    return layers.Dropout(0.25, name=f"{name}_dropout")(features)
