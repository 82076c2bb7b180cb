"""Reading image files: bit depths, channel order, and files that are not images."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from mmdc_tf.datasets.images import read_image
from mmdc_tf.errors import UnreadableImageError
from mmdc_tf.opencv import cv2


def write(path, pixels):
    assert cv2.imwrite(str(path), pixels)
    return path


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


def test_transparency_is_dropped(tmp_path):
    image = read_image(write(tmp_path / "a.png", np.full((2, 3, 4), (10, 20, 30, 0), np.uint8)))
    np.testing.assert_array_equal(image, np.full((2, 3, 3), (30, 20, 10), np.uint8))


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([0, 100, 255], [0, 100, 255]),  # 8 bits in a 16-bit file
        ([0, 2048, 4095], [0, 128, 255]),  # 12 bits: 2048 · 255 / 4095 = 127.53
        ([0, 1000, 4000], [0, 62, 249]),  # still 12 bits, maximum not reached: 62.27, 249.08
        ([0, 32768, 65535], [0, 128, 255]),  # 16 bits: 32768 · 255 / 65535 = 127.50
    ],
)
def test_sixteen_bits_are_scaled_by_the_bits_in_use(tmp_path, stored, expected):
    image = read_image(write(tmp_path / "a.png", np.array([stored], np.uint16)))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, [expected])


def test_sixteen_bit_opacity_does_not_darken_the_pixels(tmp_path):
    pixels = np.full((2, 2, 4), (1000, 1000, 1000, 65535), np.uint16)
    image = read_image(write(tmp_path / "a.png", pixels))
    np.testing.assert_array_equal(image, np.full((2, 2, 3), 249, np.uint8))  # 1000 · 255 / 1023 = 249.27


def test_absent_file_is_named(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"Received: .*absent\.png \(No such file"):
        read_image(tmp_path / "absent.png")


def test_zero_byte_file_is_named_as_empty(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(UnreadableImageError, match=r"a\.png \(empty file\)"):
        read_image(tmp_path / "a.png")


def test_text_file_named_png_is_not_an_image(tmp_path):
    (tmp_path / "a.png").write_text("not pixels")
    with pytest.raises(UnreadableImageError, match=r"a\.png \(not a decodable image\)"):
        read_image(tmp_path / "a.png")


def test_cut_off_png_is_not_an_image(tmp_path):
    path = write(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UnreadableImageError, match=r"a\.png"):
        read_image(path)


def test_floating_point_pixels_are_refused(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"a\.tif \(float32 pixels\)"):
        read_image(write(tmp_path / "a.tif", np.zeros((4, 4), np.float32)))


def png_claiming(width: int, height: int) -> bytes:
    """The header of a PNG file, and no pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return header + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def bmp_claiming(width: int, height: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(header), 0, 0, 54) + header


@pytest.mark.parametrize("claiming", [png_claiming, bmp_claiming])
def test_too_many_pixels_are_refused_by_the_header_alone(tmp_path, claiming):
    (tmp_path / "a.png").write_bytes(claiming(20000, 20000) + b"\0" * 64)
    with pytest.raises(UnreadableImageError, match=r"a\.png \(its header claims 20,000 × 20,000 pixels\)"):
        read_image(tmp_path / "a.png")


def test_up_to_the_limit_the_decoder_decides(tmp_path):
    (tmp_path / "a.png").write_bytes(png_claiming(20000, 10000))
    with pytest.raises(UnreadableImageError, match="not a decodable image"):
        read_image(tmp_path / "a.png")
