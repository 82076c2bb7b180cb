"""Who is in the phantoms: labels, ages, densities, lesions, repeats, and the chances that they are drawn with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import ndtri

from mmdc_tf.datasets.schema import SIDES, VIEWS
from mmdc_tf.errors import ConfigurationError


@dataclass(frozen=True)
class ClassOdds:
    """How the patients of one class are drawn.

    Args:
        appearance: how the lesions of an unambiguous patient look: "none", "smooth" or "spiculated".
        ambiguous: share of patients whose lesions look "ambiguous": the same in every class.
        age: mean and standard deviation in years (normal, kept within 25 to 92).
        density: chance of BI-RADS density 1, 2, 3, 4.
        sites: chance of each letter (site and digitizer) that starts a file name.
    """

    appearance: str
    ambiguous: float
    age: tuple[float, float]
    density: tuple[float, float, float, float]
    sites: dict[str, float]


MAMMOGRAM_ODDS: dict[str, ClassOdds] = {
    "Benign": ClassOdds(
        "smooth", 0.60, (48, 10), (0.10, 0.30, 0.35, 0.25), {"A": 0.40, "B": 0.19, "C": 0.27, "D": 0.14}
    ),
    "Cancer": ClassOdds(
        "spiculated", 0.60, (66, 10), (0.25, 0.40, 0.25, 0.10), {"A": 0.28, "B": 0.23, "C": 0.34, "D": 0.15}
    ),
    "Normal": ClassOdds("none", 0.00, (57, 13), (0.15, 0.35, 0.35, 0.15), {"A": 0.83, "D": 0.17}),
}
"""What the label of a phantom patient depends on.

The image tells lesion from no lesion always, and benign from cancer at most in the 40 % of lesions that are not
ambiguous: a perfect reader of images alone is right for at most 2/3 · 0.7 + 1/3 = 80 % of patients. Age alone tells
benign from cancer for Φ((66 - 48) / 2 / 10) = 82 % and normal hardly. Both together reach at most 93 %, so a model that
ignores either is measurably worse. What exceeds that has recognised the patient: the four views of one share lesion
and texture, and patients differ much in both. The sites go with the label as in Mini-DDSM's own table (Normal exists
only under A and D), and the site is in the file name only, never in the pixels.
"""
UNKNOWN_AGE_SHARE = 0.05
UNKNOWN_DENSITY_SHARE = 0.03
MIN_ULTRASOUND_IMAGES = 12
WHITE_STRIP_SHARE = 0.12
"""Share of scans (not patients) with a white edge strip."""

ULTRASOUND_SHARES = {"benign": 0.45, "malignant": 0.30, "normal": 0.25}
"""Share of ultrasound images of each class."""
AMBIGUOUS_ULTRASOUND_SHARE = 0.15
"""Share of benign and of malignant ultrasound subjects whose lesion is drawn the same way whatever the class."""
NEAR_TWIN_SHARE = 0.30
"""Share of ultrasound images in pairs of near-twins: one subject imaged again, a little shifted, with another gain."""
COLOURED_SHARE = 0.05
"""Share of ultrasound images with coloured marks, whatever the class."""


@dataclass(frozen=True)
class PhantomPatient:
    """One patient of the mammogram phantom.

    Args:
        status: "Benign", "Cancer" or "Normal".
        number: counts from 1 within each status, so that a number alone names no patient, as in Mini-DDSM.
        site: "A" to "D", the letter that starts the file names.
        seed: what the images are drawn from.
        age: whole years, whether known or not.
        density: BI-RADS density 1 to 4, whether known or not.
        lesion: "none", "smooth", "ambiguous" or "spiculated": the same in all four views of the patient.
        age_known, density_known: False where the table leaves the value out.
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


def mammogram_patients(patients: int = 36, seed: int = 0) -> tuple[PhantomPatient, ...]:
    """Draws the patients of the mammogram phantom.

    Classes are balanced (Benign, Cancer, Normal in turn). Shares are quotas, rounded up to at least one patient, so
    that the smallest phantom has an unknown age and an unknown density too.

    Args:
        patients: how many, at least 3.
        seed: 0 or more; the same seed gives the same patients.

    Returns:
        The patients, in order of status and number within it.

    Raises:
        ConfigurationError: fewer than 3 patients or a negative seed.
    """
    if patients < len(MAMMOGRAM_ODDS) or seed < 0:
        raise ConfigurationError(
            f"Expected at least {len(MAMMOGRAM_ODDS)} phantom patients and a seed of 0 or more. "
            f"Received: patients={patients}, seed={seed}. Ask for more patients or another seed."
        )
    rng = np.random.default_rng([seed, 1])
    unknown_age, unknown_density = (
        _quota(rng, patients, share) for share in (UNKNOWN_AGE_SHARE, UNKNOWN_DENSITY_SHARE)
    )
    strips = _quota(rng, patients * len(VIEWS) * len(SIDES), WHITE_STRIP_SHARE)
    lesions = {status: _lesions(rng, odds, patients) for status, odds in MAMMOGRAM_ODDS.items()}
    ages = {status: _ages(rng, odds, patients) for status, odds in MAMMOGRAM_ODDS.items()}
    return tuple(
        _patient(rng, place, lesions, ages, place not in unknown_age, place not in unknown_density, strips)
        for place in range(patients)
    )


def _quota(rng: np.random.Generator, count: int, share: float) -> frozenset[int]:
    """Places of a random ``share`` of ``count`` things, at least one."""
    return frozenset(int(place) for place in rng.permutation(count)[: max(1, round(share * count))])


