"""Reading image files: bit depths, channel order, and files that are not images."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from mmdc_tf.datasets.images import jpeg_size, read_image, read_scan
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import UnreadableImageError
from mmdc_tf.preprocessing import get_recipe, preprocess_scan


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


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """How an image is stored that this orientation brings upright, by Pillow's own names of the inverse moves."""
    moves = Image.Transpose
    move = [None, moves.FLIP_LEFT_RIGHT, moves.ROTATE_180, moves.FLIP_TOP_BOTTOM, moves.TRANSPOSE, moves.ROTATE_90]
    move += [moves.TRANSVERSE, moves.ROTATE_270]
    chosen = move[orientation - 1]
    picture = Image.fromarray(image)
    return np.asarray(picture if chosen is None else picture.transpose(chosen))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_orientation_is_applied(tmp_path, kind, orientation):
    upright = np.kron(np.array([[0, 250, 60], [120, 200, 30]], np.uint8), np.ones((16, 16), np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{kind.lower()}"
    Image.fromarray(turned(upright, orientation)).save(
        path, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {})
    )
    assert np.abs(read_image(path).astype(int) - upright).max() < 4
    if kind == "JPEG":
        assert jpeg_size(path) == (48, 32)
        assert np.abs(read_image(path, 8).astype(int) - upright[::8, ::8]).max() < 4
        scan = preprocess_scan(path, get_recipe("plain"), 32)
        assert (scan.width, scan.height, scan.box) == (48, 32, (0, 0, 48, 32))


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".png", np.uint8), (".png", np.uint16), (".tif", np.uint8), (".tif", np.uint16), (".webp", np.uint8)],
)
def test_transparency_is_composited_on_black_with_a_flag(tmp_path, suffix, dtype):
    white = int(np.iinfo(dtype).max)
    pixels = np.array(
        [[[white, white // 5, 0, white], [white, white // 5, 0, 0], [white, white // 5, 0, white * 2 // 5]]], dtype
    )
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"])
    else:
        write(path, pixels[..., [2, 1, 0, 3]]) if suffix == ".png" else Image.fromarray(pixels).save(
            path, lossless=True, exact=True
        )
    image, flags = read_scan(path)
    assert image.tolist() == [[[255, 51, 0], [0, 0, 0], [102, 20, 0]]]  # 255 · 2/5, 51 · 2/5
    assert flags == ("transparent",)
    assert preprocess_scan(path, get_recipe("plain"), 8).flags == ("transparent",)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_with_opacity(tmp_path, suffix):
    Image.fromarray(np.array([[[200, 255], [200, 0], [200, 51]]], np.uint8), "LA").save(tmp_path / f"a{suffix}")
    image, flags = read_scan(tmp_path / f"a{suffix}")
    assert image[..., 0].tolist() == [[200, 0, 40]] and flags == ("transparent",)


@pytest.mark.parametrize(("bits", "key"), [(4, 15), (2, 3)])
def test_a_grey_of_few_bits_that_means_transparent_becomes_black(tmp_path, bits, key):
    """Written by hand: one row of two pixels, the key and 0; Pillow writes no such key."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = bytes([0, key << (8 - bits)])
    header = struct.pack(">IIBBBBB", 2, 1, bits, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"tRNS", struct.pack(">H", key)), (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    image, flags = read_scan(tmp_path / "a.png")
    assert image.tolist() == [[0, 0]] and flags == ("transparent",)


@pytest.mark.parametrize("second", ["unspecified", "assocalpha"])
def test_a_tiff_of_a_mode_that_nobody_reads_is_refused_by_name(tmp_path, second):
    """Two samples a pixel, of which the second is no plain opacity."""
    tifffile.imwrite(
        tmp_path / "a.tif", np.full((4, 4, 2), 200, np.uint8), photometric="minisblack", extrasamples=[second]
    )
    with pytest.raises(UnreadableImageError, match=r"a\.tif"):
        read_scan(tmp_path / "a.tif")


def test_a_grey_that_means_transparent_becomes_black(tmp_path):
    Image.fromarray(np.array([[0, 40, 80]], np.uint8)).save(tmp_path / "a.png", transparency=40)
    image, flags = read_scan(tmp_path / "a.png")
    assert image.tolist() == [[0, 0, 80]] and flags == ("transparent",)


def test_full_opacity_and_colours_multiplied_before_change_nothing(tmp_path):
    pixels = np.full((2, 3, 4), (10, 20, 30, 255), np.uint8)
    assert read_scan(write(tmp_path / "a.png", pixels))[1] == ()
    for extra, flags in {"assocalpha": (), "unspecified": ()}.items():
        tifffile.imwrite(
            tmp_path / "a.tif", np.full((2, 3, 4), (30, 20, 10, 99), np.uint8), photometric="rgb", extrasamples=[extra]
        )
        image, found = read_scan(tmp_path / "a.tif")
        assert image[0, 0].tolist() == [30, 20, 10] and found == flags


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 4095), (np.uint16, 65535)])
def test_where_white_is_zero_zero_is_white(tmp_path, dtype, white):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, white // 2, white]], dtype), photometric="miniswhite")
    assert np.abs(read_image(tmp_path / "a.tif").astype(int) - [[255, 128, 0]]).max() <= 1


def test_opacity_of_sixteen_bits_beside_grey_in_tiff_is_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.ones((4, 4, 2), np.uint16), photometric="minisblack", extrasamples=["unassalpha"]
    )
    with pytest.raises(UnreadableImageError, match=r"a\.tif \(grey and opacity of 16 bits"):
        read_image(tmp_path / "a.tif")
