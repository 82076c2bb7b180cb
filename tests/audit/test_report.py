"""The audit's verdict and its files, from results written by hand: what is unfit, and that the pages stand alone."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from parsed_page import Page

from mmdc_tf.audit.near_twins import PAIR_COLUMNS, NearTwins
from mmdc_tf.audit.probes import SCORES
from mmdc_tf.audit.report import MOST_PAIRS, audit_facts, run_audit, write_audit
from mmdc_tf.datasets.catalogue import load_dataset
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import ConfigurationError, UnreadableImageError

EVIL = "<b>|<script>.png"
NAMES = {"sample": "sample_id", "label": "label", "group": "group_id"}


def small_dataset(root: Path, per_patient: int = 1) -> Dataset:
    """Eight noise images; a patient's label is the parity of her number."""
    root.mkdir(parents=True, exist_ok=True)
    rng, names, patients = (
        np.random.default_rng(0),
        [f"s{row:03d}.png" for row in range(8)],
        np.arange(8) // per_patient,
    )
    for name in names:
        assert cv2.imwrite(str(root / name), rng.integers(0, 256, (40, 40), dtype=np.uint8))
    labels = np.array(["benign", "malignant"])[patients % 2]
    table = {"sample_id": names, "image_path": names, "label": labels, "patient_id": [f"p{one}" for one in patients]}
    pd.DataFrame(table).to_csv(root / "samples.csv", index=False)
    return load_dataset("folder", root)


def probe(kind: str, low: float, finding: bool) -> dict:
    """A scored probe whose interval of leak and of group-level accuracy starts at ``low``."""
    between = (low, low + 0.2)
    scores = (0.7, (0.6, 0.8), 0.5, between, 0.2, between)
    facts = {"name": "made-up", "kind": kind, "majority": 0.5, "finding": finding, "skipped": ""}
    return facts | dict(zip(SCORES, scores, strict=True)) | {"sentence": "made-up was scored."}


def twins(dataset: Dataset, pairs: list[tuple[int, int, float, bool]]) -> NearTwins:
    """Near-twins by place in the table, with their SSIM, and whether they are confirmed."""
    rows = []
    for i, j, ssim, confirmed in pairs:
        one, other = dataset.table.iloc[i], dataset.table.iloc[j]
        row = {"distance": 3, "ssim": ssim, "confirmed": confirmed, "identical_bytes": False}
        row |= {"conflicting": one["label"] != other["label"], "across_groups": one["group_id"] != other["group_id"]}
        for letter, part in (("a", one), ("b", other)):
            row |= {f"{name}_{letter}": part[column] for name, column in NAMES.items()}
        rows.append(row)
    ids = dataset.table["sample_id"]
    clusters = pd.Series(ids.to_numpy(copy=True), index=pd.Index(ids), name="cluster")
    for i, j, *_ in pairs:
        clusters[clusters == clusters.iloc[j]] = clusters.iloc[i]
    sweep = {"bits": 40, "pairs": len(rows), "images_in_groups": 2, "groups": 1, "clusters": 3, "largest": 2}
    sweep = pd.DataFrame([{**sweep, "conflicting_pairs": 1}])
    table = pd.DataFrame(rows, columns=list(PAIR_COLUMNS)).astype({"confirmed": bool, "conflicting": bool})
    return NearTwins(table.astype({"across_groups": bool}), clusters, sweep, len(rows), 40, ())


CLEAN = [probe("leak", -0.1, False)], [probe("shortcut", 0.4, False)]


def audited(dataset: Dataset, *pairs: tuple[int, int, float, bool]) -> dict:
    return audit_facts(dataset, twins(dataset, list(pairs)), *CLEAN)


def section(place: int, dataset: Dataset, *probes: dict) -> dict:
    return audit_facts(dataset, None, list(probes), list(probes))["sections"][place]


@pytest.fixture
def clean_dataset(tmp_path: Path) -> Dataset:
    return small_dataset(tmp_path)


def test_confirmed_twins_with_two_labels_and_groups_are_three_findings(clean_dataset, tmp_path):
    """Images 0 and 1 belong to different patients of different classes."""
    report = audited(clean_dataset, (0, 1, 0.99, True))
    first, conflict, across = report["sections"][0]["findings"]
    assert first.startswith("2 of 8 images have a near-twin")
    assert conflict.startswith("1 pair of near-twins with conflicting labels")
    assert "--near-twins drop-conflicts" in conflict
    assert "in different groups (patients)" in across
    assert report["verdict"] == "Unfit for an image-level split: 3 findings (near-twins)."
    assert (
        len(audited(small_dataset(tmp_path / "b", per_patient=2), (0, 1, 0.99, True))["sections"][0]["findings"]) == 1
    )


def test_a_pair_that_only_the_hash_holds_to_be_alike_is_no_finding(clean_dataset):
    report = audited(clean_dataset, (0, 1, 0.3, False))
    assert report["verdict"] == "Nothing was found that would make an image-level split unfit."
    assert "1 pair; not alike there: 1" in report["sections"][0]["remarks"][0]


