"""The embedding of age and density, and the mask of the clinical token, by hand."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import ClinicalMask, MetadataEmbedding

NAN = float("nan")
PATIENTS = np.array([[50.0, 1.0], [60.0, NAN], [NAN, 3.0], [70.0, 4.0]])


def hand_layer(**options):
    """Width 2, mean (50, 2), standard deviation (10, 0.5), and weights that are easy to follow by hand."""
    layer = MetadataEmbedding(width=2, **options)
    layer.build((None, 2))
    layer.mean.assign([50.0, 2.0])
    layer.standard_deviation.assign([10.0, 0.5])
    layer.kernel.assign([[1.0, -1.0], [2.0, 0.5]])
    layer.bias.assign([[0.25, 0.5], [-1.0, 0.0]])
    layer.unknown.assign([[7.0, 8.0], [-7.0, -8.0]])
    return layer


def test_known_and_unknown_by_hand():
    # Age 65: z = 1.5. Density 3: z = 2. Age 40: z = -1.
    raw = np.array([[65.0, 3.0], [40.0, NAN], [NAN, 3.0], [NAN, NAN], [np.inf, 3.0], [-np.inf, 3.0]], "float32")
    expected = [
        [1.75, -1.0, 3.0, 1.0],
        [-0.75, 1.5, -7.0, -8.0],
        [7.0, 8.0, 3.0, 1.0],
        [7.0, 8.0, -7.0, -8.0],
        *[[7.0, 8.0, 3.0, 1.0]] * 2,
    ]
    np.testing.assert_allclose(np.asarray(hand_layer()(raw)), expected, atol=1e-6)


@pytest.mark.parametrize("raw", [[[NAN, NAN]], [[55.0, NAN], [NAN, 2.0], [np.inf, -np.inf]]])
def test_every_gradient_is_finite_and_goes_where_it_should(raw):
    layer, values = hand_layer(), tf.constant(raw, dtype="float32")
    with tf.GradientTape() as tape:
        tape.watch(values)
        output = layer(values)
        loss = tf.reduce_sum(output**2)
    sources = [values, *(w.value for w in layer.trainable_weights)]
    gradients = [np.asarray(g) for g in tape.gradient(loss, sources)]
    assert np.isfinite(output).all()
    assert all(np.isfinite(g).all() for g in gradients)
    by_values, by_kernel, by_bias, by_unknown = gradients
    known = np.isfinite(raw)
    assert (by_values[~known] == 0.0).all()
    assert ((by_kernel != 0).any(axis=1) <= known.any(axis=0)).all()
    assert ((by_bias != 0).any(axis=1) == known.any(axis=0)).all()
    assert ((by_unknown != 0).all(axis=1) == (~known).any(axis=0)).all()


def statistics(layer):
    return np.asarray(layer.mean), np.asarray(layer.standard_deviation)


def test_adapt_equals_nanmean_and_nanstd():
    rng = np.random.default_rng(6)
    values = np.stack([rng.normal(55.0, 12.0, 200), rng.integers(1, 5, 200)], axis=1)
    values[rng.random(values.shape) < 0.3] = NAN
    layer = MetadataEmbedding()
    layer.adapt(values)
    mean, deviation = statistics(layer)
    np.testing.assert_allclose(mean, np.nanmean(values, axis=0), rtol=1e-6)
    np.testing.assert_allclose(deviation, np.nanstd(values, axis=0), rtol=1e-6)
    known = ~np.isnan(values).any(axis=1)
    layer.kernel.assign(np.ones((2, 16)))
    scaled = np.asarray(layer(values))[known][:, [0, 16]]
    expected = ((values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0))[known]
    np.testing.assert_allclose(scaled, expected, atol=1e-5)


def test_adapt_leaves_infinite_values_out():
    layer = MetadataEmbedding()
    layer.build((None, 2))
    np.testing.assert_array_equal(statistics(layer), [[0.0, 0.0], [1.0, 1.0]])  # values as they are
    layer.adapt(PATIENTS)  # the last one counts
    layer.adapt(np.array([[50.0, 1.0], [np.inf, 3.0], [70.0, -np.inf]]))
    np.testing.assert_allclose(statistics(layer), [[60.0, 2.0], [10.0, 1.0]])


@pytest.mark.parametrize(
    ("values", "mean", "deviation"),
    [
        ([[NAN, 2.0], [NAN, 4.0]], [0.0, 3.0], [1.0, 1.0]),
        ([[50.0, NAN], [50.0, NAN]], [50.0, 0.0], [1.0, 1.0]),
        # Three times 53.2: the standard deviation in floating point is not 0 but rounding.
        ([[53.2, 1.0], [53.2, 1.0], [53.2, 4.0]], [53.2, 2.0], [1.0, 2.0**0.5]),
        (np.empty((0, 2)), [0.0, 0.0], [1.0, 1.0]),
    ],
)
def test_adapt_without_spread_or_values(values, mean, deviation):
    layer = MetadataEmbedding()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer.adapt(values)
    np.testing.assert_allclose(statistics(layer), [mean, deviation], rtol=1e-6)


@pytest.mark.parametrize("in_a_model", [False, True])
def test_mixed_precision_standardises_in_float32(in_a_model):
    # In float16 the three ages and the mean are all 64; with a standard deviation of 0.01 they are one apart.
    layer = hand_layer(dtype="mixed_float16")
    layer.mean.assign([64.01, 2.0])
    layer.standard_deviation.assign([0.01, 0.5])
    patient = keras.Input((2,), dtype="float32")
    call = keras.Model(patient, layer(patient)) if in_a_model else layer
    output = call(np.array([[64.0, 2.0], [64.01, 2.0], [64.02, 2.0]], "float32"))
    assert keras.backend.standardize_dtype(output.dtype) == "float16"
    np.testing.assert_allclose(np.asarray(output)[:, 0], [-0.75, 0.25, 1.25], atol=0.01)


def test_a_saved_model_keeps_the_adapted_statistics(tmp_path):
    patient = keras.Input((2,))
    model = keras.Model(patient, MetadataEmbedding(width=3, name="embedding")(patient))
    model.get_layer("embedding").adapt(PATIENTS)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected = [np.nanmean(PATIENTS, axis=0), np.nanstd(PATIENTS, axis=0)]
    np.testing.assert_allclose(statistics(loaded.get_layer("embedding")), expected, rtol=1e-6)
    np.testing.assert_array_equal(loaded.predict(PATIENTS, verbose=0), model.predict(PATIENTS, verbose=0))


def test_adapt_refuses_another_shape():
    layer = MetadataEmbedding()
    layer.build((None, 2))
    for shape in ((4,), (4, 3), (2, 2, 2)):
        with pytest.raises(ConfigurationError, match=r"Received: values.shape="):
            layer.adapt(np.ones(shape))


def test_the_clinical_token_is_there_with_any_known_value():
    """Infinite is unknown, zero is known."""
    patients = np.array([[50.0, 1.0], [60.0, NAN], [NAN, 3.0], [NAN, NAN], [np.inf, -np.inf], [0.0, NAN]], "float32")
    known = [True, True, True, False, False, True]
    found = np.asarray(ClinicalMask(image_tokens=3)(patients))
    assert found.dtype == bool
    assert found.tolist() == [[True] * 3 + [one] for one in known]
    assert np.asarray(ClinicalMask()(patients)).tolist() == [[True, one] for one in known]


def test_a_value_beyond_float16_stays_known_under_mixed_precision():
    found = np.asarray(ClinicalMask(dtype="mixed_float16")(np.array([[1e6, NAN]], "float32")))
    assert found.tolist() == [[True, True]]
