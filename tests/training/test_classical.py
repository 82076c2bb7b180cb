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


def settings(*inputs: str, classes: tuple[str, ...] = CLASSES) -> InputSettings:
    return InputSettings("plain", SIZE, 4, classes, inputs)


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
    validation = images[12:].assign(label=["normal", *CLASSES[1:], *CLASSES])
    parts = TrainingParts(images[:12], validation, settings("image"))
    history = fit_classifier(build_classifier("image_nearest_neighbour", 0), parts)
    assert list(history.columns) == list(HISTORY_COLUMNS)
    assert len(history) == 1
    line = history.iloc[0]
    assert (line["epoch"], line["loss"], line["accuracy"]) == (1, pytest.approx(0, abs=1e-12), 1.0)
    # One of six validation labels was changed: an answer that is certain and wrong costs −log ε, as log_loss clips it.
    assert line["val_accuracy"] == pytest.approx(5 / 6)
    assert line["val_loss"] == pytest.approx(-np.log(np.finfo(float).eps) / 6)
    assert np.isnan(line["learning_rate"])


@pytest.mark.parametrize("classes", [CLASSES, ("normal", "benign", "cancer")])
def test_probabilities_come_in_the_order_of_the_class_names_and_of_the_table(images, classes):
    estimator, given = build_classifier("image_nearest_neighbour", 0), settings("image", classes=classes)
    fit_classifier(estimator, TrainingParts(images[:12], images[12:], given))
    shuffled = images.sample(frac=1, random_state=0)
    expected = np.eye(3)[[classes.index(label) for label in shuffled["label"]]]
    np.testing.assert_array_equal(classifier_probabilities(estimator, shuffled, given), expected)


@pytest.mark.parametrize("name", ["image_nearest_neighbour", "metadata_only"])
def test_a_class_that_is_absent_from_training_gets_zero(images, name):
    table, given = (people(300), settings("metadata")) if name == "metadata_only" else (images, settings("image"))
    estimator, others = build_classifier(name, 0), (table["label"] != "cancer").to_numpy()
    history = fit_classifier(estimator, TrainingParts(table[others], table, given))
    probabilities = classifier_probabilities(estimator, table, given)
    assert probabilities.shape == (len(table), 3)
    assert (probabilities[:, 1] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert history["val_accuracy"].iloc[0] == pytest.approx(others.mean())
    assert np.isfinite(history["val_loss"].iloc[0])


def test_metadata_need_no_image_and_validation_labels_do_not_change_what_is_learnt():
    fitted = []
    for seed in (1, 2):
        estimator = build_classifier("metadata_only", 0)
        history = fit_classifier(estimator, TrainingParts(people(300), people(60, seed=seed), settings("metadata")))
        assert history["val_accuracy"].iloc[0] > 0.9
        fitted.append(classifier_probabilities(estimator, people(50, seed=9), settings("metadata")))
    np.testing.assert_array_equal(*fitted)


def test_what_cannot_be_is_refused(images):
    with pytest.raises(Exception, match=r"nowhere/absent\.png"):
        parts = TrainingParts(people(6), images, settings("image"))
        fit_classifier(build_classifier("image_nearest_neighbour", 0), parts)
    with pytest.raises(ConfigurationError, match=r"one input of a classifier. Received: inputs=.*'metadata'"):
        fit_classifier(
            build_classifier("metadata_only", 0), TrainingParts(images, images, settings("image", "metadata"))
        )


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
