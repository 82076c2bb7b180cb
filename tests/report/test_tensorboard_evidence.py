"""What TensorBoard shows of the test parts, read back from its event files and compared with scikit-learn."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from event_files import events, images, values
from made_up_run import PHANTOM, write_run_file, write_training
from made_up_run import RUN as MADE_UP
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score
from tensorboard.plugins.hparams import api_pb2, metadata

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.evaluation.predictions import predictions_table
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.report import tensorboard
from mmdc_tf.report.figures import examples_figure
from mmdc_tf.report.tensorboard import TAGS, TRAININGS, write_test_evidence

RESEARCH = "Research use only, not a medical device."
CLASSES = ("benign", "cancer", "normal")
COLUMNS = [f"p_{name}" for name in CLASSES]
SIZE, PER_FOLD = 16, 30
TRAINING = {"image_size": SIZE, "epochs": 4, "batch_size": 8, "learning_rate": 1e-4, "learning_rate_random": 5e-4}
RUN = {**MADE_UP, "preprocessing": "plain", "training": TRAINING, "cut": "auto"}
NETWORK = Row("net", "Network", "here", model="mmdcnet", arguments={"backbone": "vgg16"})
PROBE = Row("probe", "Probe", "here", classifier="metadata_only")
TABLE = PaperTable("table2", "Table II", "mini-ddsm", "mammography", "phantom-mammogram", (NETWORK, PROBE))
INPUTS = {"net": ["image", "metadata"], "probe": ["metadata"]}
ALL = ["net/paper/tb", "net/leak-free/tb", "probe/paper/tb", "probe/leak-free/tb"]


@dataclass
class Made:
    """A run's folder written by hand, and the dataset that it was made from."""

    output: Path
    samples: pd.DataFrame
    said: list[str] = field(default_factory=list)
    drawn: dict[str, list[tuple]] = field(default_factory=dict)

    def watched(self, name: str, draw: Callable) -> Callable:
        """The same function, whose arguments are remembered."""
        calls = self.drawn.setdefault(name, [])
        return lambda *given: (calls.append(given), draw(*given))[1]

    def write(self, **options) -> list[str]:
        written = write_test_evidence(TABLE, self.output, self.samples, say=self.said.append, **options)
        return [str(path.relative_to(self.output / "table2")) for path in written]

    def folder(self, row: str, protocol: str = "leak-free") -> Path:
        return self.output / "table2" / row / protocol

    def shown(self, row: str, protocol: str = "leak-free") -> Path:
        return self.folder(row, protocol) / "tb"

    def predictions(self, row: str) -> pd.DataFrame:
        files = sorted(self.folder(row).glob("fold*/predictions.csv"))
        return pd.concat([pd.read_csv(path) for path in files], ignore_index=True)

    def accuracy(self, row: str) -> float:
        ((_, accuracy),) = values(self.shown(row), "test/accuracy (%)")
        return float(accuracy)

    def tags(self, row: str) -> set[str]:
        return set(events(self.shown(row)).Tags()["tensors"])


def make_run(folder: Path) -> Made:
    """Both rows, finished under both protocols; a picture has one grey level, which tells the sample."""
    names = [f"s{number:02}" for number in range(2 * PER_FOLD)]
    for number, name in enumerate(names):
        assert cv2.imwrite(str(folder / f"{name}.png"), np.full((SIZE, SIZE), 4 * number, np.uint8))
    samples = pd.DataFrame({"sample_id": names, "image_path": [str(folder / f"{name}.png") for name in names]})
    labels = np.random.default_rng(0).choice(CLASSES, len(names))
    made = Made(folder / "out", samples.assign(label=labels, patient_id="", group_id=names))
    for seed, row in enumerate(TABLE.rows):
        for protocol, fold in (("paper", 0), ("leak-free", 0), ("leak-free", 1)):
            place = made.folder(row.name, protocol) / f"fold{fold}-seed0"
            part = made.samples.iloc[fold * PER_FOLD : (fold + 1) * PER_FOLD]
            probabilities = np.random.default_rng([seed, fold]).dirichlet([0.7] * 3, len(part))
            config = {**RUN, "row_preprocessing": "plain", "image_size": SIZE, "layer_cut": None}
            predicted = predictions_table(part, probabilities, CLASSES, fold, 0)
            write_training(place, predicted, **config, arguments=row.arguments)
            (place / "model.json").write_text(json.dumps({"inputs": INPUTS[row.name]}))
    write_run_file(made.output / "table2", **RUN)
    return made


