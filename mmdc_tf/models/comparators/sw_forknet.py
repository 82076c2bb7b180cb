"""SW-ForkNet (Üzen et al. 2024; paper, Table I, [10])."""

from __future__ import annotations

import keras
from keras import layers

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import PatchEmbedding, SwinBlock
from mmdc_tf.layers.swin import EPSILON
from mmdc_tf.models.backbones import feature_maps
from mmdc_tf.models.heads import image_input, probabilities
from mmdc_tf.models.registry import ModelSettings, register_model

FORK = "conv3_block12_concat"  # the end of the second dense block, where the branches leave
LAST = "relu"
DENSENETS = ("densenet121", "densenet201")  # which have both layers
PATCH = 4


@register_model("sw_forknet", inputs=("image",))
def sw_forknet(
    settings: ModelSettings, backbone: str = "densenet121", width: int = 256, heads: int = 8, window: int = 4
) -> keras.Model:
    """DenseNet-121 with two more branches from its middle: spatial excitation, and two Swin blocks.

    Deep branch: last feature map → global average pooling → Dense. Spatial branch: the map of the second dense block
    times a gate for each position (1×1 convolution of 128 with ReLU, 1×1 convolution of 1 with sigmoid) → global
    average pooling → Dense. Swin branch: the same map → patch embedding 4×4 with LayerNorm → two Swin blocks, the
    second with shifted windows → LayerNorm → mean over the tokens. All three side by side → Dense with softmax. Source:
    H. Üzen et al., SW-ForkNet, 2024 (reference [10] of the paper), in the words of the paper for the fusion, and by a
    third party's reimplementation for what the branches hold; Swin blocks: Liu et al., ICCV 2021.

    Assumed: windows of 4 positions in both Swin blocks, shifted by 2 in the second (the size whose position biases
    give the reimplementation's 3,678,736 parameters); the 7×7 tokens of 224 pixels padded to 8×8, the padding masked;
    no activation after the two Dense layers of 256; no dropout and no stochastic depth.

    The gates are ``spatial_gates``, the branches ``deep_features``, ``spatial_features`` and ``swin_features``, each
    (batch, width).

    Args:
        backbone: ``"densenet121"`` or ``"densenet201"``.
        width: of each branch's features; a multiple of ``heads``.
        heads: attention heads of the Swin blocks.
        window: height and width of their windows in tokens; where one window covers all of them nothing is shifted.
    """
    _require_densenet(backbone)
    images = image_input(settings)
    middle, last = feature_maps(backbone, images, settings.weights, (FORK, LAST))
    branches = [
        _pooled(last, width, "deep"),
        _pooled(_excited(middle), width, "spatial"),
        _swin_branch(middle, width, heads, window),
    ]
    joined = layers.Concatenate(name="branches")(branches)
    outputs = probabilities(joined, settings)
    return keras.Model({"image": images}, outputs, name=f"sw_forknet_{backbone}")


def _require_densenet(backbone: str) -> None:
    if backbone not in DENSENETS:
        raise ConfigurationError(
            f"Expected a backbone with the layers {FORK} and {LAST}: {' or '.join(DENSENETS)}. "
            f"Received: backbone={backbone!r}. Take one of the two."
        )


def _pooled(features: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    """(batch, h, w, C) → (batch, width)."""
    pooled = layers.GlobalAveragePooling2D(name=f"{name}_pool")(features)
    return layers.Dense(width, name=f"{name}_features")(pooled)


def _excited(features: keras.KerasTensor) -> keras.KerasTensor:
    """Each position times its gate in (0, 1): (batch, h, w, C) → (batch, h, w, C)."""
    squeezed = layers.Conv2D(128, 1, activation="relu", name="spatial_squeeze")(features)
    gates = layers.Conv2D(1, 1, activation="sigmoid", name="spatial_gates")(squeezed)
    return layers.Multiply(name="spatial_excitation")([features, gates])


def _swin_branch(features: keras.KerasTensor, width: int, heads: int, window: int) -> keras.KerasTensor:
    """(batch, h, w, C) → (batch, width), by way of h // 4 × w // 4 tokens."""
    tokens = PatchEmbedding(width, PATCH, name="swin_patch_embedding")(features)
    tokens = SwinBlock(heads, window, name="swin_block1")(tokens)
    tokens = SwinBlock(heads, window, window // 2, name="swin_block2")(tokens)
    tokens = layers.LayerNormalization(epsilon=EPSILON, name="swin_norm")(tokens)
    return layers.GlobalAveragePooling2D(name="swin_features")(tokens)
