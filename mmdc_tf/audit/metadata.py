"""What the sample table says and where it contradicts itself: ranges, gaps, disagreement, label by age and density."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency
from scipy.stats.contingency import association

from mmdc_tf.datasets.files import sha256_of
from mmdc_tf.datasets.outlines import LabelCeiling, label_ceiling
from mmdc_tf.datasets.schema import DENSITY_RANGE, Dataset
from mmdc_tf.errors import UnreadableImageError

PLAUSIBLE_AGE = (18, 100)
"""Years: outside of it an age in a breast dataset is more likely a slip than a patient."""
AGE_BANDS = {"under 40": 0, "40 to 49": 40, "50 to 59": 50, "60 to 69": 60, "70 and over": 70}
"""Name → least age in years."""
COLUMNS_THAT_MAY_BE_EMPTY = ("patient_id", "age", "density", "view", "side", "lesion_masks")
LEAST_SITE_GAP, LEAST_SITE_IMAGES = 0.5, 20
LEAST_EXPECTED = 5.0
"""The chi-square approximation is held to be good where every expected count is at least this (W. Cochran, 1952)."""


def audit_metadata(dataset: Dataset) -> dict[str, Any]:
    """Checks a dataset's table and, where it has images, looks for files that are the same to the byte.

    Args:
        dataset: any; a loader has refused ages outside 0 to 120 and densities outside 1 to 4 already.

    Returns:
        Plain values:

        - ``images``, ``patients``: counts; where no patient is known the group stands for her.
        - ``missing``: column → rows without a value.
        - ``ranges``: "age" and "density" → known, least, median, greatest (None where none is known).
        - ``out_of_range``: ``sample_id``, ``column``, ``value`` of ages outside 18 to 100 and densities that are not
          1 to 4.
        - ``disagreements``: ``patient``, ``column``, ``values`` where a patient's images have different ages or
          densities.
        - ``repeated_views``: ``patient``, ``view``, ``side``, ``sample_ids`` of views that a patient has more than
          once: repeats or duplicates.
        - ``identical_files``: ``sample_ids``, ``labels`` of images that are the same to the byte.
        - ``missing_by_site``: ``column``, ``site``, its ``share`` without a value, ``other``, ``other_share``,
          ``sentence``, where the two shares differ by ``LEAST_SITE_GAP`` or more: a model's "unknown" would then tell
          the site. Images whose site is not known do not count.
        - ``label_ceiling``: how right a reader of single images can be (``mmdc_tf.datasets.outlines``); only where
          lesions are outlined.
        - ``associations``: of age and of density with the label: one row a patient, her first known value, since her
          images are not independent. ``counts`` are value → label → patients; those without the value stand under
          "unknown", outside the test; ``left_out`` are those with more than one label. Of the chi-square test nothing
          (None) where fewer than two values or labels occur.
        - ``finding``: True where a value is out of range, a patient disagrees with herself, or files are identical.
        - ``sentences``: all of this in plain English.

    Raises:
        UnreadableImageError: a file is absent or cannot be opened.
    """
    table = dataset.table
    patients = table["patient_id"].where(table["patient_id"] != "", table["group_id"])
    empty = table[list(COLUMNS_THAT_MAY_BE_EMPTY)].map(lambda value: value != value or value in ("", ()))
    facts: dict[str, Any] = {
        "images": len(table),
        "patients": patients.nunique(),
        "missing": {str(column): int(count) for column, count in empty.sum().items()},
        "ranges": {column: _range(table[column]) for column in ("age", "density")},
        "out_of_range": _out_of_range(table),
        "disagreements": _disagreements(table, patients),
        "repeated_views": _repeated_views(table, patients),
        "identical_files": _identical_files(table) if dataset.has_images else [],
        "associations": [_association(table, patients, of) for of in ("age", "density")],
    }
    facts["finding"] = bool(facts["out_of_range"] or facts["disagreements"] or facts["identical_files"])
    ceiling = label_ceiling(dataset)
    if ceiling is not None:
        facts["label_ceiling"] = {**ceiling._asdict(), "accuracy": ceiling.accuracy}
    facts["missing_by_site"] = [] if dataset.site is None else _missing_by_site(table, dataset.site)
    return {**facts, "sentences": [*_sentences(facts, dataset.has_images), *_ceiling_sentences(ceiling)]}


def _missing_by_site(table: pd.DataFrame, site: pd.Series) -> list[dict[str, object]]:
    """Of each column, the sites with the largest and the smallest share without a value; small sites do not count."""
    sites = table["sample_id"].map(site).replace("", np.nan)
    large = sites[sites.groupby(sites).transform("size") >= LEAST_SITE_IMAGES]
    found: list[dict[str, object]] = []
    for column in ("age", "density"):
        shares = table.loc[large.index, column].isna().groupby(large).mean()
        if len(shares) > 1 and shares.max() - shares.min() >= LEAST_SITE_GAP:
            most, least = shares.idxmax(), shares.idxmin()
            sentence = (
                f"The {column} is unknown for {shares[most]:.0%} of the images of site {most} and for "
                f'{shares[least]:.0%} of site {least}: a model\'s learned "unknown" would tell the site. Leave the '
                f"{column} out, or train and report within each site."
            )
            gap = {"site": most, "share": shares[most], "other": least, "other_share": shares[least]}
            found.append({"column": column, **gap, "sentence": sentence})
    return found


def _range(values: pd.Series) -> dict[str, float | None]:
    known = values.dropna()
    limits = {"least": known.min(), "median": known.median(), "greatest": known.max()}
    return {"known": len(known), **{name: float(limit) if len(known) else None for name, limit in limits.items()}}


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


def _association(table: pd.DataFrame, patients: pd.Series, of: str) -> dict[str, Any]:
    """Patients by a value ("age" or "density") and by label, with Pearson's chi-square test of independence."""
    by_patient = table.groupby(patients)
    labels, values = by_patient["label"].first(), by_patient[of].first()
    single = by_patient["label"].nunique() == 1
    if of == "age":
        names = pd.cut(values, [*AGE_BANDS.values(), np.inf], right=False, labels=list(AGE_BANDS)).astype(object)
    else:
        names = values.map(lambda value: f"{value:g}", na_action="ignore")
    counts = pd.crosstab(names.where(values.notna(), "unknown")[single], labels[single])
    order = [*AGE_BANDS] if of == "age" else sorted(set(counts.index) - {"unknown"}, key=float)
    known = counts.loc[[name for name in order if name in counts.index]]
    shown = pd.concat([known, counts.loc[counts.index == "unknown"]])
    tested = known.loc[:, known.sum() > 0].to_numpy(dtype=int)
    is_tested = min(tested.shape) >= 2
    test = chi2_contingency(tested, correction=False) if is_tested else None
    return {
        "of": of,
        "counts": {str(name): {str(label): int(n) for label, n in row.items()} for name, row in shown.iterrows()},
        "patients": int(known.to_numpy().sum()),
        "left_out": int((~single).sum()),
        "chi_square": test and float(test.statistic),
        "degrees": test and int(test.dof),
        "p_value": test and float(test.pvalue),
        "cramers_v": float(association(tested, method="cramer")) if is_tested else None,
        "smallest_expected": test and float(test.expected_freq.min()),
    }


