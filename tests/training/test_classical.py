"""Fitting classifiers without a network: on the training part alone, from the tables that the networks take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.phantom import phantom_ultrasound
from mmdc_tf.datasets.splits import make_splits, select
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.inputs.pipeline import InputSettings
from mmdc_tf.models.classifiers import build_classifier
from mmdc_tf.training.classical import classifier_probabilities, fit_classifier
from mmdc_tf.training.trainer import HISTORY_COLUMNS, TrainingParts

CLASSES = ("benign", "cancer", "normal")
SIZE = 16
NAN = float("nan")


def settings(name: str, classes: tuple[str, ...] = CLASSES) -> InputSettings:
    return InputSettings("plain", SIZE, 4, classes, (name,))


@pytest.fixture
def images(tmp_path: Path) -> pd.DataFrame:
    """18 noisy images of three kinds of brightness, in turn."""
    rows = []
    for number in range(18):
        draw = np.random.default_rng(number)
        path = tmp_path / f"{number}.png"
        grey = draw.normal(60 + 60 * (number % 3), 10, (SIZE, SIZE)).clip(0, 255).astype(np.uint8)
        assert cv2.imwrite(str(path), grey)
        rows.append((str(number), str(path), CLASSES[number % 3]))
    return pd.DataFrame(rows, columns=["sample_id", "image_path", "label"])


def people(count: int, seed: int = 0) -> pd.DataFrame:
    """Benign below 40 years, cancer to 60, normal above; no image exists."""
    ages = np.random.default_rng(seed).uniform(20, 80, count)
    labels = np.array(CLASSES, dtype=object)[np.digitize(ages, [40, 60])]
    density = np.where(np.arange(count) % 7 == 0, NAN, 1.0 + np.arange(count) % 4)
    return pd.DataFrame({"image_path": "nowhere/absent.png", "label": labels, "age": ages, "density": density})


def test_the_history_of_the_nearest_neighbour_by_hand(images):
    parts = TrainingParts(images[:12], images[12:].assign(label=["normal", *CLASSES[1:], *CLASSES]), settings("image"))
    history = fit_classifier(build_classifier("image_nearest_neighbour", 0), parts)
    assert list(history.columns) == list(HISTORY_COLUMNS)
    assert len(history) == 1
    line = history.iloc[0]
    assert (line["epoch"], line["loss"], line["accuracy"]) == (1, pytest.approx(0, abs=1e-12), 1.0)
    # One of six validation labels was changed: an answer that is certain and wrong costs −log ε, as log_loss clips it.
    assert line["val_accuracy"] == pytest.approx(5 / 6)
    assert line["val_loss"] == pytest.approx(-np.log(np.finfo(float).eps) / 6)
    assert np.isnan(line["learning_rate"])


def test_probabilities_come_in_the_order_of_the_class_names_and_of_the_table(images):
    for classes in (CLASSES, ("normal", "benign", "cancer")):
        estimator = build_classifier("image_nearest_neighbour", 0)
        fit_classifier(estimator, TrainingParts(images[:12], images[12:], settings("image", classes)))
        shuffled = images.sample(frac=1, random_state=0)
        expected = np.eye(3)[[classes.index(label) for label in shuffled["label"]]]
        np.testing.assert_array_equal(
            classifier_probabilities(estimator, shuffled, settings("image", classes)), expected
        )


@pytest.mark.parametrize("name", ["image_nearest_neighbour", "metadata_only"])
def test_a_class_that_is_absent_from_training_gets_zero(images, name):
    kind = "metadata" if name == "metadata_only" else "image"
    table = people(300) if kind == "metadata" else images
    train = table[table["label"] != "cancer"]
    estimator = build_classifier(name, 0)
    history = fit_classifier(estimator, TrainingParts(train, table, settings(kind)))
    probabilities = classifier_probabilities(estimator, table, settings(kind))
    assert probabilities.shape == (len(table), 3)
    assert (probabilities[:, 1] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    others = (table["label"] != "cancer").to_numpy()
    assert (probabilities.argmax(axis=1)[others] == (table["label"] == "normal").to_numpy()[others] * 2).all()
    assert history["val_accuracy"].iloc[0] == pytest.approx(others.mean())
    assert np.isfinite(history["val_loss"].iloc[0])


def test_metadata_needs_no_image_and_learns_from_age():
    estimator = build_classifier("metadata_only", 0)
    history = fit_classifier(estimator, TrainingParts(people(300), people(60, seed=1), settings("metadata")))
    assert history["val_accuracy"].iloc[0] > 0.9
    assert 0 < history["loss"].iloc[0] < 0.2
    moved = people(60, seed=2).assign(image_path="elsewhere.png", sample_id="x", view="CC")
    np.testing.assert_array_equal(
        classifier_probabilities(estimator, moved, settings("metadata")),
        classifier_probabilities(estimator, people(60, seed=2), settings("metadata")),
    )


def test_an_absent_image_is_named_where_images_are_needed(images):
    estimator = build_classifier("image_nearest_neighbour", 0)
    with pytest.raises(Exception, match=r"nowhere/absent\.png"):
        fit_classifier(estimator, TrainingParts(people(6), images, settings("image")))


def test_two_inputs_raise(images):
    inputs = InputSettings("plain", SIZE, 4, CLASSES, ("image", "metadata"))
    with pytest.raises(ConfigurationError, match=r"one input of a classifier. Received: inputs=.*'metadata'"):
        fit_classifier(build_classifier("metadata_only", 0), TrainingParts(images, images, inputs))


def test_validation_labels_do_not_change_what_is_learnt():
    fitted = []
    for seed in (1, 2):
        estimator = build_classifier("metadata_only", 0)
        fit_classifier(estimator, TrainingParts(people(100), people(40, seed=seed), settings("metadata")))
        fitted.append(classifier_probabilities(estimator, people(50, seed=9), settings("metadata")))
    np.testing.assert_array_equal(*fitted)


def test_the_nearest_neighbour_gains_from_near_twins_on_both_sides(tmp_path):
    """The leak itself, on the phantom, whose near-twins carry one label."""
    dataset = phantom_ultrasound(tmp_path, images=120, size=64)
    split = make_splits(dataset, "paper", 2, 0)[0]
    train, test = select(dataset.table, split.train), select(dataset.table, split.test)
    inputs = InputSettings("plain", 64, 16, dataset.info.class_names, ("image",))
    estimator = build_classifier("image_nearest_neighbour", 0)
    fit_classifier(estimator, TrainingParts(train, test, inputs))
    chosen = classifier_probabilities(estimator, test, inputs).argmax(axis=1)
    right = np.array(dataset.info.class_names)[chosen] == test["label"].to_numpy()
    twins = test["group_id"].isin(train["group_id"]).to_numpy()
    assert right[twins].mean() > right[~twins].mean() + 0.2
