"""AdamW whose step is one operation of TensorFlow a variable; Keras computes it as a dozen (docs/speed.md)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class FusedAdamW(keras.optimizers.AdamW):
    """``keras.optimizers.AdamW`` with dense gradients and without AMSGrad: the same numbers up to rounding.

    Clipping, weight decay, schedules and the optimiser's own variables are Keras'. Loshchilov and Hutter, ICLR 2019.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable, by the formula just before section 2.1 of Kingma and Ba, ICLR 2015, as Keras."""
        index, dtype = self._get_variable_index(variable), variable.dtype
        beta_1, beta_2 = tf.cast(self.beta_1, dtype), tf.cast(self.beta_2, dtype)
        step = tf.cast(self.iterations + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, dtype),
            grad=gradient,
        )


def _handle(variable: Any) -> tf.Tensor:
    """Of Keras' variable or TensorFlow's, of which a strategy gives the part that lies on the device at work."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
