"""``model_card.md``: what someone who did not train a model must know of it, from the files of its training.

The sections follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, section 4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdc_tf.datasets.phantom_folder import NOTICE
from mmdc_tf.errors import RESEARCH_USE
from mmdc_tf.evaluation.metrics import all_metrics, class_results
from mmdc_tf.evaluation.statistics import metric_intervals
from mmdc_tf.evaluation.subgroups import FEW, FEW_GROUPS, FEW_IMAGES, TITLES, subgroup_results
from mmdc_tf.evaluation.text import FILTERS, between, fixed, share
from mmdc_tf.experiments.finished_training import FinishedTraining, read_training
from mmdc_tf.experiments.model_limits import limits
from mmdc_tf.experiments.results import PERCENT_METRICS
from mmdc_tf.io import page_templates, write_text
from mmdc_tf.preprocessing import stored_recipe
from mmdc_tf.training.recipe import MONITORS

FILE_NAME = "model_card.md"
METRIC_TITLES = {
    "accuracy": "accuracy, %",
    "precision": "macro precision, %",
    "recall": "macro recall, %",
    "f1": "macro F1, %",
    "balanced_accuracy": "balanced accuracy, %",
    "auc": "AUC, one against rest, mean of the classes",
    "kappa": "Cohen's kappa",
    "brier": "Brier score, not calibrated (0 is best, 2 worst)",
    "ece": "expected calibration error, not calibrated",
}
NEAR_TWINS = {
    "keep": "all images were kept",
    "drop-conflicts": "clusters with more than one label were left out",
    "one-per-cluster": "one image of each cluster was kept, and none of those with more than one label",
}
WEIGHTS = {"none": "random", "imagenet": "ImageNet, for the backbone"}


def write_model_card(place: Path) -> Path | None:
    """Writes ``model_card.md`` beside the model of a training.

    Args:
        place: the training's folder, as ``OUT/table1/ROW/PROTOCOL/fold0-seed0``, with all that a training writes but
            ``status.json``; ``samples.csv`` of its table is read where it is there.

    Returns:
        The file; None where the training kept no model (probes, ensembles), and nothing is written.

    Raises:
        RuntimeError: a file of the training is missing.
        InputError: a file is broken, or the model's recipe is another in this version.
    """
    if not (place / "model.keras").is_file():
        return None
    write_text(place / FILE_NAME, model_card(read_training(place)))
    return place / FILE_NAME


def model_card(training: FinishedTraining) -> str:
    """The card's text, Markdown; errors as ``write_model_card``."""
    content = {
        "research_use": RESEARCH_USE,
        "phantom": NOTICE if training.synthetic else "",
        "training": training,
        "config": training.config,
        "model": training.model,
        "initial_weights": _initial_weights(training),
        "best": _best_epoch(training),
        "near_twins": NEAR_TWINS[training.config["near_twins"]],
        "parts": training.parts(),
        "metrics": _metrics(training),
        **_commonest(training),
        "classes": class_results(training.predictions).to_dict("records"),
        **_subgroups(training),
        "judged": _judged(training),
        "recipe": stored_recipe(training.model["preprocessing"]),
        "limits": limits(training),
    }
    return page_templates("mmdc_tf.experiments", **FILTERS).get_template("model_card.md.j2").render(content)


def _initial_weights(training: FinishedTraining) -> str:
    """What all weights were before the training; pretrained ones are there for registered backbones alone."""
    if not training.is_pretrained:
        return WEIGHTS["none"]
    return WEIGHTS.get(training.config["weights"], "from a folder of official files, for the backbone")


def _best_epoch(training: FinishedTraining) -> dict[str, Any]:
    """The epoch whose weights were kept: the first of the best, as early stopping takes it."""
    monitor = training.config["training"]["monitor"]
    values = training.history[monitor]
    place = values.idxmax() if MONITORS[monitor] == "max" else values.idxmin()
    return {
        "monitor": monitor,
        "epoch": int(training.history.loc[place, "epoch"]),
        "value": f"{values[place]:.3f}",
        "epochs": len(training.history),
    }


def _metrics(training: FinishedTraining) -> list[dict[str, str]]:
    """The numbers of the test part, each with its 95 % interval, as text."""
    values = all_metrics(training.predictions)
    intervals = metric_intervals(training.predictions, names=tuple(METRIC_TITLES))
    lines = []
    for name, title in METRIC_TITLES.items():
        text = share if name in PERCENT_METRICS else fixed
        lines.append({"title": title, "value": text(values[name]), "interval": between(intervals[name], text)})
    return lines


def _commonest(training: FinishedTraining) -> dict[str, Any]:
    """What a guess without a model reaches on the test part."""
    shares = training.predictions["y_true"].value_counts(normalize=True)
    return {"commonest": shares.index[0], "commonest_share": float(shares.iloc[0])}


def _subgroups(training: FinishedTraining) -> dict[str, Any]:
    """The subgroups with enough images, how many have too few, and what the dataset does not say."""
    if not training.knows_samples:
        return {"subgroups": None}
    lines = subgroup_results(training.predictions, training.samples).to_dict("records")
    shown = [line for line in lines if FEW not in line["flags"].split("; ")]
    return {
        "subgroups": [
            {**line, "title": TITLES[line["subgroup"]], "interval": (line["accuracy_ci_low"], line["accuracy_ci_high"])}
            for line in shown
        ],
        "few_subgroups": len(lines) - len(shown),
        "few": f"fewer than {FEW_IMAGES} images or {FEW_GROUPS} {training.unit}s",
        "unknown_kinds": [title for kind, title in TITLES.items() if kind not in {line["subgroup"] for line in lines}],
    }


def _judged(training: FinishedTraining) -> dict[str, dict[str, Any]]:
    """What the stored threshold leads to on each part; empty where there is none."""
    calibration = training.calibration
    if calibration is None or calibration["threshold"] is None:
        return {}
    names = ("test",) if training.validates_on_test else ("validation", "test")
    return {name: calibration[name]["at_threshold"] for name in names}
