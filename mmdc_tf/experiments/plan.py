"""Which trainings a table needs: row × protocol × fold × seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmdc_tf.datasets.outlines import AS_PUBLISHED
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.splits import Split, make_splits
from mmdc_tf.evaluation.calibration import SENSITIVITY
from mmdc_tf.experiments.rows import PaperTable, Row, choose_rows
from mmdc_tf.models import MODELS
from mmdc_tf.models.backbones import get_backbone
from mmdc_tf.models.classifiers import get_classifier
from mmdc_tf.models.registry import look_up
from mmdc_tf.preprocessing.recipes import get_recipe
from mmdc_tf.training.feature_store import CacheSettings
from mmdc_tf.training.recipe import Profile

AUTOMATIC_CUT = "auto"
NO_CUT, TOP_CUT = "none", "top"
CUTS = (AUTOMATIC_CUT, NO_CUT, TOP_CUT)
CURVES, FULL_EVIDENCE = "curves", "full"


@dataclass(frozen=True)
class Plan:
    """Everything that a table's run is made with.

    Args:
        table, rows: the paper's, and the chosen ones of it.
        dataset: real or phantom.
        preprocessing: the name of the recipe.
        profile: training recipe and folds.
        weights: ``"imagenet"``, ``"none"`` or a folder of weight files.
        cut: ``"auto"`` (the row's cut for pretrained weights, none for random ones), ``"none"``, ``"top"`` (the whole
            backbone is frozen), or a layer's name.
        protocols: some of ``splits.PROTOCOLS``.
        seed: of the splits, and of the first training.
        seeds: trainings a fold.
        output: the run's folder.
        near_twins: a name in ``mmdc_tf.datasets.copies.NEAR_TWIN_TREATMENTS``.
        labels: of breasts without an outline: a name in ``mmdc_tf.datasets.outlines.LABELS``.
        sensitivity: for cancer, that the stored decision threshold reaches on the validation part, in (0, 1].
        cache: where the features of frozen parts are kept; None trains rows with a frozen part by the usual loop.
        precision: Keras' dtype policy for the networks: ``"float32"`` or ``"mixed_bfloat16"``.
        devices: that train a fold together: ``"one"``, or ``"all"`` of this machine.
        command: what was typed, for the reader.
        tensorboard: what it shows: ``"curves"``, or ``"full"``: graph, heatmaps by epoch and the test parts too.
        callbacks: what shows a network's training, called as
            ``mmdc_tf.report.tensorboard_training.tensorboard_callbacks``; the last three change no result.
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
    near_twins: str = "keep"
    labels: str = AS_PUBLISHED
    sensitivity: float = SENSITIVITY
    cache: CacheSettings | None = None
    precision: str = "float32"
    devices: str = "one"
    command: str = ""
    tensorboard: str = CURVES
    callbacks: Callable[..., list[Any]] | None = None

    @property
    def folder(self) -> Path:
        """Holds all trainings of this table."""
        return self.output / self.table.name

    @property
    def modality(self) -> str:
        """Of the images; a user's own folder holds those of the table."""
        info = self.dataset.info
        return self.table.modality if info.name == "folder" else info.modality

    def shared_config(self) -> dict[str, Any]:
        """What must be the same for all rows of one table, so that they can be compared."""
        info = self.dataset.info
        title = "".join(one if one.isprintable() else "?" for one in info.title)
        return {
            "table": self.table.name,
            "dataset": info.name,
            **({} if info.name in (self.table.dataset, self.table.phantom) else {"dataset_title": title}),
            "dataset_fingerprint": self.dataset.fingerprint,
            "near_twins": self.near_twins,
            **({} if self.labels == AS_PUBLISHED else {"labels": self.labels}),
            "synthetic": info.synthetic,
            "group_unit": info.group_unit,
            "class_names": list(info.class_names),
            **_recipe_config("preprocessing", self.preprocessing),
            "profile": self.profile.name,
            "folds": self.profile.folds,
            **({} if self.dataset.official is None else {"official_folds": True}),
            "training": asdict(self.profile.recipe),
            "weights": self.weights,
            "cut": self.cut,
            "seed": self.seed,
            "sensitivity": self.sensitivity,
            "frozen_features": self.cache is not None,
            "precision": self.precision,
            "jit": False,  # so that runs of 0.1.0, which had the choice, can be continued
            **({} if self.devices == "one" else {"devices": self.devices}),
            **({} if (named := info.positive_class) is None else {"positive_class": named}),
        }


