"""INbreast: digital mammograms with BI-RADS categories."""

from __future__ import annotations

from pathlib import Path

from mmdc_tf.datasets.listed import (
    CATEGORIES,
    NOT_BIOPSY,
    find_tables,
    labels_of,
    listed_dataset,
    match_by_name,
)
from mmdc_tf.datasets.schema import Dataset, DatasetInfo
from mmdc_tf.datasets.tables import read_table_file

INBREAST = DatasetInfo(
    name="inbreast",
    title="INbreast",
    modality="mammography",
    class_names=("benign", "suspicious", "normal"),
    positive_class="suspicious",
    offers=("density",),
    citation='I. C. Moreira et al., "INbreast", Academic Radiology 19 (2012) 236',
    licence="by agreement with the publisher",
    homepage="https://doi.org/10.1016/j.acra.2011.09.014",
)


def load_inbreast(root: str | Path) -> Dataset:
    """Reads INbreast: ``INbreast.csv`` (separated by semicolons) and ``AllDICOMs/NUMBER_HASH_MG_L_CC_ANON.dcm``.

    The patient is the hash in the file's name; ages are removed by the publisher.

    Raises:
        DatasetError: the table or a column is absent, a category is unknown, or no image is there.
    """
    folder, (table,) = find_tables(root, ("INbreast.csv",))
    raw = read_table_file(table, ("Laterality", "View", "File Name", "ACR", "Bi-Rads"))
    paths = match_by_name(folder, raw["File Name"], lambda path: path.name.partition("_")[0])
    names = paths.str.rpartition("/")[2]
    known = {f"{number}{letter}": label for number, label in CATEGORIES.items() for letter in ("", "a", "b", "c")}
    rows = raw.assign(
        sample_id=raw["File Name"],
        image_path=paths,
        label=labels_of(raw["Bi-Rads"], known, table),
        patient_id=[name.split("_")[1] if "_" in name else name for name in names],
        density=raw["ACR"],
        view=raw["View"],
        side=raw["Laterality"],
    )
    return listed_dataset(INBREAST, folder, table, rows, (NOT_BIOPSY,))
