"""A patient's numbers as vectors, with a learned one for the unknown, and which tokens of a patient are there."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers.arguments import require_last_axis, require_whole_number


@keras.saving.register_keras_serializable(package="mmdc_tf")
class MetadataEmbedding(layers.Layer):
    """Turns each raw number of a patient into a vector; an unknown one into a learned vector.

    A known value x of feature f gives z · kernel[f] + bias[f] with z = (x − mean[f]) / sd[f]; an unknown one
    gives unknown[f]. NaN means unknown, and so do +inf and −inf, which are no age and no density.

    Why a vector and not an imputed number: any number put in for a missing age lands on the line
    z · kernel + bias, where it cannot be told from a patient who has that age. The unknown vector lies off the
    line, so that the next layer can treat "not known" as a finding of its own. On a line of width 1 it could
    not, hence a width of at least 2. This stands in for the paper's "normalization and processing" of age and
    density (section II-B a), which does not say what happens to missing values.

    Mean and standard deviation are weights: set them with ``adapt``, and a saved model carries them and takes
    raw values. Everything up to the output is computed in float32 whatever the dtype policy.

    Input: (batch, F) float, raw values such as [age in years, density 1 to 4]. Output: (batch, F · width) in the
    layer's compute dtype, feature after feature, always finite for values of a sensible size.

    Args:
        width: the length of each feature's vector.

    Raises:
        ConfigurationError: ``width`` is not a whole number of at least 2.
    """

    def __init__(self, width: int = 16, **kwargs: Any) -> None:
        # Without autocast: an age in float16 would be off by up to 1/32 of a year before it is standardised.
        super().__init__(autocast=False, **kwargs)
        self.width = require_whole_number("width", width, minimum=2)
        self.input_spec = layers.InputSpec(ndim=2)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        features = require_last_axis(self.name, input_shape)
        self.mean = self._add_float32("mean", (features,), "zeros", trainable=False)
        self.standard_deviation = self._add_float32("standard_deviation", (features,), "ones", trainable=False)
        # Standard deviation 1: the entries are then as large as the standardised values themselves. Two
        # initialisers: one alone gives the same numbers twice, and the unknown vector would lie on the line.
        shape, random_normal = (features, self.width), keras.initializers.RandomNormal
        self.kernel = self._add_float32("kernel", shape, random_normal(stddev=1.0))
        self.bias = self._add_float32("bias", shape, "zeros")
        self.unknown = self._add_float32("unknown", shape, random_normal(stddev=1.0))

    def _add_float32(self, name: str, shape: tuple[int, ...], initializer: Any, trainable: bool = True) -> Any:
        # autocast=False again: Keras (3.15) heeds the layer's own only inside another mixed-precision layer.
        return self.add_weight(shape=shape, initializer=initializer, trainable=trainable, autocast=False, name=name)

    def adapt(self, values: np.ndarray) -> None:
        """Sets mean and standard deviation from training values; call it on the training part only.

        Args:
            values: (N, F) raw values; NaN and ±inf are left out. A feature without a known value gets mean 0
                and standard deviation 1, a feature with one value only gets standard deviation 1.

        Raises:
            ConfigurationError: the array has another shape.
        """
        values = np.asarray(values, dtype="float64")
        if not self.built and values.ndim == 2:
            self.build((None, values.shape[1]))
        if values.ndim != 2 or values.shape[1] != self.mean.shape[0]:
            raise ConfigurationError(
                f"Expected values of shape (samples, features) with the layer's number of features. Received: "
                f"values.shape={values.shape}. Pass one row a sample, [age in years, density]."
            )
        known = np.ma.masked_invalid(values)
        mean, deviation = known.mean(axis=0).filled(0.0), known.std(axis=0).filled(1.0)
        # A constant column's standard deviation is 0 up to rounding, and dividing by that rounding is worse.
        constant = deviation <= 1e-6 * np.abs(mean)
        self.mean.assign(mean)
        self.standard_deviation.assign(np.where(constant, 1.0, deviation))

    def call(self, inputs: Any) -> Any:
        values = ops.cast(inputs, "float32")
        known = ops.isfinite(values)
        # Unknown values are replaced before the product: a NaN that only a later `where` hides still makes
        # the kernel's gradient NaN (0 · NaN).
        mean, unknown = (
            ops.convert_to_tensor(self.mean),
            ops.convert_to_tensor(self.unknown),
        )  # JAX's `where` asks for it
        scaled = (ops.where(known, values, mean) - mean) / self.standard_deviation
        vectors = scaled[:, :, None] * self.kernel + self.bias
        chosen = ops.where(known[:, :, None], vectors, unknown)
        flat = ops.reshape(chosen, (-1, self.kernel.shape[0] * self.width))
        return ops.cast(flat, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], require_last_axis(self.name, input_shape) * self.width)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable(package="mmdc_tf")
class ClinicalMask(layers.Layer):
    """True for each image token; for the clinical token, which stands last, where any clinical value is known.

    Known is what ``MetadataEmbedding`` takes as known: neither NaN nor infinite. With one of several values unknown
    the token is there, and that layer's learned vector stands for what is missing. Source: "LSTM fusion" of Hayat,
    Geras and Shamout, "MedFuse", MLHC 2022, which goes over the modalities that a patient has.

    Input: (batch, F) float, raw values, NaN = unknown. Output: (batch, image_tokens + 1) bool, for the argument
    ``mask`` of a recurrent layer. The unknown stand at the end, so that the mask also suits cuDNN.

    Args:
        image_tokens: tokens before the clinical one, all of them always there.

    Raises:
        ConfigurationError: ``image_tokens`` is not a whole number of at least 1.
    """

    def __init__(self, image_tokens: int = 1, **kwargs: Any) -> None:
        # Without autocast: a value beyond the range of float16 would become infinite, which is unknown.
        super().__init__(autocast=False, **kwargs)
        self.image_tokens = require_whole_number("image_tokens", image_tokens)
        self.input_spec = layers.InputSpec(ndim=2)

    def call(self, inputs: Any) -> Any:
        known = ops.any(ops.isfinite(inputs), axis=-1, keepdims=True)
        images = ops.repeat(ops.ones_like(known), self.image_tokens, axis=-1)
        return ops.concatenate([images, known], axis=-1)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Returns the mask's shape and dtype: bool, whatever the dtype policy."""
        return keras.KerasTensor((inputs.shape[0], self.image_tokens + 1), dtype="bool")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "image_tokens": self.image_tokens}


def adapt_metadata(model: keras.Model, metadata: np.ndarray) -> None:
    """Gives a model's metadata layer the means and standard deviations of (n, 2) ages and densities, NaN where unknown.

    A model without such a layer stays as it is.
    """
    for layer in model.layers:
        if isinstance(layer, MetadataEmbedding):
            layer.adapt(np.asarray(metadata, "float32"))
