"""Two views of one breast through one network: as one batch before it, as one row of features a breast after it."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers.arguments import require_last_axis


@keras.saving.register_keras_serializable(package="mmdc_tf")
class StackViews(layers.Layer):
    """Puts both views of each breast into one batch, the present view in place of a missing one.

    The second view is missing where all of its values are NaN. The first then stands for both, so that no black image
    enters the statistics of BatchNorm and no parameter is needed. A view with some NaN is not missing but broken, and
    passes unchanged, so that it shows.

    Input: [first view, second view], each (batch, H, W, C) float. Output: (2 · batch, H, W, C) in the layer's
    compute dtype: all first views, then all second views in the same order. Take ``dtype="float32"`` for raw pixels,
    which float16 would round.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_spec = [layers.InputSpec(ndim=4), layers.InputSpec(ndim=4)]

    def call(self, inputs: list[Any]) -> Any:
        first, second = (ops.cast(view, self.compute_dtype) for view in inputs)
        missing = ops.all(ops.isnan(second), axis=(1, 2, 3), keepdims=True)
        return ops.concatenate([first, ops.where(missing, first, second)], axis=0)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Returns the shape of a view with twice the batch.

        Raises:
            ConfigurationError: the views differ in shape.
        """
        first, second = (tuple(shape) for shape in input_shape)
        if first != second:
            raise ConfigurationError(
                f"Expected two views of the same shape. Received: shapes={first}, {second}. "
                "Give both inputs the same image size."
            )
        return (None if first[0] is None else 2 * first[0], *first[1:])


@keras.saving.register_keras_serializable(package="mmdc_tf")
class JoinViews(layers.Layer):
    """Takes apart what ``StackViews`` put together: the features of both views of a breast, side by side.

    Input: (2 · batch, C) of any range: all first views, then all second views. Output: (batch, 2 · C) in the layer's
    compute dtype, the first view's features before the second's.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_spec = layers.InputSpec(ndim=2)

    def call(self, inputs: Any) -> Any:
        views = ops.reshape(inputs, (2, -1, inputs.shape[-1]))
        return ops.concatenate([views[0], views[1]], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns (batch, 2 · C).

        Raises:
            ConfigurationError: the number of rows is odd, or C is not fixed.
        """
        rows, width = input_shape[0], require_last_axis(self.name, input_shape)
        if rows is not None and rows % 2:
            raise ConfigurationError(
                f"Expected an even number of rows, the first views and then the second. Received: shape={input_shape}. "
                "Give it the features of what StackViews returns."
            )
        return (None if rows is None else rows // 2, 2 * width)
