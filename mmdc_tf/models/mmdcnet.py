"""MMDCNet: mammogram, age and density fused by self-attention (paper, section II-B, Fig. 2), and its ablations."""

from __future__ import annotations

import keras

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import DoubleConvSE, SpatialSelfAttention, TokenFusion
from mmdc_tf.models.backbones import feature_map, feature_maps, get_backbone
from mmdc_tf.models.heads import clinical_embedding, dense_probabilities, image_input, metadata_input, probabilities
from mmdc_tf.models.registry import ModelSettings, register_model

TOKEN_WIDTH = 128  # "projected into a 128-dimensional space", section II-B.1.a
SMALLEST_MAP = 2  # adaptive pooling averages windows of two positions and more
HEADS = 8  # "a self attention mechanism with eight heads", section II-B.1.a


@register_model("mmdcnet", inputs=("image", "metadata"))
def mmdcnet(
    settings: ModelSettings,
    backbone: str = "densenet201",
    conv_filters: int = 256,
    grid: int = 4,
    clinical_width: int = 64,
    clinical_dropout: float = 0.2,
    head_width: int = 128,
    head_dropout: float = 0.3,
) -> keras.Model:
    """Image tokens and one clinical token under multi-head self-attention.

    Image: backbone → DoubleConv+SE → adaptive average pooling to ``grid`` × ``grid`` → tokens of width 128.
    Clinical: age and density → embedding with a learned unknown → Dense-BN-ReLU-Dropout → Dense(128) → one token.
    Fusion: eight heads over all tokens, residual and LayerNorm; mean image token ‖ clinical token → Dense-ReLU-Dropout
    → softmax. α is DenseNet-201, β EfficientNetB0, γ VGG16. All widths but 128, the grid and the dropout rates are
    our assumptions: the paper gives none.

    Args:
        conv_filters: channels of the DoubleConv+SE module.
        grid: height and width of the grid of image tokens.
        clinical_width, clinical_dropout: of the fully connected network of the metadata.
        head_width, head_dropout: of the fully connected layers after fusion.
    """
    images = image_input(settings)
    metadata = metadata_input()
    image_tokens = _image_tokens(feature_map(backbone, images, settings.weights), conv_filters, grid)
    clinical_token = _clinical_token(metadata, clinical_width, clinical_dropout)
    tokens = keras.layers.Concatenate(axis=1, name="tokens")([clinical_token, image_tokens])
    fused = TokenFusion(heads=HEADS, width=TOKEN_WIDTH, name="fusion")(tokens)
    outputs = _head(fused, settings, head_width, head_dropout)
    return keras.Model({"image": images, "metadata": metadata}, outputs, name=f"mmdcnet_{backbone}")


def _image_tokens(features: keras.KerasTensor, filters: int, grid: int) -> keras.KerasTensor:
    """(batch, h, w, C) → (batch, grid², 128)."""
    if features.shape[1] < SMALLEST_MAP:
        raise ConfigurationError(
            f"Expected images that leave a feature map of at least {SMALLEST_MAP} by {SMALLEST_MAP} positions. "
            f"Received: {features.shape[1]} by {features.shape[2]}. Use a larger --image-size."
        )
    refined = DoubleConvSE(filters, name="double_conv_se")(features)
    pooled = keras.layers.AdaptiveAveragePooling2D(grid, name="adaptive_pool")(refined)
    cells = keras.layers.Reshape((grid * grid, filters), name="image_cells")(pooled)
    return keras.layers.Dense(TOKEN_WIDTH, name="image_tokens")(cells)


def _clinical_token(metadata: keras.KerasTensor, width: int, dropout: float) -> keras.KerasTensor:
    """(batch, 2) raw → (batch, 1, 128)."""
    embedding = clinical_embedding(metadata, width, dropout, TOKEN_WIDTH)
    return keras.layers.Reshape((1, TOKEN_WIDTH), name="clinical_token")(embedding)


