"""How much of each lesion of a dataset recipes keep, and how much of each scan: side by side, a recipe a column."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import DatasetError, InputError, one_line
from mmdc_tf.preprocessing.operations import checked_image, checked_pair, to_grey, white_where
from mmdc_tf.preprocessing.recipes import Recipe, get_recipe
from mmdc_tf.preprocessing.scan_file import crop_of

RECIPES = ("paper", "lesion-safe")
ENOUGH = 0.99  # the share of a lesion from which it counts as kept
_LESION_ABOVE = 127  # JPEG masks are not pure


@dataclass(frozen=True)
class LesionSurvey:
    """What recipes keep of a dataset's lesions and scans.

    Args:
        recipes: their names, in order.
        masks: one row a lesion mask: ``sample_id``; ``mask``, its path relative to the root; a column a recipe with the
            share of the mask inside the region kept, in [0, 1]; ``problem``, why there is none ("" where there is).
        scans: one row a scan: ``sample_id``; ``masks``, their number; a column a recipe with the area of the box that
            it cuts to as a share of the scan's, in (0, 1]; ``problem`` as above.
    """

    recipes: tuple[str, ...]
    masks: pd.DataFrame
    scans: pd.DataFrame

    @property
    def measured(self) -> pd.DataFrame:
        """The rows of ``masks`` with shares."""
        return self.masks[self.masks["problem"] == ""]

    @property
    def problems(self) -> pd.DataFrame:
        """``path`` (a mask's, or a sample's name) and ``problem`` of what could not be measured."""
        masks = self.masks.rename(columns={"mask": "path"})
        scans = self.scans[self.scans["masks"] == 0].rename(columns={"sample_id": "path"})
        both = pd.concat([masks, scans], ignore_index=True)
        return both.loc[both["problem"] != "", ["path", "problem"]].reset_index(drop=True)

    def kept(self, recipe: str) -> int:
        """How many masks a recipe keeps, at least ``ENOUGH`` of each."""
        return int((self.measured[recipe] >= ENOUGH).sum())

    def mean_crop(self, recipe: str, with_masks: bool = False) -> float:
        """The mean crop share of the scans that could be read, or of those with masks; NaN where there is none."""
        return float(self._read(with_masks)[recipe].mean())

    def scans_read(self, with_masks: bool = False) -> int:
        """Number of scans behind ``mean_crop``."""
        return len(self._read(with_masks))

    def _read(self, with_masks: bool) -> pd.DataFrame:
        return self.scans[(self.scans["problem"] == "") & (self.scans["masks"] >= int(with_masks))]


def survey_lesions(
    dataset: Dataset, recipes: Sequence[str] = RECIPES, progress: Callable[[int, int], None] | None = None
) -> LesionSurvey:
    """Runs each recipe once on each scan of a dataset, as far as its crop.

    What cannot be measured (a scan or mask that cannot be read, a mask that marks nothing or is not of its scan's size)
    stands in the result with the reason. ``progress`` is called with the numbers of scans done and of all.

    Raises:
        DatasetError: no sample has a lesion mask.
        ConfigurationError: an unknown recipe.
    """
    chosen, table = [get_recipe(name) for name in recipes], dataset.table
    if not table["lesion_masks"].map(len).any():
        raise DatasetError(
            f"Expected lesion masks. Received: root={str(dataset.root)!r} with none on disk for {len(table):,} images. "
            "Name them in the dataset's table and put the files there (layouts: docs/datasets.md)."
        )
    report = progress or (lambda done, total: None)
    report(0, len(table))
    masks, scans = [], []
    work, threads = joblib.delayed(_measure), joblib.Parallel(-1, prefer="threads", return_as="generator")
    samples = zip(table["sample_id"], table["image_path"], table["lesion_masks"], strict=True)
    for scan, of_scan in threads(work(*sample, dataset.root, chosen) for sample in samples):
        scans.append(scan)
        masks += of_scan
        report(len(scans), len(table))
    names = tuple(recipe.name for recipe in chosen)
    return LesionSurvey(names, _table(masks, "mask", names), _table(scans, "masks", names))


def _measure(
    sample: str, image: str, masks: tuple[str, ...], root: Path, recipes: list[Recipe]
) -> tuple[dict, list[dict]]:
    """The rows of one scan and of its masks; each recipe runs once."""
    scan = {"sample_id": sample, "masks": len(masks), "problem": ""}
    paths = [Path(os.path.relpath(root / mask, root)).as_posix() for mask in masks]
    named = [{"sample_id": sample, "mask": path, "problem": ""} for path in paths]
    try:
        pixels = read_image(root / image)
        crops = {recipe.name: crop_of(recipe, pixels) for recipe in recipes}
        regions = {name: crop.region for name, crop in crops.items()} if masks else {}
    except (InputError, RuntimeError, MemoryError) as error:
        problem = f"the scan: {one_line(error) or type(error).__name__}"
        return scan | {"problem": problem}, [row | {"problem": problem} for row in named]
    shares = [_shares(root / mask, regions) for mask in masks]
    boxes = {name: crop.share for name, crop in crops.items()}
    return scan | boxes, [row | share for row, share in zip(named, shares, strict=True)]


def _shares(mask: Path, regions: dict[str, np.ndarray]) -> dict[str, float] | dict[str, str]:
    try:
        lesion = read_image(mask)
        return {name: share_inside(region, lesion) for name, region in regions.items()}
    except (InputError, MemoryError) as error:
        return {"problem": one_line(error) or type(error).__name__}


def _table(rows: list[dict], second: str, recipes: tuple[str, ...]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["sample_id", second, *recipes, "problem"])
    return table.astype(dict.fromkeys(recipes, "float64"))


def share_inside(region: np.ndarray, lesion: np.ndarray) -> float:
    """The share, in [0, 1], of a lesion's pixels (as ``lesion_pixels``) in a region, uint8 (H, W), above 0 inside."""
    region, marked = checked_pair(region, lesion_pixels(lesion))
    return float(np.count_nonzero(region[marked > 0]) / np.count_nonzero(marked))


def lesion_pixels(lesion: np.ndarray) -> np.ndarray:
    """What a mask marks: uint8 (H, W), 255 where it is above 127 (JPEG masks are not pure); an outline by its line.

    Raises:
        InputError: an array of another dtype or shape, or a mask without a lesion.
    """
    marked = white_where(to_grey(checked_image(lesion, "lesion", colour=True)) > _LESION_ABOVE)
    if not marked.any():
        raise InputError(
            f"Expected a lesion mask with a pixel above {_LESION_ABOVE}. Received: lesion without one. "
            "Leave such masks out."
        )
    return marked
