"""Scoring saved models on noisy images: what is written, that it is done once, and what is an error."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from saved_training import settings, shift_probabilities, write_saved_training

from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.splits import Split, select
from mmdc_tf.experiments import robustness
from mmdc_tf.experiments.robustness import noise_predictions, saved_trainings, score_trainings, score_with_noise
from mmdc_tf.experiments.rows import Row
from mmdc_tf.inputs.pipeline import evaluation_dataset
from mmdc_tf.preprocessing.noise import add_noise

PROBABILITIES = ["p_benign", "p_cancer", "p_normal"]
NOISES = ("gaussian", "speckle", "blur", "jpeg")
TWO_VIEWS = "two_view_classifier"


def row(name: str) -> Row:
    return Row(name, name, "here", model="any")


@pytest.fixture
def place(dataset, tiny_backbone, tmp_path) -> Path:
    return write_saved_training(tmp_path / "table2", dataset, "two", TWO_VIEWS, backbone=tiny_backbone)


def predicted(place: Path, dataset: Dataset, noise: str, step: int) -> np.ndarray:
    """By another way: each tensor of a view is changed as an array, then given to the loaded model."""
    split = Split.from_json((place / "split.json").read_text())
    batches = list(
        evaluation_dataset(select(dataset.table, split.test), settings(dataset, TWO_VIEWS)).as_numpy_iterator()
    )
    views = {name: np.concatenate([tensors[name] for tensors, _ in batches]) for name in ("image", "other_view")}
    for name, images in views.items():
        for number in np.flatnonzero(~np.isnan(images).any(axis=(1, 2, 3))):
            views[name][number] = add_noise(images[number].astype(np.uint8), noise, step)
    return keras.models.load_model(place / "model.keras").predict(views, verbose=0)


def test_every_condition_is_scored_and_noise_is_on_both_views(place, dataset):
    stored = pd.read_csv(place / "predictions.csv")
    result = score_with_noise(place, dataset.table)
    written = pd.read_csv(place / "predictions-noise.csv")
    pd.testing.assert_frame_equal(written, result, check_dtype=False)
    assert list(written.columns) == [*stored.columns, "noise", "step"]
    conditions = [("clean", 0), *((noise, step) for noise in NOISES for step in (1, 2, 3, 4))]
    assert list(written.groupby(["noise", "step"], sort=False).groups) == conditions
    for (noise, step), part in written.groupby(["noise", "step"], sort=False):
        assert part["sample_id"].tolist() == stored["sample_id"].tolist()
        assert part["y_true"].tolist() == stored["y_true"].tolist()
        if step in (0, 3):
            np.testing.assert_allclose(part[PROBABILITIES], predicted(place, dataset, noise, step), atol=1e-5)
    np.testing.assert_allclose(written[PROBABILITIES][: len(stored)], stored[PROBABILITIES], atol=1e-5)
    assert np.abs(written[PROBABILITIES][-len(stored) :].to_numpy() - stored[PROBABILITIES].to_numpy()).max() > 1e-4


def test_what_was_scored_is_not_scored_again(place, dataset, monkeypatch):
    lines: list[str] = []
    assert noise_predictions(place) is None
    assert score_trainings([place], dataset.table, lines.append) == 0
    monkeypatch.setattr(robustness, "load_saved_model", lambda *_, **__: pytest.fail("loaded again"))
    assert noise_predictions(place) is not None
    assert score_trainings([place], dataset.table, lines.append) == 0
    assert lines[0].startswith("two paper fold0-seed0: clean ")
    assert lines[1] == lines[0] + " (scored before)"


def test_what_does_not_fit_the_training_is_scored_again(place, dataset):
    """A file without some noise, and one of other predictions; a difference within the tolerance is none."""
    written = score_with_noise(place, dataset.table)
    written[written["noise"] != "jpeg"].to_csv(place / "predictions-noise.csv", index=False)
    assert noise_predictions(place) is None
    shift_probabilities(place, 5e-5)
    score_with_noise(place, dataset.table)
    assert noise_predictions(place) is not None
    shift_probabilities(place, 2e-4)
    assert noise_predictions(place) is None
    labels = dataset.table["label"].map({"benign": "cancer", "cancer": "benign"}).fillna("normal")
    with pytest.raises(RuntimeError, match="differ by inf"):
        score_with_noise(place, dataset.table.assign(label=labels))


def test_predictions_that_do_not_come_again_are_an_error_and_the_others_go_on(place, dataset, tiny_backbone, tmp_path):
    other = write_saved_training(tmp_path / "table2", dataset, "one", "backbone_classifier", backbone=tiny_backbone)
    shift_probabilities(place, 2e-4)
    lines: list[str] = []
    assert score_trainings([place, other], dataset.table, lines.append) == 1
    assert lines[0].startswith("two paper fold0-seed0: failed: RuntimeError: Expected the stored predictions")
    assert "differ by 0.0002" in lines[0]
    assert "The data or the code changed since the training" in lines[0]
    assert not (place / "predictions-noise.csv").exists()
    assert lines[1].startswith("one paper fold0-seed0: clean ")
    assert (other / "predictions-noise.csv").is_file()


def test_only_finished_trainings_with_a_model_of_images_are_chosen(place, dataset, tiny_backbone, tmp_path):
    folder = tmp_path / "table2"
    for name in ("failed", "bare", "ages"):
        write_saved_training(folder, dataset, name, "backbone_classifier", backbone=tiny_backbone)
    cell = "paper/fold0-seed0"
    (folder / "failed" / cell / "status.json").write_text('{"status": "failed", "error": "x"}')
    (folder / "bare" / cell / "model.keras").unlink()
    (folder / "ages" / cell / "model.json").write_text('{"inputs": ["metadata"]}')
    rows = tuple(map(row, ("failed", "bare", "ages", "two", "absent")))
    assert saved_trainings(folder, rows, ("paper", "leak-free")) == [place]
    assert saved_trainings(folder, rows, ("leak-free",)) == []


def test_a_real_run_gives_its_own_predictions_again(copied):
    """Trained, saved without its optimiser, and loaded: the clean images still give what was stored."""
    places = saved_trainings(copied.folder, copied.rows, ("paper", "leak-free"))
    assert len(places) == 3
    for place in places[1:2]:
        clean = score_with_noise(place, copied.dataset.table).query("noise == 'clean'")
        np.testing.assert_allclose(
            clean[PROBABILITIES], pd.read_csv(place / "predictions.csv")[PROBABILITIES], atol=1e-5
        )
