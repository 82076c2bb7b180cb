"""The small run that the tests of run folders share: what it consists of, and how to look into its folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.experiments.plan import Plan, make_trainings
from mmdc_tf.experiments.progress import Progress
from mmdc_tf.experiments.rows import Row, load_table
from mmdc_tf.experiments.run import run_trainings
from mmdc_tf.report.model_card import write_model_cards
from mmdc_tf.report.tensorboard_training import tensorboard_callbacks
from mmdc_tf.training.recipe import load_profile

NUMBERS = (90.0, 90.0, 90.0, 90.0)
FUSED_ARGUMENTS = {"backbone": "tiny", "conv_filters": 16, "grid": 2}
FUSED = Row("fused", "Fused", "here", NUMBERS, model="mmdcnet", arguments=FUSED_ARGUMENTS)
PLAIN = Row("plain", "Plain", "here", NUMBERS, model="backbone_classifier", arguments={"backbone": "tiny"})
DOCUMENTED = {
    "config.json",
    "split.json",
    "environment.json",
    "status.json",
    "history.csv",
    "predictions.csv",
    "validation_predictions.csv",
    "metrics.json",
    "calibration.json",
    "model.keras",
    "model.json",
    "model_card.md",
}
WITH_METADATA = DOCUMENTED | {"predictions-metadata.csv"}
TRAININGS = ["paper/fold0-seed3", "leak-free/fold0-seed3", "leak-free/fold1-seed3"]


def make_plan(dataset: Dataset, output: Path, rows: tuple[Row, ...], **changes) -> Plan:
    plan = Plan(
        table=replace(load_table("table2"), rows=rows),
        rows=rows,
        dataset=dataset,
        preprocessing="paper",
        profile=load_profile("quick", image_size=32, epochs=2, folds=2, batch_size=4),
        weights="none",
        cut="auto",
        protocols=("paper", "leak-free"),
        seed=3,
        seeds=1,
        output=output,
        callbacks=tensorboard_callbacks,
    )
    return replace(plan, **changes)


def execute(plan: Plan, **options) -> tuple[int, int]:
    """Failed trainings, and how often the tables were brought up to date; with cards, as the command writes them."""
    calls: list[int] = []

    def after_each() -> None:
        calls.append(1)
        write_model_cards(plan.folder)

    with Progress() as progress:
        return run_trainings(plan, make_trainings(plan), after_each, progress, **options), len(calls)


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def folder_of(plan: Plan, name: str) -> Path:
    return plan.folder / "fused" / name


def read(plan: Plan, training: str, name: str):
    path = folder_of(plan, training) / name
    return pd.read_csv(path) if path.suffix == ".csv" else json.loads(path.read_text(encoding="utf-8"))
