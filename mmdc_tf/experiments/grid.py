"""Which trainings a table needs: row × protocol × fold × seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.splits import Split, make_splits
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.preprocessing.recipes import get_recipe
from mmdc_tf.training.recipe import Profile

AUTOMATIC_CUT = "auto"
NO_CUT = "none"


@dataclass(frozen=True)
class Plan:
    """Everything that a table's run is made with.

    Args:
        table: the paper's table.
        rows: the chosen rows.
        dataset: real or phantom.
        preprocessing: the name of the preprocessing recipe.
        profile: training recipe and folds.
        weights: ``"imagenet"``, ``"none"`` or a folder of weight files.
        cut: ``"auto"`` (the row's cut for pretrained weights, none for random ones), ``"none"``, or a layer's name.
        protocols: ``"paper"``, ``"leak-free"`` or both.
        seed: of the splits, and of the first training.
        seeds: trainings a fold.
        output: the run's folder.
    """

    table: PaperTable
    rows: tuple[Row, ...]
    dataset: Dataset
    preprocessing: str
    profile: Profile
    weights: str
    cut: str
    protocols: tuple[str, ...]
    seed: int
    seeds: int
    output: Path

    @property
    def folder(self) -> Path:
        """Holds all trainings of this table."""
        return self.output / self.table.name

    def shared_config(self) -> dict[str, Any]:
        """What must be the same for all rows of one table, so that they can be compared."""
        return {
            "table": self.table.name,
            "dataset": self.dataset.info.name,
            "dataset_fingerprint": self.dataset.fingerprint,
            "synthetic": self.dataset.info.synthetic,
            "group_unit": self.dataset.info.group_unit,
            "class_names": list(self.dataset.info.class_names),
            "preprocessing": self.preprocessing,
            "preprocessing_steps": get_recipe(self.preprocessing).to_config()["steps"],
            "profile": self.profile.name,
            "folds": self.profile.folds,
            "training": asdict(self.profile.recipe),
            "weights": self.weights,
            "cut": self.cut,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Cell:
    """One training: a row on one split with one seed, and the folder that holds all of it."""

    row: Row
    split: Split
    seed: int
    cut: str | None
    folder: Path

    def config(self, plan: Plan) -> dict[str, Any]:
        return {
            **plan.shared_config(),
            "row": self.row.name,
            "model": self.row.model,
            "arguments": self.row.arguments,
            "layer_cut": self.cut,
            "protocol": self.split.protocol,
            "fold": self.split.fold,
            "training_seed": self.seed,
            "split_hash": self.split.hash,
        }


def make_cells(plan: Plan) -> list[Cell]:
    """All trainings of a plan, a row after the other, so that a row is whole as early as possible.

    Raises:
        SplitError: the dataset does not allow the splits.
    """
    splits = {name: make_splits(plan.dataset, name, plan.profile.folds, plan.seed) for name in plan.protocols}
    return [
        _cell(plan, row, split, plan.seed + extra)
        for row in plan.rows
        for protocol in plan.protocols
        for split in splits[protocol]
        for extra in range(plan.seeds)
    ]


def _cell(plan: Plan, row: Row, split: Split, seed: int) -> Cell:
    folder = plan.folder / row.name / split.protocol / f"fold{split.fold}-seed{seed}"
    return Cell(row, split, seed, _cut(plan, row), folder)


def _cut(plan: Plan, row: Row) -> str | None:
    """Freezing random weights means nothing, so without pretrained weights the whole backbone trains."""
    if plan.cut == AUTOMATIC_CUT:
        return row.cut if plan.weights != "none" else None
    return None if plan.cut == NO_CUT else plan.cut
