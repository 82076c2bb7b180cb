"""The learning rate, step by step, against values by hand."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from mmdc_tf.training.schedule import WarmupCosine


def rates(peak: float, steps: int, share: float) -> list[float]:
    schedule = WarmupCosine(peak, steps, share)
    return [schedule.at(step) for step in range(steps)]


def test_warm_up_and_cosine_by_hand():
    # Ten steps, two of them warm-up: half of the peak, the peak, then half a cosine over eight steps:
    # peak · (1 + cos(πk/8)) / 2 for k = 1..8.
    expected = [0.5, 1.0, 0.961940, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.038060, 0.0]
    np.testing.assert_allclose(rates(1.0, 10, 0.2), expected, atol=1e-6)


@pytest.mark.parametrize(("steps", "share", "warmup"), [(100, 0.1, 10), (40, 0.25, 10), (7, 0.1, 1), (30, 0.0, 1)])
def test_the_peak_ends_the_warm_up_and_zero_ends_the_training(steps, share, warmup):
    found = rates(3e-4, steps, share)
    assert found[warmup - 1] == pytest.approx(3e-4)
    assert max(found) == found[warmup - 1]
    assert found[-1] == pytest.approx(0.0, abs=1e-10)
    np.testing.assert_allclose(found[:warmup], 3e-4 * np.arange(1, warmup + 1) / warmup, rtol=1e-5)
    assert all(one > other for one, other in zip(found[warmup - 1 :], found[warmup:], strict=False))


def test_the_middle_of_the_decay_is_half_of_the_peak():
    # 10 warm-up steps and 90 of decay: step 55 (counted from 1) is halfway.
    assert WarmupCosine(2.0, 100, 0.1).at(54) == pytest.approx(1.0)
    assert WarmupCosine(2.0, 100, 0.1).at(39) == pytest.approx(1 + math.cos(math.pi / 3))


def test_a_training_of_one_step_is_at_the_peak():
    assert rates(0.1, 1, 0.1) == [pytest.approx(0.1)]


def test_every_step_of_a_training_has_its_own_rate():
    """With plain gradient descent on loss = mean(w · x), each step moves w by the rate: so the rate can be read off."""
    inputs = keras.Input((1,))
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(77.0), loss=lambda y, p: keras.ops.mean(p, axis=-1), jit_compile=False)
    weights = [0.0]
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: weights.append(layer.kernel.numpy().item())
    )
    ones = np.ones((8, 1), "float32")
    history = model.fit(
        ones, ones, batch_size=4, epochs=5, verbose=0, callbacks=[WarmupCosine(1.0, 10, 0.2), watch]
    ).history
    expected = [0.5, 1.0, 0.961940, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.038060, 0.0]
    np.testing.assert_allclose(-np.diff(weights), expected, atol=1e-5)
    # The history tells the last rate of each epoch of two steps.
    np.testing.assert_allclose(history["learning_rate"], expected[1::2], atol=1e-6)
