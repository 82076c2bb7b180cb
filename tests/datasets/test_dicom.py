"""DICOM files, written here with pydicom: how stored values become grey, and which files are refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless, generate_uid

from mmdc_tf.datasets.images import read_image, read_scan
from mmdc_tf.datasets.opencv import cv2
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


DAMAGES = {
    "hole": lambda data: data[: len(data) // 2] + bytes(300) + data[len(data) // 2 + 300 :],
    "cut": lambda data: data[: len(data) * 3 // 4] + b"\xff\xd9",
}


def lut(descriptor: list[int], data, vr: str = "US") -> Dataset:
    """An item of a VOI or modality LUT sequence."""
    item = Dataset()
    item.LUTDescriptor, item.LUTData = descriptor, data
    item["LUTDescriptor"].VR, item["LUTData"].VR = "SS" if min(descriptor) < 0 else "US", vr
    return item


def frame_lut(item: Dataset) -> Dataset:
    """Functional groups that hold a VOI LUT."""
    group, frame = Dataset(), Dataset()
    frame.VOILUTSequence = [item]
    group.FrameVOILUTSequence = [frame]
    return group


FULL = np.arange(4096, dtype=np.uint16).reshape(64, 64)
EIGHT_BIT = np.round(FULL * (255 / 4095)).astype(np.uint8)
IDENTITY = list(range(4096))
LINEAR = {"WindowCenter": 2048, "WindowWidth": 4096}  # (x - 2047.5) / 4095 + 0.5 = x / 4095


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        (LINEAR, EIGHT_BIT),
        ({**LINEAR, "RescaleSlope": -1, "RescaleIntercept": 4095}, 255 - EIGHT_BIT),
        ({**LINEAR, "RescaleSlope": -1, "RescaleIntercept": 4095, "photometric": "MONOCHROME1"}, EIGHT_BIT),
        ({**LINEAR, "RescaleSlope": "", "RescaleIntercept": ""}, EIGHT_BIT),
        ({**LINEAR, "RescaleSlope": 0}, EIGHT_BIT),
        ({"WindowCenter": 1024, "WindowWidth": 2048, "RescaleSlope": 0.5}, np.round(FULL / 2 * 255 / 2047)),
        # 255 · ((x - 1000.25 + 0.5) / 99.5 + 0.5)
        ({"WindowCenter": 1000.25, "WindowWidth": 100.5}, np.clip(((FULL - 999.75) / 99.5 + 0.5) * 255, 0, 255)),
        ({"WindowCenter": 1000, "WindowWidth": 1}, np.where(FULL > 999.5, 255, 0)),
        (
            {"WindowCenter": 1000, "WindowWidth": 0.5, "VOILUTFunction": "LINEAR_EXACT"},
            np.sign(FULL - 1000.0) * 127.5 + 127.5,
        ),
        (
            {"WindowCenter": 2048, "WindowWidth": 1024, "VOILUTFunction": "SIGMOID"},
            255 / (1 + np.exp(-4 * (FULL - 2048.0) / 1024)),
        ),
        ({"PresentationLUTShape": "IDENTITY"}, EIGHT_BIT),
        ({"PresentationLUTShape": "INVERSE", "photometric": "MONOCHROME1"}, 255 - EIGHT_BIT),
        ({"ModalityLUTSequence": [lut([4096, 0, 12], IDENTITY[::-1])]}, 255 - EIGHT_BIT),
        ({"ModalityLUTSequence": [lut([4096, 0, 12], IDENTITY[::-1])], **LINEAR}, 255 - EIGHT_BIT),
        ({"VOILUTSequence": [lut([4096, 0, 12], IDENTITY)], "WindowCenter": 9, "WindowWidth": 9}, EIGHT_BIT),
        ({"SharedFunctionalGroupsSequence": [frame_lut(lut([4096, 0, 12], IDENTITY[::-1]))]}, 255 - EIGHT_BIT),
        # first value 1000, clipped on both sides; 0 entries stand for 65,536
        (
            {"VOILUTSequence": [lut([3, 1000, 12], [0, 2048, 4095])]},
            np.choose(np.clip(FULL - 1000.0, 0, 2).astype(int), [0, 128, 255]),
        ),
        ({"VOILUTSequence": [lut([0, 0, 16], np.arange(2**16)[::-1].tolist())]}, 255 - np.round(FULL / 257)),
        # 256 entries of 8 bits, in bytes of OW (PS3.3, C.11.1.1): 128 words
        ({"VOILUTSequence": [lut([256, 0, 8], bytes(range(256)), "OW")]}, np.minimum(FULL, 255)),
        ({"VOILUTSequence": [lut([256, 0, 8], list(range(256)))]}, np.minimum(FULL, 255)),
        # values from 0 to 4095 less 2048; the descriptor's first value is -2048
        (
            {"RescaleSlope": 1, "RescaleIntercept": -2048, "VOILUTSequence": [lut([4096, -2048, 12], IDENTITY)]},
            EIGHT_BIT,
        ),
        (
            {"RescaleSlope": 1, "RescaleIntercept": -2048, "VOILUTSequence": [lut([4096, 63488, 12], IDENTITY)]},
            EIGHT_BIT,
        ),
    ],
)
def test_grey_is_that_of_the_standards_formulas(tmp_path, elements, expected):
    image, flags = read_scan(saved(dicom(FULL, **elements), tmp_path / "a.dcm"))
    assert np.abs(image - np.asarray(expected, float)).max() <= 0.501
    assert flags == ()


@pytest.mark.parametrize(
    ("elements", "expected", "flag"),
    [
        ({"VOILUTSequence": [lut([4096, 0, 16], IDENTITY)]}, EIGHT_BIT, "lut_bits_corrected"),
        (
            {"VOILUTSequence": [lut([1024, 0, 16], IDENTITY[:1024])]},
            np.minimum(FULL, 1023) * (255 / 1023),
            "lut_bits_corrected",
        ),
        ({"VOILUTSequence": [lut([4096, 0, 8], IDENTITY)]}, EIGHT_BIT, "lut_bits_corrected"),
        ({"WindowCenter": 2048, "WindowWidth": 0}, EIGHT_BIT, "window_skipped"),
        ({"WindowCenter": 2048, "WindowWidth": -5}, EIGHT_BIT, "window_skipped"),
        ({"WindowCenter": 2048, "WindowWidth": 0.5}, EIGHT_BIT, "window_skipped"),  # LINEAR begins at 1
        ({"WindowCenter": [5, 2048], "WindowWidth": [0, 4096]}, EIGHT_BIT, "window_skipped"),
        ({"WindowCenter": [5, 2048], "WindowWidth": ["", 4096]}, EIGHT_BIT, "window_skipped"),
        ({"WindowCenter": 5}, EIGHT_BIT, "window_skipped"),
        ({"PresentationLUTShape": "INVERSE"}, 255 - EIGHT_BIT, "presentation_shape_differs"),
        (
            {"PresentationLUTShape": "IDENTITY", "photometric": "MONOCHROME1"},
            255 - EIGHT_BIT,
            "presentation_shape_differs",
        ),
    ],
)
def test_what_does_not_conform_is_shown_and_flagged(tmp_path, elements, expected, flag):
    image, flags = read_scan(saved(dicom(FULL, **elements), tmp_path / "a.dcm"))
    assert np.abs(image - np.asarray(expected, float)).max() <= 0.501
    assert flags == (flag,)


@pytest.mark.parametrize(
    "elements", [{}, LINEAR, {**LINEAR, "VOILUTFunction": "SIGMOID"}, {"RescaleSlope": 2, **LINEAR}]
)
def test_signed_pixels_through_windows_are_as_in_pydicom(tmp_path, elements):
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    dataset = dicom(FULL.astype(np.int16) - 2048, **{"RescaleSlope": 1, "RescaleIntercept": 2048, **elements})
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    ends = apply_voi_lut(np.array([-1e9, 1e9]), dataset) if elements else (values.min(), values.max())
    expected = (values - ends[0]) * 255 / (ends[1] - ends[0])
    assert np.abs(read_image(saved(dataset, tmp_path / "a.dcm")) - expected).max() <= 0.501


def test_a_signed_lut_starts_at_a_signed_value_whatever_its_vr(tmp_path):
    pixels = np.array([[-1024, -1023, 0]], np.int16)
    assert grey_of(tmp_path, pixels, VOILUTSequence=[lut([2, 64512, 8], [0, 255])]) == [[0, 255, 255]]


def test_windows_of_an_enhanced_object_are_found_in_its_functional_groups(tmp_path):
    group, macro = Dataset(), Dataset()
    macro.WindowCenter, macro.WindowWidth, macro.VOILUTFunction = 2048, 2048, "LINEAR_EXACT"
    group.FrameVOILUTSequence = [macro]
    assert grey_of(tmp_path, RAMP, SharedFunctionalGroupsSequence=[group], NumberOfFrames=1) == [[0, 0, 128, 255]]


@pytest.mark.parametrize(
    "changes",
    [
        {"BitsStored": None},
        {"BitsStored": 99},
        {"HighBit": None},
        {"PixelRepresentation": None},
        {"SamplesPerPixel": None},
        {"PhotometricInterpretation": None},
        {"PhotometricInterpretation": " MONOCHROME2"},
        {"BitsAllocated": None},
        dict.fromkeys(("BitsStored", "BitsAllocated", "HighBit", "PixelRepresentation", "NumberOfFrames"), ""),
    ],
    ids=str,
)
def test_missing_and_impossible_elements_get_their_one_likely_value(tmp_path, changes):
    dataset = dicom(FULL, **LINEAR)
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value or None)
    dataset.save_as(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm"), EIGHT_BIT)


def test_values_in_the_high_bits_are_brought_down(tmp_path):
    dataset = dicom(FULL << 4, **LINEAR, HighBit=15)
    np.testing.assert_array_equal(read_image(saved(dataset, tmp_path / "a.dcm")), EIGHT_BIT)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("name", ["a.dcm", "IM0001"])
def test_files_without_preamble_and_transfer_syntax_are_read(tmp_path, implicit, name):
    dataset = dicom(FULL, **LINEAR)
    dataset.file_meta = FileMetaDataset()
    dataset.save_as(tmp_path / name, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    assert (tmp_path / name).read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_image(tmp_path / name), EIGHT_BIT)


def test_a_group_of_meta_elements_without_transfer_syntax_is_read(tmp_path):
    dataset = dicom(FULL, **LINEAR)
    del dataset.file_meta.TransferSyntaxUID
    dataset.preamble = bytes(128)
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=True, enforce_file_format=False)
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm"), EIGHT_BIT)


def test_signed_padding_may_be_written_unsigned(tmp_path):
    pixels = np.array([[-2000, 0, 100, 200]], np.int16)
    dataset = dicom(pixels, bits=16)
    dataset.add_new("PixelPaddingValue", "US", 63536)
    assert read_image(saved(dataset, tmp_path / "a.dcm")).tolist() == [[0, 0, 128, 255]]


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_of_eight_bits_may_say_sixteen(tmp_path, bits):
    pixels = np.array([[0, 1, 2, 255]], np.uint8)
    dataset = dicom(pixels, bits=8, photometric="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        for name, value in {"Descriptor": [3, 1, bits], "Data": bytes([10, 0, 90, 0, 250, 0])}.items():
            setattr(dataset, f"{colour}PaletteColorLookupTable{name}", value)
        dataset[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
    assert read_image(saved(dataset, tmp_path / "a.dcm")).tolist() == [[10, 10, 90, 250]]


def test_ybr_becomes_grey(tmp_path):
    pixels = np.array([[[76, 85, 255], [9, 128, 128]]], np.uint8)  # red, and a grey
    assert grey_of(tmp_path, pixels, bits=8, photometric="YBR_FULL") == [[76, 9]]


@pytest.mark.parametrize(
    ("changes", "cause", "advice"),
    [
        ({"NumberOfFrames": 2}, "2 frames in one file", "Save its frames one by one"),
        ({"BitsAllocated": 32}, "32-bit pixels", "Save it with 16 bits"),
        ({"PixelData": None}, "no pixel data", "Copy the file again with its pixels"),
        ({"Rows": None}, "no pixel data", "It is a report or an index"),
        ({"PixelData": b"\xfe\xff\x00\xe0" + bytes(8188)}, "compressed, but no Transfer Syntax UID", "Export it again"),
        ({"Rows": 100}, "less than expected", "Copy the file again"),
    ],
)
def test_each_refusal_has_its_cause_and_advice(tmp_path, changes, cause, advice):
    dataset = dicom(FULL, **{name: value for name, value in changes.items() if value is not None})
    for name in [name for name, value in changes.items() if value is None]:
        delattr(dataset, name)
    if "compressed" in cause:
        del dataset.file_meta.TransferSyntaxUID
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=True, enforce_file_format=False)
    said = refusal(tmp_path / "a.dcm")
    assert cause in said and advice in said and "force" not in said


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_jpeg_inside_is_refused(tmp_path, damage):
    from pydicom.encaps import encapsulate

    _, jpeg = cv2.imencode(".jpg", EIGHT_BIT, [cv2.IMWRITE_JPEG_QUALITY, 100])
    for name, data in {"whole": jpeg.tobytes(), "damaged": damage(jpeg.tobytes())}.items():
        dataset = dicom(EIGHT_BIT, bits=8)
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = encapsulate([data])
        dataset["PixelData"].VR = "OB"
        saved(dataset, tmp_path / f"{name}.dcm")
    assert np.abs(read_image(tmp_path / "whole.dcm").astype(int) - EIGHT_BIT).max() < 4
    assert "Corrupt JPEG data" in refusal(tmp_path / "damaged.dcm")
