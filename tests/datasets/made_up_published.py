"""Folders in the layouts of the published data sets, of a few tiny images each; what a reader must make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from made_up_images import write
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CBIS = "{kind}-{part}_{patient}_{side}_{view}"


class Expected(NamedTuple):
    """By ``sample_id``: label, patient, age, density (None where unknown), view, side."""

    samples: dict[str, tuple[str, str, float | None, float | None, str, str]]
    table: str
    label_column: str
    masks: int = 0
    official: dict[str, int] | None = None


def write_table(path: Path, rows: list[dict[str, Any]], separator: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    table.to_excel(path, index=False) if path.suffix == ".xlsx" else table.to_csv(path, index=False, sep=separator)


def write_header(path: Path, **elements: str | list) -> None:
    """A DICOM file without pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for name, value in elements.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def bus_bra(root: Path) -> Expected:
    names = ["bus_0001-l", "bus_0001-r", "bus_0002-s"]
    facts = zip(names, ("1", "1", "2"), ("malignant", "malignant", "benign"), ("left", "right", "single"), strict=True)
    rows = [{"ID": i, "Case": c, "Pathology": p, "Side": s, "Device": "GE @10MHz"} for i, c, p, s in facts]
    write_table(root / "BUSBRA" / "bus_data.csv", rows)
    folds = [{"ID": name, "kFold": fold} for name, fold in zip(names, (2, 2, 1), strict=True)]
    write_table(root / "BUSBRA" / "5-fold-cv.csv", folds)
    for seed, name in enumerate(names):
        write(root / "BUSBRA" / "Images" / f"{name}.png", seed)
        write(root / "BUSBRA" / "Masks" / f"{name.replace('bus', 'mask')}.png", 10 + seed)
    samples = {
        "bus_0001-l": ("malignant", "1", None, None, "", "LEFT"),
        "bus_0001-r": ("malignant", "1", None, None, "", "RIGHT"),
        "bus_0002-s": ("benign", "2", None, None, "", ""),
    }
    official = {"bus_0001-l": 1, "bus_0001-r": 1, "bus_0002-s": 0}
    return Expected(samples, "BUSBRA/bus_data.csv", "Pathology", 3, official)


def breast_usg(root: Path) -> Expected:
    images = "BrEaST-Lesions_USG-images_and_masks"
    rows = [
        {"CaseID": 1, "Image_filename": "case001.png", "Mask_tumor_filename": "case001_tumor.png", "Age": 57},
        {"CaseID": 2, "Image_filename": "case002.png", "Mask_tumor_filename": None, "Age": "not available"},
        {"CaseID": 3, "Image_filename": "case003.png", "Mask_tumor_filename": "case003_tumor.png", "Age": 40},
    ]
    labels = ("malignant", "normal", "benign")
    table = "BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx"
    write_table(root / table, [row | {"Classification": label} for row, label in zip(rows, labels, strict=True)])
    for seed, name in enumerate(("case001", "case002", "case003", "case001_tumor", "case003_tumor")):
        write(root / images / f"{name}.png", seed)
    samples = {
        "case001": ("malignant", "1", 57, None, "", ""),
        "case002": ("normal", "2", None, None, "", ""),
        "case003": ("benign", "3", 40, None, "", ""),
    }
    return Expected(samples, table, "Classification", 2)


def mini_mias(root: Path) -> Expected:
    text = "words before\nmdb001 G CIRC B 535 425 197\nmdb001 G SPIC M 1 2 3\nmdb002 D NORM\nmdb003 F CALC B\n"
    (root / "all-mias").mkdir(parents=True)
    (root / "all-mias" / "Info.txt").write_text(text, encoding="utf-8")
    for number in (1, 2, 3):
        write(root / "all-mias" / f"mdb00{number}.png", number)
    samples = {
        "mdb001": ("malignant", "1", None, 2, "MLO", "RIGHT"),
        "mdb002": ("normal", "1", None, 4, "MLO", "LEFT"),
        "mdb003": ("benign", "2", None, 1, "MLO", "RIGHT"),
    }
    return Expected(samples, "all-mias/Info.txt", "")


def _cbis_rows(kind: str, part: str, cases: list[tuple[str, str, str, str, int]]) -> list[dict[str, Any]]:
    rows = []
    for patient, side, view, pathology, density in cases:
        folder = CBIS.format(kind=kind, part=part, patient=patient, side=side, view=view)
        uid = f"1.3.{patient[-1]}{view}{side[0]}{kind[0]}{part[:2]}"
        column = "breast density" if kind == "Calc" else "breast_density"
        rows.append(
            {
                "patient_id": patient,
                column: density,
                "left or right breast": side,
                "image view": view,
                "pathology": pathology,
                "image file path": f"{folder}/1.2.9/{uid}/000000.dcm",
                "ROI mask file path": f"{folder}_1/1.2.9/1.9/000001.dcm\n",
            }
        )
    return rows


