"""The built-in phantoms: synthetic data in the layouts of Mini-DDSM and BUSI, from a seed. Not a reproduction.

They let every command run where there are no real data. Here stand the patients of the mammograms and the folders of
both; ``phantom_images`` draws mammograms, ``phantom_ultrasound`` has the rest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri

from mmdc_tf.datasets.busi import load_busi
from mmdc_tf.datasets.mini_ddsm import load_mini_ddsm
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.phantom_images import draw_mammogram, quota, require_cohort
from mmdc_tf.datasets.phantom_ultrasound import draw_ultrasound, ultrasound_scans
from mmdc_tf.datasets.schema import NOTICE, NOTICE_FILE, PARAMETERS_FILE, SIDES, TWIN_UNIT, VIEWS, Dataset, DatasetInfo
from mmdc_tf.errors import DatasetError
from mmdc_tf.io import new_folder

PHANTOM_MAMMOGRAM = DatasetInfo(
    name="phantom-mammogram",
    title="Phantom mammograms (synthetic, not a reproduction)",
    modality="mammography",
    class_names=("benign", "cancer", "normal"),
    group_unit="patient",
    citation="Drawn by mmdc_tf from a seed; in the layout of Mini-DDSM (Lekamlage et al., DMIP 2020).",
    licence="Apache-2.0, as mmdc_tf",
    synthetic=True,
)
PHANTOM_ULTRASOUND = DatasetInfo(
    name="phantom-ultrasound",
    title="Phantom breast ultrasound (synthetic, not a reproduction)",
    modality="ultrasound",
    class_names=("benign", "malignant", "normal"),
    group_unit=TWIN_UNIT,
    citation="Drawn by mmdc_tf from a seed; in the layout of BUSI (Al-Dhabyani et al., Data in Brief 28, 2020).",
    licence="Apache-2.0, as mmdc_tf",
    synthetic=True,
)
DRAWING_VERSION = 3
"""Raised whenever the drawing changes, so that folders of an older drawing are written again."""
NOTICE_TEXT = f"""{NOTICE}

Every image and value in this folder was drawn by mmdc_tf from a seed. None comes from a patient, and no number made
from them says anything about a published result. mmdc_tf may rewrite this folder: keep nothing of your own in it.
"""


class ClassOdds(NamedTuple):
    """How the patients of one class are drawn: the look of lesions ("none", "smooth", "spiculated"); the share of those
    that look "ambiguous", the same in every class; age, mean and standard deviation (normal, kept within 25 to 92);
    chance of density 1, 2, 3, 4; chance of each letter (site and digitizer) that starts a file name."""

    appearance: str
    ambiguous: float
    age: tuple[float, float]
    density: tuple[float, float, float, float]
    sites: dict[str, float]


MAMMOGRAM_ODDS = {
    "Benign": ClassOdds("smooth", 0.6, (48, 10), (0.1, 0.3, 0.35, 0.25), {"A": 0.4, "B": 0.19, "C": 0.27, "D": 0.14}),
    "Cancer": ClassOdds(
        "spiculated", 0.6, (66, 10), (0.25, 0.4, 0.25, 0.1), {"A": 0.28, "B": 0.23, "C": 0.34, "D": 0.15}
    ),
    "Normal": ClassOdds("none", 0.0, (57, 13), (0.15, 0.35, 0.35, 0.15), {"A": 0.83, "D": 0.17}),
}
"""What the label of a phantom patient depends on.

