"""Squeeze-and-Excitation: each channel weighted by what the whole image says about it."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from mmdc_tf.layers.arguments import require_last_axis, require_whole_number


@keras.saving.register_keras_serializable(package="mmdc_tf")
class SqueezeExcitation(layers.Layer):
    """Scales each channel by a gate in (0, 1) computed from the channel means.

    Global average pool → Dense(C // ratio, ReLU) → Dense(C, sigmoid) → product with the input, both Dense
    layers with biases. Source: Hu, Shen and Sun, "Squeeze-and-Excitation Networks", CVPR 2018, section 3; the
    paper's section II-B a) and Fig. 2.

    Input: (batch, H, W, C) of any range. Output: the same shape, in the layer's compute dtype.

    Args:
        ratio: how many times narrower the bottleneck is than C; it is at least 1 wide.
        **kwargs: passed to ``keras.layers.Layer``.

    Raises:
        ConfigurationError: ``ratio`` is not a whole number of at least 1.
    """

    def __init__(self, ratio: int = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ratio = require_whole_number("ratio", ratio)
        self.input_spec = layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the two Dense layers for C channels."""
        channels = require_last_axis(self.name, input_shape)
        narrow = max(channels // self.ratio, 1)
        common = {"dtype": self.dtype_policy}
        self.squeeze = layers.GlobalAveragePooling2D(data_format="channels_last", name="squeeze", **common)
        self.reduce = layers.Dense(narrow, activation="relu", name="reduce", **common)
        self.excite = layers.Dense(channels, activation="sigmoid", name="excite", **common)
        self.reduce.build((input_shape[0], channels))
        self.excite.build((input_shape[0], narrow))

    def call(self, inputs: Any) -> Any:
        """Returns the input times its gates, (batch, H, W, C)."""
        gates = self.excite(self.reduce(self.squeeze(inputs)))
        return inputs * gates[:, None, None, :]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the input shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "ratio": self.ratio}
