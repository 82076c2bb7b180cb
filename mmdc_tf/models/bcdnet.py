"""BCDNet, and the plain backbones that it is compared with (paper, Tables I and II)."""

from __future__ import annotations

import keras

from mmdc_tf.layers import SpatialSelfAttention
from mmdc_tf.models.backbones import feature_map
from mmdc_tf.models.heads import image_input, pooled_probabilities
from mmdc_tf.models.registry import ModelSettings, register_model


@register_model("bcdnet", inputs=("image",))
def bcdnet(settings: ModelSettings, backbone: str = "densenet121") -> keras.Model:
    """Backbone → spatial self-attention → global average pooling → Dense with softmax.

    α is DenseNet-121, β EfficientNetB0, γ VGG16; "VGG16 + Atten" of Table II is γ on mammograms. Assumed, the paper
    being silent: queries and keys of an eighth of the channels, one attention layer after the last feature map.
    """
    images = image_input(settings)
    features = feature_map(backbone, images, settings.weights)
    attended = SpatialSelfAttention(name="self_attention")(features)
    outputs = pooled_probabilities(attended, settings)
    return keras.Model({"image": images}, outputs, name=f"bcdnet_{backbone}")


@register_model("backbone_classifier", inputs=("image",))
def backbone_classifier(settings: ModelSettings, backbone: str) -> keras.Model:
    """Backbone → global average pooling → Dense with softmax (paper, section II-B, rows of Table II)."""
    images = image_input(settings)
    features = feature_map(backbone, images, settings.weights)
    outputs = pooled_probabilities(features, settings)
    return keras.Model({"image": images}, outputs, name=f"{backbone}_classifier")
