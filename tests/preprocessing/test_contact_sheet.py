"""The contact sheet: what is beside what, and that the outlines are where box, region and lesion are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.preprocessing.batch import preprocess_folder
from mmdc_tf.preprocessing.contact_sheet import BOX, CELL, COLUMNS, GAP, LESION, LINE, PAIR, REGION, write_contact_sheet

SIZE = 16
TOP = 5 * LINE + GAP
NAMED = LINE + CELL + GAP
# of a drawn scan, CELL by CELL, so that a pixel of the scan is one of the sheet: rows, columns
BREAST = (slice(80, 240), slice(0, 120))
MARKED = (slice(100, 140), slice(60, 160))


def scan() -> np.ndarray:
    """A breast whose box is larger than itself: its lower half is narrower."""
    image = np.full((CELL, CELL), 5, np.uint8)
    image[BREAST] = 150
    image[160:240, 60:120] = 5
    return image


def mask() -> np.ndarray:
    image = np.zeros((CELL, CELL), np.uint8)
    image[MARKED] = 255
    return image


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, image in (("a.png", scan()), ("a_mask.png", mask()), ("b.png", scan())):
        assert cv2.imwrite(str(folder / name), image)
    return folder


def sheet(source: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The sheet without its legend, and what could not be drawn."""
    target, path = source.parent / "out", source.parent / "sheet.png"
    result = preprocess_folder(source, target, recipe="paper", size=SIZE, workers=1)
    problems = write_contact_sheet(path, result.rows, source, target, result.lesion_masks)
    return read_image(path), problems


def cell(image: np.ndarray, place: int) -> np.ndarray:
    left = place // 2 * PAIR + place % 2 * (CELL + GAP)
    return image[TOP + LINE : TOP + LINE + CELL, left : left + CELL]


def corners(image: np.ndarray, colour: tuple[int, int, int]) -> list[int]:
    """First row, last row, first column, last column of a colour."""
    rows, columns = np.nonzero((image == colour).all(axis=2))
    return [rows.min(), rows.max(), columns.min(), columns.max()]


def test_scan_and_result_stand_side_by_side_below_the_legend(source: Path) -> None:
    image, problems = sheet(source)
    assert problems == ()
    assert image.shape == (TOP + NAMED, 2 * PAIR, 3)
    result = read_image(source.parent / "out" / "b.png")
    assert cell(image, 3)[CELL // 2, CELL // 2, 0] == result[SIZE // 2, SIZE // 2, 0]
    names = [image[TOP : TOP + LINE, place * PAIR : (place + 1) * PAIR] for place in (0, 1)]
    assert all(name.any() for name in names) and not np.array_equal(*names)
    for colour in (BOX, REGION, LESION, (255, 255, 255)):
        # OpenCV 4 draws text without a pixel of the full colour: 2 levels off at the nearest.
        assert np.abs(image[:TOP].astype(int) - colour).max(axis=2).min() <= 2


def test_the_outlines_are_where_they_should_be(source: Path) -> None:
    image, _ = sheet(source)
    first = cell(image, 0)
    rows, columns = MARKED
    assert corners(first, LESION) == [rows.start, rows.stop - 1, columns.start, columns.stop - 1]
    assert tuple(first[200, 59]) == REGION  # the right edge of the narrow half
    assert tuple(first[90, 119]) == REGION  # the right edge of the broad half, on the box
    assert tuple(first[200, 119]) == BOX  # the box only
    for place in (1, 2, 3):
        assert not (cell(image, place) == LESION).all(axis=2).any()
    assert tuple(first[120, 30]) == (150, 150, 150) and tuple(first[30, 200]) == (5, 5, 5)


def test_more_scans_make_more_lines_and_a_one_pixel_lesion_shows(source: Path) -> None:
    tiny = np.zeros((3000, 3000), np.uint8)
    tiny[1500, 900] = 255
    assert cv2.imwrite(str(source / "a.png"), cv2.resize(scan(), (3000, 3000)))
    assert cv2.imwrite(str(source / "a_mask.png"), tiny)
    for number in range(COLUMNS):
        assert cv2.imwrite(str(source / f"more{number}.png"), scan())
    image, _ = sheet(source)
    assert image.shape == (TOP + 2 * NAMED, COLUMNS * PAIR, 3)
    assert corners(cell(image, 0), LESION) == [CELL // 2] * 2 + [CELL * 3 // 10] * 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.full((9, 9), 255, np.uint8), "of the image's size (320, 320)"),
        (np.zeros((CELL, CELL), np.uint8), "a pixel above 127"),
        (None, "not a decodable image"),
    ],
)
def test_masks_that_cannot_be_drawn_are_named(source: Path, content: np.ndarray | None, reason: str) -> None:
    if content is None:
        (source / "a_mask.png").write_bytes(b"no image")
    else:
        assert cv2.imwrite(str(source / "a_mask.png"), content)
    image, problems = sheet(source)
    assert len(problems) == 1
    assert problems[0].startswith("a_mask.png: Expected") and reason in problems[0]
    assert not (cell(image, 0) == LESION).all(axis=2).any()
