"""The audit's files: they stand alone, escape every name, and show what must be looked at."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from made_up_audit import audit_of, probe, small_dataset, twins
from parsed_page import Page

from mmdc_tf.audit.pages import MOST_PAIRS, write_audit
from mmdc_tf.audit.report import AuditReport
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import ConfigurationError, UnreadableImageError

EVIL = "<b>|<script>.png"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Eight images; the first is called as no image should be."""
    dataset = small_dataset(tmp_path_factory.mktemp("dataset"))
    table = dataset.table.assign(sample_id=[EVIL, *dataset.table["sample_id"][1:]])
    return replace(dataset, table=table, notes=(f"a note on {EVIL}",), info=replace(dataset.info, title="A <i> title"))


def audit(dataset: Dataset, *pairs: tuple[int, int, float, bool]) -> AuditReport:
    return audit_of(dataset, twins(dataset, list(pairs)), probe("leak", 0.1, True), probe("shortcut", 0.8, True))


@pytest.fixture(scope="module")
def written(dataset, tmp_path_factory) -> dict[str, str]:
    files = write_audit(audit(dataset, (0, 1, 0.987, True), (2, 4, 0.3, False)), tmp_path_factory.mktemp("o"), "run it")
    assert [path.name for path in files] == ["audit.json", "audit.md", "audit.html"]
    return {path.name: path.read_text(encoding="utf-8") for path in files}


def test_the_page_parses_and_loads_nothing(written):
    page = Page(written["audit.html"])
    assert page.open == []
    assert not {"script", "link", "iframe", "base"} & {tag for tag, _ in page.tags}
    addresses = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert addresses
    assert all(value.startswith("data:image/png;base64,") for value in addresses)
    assert "http" not in written["audit.html"]
    assert "url(" not in written["audit.html"]
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags


def test_names_are_text_everywhere(written):
    page = Page(written["audit.html"])
    assert EVIL in page.text
    assert f"a note on {EVIL}" in page.text
    assert "Audit: A <i> title" in page.text
    assert {"i", "script"}.isdisjoint(tag for tag, _ in page.tags)
    assert EVIL in {attributes.get("alt") for _, attributes in page.tags}
    assert "<script>" not in written["audit.md"]
    assert "| &lt;b>\\|&lt;script>.png | benign |" in written["audit.md"]


def test_a_backslash_does_not_undo_the_escape_of_a_bar(dataset, tmp_path):
    table = dataset.table.assign(sample_id=["a\\|b.png", *dataset.table["sample_id"][1:]])
    renamed = replace(dataset, table=table)
    _, markdown, _ = write_audit(audit(renamed, (0, 1, 0.987, True)), tmp_path, "")
    assert "| a\\\\\\|b.png | benign |" in markdown.read_text(encoding="utf-8")  # in Markdown \\ is \ and \| is |


def test_a_picture_that_is_gone_leaves_the_text(dataset, tmp_path):
    gone = tmp_path / "gone.png"
    shutil.copy(dataset.table["image_path"][0], gone)
    table = dataset.table.assign(image_path=[str(gone), *dataset.table["image_path"][1:]])
    report = audit(replace(dataset, table=table), (0, 1, 0.987, True))
    assert report.dataset.fingerprint  # read from the files, once
    gone.unlink()
    with pytest.raises(UnreadableImageError, match=r"gone\.png"):
        write_audit(report, tmp_path / "audit", "")
    assert {path.name for path in (tmp_path / "audit").iterdir()} == {"audit.json", "audit.md"}


def test_the_page_says_what_it_is(written):
    for name in ("audit.html", "audit.md"):
        assert "Research use only, not a medical device." in written[name]
        assert "Unfit for an image-level split: 4 findings (near-twins, shortcut probes)." in written[name]
        assert "run it" in written[name]
        assert json.loads(written["audit.json"])["fingerprint"] in written[name]
        assert "phantom: not" not in written[name]


def test_a_phantom_is_called_one_in_every_file(dataset, tmp_path):
    for path in write_audit(replace(audit(dataset), synthetic=True), tmp_path, ""):
        assert "phantom: not a reproduction" in path.read_text(encoding="utf-8")


def test_conflicting_pairs_stand_side_by_side_with_their_own_pixels(written, dataset):
    page = Page(written["audit.html"])
    pictures = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    for place, picture in enumerate(pictures[:2]):
        data = np.frombuffer(base64.b64decode(picture.split(",")[1]), np.uint8)
        original = cv2.imread(dataset.table["image_path"].iloc[place], cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), original)
    assert "3 of 256 bits apart, SSIM 0.987, conflicting labels, different groups" in page.text
    assert "SSIM 0.300" not in page.text


def test_more_pairs_than_fit_are_counted(dataset, tmp_path):
    pairs = [(i, j, 0.9, True) for i, j in combinations(range(8), 2)]
    _, markdown, html = write_audit(audit(dataset, *pairs), tmp_path, "")
    page = Page(html.read_text(encoding="utf-8"))
    assert len([attributes for tag, attributes in page.tags if attributes.get("class") == "pair"]) == MOST_PAIRS
    assert f"{28 - MOST_PAIRS} more in audit.json." in page.text
    assert f"{28 - MOST_PAIRS} more in audit.json." in markdown.read_text(encoding="utf-8")
    assert len(json.loads((tmp_path / "audit.json").read_text())["near_twins"]["pairs"]) == 28


def test_the_table_alone_gives_a_page_without_pictures_of_images(dataset, tmp_path):
    alone = audit_of(replace(dataset, has_images=False), None, probe("leak", -0.1, False), probe("shortcut", 0, False))
    page = Page(write_audit(alone, tmp_path, "")[2].read_text(encoding="utf-8"))
    assert [attributes["alt"][:14] for tag, attributes in page.tags if tag == "img"] == ["Labels guessed"]
    assert "only the table, no image" in page.text


def test_json_is_strict(written):
    def refuse(name: str) -> None:
        raise ValueError(name)

    assert json.loads(written["audit.json"], parse_constant=refuse)["command"] == "run it"


def test_a_folder_that_cannot_be_written_is_one_clear_error(dataset, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match="output="):
        write_audit(audit(dataset), tmp_path / "file", "")
