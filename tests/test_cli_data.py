"""``mmdc-tf audit``, ``datasets``, ``preprocess`` and ``cache``: what they print and write, and their exit codes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import ended, in_a_process, refused
from made_up_features import COUNT, entries, features, filled
from served_model import write_image

from mmdc_tf.datasets.catalogue import load_dataset
from mmdc_tf.datasets.schema import NOTICE, NOTICE_FILE
from mmdc_tf.datasets.splits import make_splits
from mmdc_tf.errors import RESEARCH_USE
from mmdc_tf.training.feature_store import CacheSettings, list_entries, open_filled

IMAGES = 60

# audit


def write_folder(root: Path, images: list[np.ndarray], per_patient: int = 1, **columns: object) -> Path:
    """Images in the layout of ``folder``; a patient's label is the parity of her number."""
    names = [f"s{row:03d}.png" for row in range(len(images))]
    for name, image in zip(names, images, strict=True):
        write_image(root / name, image)
    patients = np.arange(len(images)) // per_patient
    table = {"sample_id": names, "image_path": names, "patient_id": [f"p{number}" for number in patients]}
    table["label"] = np.array(["benign", "malignant"])[patients % 2]
    pd.DataFrame({**table, **columns}).to_csv(root / "samples.csv", index=False)
    return root


def noise() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (IMAGES, 40, 40), dtype=np.uint8))


def copied(image: np.ndarray, by: int) -> np.ndarray:
    return np.clip(image.astype(int) + by, 0, 255).astype(np.uint8)


def audit(capsys, root: Path, output: Path, *more: str, dataset: str = "folder") -> tuple[int, str, dict]:
    """Exit code, what is printed, and ``audit.json``."""
    code, out, _ = ended(capsys, "audit", "--dataset", dataset, "--root", root, "--output", output, *more)
    return code, out, json.loads((output / "audit.json").read_text(encoding="utf-8"))


def unfit(content: dict) -> set[str]:
    return {section["name"] for section in content["sections"] if section["unfit"]}


def test_a_clean_dataset_passes(tmp_path, capsys):
    code, out, content = audit(capsys, write_folder(tmp_path / "clean", noise()), tmp_path / "out")
    assert code == 0 and unfit(content) == set()
    assert "Nothing was found that would make an image-level split unfit." in out
    assert all(str(tmp_path / "out" / f"audit.{suffix}") in out for suffix in ("json", "md", "html"))


def test_a_twin_across_classes_and_a_label_in_a_corner_pixel_are_found_and_allowed(tmp_path, capsys):
    images = noise()
    images[7] = copied(images[0], 2)
    for row, image in enumerate(images):
        image[0, 0] = 255 * (row % 2)
    root = write_folder(tmp_path / "planted", images)
    code, out, content = audit(capsys, root, tmp_path / "out")
    assert code == 1 and unfit(content) == {"near-twins", "shortcut-probes"}
    (pair,) = content["near_twins"]["pairs"]
    assert (pair["sample_a"], pair["sample_b"], pair["conflicting"]) == ("s000.png", "s007.png", True)
    assert [probe["name"] for probe in content["shortcut_probes"] if probe["finding"]] == ["corner-pixels"]
    assert "Unfit for an image-level split" in out
    code, out, _ = audit(capsys, root, tmp_path / "again", "--allow")
    assert code == 0 and "exit code 0 because of --allow" in out


def test_a_split_is_proved_or_disproved(tmp_path, capsys):
    root, split = write_folder(tmp_path / "data", noise(), per_patient=2), tmp_path / "split.json"
    split.write_text(make_splits(load_dataset("folder", root), "leak-free", 3, 0)[0].to_json())
    command = ("audit", "--dataset", "folder", "--root", root, "--split", split)
    code, out, _ = ended(capsys, *command)
    assert code == 0 and "proved: no group stands in two parts" in out
    split.write_text(json.dumps({"train": ["s000.png", "s002.png"], "test": ["s001.png", "s004.png"]}))
    code, out, _ = ended(capsys, *command)
    assert code == 1 and "  - p0: train, test" in out
    code, out, _ = ended(capsys, *command, "--json", "--allow")
    content = json.loads(out)
    assert code == 0 and content["disjoint"] is False
    assert content["shared"][0]["samples"] == {"train": ["s000.png"], "test": ["s001.png"]}
    assert not list(tmp_path.rglob("audit.*"))


def test_names_are_text_on_the_terminal(tmp_path, capsys):
    root = write_folder(tmp_path / "data", noise()[:8], patient_id=[f"\x1b[2J{row // 2}" for row in range(8)])
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["s000.png", "\x9bmoved"], "test": ["s001.png"]}))
    code, out, _ = ended(capsys, "audit", "--dataset", "folder", "--root", root, "--split", split)
    assert code == 1 and "  - ?[2J0: train, test" in out and "for example ?moved" in out
    assert all(line.isprintable() for line in out.split("\n"))


