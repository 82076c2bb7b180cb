"""Names that strangers give to files, folders, classes and patients: through the commands, and in what they write."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pandas as pd
import pytest
from command_line import refused
from markdown_it import MarkdownIt
from parsed_page import Page
from served_model import scan, write_image

from mmdc_tf.cli import main
from mmdc_tf.datasets.opencv import cv2

ATTACK = "<img src=x onerror=alert(1)>"
NAMES = (
    ATTACK,
    "<script>alert(1)<script>",
    "two words",
    'it\'s "quoted"',
    "line\nbreak",
    "\x1b[31mred",
    "50%25 %s {x} {{y}} ${z}",
    "a&amp;b &lt;",
    "`tick` |pipe| [a](b) *b*",
    "=1+1",
    "@sum",
    "--help",
    "صورة",
    "乳房",
    "🩻",
    "x" * 251,
)
NO_TEXT = os.fsdecode(b"no text \xff\xfe.png")


def require_harmless(html: str) -> None:
    """Nothing in it is run, and no picture is fetched."""
    for tag, attributes in Page(html).tags:
        assert tag != "script"
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("src", "data:").startswith("data:")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A scan of each name, and one whose name is no text."""
    for number, name in enumerate(NAMES):
        write_image(tmp_path / "scans" / "own" / "x.png", scan(number)).rename(tmp_path / "scans" / f"{name}.png")
    (tmp_path / "scans" / "own").rmdir()
    return tmp_path / "scans"


@pytest.fixture
def dataset(scans: Path, tmp_path: Path) -> Path:
    """A folder with such a name, whose classes and patients have such names; two images are alike, with two labels."""
    root = tmp_path / ATTACK
    root.mkdir()
    scans.rename(root / "scans")
    classes = (ATTACK, "=1+1", "a|b `c`")
    table = pd.DataFrame({"sample_id": NAMES, "image_path": [f"scans/{name}.png" for name in NAMES]})
    table["label"] = [classes[number % 3] for number in range(len(NAMES))]
    table["patient_id"] = table["sample_id"]
    table["age"], table["density"] = range(50, 50 + len(NAMES)), 2
    table.to_csv(root / "samples.csv", index=False)
    twin = cv2.resize(scan(0), (160, 160))
    for name in NAMES[:2]:
        write_image(root / "twin.png", twin).rename(root / "scans" / f"{name}.png")
    return root


def test_datasets_check_names_them_in_lines_of_text(dataset: Path, capsys):
    (dataset / "scans" / f"{NAMES[2]}.png").rename(dataset / "scans" / NO_TEXT)
    (dataset / "scans" / "=1+1.png").write_bytes(b"broken")
    assert main(["datasets", "check", "--dataset", "folder", "--root", str(dataset)]) == 2
    shown = capsys.readouterr().out
    assert "=1+1.png" in shown and "two words.png" in shown
    assert "a spreadsheet takes for formulas: 3, for example '--help', '=1+1', '@sum'" in shown
    assert "\x1b" not in shown


def test_an_audit_shows_them_as_text(dataset: Path, tmp_path: Path, capsys):
    assert main(["audit", "--dataset", "folder", "--root", str(dataset), "--output", str(tmp_path / "out")]) == 1
    html = (tmp_path / "out" / "audit.html").read_text()
    require_harmless(html)
    assert "&lt;img src=x onerror" in html  # it is shown
    require_harmless(MarkdownIt().enable("table").render((tmp_path / "out" / "audit.md").read_text()))
    assert json.loads((tmp_path / "out" / "audit.json").read_text())
    assert "\x1b" not in capsys.readouterr().out


def test_a_run_and_its_report_show_them_as_text(dataset: Path, tmp_path: Path, capsys):
    options = ["--dataset", "folder", "--dataset-root", str(dataset), "--rows", "metadata_only", "--folds", "2"]
    options += ["--weights", "none", "--output", str(tmp_path / ATTACK / "out"), "--protocol", "leak-free"]
    assert main(["run", "--table", "2", *options]) == 0
    out = tmp_path / ATTACK / "out"
    require_harmless((out / "report.html").read_text())
    for path in out.rglob("*.md"):
        require_harmless(MarkdownIt().enable("table").render(path.read_text()))
    stored = pd.concat([pd.read_csv(path) for path in out.rglob("predictions.csv")])
    assert sorted(stored["sample_id"]) == sorted(NAMES)  # the names themselves, as they were given
    assert "\x1b" not in capsys.readouterr().out


def test_preprocess_keeps_every_name(scans: Path, tmp_path: Path):
    (scans / "two words.png").rename(scans / NO_TEXT)
    out = tmp_path / "out"
    assert main(["preprocess", "--input", str(scans), "--output", str(out), "--recipe", "plain", "--size", "32"]) == 0
    kept = {f"{name}.png" for name in NAMES if name != "two words"}
    assert {path.name for path in out.glob("*.png")} == {NO_TEXT, *kept}


def test_predict_and_explain_take_every_name(phantom_model: Path, scans: Path, tmp_path: Path, capsys, monkeypatch):
    (scans / "two words.png").rename(scans / NO_TEXT)
    monkeypatch.chdir(scans)
    names = [path.name for path in scans.iterdir()]
    given = [name if not name.startswith("-") else f"./{name}" for name in names]
    model = ["--model", str(phantom_model)]
    assert main(["predict", *model, *given, "--output", str(tmp_path / "found.csv")]) == 0
    with (tmp_path / "found.csv").open(errors="surrogateescape", newline="") as file:
        paths = [line["image_path"] for line in csv.DictReader(file)]
    assert sorted(paths) == sorted(f"'{name}" if name[0] in "=@-" else name for name in names)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "=1+1.png" in shown
    options = [*model, "--output", str(tmp_path / "heat"), ATTACK + ".png", "=1+1.png", f"{'x' * 251}.png"]
    assert main(["explain", *options]) == 1
    assert {path.name for path in (tmp_path / "heat").iterdir()} == {f"{ATTACK}.heatmap.png", "=1+1.heatmap.png"}
    error = capsys.readouterr().err
    assert "picture not written" in error and "(File name too long)" in error


def test_a_dataset_whose_files_are_no_text_is_refused_by_name(busi: Path, capsys):
    """Its sample ids are the names of its files, which no table could hold."""
    (busi / "benign" / "benign (1).png").rename(busi / "benign" / NO_TEXT)
    options = ["--dataset", "busi", "--root", str(busi), "--output", str(busi / "out")]
    error = refused(capsys, "audit", *options)
    assert "in UTF-8. Received: " in error and r"no text \udcff\udcfe.png" in error
