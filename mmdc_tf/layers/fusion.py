"""Fusion of image tokens and the clinical token by multi-head self-attention."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers.arguments import require_rate, require_whole_number


@keras.saving.register_keras_serializable(package="mmdc_tf")
class TokenFusion(layers.Layer):
    """LayerNorm(tokens + multi-head self-attention(tokens)) over all tokens, of whatever kind.

    Source: section II-B a) of the paper, features "projected into a 128-dimensional space" and "self attention
    … with eight heads"; residual, LayerNorm after it and a key width of width / heads are those of Vaswani et
    al., "Attention Is All You Need", NeurIPS 2017, section 3.

    Input: (batch, T, width) of any range. Output: the same shape, in the layer's compute dtype; a new layer's
    tokens have mean 0 and variance 1 over their width.

    Args:
        heads: the number of attention heads.
        width: the width of a token; a multiple of ``heads``.
        dropout: the share of attention weights dropped in training.
        **kwargs: passed to ``keras.layers.Layer``.

    Raises:
        ConfigurationError: ``heads`` or ``width`` is not a whole number of at least 1, ``width`` is no multiple
            of ``heads``, ``dropout`` is outside [0, 1), or the tokens have another width.
    """

    def __init__(self, heads: int = 8, width: int = 128, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads = require_whole_number("heads", heads)
        self.width = require_whole_number("width", width)
        self.dropout = require_rate("dropout", dropout)
        if width % heads:
            raise ConfigurationError(
                f"Expected width to be a multiple of heads. Received: width={width}, heads={heads}. "
                f"Take width={width - width % heads + heads}, or another number of heads."
            )
        self.input_spec = layers.InputSpec(ndim=3)
        common = {"dtype": self.dtype_policy, "name": "attention"}
        self.attention = layers.MultiHeadAttention(heads, width // heads, dropout=self.dropout, **common)
        self.norm = layers.LayerNormalization(epsilon=1e-6, name="norm", dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds attention and normalisation on tokens of ``width``."""
        shape = tuple(input_shape)
        if shape[-1] != self.width:
            raise ConfigurationError(
                f"Expected tokens of shape (batch, tokens, {self.width}). Received: shape={shape}. "
                f"Project the features to {self.width} first, or set width={shape[-1]}."
            )
        self.attention.build(shape, shape)
        self.norm.build(shape)

    def attention_scores(self, tokens: Any) -> Any:
        """Returns how much each token (row) takes from each token (column), head by head, without dropout.

        Args:
            tokens: (batch, T, width), an array, a tensor or a symbolic Keras tensor.

        Returns:
            (batch, heads, T, T) float32 in [0, 1]; each row sums to 1.
        """
        if not self.built:
            self.build(tuple(tokens.shape))
        _, scores = self.attention(tokens, tokens, return_attention_scores=True, training=False)
        return ops.cast(scores, "float32")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the fused tokens, (batch, T, width)."""
        return self.norm(inputs + self.attention(inputs, inputs, training=training))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the input shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "heads": self.heads, "width": self.width, "dropout": self.dropout}
