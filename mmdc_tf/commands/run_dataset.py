"""The dataset that a run was made from, found again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.errors import ConfigurationError

if TYPE_CHECKING:
    from mmdc_tf.datasets.schema import Dataset


def dataset_of_run(run: dict[str, Any], output: Path, root: Path | None, name: str | None) -> Dataset:
    """The dataset of a run, unchanged.

    Args:
        run: the content of ``run.json``.
        output: the run's folder, in which a phantom lies.
        root: the dataset's folder; a phantom needs none.
        name: what it holds; None for what the run was made from.

    Raises:
        ConfigurationError: it is not there, or has changed since.
        DatasetError: the folder cannot be used.
    """
    from mmdc_tf.datasets.catalogue import load_dataset
    from mmdc_tf.datasets.copies import treat_near_twins

    if run["synthetic"]:
        dataset = _phantom(output / run["dataset"])
    elif root is None:
        raise ConfigurationError(
            f"Expected --dataset-root for a run made from {run['dataset']}. Received: no folder. Name the dataset's."
        )
    else:
        dataset = load_dataset(name or run["dataset"], root)
    dataset = treat_near_twins(dataset, run.get("near_twins", "keep"))  # runs of earlier versions do not say
    if dataset.fingerprint != run["dataset_fingerprint"]:
        raise ConfigurationError(
            f"Expected the dataset that the run was made from (fingerprint {run['dataset_fingerprint']}). "
            f"Received: {dataset.root} (fingerprint {dataset.fingerprint}). Name the folder that it was trained on."
        )
    return dataset


def _phantom(folder: Path) -> Dataset:
    """The phantom in the run's folder, as it was drawn."""
    from mmdc_tf.datasets import phantom
    from mmdc_tf.datasets.schema import PARAMETERS_FILE
    from mmdc_tf.io import read_json

    known = {"phantom-mammogram": phantom.phantom_mammograms, "phantom-ultrasound": phantom.phantom_ultrasound}
    parameters = read_json(folder / PARAMETERS_FILE)
    if parameters is None or folder.name not in known:
        raise ConfigurationError(
            f"Expected the run's phantom in {folder}. Received: no {PARAMETERS_FILE} there. "
            "Run the command that made the run again: it draws the phantom."
        )
    drawn = {name: value for name, value in parameters.items() if name not in ("phantom", "drawing_version")}
    return known[folder.name](folder, **drawn)
