"""DenseNet-161 and DenseNet-40: two networks of Moon et al. (paper, Table I, [25]) that keras.applications lacks.

Its DenseNets have a fixed growth rate of 32 and one stem. Definition: G. Huang, Z. Liu, L. van der Maaten,
K. Q. Weinberger, "Densely Connected Convolutional Networks", CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from mmdc_tf.layers import InputScaling
from mmdc_tf.layers.arguments import require_whole_number
from mmdc_tf.models.heads import image_input, pooled_probabilities
from mmdc_tf.models.registry import ModelSettings, register_model

EPSILON = 1.001e-5  # of BatchNorm, as in the DenseNets of keras.applications
BOTTLENECK = 4  # width of the 1×1 convolution in multiples of the growth rate: DenseNet-B, section 3 of Huang et al.
HALVED = ", since each transition halves them"


@register_model("densenet161", inputs=("image",))
def densenet161(settings: ModelSettings, growth: int = 48, blocks: Sequence[int] = (6, 12, 36, 24)) -> keras.Model:
    """DenseNet-161: DenseNet-BC with growth rate 48 (Huang et al. 2017, Table 1; Moon et al. 2020).

    Stem (7×7 convolution of stride 2 to 2k channels, BN, ReLU, 3×3 max pooling of stride 2) → dense blocks with
    bottlenecks of 4k, transitions that halve channels, height and width between them → BN-ReLU → global average
    pooling → Dense with softmax. It starts from random weights: Keras has no official ones, so ``settings.weights`` is
    not used.

    Assumed: three classes in place of Moon's two (benign, malignant); the scaling of the ImageNet DenseNets; one
    network, where the published line equals that paper's ensemble.

    The outputs of the blocks are the last ``blockB_layerL_concat``; the last feature map is ``final_relu``.

    Args:
        settings: image size (at least 32 pixels) and classes.
        growth: the growth rate k; other values make the other members of the family.
        blocks: dense layers in each block; (6, 12, 24, 16) with growth 32 is DenseNet-121.
    """
    require_whole_number("growth", growth)
    images = image_input(settings, 32, HALVED)
    features = _imagenet_stem(InputScaling("torch", name="input_scaling")(images), 2 * growth)
    features = _dense_blocks(features, blocks, growth, bottleneck=True, compression=0.5)
    outputs = pooled_probabilities(features, settings)
    return keras.Model({"image": images}, outputs, name="densenet161")


@register_model("densenet40", inputs=("image",))
def densenet40(settings: ModelSettings, growth: int = 12, layers_per_block: int = 12) -> keras.Model:
    """DenseNet-40 with growth rate 12, made for images of 32 pixels (Huang et al. 2017, section 3; Moon et al. 2020).

    3×3 convolution to 16 channels, stride 1 → three dense blocks without bottleneck, transitions that keep the
    channels and halve height and width between them → BN-ReLU → global average pooling → Dense with softmax. It starts
    from random weights: there are none to load, so ``settings.weights`` is not used.

    Assumed: that "DenseNet-40" of Moon et al. is this network; images of 64 pixels (the row lowers larger settings to
    it: at 224 pixels a network without a stem costs twelve times as much); the scaling of the ImageNet DenseNets; no
    dropout between the convolutions; three classes in place of Moon's two.

    The outputs of the blocks are the last ``blockB_layerL_concat``; the last feature map is ``final_relu``.

    Args:
        settings: image size (at least 4 pixels) and classes.
        growth: the growth rate k, channels that each layer adds.
        layers_per_block: dense layers in each of the three blocks; the depth is three times that, plus 4.
    """
    require_whole_number("growth", growth)
    images = image_input(settings, 4, HALVED)
    features = _convolution(InputScaling("torch", name="input_scaling")(images), 16, 3, "stem_conv")
    features = _dense_blocks(features, [layers_per_block] * 3, growth, bottleneck=False, compression=1.0)
    outputs = pooled_probabilities(features, settings)
    return keras.Model({"image": images}, outputs, name="densenet40")


def _imagenet_stem(images: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """(batch, S, S, 3) → (batch, S/4, S/4, filters); padded evenly, where "same" would pad right and bottom only."""
    features = layers.ZeroPadding2D(3, name="stem_pad")(images)
    features = _convolution(features, filters, 7, "stem_conv", strides=2, padding="valid")
    features = _norm_relu(features, "stem")
    features = layers.ZeroPadding2D(1, name="stem_pool_pad")(features)
    return layers.MaxPooling2D(3, strides=2, name="stem_pool")(features)


def _dense_blocks(
    features: keras.KerasTensor, blocks: Sequence[int], growth: int, bottleneck: bool, compression: float
) -> keras.KerasTensor:
    """Dense blocks with transitions between them, then BN-ReLU."""
    for number, count in enumerate(blocks, start=1):
        if number > 1:
            features = _transition(features, compression, f"transition{number - 1}")
        for layer in range(1, require_whole_number("layers of a block", count) + 1):
            features = _dense_layer(features, growth, bottleneck, f"block{number}_layer{layer}")
    return _norm_relu(features, "final")


def _dense_layer(features: keras.KerasTensor, growth: int, bottleneck: bool, name: str) -> keras.KerasTensor:
    """Adds ``growth`` channels, computed from all channels before them: (…, C) → (…, C + growth)."""
    added = features
    if bottleneck:
        added = _norm_relu(added, f"{name}_bottleneck")
        added = _convolution(added, BOTTLENECK * growth, 1, f"{name}_bottleneck_conv")
    added = _norm_relu(added, name)
    added = _convolution(added, growth, 3, f"{name}_conv")
    return layers.Concatenate(name=f"{name}_concat")([features, added])


def _transition(features: keras.KerasTensor, compression: float, name: str) -> keras.KerasTensor:
    """(batch, h, w, C) → (batch, h/2, w/2, compression · C)."""
    channels = int(features.shape[-1] * compression)
    features = _convolution(_norm_relu(features, name), channels, 1, f"{name}_conv")
    return layers.AveragePooling2D(2, name=f"{name}_pool")(features)


def _norm_relu(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
    features = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_norm")(features)
    return layers.Activation("relu", name=f"{name}_relu")(features)


def _convolution(
    features: keras.KerasTensor, filters: int, kernel_size: int, name: str, strides: int = 1, padding: str = "same"
) -> keras.KerasTensor:
    """Without bias, since a BatchNorm follows; He's initialisation, section 4.2 of Huang et al."""
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(features)
