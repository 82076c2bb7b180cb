"""Small folders in the layout of each dataset."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from made_up_images import write

FOLDER_ROWS = {
    "sample_id": ["s1", "s2", "s3"],
    "image_path": ["img/1.png", "img\\2.png", "img/3.png"],
    "label": ["sick", "well", "sick"],
    "patient_id": ["007", "008", "007"],
    "group_id": ["g1", "g2", "g1"],
    "age": ["44", "", "n/a"],
    "density": ["1", "4", ""],
    "view": ["cc", "MLO", ""],
    "side": ["left", "RIGHT", ""],
    "lesion_masks": ["img/m1.png; img/m2.png", "", "-"],
}


def make_busi(root: Path) -> Path:
    for seed, name in enumerate(("benign", "malignant", "normal")):
        write(root / name / f"{name} (1).png", seed)
        write(root / name / f"{name} (2).png", 10 + seed)
        write(root / name / f"{name} (1)_mask.png", 20 + seed)
    write(root / "benign" / "benign (1)_mask_1.png", 30)
    write(root / "benign" / "benign (10).png", 0)  # the same pixels as benign (1)
    return root


def mini_row(status: str, number: str, side: str = "LEFT", view: str = "CC", **changes) -> dict:
    name = f"C_{number}_1.{side}_{view}.jpg"
    place = {"fullPath": f"{status}\\{number}\\{name}", "fileName": name, "View": view, "Side": side, "Status": status}
    return place | {"Tumour_Contour": "-", "Tumour_Contour2": "-", "Age": 60.0, "Density": 2} | changes


def mini_rows() -> list[dict]:
    mask = "Cancer\\0029\\C_0029_1.LEFT_CC_"
    return [
        mini_row("Cancer", "0029", Tumour_Contour=f"{mask}Mask.jpg", Tumour_Contour2=f"{mask}MASK2.jpg"),
        mini_row("Cancer", "0029", side="RIGHT", view="MLO", Density=0),
        mini_row("Benign", "0029", Age=None, Density=4),
        mini_row("Normal", "0007"),
    ]


def make_mini_ddsm(root: Path, rows: list[dict] | None = None, table: str = "DataWMask.xlsx") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    written = pd.DataFrame(rows or mini_rows())
    written.to_excel(root / table, index=False) if table.endswith("x") else written.to_csv(root / table, index=False)
    for seed, path in enumerate(written["fullPath"]):
        write(root / path.replace("\\", "/"), seed)
    if rows is None:
        for end in ("Mask", "MASK2"):
            write(root / f"Cancer/0029/C_0029_1.LEFT_CC_{end}.jpg", 9)
    return root


def make_folder(root: Path, **changes) -> Path:
    """A column changed to None is left out."""
    columns = {name: values for name, values in {**FOLDER_ROWS, **changes}.items() if values is not None}
    for seed, name in enumerate(("1", "2", "3", "m1", "m2")):
        write(root / "img" / f"{name}.png", seed)
    pd.DataFrame(columns).to_csv(root / "samples.csv", index=False)
    return root
