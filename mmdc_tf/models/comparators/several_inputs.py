"""MedFuse, an image with clinical values that may be missing ([9]); both views of a breast ([26])."""

from __future__ import annotations

import keras
from keras import layers

from mmdc_tf.layers import ClinicalMask, JoinViews, StackViews
from mmdc_tf.models.backbones import feature_map
from mmdc_tf.models.heads import clinical_embedding, image_input, metadata_input, probabilities
from mmdc_tf.models.registry import ModelSettings, register_model


@register_model("medfuse", inputs=("image", "metadata"))
def medfuse(
    settings: ModelSettings,
    backbone: str = "densenet201",
    width: int = 256,
    clinical_width: int = 64,
    clinical_dropout: float = 0.2,
) -> keras.Model:
    """An LSTM over one token a modality, image first; the clinical one is left out where there is nothing clinical.

    Backbone → global average pooling → Dense → image token. Age and density → fully connected network → clinical
    token. LSTM over both → Dense with softmax on its last state. Where age and density are both unknown the LSTM sees
    the image alone; where one is, the embedding's learned unknown stands for it.

    Definition: N. Hayat, K. J. Geras, F. E. Shamout, "MedFuse: Multi-modal Fusion with Clinical Time-Series Data and
    Chest X-ray Images", MLHC 2022, "LSTM-based fusion". No table of the paper has this model.

    Assumed: the image first and the clinical token second, since here the clinical part is the one that may be missing
    (there it is the radiograph); MMDCNet's clinical network in place of that paper's LSTM over time series; both
    tokens and the LSTM of width 256; all of it trained at once, where MedFuse trains its encoders beforehand.

    Args:
        width: of both tokens and of the LSTM's state.
        clinical_width, clinical_dropout: of the fully connected network of the metadata.
    """
    images, metadata = image_input(settings), metadata_input()
    pooled = layers.GlobalAveragePooling2D(name="image_pool")(feature_map(backbone, images, settings.weights))
    image = layers.Dense(width, name="image_embedding")(pooled)
    clinical = clinical_embedding(metadata, clinical_width, clinical_dropout, width)
    tokens = layers.Concatenate(axis=1, name="tokens")([_token(image, "image"), _token(clinical, "clinical")])
    mask = ClinicalMask(name="clinical_mask")(metadata)
    # Unrolled: two steps need no loop, and the result does not depend on whether cuDNN is there.
    fused = layers.LSTM(width, unroll=True, name="fusion")(tokens, mask=mask)
    outputs = probabilities(fused, settings)
    return keras.Model({"image": images, "metadata": metadata}, outputs, name=f"medfuse_{backbone}")


def _token(embedding: keras.KerasTensor, kind: str) -> keras.KerasTensor:
    """(batch, width) → (batch, 1, width)."""
    return layers.Reshape((1, embedding.shape[-1]), name=f"{kind}_token")(embedding)


@register_model("two_view_classifier", inputs=("image", "other_view"))
def two_view_classifier(settings: ModelSettings, backbone: str) -> keras.Model:
    """One shared backbone over both views → global average pooling → both views' features ‖ → Dense with softmax.

    That paper's title says "multi-view" and "parallel", and no more of the design is known to us. Assumed:

    - both views share one backbone, and their pooled features are concatenated, ``image`` first: twice the inputs
      of the last Dense layer are all that it adds to ``backbone_classifier``;
    - where the other view is missing (NaN everywhere, as unknown metadata are NaN), the present view stands for both:
      the output is that of passing the image twice. No black image enters the statistics of BatchNorm, and no
      parameter for "missing" has to be learned from the few breasts that lack a view.
    """
    images = image_input(settings)
    other = keras.Input(images.shape[1:], name="other_view")
    views = StackViews(dtype="float32", name="views")([images, other])
    features = feature_map(backbone, views, settings.weights)
    pooled = keras.layers.GlobalAveragePooling2D(name="image_pool")(features)
    joined = JoinViews(name="both_views")(pooled)
    outputs = probabilities(joined, settings)
    return keras.Model({"image": images, "other_view": other}, outputs, name=f"two_view_{backbone}")
