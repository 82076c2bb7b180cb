"""What the multi-modal models share: the input of age and density, their network, and the fully connected head."""

from __future__ import annotations

import keras

from mmdc_tf.layers import MetadataEmbedding


def metadata_input() -> keras.KerasTensor:
    """The input ``metadata``: float32 (batch, 2) raw age in years and density 1 to 4, NaN = unknown."""
    return keras.Input((2,), name="metadata")


def clinical_embedding(
    metadata: keras.KerasTensor, width: int, dropout: float, embedding_width: int
) -> keras.KerasTensor:
    """Age and density → embedding with a learned unknown → Dense-BN-ReLU-Dropout → Dense (section II-B.1.a).

    Args:
        metadata: (batch, 2) raw age in years and density 1 to 4, NaN = unknown.
        width: units of the hidden layer.
        dropout: share of them dropped in training, in [0, 1).
        embedding_width: units of the last layer, which has no activation.

    Returns:
        (batch, embedding_width), finite also where both values are unknown.
    """
    hidden = MetadataEmbedding(name="metadata_embedding")(metadata)
    hidden = keras.layers.Dense(width, use_bias=False, name="clinical_dense")(hidden)
    hidden = keras.layers.BatchNormalization(name="clinical_bn")(hidden)
    hidden = keras.layers.Activation("relu", name="clinical_relu")(hidden)
    hidden = keras.layers.Dropout(dropout, name="clinical_dropout")(hidden)
    return keras.layers.Dense(embedding_width, name="clinical_embedding")(hidden)


def dense_probabilities(features: keras.KerasTensor, class_count: int, width: int, dropout: float) -> keras.KerasTensor:
    """Dense-ReLU-Dropout → Dense with softmax: (batch, C) → float32 (batch, classes)."""
    hidden = keras.layers.Dense(width, "relu", name="head_dense")(features)
    hidden = keras.layers.Dropout(dropout, name="head_dropout")(hidden)
    return keras.layers.Dense(class_count, "softmax", dtype="float32", name="probabilities")(hidden)
