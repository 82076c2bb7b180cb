"""Labels that belong to the patient, and breasts in which no lesion is outlined: what that sets as a ceiling.

In Mini-DDSM all images of a patient carry her label, those of her healthy breast too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import ConfigurationError, DatasetError, counted

LABELS = AS_PUBLISHED, BY_BREAST, OUTLINED = ("patient", "breast", "outlined")
NORMAL = "normal"


class LabelCeiling(NamedTuple):
    """How right a reader of single images can be who sees every outlined lesion, and calls a breast without one normal.

    Args:
        images: of the table.
        unmarked: class → its images that show a breast in which no view has an outline.
        right: images on which that reader agrees with the label.
        patients: with unmarked images; ``marked_elsewhere`` are those of them with an outline in the other breast.
    """

    images: int
    unmarked: dict[str, int]
    right: int
    patients: int
    marked_elsewhere: int

    @property
    def accuracy(self) -> float:
        """In [0, 1]."""
        return self.right / self.images


def without_outline(table: pd.DataFrame) -> pd.Series:
    """bool, a value an image: its label names a lesion, and no view of this breast has a lesion's outline.

    Args:
        table: a sample table; a breast is a patient's side.
    """
    outlined = table["lesion_masks"].map(len) > 0
    shown = outlined.groupby([table["patient_id"], table["side"]]).transform("any")
    return ~shown & (table["label"] != NORMAL)


def label_ceiling(dataset: Dataset) -> LabelCeiling | None:
    """What the labels alone set as a ceiling for single images; None where outlines, sides or normal images are absent.

    It assumes that an outline is missing only where there is no lesion. An outline can be missing for other reasons,
    and age, density and scanner say something of the label too, so that a model can be right more often; what it has
    above the ceiling it does not have from a lesion in the image.

    On Mini-DDSM's whole table 5,328 of 7,808 images, 68.2 %.
    """
    table = dataset.table
    if (
        NORMAL not in dataset.info.class_names
        or (table["side"] == "").any()
        or not table["lesion_masks"].map(len).any()
    ):
        return None
    unmarked = without_outline(table)
    outlined = table.loc[table["lesion_masks"].map(len) > 0, "patient_id"]
    patients = table.loc[unmarked, "patient_id"].drop_duplicates()
    counts = table.loc[unmarked, "label"].value_counts()
    names = [name for name in dataset.info.class_names if name != NORMAL]
    return LabelCeiling(
        len(table),
        {name: int(counts.get(name, 0)) for name in names},
        int((~unmarked).sum()),
        len(patients),
        int(patients.isin(outlined).sum()),
    )


def with_labels(dataset: Dataset, labels: str) -> Dataset:
    """The dataset with other labels for the images of lesion patients' breasts that have no outline.

    Args:
        dataset: one whose label is the patient's, with outlines of lesions and the side of every image.
        labels: ``"patient"`` (as published), ``"breast"`` (such images become normal) or ``"outlined"`` (they are left
            out). A note counts them.

    Raises:
        ConfigurationError: another word, or a dataset without outlines, sides or normal images.
        DatasetError: a class would be left without an image.
    """
    if labels not in LABELS:
        raise ConfigurationError(f"Expected labels of {', '.join(LABELS)}. Received: labels={labels!r}. Choose one.")
    if labels == AS_PUBLISHED:
        return dataset
    if label_ceiling(dataset) is None:
        raise ConfigurationError(
            f"Expected a dataset with outlined lesions, sides and normal images. Received: labels={labels!r} for "
            f"{dataset.info.title}, which lacks one of them. Leave --labels out."
        )
    unmarked, table = without_outline(dataset.table), dataset.table
    count = f"{counted(int(unmarked.sum()), 'image')} of breasts without an outline"
    if labels == BY_BREAST:
        changed, note = table.assign(label=table["label"].mask(unmarked, NORMAL)), f"{count} now count as normal"
    else:
        changed, note = table[~unmarked].reset_index(drop=True), f"{count} are left out"
    other = replace(dataset, table=changed, notes=(*dataset.notes, f"labels by {labels}: {note}"))
    if empty := [name for name, found in other.found_counts.items() if found == 0 and dataset.found_counts[name]]:
        raise DatasetError(
            f"Expected images of every class. Received: no {empty[0]} with labels={labels!r}. Use patient."
        )
    return other