def _cbis(root: Path) -> tuple[dict[str, list[dict[str, Any]]], Expected]:
    tables = {
        "mass_case_description_train_set.csv": _cbis_rows(
            "Mass",
            "Training",
            [
                ("P_00001", "LEFT", "CC", "BENIGN", 3),
                ("P_00001", "LEFT", "CC", "MALIGNANT", 3),
                ("P_00002", "RIGHT", "MLO", "BENIGN_WITHOUT_CALLBACK", 0),
            ],
        ),
        "mass_case_description_test_set.csv": _cbis_rows("Mass", "Test", [("P_00003", "LEFT", "MLO", "MALIGNANT", 1)]),
        "calc_case_description_train_set.csv": _cbis_rows("Calc", "Training", [("P_00003", "LEFT", "CC", "BENIGN", 1)]),
        "calc_case_description_test_set.csv": _cbis_rows("Calc", "Test", [("P_00004", "LEFT", "CC", "BENIGN", 4)]),
    }
    samples = {
        "Mass-Training_P_00001_LEFT_CC": ("malignant", "P_00001", None, 3, "CC", "LEFT"),
        "Mass-Training_P_00002_RIGHT_MLO": ("benign", "P_00002", None, None, "MLO", "RIGHT"),
        "Mass-Test_P_00003_LEFT_MLO": ("malignant", "P_00003", None, 1, "MLO", "LEFT"),
        "Calc-Training_P_00003_LEFT_CC": ("benign", "P_00003", None, 1, "CC", "LEFT"),
        "Calc-Test_P_00004_LEFT_CC": ("benign", "P_00004", None, 4, "CC", "LEFT"),
    }
    official = dict(zip(samples, (-1, -1, 0, 0, 0), strict=True))  # P_00003 is in both parts
    return tables, Expected(samples, "mass_case_description_train_set.csv", "pathology", 0, official)


def cbis_ddsm(root: Path) -> Expected:
    tables, expected = _cbis(root)
    for name, rows in tables.items():
        write_table(root / name, rows)
        for row in rows:
            write_header(root / "CBIS-DDSM" / row["image file path"])
            write_header(root / "CBIS-DDSM" / row["ROI mask file path"].strip())
    return expected


def cbis_ddsm_kaggle(root: Path) -> Expected:
    tables, expected = _cbis(root)
    for name, rows in tables.items():
        write_table(root / "csv" / name, rows)
        for row in rows:
            write(root / "jpeg" / row["image file path"].split("/")[2] / "1-1.jpg", 1)
    return expected._replace(table=f"csv/{expected.table}")


def inbreast(root: Path) -> Expected:
    rows = [
        {"Patient ID": "removed", "Laterality": "L", "View": "CC", "File Name": 20586934, "ACR": "2", "Bi-Rads": "1"},
        {"Patient ID": "removed", "Laterality": "L", "View": "ML", "File Name": 20586960, "ACR": "4", "Bi-Rads": "4b"},
        {"Patient ID": "removed", "Laterality": "R", "View": "CC", "File Name": 20587000, "ACR": "", "Bi-Rads": "3"},
    ]
    write_table(root / "INbreast Release 1.0" / "INbreast.csv", rows, ";")
    for name in ("20586934_aaa1_MG_L_CC_ANON", "20586960_aaa1_MG_L_ML_ANON", "20587000_bbb2_MG_R_CC_ANON"):
        write_header(root / "INbreast Release 1.0" / "AllDICOMs" / f"{name}.dcm")
    samples = {
        "20586934": ("normal", "aaa1", None, 2, "CC", "LEFT"),
        "20586960": ("suspicious", "aaa1", None, 4, "MLO", "LEFT"),
        "20587000": ("benign", "bbb2", None, None, "CC", "RIGHT"),
    }
    return Expected(samples, "INbreast Release 1.0/INbreast.csv", "Bi-Rads")


