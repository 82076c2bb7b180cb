"""``mmdc-tf audit``: planted leaks and shortcuts are found, clean data pass, and splits are checked."""

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
from mmdc_tf.datasets.catalogue import load_dataset
from mmdc_tf.datasets.integrity import NEAR_TWIN_BITS
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.splits import make_splits

IMAGES = 60
IMPORTS = """
import sys
from mmdc_tf.cli import main
main(sys.argv[1:])
print(sorted({"tensorflow", "keras"} & set(sys.modules)))
"""


def write_folder(root: Path, images: list[np.ndarray], per_patient: int = 1, **columns: object) -> Path:
    """Images in the layout of ``folder``; a patient's label is the parity of her number."""
    root.mkdir()
    names = [f"s{row:03d}.png" for row in range(len(images))]
    for name, image in zip(names, images, strict=True):
        assert cv2.imwrite(str(root / name), image)
    patients = np.arange(len(images)) // per_patient
    table = {"sample_id": names, "image_path": names, "patient_id": [f"p{number}" for number in patients]}
    table["label"] = np.array(["benign", "malignant"])[patients % 2]
    pd.DataFrame({**table, **columns}).to_csv(root / "samples.csv", index=False)
    return root


def noise(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (40, 40), dtype=np.uint8) for _ in range(IMAGES)]


def audit(root: Path, output: Path, *more: str, dataset: str = "folder") -> int:
    return main(["audit", "--dataset", dataset, "--root", str(root), "--output", str(output), *more])


def unfit_sections(output: Path) -> set[str]:
    content = json.loads((output / "audit.json").read_text(encoding="utf-8"))
    return {section["name"] for section in content["sections"] if section["unfit"]}


def test_a_clean_dataset_passes(tmp_path, capsys):
    assert audit(write_folder(tmp_path / "clean", noise()), tmp_path / "out") == 0
    assert unfit_sections(tmp_path / "out") == set()
    printed = capsys.readouterr().out
    assert "Nothing was found that would make an image-level split unfit." in printed
    assert all(str(tmp_path / "out" / f"audit.{suffix}") in printed for suffix in ("json", "md", "html"))


def test_a_twin_across_classes_and_a_label_in_a_corner_pixel_are_found_and_allowed(tmp_path, capsys):
    images = noise()
    images[7] = np.clip(images[0].astype(int) + 2, 0, 255).astype(np.uint8)
    for row, image in enumerate(images):
        image[0, 0] = 255 * (row % 2)
    root = write_folder(tmp_path / "planted", images)
    assert audit(root, tmp_path / "out") == 1
    assert unfit_sections(tmp_path / "out") == {"near-twins", "shortcut-probes"}
    content = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    (pair,) = content["near_twins"]["pairs"]
    assert (pair["sample_a"], pair["sample_b"], pair["conflicting"]) == ("s000.png", "s007.png", True)
    assert [probe["name"] for probe in content["shortcut_probes"] if probe["finding"]] == ["corner-pixels"]
    assert "Unfit for an image-level split" in capsys.readouterr().out
    assert audit(root, tmp_path / "again", "--allow") == 0
    assert "exit code 0 because of --allow" in capsys.readouterr().out


def test_a_planted_group_overlap_is_found(tmp_path):
    """Two images a patient, nearly the same: an image-level split puts one on each side."""
    images = noise()
    for row in range(0, IMAGES, 2):
        images[row + 1] = np.clip(images[row].astype(int) + 3, 0, 255).astype(np.uint8)
    root = write_folder(tmp_path / "overlap", images, per_patient=2)
    assert audit(root, tmp_path / "out") == 1
    assert unfit_sections(tmp_path / "out") == {"near-twins", "leak-probes"}
    content = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert content["sections"][0]["numbers"]["pairs_across_groups"] == 0
    assert content["sections"][0]["numbers"]["images_in_groups"] == IMAGES


