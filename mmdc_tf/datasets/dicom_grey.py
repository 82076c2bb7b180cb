"""From the stored values of a DICOM file to the grey that a viewer shows first.

Source: DICOM PS3.3. With x a value, the steps are, in this order:

- Modality (C.11.1): the Modality LUT, else x · Rescale Slope + Rescale Intercept; an empty slope is 1, an intercept 0.
- VOI (C.11.2): the first VOI LUT that has data, else the first window, centre c and width w, that is valid::

    LINEAR        (C.11.2.1.2.1)    255 · clip((x - (c - 0.5)) / (w - 1) + 0.5, 0, 1)    w ≥ 1; a step at w = 1
    LINEAR_EXACT  (C.11.2.1.3.2)    255 · clip((x - c) / w + 0.5, 0, 1)                  w > 0
    SIGMOID       (C.11.2.1.3.1)    255 / (1 + exp(-4 (x - c) / w))                      w > 0

- LUT (C.11.1.1, C.11.2.1.1): entry clip(x - first, 0, n - 1) of n; a descriptor's n of 0 is 65,536, and its first value
  is signed where the input is. Entries run from 0 to 2^bits - 1.
- Presentation (C.7.6.3.1.2, C.11.6.1.2): MONOCHROME1, or Presentation LUT Shape INVERSE, shows 0 white.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

_WINDOWS: dict[str, tuple[float, Callable[[np.ndarray, float, float], np.ndarray]]] = {
    "LINEAR": (1, lambda x, c, w: (x - (c - 0.5)) / (w - 1) + 0.5 if w > 1 else (x > c - 0.5).astype(float)),
    "LINEAR_EXACT": (np.nextafter(0, 1), lambda x, c, w: (x - c) / w + 0.5),
    "SIGMOID": (np.nextafter(0, 1), lambda x, c, w: 1 / (1 + np.exp(np.clip(-4 * (x - c) / w, -700, 700)))),
}
"""By VOI LUT Function: the least width, and the formula over 255."""


def grey_levels(stored: np.ndarray, in_use: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, tuple[str, ...]]:
    """The grey of each stored value.

    Args:
        stored: whole numbers, (n,).
        in_use: the smallest and largest of them that is no padding, int (2,).
        dataset: the file's header.

    Returns:
        float (n,), whole numbers in [0, 255]: 255 is white. Without a LUT or window the values in use span black to
        white; pixels of up to 8 bits without rescaling stay as they are. And what does not conform, as flags:
        ``window_skipped`` (invalid), ``lut_bits_corrected`` (see ``table_bits``), ``presentation_shape_differs``.
    """
    flags: list[str] = []
    shown = _by_voi(_modality(stored, dataset), _modality(in_use, dataset), dataset, flags)
    if shown is None:
        black, white = sorted(_modality(in_use, dataset))
        if dataset.BitsStored <= 8 and in_use[0] >= 0 and np.array_equal(in_use, _modality(in_use, dataset)):
            black, white = 0, 2 ** int(dataset.BitsStored) - 1
        shown = (_modality(stored, dataset) - black) / max(white - black, 1e-9)
    grey = 255 * np.clip(shown, 0, 1)
    inverse, shape = dataset.get("PhotometricInterpretation") == "MONOCHROME1", first(dataset, "PresentationLUTShape")
    if shape in ("INVERSE", "IDENTITY") and (shape == "INVERSE") != inverse:
        flags.append("presentation_shape_differs")
    return np.round(255 - grey if inverse or shape == "INVERSE" else grey), tuple(flags)


def first(dataset: Dataset, keyword: str, default: Any = None) -> Any:
    """The first value of an element, ``default`` where it is absent or empty.

    Enhanced objects keep windows and rescaling in functional groups (PS3.3, C.7.6.16): those of the first frame.
    """
    for scope in _scopes(dataset):
        if (value := scope.get(keyword)) not in (None, ""):
            return next(iter(_each(value)), default)
    return default


def _scopes(dataset: Dataset) -> list[Dataset]:
    groups = [dataset.get(f"{kind}FunctionalGroupsSequence") for kind in ("PerFrame", "Shared")]
    macros = ("FrameVOILUTSequence", "PixelValueTransformationSequence")
    return [dataset, *(group[0][name][0] for group in groups if group for name in macros if group[0].get(name))]


def _modality(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Of a Modality LUT, or rescaled; float64."""
    if (lut := first(dataset, "ModalityLUTSequence")) is not None and (entries := table(lut)) is not None:
        return _looked_up(values, lut, entries, signed=_signed(dataset)).astype(float)
    slope, intercept = first(dataset, "RescaleSlope", 1), first(dataset, "RescaleIntercept", 0)
    return values * (float(slope) or 1) + float(intercept)  # 0 says nothing; DCMTK passes over it too


