"""``mmdc-tf datasets lesions``: what it prints and writes, its exit codes, and what it refuses in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import refused

from mmdc_tf.cli import main
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.schema import NOTICE, NOTICE_FILE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two scans; Otsu keeps the breast, three quarters of the one mask."""
    image = np.full((100, 80), 5, np.uint8)
    image[20:80, :40] = 150
    mask = np.zeros_like(image)
    mask[10:50, :10] = 255
    folder = tmp_path / "data"
    folder.mkdir()
    for name, pixels in (("a.png", image), ("b.png", image), ("mask.png", mask)):
        assert cv2.imwrite(str(folder / name), pixels)
    (folder / "samples.csv").write_text(
        "sample_id,image_path,label,patient_id,lesion_masks\na,a.png,benign,1,mask.png\nb,b.png,normal,2,\n"
    )
    return folder


def command(root: Path, *more: str | Path) -> list[str]:
    return ["datasets", "lesions", "--dataset", "folder", "--root", str(root), *map(str, more)]


def test_the_table_has_a_line_a_mask_and_a_summary(root, capsys):
    assert main(command(root)) == 0
    output = capsys.readouterr()
    lines = [" ".join(line.split()) for line in output.out.splitlines()]
    assert "sample mask paper % lesion-safe %" in lines
    assert any(line.startswith("a mask.png 75.00 ") for line in lines)
    assert "masks 1 1" in lines
    assert any(line.startswith("masks that keep at least 99 % 0 ") for line in lines)
    assert any(line.startswith("mean crop, % of the scan, 1 scans with masks 30.00 ") for line in lines)
    assert any(line.startswith("mean crop, % of the scan, all 2 scans 30.00 ") for line in lines)
    assert output.out.rstrip().endswith("Research use only, not a medical device.")
    assert NOTICE not in output.out
    assert output.err == ""


def test_json_and_csv_hold_the_same_numbers(root, capsys):
    file = root.parent / "new" / "lesions.csv"
    assert main(command(root, "--json", "--csv", file)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["masks"][0]["paper"] == 0.75
    assert report["summary"]["paper"] == {
        "masks": 1,
        "kept_from": 0.99,
        "kept": 0,
        "mean_crop_with_masks": 0.3,
        "mean_crop": 0.3,
    }
    assert (report["scans"], report["scans_with_masks"]) == (2, 1)
    table = pd.read_csv(file, keep_default_na=False)
    assert list(table.columns) == ["sample_id", "mask", "paper", "lesion-safe", "problem"]
    assert table.to_dict("records") == report["masks"]


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_mask_that_cannot_be_read_is_named_and_ends_in_code_1(root, capsys, as_json):
    (root / "mask.png").write_bytes(b"no image")
    assert main(command(root, *as_json)) == 1
    output = capsys.readouterr().out
    assert "not a decodable image" in output
    if as_json:
        report = json.loads(output, parse_constant=pytest.fail)  # JSON has no NaN
        assert report["masks"][0]["paper"] is None
        assert report["summary"]["paper"]["masks"] == 0
        assert [entry["path"] for entry in report["problems"]] == ["mask.png"]
    else:
        assert ["a", "mask.png", "-", "-"] in [line.split() for line in output.splitlines()]


def test_numbers_from_a_phantom_say_so(root, capsys):
    (root / NOTICE_FILE).write_text("x")
    assert main(command(root)) == 0
    assert NOTICE in capsys.readouterr().out
    assert main(command(root, "--json")) == 0
    assert json.loads(capsys.readouterr().out)["synthetic"] is True


def test_what_cannot_be_used_is_one_line(root, capsys):
    text = (root / "samples.csv").read_text()
    (root / "samples.csv").write_text(text.replace("mask.png", ""))
    assert "Expected lesion masks. Received: root=" in refused(capsys, *command(root))
    (root / "samples.csv").write_text(text)
    assert "no such folder" in refused(capsys, *command(root / "nowhere"))
    assert "--dataset" in refused(capsys, "datasets", "lesions", "--dataset", "busi", "--root", root)
    assert "(Is a directory)" in refused(capsys, *command(root, "--csv", root))


def test_no_tensorflow_is_imported(root):
    code = (
        "import sys\nfrom mmdc_tf.cli import main\n"
        "print(main(sys.argv[1:]), sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *command(root)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
