"""What the sample table says and where it contradicts itself: ranges, gaps, disagreement, label by age and density."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency
from scipy.stats.contingency import association

from mmdc_tf.datasets.files import sha256_of
from mmdc_tf.datasets.schema import DENSITY_RANGE, Dataset
from mmdc_tf.errors import UnreadableImageError

PLAUSIBLE_AGE = (18, 100)
"""Years: outside of it an age in a breast dataset is more likely a slip than a patient."""
AGE_BANDS = {"under 40": 0, "40 to 49": 40, "50 to 59": 50, "60 to 69": 60, "70 and over": 70}
"""Name → least age in years."""
COLUMNS_THAT_MAY_BE_EMPTY = ("patient_id", "age", "density", "view", "side", "lesion_masks")
LEAST_EXPECTED = 5.0
"""The chi-square approximation is held to be good where every expected count is at least this (W. Cochran, 1952)."""


@dataclass(frozen=True)
class Association:
    """Patients by a value and by label, with the chi-square test of independence.

    Args:
        of: "age" or "density".
        counts: value → label → patients; patients without the value stand under "unknown", outside the test.
        patients: in the test.
        left_out: patients with more than one label, in neither.
        chi_square, degrees, p_value: Pearson's test without correction; None where fewer than two values or labels
            occur.
        cramers_v: strength in [0, 1], or None.
        smallest_expected: the least expected count; below 5 the p-value is rough.
    """

    of: str
    counts: dict[str, dict[str, int]]
    patients: int
    left_out: int
    chi_square: float | None
    degrees: int | None
    p_value: float | None
    cramers_v: float | None
    smallest_expected: float | None


@dataclass(frozen=True)
class MetadataReport:
    """What was found in the table.

    Args:
        images, patients: counts; where no patient is known the group stands for her.
        missing: column → rows without a value.
        ranges: "age" and "density" → known, least, median, greatest (None where none is known).
        out_of_range: ``sample_id``, ``column``, ``value`` of ages outside 18 to 100 and densities that are not 1 to 4.
        disagreements: ``patient``, ``column``, ``values`` where a patient's images have different ages or densities.
        repeated_views: ``patient``, ``view``, ``side``, ``sample_ids`` of views that a patient has more than once:
            repeats or duplicates.
        identical_files: ``sample_ids``, ``labels`` of images that are the same to the byte.
        associations: of age and of density with the label.
        finding: True where a value is out of range, a patient disagrees with herself, or identical files are listed.
        sentences: all of this in plain English.
    """

    images: int
    patients: int
    missing: dict[str, int]
    ranges: dict[str, dict[str, float | None]]
    out_of_range: list[dict[str, object]]
    disagreements: list[dict[str, object]]
    repeated_views: list[dict[str, object]]
    identical_files: list[dict[str, list[str]]]
    associations: list[Association]
    finding: bool
    sentences: list[str]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def audit_metadata(dataset: Dataset) -> MetadataReport:
    """Checks a dataset's table and, where it has images, looks for files that are the same to the byte.

    Args:
        dataset: any; a loader has refused ages outside 0 to 120 and densities outside 1 to 4 already.

    Raises:
        UnreadableImageError: a file is absent or cannot be opened.
    """
    table = dataset.table
    patients = table["patient_id"].where(table["patient_id"] != "", table["group_id"])
    out_of_range, disagreements = _out_of_range(table), _disagreements(table, patients)
    identical = _identical_files(table) if dataset.has_images else []
    report = MetadataReport(
        images=len(table),
        patients=patients.nunique(),
        missing={column: _empty(table[column]) for column in COLUMNS_THAT_MAY_BE_EMPTY},
        ranges={column: _range(table[column]) for column in ("age", "density")},
        out_of_range=out_of_range,
        disagreements=disagreements,
        repeated_views=_repeated_views(table, patients),
        identical_files=identical,
        associations=[_association(table, patients, of) for of in ("age", "density")],
        finding=bool(out_of_range or disagreements or identical),
        sentences=[],
    )
    return replace(report, sentences=_sentences(report, dataset.has_images))


def age_bands(ages: pd.Series) -> pd.Series:
    """Names of ``AGE_BANDS``; "unknown" for NaN.

    Args:
        ages: in years.
    """
    bands = pd.cut(ages, [*AGE_BANDS.values(), np.inf], right=False, labels=list(AGE_BANDS))
    return bands.astype(object).where(ages.notna(), "unknown")


def _empty(values: pd.Series) -> int:
    return int((values.isna() | values.map(lambda value: isinstance(value, str | tuple) and not value)).sum())


def _range(values: pd.Series) -> dict[str, float | None]:
    known = values.dropna()
    limits = (known.min(), known.median(), known.max()) if len(known) else (None,) * 3
    least, median, greatest = (None if value is None else float(value) for value in limits)
    return {"known": len(known), "least": least, "median": median, "greatest": greatest}


def _out_of_range(table: pd.DataFrame) -> list[dict[str, object]]:
    densities = range(DENSITY_RANGE[0], DENSITY_RANGE[1] + 1)
    odd = {"age": ~table["age"].between(*PLAUSIBLE_AGE), "density": ~table["density"].isin(densities)}
    return [
        {"sample_id": row["sample_id"], "column": column, "value": float(row[column])}
        for column, outside in odd.items()
        for row in table[outside & table[column].notna()].to_dict("records")
    ]


def _disagreements(table: pd.DataFrame, patients: pd.Series) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for column in ("age", "density"):
        spread = table[column].groupby(patients).nunique()
        rows = table.loc[patients.isin(spread.index[spread > 1]), column].dropna()
        found += [
            {"patient": patient, "column": column, "values": sorted(map(float, values.unique()))}
            for patient, values in rows.groupby(patients)
        ]
    return found


def _repeated_views(table: pd.DataFrame, patients: pd.Series) -> list[dict[str, object]]:
    named = table.assign(patient=patients)[(table["view"] != "") & (table["side"] != "")]
    return [
        {"patient": patient, "view": view, "side": side, "sample_ids": list(ids)}
        for (patient, view, side), ids in named.groupby(["patient", "view", "side"])["sample_id"]
        if len(ids) > 1
    ]


def _identical_files(table: pd.DataFrame) -> list[dict[str, list[str]]]:
    """Only files of one size can be the same, so that most are never read."""
    paths = table["image_path"].map(Path)
    try:
        shared = paths.map(lambda path: path.stat().st_size).duplicated(keep=False)
        digests = paths[shared].map(sha256_of)
    except OSError as error:
        raise UnreadableImageError(
            f"Expected a readable image file. Received: {error.filename} ({error.strerror}). "
            "Restore the file or remove its row."
        ) from error
    twins = table.loc[digests.index[digests.duplicated(keep=False)]].groupby(digests, sort=False)
    return [{"sample_ids": list(part["sample_id"]), "labels": sorted(set(part["label"]))} for _, part in twins]


def _association(table: pd.DataFrame, patients: pd.Series, of: str) -> Association:
    """One row a patient, her first known value: images of a patient are not independent."""
    by_patient = table.groupby(patients)
    labels, values = by_patient["label"].first(), by_patient[of].first()
    single = by_patient["label"].nunique() == 1
    names = age_bands(values) if of == "age" else values.map(lambda value: f"{value:g}", na_action="ignore")
    names = names.fillna("unknown")
    counts = pd.crosstab(names[single], labels[single])
    order = [*AGE_BANDS] if of == "age" else sorted(set(counts.index) - {"unknown"}, key=float)
    known = counts.loc[[name for name in order if name in counts.index]]
    shown = pd.concat([known, counts.loc[counts.index == "unknown"]])
    return Association(
        of,
        {str(name): {str(label): int(count) for label, count in row.items()} for name, row in shown.iterrows()},
        int(known.to_numpy().sum()),
        int((~single).sum()),
        *_chi_square(known.loc[:, known.sum() > 0].to_numpy(dtype=int)),
    )


def _chi_square(counts: np.ndarray) -> tuple[float | None, int | None, float | None, float | None, float | None]:
    if min(counts.shape) < 2:
        return (None,) * 5
    test = chi2_contingency(counts, correction=False)
    strength = float(association(counts, method="cramer"))
    return float(test.statistic), int(test.dof), float(test.pvalue), strength, float(test.expected_freq.min())


def _sentences(report: MetadataReport, compared: bool) -> list[str]:
    missing = ", ".join(f"{column} {count:,}" for column, count in report.missing.items() if count)
    clashing = [sum(one["column"] == name for one in report.disagreements) for name in ("age", "density")]
    (youngest, oldest), (least, most) = PLAUSIBLE_AGE, DENSITY_RANGE
    return [
        f"{report.images:,} images of {report.patients:,} patients or groups; without a value: {missing or 'none'}.",
        f"Values out of range (age {youngest} to {oldest}, density {least} to {most}): {len(report.out_of_range):,}.",
        f"Patients whose images disagree: {clashing[0]:,} on age, {clashing[1]:,} on density.",
        f"Views that a patient has more than once: {len(report.repeated_views):,}.",
        _files_sentence(report.identical_files) if compared else "Files were not compared: read without images.",
        *(_association_sentence(one) for one in report.associations),
    ]


def _files_sentence(identical: list[dict[str, list[str]]]) -> str:
    across = sum(len(files["labels"]) > 1 for files in identical)
    return f"Sets of files that are the same to the byte: {len(identical):,}; with more than one label: {across:,}."


def _association_sentence(one: Association) -> str:
    if one.p_value is None or one.smallest_expected is None:
        return f"Label by {one.of}: not tested, fewer than two values or labels are known."
    few = one.smallest_expected < LEAST_EXPECTED
    rough = f"; rough, since the least expected count is {one.smallest_expected:.1f}" if few else ""
    chance = "< 0.0001" if one.p_value < 1e-4 else f"= {one.p_value:.4f}"
    return (
        f"Label by {one.of} of {one.patients:,} patients: chi-square {one.chi_square:.1f}, {one.degrees} degrees of "
        f"freedom, p {chance}, Cramér's V {one.cramers_v:.2f}{rough}."
    )
