"""CDD-CESM: the low-energy images of contrast-enhanced mammography."""

from __future__ import annotations

from pathlib import Path

from mmdc_tf.datasets.listed import find_tables, labels_of, listed_dataset, match_by_name
from mmdc_tf.datasets.schema import Dataset, DatasetInfo
from mmdc_tf.datasets.tables import read_table_file
from mmdc_tf.errors import DatasetError

CDD_CESM = DatasetInfo(
    name="cdd-cesm",
    title="CDD-CESM",
    modality="mammography",
    class_names=("benign", "malignant", "normal"),
    patients=326,
    offers=("age", "density"),
    citation=(
        'R. Khaled et al., "Categorized contrast enhanced mammography dataset for diagnostic and artificial '
        'intelligence research", Scientific Data 9 (2022) 122'
    ),
    licence="CC BY 4.0",
    homepage="https://doi.org/10.7937/29kw-ae92",
)
COLUMNS = ("Image_name", "Patient_ID", "Side", "Type", "Age", "View")
NAMES = {"density": ("Breast density (ACR)", "ACR"), "label": ("Pathology Classification/ Follow up", "Pathology")}
"""What the table is known to call them, in two versions."""


def load_cdd_cesm(root: str | Path) -> Dataset:
    """Reads CDD-CESM: ``Radiology-manual-annotations.xlsx`` and the low-energy images (type DM) by their names.

    Raises:
        DatasetError: the table or a column is absent, a label is unknown, or no image is there.
    """
    folder, (table,) = find_tables(root, ("Radiology*manual*annotations*.xlsx",))
    raw = read_table_file(table, COLUMNS, [name for names in NAMES.values() for name in names] + ["Machine"])
    found = {column: next((name for name in names if name in raw), None) for column, names in NAMES.items()}
    if found["label"] is None:
        raise DatasetError(f"Expected a column {' or '.join(NAMES['label'])}. Received: {table} without it. Add it.")
    low = raw[raw["Type"].str.upper() == "DM"]
    density = low[found["density"]] if found["density"] else low["Age"].map(lambda _: "")
    rows = low.assign(
        sample_id=low["Image_name"],
        image_path=match_by_name(folder, low["Image_name"], lambda path: path.stem),
        label=labels_of(low[found["label"]], {name: name for name in CDD_CESM.class_names}, table),
        patient_id=low["Patient_ID"],
        age=low["Age"],
        density=density.where(density != "_", ""),
        view=low["View"],
        side=low["Side"],
        site=low.get("Machine", ""),
    )
    note = f"contrast-enhanced images (type CM), not used: {len(raw) - len(low):,}"
    return listed_dataset(CDD_CESM, folder, table, rows, (note,))