def test_audit_preprocess_and_the_cache_need_no_tensorflow(tmp_path):
    write_folder(tmp_path / "data", noise()[:8])
    filled(tmp_path / "features")
    commands = (
        "audit --dataset folder --root data --output out",
        "preprocess --input data --output png --recipe paper --size 16 --contact-sheet sheet.png",
        "cache list --cache-dir features",
    )
    for code, _, error, imported in in_a_process([one.split() for one in commands], tmp_path):
        assert code in (0, 1) and error == "" and set(imported) <= {"matplotlib"}


# datasets check, and lesions


def test_check(capsys, busi):
    command = ("datasets", "check", "--dataset", "busi", "--root", busi)
    report = json.loads(ended(capsys, *command, "--json")[1])
    assert (report["images"], report["usable"]) == (18, True)
    assert report["classes"]["normal"] == {"expected": 133, "found": 6}
    broken = busi / "normal" / "normal (2).png"
    broken.write_bytes(b"")
    for more in ([], ["--json"]):
        code, out, _ = ended(capsys, *command, *more)
        assert code == 2 and str(broken) in out
        code, out, _ = ended(capsys, *command[:-1], busi / "nowhere", *more)
        assert code == 2 and "no such folder" in out


@pytest.fixture
def lesions(tmp_path: Path) -> Path:
    """Two scans; Otsu keeps the breast, three quarters of the one mask."""
    image = np.full((100, 80), 5, np.uint8)
    image[20:80, :40] = 150
    mask = np.zeros_like(image)
    mask[10:50, :10] = 255
    for name, pixels in (("a.png", image), ("b.png", image), ("mask.png", mask)):
        write_image(tmp_path / "data" / name, pixels)
    lines = ["sample_id,image_path,label,patient_id,lesion_masks", "a,a.png,benign,1,mask.png", "b,b.png,normal,2,"]
    (tmp_path / "data" / "samples.csv").write_text("\n".join(lines))
    return tmp_path / "data"


def survey(capsys, root: Path, *more: str | Path) -> tuple[int, str, str]:
    return ended(capsys, "datasets", "lesions", "--dataset", "folder", "--root", root, *more)


def test_the_lesion_table_has_a_line_a_mask_and_a_summary(lesions, capsys):
    code, out, err = survey(capsys, lesions)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0 and err == "" and NOTICE not in out and lines[-1] == RESEARCH_USE
    starts = ["sample mask paper % lesion-safe %", "a mask.png 75.00 ", "masks 1 1", "masks that keep at least 99 % 0 "]
    starts += [f"mean crop, % of the scan, {scans} 30.00 " for scans in ("1 scans with masks", "all 2 scans")]
    assert all(any(line.startswith(start) for line in lines) for start in starts)


def test_json_and_csv_hold_the_same_numbers_and_a_phantom_is_called_so(lesions, capsys):
    file = lesions.parent / "new" / "lesions.csv"
    report = json.loads(survey(capsys, lesions, "--json", "--csv", file)[1])
    crops = {"mean_crop_with_masks": 0.3, "mean_crop": 0.3}
    assert report["summary"]["paper"] == {"masks": 1, "kept_from": 0.99, "kept": 0, **crops}
    assert (report["scans"], report["scans_with_masks"], report["synthetic"]) == (2, 1, False)
    table = pd.read_csv(file, keep_default_na=False)
    assert list(table.columns) == ["sample_id", "mask", "paper", "lesion-safe", "problem"]
    assert table.to_dict("records") == report["masks"] and report["masks"][0]["paper"] == 0.75
    (lesions / NOTICE_FILE).write_text("x")
    assert NOTICE in survey(capsys, lesions)[1]


def test_a_mask_that_cannot_be_read_is_named_and_ends_in_code_1(lesions, capsys):
    (lesions / "mask.png").write_bytes(b"no image")
    code, out, _ = survey(capsys, lesions)
    assert code == 1 and "not a decodable image" in out
    assert ["a", "mask.png", "-", "-"] in [line.split() for line in out.splitlines()]
    report = json.loads(survey(capsys, lesions, "--json")[1], parse_constant=pytest.fail)  # JSON has no NaN
    assert report["masks"][0]["paper"] is None and report["summary"]["paper"]["masks"] == 0


# preprocess


@pytest.fixture
def scans(tmp_path) -> Path:
    for number in range(2):
        image = np.zeros((40, 30), np.uint8)
        image[5:35, :20] = np.random.default_rng(number).integers(100, 200, (30, 20))
        write_image(tmp_path / "in" / f"breast {number}" / "scan.png", image)
    return tmp_path / "in"


def preprocess(capsys, scans: Path, *more: object) -> tuple[int, str, str]:
    options = ("--input", scans, "--output", scans.parent / "out", "--recipe", "paper", "--size", "16")
    return ended(capsys, "preprocess", *options, *more)


def test_a_folder_is_preprocessed_and_then_left_as_it_is(scans, capsys):
    code, out, _ = preprocess(capsys, scans, "--workers", "2", "--contact-sheet", scans.parent / "sheet.png")
    assert code == 0 and "2 scans: 2 written, 0 unchanged, 0 without result; recipe paper, 16 pixels" in out
    assert (scans.parent / "sheet.png").is_file()
    assert "2 scans: 0 written, 2 unchanged" in preprocess(capsys, scans)[1]
    assert "Choose another --output" in refused(
        capsys, "preprocess", "--input", scans, "--output", scans.parent / "out", "--recipe", "plain"
    )