def test_a_split_is_proved_or_disproved(tmp_path, capsys):
    root = write_folder(tmp_path / "data", noise(), per_patient=2)
    split = tmp_path / "split.json"
    split.write_text(make_splits(load_dataset("folder", root), "leak-free", 3, 0)[0].to_json())
    arguments = ["audit", "--dataset", "folder", "--root", str(root), "--split", str(split)]
    assert main(arguments) == 0
    assert "proved: no group stands in two parts" in capsys.readouterr().out
    split.write_text(json.dumps({"train": ["s000.png", "s002.png"], "test": ["s001.png", "s004.png"]}))
    assert main(arguments) == 1
    assert "  - p0: train, test" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["disjoint"] is False
    assert [group["group_id"] for group in content["shared"]] == ["p0"]
    assert content["shared"][0]["samples"] == {"train": ["s000.png"], "test": ["s001.png"]}
    assert main([*arguments, "--allow"]) == 0
    assert not list(tmp_path.rglob("audit.*"))


def test_names_are_text_on_the_terminal(tmp_path, capsys):
    root = write_folder(tmp_path / "data", noise()[:8], patient_id=[f"\x1b[2J{row // 2}" for row in range(8)])
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["s000.png", "\x9bmoved"], "test": ["s001.png"]}))
    assert main(["audit", "--dataset", "folder", "--root", str(root), "--split", str(split)]) == 1
    printed = capsys.readouterr().out
    assert "  - ?[2J0: train, test" in printed and "for example ?moved" in printed
    assert all(line.isprintable() for line in printed.split("\n"))


def test_the_help_names_the_default_of_the_hash(capsys):
    with pytest.raises(SystemExit):
        main(["audit", "--help"])
    assert f"of 256; default: {NEAR_TWIN_BITS}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "folder"], "Received: neither"),
        (["--dataset", "folder", "--output", "o", "--split", "s"], "Received: both"),
        (["--dataset", "folder", "--output", "o", "--json"], "Received: json without it"),
        (["--dataset", "folder", "--split", "nowhere.json"], "nowhere.json"),
        (["--dataset", "folder", "--output", "o", "--table-only"], "Leave --without-images out"),
        (["--dataset", "folder", "--output", "o", "--max-bits", "256"], "max_bits=256"),
        (["--dataset", "folder", "--output", "o", "--seed", "-1"], "expected a whole number"),
        (["--dataset", "busi", "--output", "o"], "Expected the folders benign"),
        (["--dataset", "folder", "--output", "samples.csv/o"], "output=samples.csv/o"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(write_folder(tmp_path / "data", noise()[:4]))
    assert message in refused(capsys, "audit", "--root", ".", *options)


def test_it_needs_no_tensorflow(tmp_path):
    root = write_folder(tmp_path / "data", noise()[:8])
    arguments = ["audit", "--dataset", "folder", "--root", root, "--output", tmp_path / "out"]
    done = subprocess.run([sys.executable, "-c", IMPORTS, *map(str, arguments)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_busi(real_data, tmp_path, capsys):
    """The figures of docs/integrity.md; the numbers of twins were counted independently."""
    assert audit(real_data / "busi", tmp_path, dataset="busi") == 1
    content = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    twins = content["sections"][0]["numbers"]
    assert (twins["images_in_groups"], twins["images_in_confirmed_groups"], twins["conflicting_pairs"]) == (
        339,
        339,
        11,
    )
    pairs = {(pair["sample_a"], pair["sample_b"]): pair for pair in content["near_twins"]["pairs"]}
    assert pairs["benign/benign (433)", "malignant/malignant (145)"]["identical_bytes"]
    assert ("benign/benign (131)", "malignant/malignant (51)") in pairs
    assert unfit_sections(tmp_path) == {"near-twins", "leak-probes", "metadata"}
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert page.count('class="pair"') == 11
    assert "339 of 780 images have a near-twin" in capsys.readouterr().out
