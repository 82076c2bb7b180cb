"""DICOM files, written here with pydicom: how stored values become grey, and which files are refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid

from mmdc_tf.datasets.images import read_image
from mmdc_tf.errors import UnreadableImageError

RAMP = np.array([[0, 1024, 2048, 4095]], np.uint16)


def dicom(pixels: np.ndarray, bits: int = 12, photometric: str = "MONOCHROME2", **elements) -> Dataset:
    """A dataset with these pixels: (H, W) grey or (H, W, 3) colour."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def saved(dataset: Dataset, path):
    dataset.save_as(path, enforce_file_format=True)
    return path


def grey_of(tmp_path, *arguments, **elements):
    image = read_image(saved(dicom(*arguments, **elements), tmp_path / "a.dcm"))
    assert image.dtype == np.uint8
    return image.tolist()


def test_eight_bits_stay_as_they_are(tmp_path):
    assert grey_of(tmp_path, np.array([[3, 7], [100, 200]], np.uint8), bits=8) == [[3, 7], [100, 200]]


def test_twelve_bits_without_window_are_scaled_by_their_range(tmp_path):
    assert grey_of(tmp_path, RAMP) == [[0, 64, 128, 255]]  # 1024 · 255 / 4095 = 63.77, 2048: 127.53
    assert grey_of(tmp_path, np.array([[100, 200, 300]], np.uint16)) == [[0, 128, 255]]


def test_signed_pixels_are_scaled_by_their_range(tmp_path):
    assert grey_of(tmp_path, np.array([[-100, 0, 100]], np.int16)) == [[0, 128, 255]]


def test_monochrome1_is_inverted(tmp_path):
    assert grey_of(tmp_path, RAMP, photometric="MONOCHROME1") == [[255, 191, 127, 0]]


def test_the_window_decides_what_is_black_and_white(tmp_path):
    # LINEAR_EXACT, PS3.3 C.11.2.1.3.2: black at 2048 - 1024, white at 2048 + 1024
    window = {"WindowCenter": 2048, "WindowWidth": 2048, "VOILUTFunction": "LINEAR_EXACT"}
    assert grey_of(tmp_path, np.array([[0, 1024, 1536, 2048, 3072, 4095]], np.uint16), **window) == [
        [0, 0, 64, 128, 255, 255]
    ]


def test_the_first_of_several_windows_counts(tmp_path):
    window = {"WindowCenter": [2048, 100], "WindowWidth": [2048, 10], "VOILUTFunction": "LINEAR_EXACT"}
    assert grey_of(tmp_path, RAMP, **window) == [[0, 0, 128, 255]]


def test_the_window_is_in_rescaled_values(tmp_path):
    elements = {"RescaleSlope": 2, "RescaleIntercept": -1000, "VOILUTFunction": "LINEAR_EXACT"}
    # 500 → 0 black, 1000 → 1000 white, 750 → 500 half
    pixels = np.array([[0, 500, 750, 1000, 4000]], np.uint16)
    assert grey_of(tmp_path, pixels, WindowCenter=500, WindowWidth=1000, **elements) == [[0, 0, 128, 255, 255]]


def test_a_falling_rescale_turns_the_image_round(tmp_path):
    assert grey_of(tmp_path, RAMP, RescaleSlope=-1, RescaleIntercept=4095) == [[255, 191, 127, 0]]


def test_a_voi_table_is_looked_up(tmp_path):
    table = Dataset()
    table.LUTDescriptor = [4, 10, 8]
    table.LUTData = [0, 10, 40, 255]
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    assert grey_of(tmp_path, np.array([[0, 10, 11, 12, 13, 99]], np.uint16), VOILUTSequence=[table]) == [
        [0, 0, 10, 40, 255, 255]
    ]


def test_padding_is_black_and_not_part_of_the_range(tmp_path):
    pixels = np.array([[4095, 100, 200, 300]], np.uint16)
    assert grey_of(tmp_path, pixels, PixelPaddingValue=4095) == [[0, 0, 128, 255]]
    assert grey_of(tmp_path, pixels, photometric="MONOCHROME1", PixelPaddingValue=4095) == [[0, 255, 128, 0]]


def test_one_value_is_no_error(tmp_path):
    assert grey_of(tmp_path, np.full((2, 2), 7, np.uint16)) == [[0, 0], [0, 0]]


def test_colour_becomes_grey(tmp_path):
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], np.uint8)
    assert grey_of(tmp_path, pixels, bits=8, photometric="RGB") == [[76, 150, 29, 9]]  # ITU-R BT.601


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless], ids=["rle", "jpeg2000"])
def test_compressed_files_give_the_same_pixels(tmp_path, syntax):
    pixels = np.random.default_rng(0).integers(0, 4096, (64, 48), np.uint16)
    plain = read_image(saved(dicom(pixels), tmp_path / "plain.dcm"))
    dataset = dicom(pixels)
    dataset.compress(syntax)
    np.testing.assert_array_equal(read_image(saved(dataset, tmp_path / "packed.dcm")), plain)
    assert plain.std() > 50


@pytest.mark.parametrize("name", ["JPEGLSNearLossless_08.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_jpeg_dcmtk.dcm"])
def test_jpeg_ls_lossless_and_baseline_files_of_other_programs(name):
    from pydicom.data import get_testdata_file

    assert np.ptp(read_image(get_testdata_file(name, download=False))) > 100


def test_a_file_without_suffix_is_known_by_its_content(tmp_path):
    assert read_image(saved(dicom(RAMP), tmp_path / "IM0001")).tolist() == [[0, 64, 128, 255]]


def refusal(path) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_several_frames_are_refused(tmp_path):
    dataset = dicom(np.zeros((4, 4), np.uint16), NumberOfFrames=2)
    dataset.PixelData = dataset.PixelData * 2
    assert "(2 frames in one file)" in refusal(saved(dataset, tmp_path / "a.dcm"))


def test_files_without_pixels_are_refused(tmp_path):
    dataset = dicom(RAMP)
    del dataset.PixelData
    assert "(no pixel data)" in refusal(saved(dataset, tmp_path / "a.dcm"))
    del dataset.Rows
    assert "(no pixel data)" in refusal(saved(dataset, tmp_path / "b.dcm"))


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    dataset = dicom(RAMP, Rows=20000, Columns=20000)
    assert "20,000 × 20,000 pixels" in refusal(saved(dataset, tmp_path / "a.dcm"))


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless], ids=["plain", "rle", "jpeg2000"])
def test_truncated_files_are_refused(tmp_path, syntax):
    dataset = dicom(np.random.default_rng(0).integers(0, 4096, (64, 64), np.uint16))
    if syntax:
        dataset.compress(syntax)
    path = saved(dataset, tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:-2000])
    refusal(path)


def test_what_is_no_dicom_file_is_refused(tmp_path):
    (tmp_path / "a.dcm").write_text("not pixels")
    refusal(tmp_path / "a.dcm")
    (tmp_path / "empty.dcm").touch()
    refusal(tmp_path / "empty.dcm")
    assert "No such file" in refusal(tmp_path / "absent.dcm")