def test_what_is_no_scan_is_counted_and_what_is_broken_named(scans, capsys):
    for name in ("a.webp", "b.webp", "notes.txt", "broken.dcm"):
        (scans / name).write_text("x")
    code, out, err = preprocess(capsys, scans)
    assert code == 1 and err.count("\n") == 1 and err.startswith("unreadable: broken.dcm: Expected a DICOM image")
    others = "left out: 3 (.webp: 2, for example a.webp; .txt: 1, for example notes.txt)"
    assert f"note: files that are no scans, {others}" in out
    assert "3 scans: 2 written, 0 unchanged, 1 without result" in out


def test_lesion_masks_are_counted_left_out_and_outlined(scans, capsys):
    mask = np.zeros((40, 30), np.uint8)
    mask[10:20, 5:15] = 255
    for name, pixels in (("scan_Mask.png", mask), ("scan_MASK2.png", mask[:30])):
        write_image(scans / "breast 0" / name, pixels)
    _, out, _ = preprocess(capsys, scans, "--contact-sheet", scans.parent / "sheet.png")
    assert "note: lesion masks, left out: 2, for example breast 0/scan_MASK2.png" in out
    assert "note: lesion mask, not drawn: breast 0/scan_MASK2.png: Expected a mask of the image's size" in out
    assert "2 scans: 2 written" in out


def test_a_cluster_that_does_not_answer_is_one_line(busi, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    command = ("preprocess", "--input", busi, "--output", tmp_path / "png", "--recipe", "ultrasound")
    error = refused(capsys, *command, "--executor", "ray")
    assert "Expected a Ray cluster that answers. Received: ray_address=127.0.0.1:1" in error


# cache


@pytest.fixture
def stored(tmp_path) -> Path:
    """DenseNet-121 in two full views; of VGG16 eight of twenty images in the first of two, last used 9 days ago."""

    def interrupted(view: int, start: int):
        yield features(view, start, 8)
        raise KeyboardInterrupt

    folder = tmp_path / "features"
    filled(folder)
    with pytest.raises(KeyboardInterrupt):
        open_filled(CacheSettings(folder), entries(folder, backbone="vgg16", extra=1), interrupted)
    for entry in list_entries(folder):
        if entry.facts["backbone"] == "vgg16":
            when = entry.used.timestamp() - 9.5 * 86400
            os.utime(entry.path / "facts.json", (when, when))
    return folder


def test_the_list_has_a_line_for_what_differs_in_the_view_only(stored, capsys):
    header, *lines, total = ended(capsys, "cache", "list", "--cache-dir", stored)[1].splitlines()
    assert header.split()[:2] == ["Dataset", "Backbone"] and total == f"960 B in {stored}"
    first, second = (" ".join(line.split()[1:10]) for line in lines)
    assert first == "densenet121 pool4_pool 224 ultrasound float16 2 40/40 800 B"
    assert second == "vgg16 pool4_pool 224 ultrasound float16 2 8/40 160 B"
    content = json.loads(ended(capsys, "cache", "list", "--cache-dir", stored, "--json")[1])
    assert (content["folder"], content["bytes"]) == (str(stored), 960)
    assert [entry["images_done"] for entry in content["entries"][:2]] == [COUNT, COUNT]
    last = max(content["entries"][2:], key=lambda entry: entry["images_done"])
    assert [last[name] for name in ("dtype", "images_total", "bytes")] == ["float16", COUNT, 160]
    assert last["facts"]["backbone"] == "vgg16" and Path(last["path"]).parent == stored


def test_clear_deletes_features_and_nothing_else(stored, capsys):
    for days, left in (("10", ["densenet121"] * 2 + ["vgg16"] * 2), ("9", ["densenet121"] * 2)):
        assert ended(capsys, "cache", "clear", "--cache-dir", stored, "--older-than", days)[0] == 0
        assert [info.facts["backbone"] for info in list_entries(stored)] == left
    entry = list_entries(stored)[0].path
    shutil.copytree(entry, stored / "copy-of-an-entry", ignore=lambda *_: {"notes.txt"})
    kept = {path.relative_to(stored) for path in (stored / "copy-of-an-entry").rglob("*") if path.is_file()}
    for name in ("thesis.txt", f"{'f' * 32}/facts.json", f"{entry.name}/notes.txt"):
        (stored / name).parent.mkdir(exist_ok=True)
        (stored / name).write_text('{"layout": "another program"}')
        kept.add(Path(name))
    _, out, _ = ended(capsys, "cache", "clear", "--cache-dir", stored)
    assert out == f"freed 800 B in {stored}: 2 views of datasets\n"
    assert {path.relative_to(stored) for path in stored.rglob("*") if path.is_file() and path.suffix != ".lock"} == kept
