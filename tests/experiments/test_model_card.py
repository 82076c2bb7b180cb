"""The model card: what it says is in the training's files, it renders, and its code loads the model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from sklearn.metrics import accuracy_score, classification_report, cohen_kappa_score
from small_run import TRAININGS, execute, folder_of, read

from mmdc_tf.commands.evaluate import NO_EXTERNAL
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.datasets.splits import Split
from mmdc_tf.errors import RESEARCH_USE
from mmdc_tf.experiments.run_folder import read_samples
from mmdc_tf.report.model_card import write_model_card, write_model_cards

SECTIONS = [
    "Model details",
    "Intended use",
    "Data",
    "Protocol",
    "Results on the test part",
    "By class",
    "By subgroup",
    "Failures",
    "Calibration and decision",
    "Inputs and output",
    "How to load it",
    "Limits",
]
EVIL = "be|<i>nign"


def card(plan, name: str) -> str:
    return (folder_of(plan, name) / "model_card.md").read_text(encoding="utf-8")


def again(plan, name: str) -> str:
    """The card made again from the files as they are now."""
    return write_model_card(folder_of(plan, name), read_samples(plan.folder)).read_text(encoding="utf-8")


def lines_of(text: str) -> list[list[str]]:
    """The names of all lines of all tables, as they show."""
    lines: list[list[str]] = []
    for token in MarkdownIt().enable("table").parse(text):
        if token.type == "tr_open":
            lines.append([])
        elif token.type == "inline" and token.level > 3 and lines:
            lines[-1].append("".join(child.content for child in token.children))
    return lines


def line_of(text: str, *starts: str) -> list[str]:
    """The one line of a table that starts so, without these names."""
    (found,) = [line for line in lines_of(text) if tuple(line[: len(starts)]) == starts]
    return found[len(starts) :]


def change(plan, training: str, name: str, **changes) -> None:
    path = folder_of(plan, training) / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("name", TRAININGS)
def test_every_model_has_a_card_that_can_be_made_again(copied, name):
    before = card(copied, name)
    (folder_of(copied, name) / "model_card.md").unlink()
    assert execute(copied) == (0, 0)
    write_model_cards(copied.folder)
    assert card(copied, name) == before
    headings = re.findall(r"^##+ (.*)$", before, re.MULTILINE)
    assert headings == SECTIONS
    assert f"**{RESEARCH_USE}**" in before
    assert f"**{NOTICE}. " in before
    assert "nan" not in re.findall(r"[a-z]+", before)
    assert "None" not in before
    assert str(Path(copied.output).parent) not in before
    split = Split.from_json((folder_of(copied, name) / "split.json").read_text())
    patients = copied.dataset.table.set_index("sample_id")["patient_id"]
    shared = patients.loc[list(split.test)].isin(patients.loc[list(split.train)]).sum()
    assert f"Of {len(split.test)} test images {shared} belong to a patient" in before
    assert ("**It leaks:**" in before) == name.startswith("paper") == (shared > 0)


def test_a_card_that_cannot_be_made_is_a_line_and_the_others_are(copied):
    for name in TRAININGS:
        (folder_of(copied, name) / "model_card.md").unlink()
    (folder_of(copied, TRAININGS[0]) / "split.json").unlink()
    said: list[str] = []
    write_model_cards(copied.folder, said.append)
    assert len(said) == 1 and f"no model card in {folder_of(copied, TRAININGS[0])}: FileNotFoundError" in said[0]
    assert card(copied, TRAININGS[1]) and card(copied, TRAININGS[2])


@pytest.mark.parametrize("name", TRAININGS)
def test_scores_are_those_of_the_predictions(run, name):
    predictions, text = read(run, name, "predictions.csv"), card(run, name)
    truth, guess = predictions["y_true"], predictions["y_pred"]
    report = classification_report(truth, guess, output_dict=True, zero_division=0.0)
    value, interval = line_of(text, "accuracy, %")
    assert value == f"{100 * accuracy_score(truth, guess):.1f}"
    low, high = map(float, re.fullmatch(r"\((.*) to (.*)\)", interval).groups())
    assert 0.0 <= low <= float(value) <= high <= 100.0
    assert line_of(text, "macro F1, %")[0] == f"{100 * report['macro avg']['f1-score']:.1f}"
    assert f"would be right in {100 * truth.value_counts().max() / len(truth):.1f} %." in text
    kappa = pytest.approx(cohen_kappa_score(truth, guess), abs=0.00051)  # a half may be rounded to either side
    assert float(line_of(text, "Cohen's kappa")[0]) == kappa
    for name in ("benign", "cancer", "normal"):
        images, precision, recall, f1 = line_of(text, name)
        assert images == str(int(report[name]["support"]))
        assert [precision, recall, f1] == [
            f"{100 * report[name][score]:.1f}" for score in ("precision", "recall", "f1-score")
        ]


@pytest.mark.parametrize("name", TRAININGS)
def test_the_parts_are_counted_by_class_and_group(run, name):
    split = Split.from_json((folder_of(run, name) / "split.json").read_text())
    table = run.dataset.table.set_index("sample_id")
    last = "validation and test (the same images)" if name.startswith("paper") else "test"
    for part_name, ids in (("training", split.train), (last, split.test)):
        part = table.loc[list(ids)]
        counts = [(part["label"] == label).sum() for label in ("benign", "cancer", "normal")]
        assert line_of(card(run, name), part_name) == [
            str(n) for n in (len(ids), part["patient_id"].nunique(), *counts)
        ]
    assert split.hash in card(run, name)


def test_subgroups_of_enough_images_are_listed_and_the_others_counted(copied):
    path = copied.folder / "samples.csv"
    samples = pd.read_csv(path).set_index("sample_id")
    split = Split.from_json((folder_of(copied, TRAININGS[1]) / "split.json").read_text())
    samples.loc[list(split.test), "age"] = 35.0
    samples.loc[list(split.test)[:5], "age"] = 71.0  # too few to say anything
    samples.assign(density=np.nan).reset_index().to_csv(path, index=False)
    text, predictions = again(copied, TRAININGS[1]), read(copied, TRAININGS[1], "predictions.csv")
    young = predictions[~predictions["sample_id"].isin(list(split.test)[:5])]
    images, _, accuracy, *_ = line_of(text, "Age in years", "<40")
    assert images == str(len(young))
    assert accuracy == f"{100 * (young['y_true'] == young['y_pred']).mean():.1f}"
    assert "70+" not in text
    assert "with fewer than 10 images or 5 patients: 1." in text
    assert "Not known in this dataset: Breast density (BI-RADS); Site" in text


@pytest.mark.parametrize("name", TRAININGS)
def test_calibration_and_decision_are_those_of_the_file(run, name):
    """Which test_scoring.py compares with the predictions."""
    content, text = read(run, name, "calibration.json"), card(run, name)
    test = content["test"]
    losses = [f"{test[when]['nll']:.3f}" for when in ("before", "after")]
    assert line_of(text, "negative log likelihood") == losses
    reached = test["at_threshold"]
    counted, sensitivity, specificity, *_ = line_of(text, "test part")
    assert counted == f"{reached['true_positives']} of {reached['true_positives'] + reached['false_negatives']}"
    assert (sensitivity, specificity) == tuple(f"{100 * reached[one]:.1f}" for one in ("sensitivity", "specificity"))
    assert f"Temperature {content['temperature']:.3f}" in text


def test_the_epoch_kept_is_the_first_of_the_best(copied):
    path = folder_of(copied, TRAININGS[1]) / "history.csv"
    history = pd.concat([pd.read_csv(path)] * 2, ignore_index=True)
    history.assign(epoch=[1, 2, 3, 4], val_accuracy=[0.25, 0.5, 0.5, 0.125]).to_csv(path, index=False)
    (line,) = line_of(again(copied, TRAININGS[1]), "epochs")
    assert line.startswith("4 of at most 2; ")
    assert line.endswith("kept: epoch 2, the first with the best val_accuracy (0.500)")


def code_of(text: str) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return code


def test_its_code_loads_the_model_and_predicts(run, tmp_path, monkeypatch, capsys):
    place = folder_of(run, TRAININGS[1])
    scan = tmp_path / "scan.png"
    assert cv2.imwrite(str(scan), np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8))
    monkeypatch.chdir(place)
    code = code_of(card(run, TRAININGS[1]))
    exec(code.replace("scan.png", str(scan)), {})
    printed = json.loads(capsys.readouterr().out.replace("'", '"'))
    assert list(printed) == ["benign", "cancer", "normal"]
    assert sum(printed.values()) == pytest.approx(1.0)
    assert "age=61, density=3" in code


def test_inputs_and_code_are_those_of_the_model(copied):
    change(copied, TRAININGS[1], "model.json", inputs=["image", "other_view"])
    text = again(copied, TRAININGS[1])
    assert 'predict("scan.png", other_view="other.png")' in code_of(text)
    assert "- `metadata`" not in text and "- `other_view`" in text
    steps = "grey, otsu, largest-contour, blank-outside, crop, clahe (clip_limit 2.0, tiles 8), resize, rgb."
    assert f"Its steps: {steps}" in text


def test_a_label_is_text_and_breaks_no_table(copied):
    place = folder_of(copied, TRAININGS[1])
    for path in (*place.glob("*.json"), *place.glob("*.csv"), copied.folder / "samples.csv"):
        path.write_text(re.sub(r"(?<![a-z])benign\b", EVIL, path.read_text(encoding="utf-8")), encoding="utf-8")
    text = again(copied, TRAININGS[1])
    assert len(line_of(text, EVIL)) == 4
    assert line_of(text, "part") == ["images", "groups", EVIL, "cancer", "normal"]
    kinds = {token.type for token in MarkdownIt().enable("table").parse(text)}
    assert "html_block" not in kinds
    assert "<i>" not in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "All weights started at random"),
        ({"weights": "imagenet"}, "ImageNet, for the backbone"),
        ({"weights": "/somewhere/private"}, "from a folder of official files"),
        ({"group_unit": "near-twin cluster"}, "The dataset names no patients."),
        ({"dataset": "mini-ddsm", "synthetic": False}, "recognise the digitizer"),
        ({"dataset": "busi", "synthetic": False}, "Al-Dhabyani"),
        ({"dataset": "folder", "synthetic": False}, "A folder of the user's own images."),
        ({"row": "mmdcnet_beta"}, "# Model card: MMDCNet β (EfficientNetB0)\n"),
        ({"row": "mmdcnet_beta"}, "- SE and attention in the fusion, as in Fig. 2;"),
        ({"layer_cut": "tiny_pool1"}, "up to and with its layer `tiny_pool1`"),
    ],
)
def test_limits_and_facts_follow_the_training(copied, changes, said):
    change(copied, TRAININGS[1], "config.json", **changes)
    text = again(copied, TRAININGS[1])
    assert said in text
    assert "/somewhere" not in text
    assert NO_EXTERNAL in text  # which mmdc-tf evaluate replaces
    assert (NOTICE in text) == changes.get("synthetic", True)
    assert ("started at random" in text) == ("weights" not in changes)