def vindr_mammo(root: Path) -> Expected:
    facts = [("s1", "i1", "L", "CC", 1, "A"), ("s1", "i2", "R", "MLO", 5, "B"), ("s2", "i3", "L", "CC", 2, "D")]
    rows = [
        {
            "study_id": study,
            "image_id": image,
            "laterality": side,
            "view_position": view,
            "breast_birads": f"BI-RADS {number}",
            "breast_density": f"DENSITY {density}",
            "split": "test" if study == "s2" else "training",
        }
        for study, image, side, view, number, density in facts
    ]
    write_table(root / "breast-level_annotations.csv", rows)
    ages = {"i1": "053Y", "i2": "053Y", "i3": ""}
    about = [{"SOP Instance UID": image, "Patient's Age": age} for image, age in ages.items()]
    write_table(root / "metadata.csv", [row | {"Manufacturer's Model Name": "M"} for row in about])
    for study, image, *_ in facts:
        write_header(root / "images" / study / f"{image}.dicom")
    samples = {
        "i1": ("normal", "s1", 53, 1, "CC", "LEFT"),
        "i2": ("suspicious", "s1", 53, 2, "MLO", "RIGHT"),
        "i3": ("benign", "s2", None, 4, "CC", "LEFT"),
    }
    return Expected(samples, "breast-level_annotations.csv", "breast_birads", 0, {"i1": -1, "i2": -1, "i3": 0})


def rsna_2022(root: Path) -> Expected:
    facts = [(1, 10, 100, "L", "CC", 61.0, 1, "B"), (2, 20, 200, "R", "AT", None, 0, None)]
    names = ("site_id", "patient_id", "image_id", "laterality", "view", "age", "cancer", "density")
    write_table(root / "train.csv", [dict(zip(names, one, strict=True)) for one in facts])
    for _, patient, image, *_ in facts:
        write_header(root / "train_images" / str(patient) / f"{image}.dcm")
    samples = {
        "100": ("cancer", "10", 61, 2, "CC", "LEFT"),
        "200": ("no cancer", "20", None, None, "", "RIGHT"),
    }
    return Expected(samples, "train.csv", "cancer")


def cmmd(root: Path) -> Expected:
    rows = [
        {"ID1": "D1-0001", "LeftRight": "R", "Age": 44, "classification": "Benign"},
        {"ID1": "D1-0002", "LeftRight": "L", "Age": 40, "classification": "Malignant"},
    ]
    write_table(root / "CMMD_clinicaldata_revision.xlsx", rows)
    places = {"D1-0001": ("R", "399162004"), "D1-0002": ("L", "399368009"), "D1-0003": ("L", "399162004")}
    for patient, (side, code) in places.items():
        view = Dataset()
        view.CodeValue = code
        path = root / "CMMD" / patient / "07-18-2010-NA" / "1.000000-NA" / "1-1.dcm"
        write_header(path, ImageLaterality=side, ViewCodeSequence=[view])
    write_header(root / "CMMD" / "D1-0001" / "07-18-2010-NA" / "1.000000-NA" / "1-2.dcm", ImageLaterality="L")
    names = [f"CMMD/D1-000{n}/07-18-2010-NA/1.000000-NA/1-1" for n in (1, 2)]
    samples = {
        names[0]: ("benign", "D1-0001", 44, None, "CC", "RIGHT"),
        names[1]: ("malignant", "D1-0002", 40, None, "MLO", "LEFT"),
    }
    return Expected(samples, "CMMD_clinicaldata_revision.xlsx", "classification")


def cdd_cesm(root: Path) -> Expected:
    facts = [
        (" P39_R_DM_CC", 39, "R", "DM", 52, "C", "CC", "Malignant"),
        ("P39_R_CM_CC", 39, "R", "CM", 52, "_", "CC", "Malignant"),
        ("P40_L_DM_MLO", 40, "L", "DM", 61, "A", "MLO", "Benign"),
        ("P41_L_DM_MLO", 41, "L", "DM", 47, "_", "MLO", "Normal"),
    ]
    names = ("Image_name", "Patient_ID", "Side", "Type", "Age", "Breast density (ACR)", "View")
    names = (*names, "Pathology Classification/ Follow up")
    table = "Radiology-manual-annotations.xlsx"
    write_table(root / table, [dict(zip(names, one, strict=True)) for one in facts])
    for seed, (name, _, _, kind, *_) in enumerate(facts):
        folder = "Low energy" if kind == "DM" else "Subtracted"
        write(root / f"{folder} images of CDD-CESM" / f"{name.strip()}.jpg", seed)
    samples = {
        "P39_R_DM_CC": ("malignant", "39", 52, 3, "CC", "RIGHT"),
        "P40_L_DM_MLO": ("benign", "40", 61, 1, "MLO", "LEFT"),
        "P41_L_DM_MLO": ("normal", "41", 47, None, "MLO", "LEFT"),
    }
    return Expected(samples, table, names[-1])


MAKERS = {
    "bus-bra": bus_bra,
    "breast-usg": breast_usg,
    "mini-mias": mini_mias,
    "cbis-ddsm": cbis_ddsm,
    "inbreast": inbreast,
    "vindr-mammo": vindr_mammo,
    "rsna-2022": rsna_2022,
    "cmmd": cmmd,
    "cdd-cesm": cdd_cesm,
}
