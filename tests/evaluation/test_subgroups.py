"""Results by subgroup, on hand-made predictions and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from clustered import clustered
from sklearn.metrics import f1_score, roc_auc_score

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.subgroups import subgroup_results

CLASSES = ("benign", "cancer", "normal")


def predictions_of(truth, guess, groups=None, folds=0, seeds=0):
    """One sample a letter of ``truth`` (b, c, n), named s0, s1 …; the guess has probability 0.8."""
    names = {name[0]: name for name in CLASSES}
    truth, guess = ([names[letter] for letter in text] for text in (truth, guess))
    table = pd.DataFrame({"sample_id": [f"s{i}" for i in range(len(truth))], "patient_id": ""})
    table = table.assign(group_id=groups or table["sample_id"], fold=folds, seed=seeds, y_true=truth, y_pred=guess)
    return table.assign(**{f"p_{name}": np.where(table["y_pred"] == name, 0.8, 0.1) for name in CLASSES})


def samples_of(predictions, **columns):
    unknown = {"age": np.nan, "density": np.nan, "view": "", "side": "", "digitizer": ""}
    names = predictions["sample_id"].drop_duplicates().reset_index(drop=True)
    return pd.DataFrame({"sample_id": names}).assign(**{**unknown, **columns})


def test_age_bands_hold_their_lower_limit_and_stand_in_order():
    ages = [np.nan, 39.9, 40, 49, 50, 59, 60, 69.5, 70, 95]
    predictions = predictions_of("bbbbbbbbbb", "bcbbbbbbbc")
    results = subgroup_results(predictions, samples_of(predictions, age=ages))
    assert results["value"].tolist() == ["<40", "40–49", "50–59", "60–69", "70+", "unknown"]
    assert results["n_images"].tolist() == [1, 2, 2, 2, 2, 1]
    assert results["accuracy"].tolist() == [0, 1, 1, 1, 0.5, 1]


def test_only_what_is_known_of_some_image_is_a_kind():
    predictions = predictions_of("bcn", "bcn")
    samples = samples_of(predictions, density=[4, np.nan, 1], view=["MLO", "CC", "CC"], digitizer=["D", "", "A"])
    results = subgroup_results(predictions, samples)
    assert list(zip(results["subgroup"], results["value"], strict=True)) == [
        ("density", "1"),
        ("density", "4"),
        ("density", "unknown"),
        ("view", "CC"),
        ("view", "MLO"),
        ("digitizer", "A"),
        ("digitizer", "D"),
        ("digitizer", "unknown"),
    ]
    assert subgroup_results(predictions, samples_of(predictions)).empty


def test_counts_accuracy_and_f1_worked_by_hand():
    """LEFT: b b b c against b b c c. F1 of b 2·2/(3+2), of c 2·1/(1+2); RIGHT: one n, taken for b."""
    predictions = predictions_of("bbbcn", "bbccb", groups=["P", "P", "Q", "Q", "R"])
    results = subgroup_results(predictions, samples_of(predictions, side=[*["LEFT"] * 4, "RIGHT"]))
    left, right = results.to_dict("records")
    assert (left["n_images"], left["n_groups"]) == (4, 2)
    assert (left["n_benign"], left["n_cancer"], left["n_normal"]) == (3, 1, 0)
    assert left["accuracy"] == 0.75
    assert left["f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert (right["n_images"], right["n_normal"], right["accuracy"]) == (1, 1, 0)
    assert np.isnan([right["accuracy_ci_low"], right["accuracy_ci_high"]]).all()  # of one group


def test_the_interval_draws_groups_of_all_folds_together():
    """Two groups, all right and half right, each alone in its fold: a draw is one of them, 1/2 or 1, so the limits are
    1/2 and 1; drawn within its fold neither would vary."""
    predictions = predictions_of("bbcc", "bbcb", groups=["P", "P", "Q", "Q"], folds=[0, 0, 1, 1])
    (line,) = subgroup_results(predictions, samples_of(predictions, view="CC")).to_dict("records")
    assert (line["accuracy"], line["accuracy_ci_low"], line["accuracy_ci_high"]) == (0.75, 0.5, 1)


@pytest.mark.parametrize(
    ("truth", "groups", "flags"),
    [
        ("b" * 5 + "c" * 5, 5, ""),
        ("b" * 5 + "c" * 4, 5, "few"),
        ("b" * 5 + "c" * 5, 4, "few"),
        ("b" * 10, 5, "one class only"),
        ("b" * 9, 5, "one class only; few"),
    ],
)
def test_flags(truth, groups, flags):
    predictions = predictions_of(truth, "b" * len(truth), groups=[f"g{i % groups}" for i in range(len(truth))])
    (line,) = subgroup_results(predictions, samples_of(predictions, view="CC")).to_dict("records")
    assert line["flags"] == flags
    assert np.isnan(line["f1"]) == np.isnan(line["auc"]) == ("one class" in flags)


def test_seeds_count_in_the_accuracy_and_not_in_the_counts():
    one, two = predictions_of("bc", "bc"), predictions_of("bc", "bb", seeds=1)
    predictions = pd.concat([one, two], ignore_index=True)
    (line,) = subgroup_results(predictions, samples_of(predictions, view="CC")).to_dict("records")
    assert (line["n_images"], line["n_groups"], line["n_cancer"], line["accuracy"]) == (2, 2, 1, 0.75)


def test_auc_is_the_mean_over_folds_and_f1_is_over_all_as_scikit_learn_gives_them():
    predictions = clustered(np.random.default_rng(1), folds=3, groups=20)
    samples = samples_of(predictions, density=np.arange(len(predictions)) % 2 + 1.0)
    results = subgroup_results(predictions, samples).set_index("value")
    for parity, value in enumerate(("1", "2")):
        part = predictions.iloc[parity::2]
        columns = ["p_benign", "p_cancer", "p_normal"]
        areas = [
            roc_auc_score(fold["y_true"], fold[columns], multi_class="ovr", labels=list(CLASSES))
            for _, fold in part.groupby("fold")
        ]
        assert results.loc[value, "auc"] == pytest.approx(np.mean(areas))
        assert results.loc[value, "f1"] == pytest.approx(f1_score(part["y_true"], part["y_pred"], average="macro"))


def test_a_fold_of_one_class_has_no_part_in_the_auc():
    predictions = predictions_of("bcbb", "bcbc", folds=[0, 0, 1, 1])
    (line,) = subgroup_results(predictions, samples_of(predictions, view="CC")).to_dict("records")
    assert line["auc"] == 1


def test_a_scored_image_that_no_table_lists_is_named():
    predictions = predictions_of("bc", "bc")
    with pytest.raises(InputError, match="Received: sample_id='s1'"):
        subgroup_results(predictions, samples_of(predictions).iloc[:1])
