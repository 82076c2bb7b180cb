"""Spatial self-attention: every position of a feature map looks at every other."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops

from mmdc_tf.layers.arguments import require_last_axis, require_whole_number


@keras.saving.register_keras_serializable(package="mmdc_tf")
class SpatialSelfAttention(layers.Layer):
    """γ · softmax(QKᵀ/√d_k)V + x over the H·W positions of a feature map.

    Q, K and V are 1×1 convolutions with biases of the input: Q and K of width
    d_k = max(C // key_ratio, min_key_width), V of width C. γ is a learned scalar that starts at 0, so that a new
    layer passes a pretrained feature map on unchanged. Source: the paper's section II-B b) (the softmax, the
    1×1 convolutions, the residual); the widths and the start of γ, which it leaves open, are those of Zhang,
    Goodfellow, Metaxas and Odena, "Self-Attention Generative Adversarial Networks", ICML 2019, section 3.

    Scores and softmax are computed in float32 whatever the dtype policy: dot products of long vectors leave
    the range of float16. The cost in memory is H·W × H·W numbers an image.

    Input: (batch, H, W, C) of any range. Output: the same shape, in the layer's compute dtype.

    Args:
        key_ratio: how many times narrower than C queries and keys are.
        min_key_width: the least width of queries and keys.

    Raises:
        ConfigurationError: ``key_ratio`` or ``min_key_width`` is not a whole number of at least 1.
    """

    def __init__(self, key_ratio: int = 8, min_key_width: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.key_ratio = require_whole_number("key_ratio", key_ratio)
        self.min_key_width = require_whole_number("min_key_width", min_key_width)
        self.input_spec = layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = require_last_axis(self.name, input_shape)
        self.key_width = max(channels // self.key_ratio, self.min_key_width)
        self.query = self._build_projection("query", self.key_width, input_shape)
        self.key = self._build_projection("key", self.key_width, input_shape)
        self.value = self._build_projection("value", channels, input_shape)
        # Its dtype casts queries and keys, so that products and softmax are float32 under any policy.
        self.flatten_keys = layers.Reshape((-1, self.key_width), dtype="float32")
        self.flatten_values = layers.Reshape((-1, channels), dtype=self.dtype_policy)
        self.gamma = self.add_weight(shape=(), initializer="zeros", name="gamma")

    def _build_projection(self, name: str, width: int, input_shape: tuple[int | None, ...]) -> layers.Conv2D:
        projection = layers.Conv2D(width, 1, data_format="channels_last", name=name, dtype=self.dtype_policy)
        projection.build(input_shape)
        return projection

    def attention_scores(self, inputs: Any) -> Any:
        """Returns how much each position (row) takes from each position (column), for heatmaps.

        Args:
            inputs: (batch, H, W, C), an array, a tensor or a symbolic Keras tensor.

        Returns:
            (batch, H·W, H·W) float32 in [0, 1]; each row sums to 1. Position i is row i // W, column i % W.
        """
        if not self.built:
            self.build(tuple(inputs.shape))
        query, key = self.flatten_keys(self.query(inputs)), self.flatten_keys(self.key(inputs))
        products = ops.matmul(query, ops.transpose(key, (0, 2, 1)))
        return ops.softmax(products / math.sqrt(self.key_width), axis=-1)

    def call(self, inputs: Any) -> Any:
        values = self.flatten_values(self.value(inputs))
        attended = ops.matmul(ops.cast(self.attention_scores(inputs), values.dtype), values)
        return self.gamma * ops.reshape(attended, ops.shape(inputs)) + inputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "key_ratio": self.key_ratio, "min_key_width": self.min_key_width}
