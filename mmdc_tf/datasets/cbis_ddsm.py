"""CBIS-DDSM: digitised film, one row an abnormality, as The Cancer Imaging Archive or Kaggle lays it out."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from mmdc_tf.datasets.files import require_folder
from mmdc_tf.datasets.listed import find_tables, images_below, labels_of, listed_dataset, together
from mmdc_tf.datasets.schema import Dataset, DatasetInfo
from mmdc_tf.datasets.tables import read_table_file

CBIS_DDSM = DatasetInfo(
    name="cbis-ddsm",
    title="CBIS-DDSM",
    modality="mammography",
    class_names=("benign", "malignant"),
    offers=("density", "official test part"),
    citation=(
        'R. S. Lee et al., "A curated mammography data set for use in computer-aided detection and diagnosis '
        'research", Scientific Data 4 (2017) 170177'
    ),
    licence="CC BY 3.0",
    homepage="https://doi.org/10.7937/K9/TCIA.2016.7O02S9CY",
    size="164 GB",
)
TABLES = tuple(f"{kind}_case_description_{part}_set.csv" for kind in ("mass", "calc") for part in ("train", "test"))
COLUMNS = ("patient_id", "breast_density", "left or right breast", "image view", "pathology", "image file path")
LABELS = {"benign": "benign", "benign_without_callback": "benign", "malignant": "malignant"}


def load_cbis_ddsm(root: str | Path) -> Dataset:
    """Reads the four case descriptions, and the images in either layout.

    TCIA: the first part of ``image file path`` names the image's folder. Kaggle (``csv/``, ``jpeg/``): the part before
    the last is the series, whose folder holds the image. Of several abnormalities of an image malignant wins. Lesion
    masks are left out: the paths of masks and of crops are swapped in places.

    Raises:
        DatasetError: a table or column is absent, a label is unknown, or no image is there.
    """
    folder = require_folder(root)
    inside, tables = find_tables(folder / "csv" if (folder / "csv").is_dir() else folder, TABLES)
    folder = folder if inside.name == "csv" else inside
    raw = pd.concat(
        [
            read_table_file(path, COLUMNS).assign(part=0 if "test" in path.name.lower() else -1, source=path.name)
            for path in tables
        ],
        ignore_index=True,
    )
    raw["label"] = labels_of(raw["pathology"], LABELS, tables[0])
    series = [PurePosixPath(text.replace("\\", "/").replace("\n", "").strip()) for text in raw["image file path"]]
    raw["sample_id"] = [path.parts[0] for path in series]
    places: dict[str, str] = {}
    for path in images_below(folder):
        relative = path.relative_to(folder)
        places |= {part: relative.as_posix() for part in relative.parts[:-1]}
    raw["image_path"] = [
        next((places[part] for part in (path.parts[0], path.parent.name) if part in places), str(path))
        for path in series
    ]
    worst = raw.sort_values("label", kind="stable").groupby("sample_id", as_index=False).last()  # malignant comes last
    rows = worst.rename(columns={"breast_density": "density", "left or right breast": "side", "image view": "view"})
    official, notes = together(rows["part"], rows["patient_id"])
    merged = len(raw) - len(rows)
    notes = (f"rows of further abnormalities of an image, merged: {merged:,}", *notes) if merged else notes
    return listed_dataset(CBIS_DDSM, folder, tables[0], rows, notes, official)
