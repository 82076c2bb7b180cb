"""Images that claim what they do not hold: many pages, another format, more pixels than there are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from served_model import scan, write_dicom

from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import UnreadableImageError


def pages(path: Path, count: int, kind: str) -> Path:
    """A file of so many pictures, the first of which is ``scan()``."""
    first, *others = (Image.fromarray(scan(number)) for number in range(count))
    first.save(path, format=kind, save_all=True, append_images=others, **({"lossless": True} if kind == "WEBP" else {}))
    return path


@pytest.mark.parametrize(("kind", "count"), [("TIFF", 300), ("TIFF", 2), ("GIF", 2), ("WEBP", 20), ("PNG", 3)])
def test_several_pages_or_pictures_are_refused(tmp_path: Path, kind: str, count: int):
    path = pages(tmp_path / "film.png", count, kind)
    with pytest.raises(
        UnreadableImageError, match=rf"film\.png \({count} pages or pictures in one file\). Save them one"
    ):
        read_image(path)
    assert read_image(pages(tmp_path / "one.png", 1, kind)).shape[:2] == scan().shape


def hole(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes(300) + data[len(data) // 2 + 300 :]


DAMAGES: dict[str, tuple[dict, Callable[[bytes], bytes]]] = {
    "hole": ({}, hole),
    "small hole": ({}, lambda data: data[: len(data) // 3] + bytes(40) + data[len(data) // 3 + 40 :]),
    "cut and closed": ({}, lambda data: data[: len(data) * 3 // 4] + b"\xff\xd9"),
    "repeated": ({}, lambda data: data[: len(data) // 2] + data[len(data) // 2 - 900 :]),
    "progressive": ({"progressive": True}, hole),
    "with restarts": ({"restart_marker_blocks": 10}, hole),
    "restart lost": ({"restart_marker_blocks": 10}, lambda data: data.replace(b"\xff\xd3", b"\xff\xd5", 1)),
    "optimised": ({"optimize": True, "quality": 30}, hole),
    "cut": ({}, lambda data: data[: len(data) * 3 // 4]),
}


@pytest.mark.parametrize(("options", "damage"), DAMAGES.values(), ids=list(DAMAGES))
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("reduction", [1, 8])
def test_a_damaged_jpeg_is_refused_by_name(tmp_path: Path, options: dict, damage, colour: bool, reduction: int):
    """libjpeg fills what it cannot decode with grey, and only prints that it did."""
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (400, 300), np.uint8), (0, 0), 1)
    picture = Image.fromarray(np.dstack([image, image // 2, 255 - image]) if colour else image)
    picture.save(tmp_path / "a.jpg", **{"quality": 90, **options})
    read_image(tmp_path / "a.jpg", reduction)
    (tmp_path / "a.jpg").write_bytes(damage((tmp_path / "a.jpg").read_bytes()))
    with pytest.raises(UnreadableImageError, match=r"Received: .*a\.jpg \((Corrupt JPEG data|not a decodable)"):
        read_image(tmp_path / "a.jpg", reduction)


@pytest.mark.parametrize("compression", [5, 8, 32773], ids=["lzw", "deflate", "packbits"])
def test_a_damaged_tiff_is_refused_by_name(tmp_path: Path, compression: int):
    image = np.random.default_rng(0).integers(0, 256, (400, 300)).astype(np.uint8)
    assert cv2.imwrite(str(tmp_path / "a.tif"), image, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)
    (tmp_path / "a.tif").write_bytes(hole((tmp_path / "a.tif").read_bytes()))
    with pytest.raises(UnreadableImageError, match=r"Received: .*a\.tif \("):
        read_image(tmp_path / "a.tif")


def test_threads_get_the_pixels_of_their_own_file_and_one_damaged_file_is_one(tmp_path: Path):
    names = [tmp_path / f"{number}.jpg" for number in range(40)]
    for number, name in enumerate(names):
        Image.fromarray(np.full((64, 64), 6 * number, np.uint8)).save(name)
    names[7].write_bytes(names[7].read_bytes()[:-12] + b"\xff\xd9")

    def mean(name: Path) -> float:
        try:
            return float(read_image(name).mean())
        except UnreadableImageError:
            return -1.0

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(mean, names))
    assert found == [-1.0 if number == 7 else 6.0 * number for number in range(40)]


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