def _sentences(facts: dict[str, Any], compared: bool) -> list[str]:
    missing = ", ".join(f"{column} {count:,}" for column, count in facts["missing"].items() if count)
    clashing = [sum(one["column"] == name for one in facts["disagreements"]) for name in ("age", "density")]
    (youngest, oldest), (least, most) = PLAUSIBLE_AGE, DENSITY_RANGE
    identical = facts["identical_files"]
    across = sum(len(files["labels"]) > 1 for files in identical)
    files = f"Sets of files that are the same to the byte: {len(identical):,}; with more than one label: {across:,}."
    return [
        f"{facts['images']:,} images of {facts['patients']:,} patients or groups; "
        f"without a value: {missing or 'none'}.",
        f"Values out of range (age {youngest} to {oldest}, density {least} to {most}): {len(facts['out_of_range']):,}.",
        f"Patients whose images disagree: {clashing[0]:,} on age, {clashing[1]:,} on density.",
        f"Views that a patient has more than once: {len(facts['repeated_views']):,}.",
        files if compared else "Files were not compared: read without images.",
        *map(_association_sentence, facts["associations"]),
    ]


def _ceiling_sentences(ceiling: LabelCeiling | None) -> list[str]:
    if ceiling is None or ceiling.right == ceiling.images:
        return []
    unmarked = ", ".join(f"{count:,} {name}" for name, count in ceiling.unmarked.items())
    return [
        f"Images of breasts in which no view has an outline, labelled by the patient: {unmarked}; of their "
        f"{ceiling.patients:,} patients {ceiling.marked_elsewhere:,} have an outline in the other breast. A reader of "
        "single images who sees every outlined lesion and calls a breast without one normal is right on "
        f"{ceiling.accuracy:.1%} of all images: what a model scores above that does not come from a lesion in the "
        "image. Assumed: no outline, no lesion; one can also be missing for other reasons, and age, density and "
        "scanner tell something of the label. --labels breast or outlined takes such images out of their class."
    ]


def _association_sentence(found: dict[str, Any]) -> str:
    if found["p_value"] is None:
        return f"Label by {found['of']}: not tested, fewer than two values or labels are known."
    least = found["smallest_expected"]
    rough = f"; rough, since the least expected count is {least:.1f}" if least < LEAST_EXPECTED else ""
    chance = "< 0.0001" if found["p_value"] < 1e-4 else f"= {found['p_value']:.4f}"
    return (
        f"Label by {found['of']} of {found['patients']:,} patients: chi-square {found['chi_square']:.1f}, "
        f"{found['degrees']} degrees of freedom, p {chance}, Cramér's V {found['cramers_v']:.2f}{rough}."
    )
