"""Reading one DICOM file into 8-bit grey, as a viewer shows it first.

pydicom does the decoding, for compressed transfer syntaxes with its plug-ins Pillow, pylibjpeg-openjpeg and
python-gdcm. It is imported where it is used, since most datasets hold none of these files.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmdc_tf.datasets.decoder_process import DecoderProcess
from mmdc_tf.datasets.image_size import require_few_pixels
from mmdc_tf.errors import UnreadableImageError
from mmdc_tf.opencv import cv2

if TYPE_CHECKING:
    from pydicom import Dataset

DICOM_SUFFIXES = (".dcm", ".dicom")
_MAGIC, _MAGIC_OFFSET = b"DICM", 128
_DECODERS = {
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG baseline
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000, lossless
    "1.2.840.10008.1.2.4.91": "pylibjpeg",  # JPEG 2000
}
"""Where pydicom would take GDCM first, which ends the process on some damaged files (docs/robustness.md)."""
_BY_GDCM_ALONE = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (51, 57, 70, 80, 81))
"""JPEG extended (of 12 bits), lossless JPEG and JPEG-LS."""
_gdcm = DecoderProcess()


def is_dicom(path: str | Path) -> bool:
    """Whether the name ends in .dcm or .dicom, or the file says "DICM" at byte 128; False where it cannot be opened."""
    if Path(path).suffix.lower() in DICOM_SUFFIXES:
        return True
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAGIC_OFFSET + len(_MAGIC))[_MAGIC_OFFSET:] == _MAGIC
    except OSError:
        return False


def read_dicom(path: str | Path) -> np.ndarray:
    """Reads a DICOM file of one frame.

    Source: DICOM PS3.3, C.7.6.3 (pixels), C.11.1 (modality LUT, rescale), C.11.2 (VOI window and LUT).

    Args:
        path: a DICOM file with grey, RGB, YBR or palette pixels of up to 16 bits, compressed or not.

    Returns:
        uint8 (H, W) in [0, 255], white is dense: rescaled, through the first VOI LUT or else the first window, and
        MONOCHROME1 inverted. Without window or LUT, pixels of more than 8 bits, and rescaled ones, are scaled from
        their own range of values to [0, 255]. Padding (Pixel Padding Value) is black. Colour becomes grey
        (ITU-R BT.601).

    Raises:
        UnreadableImageError: the file is absent, no DICOM file, truncated, has no pixel data, several frames, pixels
            of more than 16 bits, or more than ``image_size.MAX_PIXELS`` pixels.
    """
    try:
        dataset = _one_frame(path)
        colour = dataset.SamplesPerPixel > 1 or dataset.PhotometricInterpretation == "PALETTE COLOR"
        return _from_colour(dataset) if colour else _from_grey(dataset, path)
    except UnreadableImageError:
        raise
    except Exception as error:  # pydicom and its decoders raise errors of many classes
        detail = (str(error).splitlines() or [""])[0]
        raise _unreadable(path, getattr(error, "strerror", None) or f"{type(error).__name__}: {detail}") from error


def _one_frame(path: str | Path) -> Dataset:
    """The file's content, read only when its header promises one frame of bearable size."""
    from pydicom import dcmread

    header = dcmread(path, stop_before_pixels=True)
    if "Rows" not in header:
        raise _unreadable(path, "no pixel data")
    require_few_pixels(int(header.Columns), int(header.Rows), path)
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise _unreadable(path, f"{frames} frames in one file")
    if header.BitsAllocated > 16:
        raise _unreadable(path, f"{header.BitsAllocated}-bit pixels")
    dataset = dcmread(path)
    if "PixelData" not in dataset:
        raise _unreadable(path, "no pixel data")
    return dataset


def _pixels(dataset: Dataset) -> np.ndarray:
    """Decoded: (H, W), or (H, W, 3) in colour."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in _BY_GDCM_ALONE:
        return _gdcm.pixels(str(dataset.filename))
    dataset.pixel_array_options(decoding_plugin=_DECODERS.get(syntax, ""))
    return dataset.pixel_array


def _unreadable(path: str | Path, reason: str) -> UnreadableImageError:
    return UnreadableImageError(
        f"Expected a DICOM image of one frame and up to 16 bits. Received: {path} ({reason}). Restore the file, save "
        "its frames one by one, or remove it."
    )


def _from_colour(dataset: Dataset) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    pixels = _pixels(dataset)
    bits = int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        bits = 8 * pixels.dtype.itemsize
    eight_bit = np.round(pixels * np.float32(255 / (2**bits - 1))).astype(np.uint8)
    return cv2.cvtColor(eight_bit, cv2.COLOR_RGB2GRAY)


def _from_grey(dataset: Dataset, path: str | Path) -> np.ndarray:
    """Each of the at most 65,536 stored values is turned into a grey level once, then looked up for every pixel."""
    pixels = _pixels(dataset)
    if pixels.ndim != 2:
        raise _unreadable(path, f"pixels of shape {pixels.shape}")
    first = int(pixels.min())
    stored = np.arange(first, int(pixels.max()) + 1)
    padding = _is_padding(stored, dataset)
    in_use = _in_use(pixels, _is_padding(pixels, dataset))
    table = np.where(padding, 0, _grey_levels(stored, in_use, dataset)).astype(np.uint8)
    shown = np.empty(pixels.shape, np.uint8)
    for row, values in zip(shown, pixels, strict=True):  # as a whole it would take eight times the memory
        row[:] = table[values.astype(np.int32) - first]
    return shown


def _is_padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Which stored values mean "no image here"."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return (stored >= low) & (stored <= high)


def _in_use(pixels: np.ndarray, padding: np.ndarray) -> np.ndarray:
    """The smallest and largest stored value that is no padding."""
    image = pixels[~padding] if padding.any() and not padding.all() else pixels
    return np.array([image.min(), image.max()]).astype(np.int64)


def _grey_levels(stored: np.ndarray, in_use: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Stored values as grey in [0, 255], float."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    shown = apply_voi_lut(apply_modality_lut(stored, dataset), dataset).astype(np.float64)
    black, white = _shown_range(in_use, dataset)
    grey = np.clip((shown - black) * 255 / max(white - black, 1e-9), 0, 255)
    return np.round(255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey)


def _shown_range(in_use: np.ndarray, dataset: Dataset) -> tuple[float, float]:
    """The values that are shown black and white: the ends of the VOI LUT, of the window, or of the image."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    if dataset.get("VOILUTSequence"):
        return 0.0, 2.0 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        # What lies far outside the window comes out as its lowest and highest value.
        ends = apply_voi_lut(np.array([-1e12, 1e12]), dataset)
    elif dataset.BitsStored <= 8 and np.array_equal(apply_modality_lut(in_use, dataset), in_use) and in_use[0] >= 0:
        ends = np.array([0, 2 ** int(dataset.BitsStored) - 1])
    else:
        ends = np.sort(apply_modality_lut(in_use, dataset))
    return float(ends[0]), float(ends[1])
