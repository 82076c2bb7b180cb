"""What is read from the header of a DICOM file."""

from __future__ import annotations

import numpy as np
import pytest
from served_model import write_dicom, write_image

from mmdc_tf.datasets.dicom import DicomHeader, age_in_years, read_header
from mmdc_tf.errors import UnreadableImageError

PIXELS = np.zeros((2, 2), np.uint8)


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("061Y", 61.0),
        ("061y ", 61.0),
        ("018M", 1.0),  # a year and a half
        ("053W", 1.0),
        ("300D", 0.0),
        ("121Y", None),
        ("61Y", 61.0),
        ("45Y", 45.0),
        ("61", 61.0),
        ("061", 61.0),
        ("000Y", None),
        ("000", None),
        ("0", None),
        ("000M", None),
        ("999Y", None),
        ("999", None),
        ("", None),
        ("Y", None),
        ("-45Y", None),
        ("0061Y", None),
    ],
)
def test_ages_are_completed_years(text, years):
    assert age_in_years(text) == years


def test_everything_is_read(tmp_path):
    elements = {"Modality": "MG", "PatientAge": "061Y", "ImageLaterality": "R", "ViewPosition": "CC"}
    path = write_dicom(tmp_path / "a.dcm", PIXELS, **elements)
    assert read_header(path) == DicomHeader("MG", 61.0, "R", "CC", "061Y")


def test_what_is_absent_is_unknown(tmp_path):
    assert read_header(write_dicom(tmp_path / "a.dcm", PIXELS)) == DicomHeader("", None, "", "")
    assert read_header(write_dicom(tmp_path / "b.dcm", PIXELS, Laterality="L")).laterality == "L"


def test_other_files_have_no_header_and_broken_ones_are_named(tmp_path):
    assert read_header(write_image(tmp_path / "a.png", PIXELS)) == DicomHeader()
    (tmp_path / "b.dcm").write_bytes(b"no DICOM")
    with pytest.raises(UnreadableImageError, match=r"b\.dcm"):
        read_header(tmp_path / "b.dcm")
