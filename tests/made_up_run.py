"""A run's folder written by hand: what the trainings leave behind, without training anything."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.training.recipe import load_profile

PHANTOM = "phantom: not a reproduction"
OK = {"status": "ok", "seconds": 1.0}
RUN = {
    "table": "table2",
    "dataset": "phantom-mammogram",
    "dataset_fingerprint": "0123456789abcdef",
    "synthetic": True,
    "group_unit": "patient",
    "preprocessing": "paper",
    "folds": 2,
    "training": {**asdict(load_profile("quick").recipe), "epochs": 4},
    "weights": "none",
    "seed": 0,
}
FED = {"image_size": 64, "row_preprocessing": "paper"}


def made_up_table(*names: str) -> PaperTable:
    """A table of mammography that has these rows only, labelled as they are named."""
    rows = tuple(Row(name, name.title(), "here", model="any") for name in names)
    return PaperTable("table2", "Table II: mammography", "mini-ddsm", "mammography", "phantom-mammogram", rows)


def write_run_file(folder: Path, **changes: Any) -> None:
    """``run.json`` of a table's folder, named after it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({**RUN, "table": folder.name, **changes}))


def write_row(
    folder: Path,
    row: str,
    folds: Sequence[str],
    protocol: str = "leak-free",
    seed: int = 0,
    status: dict | None = None,
    together: int = 2,
) -> None:
    """A row's folds, each as text: a letter a sample, ``1`` for a right answer.

    Args:
        folder: of the table.
        row: its name.
        folds: for example ``["1101", "0011"]``; ``status`` is that of the last one.
        protocol, seed: of the trainings.
        status: default: ok.
        together: samples of a group.
    """
    for fold, rights in enumerate(folds):
        place = folder / row / protocol / f"fold{fold}-seed{seed}"
        is_last = fold == len(folds) - 1
        write_training(place, _predictions(fold, rights, seed, together), status if status and is_last else OK)


def write_training(place: Path, predictions: str | pd.DataFrame, status: dict = OK, **config: Any) -> None:
    """One training's folder, whose name says fold and seed: what says how it was made and ended, and what it predicted.

    Args:
        place: as ``OUT/table1/ROW/PROTOCOL/fold0-seed0``.
        predictions: of the test part, as a table or as the file's text.
        status: the content of ``status.json``.
        **config: besides what is the same for all, of ``config.json``.
    """
    place.mkdir(parents=True)
    fold, seed = re.findall(r"\d+", place.name)
    made = {"protocol": place.parent.name, "folds": 2, "fold": int(fold), "training_seed": int(seed), **FED, **config}
    (place / "config.json").write_text(json.dumps(made))
    (place / "status.json").write_text(json.dumps(status))
    text = predictions if isinstance(predictions, str) else predictions.to_csv(index=False)
    (place / "predictions.csv").write_text(text)


def _predictions(fold: int, rights: str, seed: int, together: int) -> str:
    """Truths a, b, a, b, …; a right answer has three quarters of the probability, a wrong one too."""
    lines = ["sample_id,patient_id,group_id,fold,seed,y_true,y_pred,p_a,p_b"]
    for index, right in enumerate(rights):
        truth = "ab"[index % 2]
        guess = truth if right == "1" else "ba"[index % 2]
        sure = "0.75,0.25" if guess == "a" else "0.25,0.75"
        lines.append(f"s{fold}-{index:03},,g{fold}-{index // together},{fold},{seed},{truth},{guess},{sure}")
    return "\n".join(lines) + "\n"