@dataclass(frozen=True)
class Training:
    """A row on one split with one seed, how it is fed, and the folder that holds all of it.

    Args:
        row, split, seed: what is trained, on what, and from which seed.
        cut: the layer up to which the backbone is frozen, or None.
        image_size: height and width in pixels: the run's, within what the row's network takes.
        preprocessing: the name of the row's recipe.
        inputs: the tensors that the row takes.
        folder: the place of its files.
    """

    row: Row
    split: Split
    seed: int
    cut: str | None
    image_size: int
    preprocessing: str
    inputs: tuple[str, ...]
    folder: Path

    @property
    def architecture(self) -> str:
        """The same for trainings whose compiled network is the same."""
        row = self.row
        return json.dumps([row.kind, getattr(row, row.kind), row.arguments, self.cut, self.image_size])

    @property
    def backbone(self) -> str:
        """The name of its registered backbone; "" without one."""
        return self.row.arguments.get("backbone", "")

    def config(self, plan: Plan) -> dict[str, Any]:
        """The content of ``config.json``."""
        return {
            **plan.shared_config(),
            "row": self.row.name,
            self.row.kind: getattr(self.row, self.row.kind),
            "arguments": self.row.arguments,
            "layer_cut": self.cut,
            "image_size": self.image_size,
            "augmented": self.row.augmented,
            **_recipe_config("row_preprocessing", self.preprocessing),
            "protocol": self.split.protocol,
            "fold": self.split.fold,
            "training_seed": self.seed,
            "split_hash": self.split.hash,
        }

    def __str__(self) -> str:
        """For example ``mmdcnet_alpha leak-free fold 2/5 seed 0``."""
        split = self.split
        return f"{self.row.name} {split.protocol} fold {split.fold + 1}/{split.folds} seed {self.seed}"


def make_trainings(plan: Plan) -> list[Training]:
    """All trainings of a plan, a row after the other, so that a row is whole as early as possible.

    Rows of one architecture come together, at the place of the first: they share one compiled network.

    Raises:
        SplitError: the dataset does not allow the splits.
        ConfigurationError: a row's model, classifier or recipe is unknown.
    """
    splits = {name: make_splits(plan.dataset, name, plan.profile.folds, plan.seed) for name in plan.protocols}
    trainings = [
        _training(plan, row, split, plan.seed + extra)
        for row in plan.rows
        for protocol in plan.protocols
        for split in splits[protocol]
        for extra in range(plan.seeds)
    ]
    first = {training.architecture: index for index, training in reversed(list(enumerate(trainings)))}
    return sorted(trainings, key=lambda training: first[training.architecture])


def row_inputs(row: Row, table: PaperTable) -> tuple[str, ...]:
    """The tensors that a row takes: ``"image"``, ``"other_view"``, ``"metadata"``.

    Raises:
        ConfigurationError: the row's model or classifier is unknown.
    """
    if row.model is not None:
        return MODELS[look_up("model", row.model, MODELS)].inputs
    if row.classifier is not None:
        return get_classifier(row.classifier).inputs
    members = choose_rows(table, list(row.members))
    return tuple(dict.fromkeys(name for member in members for name in row_inputs(member, table)))


def _recipe_config(key: str, name: str) -> dict[str, Any]:
    """A recipe's name, and its steps and numbers, so that a run is not continued after they have changed."""
    config = get_recipe(name).to_config()
    return {key: name, f"{key}_steps": config["steps"], f"{key}_least_crop": config["least_crop"]}


def _training(plan: Plan, row: Row, split: Split, seed: int) -> Training:
    # freezing random weights means nothing, so without pretrained weights the whole backbone trains
    automatic = row.cut if plan.weights != "none" else None
    backbone = row.arguments.get("backbone")
    top = None if backbone is None else get_backbone(backbone).gradcam_layer
    return Training(
        row=row,
        split=split,
        seed=seed,
        cut={AUTOMATIC_CUT: automatic, NO_CUT: None, TOP_CUT: top}.get(plan.cut, plan.cut),
        image_size=_image_size(plan, row),
        preprocessing=row.preprocessing or plan.preprocessing,
        inputs=row_inputs(row, plan.table),
        folder=plan.folder / row.name / split.protocol / f"fold{split.fold}-seed{seed}",
    )


def _image_size(plan: Plan, row: Row) -> int:
    """The run's size, raised or lowered to what the row's network takes; the table says where it differs."""
    asked = plan.profile.recipe.image_size
    if row.classifier is not None:
        return get_classifier(row.classifier).image_size or asked
    backbone = row.arguments.get("backbone")
    smallest = max(get_backbone(backbone).smallest_size if backbone else 1, row.smallest_image_size)
    size = max(min(asked, row.largest_image_size or asked), smallest)
    return -(-size // row.image_size_step) * row.image_size_step
