"""Pixel scaling inside the model, so that a saved model takes raw pixels."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from mmdc_tf.errors import ConfigurationError

MODES = ("torch", "tf", "caffe", "none")


@keras.saving.register_keras_serializable(package="mmdc_tf")
class InputScaling(layers.Layer):
    """Scales RGB pixels as the pretrained weights of a backbone expect them.

    It applies ``keras.applications.imagenet_utils.preprocess_input``:

    - ``"torch"``: [0, 1], then minus the ImageNet mean and over its standard deviation, a channel (DenseNet).
    - ``"tf"``: [−1, 1] (MobileNet, InceptionV3, Xception, ResNetV2).
    - ``"caffe"``: BGR, minus the ImageNet mean a channel, not scaled (VGG, ResNet).
    - ``"none"``: unchanged (EfficientNet and ConvNeXt, which scale inside themselves).

    Computed in float32 whatever the dtype policy, and only then cast to the compute dtype.

    Input: (batch, H, W, 3) in [0, 255], RGB, any float or integer dtype. Output: the same shape, in the layer's
    compute dtype.

    Args:
        mode: one of the four names above.

    Raises:
        ConfigurationError: ``mode`` is not one of the four.
    """

    def __init__(self, mode: str, **kwargs: Any) -> None:
        if mode not in MODES:
            choices = ", ".join(repr(name) for name in MODES)
            raise ConfigurationError(
                f"Expected mode to be one of {choices}. Received: mode={mode!r}. "
                "Take the one that the backbone's weights were trained with."
            )
        # Without autocast: interpolated pixel values would be rounded to 1/8 of a grey level in float16.
        super().__init__(autocast=False, **kwargs)
        self.mode = mode
        self.input_spec = layers.InputSpec(ndim=4, axes={-1: 3})

    def call(self, inputs: Any) -> Any:
        pixels = ops.cast(inputs, "float32")
        if self.mode != "none":
            pixels = keras.applications.imagenet_utils.preprocess_input(
                pixels, data_format="channels_last", mode=self.mode
            )
        return ops.cast(pixels, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}
