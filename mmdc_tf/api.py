"""What ``mmdc_tf`` gives in Python: a dataset that splits without leaks, and parts that become ``tf.data``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mmdc_tf.datasets.catalogue import load_dataset as _load
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.splits import PARTS, make_splits, select
from mmdc_tf.errors import RESEARCH_USE, ConfigurationError, counted

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf


@dataclass(frozen=True)
class Part:
    """One side of a split: training, validation or test.

    Args:
        name: ``"train"``, ``"validation"`` or ``"test"``.
        dataset: that it is a part of.
        table: its rows of the sample table, one an image.
        fold: of the split, from 0.
    """

    name: str
    dataset: Dataset
    table: pd.DataFrame
    fold: int

    @property
    def metadata(self) -> np.ndarray:
        """Age in years and BI-RADS density 1 to 4: float32 (n, 2), NaN where unknown."""
        from mmdc_tf.inputs.pipeline import metadata_array

        return metadata_array(self.table)

    def to_tf(
        self,
        image_size: int = 224,
        batch_size: int = 16,
        training: bool = False,
        recipe: str | None = None,
        inputs: tuple[str, ...] | None = None,
        seed: int = 0,
    ) -> tf.data.Dataset:
        """Batches for ``model.fit`` and ``model.predict``.

        Args:
            image_size: height and width in pixels.
            batch_size: images a batch; the last batch may be smaller, no image is left out.
            training: in a new order every epoch, mirrored, shifted and zoomed a little; otherwise in the table's order.
            recipe: of preprocessing, by name; None for the modality's own (``mmdc_tf.preprocessing.RECIPES``).
            inputs: the tensors that the model takes, ``"image"``, ``"metadata"`` or both; None for metadata only where
                the data set has an age or a density.
            seed: of the order and the movements.

        Returns:
            ({"image": float32 (batch, S, S, 3) RGB in [0, 255], "metadata": float32 (batch, 2)}, one-hot float32
            (batch, classes)).

        Raises:
            ConfigurationError: the recipe is unknown.
            UnreadableImageError: an image cannot be decoded, named with its path.
        """
        from mmdc_tf.inputs.augmentation import Augmentation
        from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset, training_dataset
        from mmdc_tf.preprocessing.recipes import recipe_for

        info = self.dataset.info
        if inputs is None:
            known = self.dataset.table[["age", "density"]].notna().any(axis=None)
            inputs = ("image", "metadata") if known else ("image",)
        chosen = recipe_for(info.modality, recipe).name
        settings = InputSettings(chosen, image_size, batch_size, info.class_names, inputs)
        if training:
            return training_dataset(self.table, settings, Augmentation(), seed)
        return evaluation_dataset(self.table, settings)

    def predict(self, model: keras.Model, **settings: Any) -> pd.DataFrame:
        """The model's probabilities for each image, as the table that ``mmdc_tf.evaluation`` scores.

        Args:
            model: from the tensors of ``to_tf`` to probabilities (batch, classes).
            settings: of ``to_tf``; image size and inputs are the model's own.

        Returns:
            Columns sample_id, patient_id, group_id, fold, seed, y_true, y_pred and p_<class>.
        """
        from mmdc_tf.evaluation.predictions import predictions_table

        taken = {one.name: one.shape for one in model.inputs}
        batches = self.to_tf(image_size=taken["image"][1], inputs=tuple(taken), **settings)
        probabilities = model.predict(batches, verbose=0)
        return predictions_table(self.table, probabilities, self.dataset.info.class_names, self.fold, 0)

    def score(self, model: keras.Model, **settings: Any) -> pd.DataFrame:
        """Accuracy, macro precision, recall, F1 and AUC, in [0, 1], each with its 95 % interval.

        Args:
            model, settings: as for ``predict``.

        Returns:
            One line a metric; columns value, low, high. The interval is a bootstrap over groups (patients, or clusters
            of copies), since images of one group are not independent.
        """
        from mmdc_tf.evaluation.metrics import all_metrics
        from mmdc_tf.evaluation.statistics import metric_intervals

        names = ("accuracy", "precision", "recall", "f1", "auc")
        predictions = self.predict(model, **settings)
        values, limits = all_metrics(predictions, names), metric_intervals(predictions, names=names)
        lines = {name: (values[name], *limits[name]) for name in names}
        return pd.DataFrame.from_dict(lines, orient="index", columns=["value", "low", "high"])

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.table["label"].value_counts().items())
        groups = counted(self.table["group_id"].nunique(), self.dataset.info.group_unit)
        return f"<{self.dataset.info.title}, {self.name}: {counted(len(self.table), 'image')} ({counts}), {groups}>"


@dataclass(frozen=True)
class LoadedDataset:
    """A data set that was read; it prints as its counts and notes.

    Args:
        dataset: facts, sample table and notes.
    """

    dataset: Dataset

    @property
    def table(self) -> pd.DataFrame:
        """The sample table, one row an image: sample_id, image_path, label, patient_id, group_id, age, density, …"""
        return self.dataset.table

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of a model's outputs."""
        return self.dataset.info.class_names

    def split(
        self, protocol: str = "leak-free", fold: int = 0, folds: int = 5, seed: int = 0
    ) -> tuple[Part, Part, Part]:
        """Training, validation and test part.

        Args:
            protocol: ``"leak-free"`` (no patient or cluster of copies stands on two sides), ``"image-level"`` (folds of
                the same sizes that ignore them) or ``"paper"`` (one 80/20 split; its test part is its validation part).
            fold: from 0.
            folds: of which one tests.
            seed: the same gives the same split.

        Raises:
            ConfigurationError: there is no such fold.
            SplitError: the protocol is unknown, or a class has too few groups.
        """
        splits = make_splits(self.dataset, protocol, folds, seed)
        if not 0 <= fold < len(splits):
            raise ConfigurationError(
                f"Expected a fold from 0 to {len(splits) - 1} of {protocol}. Received: fold={fold}. Choose one of them."
            )
        train, validation, test = (
            Part(name, self.dataset, select(self.table, getattr(splits[fold], name)), fold) for name in PARTS
        )
        return train, validation, test

    def __repr__(self) -> str:
        info, counts = self.dataset.info, self.dataset.found_counts
        groups = counted(self.table["group_id"].nunique(), info.group_unit)
        lines = [
            f"{info.title}: {counted(len(self.table), 'image')}, {groups}",
            *(f"  {name}: {count}" for name, count in counts.items()),
            *(f"  note: {note}" for note in self.dataset.notes),
            f"  {RESEARCH_USE}",
        ]
        return "\n".join(lines)


def load_dataset(name: str, root: str | Path) -> LoadedDataset:
    """Reads a data set from its folder.

    Args:
        name: as ``mmdc-tf datasets list`` prints it, for example ``"busi"``; ``"folder"`` for your own images.
        root: the folder, in the layout of its publisher.

    Returns:
        Its table and class names, with ``split``.

    Raises:
        DatasetError: the name is unknown, or the folder does not hold it; says what was expected and what was found.

    Example:
        >>> import mmdc_tf
        >>> data = mmdc_tf.load_dataset("busi", root)
        >>> train, validation, test = data.split("leak-free", fold=0)
        >>> model = mmdc_tf.models.BCDNet("mobilenet", num_classes=3, image_size=64)
        >>> model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        >>> history = model.fit(train.to_tf(image_size=64, training=True), epochs=1, verbose=0)
        >>> list(test.score(model).columns)
        ['value', 'low', 'high']
    """
    return LoadedDataset(_load(name, root))
