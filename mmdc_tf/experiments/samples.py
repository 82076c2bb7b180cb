"""What a run must remember of its samples, so that results by age, density or view need no dataset."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.io import write_table

FILE_NAME = "samples.csv"
COLUMNS = ("sample_id", "patient_id", "group_id", "label", "age", "density", "view", "side", "digitizer")
NUMBERS = ("age", "density")


def write_samples(dataset: Dataset, folder: Path) -> None:
    """Writes ``samples.csv``: one line an image with the columns ``COLUMNS``, and no path to any image.

    Args:
        dataset: what the run is made from. Where its file names start with the letter of the digitizer
            (``DatasetInfo.digitizer_from_name``), the letter is kept as ``digitizer``; elsewhere that is "".
        folder: the table's folder in the run, beside ``run.json``.

    Raises:
        OSError: the folder cannot be written to.
    """
    table = dataset.table.assign(digitizer=_digitizers(dataset))[list(COLUMNS)]
    write_table(folder / FILE_NAME, table)


def read_samples(folder: Path) -> pd.DataFrame | None:
    """What ``write_samples`` wrote, or None where the file is absent, as in runs of older versions.

    Args:
        folder: the table's folder in the run.

    Returns:
        One line an image: ``age`` (years) and ``density`` (1 to 4) are float64, NaN where unknown; the others are
        text, "" where unknown.

    Raises:
        ConfigurationError: the file lacks a column.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    types = {name: "float64" if name in NUMBERS else "str" for name in COLUMNS}
    unknown = {name: [""] for name in NUMBERS}
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=unknown)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ConfigurationError(
            f"Expected the columns {', '.join(COLUMNS)}. Received: {path} without {', '.join(missing)}. "
            "Delete the file and run the same command again."
        )
    return table


def _digitizers(dataset: Dataset) -> pd.Series | str:
    if not dataset.info.digitizer_from_name:
        return ""
    names = dataset.table["image_path"].map(lambda path: Path(path).name)
    return names.str.extract(r"^([A-Z])", expand=False).fillna("")
