"""The datasets by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mmdc_tf.datasets.busi import BUSI, list_busi, load_busi
from mmdc_tf.datasets.folder import load_folder
from mmdc_tf.datasets.mini_ddsm import MINI_DDSM, list_mini_ddsm, load_mini_ddsm
from mmdc_tf.datasets.phantom import PHANTOM_MAMMOGRAM, PHANTOM_ULTRASOUND
from mmdc_tf.datasets.schema import Dataset, DatasetInfo
from mmdc_tf.errors import ConfigurationError, DatasetError, did_you_mean

Loader = Callable[[Path], Dataset]

DATASETS: dict[str, Loader] = {"busi": load_busi, "mini-ddsm": load_mini_ddsm, "folder": load_folder}

# The same tables without decoding an image, for checks: groups may be provisional.
LISTINGS: dict[str, Loader] = {**DATASETS, "busi": list_busi}


# Every line of the dataset's table, images or not.
TABLES_ALONE: dict[str, Loader] = {"mini-ddsm": list_mini_ddsm}

# What is declared of a dataset, whether or not it is on this machine; of a user's own folder nothing is.
DECLARED: dict[str, DatasetInfo] = {
    info.name: info for info in (BUSI, MINI_DDSM, PHANTOM_MAMMOGRAM, PHANTOM_ULTRASOUND)
}


def load_dataset(name: str, root: str | Path) -> Dataset:
    """Reads a dataset by name and compares its counts with the declared ones.

    Args:
        name: ``"busi"``, ``"mini-ddsm"`` or ``"folder"``.
        root: its folder (layouts: data/README.md).

    Returns:
        The dataset; a note says expected against found where they differ.

    Raises:
        ConfigurationError: the name is unknown.
        DatasetError: the folder is absent, not a folder, empty, of another layout, or a class has no image.
        UnreadableImageError: an image that grouping must look at cannot be decoded.
    """
    return _checked(_loader(name, DATASETS)(Path(root)))


def list_dataset(name: str, root: str | Path) -> Dataset:
    """Reads a dataset as ``load_dataset`` does without decoding images; for counts and checks, not for splits.

    Raises:
        ConfigurationError, DatasetError: as ``load_dataset``.
    """
    return _checked(_loader(name, LISTINGS)(Path(root)))


def load_table_alone(name: str, root: str | Path) -> Dataset:
    """Reads a dataset's table without its images.

    Args:
        name: a dataset whose table holds more than its folders say: ``"mini-ddsm"``.
        root: its folder.

    Raises:
        ConfigurationError: the name is unknown or the dataset has no such table.
        DatasetError: the folder or the table is absent, or the table cannot be used.
    """
    _loader(name, DATASETS)
    if name not in TABLES_ALONE:
        raise ConfigurationError(
            f"Expected a dataset whose table can be used alone: {', '.join(TABLES_ALONE)}. "
            f"Received: dataset={name!r}. Leave --without-images out."
        )
    return _checked(TABLES_ALONE[name](Path(root)))


def _loader(name: str, loaders: dict[str, Loader]) -> Loader:
    if name in loaders:
        return loaders[name]
    hint = did_you_mean(name, loaders, "Choose one of them; 'folder' reads your own images.", cutoff=0.4)
    raise ConfigurationError(
        f"Expected a dataset of {', '.join(map(repr, loaders))}. Received: dataset={name!r}. {hint}"
    )


def _checked(dataset: Dataset) -> Dataset:
    empty = [name for name, count in dataset.found_counts.items() if count == 0]
    if empty:
        noticed = "".join(f"; {note}" for note in dataset.notes)
        raise DatasetError(
            f"Expected images of every class. Received: root={str(dataset.root)!r} with none of "
            f"{', '.join(empty)}{noticed}. Add them: a class without images can be neither trained nor scored."
        )
    return replace(dataset, notes=(*dataset.notes, *_count_note(dataset)))


def _count_note(dataset: Dataset) -> tuple[str, ...]:
    expected, found = dataset.info.expected_counts, dataset.found_counts
    if dataset.info.synthetic or not expected or expected == found:
        return ()
    return (f"not the complete dataset as declared: expected {_listed(expected)}; found {_listed(found)}",)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
