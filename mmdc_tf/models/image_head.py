"""What the single-image models share: the image input and the plainest head."""

from __future__ import annotations

import keras

from mmdc_tf.errors import ConfigurationError
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
    return keras.layers.Dense(settings.class_count, "softmax", dtype="float32", name="probabilities")(pooled)
