"""A table's lines from hand-made predictions files, and what each fold's state makes of them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_run import write_training

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments import results
from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import PaperTable, load_table

COLUMNS = (
    "row,label,citation,protocol,status,accuracy,accuracy_std,accuracy_ci_low,accuracy_ci_high,precision,recall,f1,"
    "paper_accuracy,paper_precision,paper_recall,paper_f1,n_samples,n_groups,folds,seconds,"
    "threshold_precision,threshold_recall,image_size,preprocessing,"
    "precision_ci_low,precision_ci_high,recall_ci_low,recall_ci_high,f1_ci_low,f1_ci_high,"
    "balanced_accuracy,balanced_accuracy_ci_low,balanced_accuracy_ci_high,auc,auc_ci_low,auc_ci_high,"
    "kappa,kappa_ci_low,kappa_ci_high,brier,brier_ci_low,brier_ci_high,ece,ece_ci_low,ece_ci_high,"
    "leak_worth,leak_worth_ci_low,leak_worth_ci_high,layer_cut"
)
FED = {"image_size": 64, "row_preprocessing": "ultrasound"}
OK = {"status": "ok", "epochs": 4, "seconds": 2.25}


@pytest.fixture
def table() -> PaperTable:
    """Two rows, of which the first is never run."""
    table = load_table("table1")
    return replace(table, rows=tuple(row for row in table.rows if row.name in ("moon_densenet121", "bcdnet_gamma")))


def write_fold(
    folder: Path, fold: int, truth: str, guess: str, seed: int = 0, status: dict | None = OK, groups: int = 1
) -> None:
    """A fold of two, one class a letter; the samples of a fold are one group, or so many."""
    sure = ["0.75,0.25" if one == "a" else "0.25,0.75" for one in guess]
    lines = [
        f"s{fold}{i},,g{fold}{i * groups // len(truth)},{fold},{seed},{t},{g},{p}"
        for i, (t, g, p) in enumerate(zip(truth, guess, sure, strict=True))
    ]
    text = "\n".join(["sample_id,patient_id,group_id,fold,seed,y_true,y_pred,p_a,p_b", *lines]) + "\n"
    place = folder / "bcdnet_gamma" / "leak-free" / f"fold{fold}-seed{seed}"
    write_training(place, text, status or {}, **FED)
    if status is None:
        (place / "status.json").unlink()


def leak_free(table: PaperTable, folder: Path):
    return table_results(table, folder).set_index(["row", "protocol"]).loc[("bcdnet_gamma", "leak-free")]


def test_the_columns_are_the_promised_ones_in_order(table, tmp_path):
    assert ",".join(table_results(table, tmp_path).columns) == COLUMNS


def test_one_line_a_row_and_protocol_in_the_papers_order(tmp_path):
    table = load_table("table2")
    results = table_results(table, tmp_path / "nowhere")
    expected = [(row.name, protocol) for row in table.rows if not row.extra for protocol in ("paper", "leak-free")]
    assert list(zip(results["row"], results["protocol"], strict=True)) == expected
    assert set(results["status"]) == {"not run"}


def test_a_row_that_did_not_run_shows_the_published_numbers(table, tmp_path):
    line = table_results(table, tmp_path).iloc[0]
    assert (line["row"], line["status"]) == ("moon_densenet121", "not run")
    published = line[["paper_accuracy", "paper_precision", "paper_recall", "paper_f1"]].tolist()
    assert published == [88.46, 77.50, 83.78, 80.52]
    assert line[["accuracy", "accuracy_std", "f1", "n_samples", "seconds"]].isna().all()


def test_means_deviation_and_interval_worked_by_hand(table, tmp_path):
    """Fold 0: precision (2/3 + 1)/2, recall 3/4, F1 (4/5 + 2/3)/2. Fold 1: all one half.

    Fold 0 has two groups, right in 2 of 2 and 1 of 2, of which one is drawn. Fold 1 is one group: always 1/2. The mean
    is then 1/2 or 3/4.
    """
    write_fold(tmp_path, 0, "aabb", "aaba", groups=2)
    write_fold(tmp_path, 1, "aabb", "abba")
    line = leak_free(table, tmp_path)
    assert line["status"] == "ok"
    assert line["accuracy"] == pytest.approx((75 + 50) / 2)
    assert line["accuracy_std"] == pytest.approx(25 / np.sqrt(2))
    assert (line["accuracy_ci_low"], line["accuracy_ci_high"]) == pytest.approx((50, 75))
    assert line["precision"] == pytest.approx((100 * 5 / 6 + 50) / 2)
    assert line["recall"] == pytest.approx((75 + 50) / 2)
    assert line["f1"] == pytest.approx((100 * 11 / 15 + 50) / 2)
    assert (line["n_samples"], line["n_groups"], line["folds"], line["seconds"]) == (8, 3, 2, 4.5)
    assert line[["paper_accuracy", "paper_f1"]].tolist() == [92.56, 91.79]


def test_balanced_accuracy_is_a_percentage_and_the_other_new_numbers_are_plain(table, tmp_path):
    """Fold 0: kappa (3/4 − 1/2) / (1/2). Fold 1: kappa 0, AUC 1/2.

    Fold 0, p_a of a: 3/4, 3/4, of b: 1/4, 3/4: of four pairs two are won and two tied, AUC 3/4. A right guess has the
    squared error 2 · (1/4)², a wrong one 2 · (3/4)². All top probabilities are 3/4: the gap is |3/4 − accuracy|.

    One of the two groups of fold 0 is drawn: ab right, or ab taken for aa, with AUC and kappa 1 and 1, or 1/2 and 0.
    """
    write_fold(tmp_path, 0, "abab", "abaa", groups=2)
    write_fold(tmp_path, 1, "aabb", "abba")
    line = leak_free(table, tmp_path)
    assert line["balanced_accuracy"] == pytest.approx((75 + 50) / 2)
    assert line["auc"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert line["kappa"] == pytest.approx((1 / 2 + 0) / 2)
    assert line["brier"] == pytest.approx(((3 / 8 + 9 / 8) / 4 + (2 / 8 + 18 / 8) / 4) / 2)
    assert line["ece"] == pytest.approx((0 + 1 / 4) / 2)
    for name in ("balanced_accuracy", "auc", "kappa", "brier", "ece"):
        assert line[f"{name}_ci_low"] <= line[name] <= line[f"{name}_ci_high"], name
    assert (line["balanced_accuracy_ci_low"], line["balanced_accuracy_ci_high"]) == pytest.approx((50, 75))
    assert (line["auc_ci_low"], line["auc_ci_high"]) == pytest.approx((1 / 2, 3 / 4))
    assert (line["kappa_ci_low"], line["kappa_ci_high"]) == pytest.approx((0, 1 / 2))


def test_a_table_is_scored_again_only_where_a_predictions_file_has_changed(table, tmp_path, monkeypatch):
    for fold in (0, 1):
        write_fold(tmp_path, fold, "aabb", "aaba")
    assert leak_free(table, tmp_path)["accuracy"] == 75
    with monkeypatch.context() as patch:
        patch.setattr(results, "metric_intervals", lambda *_, **__: pytest.fail("scored again"))
        assert leak_free(table, tmp_path)["accuracy"] == 75
    path = tmp_path / "bcdnet_gamma/leak-free/fold1-seed0/predictions.csv"
    path.write_text(path.read_text().replace("b,a,0.75,0.25", "b,b,0.25,0.75"))
    os.utime(path, ns=(1, 1))  # a new time, however coarse the clock of the file system
    assert leak_free(table, tmp_path)["accuracy"] == (75 + 100) / 2


def test_seeds_count_as_folds_do(table, tmp_path):
    """Four trainings: accuracies 100, 50, 50, 100; each sample is one sample, whatever the number of seeds."""
    for fold, seed, guess in ((0, 0, "ab"), (1, 0, "aa"), (0, 1, "aa"), (1, 1, "ab")):
        write_fold(tmp_path, fold, "ab", guess, seed)
    line = leak_free(table, tmp_path)
    assert (line["status"], line["accuracy"]) == ("ok", 75)
    assert line["accuracy_std"] == pytest.approx(np.std([100, 50, 50, 100], ddof=1))
    assert (line["n_samples"], line["folds"], line["seconds"]) == (4, 2, 9.0)
    (tmp_path / "bcdnet_gamma/leak-free/fold1-seed1/predictions.csv").unlink()
    assert leak_free(table, tmp_path)["status"] == "incomplete: 3 of 4 folds"


def test_a_single_split_has_no_deviation(table, tmp_path):
    write_fold(tmp_path, 0, "aabb", "aaba")
    folder = tmp_path / "bcdnet_gamma"
    (folder / "leak-free").rename(folder / "paper")
    config = {"protocol": "paper", "folds": 5, "fold": 0, "training_seed": 0, **FED}
    (folder / "paper/fold0-seed0/config.json").write_text(json.dumps(config))
    line = table_results(table, tmp_path).set_index(["row", "protocol"]).loc[("bcdnet_gamma", "paper")]
    assert (line["status"], line["accuracy"], line["folds"]) == ("ok", 75, 1)
    assert np.isnan(line["accuracy_std"])


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (None, "incomplete: 1 of 2 folds"),
        ({"status": "running"}, "incomplete: 1 of 2 folds"),
        ({"status": "failed", "error": "ValueError: no", "seconds": 1.0}, "failed: ValueError: no"),
    ],
)
def test_an_unfinished_row_says_how_far_it_is_and_has_no_numbers(table, tmp_path, second, expected):
    write_fold(tmp_path, 0, "aabb", "aaba")
    write_fold(tmp_path, 1, "aabb", "aaba", status=second)
    line = leak_free(table, tmp_path)
    assert line["status"] == expected
    assert table_results(table, tmp_path)["status"].tolist() == ["not run", "not run", "not run", expected]
    assert line[["accuracy", "accuracy_ci_low", "f1", "n_samples", "folds"]].isna().all()


def test_a_broken_status_file_is_named(table, tmp_path):
    write_fold(tmp_path, 0, "ab", "ab")
    path = tmp_path / "bcdnet_gamma/leak-free/fold0-seed0/status.json"
    path.write_text("{")
    with pytest.raises(ConfigurationError, match=r"Received: .*fold0-seed0/status\.json"):
        table_results(table, tmp_path)
