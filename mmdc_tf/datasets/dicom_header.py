"""What the header of a DICOM file says of the patient and the view, read without its pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.datasets.dicom import is_dicom, open_dicom
from mmdc_tf.datasets.schema import AGE_RANGE
from mmdc_tf.errors import UnreadableImageError

if TYPE_CHECKING:
    from pydicom import Dataset

_AGE = re.compile(r"(?!0+\D*$)(\d{1,3})([DWMY]?)")
_PER_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0, "": 1.0}


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


def read_header(path: str | Path) -> DicomHeader:
    """Reads the header of a DICOM file; one of nothing for any other file.

    Source: DICOM PS3.3, C.7.2.2 (Patient's Age), C.7.3.1 (Modality), C.8.11.7 (Image Laterality, View Position).

    Args:
        path: an image file.

    Raises:
        UnreadableImageError: a DICOM file whose header cannot be read.
    """
    if not is_dicom(path):
        return DicomHeader()
    try:
        return _header(open_dicom(path, stop_before_pixels=True))
    except Exception as error:  # pydicom raises errors of many classes
        raise UnreadableImageError(
            f"Expected a DICOM file with a readable header. Received: {path} ({type(error).__name__}). "
            "Restore the file, or remove it."
        ) from error


def _header(dataset: Dataset) -> DicomHeader:
    return DicomHeader(
        modality=_text(dataset, "Modality"),
        age=age_in_years(_text(dataset, "PatientAge")),
        laterality=_text(dataset, "ImageLaterality") or _text(dataset, "Laterality"),
        view=_text(dataset, "ViewPosition"),
        age_text=_text(dataset, "PatientAge"),
    )


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip().upper()


def age_in_years(text: str) -> float | None:
    """An age string in completed years.

    Args:
        text: as PS3.5, 6.2 has it, three digits and D, W, M or Y, such as "061Y"; leading zeros and Y may be missing.

    Returns:
        None where the text is no such string, says 0, which stands for unknown, or is out of ``AGE_RANGE``.
    """
    match = _AGE.fullmatch(text.strip().upper())
    if match is None:
        return None
    years = float(int(match[1]) // _PER_YEAR[match[2]])
    return years if AGE_RANGE[0] <= years <= AGE_RANGE[1] else None
