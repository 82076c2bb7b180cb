"""BUS-BRA: breast ultrasound of 1,064 patients, with lesion masks and official folds."""

from __future__ import annotations

from pathlib import Path

from mmdc_tf.datasets.listed import find_tables, labels_of, listed_dataset
from mmdc_tf.datasets.schema import Dataset, DatasetInfo
from mmdc_tf.datasets.tables import read_table_file

BUS_BRA = DatasetInfo(
    name="bus-bra",
    title="BUS-BRA",
    modality="ultrasound",
    class_names=("benign", "malignant"),
    expected_counts={"benign": 1268, "malignant": 607},
    patients=1064,
    offers=("masks", "official folds"),
    citation=(
        "W. Gómez-Flores, M. J. Gregorio-Calas, W. C. A. Pereira, "
        '"BUS-BRA: a breast ultrasound dataset for assessing computer-aided diagnosis systems", '
        "Medical Physics 51 (2024) 3110"
    ),
    licence="CC BY 4.0",
    homepage="https://doi.org/10.5281/zenodo.8231412",
)


def load_bus_bra(root: str | Path) -> Dataset:
    """Reads BUS-BRA: ``bus_data.csv``, ``5-fold-cv.csv`` and the folders ``Images`` and ``Masks``.

    Raises:
        DatasetError: a table or column is absent, a label is unknown, or no image is there.
    """
    folder, (table, folds) = find_tables(root, ("bus_data.csv", "5-fold-cv.csv"))
    raw = read_table_file(table, ("ID", "Case", "Pathology", "Side", "Device"))
    fold = read_table_file(folds, ("ID", "kFold")).set_index("ID")["kFold"].astype(int) - 1
    known = {name: name for name in BUS_BRA.class_names}
    rows = raw.assign(
        sample_id=raw["ID"],
        image_path="Images/" + raw["ID"] + ".png",
        label=labels_of(raw["Pathology"], known, table),
        patient_id=raw["Case"],
        side=raw["Side"],  # "single" where one breast was scanned
        site=raw["Device"].str.partition(" @")[0],
        lesion_masks=raw["ID"].map(lambda name: (f"Masks/{name.replace('bus', 'mask', 1)}.png",)),
    )
    return listed_dataset(BUS_BRA, folder, table, rows, official=raw["ID"].map(fold).fillna(-1))
