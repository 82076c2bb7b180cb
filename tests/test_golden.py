"""What version 0.1.0 saved, scored and split stays the same: tests/golden_files.py says how the files were made."""

from __future__ import annotations

import json
import math

import keras
import numpy as np
import pandas as pd
import pytest
from golden_files import FOLDER, MODELS, RUNS, execute, inputs_of, kept_of

TRAINED = {"brint_custom_cnn", "mmdcnet_mobilenet", "bcdnet_mobilenet"}
ROUNDING = 0.05
"""In probability, after a few steps of training on another processor or with another order of additions."""


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_0_1_0_loads_and_predicts_the_same(name):
    model = keras.models.load_model(FOLDER / "models" / f"{name}.keras")
    expected = np.load(FOLDER / "models" / f"{name}.npy")
    assert len(np.unique(expected.round(4), axis=0)) == len(expected), "the samples must differ"
    np.testing.assert_allclose(model.predict(inputs_of(model), verbose=0), expected, atol=1e-5)


@pytest.fixture
def phantoms_restored(monkeypatch):
    """``execute`` makes the command's phantoms small."""
    from mmdc_tf.commands import run

    for name in ("PHANTOM_PATIENTS", "PHANTOM_IMAGES"):
        monkeypatch.setattr(run, name, getattr(run, name))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_splits_scores_and_tabulates_as_0_1_0(name, tmp_path, phantoms_restored, capsys):
    execute(name, tmp_path)
    golden = FOLDER / name
    assert kept_of(tmp_path) == kept_of(golden)
    for path in kept_of(golden):
        if path.suffix == ".json":
            assert json.loads((tmp_path / path).read_text()) == json.loads((golden / path).read_text())
        elif path.name == "predictions.csv":
            tolerance = ROUNDING if TRAINED & set(path.parts) else 1e-6
            _same_table(pd.read_csv(tmp_path / path), pd.read_csv(golden / path), tolerance)
        else:
            trained = bool(TRAINED & set(pd.read_csv(golden / path)["row"]))
            _same_table(pd.read_csv(tmp_path / path), pd.read_csv(golden / path), math.inf if trained else 1e-6)


def _same_table(found: pd.DataFrame, expected: pd.DataFrame, tolerance: float) -> None:
    """``y_pred`` may turn where two probabilities are nearly equal, so it is not compared where they may move."""
    if tolerance > 1e-6:
        found, expected = (table.drop(columns="y_pred", errors="ignore") for table in (found, expected))
    assert list(found) == list(expected)
    found, expected = (table.drop(columns="seconds", errors="ignore") for table in (found, expected))
    if math.isinf(tolerance):  # scores of a network on a few images
        found, expected = (table.select_dtypes(exclude="number") for table in (found, expected))
    pd.testing.assert_frame_equal(found, expected, rtol=0, atol=tolerance)
