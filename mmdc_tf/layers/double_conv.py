"""Two convolutions in a row, Squeeze-and-Excitation, and both together."""

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

    Raises:
        ConfigurationError: ``ratio`` is not a whole number of at least 1.
    """

    def __init__(self, ratio: int = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ratio = require_whole_number("ratio", ratio)
        self.input_spec = layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = require_last_axis(self.name, input_shape)
        narrow = max(channels // self.ratio, 1)
        common = {"dtype": self.dtype_policy}
        self.squeeze = layers.GlobalAveragePooling2D(data_format="channels_last", name="squeeze", **common)
        self.reduce = layers.Dense(narrow, activation="relu", name="reduce", **common)
        self.excite = layers.Dense(channels, activation="sigmoid", name="excite", **common)
        self.reduce.build((input_shape[0], channels))
        self.excite.build((input_shape[0], narrow))

    def call(self, inputs: Any) -> Any:
        gates = self.excite(self.reduce(self.squeeze(inputs)))
        return inputs * gates[:, None, None, :]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ratio": self.ratio}


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
        shape = tuple(input_shape)
        for step in self.steps:
            step.build(shape)
            shape = step.compute_output_shape(shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        features = inputs
        for step in self.steps:
            is_norm = isinstance(step, layers.BatchNormalization)
            features = step(features, training=training) if is_norm else step(features)
        return features

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size}


@keras.saving.register_keras_serializable(package="mmdc_tf")
class DoubleConvSE(layers.Layer):
    """Two 3×3 Convolution-BatchNorm-ReLU, then Squeeze-and-Excitation: "DoubleConv+SE" of the paper's Fig. 2.

    Input: (batch, H, W, C) of any range. Output: (batch, H, W, filters), at least 0, in the layer's compute dtype.

    Args:
        filters: the channels of both convolutions.
        ratio: how many times narrower the bottleneck of the Squeeze-and-Excitation is.

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
        self.double_conv.build(input_shape)
        self.excitation.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.excitation(self.double_conv(inputs, training=training))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "ratio": self.ratio}
