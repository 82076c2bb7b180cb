"""The files of one finished training, read together: what its model was made with, and what it predicted."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.datasets.catalogue import DECLARED
from mmdc_tf.datasets.schema import DatasetInfo
from mmdc_tf.datasets.splits import Split
from mmdc_tf.evaluation.predictions import read_predictions
from mmdc_tf.experiments.calibration import CALIBRATION, VALIDATION
from mmdc_tf.experiments.rows import PaperTable, Row, load_table
from mmdc_tf.experiments.run_folder import PREDICTIONS
from mmdc_tf.experiments.samples import read_samples
from mmdc_tf.io import read_json, require_json


@dataclass(frozen=True)
class FinishedTraining:
    """A training that kept a model.

    Args:
        config, environment, model: the content of ``config.json``, ``environment.json`` and ``model.json``.
        calibration: the content of ``calibration.json``; None where there is none.
        split: which samples trained, validated and tested.
        history: a line an epoch.
        predictions: of the test part.
        samples: as ``samples.csv`` of the run lists them; without it ``sample_id``, ``group_id`` and ``label`` of those
            that were predicted.
        knows_samples: whether ``samples.csv`` was there.
    """

    config: dict[str, Any]
    environment: dict[str, Any]
    model: dict[str, Any]
    calibration: dict[str, Any] | None
    split: Split
    history: pd.DataFrame
    predictions: pd.DataFrame
    samples: pd.DataFrame
    knows_samples: bool

    @property
    def synthetic(self) -> bool:
        """Whether it was trained on phantoms."""
        return bool(self.config["synthetic"])

    @property
    def class_names(self) -> list[str]:
        """In the order of the model's outputs."""
        return self.config["class_names"]

    @property
    def unit(self) -> str:
        """What a group is: "patient" or "near-twin cluster"."""
        return self.config["group_unit"]

    @property
    def is_pretrained(self) -> bool:
        """Whether the backbone's weights came from a file; a network without a registered backbone has none."""
        return self.config["weights"] != "none" and "backbone" in self.config["arguments"]

    @property
    def validates_on_test(self) -> bool:
        """Whether what chose the epoch is what was scored, as under the paper protocol."""
        return self.split.validation == self.split.test

    @property
    def table(self) -> PaperTable:
        """The paper's table that it belongs to."""
        return load_table(self.config["table"]).made_from(self.config)

    @property
    def row(self) -> Row | None:
        """The table's row; None where today's table has no such row."""
        return next((row for row in self.table.rows if row.name == self.config["row"]), None)

    @property
    def declared(self) -> DatasetInfo | None:
        """What is declared of the dataset; None for a user's own folder."""
        return DECLARED.get(self.config["dataset"])

    @functools.cached_property
    def _known(self) -> pd.DataFrame:
        return self.samples.set_index("sample_id")

    def parts(self) -> list[dict[str, Any]]:
        """Of each part of the split ``name``, ``images``, ``groups`` and ``counts`` by class.

        The latter two are None where ``samples.csv`` is missing and with it the labels of the training images.
        """
        if self.validates_on_test:
            named = {"training": self.split.train, "validation and test (the same images)": self.split.test}
        else:
            named = {"training": self.split.train, "validation": self.split.validation, "test": self.split.test}
        return [{"name": name, "images": len(ids), **self._counts(ids)} for name, ids in named.items()]

    def _counts(self, sample_ids: tuple[str, ...]) -> dict[str, Any]:
        part = self._known.reindex(list(sample_ids))
        if part["label"].isna().any():
            return {"groups": None, "counts": dict.fromkeys(self.class_names)}
        counts = {name: int((part["label"] == name).sum()) for name in self.class_names}
        return {"groups": part["group_id"].nunique(), "counts": counts}

    @functools.cached_property
    def shared_images(self) -> int | None:
        """Test images of whose group the training part holds another image; None without ``samples.csv``."""
        if not self.knows_samples:
            return None
        groups = self._known["group_id"]
        return int(groups.loc[list(self.split.test)].isin(groups.loc[list(self.split.train)]).sum())


def read_training(place: Path) -> FinishedTraining:
    """Reads a training's folder.

    Args:
        place: as ``OUT/table1/ROW/PROTOCOL/fold0-seed0``; ``samples.csv`` lies three folders above.

    Raises:
        RuntimeError: a file is missing.
        InputError: a file is broken.
    """
    predictions = read_predictions([place / PREDICTIONS])
    samples = read_samples((place / "../../..").resolve())
    return FinishedTraining(
        config=require_json(place / "config.json"),
        environment=require_json(place / "environment.json"),
        model=require_json(place / "model.json"),
        calibration=read_json(place / CALIBRATION),
        split=Split.from_json((place / "split.json").read_text(encoding="utf-8")),
        history=pd.read_csv(place / "history.csv"),
        predictions=predictions,
        samples=_predicted(place) if samples is None else samples,
        knows_samples=samples is not None,
    )


def _predicted(place: Path) -> pd.DataFrame:
    """What the predictions files say of their samples."""
    files = [path for name in (PREDICTIONS, VALIDATION) if (path := place / name).is_file()]
    table = read_predictions(files).drop_duplicates("sample_id")
    return table[["sample_id", "group_id", "y_true"]].rename(columns={"y_true": "label"})
