"""A sheet of scans beside what preprocessing made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmdc_tf.datasets.images import read_image
from mmdc_tf.opencv import cv2
from mmdc_tf.preprocessing.manifest import Row
from mmdc_tf.preprocessing.png import write_png

CELL, GAP, COLUMNS = 256, 8, 3
_OUTLINE = (255, 200, 0)


def write_contact_sheet(path: Path, rows: Sequence[Row], source: Path, target: Path) -> None:
    """Draws each scan, the kept box outlined, beside its result.

    Args:
        path: the PNG file to write.
        rows: of the manifest; those without a PNG are passed over. At least one has one.
        source: the folder of the scans.
        target: the folder of the results.

    Raises:
        OSError: the file cannot be written.
        UnreadableImageError: a scan or result is no longer there.
    """
    pairs = [_pair(row, source, target) for row in rows if not row.failed]
    blank = np.zeros_like(pairs[0])
    columns = min(COLUMNS, len(pairs))
    pairs += [blank] * (-len(pairs) % columns)
    lines = [np.hstack(pairs[start : start + columns]) for start in range(0, len(pairs), columns)]
    write_png(path, np.vstack(lines))


def _pair(row: Row, source: Path, target: Path) -> np.ndarray:
    """uint8 (CELL + GAP, 2 (CELL + GAP), 3) RGB."""
    scan = _small(read_image(source / row.source))
    share = max(scan.shape[:2]) / max(row.width or 1, row.height or 1)
    left, top = round((row.box_left or 0) * share), round((row.box_top or 0) * share)
    right = round(((row.box_left or 0) + (row.box_width or 0)) * share) - 1
    bottom = round(((row.box_top or 0) + (row.box_height or 0)) * share) - 1
    cv2.rectangle(scan, (left, top), (right, bottom), _OUTLINE, 2)
    return np.hstack([_framed(scan), _framed(_small(read_image(target / row.output)))])


def _small(image: np.ndarray) -> np.ndarray:
    """RGB, its longest side CELL pixels."""
    colour = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    share = CELL / max(colour.shape[:2])
    height, width = (max(1, round(side * share)) for side in colour.shape[:2])
    return cv2.resize(colour, (width, height), interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_NEAREST)


def _framed(image: np.ndarray) -> np.ndarray:
    frame = np.zeros((CELL + GAP, CELL + GAP, 3), np.uint8)
    frame[: image.shape[0], : image.shape[1]] = image
    return frame
