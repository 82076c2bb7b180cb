"""The class token of a Vision Transformer, and where each patch lies."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers.arguments import require_last_axis


@keras.saving.register_keras_serializable(package="mmdc_tf")
class ClassToken(layers.Layer):
    """Puts a learned token before all others and adds a learned position embedding to each.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, equation 1. A new layer's class token is
    zero and its position embeddings are normal with standard deviation 0.02, as in that paper's own code.

    Input: (batch, T, width) of any range, T and width fixed. Output: (batch, T + 1, width) in the layer's compute
    dtype, the class token first.

    Args:
        **kwargs: passed to ``keras.layers.Layer``.
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
        """Returns the tokens with the class token and positions, (batch, T + 1, width)."""
        first = ops.broadcast_to(self.token, (ops.shape(inputs)[0], 1, inputs.shape[-1]))
        return ops.concatenate([first, inputs], axis=1) + self.positions

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the input shape with one more token."""
        batch, count, width = input_shape
        return (batch, None if count is None else count + 1, width)