The image tells lesion from no lesion always, and benign from cancer at most in the 40 % of lesions that are not
ambiguous: a perfect reader of images alone is right for at most 2/3 · 0.7 + 1/3 = 80 % of patients. Age alone tells
benign from cancer for Φ((66 - 48) / 2 / 10) = 82 % and normal hardly. Both together reach at most 93 %, so a model that
ignores either is measurably worse. What exceeds that has recognised the patient: her four views share lesion and
texture. The sites go with the label as in Mini-DDSM's own table, and the site is in the file name only.
"""
UNKNOWN_AGE_SHARE, UNKNOWN_DENSITY_SHARE, WHITE_STRIP_SHARE = 0.05, 0.03, 0.12
"""Shares of patients, patients and scans."""


@dataclass(frozen=True)
class PhantomPatient:
    """One patient of the mammogram phantom.

    Args:
        number: counts from 1 within each status, so that a number alone names no patient, as in Mini-DDSM.
        site: "A" to "D", the letter that starts the file names.
        age, density: whole years and BI-RADS 1 to 4, whether the table has them (``age_known``, …) or not.
        lesion: "none", "smooth", "ambiguous" or "spiculated": the same in all four views.
        white_strips: the (view, side) pairs whose scans have a white edge strip.
    """

    status: str
    number: int
    site: str
    seed: int
    age: int
    density: int
    lesion: str
    age_known: bool = True
    density_known: bool = True
    white_strips: frozenset[tuple[str, str]] = frozenset()


def phantom_mammograms(root: str | Path, patients: int = 36, height: int = 256, seed: int = 0) -> Dataset:
    """The dataset that ``write_phantom_mammograms`` writes; its first note is "phantom: not a reproduction"."""
    dataset = load_mini_ddsm(write_phantom_mammograms(root, patients, height, seed), info=PHANTOM_MAMMOGRAM)
    return replace(dataset, notes=(NOTICE, *dataset.notes))


def phantom_ultrasound(root: str | Path, images: int = 120, size: int = 128, seed: int = 0) -> Dataset:
    """The dataset that ``write_phantom_ultrasound`` writes; its first note is "phantom: not a reproduction"."""
    dataset = load_busi(write_phantom_ultrasound(root, images, size, seed), info=PHANTOM_ULTRASOUND)
    return replace(dataset, notes=(NOTICE, *dataset.notes))


def write_phantom_mammograms(root: str | Path, patients: int = 36, height: int = 256, seed: int = 0) -> Path:
    """Writes the mammogram phantom in the layout of Mini-DDSM, unless it is there.

    Unlike there, a benign or cancer patient has her lesion in all four views, so that each image shows its label.

    Args:
        root: the folder: new, empty, or another phantom, which is replaced.
        patients: at least 3; the three classes are balanced.
        height: image height in pixels, at least 64; the width is 0.62 of it.
        seed: 0 or more; the same parameters give the same bytes.

    Raises:
        DatasetError: the folder holds something else or cannot be written.
        ConfigurationError: a parameter is out of range.
    """
    cohort = mammogram_patients(patients, seed)

    def draw(folder: Path) -> None:
        rows = [_write_scan(folder, one, view, side, height) for one in cohort for side, view in product(SIDES, VIEWS)]
        pd.DataFrame(rows).sort_values("fullPath").to_csv(folder / "DataWMask.csv", index=False, lineterminator="\n")

    return _write(Path(root), draw, phantom=PHANTOM_MAMMOGRAM.name, patients=patients, height=height, seed=seed)


def write_phantom_ultrasound(root: str | Path, images: int = 120, size: int = 128, seed: int = 0) -> Path:
    """Writes the ultrasound phantom in the layout of BUSI, unless it is there; as ``write_phantom_mammograms``.

    As in BUSI the mask of a normal image is empty, and there are no patients: about 30 % of the images are pairs of
    near-twins (within 40 of the 256 bits of a perceptual hash), which images of different subjects are not.

    Args:
        root, seed: as there.
        images: at least 12; 45 % benign, 30 % malignant, 25 % normal.
        size: image height and width in pixels, at least 64.
    """
    scans = ultrasound_scans(images, seed)

    def draw(folder: Path) -> None:
        for scan in scans:
            drawn = draw_ultrasound(scan.subject, size, scan.exposure, scan.coloured)
            path = folder / scan.label / f"{scan.label} ({scan.number}).png"
            write_image(path, drawn.image)
            write_image(path.with_name(f"{path.stem}_mask.png"), drawn.lesion_mask)

    return _write(Path(root), draw, phantom=PHANTOM_ULTRASOUND.name, images=images, size=size, seed=seed)


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes uint8 grey (H, W) or RGB (H, W, 3) as .png, or as .jpg at quality 95; missing folders are made."""
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == ".jpg" else []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels, options)[1].tobytes())