@pytest.fixture
def made(tmp_path) -> Made:
    return make_run(tmp_path)


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> Made:
    """The same, shown in TensorBoard, and only looked at; ``drawn`` has the arguments of each figure."""
    run = make_run(tmp_path_factory.mktemp("seen"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("confusion_figure", "examples_figure"):
            patch.setattr(tensorboard, name, run.watched(name, getattr(tensorboard, name)))
        assert run.write() == ALL
    return run


def trial(folder: Path) -> tuple[str, dict, int]:
    """Name, settings and end of a trial, as the HParams page reads them."""
    contents = events(folder).PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(contents["_hparams_/session_start_info"])
    end = metadata.parse_session_end_info_plugin_data(contents["_hparams_/session_end_info"])
    settings = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    return start.group_name, settings, end.status


def test_every_row_and_protocol_is_a_trial_with_its_settings_and_metrics_as_columns(seen):
    common = {"dataset": f"phantom-mammogram ({PHANTOM})", "preprocessing": "plain", "takes age and density": True}
    name, settings, end = trial(seen.shown("net"))
    assert (name, end) == ("net leak-free", api_pb2.STATUS_SUCCESS)
    assert settings == {
        **common,
        "row": "net",
        "protocol": "leak-free",
        "method": "mmdcnet",
        "image size (pixels)": SIZE,
        "backbone": "vgg16",
        "weights": "random",
        "frozen up to": "nothing",
        "learning rate (highest)": 5e-4,
        "batch size": 8,
        "epochs (at most)": 4,
    }
    name, probe, _ = trial(seen.shown("probe", "paper"))
    assert name == "probe paper"
    assert probe == {**common, "row": "probe", "protocol": "paper", "method": "metadata_only"}
    # not the curves of each fold, which are in the same run
    content = events(seen.shown("net")).PluginTagToContent("hparams")["_hparams_/experiment"]
    experiment = metadata.parse_experiment_plugin_data(content)
    assert {info.name.tag for info in experiment.metric_infos} == set(TAGS.values())
    assert {info.name for info in experiment.hparam_infos} == set(settings)


def test_metrics_are_the_mean_over_folds_of_scikit_learns(seen):
    scores = {tag: [] for tag in TAGS.values()}
    for _, fold in seen.predictions("net").groupby("fold"):
        truth, guess = fold["y_true"], fold["y_pred"]
        macro = {"average": "macro", "zero_division": 0.0}
        scores["test/accuracy (%)"].append(100 * accuracy_score(truth, guess))
        scores["test/macro precision (%)"].append(100 * precision_score(truth, guess, **macro))
        scores["test/macro recall (%)"].append(100 * recall_score(truth, guess, **macro))
        scores["test/macro F1 (%)"].append(100 * f1_score(truth, guess, **macro))
        probabilities = fold[COLUMNS].to_numpy()
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        scores["test/macro AUC (0 to 1)"].append(roc_auc_score(truth, probabilities, multi_class="ovr", labels=CLASSES))
    scores[TRAININGS] = [2.0]
    for tag, by_fold in scores.items():
        ((step, value),) = values(seen.shown("net"), tag)
        assert (step, float(value)) == (0, pytest.approx(np.mean(by_fold), abs=1e-4)), tag


def test_curves_are_scikit_learns_precision_and_recall_at_each_threshold(seen):
    pooled = seen.predictions("net")
    for name in CLASSES:
        ((_, curve),) = values(seen.shown("net"), f"test/{name}/pr_curves")
        truth = pooled["y_true"] == name
        for threshold in range(0, 200, 9):
            claimed = pooled[f"p_{name}"] >= threshold / 200
            assert curve[4, threshold] == pytest.approx(precision_score(truth, claimed, zero_division=0.0), abs=1e-6)
            assert curve[5, threshold] == pytest.approx(recall_score(truth, claimed), abs=1e-6)


def test_the_confusion_matrix_is_of_all_test_predictions(seen):
    predictions, title = seen.drawn["confusion_figure"][1]
    names = ["sample_id", "y_true", "y_pred"]
    assert predictions[names].to_numpy().tolist() == seen.predictions("net")[names].to_numpy().tolist()
    text = " ".join(title.split())
    assert text == f"Network, leak-free, 2 trainings: 60 test predictions. {PHANTOM}. {RESEARCH}"
    ((_, picture),) = images(seen.shown("net"), "test/confusion matrix")
    assert min(picture.shape[:2]) > 200 and picture.std() > 10


def test_examples_are_the_surest_errors_and_right_answers_as_the_network_saw_them(seen):
    drawn = seen.drawn["examples_figure"]
    assert len(drawn) == 2 and "test/examples" not in seen.tags("probe")  # which takes no image
    examples, shown, _, caption = drawn[1]
    pooled = seen.predictions("net")
    pooled["sure"] = pooled[COLUMNS].max(axis=1)
    is_right = pooled["y_true"] == pooled["y_pred"]
    expected = [part.nlargest(4, "sure")["sample_id"].tolist() for part in (pooled[~is_right], pooled[is_right])]
    assert examples["sample_id"].tolist() == expected[0] + expected[1]
    assert [int(image.mean()) for image in shown] == [4 * int(name[1:]) for name in examples["sample_id"]]
    assert caption.endswith(f"{PHANTOM}. {RESEARCH}")
    texts = [axes.get_title(loc="left") for axes in examples_figure(examples, shown, "", "").axes]
    first = pooled.set_index("sample_id").loc[expected[0][0]]
    assert texts[0] == f"{first.name}\nwrong: {first['y_pred']} {first['sure']:.2f}\ntruth: {first['y_true']}"
    assert [("wrong" in text, "right" in text) for text in texts] == [(True, False)] * 4 + [(False, True)] * 4


def test_the_page_says_what_it_was_made_from(seen):
    ((_, text),) = values(seen.shown("net"), "about")
    written = tf.compat.as_text(np.ravel(text)[0])
    for fact in ("Network, leak-free, 2 trainings", PHANTOM, RESEARCH, "16 pixels"):
        assert fact in written


def test_nothing_is_written_again_and_nothing_old_stays(made):
    made.write()
    before = {path: path.stat().st_mtime_ns for path in made.output.rglob("*") if path.is_file()}
    assert made.write() == []
    assert {path: path.stat().st_mtime_ns for path in made.output.rglob("*") if path.is_file()} == before
    path = made.folder("net") / "fold0-seed0" / "predictions.csv"
    table = pd.read_csv(path)
    table.assign(y_pred=table["y_true"]).to_csv(path, index=False)  # all right now
    assert made.write() == ["net/leak-free/tb"]
    assert len(list(made.shown("net").glob("events*"))) == 1
    second = made.predictions("net").query("fold == 1")
    expected = 50 + 50 * accuracy_score(second["y_true"], second["y_pred"])
    assert made.accuracy("net") == pytest.approx(expected, abs=1e-4)


def test_a_row_that_is_not_finished_waits_or_is_shown_from_what_there_is(made):
    status = made.folder("net") / "fold1-seed0" / "status.json"
    status.write_text(json.dumps({"status": "failed", "error": "no", "seconds": 1.0}))
    assert "net/leak-free/tb" not in made.write()
    assert made.write(unfinished=True) == ["net/leak-free/tb"]
    ((_, count),) = values(made.shown("net"), TRAININGS)
    first = made.predictions("net").query("fold == 0")
    assert count == 1
    assert made.accuracy("net") == pytest.approx(100 * accuracy_score(first["y_true"], first["y_pred"]), abs=1e-4)
    assert trial(made.shown("net"))[2] == api_pb2.STATUS_FAILURE


def test_an_image_that_is_gone_costs_its_picture_only_and_is_tried_again_at_the_end(made):
    paths = made.samples["image_path"]
    made.samples = made.samples.assign(image_path=paths + ".gone")
    assert made.write() == ALL[2:]
    assert len(made.said) == 2 and ".png.gone" in made.said[0]
    assert "TensorBoard does not show all of net, paper: UnreadableImageError" in made.said[0]
    assert {"test/accuracy (%)", "test/cancer/pr_curves", "test/confusion matrix"} <= made.tags("net")
    made.samples = made.samples.assign(image_path=paths)
    assert made.write() == []
    assert made.write(unfinished=True) == ALL[:2]
    assert "test/examples" in made.tags("net")


def test_a_folder_without_a_run_gives_nothing(tmp_path):
    assert write_test_evidence(TABLE, tmp_path, pd.DataFrame({"sample_id": [], "image_path": []})) == []
