"""``model_card.md``: what someone who did not train a model must know of it, from the files of its training.

The sections follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.datasets.catalogue import DECLARED
from mmdc_tf.datasets.schema import NOTICE, TWIN_UNIT
from mmdc_tf.datasets.splits import Split, folds_of
from mmdc_tf.errors import RESEARCH_USE, counted, kind_and_line
from mmdc_tf.evaluation.metrics import WORST, all_metrics, class_results, worst_cases
from mmdc_tf.evaluation.predictions import read_predictions
from mmdc_tf.evaluation.statistics import metric_intervals
from mmdc_tf.evaluation.subgroups import FEW, FEW_GROUPS, FEW_IMAGES, TITLES, subgroup_results
from mmdc_tf.evaluation.text import FILTERS, between, fixed, share
from mmdc_tf.experiments.results import PERCENT_METRICS
from mmdc_tf.experiments.rows import load_table
from mmdc_tf.experiments.run_folder import CALIBRATION, MODEL_CARD, OK, PREDICTIONS, read_samples
from mmdc_tf.io import is_disk_error, page_templates, read_json, require_json, write_text
from mmdc_tf.preprocessing import stored_recipe
from mmdc_tf.training.recipe import MONITORS

WORST_KINDS = ("age", "density", "view", "side", "digitizer")
"""What is said of each of the worst cases, where it is known."""
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


def write_model_cards(folder: Path, say: Callable[[str], object] = print) -> None:
    """Writes the card of each finished training in a table's folder that kept a model and has no card yet.

    What goes wrong with a card is one line of ``say``: the other trainings go on.
    """
    if (samples := read_samples(folder)) is None:  # a run of an older version
        return
    for model in sorted(folder.glob("*/*/fold*-seed*/model.keras")):
        place = model.parent
        status = read_json(place / "status.json") or {}
        if status.get("status") != OK or not (place / CALIBRATION).is_file() or (place / MODEL_CARD).is_file():
            continue
        try:
            write_model_card(place, samples)
        except Exception as error:
            if is_disk_error(error):
                raise
            say(f"note: no model card in {place}: {kind_and_line(error, 300)}")


def write_model_card(place: Path, samples: pd.DataFrame) -> Path:
    """Writes ``model_card.md`` from the other files of a training.

    Args:
        place: the training's folder, as ``OUT/table1/ROW/PROTOCOL/fold0-seed0``.
        samples: what ``read_samples`` gives for its table.

    Raises:
        RuntimeError: a file of the training is missing.
        InputError: a file is broken, or the model's recipe is another in this version.
    """
    template = page_templates("mmdc_tf.report", counted=counted, **FILTERS).get_template("model_card.md.j2")
    write_text(place / MODEL_CARD, template.render(_content(place, samples)))
    return place / MODEL_CARD


def _content(place: Path, samples: pd.DataFrame) -> dict[str, Any]:
    config, model, environment = (require_json(place / f"{name}.json") for name in ("config", "model", "environment"))
    split = Split.from_json((place / "split.json").read_text(encoding="utf-8"))
    predictions = read_predictions([place / PREDICTIONS])
    table = load_table(config["table"]).made_from(config)
    is_same = split.validation == split.test
    parts, shared = _parts(split, config["class_names"], samples, is_same)
    # the weights of a network without a registered backbone are random whatever was asked for
    weights = config["weights"] if "backbone" in config["arguments"] else "none"
    commonest = predictions["y_true"].value_counts(normalize=True)
    return {
        "research_use": RESEARCH_USE,
        "phantom": NOTICE if config["synthetic"] else "",
        "config": config,
        "model": model,
        "environment": environment,
        "calibration": read_json(place / CALIBRATION),
        "table": table,
        "row": next((row for row in table.rows if row.name == config["row"]), None),
        "declared": DECLARED.get(config["dataset"]),
        "unit": config["group_unit"],
        "has_patients": config["group_unit"] != TWIN_UNIT,
        "class_names": config["class_names"],
        "folds": folds_of(config["protocol"], config["folds"]),
        "validates_on_test": is_same,
        "initial_weights": WEIGHTS.get(weights, "from a folder of official files, for the backbone"),
        "best": _best_epoch(place, config["training"]["monitor"]),
        "near_twins": NEAR_TWINS[config["near_twins"]],
        "parts": parts,
        "shared_images": shared,
        "metrics": _metrics(predictions),
        "commonest": commonest.index[0],
        "commonest_share": float(commonest.iloc[0]),
        "classes": class_results(predictions).to_dict("records"),
        "worst_share": WORST,
        "worst_kinds": WORST_KINDS,
        "worst": _worst(predictions, samples),
        **_subgroups(predictions, samples, config["group_unit"]),
        "recipe": stored_recipe(model["preprocessing"]),
    }


def _parts(
    split: Split, class_names: list[str], samples: pd.DataFrame, is_same: bool
) -> tuple[list[dict[str, Any]], int]:
    """Of each part name, images, groups and counts by class; and the test images of whose group one was trained on."""
    named = {"training": split.train, "validation": split.validation, "test": split.test}
    if is_same:
        named = {"training": split.train, "validation and test (the same images)": split.test}
    known = samples.set_index("sample_id")
    tables = {name: known.loc[list(ids)] for name, ids in named.items()}
    parts = [
        {
            "name": name,
            "images": len(part),
            "groups": part["group_id"].nunique(),
            "counts": part["label"].value_counts().reindex(class_names, fill_value=0).to_dict(),
        }
        for name, part in tables.items()
    ]
    groups = known["group_id"]
    return parts, int(groups.loc[list(split.test)].isin(groups.loc[list(split.train)]).sum())


def _best_epoch(place: Path, monitor: str) -> dict[str, Any]:
    """The epoch whose weights were kept: the first of the best, as early stopping takes it."""
    history = pd.read_csv(place / "history.csv")
    values = history[monitor]
    best = int(values.argmax() if MONITORS[monitor] == "max" else values.argmin())
    epoch, value = int(history["epoch"].iloc[best]), f"{values.iloc[best]:.3f}"
    return {"monitor": monitor, "epoch": epoch, "value": value, "epochs": len(history)}


def _metrics(predictions: pd.DataFrame) -> list[dict[str, str]]:
    """The numbers of the test part, each with its 95 % interval, as text."""
    values = all_metrics(predictions)
    intervals = metric_intervals(predictions, names=tuple(METRIC_TITLES))
    lines = []
    for name, title in METRIC_TITLES.items():
        text = share if name in PERCENT_METRICS else fixed
        lines.append({"title": title, "value": text(values[name]), "interval": between(intervals[name], text)})
    return lines


def _worst(predictions: pd.DataFrame, samples: pd.DataFrame) -> list[dict[Any, Any]]:
    """The worst cases with what the table knows of them, as text."""
    known = samples.set_index("sample_id").reindex(columns=list(WORST_KINDS)).astype(object)
    worst = worst_cases(predictions).join(known.where(known.notna(), ""), on="sample_id")
    return worst.to_dict("records")


def _subgroups(predictions: pd.DataFrame, samples: pd.DataFrame, unit: str) -> dict[str, Any]:
    """The subgroups with enough images, how many have too few, and what the dataset does not say."""
    lines = subgroup_results(predictions, samples).to_dict("records")
    shown = [line for line in lines if FEW not in line["flags"].split("; ")]
    return {
        "subgroups": shown,
        "subgroup_titles": TITLES,
        "few_subgroups": len(lines) - len(shown),
        "few": f"fewer than {FEW_IMAGES} images or {FEW_GROUPS} {unit}s",
        "unknown_kinds": [title for kind, title in TITLES.items() if kind not in {line["subgroup"] for line in lines}],
    }
