"""Classifiers without a network: each does what it is named after, and the registry has clear errors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import SVC

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models.classifiers import SoftmaxSVC, build_classifier, get_classifier

NAN = float("nan")


def rgb(grey: np.ndarray) -> np.ndarray:
    """uint8 (n, S, S) → (n, S, S, 3)."""
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)


def noise(count: int, size: int = 64, seed: int = 0) -> np.ndarray:
    return rgb(np.random.default_rng(seed).integers(40, 200, (count, size, size)))


def stripes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy stripes, horizontal (0) and vertical (1) in turn, of random phase: alike in their mean and histogram."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    waves = [np.tile(60 * np.sin(np.arange(64) / 2 + draw.uniform(0, 6)), (64, 1)) for _ in labels]
    grey = np.stack([wave if label else wave.T for wave, label in zip(waves, labels, strict=True)])
    return rgb(120 + grey + draw.normal(0, 15, grey.shape)), labels


def metadata(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """0 below 40 years, 1 to 60, 2 above, whatever the density; every seventh density is unknown."""
    draw = np.random.default_rng(seed)
    ages, densities = draw.uniform(20, 80, count), draw.integers(1, 5, count).astype(float)
    densities[::7] = NAN
    return np.column_stack([ages, densities]).astype("float32"), np.digitize(ages, [40, 60])


# --- the registry ---


def test_the_three_rows_without_a_network_declare_what_they_take():
    assert get_classifier("metadata_only").inputs == ("metadata",)
    assert get_classifier("hog_svm").inputs == ("image",)
    entry = get_classifier("image_nearest_neighbour")
    assert (entry.inputs, entry.image_size) == (("image",), 64)


def test_wrong_names_and_arguments_are_told():
    with pytest.raises(ConfigurationError, match=r"Received: classifier='hog_smv'. Did you mean 'hog_svm'\?"):
        build_classifier("hog_smv", 0)
    with pytest.raises(ConfigurationError, match=r"(?s)'hog_svm' takes. Received: .*cells.*Correct the row"):
        build_classifier("hog_svm", 0, cells=4)


# --- all of them ---


@pytest.mark.parametrize("name", ["image_nearest_neighbour", "hog_svm", "metadata_only"])
@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_have_the_order_of_the_labels_and_repeat_for_a_seed(name, classes):
    values, labels = metadata(150)
    if get_classifier(name).inputs == ("image",):
        values, labels = noise(60), labels[:60]  # noise, to be learnt by heart
    labels = np.minimum(labels, classes - 1) * 2  # 0 and 2, or 0, 2 and 4
    first, again = (build_classifier(name, 7).fit(values, labels) for _ in range(2))
    assert first.classes_.tolist() == [0, 2, 4][:classes]
    probabilities = first.predict_proba(values)
    assert (probabilities.dtype, probabilities.shape) == (np.float64, (len(values), classes))
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(again.predict_proba(values), probabilities)
    # A column in another place would be wrong nearly everywhere.
    assert (first.classes_[probabilities.argmax(axis=1)] == labels).mean() > 0.95


# --- nearest neighbour ---


def test_the_distance_is_euclidean_in_grey():
    # To black, 4 pixels of 100 are at distance 200 and all 4096 of 2 at 128; by city block 400 and 8192.
    few, even = np.zeros((64, 64)), np.full((64, 64), 2)
    few[0, :4] = 100
    fitted = build_classifier("image_nearest_neighbour", 0).fit(rgb(np.stack([few, even])), [0, 1])
    assert fitted.predict(rgb(np.zeros((1, 64, 64)))).tolist() == [1]
    # BT.601 grey: pure red of 100 is 30, pure green 59; to a grey of 35, red is nearer.
    red, green = np.zeros((2, 1, 64, 64, 3), np.uint8)
    red[..., 0], green[..., 1] = 100, 100
    fitted.fit(np.concatenate([red, green]), [0, 1])
    assert fitted.predict(rgb(np.full((1, 64, 64), 35))).tolist() == [0]
    assert fitted.predict(rgb(np.full((1, 64, 64), 54))).tolist() == [1]


# --- HOG and support vector machine ---


def test_hog_tells_textures_apart_whose_histograms_are_alike():
    fitted = build_classifier("hog_svm", 0).fit(*stripes(20))
    images, labels = stripes(20, seed=1)
    np.testing.assert_array_equal(fitted.predict_proba(images).argmax(axis=1), labels)


def test_hog_describes_an_image_by_blocks_of_four_cells():
    # 64 pixels in cells of 8: 7 × 7 blocks of 2 × 2 cells with 9 orientations; in cells of 16: 3 × 3 blocks.
    images, labels = stripes(4)
    for arguments, count in (({"cell": 8}, 7 * 7 * 36), ({}, 3 * 3 * 36)):
        fitted = build_classifier("hog_svm", 0, **arguments).fit(images, labels)
        assert fitted["standardscaler"].n_features_in_ == count


@pytest.mark.parametrize("classes", [2, 3])
def test_softmax_keeps_the_decision_of_the_plain_machine(classes):
    draw = np.random.default_rng(0)
    points, labels = draw.normal(size=(90, 2)), draw.integers(0, classes, 90)
    seen = draw.normal(size=(500, 2))
    plain = SVC(break_ties=True).fit(points, labels)
    probabilities = SoftmaxSVC(break_ties=True).fit(points, labels).predict_proba(seen)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), plain.predict(seen))
    # The log-odds of two classes are the difference of their decision values.
    decision = plain.decision_function(seen)
    wanted = decision if classes == 2 else decision[:, 1] - decision[:, 0]
    np.testing.assert_allclose(np.log(probabilities[:, 1] / probabilities[:, 0]), wanted, atol=1e-9)


# --- age and density ---


def test_metadata_learns_a_rule_on_age_in_spite_of_unknown_values():
    fitted = build_classifier("metadata_only", 0).fit(*metadata(400))
    values, labels = metadata(200, seed=1)
    assert (fitted.predict_proba(values).argmax(axis=1) == labels).mean() > 0.95
    unknown = fitted.predict_proba(np.full((1, 2), NAN, "float32"))
    assert np.isfinite(unknown).all()


def test_an_unknown_density_is_a_value_of_its_own():
    # The label says whether the density is known; any guess (mean, median, 0) of a known value would hide it.
    density = np.tile([NAN, 1, NAN, 2, NAN, 3, NAN, 4], 20)
    values = np.column_stack([np.full(160, 50.0), density]).astype("float32")
    fitted = build_classifier("metadata_only", 0).fit(values, np.isnan(density).astype(int))
    np.testing.assert_array_equal(fitted.predict(values), np.isnan(density).astype(int))


def test_a_rare_class_counts_as_much_as_a_frequent_one():
    # The same age everywhere: nothing to learn, so balanced classes are equally likely; unweighted, it is 9 to 1.
    values = np.full((200, 2), 2.0, "float32")
    labels = (np.arange(200) % 10 == 0).astype(int)
    probabilities = build_classifier("metadata_only", 0).fit(values, labels).predict_proba(values[:1])
    np.testing.assert_allclose(probabilities, [[0.5, 0.5]], atol=1e-6)


def test_metadata_of_which_one_column_is_unknown_everywhere():
    """As density in BrEaST and age in mini-MIAS: the other column decides."""
    rng = np.random.default_rng(0)
    ages = np.concatenate([rng.normal(45, 4, 60), rng.normal(70, 4, 60)])
    metadata = np.column_stack([ages, np.full(120, np.nan)]).astype("float32")
    labels = np.repeat(["benign", "malignant"], 60)
    trees = build_classifier("metadata_only", 0).fit(metadata, labels)
    assert list(trees.predict([[44.0, np.nan], [71.0, np.nan], [71.0, 3.0]])) == ["benign", "malignant", "malignant"]
