import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import ClassToken


class ClassTokenLayerTest(TestCase):
    def test_keras_layer_test(self):
        self.run_layer_test(
            ClassToken,
            init_kwargs={},
            input_shape=(2, 5, 8),
            expected_output_shape=(2, 6, 8),
            expected_num_trainable_weights=2,
            expected_num_non_trainable_weights=0,
            expected_num_seed_generators=0,
            expected_num_losses=0,
        )


def test_token_first_and_positions_by_hand():
    layer = ClassToken()
    layer.build((None, 2, 2))
    layer.token.assign([[[7.0, -7.0]]])
    layer.positions.assign([[[0.5, 0.25], [10.0, 20.0], [30.0, 40.0]]])
    found = np.asarray(layer(np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [0.0, 0.0]]], "float32")))
    np.testing.assert_allclose(found[0], [[7.5, -6.75], [11.0, 22.0], [33.0, 44.0]])
    np.testing.assert_allclose(found[1], [[7.5, -6.75], [15.0, 26.0], [30.0, 40.0]])


def test_how_a_new_layer_starts():
    layer = ClassToken()
    layer.build((None, 49, 64))
    assert np.abs(layer.token.numpy()).max() == 0
    assert layer.positions.shape == (1, 50, 64)
    # 3,200 draws: the standard deviation of their standard deviation is 0.02 / √6400 = 0.00025.
    assert abs(layer.positions.numpy().std() - 0.02) < 0.001


def test_a_batch_of_any_size_in_a_model():
    given = keras.Input((3, 4))
    model = keras.Model(given, ClassToken()(given))
    assert model.output.shape == (None, 4, 4)
    for batch in (1, 5):
        assert model.predict(np.ones((batch, 3, 4)), verbose=0).shape == (batch, 4, 4)


@pytest.mark.parametrize("shape", [(None, None, 8), (None, 5, None)])
def test_an_open_number_of_tokens_or_width_is_refused(shape):
    with pytest.raises(ConfigurationError, match=r"fixed.*Received: shape=\(None, "):
        ClassToken().build(shape)
