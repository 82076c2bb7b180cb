"""Datasets without their near-twins, or without those whose labels contradict one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from mmdc_tf.datasets.copies import near_twin_clusters
from mmdc_tf.datasets.schema import TWIN_UNIT, Dataset
from mmdc_tf.errors import ConfigurationError, DatasetError, counted, did_you_mean


def without_conflicts(dataset: Dataset) -> Dataset:
    """Drops every image of each near-twin cluster that holds more than one label.

    Nobody can say which of the labels is right, so that none of these images can teach or test anything.

    Args:
        dataset: with images. Where it has no patients, its groups are the clusters; otherwise they are searched for.

    Returns:
        The dataset with a smaller table, hence another fingerprint; a note says how many images were left out.

    Raises:
        ConfigurationError: the dataset has no images.
        DatasetError: a class would be left without an image.
        UnreadableImageError: an image cannot be decoded.
    """
    dataset, clusters = _clusters(dataset)
    keep = ~_conflicting(dataset, clusters)
    count = counted(int((~keep).sum()), "image")
    return _with_rows(dataset, keep, f"near-twins with conflicting labels left out: {count}")


def one_per_cluster(dataset: Dataset) -> Dataset:
    """Keeps the first image, by ``sample_id``, of each near-twin cluster, and none of a cluster with several labels.

    Args:
        dataset: as for ``without_conflicts``.

    Returns:
        As ``without_conflicts``; the note counts repeats and conflicts apart.

    Raises:
        ConfigurationError, DatasetError, UnreadableImageError: as ``without_conflicts``.
    """
    dataset, clusters = _clusters(dataset)
    conflicting = _conflicting(dataset, clusters)
    repeated = clusters.duplicated() & ~conflicting
    note = (
        f"one image of each near-twin cluster kept: {counted(int(repeated.sum()), 'image')} left out as repeats, "
        f"{counted(int(conflicting.sum()), 'image')} for conflicting labels"
    )
    return _with_rows(dataset, ~(repeated | conflicting), note)


NEAR_TWIN_TREATMENTS: dict[str, Callable[[Dataset], Dataset]] = {
    "keep": lambda dataset: dataset,
    "drop-conflicts": without_conflicts,
    "one-per-cluster": one_per_cluster,
}


def treat_near_twins(dataset: Dataset, treatment: str) -> Dataset:
    """Treats near-twins as a command's option says.

    Args:
        dataset: any; of one without images, near-twins can only be kept.
        treatment: a name in ``NEAR_TWIN_TREATMENTS``.

    Raises:
        ConfigurationError: another name, or a dataset without images.
        DatasetError: a class would be left without an image.
        UnreadableImageError: an image cannot be decoded.
    """
    if treatment not in NEAR_TWIN_TREATMENTS:
        names = ", ".join(NEAR_TWIN_TREATMENTS)
        hint = did_you_mean(treatment, NEAR_TWIN_TREATMENTS, "Choose one of them.")
        raise ConfigurationError(
            f"Expected near-twins to be one of {names}. Received: near_twins={treatment!r}. {hint}"
        )
    return NEAR_TWIN_TREATMENTS[treatment](dataset)


def _clusters(dataset: Dataset) -> tuple[Dataset, pd.Series]:
    """The cluster of each image; the dataset's notes say what was not searched for."""
    if not dataset.has_images:
        raise ConfigurationError(
            f"Expected a dataset with images to look for near-twins in. Received: {dataset.info.name} from its table "
            "alone. Keep the near-twins, or give the folder with the images."
        )
    if dataset.info.group_unit == TWIN_UNIT:
        return dataset, dataset.table["group_id"]
    clusters, unsearched = near_twin_clusters(dataset.table["image_path"], dataset.info.modality)
    return replace(dataset, notes=(*dataset.notes, *unsearched)), pd.Series(clusters, index=dataset.table.index)


def _conflicting(dataset: Dataset, clusters: pd.Series) -> pd.Series:
    """Which images lie in a cluster with more than one label."""
    return dataset.table["label"].groupby(clusters).transform("nunique") > 1


def _with_rows(dataset: Dataset, keep: pd.Series, note: str) -> Dataset:
    smaller = replace(
        dataset, table=dataset.table[keep].reset_index(drop=True), notes=(*dataset.notes, f"{note}, of {len(keep):,}")
    )
    empty = [name for name, count in smaller.found_counts.items() if count == 0 and dataset.found_counts[name]]
    if empty:
        raise DatasetError(
            f"Expected images of every class once near-twins are dropped. Received: {dataset.root} with no {empty[0]} "
            f"left ({note}). Keep the near-twins, or correct the labels."
        )
    return smaller
