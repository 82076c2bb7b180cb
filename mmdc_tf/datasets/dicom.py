"""Reading one DICOM file: its pixels as 8-bit grey, as a viewer shows them first, and what its header says.

pydicom reads the header; pixels that are compressed it decodes in a process of their own (``decoder_process``), with
its plug-ins Pillow, pylibjpeg-openjpeg and python-gdcm. It is imported where it is used, since most datasets hold none
of these files. ``dicom_grey`` turns what is stored into grey.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmdc_tf.datasets.decoder_process import decoder
from mmdc_tf.datasets.dicom_grey import first, grey_levels, table, table_bits
from mmdc_tf.datasets.opencv import cv2, require_few_pixels
from mmdc_tf.datasets.schema import AGE_RANGE
from mmdc_tf.errors import InputError, UnreadableImageError, require_packages

if TYPE_CHECKING:
    from pydicom import Dataset

DICOM_SUFFIXES = (".dcm", ".dicom")
PACKAGES = ("pydicom", "gdcm", "openjpeg")
"""Of the extra ``dicom``, as they are imported."""
_START = re.compile(rb".{128}DICM|[\x02\x08]\0.\0([A-Z]{2}|.\0\0\0)", re.DOTALL)
"""The magic after the preamble; without one, an element of group 2 or 8 with its VR, or a length below 256."""
_DECODERS = {
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG baseline
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000, lossless
    "1.2.840.10008.1.2.4.91": "pylibjpeg",  # JPEG 2000
}
"""Where pydicom would take GDCM first, which ends its process on some damaged files (docs/robustness.md)."""
_RLE = "1.2.840.10008.1.2.5"
_AGE = re.compile(r"0*([1-9]\d{0,2})\s*([DWMY]?)")
_PER_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0, "": 1.0}


VIEW_CODES = {"399162004": "CC", "R-10242": "CC", "399368009": "MLO", "R-10226": "MLO"}
"""SNOMED CT and the older SNOMED RT codes (PS3.16, CID 4014)."""


@dataclass(frozen=True)
class DicomHeader:
    """What is of use for a prediction. There is no density: no attribute of an image holds it (PS3.6, as in pydicom).

    Args:
        modality: "MG" for mammograms, "US" for ultrasound, and many more; "" where unknown, as are the next two.
        age: whole years at the time of the scan, None where unknown or out of ``AGE_RANGE``.
        laterality: "L", "R" or "B".
        view: the view position, such as "CC" or "MLO".
        age_text: as the header writes the age; "" where it does not.
    """

    modality: str = ""
    age: float | None = None
    laterality: str = ""
    view: str = ""
    age_text: str = ""


def is_dicom(path: str | Path) -> bool:
    """Whether the name ends in .dcm or .dicom, or the file starts as one."""
    return Path(path).suffix.lower() in DICOM_SUFFIXES or _starts_as_one(path)


def _starts_as_one(path: str | Path) -> bool:
    try:
        with Path(path).open("rb") as file:
            return _START.match(file.read(132)) is not None
    except OSError:
        return False


def open_dicom(path: str | Path, **options: Any) -> Dataset:
    """The file as pydicom reads it, also without preamble; ``options`` of ``pydicom.dcmread``; UnreadableImageError."""
    require_packages(PACKAGES, "dicom", "DICOM files")
    from pydicom import dcmread

    try:
        return dcmread(path, force=_starts_as_one(path), **options)
    except Exception as error:  # pydicom raises errors of many classes
        if getattr(error, "strerror", None) or not _starts_as_one(path):
            raise _unreadable(path, getattr(error, "strerror", None) or "no DICOM file") from error
        raise _unreadable(path, f"a damaged header; {_detail(error)}", "Copy the file again") from error


def read_dicom(path: str | Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads a DICOM file of one frame.

    Source: DICOM PS3.3, C.7.6.3 (pixels), and what ``dicom_grey`` names.

    Args:
        path: a DICOM file with grey, RGB, YBR or palette pixels of up to 16 bits, compressed or not; its preamble,
            transfer syntax (of pixels that are not compressed), Bits Stored and what else has one likely value may be
            missing.

    Returns:
        uint8 (H, W) in [0, 255], white is dense, as ``dicom_grey.grey_levels`` says. Padding (Pixel Padding Value) is
        black. Colour becomes grey (ITU-R BT.601). And the flags of ``grey_levels``.

    Raises:
        UnreadableImageError: the file is absent, no DICOM file, truncated or damaged, has no pixel data, several
            frames, pixels of more than 16 bits, or more than ``opencv.MAX_PIXELS`` pixels.
    """
    try:
        dataset = _one_frame(path)
        elements = _completed(dataset, path)
        pixels = _pixels(dataset, elements)
        colour = dataset.SamplesPerPixel > 1 or dataset.PhotometricInterpretation == "PALETTE COLOR"
        return (_from_colour(pixels, dataset), ()) if colour else _from_grey(pixels, dataset)
    except InputError:
        raise
    except Exception as error:  # pydicom and its decoders raise errors of many classes
        raise _unreadable(path, _detail(error), "Copy the file again, decompress it with another program") from error


