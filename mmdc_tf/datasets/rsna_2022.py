"""RSNA 2022 (Kaggle, Screening Mammography Breast Cancer Detection): cancer by breast."""

from __future__ import annotations

from pathlib import Path

from mmdc_tf.datasets.listed import find_tables, labels_of, listed_dataset, match_by_name
from mmdc_tf.datasets.schema import Dataset, DatasetInfo
from mmdc_tf.datasets.tables import read_table_file

RSNA_2022 = DatasetInfo(
    name="rsna-2022",
    title="RSNA 2022",
    modality="mammography",
    class_names=("no cancer", "cancer"),
    expected_counts={"no cancer": 53548, "cancer": 1158},
    patients=11913,
    offers=("age", "density"),
    citation='Radiological Society of North America, "Screening Mammography Breast Cancer Detection", Kaggle 2022',
    licence="Kaggle, non-commercial",
    homepage="https://www.kaggle.com/competitions/rsna-breast-cancer-detection",
)
COLUMNS = ("site_id", "patient_id", "image_id", "laterality", "view", "age", "cancer", "density")


def load_rsna_2022(root: str | Path) -> Dataset:
    """Reads RSNA 2022: ``train.csv`` and ``train_images/PATIENT/IMAGE.dcm`` (or converted, under the same names).

    "No cancer" holds what a biopsy found benign, too. Density is missing for nearly all of site 2.

    Raises:
        DatasetError: the table or a column is absent, a label is unknown, or no image is there.
    """
    folder, (table,) = find_tables(root, ("train.csv",))
    raw = read_table_file(table, COLUMNS)
    rows = raw.assign(
        sample_id=raw["image_id"],
        image_path=match_by_name(folder, raw["image_id"], lambda path: path.stem),
        label=labels_of(raw["cancer"], {"0": "no cancer", "1": "cancer"}, table),
        side=raw["laterality"],
        site=raw["site_id"],
    )
    return listed_dataset(RSNA_2022, folder, table, rows)
