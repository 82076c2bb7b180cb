"""The layers of a Swin Transformer: patch embedding, block and patch merging, all on (batch, h, w, C) maps."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers.arguments import require_last_axis, require_whole_number
from mmdc_tf.layers.window_attention import WindowAttention, require_fixed_map, swin_dense

EPSILON = 1e-5  # of every LayerNorm, as in PyTorch, in which Swin was published


@keras.saving.register_keras_serializable(package="mmdc_tf")
class PatchEmbedding(layers.Layer):
    """One token of ``width`` for each patch: a convolution of patch × patch with that stride, then LayerNorm.

    Source: Liu et al., "Swin Transformer", ICCV 2021, section 3.1 ("linear embedding"); the LayerNorm is in its code.

    Input: (batch, H, W, C) of any range, H and W at least one patch; what remains at the bottom and right edge is
    dropped. Output: (batch, H // patch, W // patch, width) in the layer's compute dtype.

    Args:
        width: of a token.
        patch: height and width of a patch.

    Raises:
        ConfigurationError: an argument is not a whole number of at least 1, or, on building, the input is smaller than
            a patch.
    """

    def __init__(self, width: int, patch: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = require_whole_number("width", width)
        self.patch = require_whole_number("patch", patch)
        self.input_spec = layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        require_last_axis(self.name, input_shape)
        tokens = self.compute_output_shape(input_shape)
        common = {"dtype": self.dtype_policy}
        self.projection = layers.Conv2D(
            self.width, self.patch, self.patch, data_format="channels_last", name="projection", **common
        )
        self.norm = layers.LayerNormalization(epsilon=EPSILON, name="norm", **common)
        self.projection.build(input_shape)
        self.norm.build(tokens)

    def call(self, inputs: Any) -> Any:
        return self.norm(self.projection(inputs))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *sides, _ = input_shape
        if any(side is not None and side < self.patch for side in sides):
            raise ConfigurationError(
                f"Expected {self.name} to be given a map of at least one patch of {self.patch}. "
                f"Received: shape={tuple(input_shape)}. Use a larger image or a smaller patch."
            )
        return (batch, *(None if side is None else side // self.patch for side in sides), self.width)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width, "patch": self.patch}


@keras.saving.register_keras_serializable(package="mmdc_tf")
class SwinBlock(layers.Layer):
    """x + window attention(LayerNorm(x)), then x + MLP(LayerNorm(x)), the MLP Dense-GELU-Dense with exact GELU.

    Source: Liu et al., "Swin Transformer", ICCV 2021, section 3.2, equation 3. No dropout and no stochastic depth.

    Input: (batch, h, w, C) of any range; h, w and C fixed, C a multiple of ``heads``. Output: the same shape, in the
    layer's compute dtype.

    Args:
        heads, window, shift: as for ``WindowAttention``.
        mlp_ratio: how many times wider than C the MLP's hidden layer is.

    Raises:
        ConfigurationError: as for ``WindowAttention``, or ``mlp_ratio`` is not a whole number of at least 1.
    """

    def __init__(self, heads: int, window: int = 7, shift: int = 0, mlp_ratio: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attention = WindowAttention(heads, window, shift, name="attention", dtype=self.dtype_policy)
        self.heads, self.window, self.shift = heads, window, shift
        self.mlp_ratio = require_whole_number("mlp_ratio", mlp_ratio)
        self.input_spec = layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = require_last_axis(self.name, input_shape)
        common = {"dtype": self.dtype_policy}
        self.attention_norm = layers.LayerNormalization(epsilon=EPSILON, name="attention_norm", **common)
        self.mlp_norm = layers.LayerNormalization(epsilon=EPSILON, name="mlp_norm", **common)
        self.hidden = swin_dense(self.mlp_ratio * channels, "hidden", activation="gelu", **common)
        self.output_dense = swin_dense(channels, "output_dense", **common)
        for layer in (self.attention_norm, self.attention, self.mlp_norm, self.hidden):
            layer.build(input_shape)
        self.output_dense.build((*input_shape[:-1], self.mlp_ratio * channels))

    def call(self, inputs: Any) -> Any:
        attended = inputs + self.attention(self.attention_norm(inputs))
        return attended + self.output_dense(self.hidden(self.mlp_norm(attended)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        own = {"heads": self.heads, "window": self.window, "shift": self.shift, "mlp_ratio": self.mlp_ratio}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="mmdc_tf")
class PatchMerging(layers.Layer):
    """Halves a map and doubles its channels: 2 × 2 neighbours side by side → LayerNorm → Dense(2C) without bias.

    The four stand in the order of the published code: upper left, lower left, upper right, lower right. An odd side is
    padded with zeros at its end. Source: Liu et al., "Swin Transformer", ICCV 2021, section 3.1.

    Input: (batch, h, w, C) of any range; h, w and C fixed. Output: (batch, ⌈h / 2⌉, ⌈w / 2⌉, 2C) in the layer's
    compute dtype.

    Raises:
        ConfigurationError: h, w or C is not fixed.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_spec = layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        _, _, channels = require_fixed_map(self.name, input_shape)
        self.norm = layers.LayerNormalization(epsilon=EPSILON, name="norm", dtype=self.dtype_policy)
        self.reduction = swin_dense(2 * channels, "reduction", use_bias=False, dtype=self.dtype_policy)
        joined = (*self.compute_output_shape(input_shape)[:-1], 4 * channels)
        self.norm.build(joined)
        self.reduction.build(joined)

    def call(self, inputs: Any) -> Any:
        height, width, channels = inputs.shape[1:]
        padded = ops.pad(inputs, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
        rows, columns = -(-height // 2), -(-width // 2)
        cells = ops.reshape(padded, (-1, rows, 2, columns, 2, channels))
        joined = ops.reshape(ops.transpose(cells, (0, 1, 3, 4, 2, 5)), (-1, rows, columns, 4 * channels))
        return self.reduction(self.norm(joined))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        height, width, channels = require_fixed_map(self.name, input_shape)
        return (input_shape[0], -(-height // 2), -(-width // 2), 2 * channels)
