"""Which tokens of a patient are there: a mask for recurrent layers, computed from the raw metadata."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from mmdc_tf.layers.arguments import require_whole_number


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
        **kwargs: passed to ``keras.layers.Layer``.

    Raises:
        ConfigurationError: ``image_tokens`` is not a whole number of at least 1.
    """

    def __init__(self, image_tokens: int = 1, **kwargs: Any) -> None:
        # Without autocast: a value beyond the range of float16 would become infinite, which is unknown.
        super().__init__(autocast=False, **kwargs)
        self.image_tokens = require_whole_number("image_tokens", image_tokens)
        self.input_spec = layers.InputSpec(ndim=2)

    def call(self, inputs: Any) -> Any:
        """Returns the mask, (batch, image_tokens + 1) bool."""
        known = ops.any(ops.isfinite(inputs), axis=-1, keepdims=True)
        images = ops.repeat(ops.ones_like(known), self.image_tokens, axis=-1)
        return ops.concatenate([images, known], axis=-1)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Returns the mask's shape and dtype: bool, whatever the dtype policy."""
        return keras.KerasTensor((inputs.shape[0], self.image_tokens + 1), dtype="bool")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "image_tokens": self.image_tokens}
