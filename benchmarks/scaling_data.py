"""Folders of many images, for ``scaling.py``: links to few files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.catalogue import list_dataset
from mmdc_tf.datasets.folder import TABLE_NAME
from mmdc_tf.datasets.phantom import phantom_ultrasound
from mmdc_tf.datasets.schema import SIDES, VIEWS

PHANTOM_IMAGES = 240
CLASSES = ("benign", "malignant", "normal")


def source_images(root: Path | None, scratch: Path) -> tuple[list[Path], bool]:
    """Copies of BUSI's images, or of phantom ones, to link to; and whether they are the phantom's."""
    if root is None:
        dataset = phantom_ultrasound(scratch / "phantom", images=PHANTOM_IMAGES, size=256)
    else:
        dataset = list_dataset("busi", root)
    (scratch / "sources").mkdir()
    copies = [scratch / "sources" / f"{n}{Path(path).suffix}" for n, path in enumerate(dataset.table["image_path"])]
    for path, copy in zip(dataset.table["image_path"], copies, strict=True):
        shutil.copyfile(path, copy)
    return copies, dataset.info.synthetic


def linked_folder(sources: list[Path], count: int, scratch: Path) -> Path:
    """A folder dataset of so many images: patients of four views, a thousand images a sub-folder."""
    folder = scratch / f"{count} images" / "dataset"
    looks = [(side, view) for side in SIDES for view in VIEWS]
    rows = []
    for number in range(count):
        patient, look = divmod(number, len(looks))
        source = sources[number % len(sources)]
        place = folder / f"{number // 1000:03d}" / f"{number:06d}{source.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, place)
        label = CLASSES[patient % len(CLASSES)]
        rows.append((place.stem, place.relative_to(folder), label, f"p{patient:06d}", *looks[look], 40 + patient % 40))
    columns = ["sample_id", "image_path", "label", "patient_id", "side", "view", "age"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / TABLE_NAME, index=False)
    return folder
