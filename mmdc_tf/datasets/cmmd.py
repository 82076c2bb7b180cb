"""CMMD: Chinese mammograms, benign or malignant by breast, as The Cancer Imaging Archive lays them out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.dicom import read_header
from mmdc_tf.datasets.listed import find_tables, images_below, labels_of, listed_dataset
from mmdc_tf.datasets.schema import Dataset, DatasetInfo
from mmdc_tf.datasets.tables import read_table_file
from mmdc_tf.errors import DatasetError

CMMD = DatasetInfo(
    name="cmmd",
    title="CMMD",
    modality="mammography",
    class_names=("benign", "malignant"),
    patients=1775,
    offers=("age",),
    citation='C. Cui et al., "The Chinese Mammography Database (CMMD)", The Cancer Imaging Archive 2021',
    licence="CC BY 4.0",
    homepage="https://doi.org/10.7937/tcia.eqde-4b16",
)


def load_cmmd(root: str | Path) -> Dataset:
    """Reads CMMD: ``CMMD_clinicaldata_revision.xlsx`` and ``CMMD/D1-0001/STUDY/SERIES/1-1.dcm``.

    The table speaks of breasts: an image's side is that of its header, its view that of the header's view code. Images
    of a side without a row are left out, and counted.

    Raises:
        DatasetError: the table or a column is absent, a label is unknown, or no image is there.
        UnreadableImageError: a DICOM header cannot be read.
    """
    folder, (table,) = find_tables(root, ("CMMD_clinicaldata_revision.xlsx",))
    raw = read_table_file(table, ("ID1", "LeftRight", "Age", "classification"))
    raw["label"] = labels_of(raw["classification"], {name: name for name in CMMD.class_names}, table)
    breasts = {(one["ID1"], one["LeftRight"]): one for one in raw.to_dict("records")}
    patients = set(raw["ID1"])
    rows, sideless = [], 0
    for path in images_below(folder):
        patient = next((part for part in path.parts if part in patients), None)
        if patient is None:
            continue
        header = read_header(path)
        breast = breasts.get((patient, header.laterality))
        if breast is None:
            sideless += 1
            continue
        rows.append(
            {
                "image_path": path.relative_to(folder).as_posix(),
                "label": breast["label"],
                "patient_id": patient,
                "age": breast["Age"],
                "view": header.view,
                "side": header.laterality,
            }
        )
    if not rows:
        raise DatasetError(
            f"Expected images below {folder} in folders named as ID1 of {table.name}. Received: none. Unpack them "
            "there."
        )
    notes = (f"images of a breast that the table does not list, left out: {sideless:,}",) if sideless else ()
    return listed_dataset(CMMD, folder, table, pd.DataFrame(rows), notes)