def _head(tokens: keras.KerasTensor, settings: ModelSettings, width: int, dropout: float) -> keras.KerasTensor:
    """(batch, 1 + grid², 128) with the clinical token first → (batch, classes)."""
    count = tokens.shape[1]
    clinical = keras.layers.Cropping1D((0, count - 1), name="fused_clinical")(tokens)
    image = keras.layers.Cropping1D((1, 0), name="fused_image")(tokens)
    pooled = keras.layers.GlobalAveragePooling1D(name="image_pool")(image)
    joined = keras.layers.Concatenate(name="fused")([pooled, keras.layers.Flatten(name="clinical")(clinical)])
    return dense_probabilities(joined, settings, width, dropout)


@register_model("ablation", inputs=("image", "metadata"))
def ablation(
    settings: ModelSettings,
    backbone: str = "densenet201",
    layer: str | None = None,
    attention: bool = False,
    clinical_width: int = 64,
    clinical_dropout: float = 0.2,
    head_width: int = 128,
    head_dropout: float = 0.3,
) -> keras.Model:
    """Pooled image features ‖ clinical features → fully connected layers: M1 to M4 (paper, "Ablation study", Fig. 3).

    M1 is DenseNet-201 up to and with its second dense block (``layer="conv3_block12_concat"``), frozen to the last by
    the row's cut, without attention. M2 (VGG16), M3 (DenseNet-201) and M4 (EfficientNetB0) are whole backbones with
    spatial self-attention (``attention=True``) and an unfrozen tail. None has Squeeze-and-Excitation or the fusion by
    attention (EfficientNetB0 has blocks of the former inside itself).

    Assumed: that M1's "custom CNN with … Dense Blocks 1 and 2" and "pre-trained backbone" are one network, the
    beginning of DenseNet-201, whose concatenated channels are pooled as they leave the block; that M1 has metadata,
    since M5 is said to take them away; that "extend M1" changes the backbone, since the text names others; that
    metadata are concatenated, since fusion by attention is named for MMDCNet only; the clinical network and the head
    are MMDCNet's, with the widths and dropout rates assumed there.

    Args:
        layer: the layer of it that gives the image features; None for the last feature map.
        attention: spatial self-attention on them.
        clinical_width, clinical_dropout: of the fully connected network of the metadata.
        head_width, head_dropout: of the fully connected layers after concatenation.
    """
    images, metadata = image_input(settings), metadata_input()
    pooled = _pooled_features(images, settings, backbone, layer, attention)
    clinical = clinical_embedding(metadata, clinical_width, clinical_dropout, TOKEN_WIDTH)
    joined = keras.layers.Concatenate(name="joined")([pooled, clinical])
    outputs = dense_probabilities(joined, settings, head_width, head_dropout)
    return keras.Model({"image": images, "metadata": metadata}, outputs, name=f"ablation_{backbone}")


@register_model("ablation_image_only", inputs=("image",))
def ablation_image_only(
    settings: ModelSettings,
    backbone: str = "densenet201",
    layer: str | None = None,
    head_width: int | None = None,
    head_dropout: float = 0.3,
) -> keras.Model:
    """Pooled image features → Dense with softmax: M5, which is M1 without metadata (paper, "Ablation study", Fig. 3).

    Assumed: the image features of M1; the plainest head. M1 has a hidden layer besides, without which metadata could
    not change what the image says, but only add to it; ``head_width=128`` gives M5 the same.

    Args:
        layer: the layer of it that gives the image features; None for the last feature map.
        head_width: units of a hidden layer with ReLU and dropout; None for no such layer.
        head_dropout: the dropout rate of the hidden layer.
    """
    images = image_input(settings)
    pooled = _pooled_features(images, settings, backbone, layer, attention=False)
    if head_width is None:
        outputs = probabilities(pooled, settings)
    else:
        outputs = dense_probabilities(pooled, settings, head_width, head_dropout)
    return keras.Model({"image": images}, outputs, name=f"ablation_image_only_{backbone}")


def _pooled_features(
    images: keras.KerasTensor, settings: ModelSettings, backbone: str, layer: str | None, attention: bool
) -> keras.KerasTensor:
    """(batch, S, S, 3) in [0, 255] → (batch, C)."""
    layer = layer or get_backbone(backbone).gradcam_layer
    (features,) = feature_maps(backbone, images, settings.weights, (layer,))
    if attention:
        features = SpatialSelfAttention(name="self_attention")(features)
    return keras.layers.GlobalAveragePooling2D(name="image_pool")(features)
