"""``mmdc-tf preprocess``: what it prints, its exit codes, and what it refuses in one line."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from command_line import refused

from mmdc_tf.cli import main
from mmdc_tf.datasets.opencv import cv2


@pytest.fixture
def scans(tmp_path):
    for number in range(2):
        path = tmp_path / "in" / f"breast {number}" / "scan.png"
        path.parent.mkdir(parents=True)
        image = np.zeros((40, 30), np.uint8)
        image[5:35, :20] = np.random.default_rng(number).integers(100, 200, (30, 20))
        assert cv2.imwrite(str(path), image)
    return tmp_path / "in"


def command(scans, *more) -> list[str]:
    options = ["--input", scans, "--output", scans.parent / "out", "--recipe", "paper", "--size", "16", *more]
    return ["preprocess", *map(str, options)]


def test_a_folder_is_preprocessed_and_then_left_as_it_is(scans, capsys):
    assert main(command(scans, "--workers", "2", "--contact-sheet", scans.parent / "sheet.png")) == 0
    assert "2 scans: 2 written, 0 unchanged, 0 without result; recipe paper, 16 pixels" in capsys.readouterr().out
    assert (scans.parent / "sheet.png").is_file()
    assert main(command(scans)) == 0
    assert "2 scans: 0 written, 2 unchanged" in capsys.readouterr().out


def test_files_that_are_no_scans_are_counted_by_kind(scans, capsys):
    for name in ("a.webp", "b.webp", "notes.txt"):
        (scans / name).write_text("x")
    assert main(command(scans)) == 0
    expected = "left out: 3 (.webp: 2, for example a.webp; .txt: 1, for example notes.txt)"
    assert f"note: files that are no scans, {expected}" in capsys.readouterr().out


def test_a_broken_file_is_named_and_ends_in_code_1(scans, capsys):
    (scans / "broken.dcm").write_text("x")
    assert main(command(scans)) == 1
    output = capsys.readouterr()
    assert output.err.count("\n") == 1
    assert output.err.startswith("unreadable: broken.dcm: Expected a DICOM image")
    assert "3 scans: 2 written, 0 unchanged, 1 without result" in output.out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--recipe", "papr"], "Did you mean 'paper'?"),
        (["--size", "0"], "--size"),
        (["--workers", "none"], "--workers"),
        (["--contact-sheet", "sheet.jpg"], "Received: contact_sheet=sheet.jpg"),
        (["--input", "/nowhere"], "input=/nowhere (no such folder)"),
        (["--output", "/dev/null/out"], "Received: output=/dev/null/out (Not a directory)"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(scans, capsys, more, message):
    assert message in refused(capsys, *command(scans, *more))
    assert [path.name for path in scans.parent.iterdir()] == ["in"]


def test_no_tensorflow_is_imported(scans):
    code = (
        "import sys\nfrom mmdc_tf.cli import main\n"
        "if __name__ == '__main__':\n"
        "    print(main(sys.argv[1:]), sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    script = scans.parent / "script.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script, *command(scans)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
    assert done.stderr == ""


def test_lesion_masks_are_counted_left_out_and_outlined(scans, capsys):
    folder = scans / "breast 0"
    mask = np.zeros((40, 30), np.uint8)
    mask[10:20, 5:15] = 255
    assert cv2.imwrite(str(folder / "scan_Mask.png"), mask)
    assert cv2.imwrite(str(folder / "scan_MASK2.png"), mask[:30])
    assert main(command(scans, "--contact-sheet", scans.parent / "sheet.png")) == 0
    output = capsys.readouterr().out
    assert "note: lesion masks, left out: 2, for example breast 0/scan_MASK2.png" in output
    assert "note: lesion mask, not drawn: breast 0/scan_MASK2.png: Expected a lesion mask of its scan's size" in output
    assert "2 scans: 2 written" in output
