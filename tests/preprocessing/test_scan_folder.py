"""Lesion masks among the files of a folder: which image they belong to, and that they are no scans."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmdc_tf.preprocessing.scan_folder import list_scans, masks_by_scan


@pytest.mark.parametrize(
    "mask", ["a_Mask.jpg", "a_MASK2.jpg", "Mask_a.jpg", "a_mask.png", "a_mask_1.png", "A_mask.TIF"]
)
def test_names_of_masks(mask: str) -> None:
    assert masks_by_scan(["d/a.jpg", f"d/{mask}"]) == {"d/a.jpg": [f"d/{mask}"]}


@pytest.mark.parametrize(
    "other",
    ["d/b_mask.jpg", "e/a_mask.jpg", "d/a_masked.jpg", "d/amask.jpg", "d/unmask_a.jpg", "d/_mask.jpg", "d/mask_..jpg"],
)
def test_other_names_and_masks_of_no_scan_are_scans(other: str) -> None:
    assert masks_by_scan(["d/a.jpg", other]) == {}


def test_names_with_dots_and_several_masks() -> None:
    names = ["C_1.LEFT_CC.jpg", "C_1.LEFT_CC_MASK2.jpg", "C_1.LEFT_CC_Mask.jpg", "1.2.840", "1.2.840_mask.png"]
    assert masks_by_scan(names) == {
        "1.2.840": ["1.2.840_mask.png"],
        "C_1.LEFT_CC.jpg": ["C_1.LEFT_CC_MASK2.jpg", "C_1.LEFT_CC_Mask.jpg"],
    }


def test_scans_of_one_name_share_their_masks() -> None:
    masks = ["a_mask.png"]
    assert masks_by_scan(["a.jpg", "a.tif", *masks]) == {"a.jpg": masks, "a.tif": masks}


def test_masks_are_listed_apart(tmp_path: Path) -> None:
    for name in ("a.jpg", "a_Mask.jpg", "lone_mask.jpg", "notes.txt"):
        (tmp_path / name).write_text("x")
    found = list_scans(tmp_path, tmp_path / "out")
    assert found.outputs == {"a.jpg": "a.png", "lone_mask.jpg": "lone_mask.png"}
    assert found.lesion_masks == ("a_Mask.jpg",)
    assert [str(path) for path in found.others] == ["notes.txt"]


def test_the_31_masks_of_the_real_folder_are_no_scans(real_data: Path) -> None:
    """One of them, named Mask_…, stands in no table."""
    found = list_scans((real_data / "mini-ddsm").resolve(), Path("nowhere").resolve())
    assert (len(found.outputs), len(found.lesion_masks)) == (72, 31)
    assert all("mask" in mask.lower() for mask in found.lesion_masks)
    assert not any("mask" in scan.lower() for scan in found.outputs)
