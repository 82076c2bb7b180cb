"""The ablation models M1 to M5 of Fig. 3: MMDCNet without its fusion, its attention or its metadata."""

from __future__ import annotations

import keras

from mmdc_tf.layers import SpatialSelfAttention
from mmdc_tf.models.backbones import feature_maps, get_backbone
from mmdc_tf.models.clinical_head import clinical_embedding, dense_probabilities, metadata_input
from mmdc_tf.models.image_head import image_input
from mmdc_tf.models.registry import ModelSettings, register_model

EMBEDDING_WIDTH = 128  # of the clinical features, as in MMDCNet


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
        settings: image size, classes, weight file.
        backbone: a registered backbone.
        layer: the layer of it that gives the image features; None for the last feature map.
        attention: spatial self-attention on them.
        clinical_width, clinical_dropout: of the fully connected network of the metadata.
        head_width, head_dropout: of the fully connected layers after concatenation.

    Returns:
        A functional model: {"image": float32 (batch, S, S, 3) in [0, 255], "metadata": float32 (batch, 2) raw age in
        years and density 1 to 4, NaN = unknown} → probabilities (batch, classes).

    Raises:
        ConfigurationError: unknown backbone, or an image too small for it.
        WeightsError: the weight file does not fit.
    """
    images, metadata = image_input(settings), metadata_input()
    pooled = _pooled_features(images, settings, backbone, layer, attention)
    clinical = clinical_embedding(metadata, clinical_width, clinical_dropout, EMBEDDING_WIDTH)
    joined = keras.layers.Concatenate(name="joined")([pooled, clinical])
    outputs = dense_probabilities(joined, settings.class_count, head_width, head_dropout)
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
        settings: image size, classes, weight file.
        backbone: a registered backbone.
        layer: the layer of it that gives the image features; None for the last feature map.
        head_width: units of a hidden layer with ReLU and dropout; None for no such layer.
        head_dropout: the dropout rate of the hidden layer.

    Returns:
        A functional model: image float32 (batch, S, S, 3) in [0, 255] → probabilities (batch, classes).

    Raises:
        ConfigurationError: unknown backbone, or an image too small for it.
        WeightsError: the weight file does not fit.
    """
    images = image_input(settings)
    pooled = _pooled_features(images, settings, backbone, layer, attention=False)
    if head_width is None:
        outputs = keras.layers.Dense(settings.class_count, "softmax", dtype="float32", name="probabilities")(pooled)
    else:
        outputs = dense_probabilities(pooled, settings.class_count, head_width, head_dropout)
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
