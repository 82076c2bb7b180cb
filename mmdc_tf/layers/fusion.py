"""Fusion of image and clinical tokens by multi-head self-attention; the class token of a Vision Transformer."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers.arguments import require_last_axis, require_rate, require_whole_number


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
        return self.norm(inputs + self.attention(inputs, inputs, training=training))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.heads, "width": self.width, "dropout": self.dropout}


@keras.saving.register_keras_serializable(package="mmdc_tf")
class ClassToken(layers.Layer):
    """Puts a learned token before all others and adds a learned position embedding to each.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, equation 1. A new layer's class token is
    zero and its position embeddings are normal with standard deviation 0.02, as in that paper's own code.

    Input: (batch, T, width) of any range, T and width fixed. Output: (batch, T + 1, width) in the layer's compute
    dtype, the class token first.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_spec = layers.InputSpec(ndim=3)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the token and T + 1 position embeddings.

        Raises:
            ConfigurationError: T or width is not fixed.
        """
        count, width = input_shape[1], require_last_axis(self.name, input_shape)
        if count is None:
            raise ConfigurationError(
                f"Expected {self.name} to be given a fixed number of tokens. Received: shape={input_shape}. "
                "Give the image size where the model's input is declared."
            )
        self.token = self.add_weight(shape=(1, 1, width), initializer="zeros", name="token")
        self.positions = self.add_weight(
            shape=(1, count + 1, width), initializer=keras.initializers.RandomNormal(stddev=0.02), name="positions"
        )

    def call(self, inputs: Any) -> Any:
        first = ops.broadcast_to(self.token, (ops.shape(inputs)[0], 1, inputs.shape[-1]))
        return ops.concatenate([first, inputs], axis=1) + self.positions

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, count, width = input_shape
        return (batch, None if count is None else count + 1, width)
