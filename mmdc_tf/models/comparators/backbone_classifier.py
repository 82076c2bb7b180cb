"""A backbone of keras.applications with the plainest head: the paper's own single-image baselines."""

from __future__ import annotations

import keras

from mmdc_tf.models.backbones import feature_map
from mmdc_tf.models.image_head import image_input, pooled_probabilities
from mmdc_tf.models.registry import ModelSettings, register_model


@register_model("backbone_classifier", inputs=("image",))
def backbone_classifier(settings: ModelSettings, backbone: str) -> keras.Model:
    """Backbone → global average pooling → Dense with softmax (paper, section II-B, rows of Table II).

    Args:
        settings: image size, classes, weight file.
        backbone: a registered backbone.

    Returns:
        A functional model: image float32 (batch, S, S, 3) in [0, 255] → probabilities (batch, classes).
    """
    images = image_input(settings)
    features = feature_map(backbone, images, settings.weights)
    outputs = pooled_probabilities(features, settings)
    return keras.Model({"image": images}, outputs, name=f"{backbone}_classifier")
