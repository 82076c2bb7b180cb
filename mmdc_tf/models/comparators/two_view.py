"""Both standard views of a breast, CC and MLO, through one backbone (Kacher et al. 2024, reference [26])."""

from __future__ import annotations

import keras

from mmdc_tf.layers import JoinViews, StackViews
from mmdc_tf.models.backbones import feature_map
from mmdc_tf.models.image_head import image_input
from mmdc_tf.models.registry import ModelSettings, register_model


@register_model("two_view_classifier", inputs=("image", "other_view"))
def two_view_classifier(settings: ModelSettings, backbone: str) -> keras.Model:
    """One shared backbone over both views → global average pooling → both views' features ‖ → Dense with softmax.

    That paper's title says "multi-view" and "parallel", and no more of the design is known to us. Assumed:

    - both views share one backbone, and their pooled features are concatenated, ``image`` first: twice the inputs
      of the last Dense layer are all that it adds to ``backbone_classifier``;
    - where the other view is missing (NaN everywhere, as unknown metadata are NaN), the present view stands for both:
      the output is that of passing the image twice. No black image enters the statistics of BatchNorm, and no
      parameter for "missing" has to be learned from the few breasts that lack a view.

    Args:
        settings: image size, classes, weight file.
        backbone: a registered backbone.

    Returns:
        A functional model: {"image": float32 (batch, S, S, 3) in [0, 255], "other_view": the same, or NaN everywhere}
        → probabilities (batch, classes).

    Raises:
        ConfigurationError: unknown backbone, or an image too small for it.
        WeightsError: the weight file does not fit.
    """
    images = image_input(settings)
    other = keras.Input(images.shape[1:], name="other_view")
    views = StackViews(dtype="float32", name="views")([images, other])
    features = feature_map(backbone, views, settings.weights)
    pooled = keras.layers.GlobalAveragePooling2D(name="image_pool")(features)
    joined = JoinViews(name="both_views")(pooled)
    outputs = keras.layers.Dense(settings.class_count, "softmax", dtype="float32", name="probabilities")(joined)
    return keras.Model({"image": images, "other_view": other}, outputs, name=f"two_view_{backbone}")
