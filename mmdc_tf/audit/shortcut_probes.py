"""What the label can be guessed from without the breast.

A shortcut survives group splits: sites, scanners and habits of labelling reach from patient to patient. A network may
learn it in place of the disease, and fail where the habit is another (R. Geirhos et al., "Shortcut learning in deep
neural networks", Nature Machine Intelligence 2, 2020).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from mmdc_tf.audit.probe_images import ProbeImages
from mmdc_tf.audit.probe_scores import Probe, ProbeResult, commonest_label, random_trees, score_probe
from mmdc_tf.datasets.schema import Dataset

_LETTERS = re.compile(r"[^\W\d_]*")
_WORDS = re.compile(r"[^\W\d_]+|\d+")
_WITHOUT_IMAGES = "the table was read without images"
_NO_FILM = "only mammograms show film beside the breast"
_PIXELS = {
    "image-size": ("size", "Image size (width, height and their ratio)"),
    "corner-pixels": ("corners", "The four corners of 8×8 pixels"),
    "border-pixels": ("border", "A frame of 5 % of the image"),
    "background": ("background", "The film around the breast"),
    "markers": ("markers", "Bright regions off the breast, such as burnt-in labels"),
}


def shortcut_probes(dataset: Dataset, images: ProbeImages | None, seed: int = 0) -> list[ProbeResult]:
    """Guesses the label from what is not the breast, under group splits and, to compare, image-level ones.

    Args:
        dataset: its whole table gives file names, views and sides.
        images: of ``read_probe_images``; None where the dataset has no images.
        seed: of folds, models and bootstrap.

    Returns:
        Eight results of kind ``"shortcut"``: "file-name-prefix", "view-and-side", "picture-side", "image-size",
        "corner-pixels", "border-pixels", "background" and "markers"; those that the dataset has nothing for are
        skipped with the reason. A finding is a group-level accuracy whose interval lies above the share of the
        commonest class by more than the margin.

        In mammograms the breast is found by ``preprocessing.breast`` and filled with the film's median; what it
        misses of a breast counts as film. The corners are left as they are, tissue or not, so that a mark under a
        mask is found too. In ultrasound the whole picture is tissue: its border probe says how much the edges alone
        tell, the lower edge left out.
    """
    prefix, names = _prefix_probe(dataset), _view_probe(dataset.table)
    pixels = [_side_probe(dataset, images), *(_pixel_probe(name, images) for name in _PIXELS)]
    rows = images.table if images else dataset.table
    return [
        *(score_probe(probe, dataset.table, seed) for probe in (prefix, names)),
        *(score_probe(probe, rows, seed) for probe in pixels),
    ]


def file_name_prefix(path: str) -> str:
    """The letters that a file's name starts with, lower case: ``"A_0029_1.LEFT_CC.jpg"`` → ``"a"``; "" for none."""
    return _LETTERS.match(Path(path).stem).group().lower()  # type: ignore[union-attr]  # matches nothing too


def names_carry_labels(table: pd.DataFrame) -> bool:
    """Whether most file names of some class hold the class's name as a word, as in ``benign (1).png``.

    Args:
        table: columns ``image_path`` and ``label``.
    """
    named = [
        f" {_words(label)} " in f" {_words(Path(path).stem)} "
        for path, label in zip(table["image_path"], table["label"], strict=True)
    ]
    return bool((pd.Series(named, index=table.index).groupby(table["label"]).mean() > 0.5).any())


def _words(text: str) -> str:
    return " ".join(_WORDS.findall(text.lower()))


def _prefix_probe(dataset: Dataset) -> Probe:
    prefixes = dataset.table["image_path"].map(file_name_prefix).to_numpy(dtype=object)[:, None]
    reason = "the file names hold the label itself" if names_carry_labels(dataset.table) else ""
    sees = "The letters that the file name starts with (site, scanner)"
    return Probe("file-name-prefix", "shortcut", sees, commonest_label, prefixes, reason)


def _view_probe(table: pd.DataFrame) -> Probe:
    named = table[["view", "side"]]
    reason = "" if (named != "").any(axis=None) else "neither is known"
    return Probe("view-and-side", "shortcut", "View and side", commonest_label, named.to_numpy(dtype=object), reason)


def _side_probe(dataset: Dataset, images: ProbeImages | None) -> Probe:
    """Scans turned over at one site: the breast lies in the other half of the picture than its name says."""
    sees = "The half of the picture that holds the breast, against the side in the name"
    if images is None or "picture_side" not in images.features or not (images.table["side"] != "").any():
        reason = _WITHOUT_IMAGES if images is None else "sides are known for no mammogram"
        return Probe("picture-side", "shortcut", sees, commonest_label, skipped=reason)
    pairs = images.features["picture_side"].astype(object) + "/" + images.table["side"].to_numpy(dtype=object)
    return Probe("picture-side", "shortcut", sees, commonest_label, pairs[:, None])


def _pixel_probe(name: str, images: ProbeImages | None) -> Probe:
    feature, sees = _PIXELS[name]
    features: np.ndarray | None = images.features.get(feature) if images else None
    reason = _WITHOUT_IMAGES if images is None else (_NO_FILM if features is None else "")
    return Probe(name, "shortcut", sees, random_trees, features, reason)
