"""ConvMixer, as compared with by Üzen et al. (paper, Table I, [10])."""

from __future__ import annotations

import keras
from keras import layers

from mmdc_tf.layers import InputScaling
from mmdc_tf.layers.arguments import require_whole_number
from mmdc_tf.models.image_head import image_input, pooled_probabilities
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

    Args:
        settings: image size (at least one patch) and classes.
        width: channels of all feature maps.
        depth: mixer blocks.
        kernel: height and width of the depthwise convolutions in positions.
        patch: height and width of a patch in pixels; what remains at the right and bottom edge is dropped.

    Returns:
        A functional model: image float32 (batch, S, S, 3) in [0, 255] → probabilities (batch, classes). The last
        feature map is ``blockD_point_norm`` of the last block D.

    Raises:
        ConfigurationError: the image is smaller than a patch, or an argument is not a whole number of at least 1.
    """
    given = {"width": width, "depth": depth, "kernel": kernel, "patch": patch}
    for name, value in given.items():
        require_whole_number(name, value)
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
