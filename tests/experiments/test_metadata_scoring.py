"""Scoring with other metadata: one pass over the images, the same as a pass for each variant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from saved_training import settings, write_saved_training
from small_run import FUSED, NUMBERS, make_plan

from mmdc_tf.datasets.splits import Split, select
from mmdc_tf.evaluation.metadata_variants import VARIANTS, metadata_variants
from mmdc_tf.experiments.grid import make_cells
from mmdc_tf.experiments.learners import ClassifierLearner
from mmdc_tf.experiments.metadata_scoring import metadata_predictions, uses_metadata
from mmdc_tf.experiments.rows import Row
from mmdc_tf.inputs.pipeline import evaluation_dataset

CLASSES = ("benign", "cancer", "normal")
PROBABILITIES = [f"p_{name}" for name in CLASSES]


class ByHand:
    """Probabilities that tell image, age and density of a row."""

    def __init__(self) -> None:
        self.tables: list[pd.DataFrame] = []

    def probabilities(self, table: pd.DataFrame) -> np.ndarray:
        self.tables.append(table)
        image = table["sample_id"].rank(method="dense").to_numpy()
        scores = np.column_stack([image, table["age"].fillna(0.0), 10 * table["density"].fillna(0.0)])
        return scores / scores.sum(axis=1, keepdims=True)


class Saved:
    """A saved network as a learner."""

    def __init__(self, place: Path, dataset, model: str) -> None:
        self._model, self._settings = keras.models.load_model(place / "model.keras"), settings(dataset, model)

    def probabilities(self, table: pd.DataFrame) -> np.ndarray:
        return self._model.predict(evaluation_dataset(table, self._settings), verbose=0)


@pytest.fixture
def part(dataset) -> pd.DataFrame:
    return dataset.table.iloc[3:20].reset_index(drop=True)


def assert_as_one_by_one(predictions: pd.DataFrame, learner, part: pd.DataFrame, seed: int) -> None:
    assert list(predictions["metadata"].unique()) == list(VARIANTS)
    for name, table in metadata_variants(part, seed).items():
        lines = predictions[predictions["metadata"] == name]
        assert lines["sample_id"].tolist() == part["sample_id"].tolist()
        assert lines["y_true"].tolist() == part["label"].tolist()
        expected = learner.probabilities(table)
        np.testing.assert_allclose(lines[PROBABILITIES], expected, atol=1e-5)
        assert lines["y_pred"].tolist() == [CLASSES[index] for index in expected.argmax(axis=1)]


def test_each_variant_is_scored_as_if_alone_and_stands_in_the_parts_order(part):
    learner = ByHand()
    predictions = metadata_predictions(learner, part, CLASSES, fold=2, seed=7)
    assert list(predictions.columns) == [
        *("sample_id", "patient_id", "group_id", "fold", "seed", "y_true", "y_pred"),
        *PROBABILITIES,
        "metadata",
    ]
    assert set(predictions["fold"]) == {2}
    assert set(predictions["seed"]) == {7}
    (asked,) = learner.tables  # all at once, the rows of an image together
    assert asked["sample_id"].tolist() == part["sample_id"].repeat(len(VARIANTS)).tolist()
    assert_as_one_by_one(predictions, ByHand(), part, seed=7)


def test_a_network_is_given_the_same_images_with_each_variant(dataset, part, tiny_backbone, tmp_path):
    arguments = {"backbone": tiny_backbone, "conv_filters": 16, "grid": 2}
    place = write_saved_training(tmp_path / "table2", dataset, "fused", "mmdcnet", **arguments)
    learner = Saved(place, dataset, "mmdcnet")
    predictions = metadata_predictions(learner, part, CLASSES, fold=0, seed=1)
    assert_as_one_by_one(predictions, learner, part, seed=1)
    scores = [predictions.loc[predictions["metadata"] == name, PROBABILITIES].to_numpy() for name in VARIANTS]
    assert all(np.abs(scores[0] - other).max() > 1e-4 for other in scores[1:])


def test_a_classifier_of_age_and_density_alone_says_the_same_of_all_where_both_are_unknown(dataset, tmp_path):
    row = Row("metadata_only", "Metadata", "probe", classifier="metadata_only", extra=True)
    plan = make_plan(dataset, tmp_path, (row,), protocols=("leak-free",))
    cell = make_cells(plan)[1]  # whose test part is older and younger than its training part's cut
    learner = ClassifierLearner(plan, cell, None, None)
    split: Split = cell.split
    train = pd.concat([select(dataset.table, split.train)] * 6)  # enough for a leaf of twenty
    learner.fit(train, select(dataset.table, split.validation))
    test = select(dataset.table, split.test)
    predictions = metadata_predictions(learner, test, CLASSES, split.fold, cell.seed)
    assert_as_one_by_one(predictions, learner, test, cell.seed)
    different = predictions.groupby("metadata")["p_cancer"].nunique()
    assert different["both unknown"] == 1
    assert different["shuffled"] > 1


def test_rows_that_take_metadata_themselves_are_scored(dataset, tiny_backbone, tmp_path):
    image = Row("image", "Image", "here", NUMBERS, model="backbone_classifier", arguments={"backbone": "tiny"})
    mean = Row("mean", "Mean", "here", None, members=("fused", "image"), extra=True)
    ages = Row("ages", "Ages", "probe", classifier="metadata_only", extra=True)
    plan = make_plan(dataset, tmp_path, (FUSED, image, mean, ages), protocols=("paper",))
    plan = replace(plan, table=replace(plan.table, rows=plan.rows))
    assert {cell.row.name for cell in make_cells(plan) if uses_metadata(cell)} == {"fused", "ages"}