def _one_frame(path: str | Path) -> Dataset:
    """The file's content, read only when its header promises one frame of bearable size."""
    header = open_dicom(path, stop_before_pixels=True)
    rows, columns, frames, bits = (
        int(first(header, keyword) or 0) for keyword in ("Rows", "Columns", "NumberOfFrames", "BitsAllocated")
    )
    if not rows * columns:
        raise _unreadable(path, "no pixel data", "It is a report or an index: keep it apart")
    require_few_pixels(columns, rows, path)
    if frames > 1:
        raise _unreadable(path, f"{frames} frames in one file", "Save its frames one by one")
    if bits > 16:
        raise _unreadable(path, f"{bits}-bit pixels", "Save it with 16 bits")
    dataset = open_dicom(path)
    if not dataset.get("PixelData"):
        raise _unreadable(path, "no pixel data", "Copy the file again with its pixels")
    return dataset


def _completed(dataset: Dataset, path: str | Path) -> dict[str, Any]:
    """Puts the likely value where an element of the pixels is missing, empty or impossible; the elements."""
    from pydicom.uid import UID

    samples = int(first(dataset, "SamplesPerPixel", 1))
    values = dataset.Rows * dataset.Columns * samples
    allocated = int(first(dataset, "BitsAllocated", 8 * max(1, len(dataset.PixelData) // max(values, 1))))
    stored = int(first(dataset, "BitsStored", allocated))
    stored = stored if 1 <= stored <= allocated else allocated
    high = int(first(dataset, "HighBit", stored - 1))
    photometric = first(dataset, "PhotometricInterpretation", "RGB" if samples > 1 else "MONOCHROME2")
    elements = {
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": str(photometric).strip().upper(),
        "PixelRepresentation": int(first(dataset, "PixelRepresentation", 0)),
        "BitsAllocated": allocated,
        "BitsStored": stored,
        "HighBit": high if stored <= high < allocated else stored - 1,
        **({"PlanarConfiguration": int(first(dataset, "PlanarConfiguration", 0))} if samples > 1 else {}),
    }
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    if not dataset.file_meta.get("TransferSyntaxUID"):
        if dataset.PixelData.startswith(b"\xfe\xff\0\xe0"):
            raise _unreadable(path, "compressed, but no Transfer Syntax UID says how", "Export it again")
        implicit, little = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2" + ("" if implicit else ".1" if little else ".2"))
    return elements


def _pixels(dataset: Dataset, elements: dict[str, Any]) -> np.ndarray:
    """Decoded: (H, W), or (H, W, 3) in colour."""
    syntax, stored = dataset.file_meta.TransferSyntaxUID, dataset.BitsStored
    # Bits below the value, which cells as they are and RLE hold; pydicom knows those above it.
    unused = 0 if syntax.is_compressed and syntax != _RLE else dataset.HighBit + 1 - stored
    if syntax.is_compressed:
        wide = {**elements, "BitsStored": stored + unused}
        return decoder.pixels(str(dataset.filename), elements=wide, plugin=_DECODERS.get(syntax, "")) >> unused
    dataset.BitsStored = stored + unused
    pixels = dataset.pixel_array >> unused
    dataset.BitsStored = stored
    return pixels


def _detail(error: Exception) -> str:
    said = (str(error).splitlines() or [""])[0]
    return said if isinstance(error, ValueError) and said else f"{type(error).__name__}: {said}"


def _unreadable(path: str | Path, reason: str, advice: str = "Restore the file") -> UnreadableImageError:
    return UnreadableImageError(
        f"Expected a DICOM image of one frame and up to 16 bits. Received: {path} ({reason}). {advice}, or remove it."
    )


def _from_colour(pixels: np.ndarray, dataset: Dataset) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    bits = int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        names = [f"{colour}PaletteColor" for colour in ("Red", "Green", "Blue")]
        entries = [one for name in names if (one := table(dataset, name)) is not None]
        if len(entries) == 3:
            bits = max(table_bits(dataset, one, name) for one, name in zip(entries, names, strict=True))
            place = pixels.astype(np.int64) - int(dataset.RedPaletteColorLookupTableDescriptor[1])
            pixels = np.stack([one[np.clip(place, 0, len(one) - 1)] for one in entries], axis=-1)
        else:  # a segmented one
            pixels = apply_color_lut(pixels, dataset)
            bits = 8 * pixels.dtype.itemsize
    eight_bit = np.round(np.minimum(pixels * np.float32(255 / (2**bits - 1)), 255)).astype(np.uint8)
    return cv2.cvtColor(eight_bit, cv2.COLOR_RGB2GRAY)


def _from_grey(pixels: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, tuple[str, ...]]:
    """Each of the at most 65,536 stored values is turned into a grey level once, then looked up for every pixel."""
    if pixels.ndim != 2:
        raise ValueError(f"pixels of shape {pixels.shape}")
    start = int(pixels.min())
    stored = np.arange(start, int(pixels.max()) + 1)
    padding = _is_padding(pixels, dataset)
    image = pixels[~padding] if padding.any() and not padding.all() else pixels
    grey, flags = grey_levels(stored, np.array([image.min(), image.max()]).astype(np.int64), dataset)
    levels = np.where(_is_padding(stored, dataset), 0, grey).astype(np.uint8)
    shown = np.empty(pixels.shape, np.uint8)
    for row, values in zip(shown, pixels, strict=True):  # as a whole it would take eight times the memory
        row[:] = levels[values.astype(np.int32) - start]
    return shown, flags


def _is_padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Which stored values mean "no image here"."""
    keywords = ("PixelPaddingValue", "PixelPaddingRangeLimit")
    ends = [end for keyword in keywords if (end := _as_stored(dataset, keyword)) is not None]
    return (stored >= min(ends)) & (stored <= max(ends)) if ends else np.zeros(stored.shape, bool)


def _as_stored(dataset: Dataset, keyword: str) -> int | None:
    """A header's value as the pixels hold it, whatever VR it was written with; None where their bits cannot."""
    if (found := first(dataset, keyword)) is None:
        return None
    signed, span = dataset.PixelRepresentation == 1, 2 ** int(dataset.BitsStored)
    value = (int(found) + 2**15) % 2**16 - 2**15 if signed else int(found) % 2**16
    least = -span // 2 if signed else 0
    return value if least <= value < least + span else None


def read_header(path: str | Path) -> DicomHeader:
    """Reads the header of a DICOM file; one of nothing for any other file.

    Source: DICOM PS3.3, C.7.2.2 (Patient's Age), C.7.3.1 (Modality), C.8.11.7 (Image Laterality, View Position).

    Raises:
        UnreadableImageError: a DICOM file whose header cannot be read.
    """
    if not is_dicom(path):
        return DicomHeader()
    dataset = open_dicom(path, stop_before_pixels=True)
    try:
        keywords = ("Modality", "PatientAge", "ImageLaterality", "Laterality", "ViewPosition")
        values = (dataset.get(keyword) for keyword in keywords)
        modality, age, *sides, view = ("" if value is None else str(value).strip().upper() for value in values)
        codes = dataset.get("ViewCodeSequence") or ()
        named = next((VIEW_CODES[code] for one in codes if (code := str(one.get("CodeValue", ""))) in VIEW_CODES), "")
        return DicomHeader(modality, age_in_years(age), sides[0] or sides[1], view or named, age)
    except Exception as error:  # pydicom raises errors of many classes
        raise UnreadableImageError(
            f"Expected a DICOM file with a readable header. Received: {path} ({type(error).__name__}). "
            "Restore the file, or remove it."
        ) from error


def age_in_years(text: str) -> float | None:
    """An age string in completed years; None where it is none, says 0, which stands for unknown, or is out of range.

    Args:
        text: as PS3.5, 6.2 has it, three digits and D, W, M or Y, such as "061Y", with any zeros and blanks before.
    """
    match = _AGE.fullmatch(text.strip().upper())
    if match is None:
        return None
    years = float(int(match[1]) // _PER_YEAR[match[2]])
    return years if AGE_RANGE[0] <= years <= AGE_RANGE[1] else None