def mammogram_patients(patients: int = 36, seed: int = 0) -> tuple[PhantomPatient, ...]:
    """The patients of the mammogram phantom: benign, cancer, normal in turn; at least 3, the same for the same seed.

    Shares are quotas, rounded up to at least one, so that the smallest phantom has an unknown age and density too.
    """
    require_cohort(patients, len(MAMMOGRAM_ODDS), "patients", seed)
    rng = np.random.default_rng([seed, 1])
    unknown_age, unknown_density = (quota(rng, patients, share) for share in (UNKNOWN_AGE_SHARE, UNKNOWN_DENSITY_SHARE))
    strips = quota(rng, patients * len(VIEWS) * len(SIDES), WHITE_STRIP_SHARE)
    lesions = {status: _lesions(rng, odds, patients) for status, odds in MAMMOGRAM_ODDS.items()}
    ages = {status: _ages(rng, odds, patients) for status, odds in MAMMOGRAM_ODDS.items()}
    scans, drawn = list(product(VIEWS, SIDES)), []
    for place in range(patients):
        turn, kind = divmod(place, len(MAMMOGRAM_ODDS))
        status, odds = list(MAMMOGRAM_ODDS.items())[kind]
        site, own_seed = str(rng.choice(list(odds.sites), p=list(odds.sites.values()))), int(rng.integers(2**31))
        density = int(rng.choice([1, 2, 3, 4], p=odds.density))
        known = place not in unknown_age, place not in unknown_density
        striped = frozenset(scan for index, scan in enumerate(scans) if len(scans) * place + index in strips)
        age, lesion = ages[status][turn], lesions[status][turn]
        drawn.append(PhantomPatient(status, turn + 1, site, own_seed, age, density, lesion, *known, striped))
    return tuple(drawn)


def _lesions(rng: np.random.Generator, odds: ClassOdds, patients: int) -> list[str]:
    """The lesions of one class's patients, in random order, the ambiguous ones in their exact share."""
    count = math.ceil(patients / len(MAMMOGRAM_ODDS))
    ambiguous = round(odds.ambiguous * count)
    return ["ambiguous" if place < ambiguous else odds.appearance for place in rng.permutation(count)]


def _ages(rng: np.random.Generator, odds: ClassOdds, patients: int) -> list[int]:
    """The ages of one class's patients, evenly spaced quantiles in random order: a small phantom has the shares too."""
    count = math.ceil(patients / len(MAMMOGRAM_ODDS))
    mean, deviation = odds.age
    quantiles = mean + deviation * ndtri((rng.permutation(count) + 0.5) / count)
    return [round(float(age)) for age in np.clip(quantiles, 25, 92)]


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


def _write(root: Path, draw: Callable[[Path], None], **parameters: str | int) -> Path:
    """Writes a phantom beside ``root`` and renames it, so that ``root`` is whole or not there, and never other data."""
    parameters["drawing_version"] = DRAWING_VERSION
    is_phantom = (root / NOTICE_FILE).is_file()
    if is_phantom and _parameters_in(root) == parameters:
        return root
    try:
        if root.exists() and not is_phantom and (not root.is_dir() or any(root.iterdir())):
            raise DatasetError(
                f"Expected an empty, new or phantom folder (one with {NOTICE_FILE}). "
                f"Received: root={root}, which holds something else. Choose another folder."
            )
        with new_folder(root) as new:
            (new / NOTICE_FILE).write_text(NOTICE_TEXT, encoding="utf-8")
            draw(new)
            (new / PARAMETERS_FILE).write_text(json.dumps(parameters, indent=2), encoding="utf-8")
    except OSError as error:
        raise DatasetError(
            f"Expected a folder that can be written, for the phantom. Received: root={root} ({error.strerror}). "
            "Choose another folder or free the disk."
        ) from error
    return root


def _parameters_in(root: Path) -> object:
    try:
        return json.loads((root / PARAMETERS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
