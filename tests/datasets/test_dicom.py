"""DICOM files, written here with pydicom: how stored values become grey, which files are refused, and their headers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gdcm
import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless, generate_uid
from served_model import scan, write_dicom, write_image

from mmdc_tf.datasets import dicom as module
from mmdc_tf.datasets.decoder_process import DecoderProcess
from mmdc_tf.datasets.dicom import DicomHeader, age_in_years, read_header
from mmdc_tf.datasets.images import read_image, read_scan
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import UnreadableImageError

RAMP = np.array([[0, 1024, 2048, 4095]], np.uint16)
FULL = np.arange(4096, dtype=np.uint16).reshape(64, 64)
EIGHT_BIT = np.round(FULL * (255 / 4095)).astype(np.uint8)
IDENTITY = list(range(4096))
LINEAR = {"WindowCenter": 2048, "WindowWidth": 4096}  # (x - 2047.5) / 4095 + 0.5 = x / 4095
EXACT = {"WindowCenter": 2048, "WindowWidth": 2048, "VOILUTFunction": "LINEAR_EXACT"}  # black at 1024, white at 3072


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


def saved(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def saved_loosely(dataset: Dataset, path: Path, implicit: bool = False) -> Path:
    dataset.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    return path


def lut(descriptor: list[int], data, vr: str = "US") -> Dataset:
    """An item of a VOI or modality LUT sequence."""
    item = Dataset()
    item.LUTDescriptor, item.LUTData = descriptor, data
    item["LUTDescriptor"].VR, item["LUTData"].VR = "SS" if min(descriptor) < 0 else "US", vr
    return item


def framed(**elements) -> dict:
    """The same in the functional groups of an enhanced object."""
    group, frame = Dataset(), Dataset()
    for name, value in elements.items():
        setattr(frame, name, value)
    group.FrameVOILUTSequence = [frame]
    return {"SharedFunctionalGroupsSequence": [group]}


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("pixels", "elements", "expected"),
    [
        (np.array([[3, 7, 100, 200]], np.uint8), {"bits": 8}, [3, 7, 100, 200]),
        (RAMP, {}, [0, 64, 128, 255]),  # 1024 · 255 / 4095 = 63.77, 2048: 127.53
        (np.array([[100, 200, 300]], np.uint16), {}, [0, 128, 255]),
        (np.array([[-100, 0, 100]], np.int16), {}, [0, 128, 255]),
        (np.full((1, 2), 7, np.uint16), {}, [0, 0]),
        (RAMP, {"photometric": "MONOCHROME1"}, [255, 191, 127, 0]),
        (RAMP, {"RescaleSlope": -1, "RescaleIntercept": 4095}, [255, 191, 127, 0]),
        (np.array([[0, 1024, 1536, 2048, 3072, 4095]], np.uint16), EXACT, [0, 0, 64, 128, 255, 255]),
        (RAMP, {**EXACT, "WindowCenter": [2048, 100], "WindowWidth": [2048, 10]}, [0, 0, 128, 255]),
        (RAMP, {**framed(**EXACT), "NumberOfFrames": 1}, [0, 0, 128, 255]),
        (
            np.array([[0, 500, 750, 1000, 4000]], np.uint16),  # 500 → 0 black, 1000 → 1000 white, 750 → 500 half
            {**EXACT, "WindowCenter": 500, "WindowWidth": 1000, "RescaleSlope": 2, "RescaleIntercept": -1000},
            [0, 0, 128, 255, 255],
        ),
        (
            np.array([[0, 10, 11, 12, 13, 99]], np.uint16),
            {"VOILUTSequence": [lut([4, 10, 8], [0, 10, 40, 255])]},
            [0, 0, 10, 40, 255, 255],
        ),
        # a signed LUT starts at a signed value whatever its VR
        (np.array([[-1024, -1023, 0]], np.int16), {"VOILUTSequence": [lut([2, 64512, 8], [0, 255])]}, [0, 255, 255]),
        # a conforming LUT of 12 bits that stays dark: 255 · 1023 / 4095
        (
            RAMP,
            {"VOILUTSequence": [lut([4096, 0, 12], np.linspace(0, 1023, 4096).astype(int).tolist())]},
            [0, 16, 32, 64],
        ),
        (
            np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], np.uint8),  # ITU-R BT.601
            {"bits": 8, "photometric": "RGB"},
            [76, 150, 29, 9],
        ),
        (np.array([[[76, 85, 255], [9, 128, 128]]], np.uint8), {"bits": 8, "photometric": "YBR_FULL"}, [76, 9]),
    ],
)
def test_grey_by_hand(tmp_path, pixels, elements, expected):
    image = read_image(saved(dicom(pixels, **elements), tmp_path / "IM0001"))  # known by its content
    assert (image.dtype, image.tolist()) == (np.uint8, [expected])


PADDED = np.array([[4095, 100, 200, 300]], np.uint16)
SIGNED = np.array([[-2000, 0, 100, 200]], np.int16)


@pytest.mark.parametrize(
    ("pixels", "elements", "padding", "expected"),
    [
        (PADDED, {}, ("US", 4095), [0, 0, 128, 255]),  # black, and no part of the range
        (PADDED, {"photometric": "MONOCHROME1"}, ("US", 4095), [0, 255, 128, 0]),
        (SIGNED, {"bits": 16}, ("US", 63536), [0, 0, 128, 255]),  # written unsigned
        # a value that the bits cannot hold is that of no pixel
        (RAMP, {}, ("US", 65535), [0, 64, 128, 255]),
        (RAMP, {"photometric": "MONOCHROME1"}, ("US", 32768), [255, 191, 127, 0]),
        (np.array([[0, 100, 200]], np.int16), {}, ("SS", -32768), [0, 128, 255]),
    ],
)
def test_padding(tmp_path, pixels, elements, padding, expected):
    dataset = dicom(pixels, **elements)
    dataset.add_new("PixelPaddingValue", *padding)
    assert read_image(saved(dataset, tmp_path / "a.dcm")).tolist() == [expected]


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
        ({**EXACT, "WindowCenter": 1000, "WindowWidth": 0.5}, np.sign(FULL - 1000.0) * 127.5 + 127.5),
        (
            {"WindowCenter": 2048, "WindowWidth": 1024, "VOILUTFunction": "SIGMOID"},
            255 / (1 + np.exp(-4 * (FULL - 2048.0) / 1024)),
        ),
        ({"PresentationLUTShape": "IDENTITY"}, EIGHT_BIT),
        ({"PresentationLUTShape": "INVERSE", "photometric": "MONOCHROME1"}, 255 - EIGHT_BIT),
        ({"ModalityLUTSequence": [lut([4096, 0, 12], IDENTITY[::-1])]}, 255 - EIGHT_BIT),
        ({"ModalityLUTSequence": [lut([4096, 0, 12], IDENTITY[::-1])], **LINEAR}, 255 - EIGHT_BIT),
        ({"VOILUTSequence": [lut([4096, 0, 12], IDENTITY)], "WindowCenter": 9, "WindowWidth": 9}, EIGHT_BIT),
        (framed(VOILUTSequence=[lut([4096, 0, 12], IDENTITY[::-1])]), 255 - EIGHT_BIT),
        # first value 1000, clipped on both sides; 0 entries stand for 65,536
        (
            {"VOILUTSequence": [lut([3, 1000, 12], [0, 2048, 4095])]},
            np.choose(np.clip(FULL - 1000.0, 0, 2).astype(int), [0, 128, 255]),
        ),
        ({"VOILUTSequence": [lut([0, 0, 16], np.arange(2**16)[::-1].tolist())]}, 255 - np.round(FULL / 257)),
        # 256 entries of 8 bits, in bytes of OW (PS3.3, C.11.1.1): 128 words
        ({"VOILUTSequence": [lut([256, 0, 8], bytes(range(256)), "OW")]}, np.minimum(FULL, 255)),
        ({"VOILUTSequence": [lut([256, 0, 8], list(range(256)))]}, np.minimum(FULL, 255)),
        # values from 0 to 4095 less 2048; the descriptor's first value is -2048, or 63488 unsigned
        *(
            (
                {"RescaleSlope": 1, "RescaleIntercept": -2048, "VOILUTSequence": [lut([4096, one, 12], IDENTITY)]},
                EIGHT_BIT,
            )
            for one in (-2048, 63488)
        ),
    ],
)
def test_grey_is_that_of_the_standards_formulas(tmp_path, elements, expected):
    image, flags = read_scan(saved(dicom(FULL, **elements), tmp_path / "a.dcm"))
    assert np.abs(image - np.asarray(expected, float)).max() <= 0.501
    assert flags == ()


DARK = np.minimum(FULL, 1023) * (255 / 1023)


@pytest.mark.parametrize(
    ("elements", "expected", "flag"),
    [
        ({"VOILUTSequence": [lut([4096, 0, 16], IDENTITY)]}, EIGHT_BIT, "lut_bits_corrected"),
        ({"VOILUTSequence": [lut([1024, 0, 16], IDENTITY[:1024])]}, DARK, "lut_bits_corrected"),
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
    dataset = dicom(FULL.astype(np.int16) - 2048, **{"RescaleSlope": 1, "RescaleIntercept": 2048, **elements})
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    ends = apply_voi_lut(np.array([-1e9, 1e9]), dataset) if elements else (values.min(), values.max())
    expected = (values - ends[0]) * 255 / (ends[1] - ends[0])
    assert np.abs(read_image(saved(dataset, tmp_path / "a.dcm")) - expected).max() <= 0.501


@pytest.mark.parametrize(
    ("bits", "data", "expected"),
    [
        (8, [10, 90, 250], [10, 10, 90, 250]),
        (16, [10 * 257, 90 * 257, 250 * 257], [10, 10, 90, 250]),
        (16, [10, 90, 250], [0, 0, 0, 1]),  # 255 · 250 / 65535: a dark palette is one
        (8, [10 * 4, 90 * 4, 255 * 4], [10, 10, 90, 254]),  # more than its bits hold: 10 bits, 255 · 1020 / 1023
    ],
)
def test_palettes_have_the_bits_that_they_say_or_more(tmp_path, bits, data, expected):
    dataset = dicom(np.array([[0, 1, 2, 255]], np.uint8), bits=8, photometric="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        words = np.array(data, "<u2").tobytes()
        for name, value in {"Descriptor": [3, 1, bits], "Data": words}.items():
            setattr(dataset, f"{colour}PaletteColorLookupTable{name}", value)
        dataset[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
    assert read_image(saved(dataset, tmp_path / "a.dcm")).tolist() == [expected]


@pytest.mark.parametrize(
    ("syntax", "high"), [*((one, high) for one in (None, RLELossless) for high in (11, 15)), (JPEG2000Lossless, 11)]
)
def test_compressed_files_and_values_in_the_high_bits_give_the_same_pixels(tmp_path, syntax, high):
    dataset = dicom(FULL << (high - 11), **LINEAR)
    if syntax:
        dataset.BitsStored = high + 1  # what pydicom's encoders take
        dataset.compress(syntax)
    dataset.BitsStored, dataset.HighBit = 12, high
    np.testing.assert_array_equal(read_image(saved(dataset, tmp_path / "packed.dcm")), EIGHT_BIT)


@pytest.mark.parametrize("name", ["JPEGLSNearLossless_08.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_jpeg_dcmtk.dcm"])
def test_jpeg_ls_lossless_and_baseline_files_of_other_programs(name):
    assert np.ptp(read_image(get_testdata_file(name, download=False))) > 100


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


@pytest.mark.parametrize("preamble", [None, bytes(128)], ids=["no preamble", "no syntax"])
@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("name", ["a.dcm", "IM0001"])
def test_files_without_preamble_or_transfer_syntax_are_read(tmp_path, implicit, name, preamble):
    dataset = dicom(FULL, **LINEAR)
    if preamble is None:
        dataset.file_meta = FileMetaDataset()
    else:
        del dataset.file_meta.TransferSyntaxUID
        dataset.preamble, implicit = preamble, False
    path = saved_loosely(dataset, tmp_path / name, implicit)
    assert (path.read_bytes()[128:132] == b"DICM") == (preamble is not None)
    np.testing.assert_array_equal(read_image(path), EIGHT_BIT)


@pytest.mark.parametrize(
    ("changes", "cause", "advice"),
    [
        ({"NumberOfFrames": 2}, "(2 frames in one file)", "Save its frames one by one"),
        ({"BitsAllocated": 32}, "32-bit pixels", "Save it with 16 bits"),
        ({"PixelData": None}, "(no pixel data)", "Copy the file again with its pixels"),
        ({"Rows": None}, "(no pixel data)", "It is a report or an index"),
        ({"Rows": 0}, "(no pixel data)", "It is a report or an index"),
        ({"PixelData": b"\xfe\xff\x00\xe0" + bytes(8188)}, "compressed, but no Transfer Syntax UID", "Export it again"),
        ({"Rows": 100}, "less than expected", "Copy the file again"),
        ({"Rows": 20_000, "Columns": 20_000}, "its header claims 20,000 × 20,000 pixels", "Save it at a lower"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "less than expected", "Copy the file again"),
    ],
)
def test_each_refusal_has_its_cause_and_advice(tmp_path, changes, cause, advice):
    dataset = dicom(FULL, **{name: value for name, value in changes.items() if value is not None})
    for name in [name for name, value in changes.items() if value is None]:
        delattr(dataset, name)
    if "compressed" in cause:
        del dataset.file_meta.TransferSyntaxUID
    said = refusal(saved_loosely(dataset, tmp_path / "a.dcm"))
    assert cause in said and advice in said and "force" not in said


def test_what_is_no_dicom_file_is_refused(tmp_path):
    (tmp_path / "a.dcm").write_text("not pixels")
    refusal(tmp_path / "a.dcm")
    (tmp_path / "empty.dcm").touch()
    refusal(tmp_path / "empty.dcm")
    assert "No such file" in refusal(tmp_path / "absent.dcm")


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless], ids=["plain", "rle", "jpeg2000"])
def test_truncated_files_are_refused(tmp_path, syntax):
    dataset = dicom(np.random.default_rng(0).integers(0, 4096, (64, 64), np.uint16))
    if syntax:
        dataset.compress(syntax)
    path = saved(dataset, tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:-2000])
    refusal(path)


@pytest.mark.parametrize(
    ("syntax", "damage", "said"),
    [
        (JPEGBaseline8Bit, lambda data: data[: len(data) // 2] + bytes(8) + data[len(data) // 2 + 8 :], "Corrupt JPEG"),
        (JPEGBaseline8Bit, lambda data: data[: len(data) * 3 // 4] + b"\xff\xd9", "Corrupt JPEG"),
        (RLELossless, lambda data: data[: len(data) // 2] + bytes(8) + data[len(data) // 2 + 8 :], "8 bytes of zero"),
    ],
    ids=["hole", "cut", "hole in RLE"],
)
def test_damage_that_the_decoder_does_not_tell_is_refused(tmp_path, syntax, damage, said):
    image = cv2.GaussianBlur(EIGHT_BIT + np.random.default_rng(0).integers(0, 9, EIGHT_BIT.shape, np.uint8), (0, 0), 1)
    image[:20] = 0  # so that RLE packs it
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    for name, change in {"whole": bytes, "damaged": damage}.items():
        dataset = dicom(image, bits=8)
        if syntax == RLELossless:
            dataset.compress(syntax)
            dataset.PixelData = change(dataset.PixelData)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.PixelData = encapsulate([change(data)])
            dataset["PixelData"].VR = "OB"
        saved(dataset, tmp_path / f"{name}.dcm")
    assert np.abs(read_image(tmp_path / "whole.dcm").astype(int) - image).max() < 4
    assert said in refusal(tmp_path / "damaged.dcm")


def compressed(folder: Path, syntax: str) -> Path:
    """The scan, compressed by GDCM."""
    reader, writer, change = gdcm.ImageReader(), gdcm.ImageWriter(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(write_dicom(folder / "plain.dcm", scan())))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    path = folder / f'{syntax} "quoted" ü.dcm'
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless"])
def test_what_gdcm_cannot_decode_is_said_by_name_and_the_next_file_is_read(tmp_path, syntax):
    path = compressed(tmp_path, syntax)
    np.testing.assert_array_equal(read_image(path), scan())
    (tmp_path / "cut.dcm").write_bytes(path.read_bytes()[:-700])
    refusal(tmp_path / "cut.dcm")
    np.testing.assert_array_equal(read_image(path), scan())


def test_the_end_of_the_decoder_is_an_error_of_the_file_and_another_one_is_started(tmp_path, monkeypatch):
    path, decoder = compressed(tmp_path, "JPEGLosslessProcess14_1"), DecoderProcess()
    monkeypatch.setattr(module, "decoder", decoder)
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    aborts = [sys.executable, "-c", "import os; input(); os.abort()"]
    decoder._idle.put(subprocess.Popen(aborts, stderr=subprocess.DEVNULL, **pipes))
    assert "the decoder ended on it" in refusal(path)
    np.testing.assert_array_equal(read_image(path), scan())


@pytest.mark.parametrize(
    ("years", "texts"),
    [
        (61.0, ("061Y", "061y ", "61Y", "61", "061", "0061Y", "61 Y")),
        (1.0, ("018M", "053W")),  # a year and a half; 53 weeks
        (0.0, ("300D",)),
        (None, ("121Y", "999Y", "999", "000Y", "000", "0", "000M", "", "Y", "-45Y")),
    ],
)
def test_ages_are_completed_years(years, texts):
    assert [age_in_years(text) for text in texts] == [years] * len(texts)


def test_headers(tmp_path):
    elements = {"Modality": "MG", "PatientAge": "061Y", "ImageLaterality": "R", "ViewPosition": "CC"}
    assert read_header(write_dicom(tmp_path / "a.dcm", scan(), **elements)) == DicomHeader(
        "MG", 61.0, "R", "CC", "061Y"
    )
    assert read_header(write_dicom(tmp_path / "a.dcm", scan(), Laterality="L")) == DicomHeader(laterality="L")
    assert read_header(write_image(tmp_path / "a.png", scan())) == DicomHeader()
    (tmp_path / "b.dcm").write_bytes(b"no DICOM")
    with pytest.raises(UnreadableImageError, match=r"b\.dcm"):
        read_header(tmp_path / "b.dcm")
