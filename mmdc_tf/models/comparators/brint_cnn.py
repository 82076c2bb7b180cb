"""BRINT + CNN: the networks of Marroquín and Cáceres 2024 (paper, Table II, [20]).

Their three channels, grey and BRINT's S and M codes, are made by the preprocessing recipe ``"brint"``.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import InputScaling
from mmdc_tf.layers.arguments import require_whole_number
from mmdc_tf.models.backbones import feature_map
from mmdc_tf.models.image_head import image_input
from mmdc_tf.models.registry import ModelSettings, register_model

SMALLEST_CUSTOM_IMAGE = 14  # what three convolutions without padding and two poolings leave one pixel of


@register_model("brint_classifier", inputs=("image",))
def brint_classifier(settings: ModelSettings, backbone: str, head: Sequence[int | float] = (128, 128)) -> keras.Model:
    """Backbone → Flatten → dense layers and dropouts → Dense with softmax.

    The published heads are [128, 128] on VGG16, [128, 0.3, 128, 0.3] on VGG19 and ResNet50 (where only the head is
    trained: the row's cut), and [0.2, 512, 32] on MobileNetV2.

    Assumed: that the paper's networks are those of the first author's thesis code; ReLU in the head's dense layers;
    grey, S and M scaled as red, green and blue would be for the backbone's own weights.

    Args:
        settings: image size, classes, weight file; the weights of the head's first layer depend on the size.
        backbone: a registered backbone.
        head: what stands between Flatten and the last layer, in order: a whole number is a dense layer of that many
            units, a fraction below 1 is a dropout.

    Returns:
        A functional model: image float32 (batch, S, S, 3) in [0, 255] → probabilities (batch, classes).

    Raises:
        ConfigurationError: an entry of ``head`` is neither, or the backbone does not fit.
    """
    images = image_input(settings)
    hidden = layers.Flatten(name="flatten")(feature_map(backbone, images, settings.weights))
    for number, entry in enumerate(head, start=1):
        hidden = _head_layer(entry, number)(hidden)
    return keras.Model({"image": images}, _probabilities(hidden, settings), name=f"brint_{backbone}")


@register_model("brint_custom_cnn", inputs=("image",))
def brint_custom_cnn(settings: ModelSettings, width: int = 32, dense_width: int = 64) -> keras.Model:
    """conv 32 - conv 64 - pool - conv 64 - pool - dropout - Dense 64 - dropout - Flatten - Dense with softmax.

    3×3 convolutions without padding, ReLU, pooling by 2, dropouts of 0.25. The dense layer stands before Flatten, so it
    works on the channels of each position (30×30×64 of a 128-pixel image), as in the thesis code. It starts from
    random weights: there are none to load, so ``settings.weights`` is not used.

    Assumed: that the paper's network is that of the thesis code; ReLU after the dense layer; grey, S and M scaled to
    [−1, 1].

    Args:
        settings: image size (at least 14 pixels; published with 128) and classes; the weights of the last layer depend
            on the size.
        width: channels of the first convolution; the others have twice as many.
        dense_width: units of the dense layer.

    Returns:
        A functional model: image float32 (batch, S, S, 3) in [0, 255] → probabilities (batch, classes). The last
        feature map of the convolutions is ``conv3``.

    Raises:
        ConfigurationError: the image is too small, or a width is not a whole number of at least 1.
    """
    width, dense_width = require_whole_number("width", width), require_whole_number("dense_width", dense_width)
    images = image_input(settings, SMALLEST_CUSTOM_IMAGE, ", since the convolutions of brint_custom_cnn do not pad")
    features = InputScaling("tf", name="input_scaling")(images)
    for layer in (
        layers.Conv2D(width, 3, activation="relu", name="conv1"),
        layers.Conv2D(2 * width, 3, activation="relu", name="conv2"),
        layers.MaxPooling2D(2, name="pool1"),
        layers.Conv2D(2 * width, 3, activation="relu", name="conv3"),
        layers.MaxPooling2D(2, name="pool2"),
        layers.Dropout(0.25, name="dropout"),
        layers.Dense(dense_width, "relu", name="position_dense"),
        layers.Dropout(0.25, name="position_dropout"),
        layers.Flatten(name="flatten"),
    ):
        features = layer(features)
    return keras.Model({"image": images}, _probabilities(features, settings), name="brint_custom_cnn")


def _head_layer(entry: int | float, number: int) -> layers.Layer:
    if isinstance(entry, float) and 0 < entry < 1:
        return layers.Dropout(entry, name=f"head{number}_dropout")
    if isinstance(entry, int) and not isinstance(entry, bool) and entry >= 1:
        return layers.Dense(entry, "relu", name=f"head{number}_dense")
    raise ConfigurationError(
        "Expected head to hold units of dense layers (whole numbers of at least 1) and dropouts (fractions between 0 "
        f"and 1). Received: entry {number} of head={entry!r}. Write it as [128, 0.3, 128, 0.3]."
    )


def _probabilities(hidden: keras.KerasTensor, settings: ModelSettings) -> keras.KerasTensor:
    return layers.Dense(settings.class_count, "softmax", dtype="float32", name="probabilities")(hidden)
