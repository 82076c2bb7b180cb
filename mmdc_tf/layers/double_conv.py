"""Two convolutions in a row, alone and with Squeeze-and-Excitation."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from mmdc_tf.layers.arguments import require_whole_number
from mmdc_tf.layers.squeeze_excitation import SqueezeExcitation


@keras.saving.register_keras_serializable(package="mmdc_tf")
class DoubleConv(layers.Layer):
    """Convolution → BatchNorm → ReLU, twice, at the input's height and width.

    The convolutions have no bias, since BatchNorm adds one. Where the layer is not trainable, its BatchNorm
    uses the moving statistics also in training. Source: "Conv2D with batch normalization" in Fig. 2 of the
    paper; the double form is that of Ronneberger, Fischer and Brox, "U-Net", MICCAI 2015.

    Input: (batch, H, W, C) of any range. Output: (batch, H, W, filters), at least 0, in the layer's compute dtype.

    Args:
        filters: the channels of both convolutions.
        kernel_size: their height and width in pixels.
        **kwargs: passed to ``keras.layers.Layer``.

    Raises:
        ConfigurationError: ``filters`` or ``kernel_size`` is not a whole number of at least 1.
    """

    def __init__(self, filters: int, kernel_size: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = require_whole_number("filters", filters)
        self.kernel_size = require_whole_number("kernel_size", kernel_size)
        self.input_spec = layers.InputSpec(ndim=4)
        self.steps = [step for number in (1, 2) for step in self._conv_norm_relu(number)]

    def _conv_norm_relu(self, number: int) -> list[layers.Layer]:
        # Keras does not hand a constructor's trainable=False (a frozen layer loaded from a file) on to inner
        # layers; without it BatchNorm would go back to batch statistics.
        common = {"dtype": self.dtype_policy, "trainable": self.trainable}
        convolution = layers.Conv2D(
            self.filters,
            self.kernel_size,
            padding="same",
            use_bias=False,
            data_format="channels_last",
            name=f"conv{number}",
            **common,
        )
        normalise = layers.BatchNormalization(axis=-1, name=f"norm{number}", **common)
        return [convolution, normalise, layers.ReLU(name=f"relu{number}", **common)]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds each step on the shape that the step before it gives."""
        shape = tuple(input_shape)
        for step in self.steps:
            step.build(shape)
            shape = step.compute_output_shape(shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the feature map, (batch, H, W, filters)."""
        features = inputs
        for step in self.steps:
            is_norm = isinstance(step, layers.BatchNormalization)
            features = step(features, training=training) if is_norm else step(features)
        return features

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the input shape with ``filters`` channels."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size}


@keras.saving.register_keras_serializable(package="mmdc_tf")
class DoubleConvSE(layers.Layer):
    """Two 3×3 Convolution-BatchNorm-ReLU, then Squeeze-and-Excitation: "DoubleConv+SE" of the paper's Fig. 2.

    Input: (batch, H, W, C) of any range. Output: (batch, H, W, filters), at least 0, in the layer's compute dtype.

    Args:
        filters: the channels of both convolutions.
        ratio: how many times narrower the bottleneck of the Squeeze-and-Excitation is.
        **kwargs: passed to ``keras.layers.Layer``.

    Raises:
        ConfigurationError: ``filters`` or ``ratio`` is not a whole number of at least 1.
    """

    def __init__(self, filters: int, ratio: int = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.ratio = ratio
        self.input_spec = layers.InputSpec(ndim=4)
        common = {"dtype": self.dtype_policy, "trainable": self.trainable}
        self.double_conv = DoubleConv(filters, kernel_size=3, name="double_conv", **common)
        self.excitation = SqueezeExcitation(ratio, name="squeeze_excitation", **common)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the convolutions, then the Squeeze-and-Excitation on their output."""
        self.double_conv.build(input_shape)
        self.excitation.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the weighted feature map, (batch, H, W, filters)."""
        return self.excitation(self.double_conv(inputs, training=training))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the input shape with ``filters`` channels."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "ratio": self.ratio}
