"""BrEaST: 256 breast ultrasound cases with masks, age and a clinical table."""

from __future__ import annotations

from pathlib import Path

from mmdc_tf.datasets.listed import find_tables, labels_of, listed_dataset
from mmdc_tf.datasets.schema import Dataset, DatasetInfo
from mmdc_tf.datasets.tables import read_table_file

BREAST = DatasetInfo(
    name="breast-usg",
    title="BrEaST",
    modality="ultrasound",
    class_names=("benign", "malignant", "normal"),
    expected_counts={"benign": 154, "malignant": 98, "normal": 4},
    patients=256,
    offers=("age", "masks"),
    citation=(
        'A. Pawłowska et al., "Curated benchmark dataset for ultrasound based breast lesion analysis", '
        "Scientific Data 11 (2024) 148"
    ),
    licence="CC BY 4.0",
    homepage="https://doi.org/10.7937/9WKK-Q141",
)
IMAGES = "BrEaST-Lesions_USG-images_and_masks"


def load_breast_usg(root: str | Path) -> Dataset:
    """Reads BrEaST: the clinical workbook and the folder of images and masks.

    Tissue composition is not BI-RADS density and is left out. Masks of other structures are no lesion masks.

    Raises:
        DatasetError: the table or a column is absent, a label is unknown, or no image is there.
    """
    folder, (table,) = find_tables(root, ("BrEaST-Lesions-USG-clinical-data*.xlsx",))
    raw = read_table_file(table, ("CaseID", "Image_filename", "Mask_tumor_filename", "Age", "Classification"))
    masks = raw["Mask_tumor_filename"].str.split("&")
    rows = raw.assign(
        sample_id=[name.rpartition(".")[0] for name in raw["Image_filename"]],
        image_path=f"{IMAGES}/" + raw["Image_filename"],
        label=labels_of(raw["Classification"], {name: name for name in BREAST.class_names}, table),
        patient_id=raw["CaseID"],
        age=raw["Age"].where(raw["Age"].str.lower() != "not available", ""),
        lesion_masks=masks.map(lambda names: tuple(f"{IMAGES}/{name}" for name in names if name)),
    )
    return listed_dataset(BREAST, folder, table, rows)
