"""Images that claim what they do not hold: many pages, another format, more pixels than there are."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from served_model import scan, write_dicom

from mmdc_tf.datasets.images import read_image
from mmdc_tf.errors import UnreadableImageError
from mmdc_tf.opencv import cv2


def pages(path: Path, count: int, kind: str) -> Path:
    """A file of so many pictures, the first of which is ``scan()``."""
    first, *others = (Image.fromarray(scan(number)) for number in range(count))
    first.save(path, format=kind, save_all=True, append_images=others, **({"lossless": True} if kind == "WEBP" else {}))
    return path


def test_of_many_pages_the_first_is_read(tmp_path: Path):
    assert np.array_equal(read_image(pages(tmp_path / "a.tif", 300, "TIFF")), scan())


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_a_film_is_its_first_picture_or_refused(tmp_path: Path, kind: str):
    """Formats that are not promised: what OpenCV makes of them depends on how it was built."""
    path = pages(tmp_path / "film.png", 20, kind)
    try:
        image = read_image(path)
    except UnreadableImageError as error:
        assert str(path) in str(error)
    else:
        assert image.shape[:2] == scan().shape


@pytest.mark.parametrize(
    "header",
    [
        b"P5 20000 20000 255\n",
        b"P6\n20000 20000\n255\n",
        b"P4 40000 40000\n",
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 20000 +X 20000\n",
    ],
)
def test_formats_whose_header_is_not_looked_at_are_bounded_too(tmp_path: Path, header: bytes):
    """400 million pixels, of which the file holds a thousand."""
    (tmp_path / "a.png").write_bytes(header + bytes(1000))
    tracemalloc.start()
    with pytest.raises(UnreadableImageError, match=r"Received: .*a\.png"):
        read_image(tmp_path / "a.png")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_deep_images_are_scaled_in_little_memory(tmp_path: Path):
    """What comes out and the file itself, and no copy as floating-point numbers: 5 bytes a pixel, not 11."""
    image = np.random.default_rng(0).integers(0, 4096, (1000, 1000)).astype(np.uint16)
    assert cv2.imwrite(str(tmp_path / "a.png"), image)
    tracemalloc.start()
    found = read_image(tmp_path / "a.png")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found, np.round(image.astype(np.float32) * (255.0 / 4095)).astype(np.uint8))
    assert most < 6.5 * image.size


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Rows": 4000, "Columns": 4000}, "ValueError|less than expected"),
        ({"Rows": 40_000, "Columns": 40_000}, "its header claims 40,000 × 40,000"),
        ({"NumberOfFrames": 10_000}, "10000 frames in one file"),
        ({"Rows": 0}, "Received: "),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}, "Received: "),
        ({"BitsAllocated": 64}, "64-bit pixels"),
    ],
)
def test_a_dicom_header_that_does_not_fit_its_pixels(tmp_path: Path, changes: dict[str, object], reason: str):
    path = write_dicom(tmp_path / "a.dcm", scan(), **changes)
    with pytest.raises(UnreadableImageError, match=rf"(?s)Received: .*a\.dcm.*({reason})|{reason}"):
        read_image(path)
