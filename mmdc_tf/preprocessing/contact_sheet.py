"""A sheet of scans beside what preprocessing made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import RESEARCH_USE, InputError
from mmdc_tf.preprocessing.batch import write_png
from mmdc_tf.preprocessing.lesions import lesion_pixels
from mmdc_tf.preprocessing.operations import checked_pair, to_grey
from mmdc_tf.preprocessing.recipes import get_recipe
from mmdc_tf.preprocessing.scan_file import crop_of
from mmdc_tf.preprocessing.scan_folder import Row, masks_by_scan

CELL, GAP, COLUMNS, LINE = 320, 8, 3, 30  # pixels, pixels, scans a line, pixels of a line of text
PAIR = 2 * (CELL + GAP) + 3 * GAP
"""Pixels of a scan, its result and the wider gap after them."""
LONGEST_NAME = 48
# Okabe and Ito: told apart by colour-blind readers too
BOX, REGION, LESION = (240, 228, 66), (86, 180, 233), (213, 94, 0)
_WHITE = (255, 255, 255)
_LEGEND = ((BOX, "box cut out"), (REGION, "region kept"), (LESION, "lesion, where a mask lies beside the scan"))


def write_contact_sheet(
    path: Path, rows: Sequence[Row], source: Path, target: Path, lesion_masks: Iterable[str] = ()
) -> tuple[str, ...]:
    """Draws each scan, with outlines of the box, the region kept and its lesions, beside its result.

    Args:
        path: the PNG file to write.
        rows: of the manifest; those without a PNG are passed over. At least one has one.
        source, target: the folders of the scans and of the results.
        lesion_masks: relative to ``source``; each belongs to a scan by its name (``scan_folder.masks_by_scan``).

    Returns:
        The masks of these scans that could not be drawn, each with the reason.

    Raises:
        OSError: the file cannot be written.
        UnreadableImageError: a scan or result is no longer there.
    """
    drawn = [row for row in rows if not row.failed]
    masks = masks_by_scan([*(row.source for row in drawn), *lesion_masks])
    problems: list[str] = []
    pairs = [_pair(row, source, target, masks.get(row.source, []), problems) for row in drawn]
    columns = min(COLUMNS, len(pairs))
    pairs += [np.zeros_like(pairs[0])] * (-len(pairs) % columns)
    lines = [np.hstack(pairs[start : start + columns]) for start in range(0, len(pairs), columns)]
    write_png(path, np.vstack([_legend(lines[0].shape[1], drawn[0]), *lines]))
    return tuple(problems)


def _legend(width: int, row: Row) -> np.ndarray:
    """uint8 (5 LINE + GAP, width, 3) RGB: what is beside what, the colours, and what this is for."""
    legend = np.zeros((5 * LINE + GAP, width, 3), np.uint8)
    _write(legend, 0, GAP, f"left: scan; right: result of the recipe {row.recipe}, {row.size} pixels", _WHITE)
    for line, (colour, text) in enumerate(_LEGEND, start=1):
        _write(legend, line, GAP, f"- {text}", colour)
    _write(legend, 4, GAP, RESEARCH_USE, _WHITE)
    return legend


def _write(image: np.ndarray, line: int, left: int, text: str, colour: tuple[int, int, int]) -> None:
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.65
    cv2.putText(image, text, (left, (line + 1) * LINE - 9), font, size, colour, 1, cv2.LINE_AA)


def _pair(row: Row, source: Path, target: Path, masks: list[str], problems: list[str]) -> np.ndarray:
    """uint8 (LINE + CELL + GAP, PAIR, 3) RGB: the scan's name, then scan and result."""
    scan = read_image(source / row.source)
    cell = _small(scan)
    share = max(cell.shape[:2]) / max(scan.shape[:2])
    left, top, width, height = (row.box_left or 0, row.box_top or 0, row.box_width or 0, row.box_height or 0)
    corner = round((left + width) * share) - 1, round((top + height) * share) - 1
    cv2.rectangle(cell, (round(left * share), round(top * share)), corner, BOX, 2)
    _outline(cell, crop_of(get_recipe(row.recipe), scan).region, REGION)
    for mask in masks:
        try:
            _, lesion = checked_pair(to_grey(scan), lesion_pixels(read_image(source / mask)))
            _outline(cell, lesion, LESION)
        except InputError as error:
            problems.append(f"{mask}: {error}")
    pair = np.zeros((LINE + CELL + GAP, PAIR, 3), np.uint8)
    name = row.source if len(row.source) <= LONGEST_NAME else f"...{row.source[3 - LONGEST_NAME :]}"
    _write(pair, 0, 0, name.encode("ascii", "replace").decode(), _WHITE)  # OpenCV's letters are those of ASCII
    result = _small(read_image(target / row.output))
    for start, image in ((CELL - cell.shape[1], cell), (CELL + GAP, result)):  # a narrow scan stands at its result
        pair[LINE : LINE + image.shape[0], start : start + image.shape[1]] = image
    return pair


def _outline(cell: np.ndarray, marked: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Outlines what is marked in a scan on its picture; a single pixel still shows."""
    height, width = cell.shape[:2]
    small = np.zeros((height, width), np.uint8)
    rows, columns = np.nonzero(marked)
    small[rows * height // marked.shape[0], columns * width // marked.shape[1]] = 255
    contours, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(cell, contours, -1, colour, 1)


def _small(image: np.ndarray) -> np.ndarray:
    """RGB, its longest side CELL pixels."""
    colour = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    share = CELL / max(colour.shape[:2])
    height, width = (max(1, round(side * share)) for side in colour.shape[:2])
    return cv2.resize(colour, (width, height), interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_NEAREST)