def test_a_leak_counts_where_groups_hold_several_images_and_its_interval_excludes_0(tmp_path):
    alone, together = small_dataset(tmp_path / "a"), small_dataset(tmp_path / "b", per_patient=2)
    for low, several, unfit in ((0.1, together, True), (0.01, together, True), (-0.01, together, False)):
        assert section(1, several, probe("leak", low, low > 0.05))["unfit"] is unfit
    assert not section(1, alone, probe("leak", 0.1, True))["unfit"]
    small = section(1, together, probe("leak", 0.01, False))["findings"][0]
    assert "its interval excludes 0" in small
    assert "Use --protocol leak-free, which keeps each patient on one side." in small


def test_a_shortcut_is_unfit_and_says_that_leak_free_does_not_help(clean_dataset):
    found = section(2, clean_dataset, probe("shortcut", 0.8, True), *CLEAN[1])
    (finding,) = found["findings"]
    assert "A leak-free split does not remove it" in finding
    assert found["remarks"] == ["made-up was scored."]


def test_the_table_alone_is_called_so(clean_dataset):
    alone = replace(clean_dataset, has_images=False)
    report = audit_facts(alone, None, *CLEAN)
    assert "Only the table was read" in report["verdict"]
    assert "Only the table was read" in report["sections"][0]["looked_at"]
    assert report["near_twins"] is None
    assert report["table_alone"] is True


def test_the_dictionary_is_strict_json(clean_dataset):
    content = audited(clean_dataset, (0, 1, float("nan"), True), (2, 3, 0.9, True))
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert [pair["ssim"] for pair in content["near_twins"]["pairs"]] == [None, 0.9]
    assert content["near_twins"]["clusters"] == [["s000.png", "s001.png"], ["s002.png", "s003.png"]]
    assert [section["unfit"] for section in content["sections"]] == [True, False, False, False]
    assert (content["images"], content["fingerprint"]) == (8, clean_dataset.fingerprint)


@pytest.mark.parametrize("options", [{"max_bits": 256}, {"seed": -1}])
def test_a_limit_out_of_range_is_refused(clean_dataset, options):
    with pytest.raises(ConfigurationError, match=f"Received: {next(iter(options))}="):
        run_audit(clean_dataset, **options)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Eight images; the first is called as no image should be."""
    dataset = small_dataset(tmp_path_factory.mktemp("dataset"))
    table = dataset.table.assign(sample_id=[EVIL, *dataset.table["sample_id"][1:]])
    return replace(dataset, table=table, notes=(f"a note on {EVIL}",), info=replace(dataset.info, title="A <i> title"))


def audit(dataset: Dataset, *pairs: tuple[int, int, float, bool]) -> dict:
    """An audit whose probes were not run."""
    found = twins(dataset, list(pairs))
    facts = audit_facts(dataset, found, [probe("leak", 0.1, True)], [probe("shortcut", 0.8, True)])
    return {"max_bits": 40, "seed": 0, **facts}


@pytest.fixture(scope="module")
def written(dataset, tmp_path_factory) -> dict[str, str]:
    facts = audit(dataset, (0, 1, 0.987, True), (2, 4, 0.3, False))
    files = write_audit(facts, dataset, tmp_path_factory.mktemp("o"), "run it")
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


def test_a_picture_that_is_gone_leaves_the_text(dataset, tmp_path):
    gone = tmp_path / "gone.png"
    shutil.copy(dataset.table["image_path"][0], gone)
    table = dataset.table.assign(image_path=[str(gone), *dataset.table["image_path"][1:]])
    changed = replace(dataset, table=table)
    facts = audit(changed, (0, 1, 0.987, True))
    gone.unlink()
    with pytest.raises(UnreadableImageError, match=r"gone\.png"):
        write_audit(facts, changed, tmp_path / "audit", "")
    assert {path.name for path in (tmp_path / "audit").iterdir()} == {"audit.json", "audit.md"}


def test_the_page_says_what_it_is(written):
    for name in ("audit.html", "audit.md"):
        assert "Research use only, not a medical device." in written[name]
        assert "Unfit for an image-level split: 4 findings (near-twins, shortcut probes)." in written[name]
        assert "run it" in written[name]
        assert json.loads(written["audit.json"])["fingerprint"] in written[name]
        assert "phantom: not" not in written[name]


def test_a_phantom_is_called_one_in_every_file(dataset, tmp_path):
    phantom = replace(dataset, info=replace(dataset.info, synthetic=True))
    for path in write_audit(audit(phantom), phantom, tmp_path, ""):
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
    _, markdown, html = write_audit(audit(dataset, *pairs), dataset, tmp_path, "")
    page = Page(html.read_text(encoding="utf-8"))
    assert len([attributes for tag, attributes in page.tags if attributes.get("class") == "pair"]) == MOST_PAIRS
    assert f"{28 - MOST_PAIRS} more in audit.json." in page.text
    assert f"{28 - MOST_PAIRS} more in audit.json." in markdown.read_text(encoding="utf-8")
    assert len(json.loads((tmp_path / "audit.json").read_text())["near_twins"]["pairs"]) == 28


def test_the_table_alone_gives_a_page_without_pictures_of_images(dataset, tmp_path):
    alone = replace(dataset, has_images=False)
    facts = {"max_bits": 40, "seed": 0, **audit_facts(alone, None, *CLEAN)}
    page = Page(write_audit(facts, alone, tmp_path, "")[2].read_text(encoding="utf-8"))
    assert [attributes["alt"][:14] for tag, attributes in page.tags if tag == "img"] == ["Labels guessed"]
    assert "only the table, no image" in page.text
