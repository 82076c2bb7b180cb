import numpy as np
import pytest
from keras.src.testing import TestCase

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import ClinicalMask

NAN, INF = float("nan"), float("inf")
PATIENTS = np.array([[50.0, 1.0], [60.0, NAN], [NAN, 3.0], [NAN, NAN]], "float32")


class ClinicalMaskLayerTest(TestCase):
    def test_keras_layer_test(self):
        self.run_layer_test(
            ClinicalMask,
            init_kwargs={"image_tokens": 2},
            input_data=PATIENTS,
            expected_output_shape=(4, 3),
            expected_output_dtype="bool",
            expected_num_trainable_weights=0,
            expected_num_non_trainable_weights=0,
            expected_num_seed_generators=0,
            expected_num_losses=0,
            run_training_check=False,  # no weights, and no gradient through a bool
        )


def test_the_clinical_token_is_there_with_any_known_value():
    found = np.asarray(ClinicalMask()(PATIENTS))
    assert found.dtype == bool
    assert found.tolist() == [[True, True], [True, True], [True, True], [True, False]]
    more = np.asarray(ClinicalMask(image_tokens=3)(PATIENTS))
    assert more.tolist() == [[True] * 4, [True] * 4, [True] * 4, [True, True, True, False]]


def test_infinite_is_unknown_and_zero_is_known():
    found = np.asarray(ClinicalMask()(np.array([[INF, -INF], [0.0, NAN], [INF, 2.0]], "float32")))
    assert found[:, 1].tolist() == [False, True, True]


def test_a_value_beyond_float16_stays_known_under_mixed_precision():
    found = np.asarray(ClinicalMask(dtype="mixed_float16")(np.array([[1e6, NAN]], "float32")))
    assert found.tolist() == [[True, True]]


@pytest.mark.parametrize("wrong", [0, 1.5, True])
def test_image_tokens_is_a_whole_number(wrong):
    with pytest.raises(ConfigurationError, match=f"Received: image_tokens={wrong}"):
        ClinicalMask(image_tokens=wrong)
