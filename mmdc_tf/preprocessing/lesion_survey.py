"""How much of each lesion of a dataset recipes keep, and how much of each scan: side by side, a recipe a column."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import DatasetError, InputError
from mmdc_tf.preprocessing.lesions import share_inside, what_is_kept
from mmdc_tf.preprocessing.progress import Progress, silent
from mmdc_tf.preprocessing.recipes import Recipe, get_recipe

RECIPES = ("paper", "lesion-safe")
ENOUGH = 0.99
"""The share of a lesion from which it counts as kept."""

_Entry = dict[str, object]


@dataclass(frozen=True)
class LesionSurvey:
    """What recipes keep of a dataset's lesions and scans.

    Args:
        recipes: their names, in order.
        masks: one row a lesion mask, in order of the samples: ``sample_id``; ``mask``, its path relative to the
            dataset's root; a column a recipe with the share of the mask's marked pixels inside the region kept, in
            [0, 1]; ``problem``, why there is no share ("" where there is one).
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
        both = pd.concat([frame.loc[frame["problem"] != "", ["path", "problem"]] for frame in (masks, scans)])
        return both.reset_index(drop=True)

    def kept(self, recipe: str) -> int:
        """How many masks keep at least ``ENOUGH`` under a recipe."""
        return int((self.measured[recipe] >= ENOUGH).sum())

    def mean_crop(self, recipe: str, with_masks: bool = False) -> float:
        """The mean crop share of the scans that could be read, or of those with masks; NaN where there is none."""
        return float(self._read(with_masks)[recipe].mean())

    def scans_read(self, with_masks: bool = False) -> int:
        """Number of scans behind ``mean_crop``."""
        return len(self._read(with_masks))

    def _read(self, with_masks: bool) -> pd.DataFrame:
        read = self.scans[self.scans["problem"] == ""]
        return read[read["masks"] > 0] if with_masks else read


def survey_lesions(
    dataset: Dataset, recipes: Sequence[str] = RECIPES, progress: Progress | None = None
) -> LesionSurvey:
    """Runs each recipe once on each scan of a dataset, as far as its crop.

    Scans are read side by side in threads. What cannot be measured (a scan or mask that cannot be read, a mask
    without a pixel above 127 or of another size than its scan) stands in the result with the reason.

    Args:
        dataset: its table names lesion masks in ``lesion_masks``.
        recipes: names of recipes.
        progress: called with the number of scans done and of all, at the start and after each.

    Raises:
        DatasetError: no sample has a lesion mask.
        ConfigurationError: an unknown recipe.
    """
    chosen = [get_recipe(name) for name in recipes]
    _require_masks(dataset)
    masks: list[_Entry] = []
    scans: list[_Entry] = []
    report, total = progress or silent, len(dataset.table)
    report(0, total)
    for done, (scan, of_scan) in enumerate(_each_scan(dataset, chosen), start=1):
        scans.append(scan)
        masks += of_scan
        report(done, total)
    names = tuple(recipe.name for recipe in chosen)
    return LesionSurvey(names, _table(masks, "mask", names), _table(scans, "masks", names))


def _require_masks(dataset: Dataset) -> None:
    if not dataset.table["lesion_masks"].map(len).any():
        raise DatasetError(
            f"Expected lesion masks. Received: root={str(dataset.root)!r} with none on disk for "
            f"{len(dataset.table):,} images. Name them in the dataset's table and put the files there "
            "(layouts: data/README.md)."
        )


def _each_scan(dataset: Dataset, recipes: list[Recipe]) -> Iterator[tuple[_Entry, list[_Entry]]]:
    """The scans' entries in order, from threads: OpenCV and numpy work outside Python's lock."""

    def measure(sample: str, image: str, masks: tuple[str, ...]) -> tuple[_Entry, list[_Entry]]:
        return _measure(sample, image, masks, dataset.root, recipes)

    table = dataset.table
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(measure, table["sample_id"], table["image_path"], table["lesion_masks"])
    finally:
        pool.shutdown(cancel_futures=True)


def _measure(
    sample: str, image: str, masks: tuple[str, ...], root: Path, recipes: list[Recipe]
) -> tuple[_Entry, list[_Entry]]:
    """The entries of one scan and of its masks; each recipe runs once."""
    scan: _Entry = {"sample_id": sample, "masks": len(masks), "problem": ""}
    named: list[_Entry] = [{"sample_id": sample, "mask": _relative(mask, root), "problem": ""} for mask in masks]
    try:
        pixels = read_image(root / image)
        kept = {recipe.name: what_is_kept(recipe, pixels) for recipe in recipes}
        regions = {name: one.region for name, one in kept.items()} if masks else {}
    except (InputError, RuntimeError, MemoryError) as error:
        problem = f"the scan: {_line(error)}"
        return scan | {"problem": problem}, [entry | {"problem": problem} for entry in named]
    survivals = [_survival(root / mask, regions) for mask in masks]
    shares = {name: one.share for name, one in kept.items()}
    return scan | shares, [entry | survival for entry, survival in zip(named, survivals, strict=True)]


def _survival(mask: Path, regions: dict[str, np.ndarray]) -> _Entry:
    try:
        lesion = read_image(mask)
        return {name: share_inside(region, lesion) for name, region in regions.items()}
    except (InputError, MemoryError) as error:
        return {"problem": _line(error)}


def _relative(path: str, root: Path) -> str:
    return Path(os.path.relpath(root / path, root)).as_posix()


def _line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())


def _table(entries: list[_Entry], second: str, recipes: tuple[str, ...]) -> pd.DataFrame:
    table = pd.DataFrame(entries, columns=["sample_id", second, *recipes, "problem"])
    return table.astype(dict.fromkeys(recipes, "float64"))
