"""``mmdc-tf evaluate`` from end to end: models of one row on a data set that they were not made from."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from command_line import ended
from served_model import write_model

import mmdc_tf
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import RESEARCH_USE

CARD = {"class_names": ["benign", "malignant", "normal"], "positive_class": "malignant", "modality": "ultrasound"}


@pytest.fixture
def row(tiny_backbone, tmp_path):
    """The folder of a row with the models of two folds."""
    folder = tmp_path / "run" / "table1" / "bcdnet" / "leak-free"
    for fold in (0, 1):
        write_model(folder / f"fold{fold}-seed0", "bcdnet", card=CARD, backbone=tiny_backbone)
    return folder


def test_each_model_their_mean_and_the_ensemble(row, busi, capsys):
    code, out, _ = ended(capsys, "evaluate", "--model", row, "--dataset", "busi", "--root", busi)
    assert code == 0
    assert "18 images; not searched for copies" in out and RESEARCH_USE in out
    scores = pd.read_csv(row / "external-busi.csv").set_index("model")
    together = ["mean of the models' scores", "mean of their probabilities"]
    assert list(scores.index) == ["fold0-seed0", "fold1-seed0", *together]
    # the two models are the same, and so are all four lines
    np.testing.assert_allclose(scores["accuracy"], scores["accuracy"].iloc[0])
    np.testing.assert_allclose(scores["auc_ci_low"], scores["auc_ci_low"].iloc[0], atol=1e-6)
    one = pd.read_csv(row / "external-busi-predictions.csv").query("model == 'fold0-seed0'").set_index("sample_id")
    predictor = mmdc_tf.load_predictor(row / "fold0-seed0")
    expected = predictor.predict([busi / "benign" / "benign (1).png"])[0]
    found = one.loc["benign/benign (1)", ["p_benign", "p_malignant", "p_normal"]]
    np.testing.assert_allclose(found.astype(float), list(expected.probabilities.values()), atol=1e-4)
    called = one["p_malignant"] >= 0.3
    truth = one["y_true"] == "malignant"
    assert scores.loc["fold0-seed0", "sensitivity"] == pytest.approx((called & truth).sum() / truth.sum(), abs=1e-6)


def test_heatmaps_are_scored_against_masks(row, busi, tmp_path, capsys):
    """One lesion that fills its image and one that is its upper left quarter: each map hits the first."""
    for number, lesion in ((1, np.s_[:, :]), (2, np.s_[:12, :12])):
        mask = np.zeros(cv2.imread(str(busi / "benign" / f"benign ({number}).png")).shape[:2], np.uint8)
        mask[lesion] = 255
        cv2.imwrite(str(busi / "benign" / f"benign ({number})_mask.png"), mask)
    _, out, _ = ended(capsys, "evaluate", "--model", row, "--dataset", "busi", "--root", busi, "--output", tmp_path)
    scores = pd.read_csv(tmp_path / "external-busi.csv").set_index("model")
    first, mean = scores.loc["fold0-seed0"], scores.loc["mean of the models' scores"]
    assert first["heat_images"] == 2 and first["heat_hits"] in (0.5, 1.0) and first["heat_middle"] == 0.5
    assert first["heat_area"] == pytest.approx((1 + 12 * 12 / mask.size) / 2, abs=0.02)
    assert 0.5 <= first["heat_inside"] <= 1 and mean["heat_hits"] == first["heat_hits"]
    assert "fold1-seed0: Of 2 images with an outlined lesion, " in out


def test_copies_of_the_training_data_are_left_out(row, busi, tmp_path, capsys):
    own = tmp_path / "own"
    for name in ("benign", "malignant", "normal"):
        (own / name).mkdir(parents=True)
        for number in (1, 2):
            shutil.copy(busi / name / f"{name} ({number}).png", own / name)
    run = '{"synthetic": false, "dataset": "busi"}'
    (row.parents[1] / "run.json").write_text(run, encoding="utf-8")
    options = ["--dataset", "busi", "--root", busi, "--training-root", own, "--output", tmp_path / "out"]
    code, out, _ = ended(capsys, "evaluate", "--model", row / "fold0-seed0", *options)
    assert code == 0
    assert "12 images; 6 images left out that look like one of the model's own data" in out
    assert pd.read_csv(tmp_path / "out" / "external-busi.csv")["n_images"].tolist() == [12]
    code, _, err = ended(capsys, "evaluate", "--model", row, *options[:4], "--training-root", busi)
    assert code == 2 and "Expected a data set that the model was not made from" in err


def test_the_report_and_the_cards_say_it(row, busi, tmp_path, capsys):
    card = row / "fold0-seed0" / "model_card.md"
    limit = "- Tested on images of the dataset that it was trained on: there is no external validation."
    card.write_text(f"# Model card\n\n## Limits\n\n{limit}\n", encoding="utf-8")
    for _ in range(2):  # a second time replaces the first
        assert ended(capsys, "evaluate", "--model", row, "--dataset", "busi", "--root", busi)[0] == 0
    text = card.read_text(encoding="utf-8")
    assert limit not in text and text.count("# External validation on BUSI") == 1
    assert "- External validation: see the end of this card." in text


def test_two_models_are_compared_on_the_same_external_images(busi, tmp_path, capsys, tiny_backbone):
    folder = write_model(tmp_path / "one", "backbone_classifier", card=CARD, backbone=tiny_backbone)
    assert ended(capsys, "evaluate", "--model", folder, "--dataset", "busi", "--root", busi)[0] == 0
    file, other = folder / "external-busi-predictions.csv", tmp_path / "always-right.csv"
    predictions = pd.read_csv(file)
    predictions.assign(y_pred=predictions["y_true"]).to_csv(other, index=False)
    right = (predictions["y_true"] == predictions["y_pred"]).mean()
    code, out, _ = ended(capsys, "compare", other, "--baseline", file)
    assert code == 0 and f"{100 * (1 - right):+.2f} (" in out
    assert "Under external validation: 18 samples, 18 groups" in out
    for path in (file, other):  # as a training's own predictions are, which were never external
        pd.read_csv(path).drop(columns="model").to_csv(path, index=False)
    assert "Under the same test images: 18 samples" in ended(capsys, "compare", other, "--baseline", file)[1]