def _signed(dataset: Dataset) -> bool:
    return first(dataset, "PixelRepresentation", 0) == 1


def _by_voi(values: np.ndarray, in_use: np.ndarray, dataset: Dataset, flags: list[str]) -> np.ndarray | None:
    """Through the VOI LUT or window, nominally in [0, 1]; None where there is no valid one."""
    for lut in chain.from_iterable(scope.get("VOILUTSequence") or () for scope in _scopes(dataset)):
        if (entries := table(lut)) is not None:
            bits = table_bits(lut, entries)
            if bits != lut.LUTDescriptor[2]:
                flags.append("lut_bits_corrected")
            return _looked_up(values, lut, entries, _signed(dataset) or in_use.min() < 0) / (2.0**bits - 1)
    for scope in _scopes(dataset):
        centres, widths = (_each(scope.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
        least, formula = _WINDOWS.get(str(scope.get("VOILUTFunction") or ""), _WINDOWS["LINEAR"])
        for pair in zip_longest(centres, widths):
            centre, width = (np.nan if one in (None, "") else float(one) for one in pair)
            if np.isfinite(centre) and least <= width < np.inf:
                return formula(values, centre, width)
            if "window_skipped" not in flags:
                flags.append("window_skipped")
    return None


def _each(value: Any) -> list:
    """The values of an element of none, one or many."""
    if value is None or isinstance(value, str | bytes) or not np.iterable(value):
        return [] if value in (None, "") else [value]
    return list(value)


def table(lut: Dataset, colour: str = "") -> np.ndarray | None:
    """The entries of a LUT, int (n,); None where it has no data.

    Args:
        lut: an item of a LUT sequence, or the dataset of a palette.
        colour: of a palette, such as "RedPaletteColor".
    """
    name = "LookupTable" if colour else "LUT"
    descriptor, data = lut.get(f"{colour}{name}Descriptor"), lut.get(f"{colour}{name}Data")
    if descriptor is None or len(descriptor) != 3 or data is None:
        return None
    count = descriptor[0] % 2**16 or 2**16
    if not isinstance(data, bytes):
        data = np.atleast_1d(np.asarray(data, np.int64)).astype("<u2").tobytes()
    elif lut.original_encoding[1] is False:
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    if descriptor[2] <= 8 and len(data) < 2 * count:  # two of 8 bits to a word
        entries = np.frombuffer(data[:count], np.uint8)
    else:
        entries = np.frombuffer(data[: len(data) // 2 * 2], "<u2")[:count]
    return entries.astype(np.int64) if len(entries) else None


def table_bits(lut: Dataset, entries: np.ndarray, colour: str = "") -> int:
    """The bits of a LUT's white: as its descriptor says, unless the entries need more, or fewer of 16.

    Many writers put 16, the size of a word, where 12 of the bits are used; of a palette 16 may be meant.
    """
    declared = int(lut.get(f"{colour}{'LookupTable' if colour else 'LUT'}Descriptor")[2])
    needed = next(bits for bits in (8, 10, 12, 14, 16) if entries.max() < 2**bits)
    return needed if entries.max() >= 2**declared or (declared == 16 and not colour) else declared


def _looked_up(values: np.ndarray, lut: Dataset, entries: np.ndarray, signed: bool) -> np.ndarray:
    start = int(lut.LUTDescriptor[1])
    start -= 2**16 if signed and start >= 2**15 else 0
    return entries[np.clip(np.round(values).astype(np.int64) - start, 0, len(entries) - 1)]
