"""A model trained on phantoms looks at their lesions: Grad-CAM's maximum is there far more often than by chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.datasets.splits import Split, select
from mmdc_tf.experiments.plan import Plan, make_trainings
from mmdc_tf.experiments.rows import Row, load_table
from mmdc_tf.experiments.run import run_trainings
from mmdc_tf.explain.heat_scores import heat_score, read_lesion
from mmdc_tf.models.backbones import BACKBONES, Backbone, register_backbone
from mmdc_tf.serving.explanation import GRAD_CAM, load_explainer
from mmdc_tf.training.recipe import load_profile

SIZE = 64
ROW = Row("small", "Small", "here", model="bcdnet", arguments={"backbone": "small"})


@pytest.fixture(scope="module")
def backbone() -> Iterator[str]:
    """Three convolutions; a position of its last map, 16 × 16, sees 18 pixels of 64: about a lesion."""

    def small(include_top: bool, weights: None, input_tensor: keras.KerasTensor) -> keras.Model:
        x = keras.layers.Rescaling(1 / 128, offset=-0.5, name="small_scaling")(input_tensor)
        for number, filters in enumerate((16, 32, 32), start=1):
            x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"small_conv{number}")(x)
            x = keras.layers.BatchNormalization(name=f"small_norm{number}")(x)
            x = keras.layers.ReLU(name=f"small_relu{number}")(x)
            if number < 3:
                x = keras.layers.MaxPooling2D(2, name=f"small_pool{number}")(x)
        return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="small")

    register_backbone(Backbone("small", small, "none", (), "small_relu3", "nowhere/", "small_notop.h5", "0" * 32))
    yield "small"
    del BACKBONES["small"]


@pytest.fixture(scope="module")
def training(backbone, tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    """A finished training on one leak-free fold, and the lesions' images of its test part."""
    root = tmp_path_factory.mktemp("phantom")
    dataset = phantom_mammograms(root / "data", patients=48, height=96, seed=3)
    recipe = {"image_size": SIZE, "epochs": 12, "folds": 3, "batch_size": 8, "learning_rate_random": 3e-3}
    plan = Plan(
        table=replace(load_table("table2"), rows=(ROW,)),
        rows=(ROW,),
        dataset=dataset,
        preprocessing="lesion-safe",
        profile=load_profile("quick", **recipe),
        weights="none",
        cut="auto",
        protocols=("leak-free",),
        seed=0,
        seeds=1,
        output=root / "run",
    )
    cell = make_trainings(plan)[0]
    assert run_trainings(plan, [cell], after_each=lambda: None) == 0
    test = select(dataset.table, Split.from_json((cell.folder / "split.json").read_text()).test)
    return cell.folder, test[test["label"] != "normal"]


def heats_and_lesions(folder: Path, table: pd.DataFrame) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Grad-CAM for the true class, by the saved model, and the phantom's own masks where the recipe moved them."""
    explainer = load_explainer(folder)
    heats, lesions = [], []
    for row in table.itertuples():
        explanation = explainer.explain(row.image_path, row.label)
        heats.append(explanation.heats[GRAD_CAM])
        lesions.append(read_lesion(map(Path, row.lesion_masks), explanation.scan, explainer.card.recipe))
    return heats, lesions


def test_the_pointing_game_of_a_trained_model_is_above_chance(training):
    """Chance is what the same maps hit of other images' lesions: most phantoms have them in about the same place."""
    heats, lesions = heats_and_lesions(*training)
    scores = [[heat_score(heat, lesion) for lesion in lesions] for heat in heats]
    hits = np.array([[score.hit for score in line] for line in scores])
    inside = np.array([[score.heat_inside for score in line] for line in scores])
    own = np.eye(len(heats), dtype=bool)
    assert len(heats) >= 30
    area, chance = np.mean([lesion.mean() for lesion in lesions]), hits[~own].mean()
    assert area < chance < 0.5
    assert binomtest(int(hits[own].sum()), len(heats), chance, alternative="greater").pvalue < 1e-6
    assert inside[own].mean() > 1.5 * inside[~own].mean()
