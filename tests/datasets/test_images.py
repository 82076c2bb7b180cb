"""Reading image files: bit depths, channels, orientation, opacity; files that are damaged or claim too much."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from made_up_images import write
from PIL import Image
from served_model import scan

from mmdc_tf.datasets.images import jpeg_size, read_image, read_scan
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import UnreadableImageError
from mmdc_tf.preprocessing import get_recipe, preprocess_scan


def refused(path: Path, said: str, reduction: int = 1) -> None:
    with pytest.raises(UnreadableImageError, match=rf"Received: .*{path.name} \({said}"):
        read_image(path, reduction)


def test_grey_file_keeps_its_pixels(tmp_path):
    pixels = np.array([[0, 7], [200, 255]], np.uint8)
    image = read_image(write(tmp_path / "a.png", pixels))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, pixels)


def test_colour_file_comes_as_rgb(tmp_path):
    blue_green_red = np.full((2, 3, 3), (10, 20, 30), np.uint8)
    np.testing.assert_array_equal(
        read_image(write(tmp_path / "a.png", blue_green_red)), np.full((2, 3, 3), (30, 20, 10), np.uint8)
    )


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([0, 100, 255], [0, 100, 255]),  # 8 bits in a 16-bit file
        ([0, 2048, 4095], [0, 128, 255]),  # 12 bits: 2048 · 255 / 4095 = 127.53
        ([0, 1000, 4000], [0, 62, 249]),  # still 12 bits, maximum not reached: 62.27, 249.08
        ([0, 32768, 65535], [0, 128, 255]),  # 16 bits: 32768 · 255 / 65535 = 127.50
        ([[1000, 1000, 1000, 65535]], [[249] * 3]),  # opacity does not darken: 1000 · 255 / 1023 = 249.27
    ],
)
def test_sixteen_bits_are_scaled_by_the_bits_in_use(tmp_path, stored, expected):
    image = read_image(write(tmp_path / "a.png", np.array([stored], np.uint16)))
    assert (image.dtype, image.tolist()) == (np.uint8, [expected])


def test_deep_images_are_scaled_in_little_memory(tmp_path):
    """What comes out and the file itself, and no copy as floating-point numbers: 5 bytes a pixel, not 11."""
    image = np.random.default_rng(0).integers(0, 4096, (1000, 1000)).astype(np.uint16)
    path = write(tmp_path / "a.png", image)
    tracemalloc.start()
    found = read_image(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found, np.round(image.astype(np.float32) * (255.0 / 4095)).astype(np.uint8))
    assert most < 6.5 * image.size


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """How an image is stored that this orientation brings upright, by Pillow's own names of the inverse moves."""
    names = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_90", "TRANSVERSE", "ROTATE_270")
    if orientation == 1:
        return image
    return np.asarray(Image.fromarray(image).transpose(Image.Transpose[names[orientation - 2]]))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_orientation_is_applied(tmp_path, kind, orientation):
    upright = np.kron(np.array([[0, 250, 60], [120, 200, 30]], np.uint8), np.ones((16, 16), np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    path, options = tmp_path / f"a.{kind.lower()}", {"quality": 95} if kind == "JPEG" else {}
    Image.fromarray(turned(upright, orientation)).save(path, kind, exif=exif, **options)
    assert np.abs(read_image(path).astype(int) - upright).max() < 4
    if kind == "JPEG":
        assert jpeg_size(path) == (48, 32)
        assert np.abs(read_image(path, 8).astype(int) - upright[::8, ::8]).max() < 4
        found = preprocess_scan(path, get_recipe("plain"), 32)
        assert (found.width, found.height, found.box) == (48, 32, (0, 0, 48, 32))


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".png", np.uint8), (".png", np.uint16), (".tif", np.uint8), (".tif", np.uint16), (".webp", np.uint8)],
)
def test_transparency_is_composited_on_black_with_a_flag(tmp_path, suffix, dtype):
    white, path = int(np.iinfo(dtype).max), tmp_path / f"a{suffix}"
    pixels = np.array([[[white, white // 5, 0, opacity] for opacity in (white, 0, white * 2 // 5)]], dtype)
    if suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"])
    elif suffix == ".png":
        write(path, pixels[..., [2, 1, 0, 3]])
    else:
        Image.fromarray(pixels).save(path, lossless=True, exact=True)
    image, flags = read_scan(path)
    assert image.tolist() == [[[255, 51, 0], [0, 0, 0], [102, 20, 0]]]  # 255 · 2/5, 51 · 2/5
    assert flags == ("transparent",)
    assert preprocess_scan(path, get_recipe("plain"), 8).flags == ("transparent",)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_with_opacity_and_a_grey_that_means_transparent(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.array([[[200, 255], [200, 0], [200, 51]]], np.uint8), "LA").save(path)
    image, flags = read_scan(path)
    assert image[..., 0].tolist() == [[200, 0, 40]] and flags == ("transparent",)
    Image.fromarray(np.array([[0, 40, 80]], np.uint8)).save(tmp_path / "a.png", transparency=40)
    image, flags = read_scan(tmp_path / "a.png")
    assert image.tolist() == [[0, 0, 80]] and flags == ("transparent",)


def png(width: int, height: int, bits: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A grey PNG file by hand."""
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


@pytest.mark.parametrize(("bits", "key"), [(4, 15), (2, 3)])
def test_a_grey_of_few_bits_that_means_transparent_becomes_black(tmp_path, bits, key):
    """One row of two pixels, the key and 0; Pillow writes no such key."""
    row = zlib.compress(bytes([0, key << (8 - bits)]))
    data = png(2, 1, bits, (b"tRNS", struct.pack(">H", key)), (b"IDAT", row), (b"IEND", b""))
    (tmp_path / "a.png").write_bytes(data)
    image, flags = read_scan(tmp_path / "a.png")
    assert image.tolist() == [[0, 0]] and flags == ("transparent",)


def test_full_opacity_and_colours_multiplied_before_change_nothing(tmp_path):
    assert read_scan(write(tmp_path / "a.png", np.full((2, 3, 4), (10, 20, 30, 255), np.uint8)))[1] == ()
    for extra in ("assocalpha", "unspecified"):
        pixels = np.full((2, 3, 4), (30, 20, 10, 99), np.uint8)
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[extra])
        image, flags = read_scan(tmp_path / "a.tif")
        assert image[0, 0].tolist() == [30, 20, 10] and flags == ()


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 4095), (np.uint16, 65535)])
def test_where_white_is_zero_zero_is_white(tmp_path, dtype, white):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, white // 2, white]], dtype), photometric="miniswhite")
    assert np.abs(read_image(tmp_path / "a.tif").astype(int) - [[255, 128, 0]]).max() <= 1


@pytest.mark.parametrize(
    ("dtype", "second", "said"),
    [
        (np.uint8, "unspecified", ""),
        (np.uint8, "assocalpha", ""),
        (np.uint16, "unassalpha", "grey and opacity of 16 bits"),
    ],
)
def test_a_tiff_of_a_mode_that_nobody_reads_is_refused_by_name(tmp_path, dtype, second, said):
    """Two samples a pixel, of which the second is no plain opacity."""
    pixels = np.full((4, 4, 2), 200, dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", extrasamples=[second])
    refused(tmp_path / "a.tif", said)


def bmp_claiming(width: int, height: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(header), 0, 0, 54) + header


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "empty file"),
        (b"not pixels", "not a decodable image"),
        (png(64, 64, 8, (b"IDAT", zlib.compress(bytes(64 * 65))[:20])), "not a decodable image"),
        (png(20000, 20000, 8, (b"IDAT", b"")) + bytes(64), "its header claims 20,000 × 20,000 pixels"),
        (bmp_claiming(20000, 20000) + bytes(64), "its header claims 20,000 × 20,000 pixels"),
        (png(20000, 10000, 8, (b"IDAT", b"")), "not a decodable image"),  # up to the limit the decoder decides
        # 400 million pixels in formats whose header is not looked at
        (b"P5 20000 20000 255\n" + bytes(1000), "not a decodable image"),
        (b"P6\n20000 20000\n255\n" + bytes(1000), "not a decodable image"),
        (b"P4 40000 40000\n" + bytes(1000), "not a decodable image"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 20000 +X 20000\n" + bytes(1000), "not a decodable image"),
    ],
    ids=range(11),
)
def test_what_is_no_image_or_too_large_is_refused_in_little_memory(tmp_path, content, said):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    tracemalloc.start()
    refused(tmp_path / "a.png", said)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_floating_point_pixels_are_refused(tmp_path):
    refused(write(tmp_path / "a.tif", np.zeros((4, 4), np.float32)), "float32 pixels")


@pytest.mark.parametrize(("kind", "count"), [("TIFF", 300), ("TIFF", 2), ("GIF", 2), ("WEBP", 20), ("PNG", 3)])
def test_several_pages_or_pictures_are_refused(tmp_path, kind, count):
    first, *others = (Image.fromarray(scan(number)) for number in range(count))
    options = {"format": kind, "save_all": True, **({"lossless": True} if kind == "WEBP" else {})}
    first.save(tmp_path / "film.png", append_images=others, **options)
    refused(tmp_path / "film.png", rf"{count} pages or pictures in one file\). Save them one")
    first.save(tmp_path / "one.png", **options)
    assert read_image(tmp_path / "one.png").shape[:2] == scan().shape


def hole(size: int):
    return lambda data: data[: len(data) // 3] + bytes(size) + data[len(data) // 3 + size :]


JPEG_DAMAGES = {
    **{f"hole of {size}": ({}, hole(size)) for size in (300, 31, 8)},
    "cut and closed": ({}, lambda data: data[: len(data) * 3 // 4] + b"\xff\xd9"),
    "repeated": ({}, lambda data: data[: len(data) // 2] + data[len(data) // 2 - 900 :]),
    "progressive": ({"progressive": True}, hole(300)),
    "with restarts": ({"restart_marker_blocks": 10}, hole(300)),
    "restart lost": ({"restart_marker_blocks": 10}, lambda data: data.replace(b"\xff\xd3", b"\xff\xd5", 1)),
    "optimised": ({"optimize": True, "quality": 30}, hole(300)),
    "cut": ({}, lambda data: data[: len(data) * 3 // 4]),
}
BLURRED = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (400, 300), np.uint8), (0, 0), 1)
COLOURED = np.dstack([BLURRED, BLURRED // 2, 255 - BLURRED])


@pytest.mark.parametrize(("options", "damage"), JPEG_DAMAGES.values(), ids=list(JPEG_DAMAGES))
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("reduction", [1, 8])
def test_a_damaged_jpeg_is_refused_by_name(tmp_path, options, damage, colour, reduction):
    """libjpeg fills what it cannot decode with grey, and only prints that it did."""
    path = tmp_path / "a.jpg"
    Image.fromarray(COLOURED if colour else BLURRED).save(path, **{"quality": 90, **options})
    read_image(path, reduction)
    path.write_bytes(damage(path.read_bytes()))
    refused(path, "(Corrupt JPEG data|not a decodable)", reduction)


@pytest.mark.parametrize(
    ("compression", "size"),
    [
        *(("tiff_lzw", 300), ("packbits", 300)),  # no checksum, and a few zeros may be pixels
        *((kind, size) for kind in ("tiff_adobe_deflate", "tiles", "jpeg") for size in (8, 300)),
    ],
)
def test_a_damaged_tiff_is_refused_by_name(tmp_path, compression, size):
    path, options = tmp_path / "a.tif", {"quality": 90} if compression == "jpeg" else {}
    image = COLOURED if compression == "jpeg" else np.random.default_rng(0).integers(0, 256, (400, 300), np.uint8)
    if compression == "tiles":
        tifffile.imwrite(path, image, compression="zlib", tile=(64, 64))
    else:
        Image.fromarray(image).save(path, compression=compression, **options)
    assert np.abs(read_image(path).astype(int) - image).max() < (60 if options else 1)
    path.write_bytes(hole(size)(path.read_bytes()))
    refused(path, "")


def test_threads_get_the_pixels_of_their_own_file_and_one_damaged_file_is_one(tmp_path):
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
