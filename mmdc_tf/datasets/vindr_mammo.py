"""VinDr-Mammo: 5,000 examinations with BI-RADS and density by breast, and an official test part."""

from __future__ import annotations

from pathlib import Path

from mmdc_tf.datasets.listed import CATEGORIES, NOT_BIOPSY, find_tables, labels_of, listed_dataset
from mmdc_tf.datasets.schema import Dataset, DatasetInfo
from mmdc_tf.datasets.tables import read_table_file

VINDR_MAMMO = DatasetInfo(
    name="vindr-mammo",
    title="VinDr-Mammo",
    modality="mammography",
    class_names=("benign", "suspicious", "normal"),
    positive_class="suspicious",
    expected_counts={"benign": 5606, "suspicious": 988, "normal": 13406},
    patients=5000,
    offers=("age", "density", "official test part"),
    citation=(
        'H. T. Nguyen et al., "VinDr-Mammo: A large-scale benchmark dataset for computer-aided diagnosis in full-field '
        'digital mammography", Scientific Data 10 (2023) 277'
    ),
    licence="PhysioNet credentialed",
    homepage="https://doi.org/10.13026/br2v-7517",
)
COLUMNS = ("study_id", "image_id", "laterality", "view_position", "breast_birads", "breast_density", "split")


def load_vindr_mammo(root: str | Path) -> Dataset:
    """Reads VinDr-Mammo: ``breast-level_annotations.csv``, ``metadata.csv`` (ages) and ``images/STUDY/IMAGE.dicom``.

    Raises:
        DatasetError: a table or column is absent, a category is unknown, or no image is there.
    """
    folder, (table, metadata) = find_tables(root, ("breast-level_annotations.csv", "metadata.csv"))
    raw = read_table_file(table, COLUMNS)
    about = read_table_file(metadata, ("SOP Instance UID", "Patient's Age"), ("Manufacturer's Model Name",))
    about = about.drop_duplicates("SOP Instance UID").set_index("SOP Instance UID")
    known = {f"bi-rads {number}": label for number, label in CATEGORIES.items()}
    rows = raw.assign(
        sample_id=raw["image_id"],
        image_path="images/" + raw["study_id"] + "/" + raw["image_id"] + ".dicom",
        label=labels_of(raw["breast_birads"], known, table),
        patient_id=raw["study_id"],
        age=raw["image_id"].map(about["Patient's Age"]).fillna(""),
        density=raw["breast_density"],
        view=raw["view_position"],
        side=raw["laterality"],
        site=raw["image_id"].map(about.get("Manufacturer's Model Name", {})).fillna(""),
    )
    official = raw["split"].map({"training": -1, "test": 0}).fillna(-1)
    return listed_dataset(VINDR_MAMMO, folder, table, rows, (NOT_BIOPSY,), official)
