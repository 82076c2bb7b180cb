"""The optimiser's single operation gives the steps of Keras' AdamW."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmdc_tf.training.fused_adam import FusedAdamW

STEPS = 6
OPTIONS = {
    "plain": {},
    "decay and clipping": {"weight_decay": 0.05, "global_clipnorm": 0.5},
    "other moments": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
}


def trained(optimizer: keras.optimizers.Optimizer) -> list[np.ndarray]:
    """Variables and the optimiser's after steps of another learning rate each; the bias is not decayed."""
    draw = np.random.default_rng(0)
    kernel = draw.normal(size=(3, 4)).astype("float32")
    variables = [keras.Variable(kernel, name="kernel"), keras.Variable(np.ones(4, "float32"), name="bias")]
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(variables)

    @tf.function
    def apply(gradients):
        optimizer.apply(gradients)

    for step in range(STEPS):
        optimizer.learning_rate.assign(0.01 * (step + 1))
        apply([tf.constant(draw.normal(size=variable.shape), "float32") for variable in variables])
    return [np.asarray(variable) for variable in (*variables, *optimizer.variables)]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_the_steps_are_those_of_keras(options: dict):
    ours, expected = trained(FusedAdamW(**options)), trained(keras.optimizers.AdamW(**options))
    assert len(ours) == len(expected)
    assert np.abs(expected[0] - np.random.default_rng(0).normal(size=(3, 4))).max() > 0.01
    for one, two in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-5, atol=1e-7)


def test_the_first_step_is_the_learning_rate_by_hand():
    """With zero moments before, m̂ / √v̂ is the gradient's sign: 1 − 0.1 · 3 / (3 + ε), and 1 + 0.1."""
    variable = keras.Variable([1.0, 1.0])
    FusedAdamW(learning_rate=0.1, weight_decay=0.0).apply([tf.constant([3.0, -7.0])], [variable])
    np.testing.assert_allclose(np.asarray(variable), [0.9, 1.1], rtol=1e-5)


def test_one_operation_a_variable():
    optimizer, variable = FusedAdamW(), keras.Variable([1.0])
    optimizer.build([variable])
    graph = tf.function(lambda: optimizer.apply([tf.constant([1.0])])).get_concrete_function().graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == 1
    assert "Sqrt" not in kinds
