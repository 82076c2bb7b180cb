"""Breasts and patients from images, on hand-made predictions and on Mini-DDSM's real table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from mmdc_tf.datasets.mini_ddsm import list_mini_ddsm
from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.levels import combine_views, level_results
from mmdc_tf.evaluation.predictions import KEYS

CLASSES = ("benign", "cancer", "normal")
COLUMNS = [*KEYS, "p_benign", "p_cancer", "p_normal"]


def image(sample, patient, truth, probabilities, fold=0, seed=0):
    guess = CLASSES[int(np.argmax(probabilities))]
    return [sample, patient, patient or sample, fold, seed, truth, guess, *probabilities]


def table(*images):
    return pd.DataFrame(list(images), columns=COLUMNS)


def sides_of(predictions, **sides):
    """``samples`` of the scored images: LEFT for each that ``sides`` does not name."""
    names = predictions["sample_id"].drop_duplicates()
    return pd.DataFrame({"sample_id": names, "side": [sides.get(name, "LEFT") for name in names]})


def two_breasts():
    """Of patient P: the views of her left breast disagree and together say cancer; her right one is benign."""
    return table(
        image("lc", "P", "cancer", (0.5, 0.4, 0.1)),
        image("lm", "P", "cancer", (0.1, 0.8, 0.1)),
        image("rc", "P", "cancer", (0.7, 0.2, 0.1)),
        image("rm", "P", "cancer", (0.9, 0.0, 0.1)),
    )


def test_breasts_are_the_mean_of_their_views():
    predictions = two_breasts()
    samples = sides_of(predictions, rc="RIGHT", rm="RIGHT")
    pd.testing.assert_frame_equal(combine_views(predictions, samples, "image").predictions, predictions)
    combined = combine_views(predictions, samples, "breast")
    expected = table(
        ["P/LEFT", "P", "P", 0, 0, "cancer", "cancer", 0.3, 0.6, 0.1],
        ["P/RIGHT", "P", "P", 0, 0, "cancer", "benign", 0.8, 0.1, 0.1],
    )
    pd.testing.assert_frame_equal(combined.predictions, expected)
    assert (combined.unplaced, combined.undecided) == (0, 0)


def test_a_patient_is_the_mean_of_her_images_whatever_their_breast():
    """(0.5 + 0.1 + 0.7) / 3 = 0.433 for benign: each image counts the same, not each breast one half."""
    predictions = two_breasts().iloc[:3]
    samples = sides_of(predictions, rc="RIGHT")
    (line,) = combine_views(predictions, samples, "patient").predictions.to_dict("records")
    assert (line["sample_id"], line["group_id"], line["y_true"], line["y_pred"]) == ("P", "P", "cancer", "cancer")
    assert [line["p_benign"], line["p_cancer"], line["p_normal"]] == pytest.approx([1.3 / 3, 1.4 / 3, 0.1])


def test_folds_and_seeds_are_never_mixed():
    predictions = table(
        image("a", "P", "benign", (1.0, 0.0, 0.0), seed=0),
        image("a", "P", "benign", (0.0, 1.0, 0.0), seed=1),
        image("b", "Q", "normal", (0.0, 0.0, 1.0), fold=1),
    )
    units = combine_views(predictions, sides_of(predictions), "patient").predictions
    assert units[["sample_id", "fold", "seed", "y_pred"]].to_numpy().tolist() == [
        ["P", 0, 0, "benign"],
        ["P", 0, 1, "cancer"],
        ["Q", 1, 0, "normal"],
    ]


@pytest.mark.parametrize(
    ("labels", "truth"),
    [
        (("normal", "benign"), "benign"),
        (("cancer", "benign", "normal"), "cancer"),
        (("normal", "normal"), "normal"),
        (("Malignant", "benign"), "Malignant"),
    ],
)
def test_the_most_severe_label_is_the_truth(labels, truth):
    predictions = table(*(image(str(i), "P", label, (0.5, 0.3, 0.2)) for i, label in enumerate(labels)))
    combined = combine_views(predictions, sides_of(predictions), "patient")
    assert combined.predictions["y_true"].tolist() == [truth]
    assert combined.undecided == 0


@pytest.mark.parametrize("labels", [("benign", "cyst"), ("cyst", "scar"), ("cancer", "malignant", "normal")])
def test_a_unit_whose_labels_have_no_known_order_is_left_out_and_counted(labels):
    conflict = (image(str(i), "P", label, (0.5, 0.3, 0.2)) for i, label in enumerate(labels))
    predictions = table(*conflict, image("q", "Q", "cyst", (0.5, 0.3, 0.2)))
    combined = combine_views(predictions, sides_of(predictions), "patient")
    assert combined.predictions[["sample_id", "y_true"]].to_numpy().tolist() == [["Q", "cyst"]]
    assert combined.undecided == 1


def test_images_of_an_unknown_side_belong_to_no_breast_but_to_their_patient():
    predictions = two_breasts()
    samples = sides_of(predictions, rc="", rm="RIGHT")
    breasts = combine_views(predictions, samples, "breast")
    assert (breasts.predictions["sample_id"].tolist(), breasts.unplaced) == (["P/LEFT", "P/RIGHT"], 1)
    assert breasts.predictions["p_benign"].tolist() == pytest.approx([0.3, 0.9])
    assert combine_views(predictions, samples, "patient").unplaced == 0


def test_without_patients_there_is_no_unit():
    predictions = table(image("a", "", "benign", (1.0, 0.0, 0.0)), image("b", "", "normal", (0.0, 0.0, 1.0)))
    combined = combine_views(predictions, sides_of(predictions), "patient")
    assert (len(combined.predictions), combined.unplaced) == (0, 2)
    assert list(combined.predictions.columns) == COLUMNS
    assert level_results(predictions, sides_of(predictions))["level"].tolist() == ["image"]


def test_bad_input_is_named():
    predictions = two_breasts()
    with pytest.raises(InputError, match=r"image, breast, patient\. Received: level='lesion'"):
        combine_views(predictions, sides_of(predictions), "lesion")
    with pytest.raises(InputError, match="Received: sample_id='rm'"):
        combine_views(predictions, sides_of(predictions).iloc[:3], "breast")


def random_predictions(dataset_table, folds=3, seed=0):
    """Guesses that lean to the truth, patients spread over folds."""
    rng = np.random.default_rng(seed)
    truth = dataset_table["label"].to_numpy()
    raw = rng.random((len(truth), 3)) + 0.5 * (truth[:, None] == np.array(CLASSES))
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    _, patients = np.unique(dataset_table["patient_id"], return_inverse=True)
    predictions = dataset_table[["sample_id", "patient_id", "group_id"]].assign(fold=patients % folds, seed=0)
    predictions = predictions.assign(y_true=truth, y_pred=np.array(CLASSES)[probabilities.argmax(axis=1)])
    return predictions.assign(**{f"p_{name}": probabilities[:, i] for i, name in enumerate(CLASSES)})


@pytest.fixture(scope="module")
def real_table(real_data):
    return list_mini_ddsm(real_data / "mini-ddsm").table


def test_the_real_table_gives_3904_breasts_and_1952_patients(real_table):
    predictions = random_predictions(real_table)
    for level, count, views in (("breast", 3904, 2), ("patient", 1952, 4)):
        combined = combine_views(predictions, real_table, level)
        assert (len(combined.predictions), combined.unplaced, combined.undecided) == (count, 0, 0)
        probabilities = combined.predictions[["p_benign", "p_cancer", "p_normal"]]
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
        assert probabilities["p_cancer"].sum() == pytest.approx(predictions["p_cancer"].sum() / views)


def test_level_results_against_scikit_learn(real_table):
    """Patients by a plain loop; each number is the mean over folds of scikit-learn's."""
    part = real_table[real_table["patient_id"].isin(real_table["patient_id"].unique()[::20])]
    predictions = random_predictions(part)
    folds = []
    for _, fold in predictions.groupby("fold"):
        patients = [group for _, group in fold.groupby("patient_id")]
        truth = np.array([group["y_true"].iloc[0] for group in patients])
        means = np.array([group[["p_benign", "p_cancer", "p_normal"]].mean() for group in patients])
        guess = np.array(CLASSES)[means.argmax(axis=1)]
        folds.append(
            {
                "accuracy": accuracy_score(truth, guess),
                "balanced_accuracy": balanced_accuracy_score(truth, guess),
                "f1": f1_score(truth, guess, average="macro"),
                "auc": roc_auc_score(truth, means, multi_class="ovr", labels=list(CLASSES)),
            }
        )
    line = level_results(predictions, part).set_index("level").loc["patient"]
    expected = pd.DataFrame(folds)
    for name in expected:
        assert line[name] == pytest.approx(expected[name].mean())
        assert line[f"{name}_ci_low"] < line[name] < line[f"{name}_ci_high"]
    assert line["accuracy_std"] == pytest.approx(np.std(expected["accuracy"], ddof=1))
    assert (line["n_units"], line["n_groups"]) == (98, 98)