def _lesions(rng: np.random.Generator, odds: ClassOdds, patients: int) -> list[str]:
    """The lesions of one class's patients, in random order, the ambiguous ones in their exact share."""
    count = math.ceil(patients / len(MAMMOGRAM_ODDS))
    ambiguous = round(odds.ambiguous * count)
    lesions = ["ambiguous"] * ambiguous + [odds.appearance] * (count - ambiguous)
    return [lesions[place] for place in rng.permutation(count)]


def _ages(rng: np.random.Generator, odds: ClassOdds, patients: int) -> list[int]:
    """The ages of one class's patients, evenly spaced quantiles in random order: a small phantom has the shares too."""
    count = math.ceil(patients / len(MAMMOGRAM_ODDS))
    mean, deviation = odds.age
    quantiles = mean + deviation * ndtri((rng.permutation(count) + 0.5) / count)
    return [round(float(age)) for age in np.clip(quantiles, 25, 92)]


def _patient(
    rng: np.random.Generator,
    place: int,
    lesions: dict[str, list[str]],
    ages: dict[str, list[int]],
    age_known: bool,
    density_known: bool,
    strips: frozenset[int],
) -> PhantomPatient:
    """Draws the patient at ``place`` of the cohort; her scans are ``4 · place`` to ``4 · place + 3`` of all scans."""
    status = list(MAMMOGRAM_ODDS)[place % len(MAMMOGRAM_ODDS)]
    turn, odds = place // len(MAMMOGRAM_ODDS), MAMMOGRAM_ODDS[status]
    scans = list(product(VIEWS, SIDES))
    return PhantomPatient(
        status=status,
        number=turn + 1,
        site=str(rng.choice(list(odds.sites), p=list(odds.sites.values()))),
        seed=int(rng.integers(2**31)),
        age=ages[status][turn],
        density=int(rng.choice([1, 2, 3, 4], p=odds.density)),
        lesion=lesions[status][turn],
        age_known=age_known,
        density_known=density_known,
        white_strips=frozenset(scan for index, scan in enumerate(scans) if len(scans) * place + index in strips),
    )


@dataclass(frozen=True)
class UltrasoundSubject:
    """What an ultrasound image shows.

    Args:
        seed: what the tissue and the lesion are drawn from.
        lesion: "none", "smooth", "irregular" or "ambiguous".
    """

    seed: int
    lesion: str


@dataclass(frozen=True)
class UltrasoundScan:
    """One image of the ultrasound phantom.

    Args:
        label: "benign", "malignant" or "normal".
        number: counts from 1 within each label.
        subject: what is imaged; the two images of a near-twin pair have the same subject.
        exposure: 0 for a subject's first image, 1 for its repeat.
        coloured: True for an image with coloured calipers.
    """

    label: str
    number: int
    subject: UltrasoundSubject
    exposure: int
    coloured: bool


def ultrasound_scans(images: int = 120, seed: int = 0) -> tuple[UltrasoundScan, ...]:
    """Draws who is in the ultrasound phantom.

    Args:
        images: how many, at least 12; the classes' shares are ``ULTRASOUND_SHARES``.
        seed: 0 or more; the same seed gives the same scans.

    Returns:
        The scans, in order of label and number within it; a pair of near-twins stands apart, as in BUSI.

    Raises:
        ConfigurationError: fewer than 12 images or a negative seed.
    """
    if images < MIN_ULTRASOUND_IMAGES or seed < 0:
        raise ConfigurationError(
            f"Expected at least {MIN_ULTRASOUND_IMAGES} phantom images and a seed of 0 or more. "
            f"Received: images={images}, seed={seed}. Ask for more images or another seed."
        )
    rng = np.random.default_rng([seed, 2])
    ends = np.round(images * np.cumsum([0.0, *ULTRASOUND_SHARES.values()])).astype(int)
    coloured = _quota(rng, images, COLOURED_SHARE)
    scans = []
    for label, first, end in zip(ULTRASOUND_SHARES, ends[:-1], ends[1:], strict=True):
        exposures = _exposures(rng, label, int(end - first))
        scans += [
            UltrasoundScan(label, turn + 1, *exposure, coloured=int(first) + turn in coloured)
            for turn, exposure in enumerate(exposures)
        ]
    return tuple(scans)


def _exposures(rng: np.random.Generator, label: str, count: int) -> list[tuple[UltrasoundSubject, int]]:
    """``count`` images of one class as (subject, exposure) in random order, the near-twins in their share."""
    repeats = round(NEAR_TWIN_SHARE * count / 2)
    lesions = _ultrasound_lesions(rng, label, count - repeats)
    subjects = [UltrasoundSubject(int(rng.integers(2**31)), lesion) for lesion in lesions]
    exposures = [(subject, 0) for subject in subjects] + [(subject, 1) for subject in subjects[:repeats]]
    return [exposures[place] for place in rng.permutation(count)]


def _ultrasound_lesions(rng: np.random.Generator, label: str, count: int) -> list[str]:
    """How the lesions of one class's subjects look, in random order."""
    if label == "normal":
        return ["none"] * count
    ambiguous = _quota(rng, count, AMBIGUOUS_ULTRASOUND_SHARE)
    plain = {"benign": "smooth", "malignant": "irregular"}[label]
    return ["ambiguous" if place in ambiguous else plain for place in range(count)]
