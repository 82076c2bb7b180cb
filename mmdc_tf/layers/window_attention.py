"""Self-attention inside the windows of a feature map, the windows shifted or not."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers.arguments import require_last_axis, require_whole_number

OUTSIDE = -1  # the region of the padding


def fitting_window(side: int, window: int) -> int:
    """Returns the largest divisor of a map's side that is at most ``window``: the window that needs no padding."""
    return max(size for size in range(1, min(side, window) + 1) if side % size == 0)


def swin_dense(units: int, name: str, **options: Any) -> layers.Dense:
    """A Dense layer that starts as those of the published Swin Transformer do: normal, standard deviation 0.02."""
    return layers.Dense(units, kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02), name=name, **options)


def require_fixed_map(layer: str, shape: tuple[int | None, ...]) -> tuple[int, int, int]:
    """Returns height, width and channels of a (batch, height, width, channels) shape.

    Raises:
        ConfigurationError: one of them is not fixed.
    """
    height, width = shape[1:3]
    if height is None or width is None:
        raise ConfigurationError(
            f"Expected {layer} to be given a map of fixed height and width. Received: shape={shape}. "
            "Give the image size where the model's input is declared."
        )
    return height, width, require_last_axis(layer, shape)


@keras.saving.register_keras_serializable(package="mmdc_tf")
class WindowAttention(layers.Layer):
    """Multi-head self-attention of each position to the positions of its own window.

    softmax(QKᵀ/√d + B)V in windows of ``window`` × ``window`` positions, d = C / heads; B is a learned bias for each
    head and each offset (2 · window − 1 a direction) between two positions. With ``shift`` s the grid of windows lies
    s positions lower and further right; the windows that it cuts at the edges are put together by a cyclic shift, and
    a mask keeps apart what was no neighbour before it. A side that is no multiple of ``window`` is padded at its end,
    and the mask keeps the padding out. Along a side that one window covers nothing is shifted. Source: Liu et al.,
    "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021, section 3.2.

    Scores and softmax are computed in float32 whatever the dtype policy. The biases start normal with standard
    deviation 0.02.

    Input: (batch, h, w, C) of any range; h, w and C fixed, C a multiple of ``heads``. Output: the same shape, in the
    layer's compute dtype.

    Args:
        heads: the number of attention heads.
        window: height and width of a window in positions.
        shift: by how many positions the windows are shifted, 0 to ``window`` − 1.

    Raises:
        ConfigurationError: ``heads`` or ``window`` is not a whole number of at least 1, or ``shift`` none of 0 to
            ``window`` − 1; on building, h, w or C is not fixed or C no multiple of ``heads``.
    """

    def __init__(self, heads: int, window: int = 7, shift: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads = require_whole_number("heads", heads)
        self.window = require_whole_number("window", window)
        self.shift = require_whole_number("shift", shift, minimum=0)
        if shift >= window:
            raise ConfigurationError(
                f"Expected shift to be smaller than window. Received: shift={shift}, window={window}. "
                f"Take shift={window // 2}, or 0 for windows that are not shifted."
            )
        self.input_spec = layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        height, width, channels = require_fixed_map(self.name, input_shape)
        self.key_width = self._key_width(channels)
        self._lay_windows((height, width))
        tokens = (input_shape[0], math.prod(self.grid), self.window**2, channels)
        self.qkv = swin_dense(3 * channels, "qkv", dtype=self.dtype_policy)
        self.projection = swin_dense(channels, "projection", dtype=self.dtype_policy)
        self.qkv.build(tokens)
        self.projection.build(tokens)
        # In float32 as the scores are: autocast would round it.
        self.position_bias = self.add_weight(
            shape=((2 * self.window - 1) ** 2, self.heads),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            autocast=False,
            name="position_bias",
        )

    def _key_width(self, channels: int) -> int:
        if channels % self.heads:
            raise ConfigurationError(
                f"Expected the channels of {self.name} to be a multiple of heads. Received: channels={channels}, "
                f"heads={self.heads}. Take another width or another number of heads."
            )
        return channels // self.heads

    def _lay_windows(self, sides: tuple[int, int]) -> None:
        """How the windows lie on a map of these sides, and which pairs inside a window may attend."""
        self.sides = sides
        self.grid = tuple(-(-side // self.window) for side in sides)
        self.shifts = tuple(0 if side <= self.window else self.shift for side in sides)
        self.padding = tuple(count * self.window - side for count, side in zip(self.grid, sides, strict=True))
        self.offsets = _offsets(self.window)
        regions = self._regions()
        same = regions[:, :, None] == regions[:, None, :]
        self.allowed = None if same.all() else same[:, None]

    def _regions(self) -> np.ndarray:
        """Numbers the parts of each window that were together before the cyclic shift, (windows, window²)."""
        places = [
            (np.arange(count * self.window) + shift) % (count * self.window)
            for count, shift in zip(self.grid, self.shifts, strict=True)
        ]
        wrapped_row, wrapped_column = (place < shift for place, shift in zip(places, self.shifts, strict=True))
        inside_row, inside_column = (place < side for place, side in zip(places, self.sides, strict=True))
        part = 2 * wrapped_row[:, None] + wrapped_column[None, :]
        regions = np.where(inside_row[:, None] & inside_column[None, :], part, OUTSIDE)
        cut = regions.reshape(self.grid[0], self.window, self.grid[1], self.window)
        return cut.transpose(0, 2, 1, 3).reshape(-1, self.window**2)

    def call(self, inputs: Any) -> Any:
        tokens = self._to_windows(inputs)
        shape = (-1, *tokens.shape[1:3], 3, self.heads, self.key_width)
        query, key, value = ops.unstack(ops.transpose(ops.reshape(self.qkv(tokens), shape), (3, 0, 1, 4, 2, 5)))
        attended = ops.matmul(ops.cast(self._scores(query, key), value.dtype), value)
        joined = ops.reshape(ops.transpose(attended, (0, 1, 3, 2, 4)), (-1, *tokens.shape[1:]))
        return self._to_map(self.projection(joined))

    def _scores(self, query: Any, key: Any) -> Any:
        """(batch, windows, heads, window², key width) twice → (batch, windows, heads, window², window²) float32."""
        query, key = ops.cast(query, "float32"), ops.cast(key, "float32")
        products = ops.matmul(query, ops.swapaxes(key, -1, -2)) / math.sqrt(self.key_width)
        bias = ops.take(ops.cast(self.position_bias, "float32"), self.offsets, axis=0)
        scores = products + ops.transpose(bias, (2, 0, 1))
        # A finite number: the padding attends to itself, and no row is without an allowed pair.
        scores = scores if self.allowed is None else ops.where(self.allowed, scores, -1e9)
        return ops.softmax(scores, axis=-1)

    def _to_windows(self, inputs: Any) -> Any:
        """(batch, h, w, C) → (batch, windows, window², C), padded and shifted."""
        (rows, columns), channels, size = self.grid, inputs.shape[-1], self.window
        padded = ops.pad(inputs, ((0, 0), (0, self.padding[0]), (0, self.padding[1]), (0, 0)))
        shifted = _rolled(padded, tuple(-shift for shift in self.shifts))
        cut = ops.reshape(shifted, (-1, rows, size, columns, size, channels))
        return ops.reshape(ops.transpose(cut, (0, 1, 3, 2, 4, 5)), (-1, rows * columns, size**2, channels))

    def _to_map(self, tokens: Any) -> Any:
        """The way back from ``_to_windows``."""
        (rows, columns), channels, size = self.grid, tokens.shape[-1], self.window
        cut = ops.reshape(tokens, (-1, rows, columns, size, size, channels))
        shifted = ops.reshape(ops.transpose(cut, (0, 1, 3, 2, 4, 5)), (-1, rows * size, columns * size, channels))
        padded = _rolled(shifted, self.shifts)
        return padded[:, : self.sides[0], : self.sides[1]]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.heads, "window": self.window, "shift": self.shift}


def _offsets(window: int) -> np.ndarray:
    """The number of the offset from each position of a window to each other, (window², window²) int."""
    places = np.stack(np.unravel_index(np.arange(window**2), (window, window)), axis=-1)
    difference = places[:, None] - places[None] + window - 1
    return np.ravel_multi_index((difference[..., 0], difference[..., 1]), (2 * window - 1, 2 * window - 1))


def _rolled(maps: Any, shifts: tuple[int, ...]) -> Any:
    """``ops.roll`` over height and width, of parts put together again: TFLite has no roll."""
    for axis, shift in enumerate(shifts, start=1):
        if start := -shift % maps.shape[axis]:
            first, second = ops.split(maps, [start], axis=axis)
            maps = ops.concatenate([second, first], axis=axis)
    return maps
