"""Inputs and heads that the models share."""

from __future__ import annotations

import keras

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import MetadataEmbedding
from mmdc_tf.models.registry import ModelSettings


def image_input(settings: ModelSettings, smallest: int = 1, reason: str = "") -> keras.KerasTensor:
    """The input ``image``: float32 (batch, S, S, 3) RGB in [0, 255].

    Args:
        settings: the image size.
        smallest: the smallest image that the network takes, in pixels.
        reason: why, for the message: ", since …".

    Raises:
        ConfigurationError: the image is smaller.
    """
    if settings.image_size < smallest:
        raise ConfigurationError(
            f"Expected images of at least {smallest} pixels{reason}. Received: image_size={settings.image_size}. "
            "Use a larger --image-size."
        )
    return keras.Input((settings.image_size, settings.image_size, 3), name="image")


def pooled_probabilities(features: keras.KerasTensor, settings: ModelSettings) -> keras.KerasTensor:
    """Global average pooling → Dense with softmax: (batch, h, w, C) → float32 (batch, classes)."""
    pooled = keras.layers.GlobalAveragePooling2D(name="image_pool")(features)
    return probabilities(pooled, settings)


def probabilities(features: keras.KerasTensor, settings: ModelSettings) -> keras.KerasTensor:
    """Dense with softmax: (batch, C) → float32 (batch, classes)."""
    return keras.layers.Dense(settings.class_count, "softmax", dtype="float32", name="probabilities")(features)


def metadata_input() -> keras.KerasTensor:
    """The input ``metadata``: float32 (batch, 2) raw age in years and density 1 to 4, NaN = unknown."""
    return keras.Input((2,), name="metadata")


def clinical_embedding(
    metadata: keras.KerasTensor, width: int, dropout: float, embedding_width: int
) -> keras.KerasTensor:
    """Age and density → embedding with a learned unknown → Dense-BN-ReLU-Dropout → Dense (section II-B.1.a).

    From (batch, 2) raw values, NaN = unknown, to (batch, embedding_width), finite also where both are unknown. The
    hidden layer has ``width`` units; the last has no activation.
    """
    hidden = MetadataEmbedding(name="metadata_embedding")(metadata)
    hidden = keras.layers.Dense(width, use_bias=False, name="clinical_dense")(hidden)
    hidden = keras.layers.BatchNormalization(name="clinical_bn")(hidden)
    hidden = keras.layers.Activation("relu", name="clinical_relu")(hidden)
    hidden = keras.layers.Dropout(dropout, name="clinical_dropout")(hidden)
    return keras.layers.Dense(embedding_width, name="clinical_embedding")(hidden)


def dense_probabilities(
    features: keras.KerasTensor, settings: ModelSettings, width: int, dropout: float
) -> keras.KerasTensor:
    """Dense-ReLU-Dropout → Dense with softmax: (batch, C) → float32 (batch, classes)."""
    hidden = keras.layers.Dense(width, "relu", name="head_dense")(features)
    hidden = keras.layers.Dropout(dropout, name="head_dropout")(hidden)
    return probabilities(hidden, settings)
