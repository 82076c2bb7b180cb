"""A model on another data set: which classes count, by hand, and what is scored."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.evaluation.external import LOCAL, SCORE, external_scores, local_cases, restricted, shared_classes

MODEL = ("benign", "malignant", "normal")


def predictions(truth: list[str], shares: list[tuple[float, ...]], groups: list[str] | None = None) -> pd.DataFrame:
    table = pd.DataFrame({"sample_id": [f"s{i}" for i in range(len(truth))], "fold": 0, "seed": 0, "y_true": truth})
    table["group_id"] = table["patient_id"] = groups or list(table["sample_id"])
    table[[f"p_{name}" for name in MODEL]] = shares
    return table.assign(y_pred=np.array(MODEL)[np.argmax(shares, axis=1)])


def test_classes_are_mapped_and_what_is_left_out_is_said():
    found = shared_classes(("benign", "cancer", "normal"), {"benign": 5, "malignant": 3, "unclear": 2})
    assert found.names == ("benign", "cancer")
    assert found.labels == {"benign": "benign", "malignant": "cancer"}
    assert found.notes == (
        "malignant counts as cancer",
        "2 images of unclear left out: the model has no such class",
        "the model's normal is no answer here: its probability is shared among the others",
    )
    with pytest.raises(ConfigurationError, match="at least two classes"):
        shared_classes(MODEL, {"benign": 5, "other": 1})


def test_a_class_that_the_data_set_lacks_shares_its_probability():
    table = predictions(["benign", "malignant", "unclear"], [(0.2, 0.1, 0.7), (0.1, 0.3, 0.6), (0.4, 0.4, 0.2)])
    kept = restricted(table, shared_classes(MODEL, {"benign": 1, "malignant": 1, "unclear": 1}), "malignant")
    assert list(kept["sample_id"]) == ["s0", "s1"]
    np.testing.assert_allclose(kept[["p_benign", "p_malignant"]], [[2 / 3, 1 / 3], [0.25, 0.75]])
    assert "p_normal" not in kept
    assert list(kept["y_pred"]) == ["benign", "malignant"]
    assert list(kept[SCORE]) == [0.1, 0.3]  # the threshold stays on the scale that it was chosen on


def test_scores_at_the_frozen_threshold():
    truth = ["malignant"] * 4 + ["benign"] * 4
    chances = [0.9, 0.7, 0.4, 0.2, 0.6, 0.3, 0.1, 0.1]
    table = predictions(truth, [(1 - p, p, 0.0) for p in chances])
    kept = restricted(table, shared_classes(MODEL, {"benign": 4, "malignant": 4}), "malignant")
    found = external_scores(kept, "malignant", 0.35, resamples=50)
    assert (found["sensitivity"], found["specificity"]) == (0.75, 0.75)
    assert found["accuracy"] == 5 / 8  # at one half: 2 of 4 and 3 of 4
    assert found["auc"] == pytest.approx(roc_auc_score([1] * 4 + [0] * 4, chances))
    assert found["auc_ci_low"] <= found["auc"] <= found["auc_ci_high"]
    assert "sensitivity" not in external_scores(kept, resamples=50)


def test_a_refitted_temperature_and_threshold_come_from_other_patients():
    rng = np.random.default_rng(0)
    malignant = rng.random(400) < 0.5
    logit = np.where(malignant, 1.0, -1.0) + rng.normal(0, 1, 400)  # its chance of being malignant: 1 / (1 + e^-2x)
    sure = 1 / (1 + np.exp(-8 * logit))  # four times too sure: the right temperature is 4
    truth = list(np.where(malignant, "malignant", "benign"))
    table = predictions(truth, [(1 - p, p, 0.0) for p in sure], [f"g{i // 2}" for i in range(400)])
    kept = restricted(table, shared_classes(MODEL, {"benign": 1, "malignant": 1}), "malignant")
    parts = local_cases(kept, 200)
    assert set(kept["group_id"][parts == LOCAL]).isdisjoint(kept["group_id"][parts != LOCAL])
    assert 180 <= (parts == LOCAL).sum() <= 220
    found = external_scores(kept, "malignant", 0.5, 0.9, parts, resamples=50)
    assert found["temperature_refitted"] == pytest.approx(4, rel=0.3)
    assert found["ece_refitted"] < found["ece"] / 2
    assert found["n_images"] == (parts != LOCAL).sum()
    local = kept[parts == LOCAL]
    at_least = (local[SCORE] >= found["threshold_refitted"])[local["y_true"] == "malignant"].mean()
    assert 0.9 <= at_least < 0.93  # the highest threshold that finds 90 % of the local cancers
    with pytest.raises(ConfigurationError, match="recalibrate=399"):
        local_cases(kept, 399)
