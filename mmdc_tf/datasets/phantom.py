"""The built-in phantoms: synthetic data in the layouts of Mini-DDSM and BUSI, from a seed.

They let every command run where there are no real data. Phantoms: not a reproduction. How likely each label, age,
density and lesion is stands in ``phantom_cohort``; the pixels are drawn in ``phantom_mammogram`` and
``phantom_ultrasound``.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.busi import load_busi
from mmdc_tf.datasets.mini_ddsm import load_mini_ddsm
from mmdc_tf.datasets.phantom_cohort import PhantomPatient, UltrasoundScan, mammogram_patients, ultrasound_scans
from mmdc_tf.datasets.phantom_folder import NOTICE, Parameters, holds_phantom, write_image, write_phantom_folder
from mmdc_tf.datasets.phantom_mammogram import draw_mammogram
from mmdc_tf.datasets.phantom_ultrasound import draw_ultrasound
from mmdc_tf.datasets.schema import SIDES, TWIN_UNIT, VIEWS, Dataset, DatasetInfo

PHANTOM_MAMMOGRAM = DatasetInfo(
    name="phantom-mammogram",
    title="Phantom mammograms (synthetic, not a reproduction)",
    modality="mammography",
    class_names=("benign", "cancer", "normal"),
    expected_counts={},
    group_unit="patient",
    citation="Drawn by mmdc_tf from a seed; in the layout of Mini-DDSM (Lekamlage et al., DMIP 2020).",
    licence="Apache-2.0, as mmdc_tf",
    homepage="",
    synthetic=True,
)
PHANTOM_ULTRASOUND = DatasetInfo(
    name="phantom-ultrasound",
    title="Phantom breast ultrasound (synthetic, not a reproduction)",
    modality="ultrasound",
    class_names=("benign", "malignant", "normal"),
    expected_counts={},
    group_unit=TWIN_UNIT,
    citation="Drawn by mmdc_tf from a seed; in the layout of BUSI (Al-Dhabyani et al., Data in Brief 28, 2020).",
    licence="Apache-2.0, as mmdc_tf",
    homepage="",
    synthetic=True,
)
MAMMOGRAM_TABLE = "DataWMask.csv"


def phantom_mammograms(root: str | Path, patients: int = 36, height: int = 256, seed: int = 0) -> Dataset:
    """Reads the mammogram phantom, and writes it first where it is not there with the same parameters.

    Args:
        root: the phantom's folder; see ``write_phantom_mammograms`` for what may be replaced.
        patients, height, seed: as in ``write_phantom_mammograms``.

    Returns:
        The dataset as the Mini-DDSM reader gives it: four images a patient, labels "benign", "cancer", "normal"; its
        first note is "phantom: not a reproduction".

    Raises:
        DatasetError: the folder holds something else or cannot be written.
        ConfigurationError: a parameter is out of range.
    """
    if not holds_phantom(Path(root), _mammogram_parameters(patients, height, seed)):
        write_phantom_mammograms(root, patients, height, seed)
    return _with_notice(load_mini_ddsm(root, info=PHANTOM_MAMMOGRAM))


def phantom_ultrasound(root: str | Path, images: int = 120, size: int = 128, seed: int = 0) -> Dataset:
    """Reads the ultrasound phantom, and writes it first where it is not there with the same parameters.

    Args:
        root: the phantom's folder; see ``write_phantom_ultrasound`` for what may be replaced.
        images, size, seed: as in ``write_phantom_ultrasound``.

    Returns:
        The dataset as the BUSI reader gives it: near-twins share a group, labels "benign", "malignant", "normal"; its
        first note is "phantom: not a reproduction".

    Raises:
        DatasetError: the folder holds something else or cannot be written.
        ConfigurationError: a parameter is out of range.
    """
    if not holds_phantom(Path(root), _ultrasound_parameters(images, size, seed)):
        write_phantom_ultrasound(root, images, size, seed)
    return _with_notice(load_busi(root, info=PHANTOM_ULTRASOUND))


def write_phantom_mammograms(root: str | Path, patients: int = 36, height: int = 256, seed: int = 0) -> Path:
    """Writes the mammogram phantom in the layout of Mini-DDSM.

    ``STATUS/NUMBER/LETTER_NUMBER_1.SIDE_VIEW.jpg``, the lesions' masks beside them (``…_Mask.png``), ``DataWMask.csv``
    with the columns of Mini-DDSM's table, and ``PHANTOM.txt``. Unlike in Mini-DDSM, a benign or cancer patient has her
    lesion in all four views, so that the label of each image can be seen in it.

    Args:
        root: the folder to write: new, empty, or an older phantom, which is replaced.
        patients: at least 3; the three classes are balanced.
        height: image height in pixels, at least 64; the width is 0.62 of it.
        seed: 0 or more; the same parameters give the same bytes.

    Returns:
        The folder.

    Raises:
        DatasetError: the folder holds something else or cannot be written.
        ConfigurationError: a parameter is out of range.
    """
    cohort = mammogram_patients(patients, seed)

    def draw(folder: Path) -> None:
        rows = [_write_scan(folder, one, view, side, height) for one in cohort for side, view in product(SIDES, VIEWS)]
        pd.DataFrame(rows).sort_values("fullPath").to_csv(folder / MAMMOGRAM_TABLE, index=False, lineterminator="\n")

    return write_phantom_folder(Path(root), _mammogram_parameters(patients, height, seed), draw)


def write_phantom_ultrasound(root: str | Path, images: int = 120, size: int = 128, seed: int = 0) -> Path:
    """Writes the ultrasound phantom in the layout of BUSI.

    ``benign/benign (1).png`` and ``benign/benign (1)_mask.png`` and so on, RGB and grey in RGB, and ``PHANTOM.txt``. As
    in BUSI the mask of a normal image is there and empty, and there are no patients: about 30 % of the images are pairs
    of near-twins (within 40 of the 256 bits of a perceptual hash), which images of different subjects are not.

    Args:
        root: the folder to write: new, empty, or an older phantom, which is replaced.
        images: at least 12; 45 % benign, 30 % malignant, 25 % normal.
        size: image height and width in pixels, at least 64.
        seed: 0 or more; the same parameters give the same bytes.

    Returns:
        The folder.

    Raises:
        DatasetError: the folder holds something else or cannot be written.
        ConfigurationError: a parameter is out of range.
    """
    scans = ultrasound_scans(images, seed)

    def draw(folder: Path) -> None:
        for scan in scans:
            _write_ultrasound(folder, scan, size)

    return write_phantom_folder(Path(root), _ultrasound_parameters(images, size, seed), draw)


def _with_notice(dataset: Dataset) -> Dataset:
    return replace(dataset, notes=(NOTICE, *dataset.notes))


def _mammogram_parameters(patients: int, height: int, seed: int) -> Parameters:
    return {"phantom": PHANTOM_MAMMOGRAM.name, "patients": patients, "height": height, "seed": seed}


def _ultrasound_parameters(images: int, size: int, seed: int) -> Parameters:
    return {"phantom": PHANTOM_ULTRASOUND.name, "images": images, "size": size, "seed": seed}


def _write_scan(folder: Path, patient: PhantomPatient, view: str, side: str, height: int) -> dict[str, object]:
    """Writes one mammogram and its mask; returns its row of the table, with back-slashes as Mini-DDSM has them."""
    scan = draw_mammogram(patient, view, side, height)
    place = Path(patient.status, f"{patient.number:04d}", f"{patient.site}_{patient.number:04d}_1.{side}_{view}.jpg")
    mask = place.with_name(f"{place.stem}_Mask.png")
    write_image(folder / place, scan.image)
    if scan.lesion_mask.any():
        write_image(folder / mask, scan.lesion_mask)
    return {
        "fullPath": "\\".join(place.parts),
        "fileName": place.name,
        "View": view,
        "Side": side,
        "Status": patient.status,
        "Tumour_Contour": "\\".join(mask.parts) if scan.lesion_mask.any() else "-",
        "Tumour_Contour2": "-",
        "Age": patient.age if patient.age_known else "",
        "Density": patient.density if patient.density_known else 0,
    }


def _write_ultrasound(folder: Path, scan: UltrasoundScan, size: int) -> None:
    drawn = draw_ultrasound(scan.subject, size, scan.exposure, scan.coloured)
    name = f"{scan.label} ({scan.number})"
    write_image(folder / scan.label / f"{name}.png", drawn.image)
    write_image(folder / scan.label / f"{name}_mask.png", drawn.lesion_mask)
