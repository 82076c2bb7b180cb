"""ConvMixer (paper, Table I, [10]), a small VGG, and BRINT + CNN (Table II, [20])."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import InputScaling
from mmdc_tf.layers.arguments import require_whole_numbers
from mmdc_tf.models.backbones import feature_map
from mmdc_tf.models.heads import image_input, pooled_probabilities, probabilities
from mmdc_tf.models.registry import ModelSettings, register_model

EPSILON = 1e-5  # of BatchNorm, as in PyTorch, in which ConvMixer was published


@register_model("convmixer", inputs=("image",))
def convmixer(
    settings: ModelSettings, width: int = 256, depth: int = 8, kernel: int = 5, patch: int = 2
) -> keras.Model:
    """Patch embedding, then depthwise convolutions (residual) and 1×1 convolutions in turn, all at one resolution.

    Definition: A. Trockman, J. Z. Kolter, "Patches Are All You Need?", 2022, section 2. Patch embedding-GELU-BN →
    ``depth`` times {x + (depthwise-GELU-BN)(x), then 1×1-GELU-BN} → global average pooling → Dense with softmax. It
    starts from random weights: Keras has no official ones, so ``settings.weights`` is not used.

    Assumed: width 256, depth 8, kernel 5 and patch 2, since Üzen et al. print none of them; the ImageNet scaling with
    which ConvMixer was published.

    The last feature map is ``blockD_point_norm`` of the last block D.

    Args:
        settings: image size (at least one patch) and classes.
        width: channels of all feature maps.
        depth: mixer blocks.
        kernel: height and width of the depthwise convolutions in positions.
        patch: height and width of a patch in pixels; what remains at the right and bottom edge is dropped.
    """
    require_whole_numbers(width=width, depth=depth, kernel=kernel, patch=patch)
    images = image_input(settings, patch, ", one patch")
    features = InputScaling("torch", name="input_scaling")(images)
    features = layers.Conv2D(width, patch, strides=patch, name="patch_embedding")(features)
    features = _gelu_norm(features, "patch")
    for number in range(1, depth + 1):
        features = _mixer_block(features, width, kernel, f"block{number}")
    outputs = pooled_probabilities(features, settings)
    return keras.Model({"image": images}, outputs, name="convmixer")


def _mixer_block(features: keras.KerasTensor, width: int, kernel: int, name: str) -> keras.KerasTensor:
    """Mixes positions, a channel at a time, with a residual; then channels, a position at a time, without."""
    mixed = layers.DepthwiseConv2D(kernel, padding="same", name=f"{name}_depth_conv")(features)
    mixed = _gelu_norm(mixed, f"{name}_depth")
    features = layers.Add(name=f"{name}_residual")([features, mixed])
    features = layers.Conv2D(width, 1, name=f"{name}_point_conv")(features)
    return _gelu_norm(features, f"{name}_point")


def _gelu_norm(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """GELU (exact, by the error function), then BatchNorm: in this order, unlike most networks."""
    features = layers.Activation("gelu", name=f"{name}_gelu")(features)
    return layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_norm")(features)


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

    The last feature map before pooling is ``block2_conv2``.

    Args:
        settings: image size (at least 16 pixels) and classes; the weights of the first dense layer depend on the size.
        width: channels of the first block; the second has twice as many.
        dense_width: units of the first dense layer.
    """
    require_whole_numbers(width=width, dense_width=dense_width)
    images = image_input(settings, SMALLEST_IMAGE, ", since the convolutions of vgg_like do not pad")
    features = InputScaling("tf", name="input_scaling")(images)
    for number in (1, 2):
        features = _block(features, number * width, f"block{number}")
    hidden = layers.Flatten(name="flatten")(features)
    hidden = layers.Dense(dense_width, "relu", name="head_dense")(hidden)
    hidden = layers.Dropout(0.5, name="head_dropout")(hidden)
    outputs = probabilities(hidden, settings)
    return keras.Model({"image": images}, outputs, name="vgg_like")


def _block(features: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """(batch, h, w, C) → (batch, (h − 4) / 2, (w − 4) / 2, filters)."""
    for number in (1, 2):
        features = layers.Conv2D(filters, 3, activation="relu", name=f"{name}_conv{number}")(features)
    features = layers.MaxPooling2D(2, name=f"{name}_pool")(features)
    return layers.Dropout(0.25, name=f"{name}_dropout")(features)


SMALLEST_CUSTOM_IMAGE = 14  # what three convolutions without padding and two poolings leave one pixel of


@register_model("brint_classifier", inputs=("image",))
def brint_classifier(settings: ModelSettings, backbone: str, head: Sequence[int | float] = (128, 128)) -> keras.Model:
    """Backbone → Flatten → dense layers and dropouts → Dense with softmax.

    The published heads are [128, 128] on VGG16, [128, 0.3, 128, 0.3] on VGG19 and ResNet50 (where only the head is
    trained: the row's cut), and [0.2, 512, 32] on MobileNetV2.

    Assumed: that the paper's networks are those of the first author's thesis code; ReLU in the head's dense layers;
    grey, S and M scaled as red, green and blue would be for the backbone's own weights.

    Args:
        settings: the weights of the head's first layer depend on the image size.
        head: what stands between Flatten and the last layer, in order: a whole number is a dense layer of that many
            units, a fraction below 1 is a dropout.
    """
    images = image_input(settings)
    hidden = layers.Flatten(name="flatten")(feature_map(backbone, images, settings.weights))
    for number, entry in enumerate(head, start=1):
        hidden = _head_layer(entry, number)(hidden)
    return keras.Model({"image": images}, probabilities(hidden, settings), name=f"brint_{backbone}")


@register_model("brint_custom_cnn", inputs=("image",))
def brint_custom_cnn(settings: ModelSettings, width: int = 32, dense_width: int = 64) -> keras.Model:
    """conv 32 - conv 64 - pool - conv 64 - pool - dropout - Dense 64 - dropout - Flatten - Dense with softmax.

    3×3 convolutions without padding, ReLU, pooling by 2, dropouts of 0.25. The dense layer stands before Flatten, so it
    works on the channels of each position (30×30×64 of a 128-pixel image), as in the thesis code. It starts from
    random weights: there are none to load, so ``settings.weights`` is not used.

    Assumed: that the paper's network is that of the thesis code; ReLU after the dense layer; grey, S and M scaled to
    [−1, 1].

    The last feature map of the convolutions is ``conv3``.

    Args:
        settings: image size (at least 14 pixels; published with 128) and classes; the weights of the last layer depend
            on the size.
        width: channels of the first convolution; the others have twice as many.
        dense_width: units of the dense layer.
    """
    require_whole_numbers(width=width, dense_width=dense_width)
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
    return keras.Model({"image": images}, probabilities(features, settings), name="brint_custom_cnn")


def _head_layer(entry: int | float, number: int) -> layers.Layer:
    if isinstance(entry, float) and 0 < entry < 1:
        return layers.Dropout(entry, name=f"head{number}_dropout")
    if isinstance(entry, int) and not isinstance(entry, bool) and entry >= 1:
        return layers.Dense(entry, "relu", name=f"head{number}_dense")
    raise ConfigurationError(
        "Expected head to hold units of dense layers (whole numbers of at least 1) and dropouts (fractions between 0 "
        f"and 1). Received: entry {number} of head={entry!r}. Write it as [128, 0.3, 128, 0.3]."
    )
