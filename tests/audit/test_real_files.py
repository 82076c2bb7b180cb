"""The figures of docs/integrity.md on the real files; those of twins were counted independently."""

from __future__ import annotations

import pandas as pd
import pytest

from mmdc_tf.audit.near_twins import find_near_twins
from mmdc_tf.audit.report import run_audit, write_audit
from mmdc_tf.audit.split_file import check_split
from mmdc_tf.datasets.busi import load_busi
from mmdc_tf.datasets.catalogue import load_table_alone
from mmdc_tf.datasets.splits import make_splits

SAME_FILES = ["benign/benign (433)", "malignant/malignant (145)"]


@pytest.fixture(scope="module")
def real_busi(real_data):
    return load_busi(real_data / "busi")


def probes_of(facts: dict) -> dict[str, dict]:
    return {probe["name"]: probe for probe in [*facts["leak_probes"], *facts["shortcut_probes"]]}


def unfit(facts: dict) -> list[str]:
    return [section["name"] for section in facts["sections"] if section["unfit"]]


def test_busi(real_busi, tmp_path):
    """Nearest neighbour: 67 % with an image-level split, 48 % when near-twins stay together."""
    facts = run_audit(real_busi)
    assert unfit(facts) == ["near-twins", "leak-probes", "metadata"]
    numbers = facts["sections"][0]["numbers"]
    found = [numbers[name] for name in ("images_in_groups", "images_in_confirmed_groups", "conflicting_pairs")]
    assert found == [339, 339, 11]  # ten within 40 bits; benign (333) and malignant (78) are 84 apart
    pairs = {(pair["sample_a"], pair["sample_b"]): pair for pair in facts["near_twins"]["pairs"] if pair["conflicting"]}
    assert ("benign/benign (131)", "malignant/malignant (51)") in pairs
    assert [list(ids) for ids, pair in pairs.items() if pair["identical_bytes"]] == [SAME_FILES]
    sweep = pd.DataFrame(facts["near_twins"]["sweep"]).set_index("bits")
    assert sweep["images_in_groups"][[20, 40, 50]].tolist() == [216, 316, 319]
    assert sweep.loc[40, ["conflicting_pairs", "clusters"]].tolist() == [10, 606]
    neighbour = probes_of(facts)["nearest-neighbour"]
    assert neighbour["image_level"] == pytest.approx(0.67, abs=0.03)
    assert neighbour["group_level"] == pytest.approx(0.48, abs=0.03)
    assert neighbour["leak_interval"][0] > 0.10
    assert facts["metadata"]["identical_files"] == [{"sample_ids": SAME_FILES, "labels": ["benign", "malignant"]}]
    page = write_audit(facts, real_busi, tmp_path, "")[2].read_text(encoding="utf-8")
    assert page.count('class="pair"') == 11 and "339 of 780 images have a near-twin" in page


def test_the_groups_and_the_two_protocols_on_busi(real_busi, tmp_path):
    found, groups = find_near_twins(real_busi, most_compared=14), real_busi.table.set_index("sample_id")["group_id"]
    assert found.candidates > len(found.pairs[found.pairs["distance"] <= 40]) == 14
    assert found.clusters.nunique() == 591  # 23 confirmed pairs beyond 40 bits join 15 more
    pd.testing.assert_series_equal(found.clusters, groups, check_names=False)
    (paper,), free = (make_splits(real_busi, name, folds=5, seed=0) for name in ("paper", "leak-free"))
    path = tmp_path / "split.json"
    path.write_text(paper.to_json())
    checked = check_split(path, groups, "BUSI")
    both = set(groups.loc[list(paper.train)]) & set(groups.loc[list(paper.test)])
    assert {group["group_id"] for group in checked["shared"]} == both != set()
    for split in free:
        path.write_text(split.to_json())
        assert check_split(path, groups, "BUSI")["disjoint"]


def test_what_the_table_of_mini_ddsm_tells(real_data):
    """12 rows have no age, 4 rows no density. Age and density: 50 % with an image-level split, 40 % when patients stay
    together. The first letter of the file name alone: 50 % by patient; always the commonest class: 35 %."""
    facts = run_audit(load_table_alone("mini-ddsm", real_data / "mini-ddsm"))
    metadata, probes = facts["metadata"], probes_of(facts)
    assert (metadata["images"], metadata["patients"]) == (7808, 1952)
    assert (metadata["missing"]["age"], metadata["missing"]["density"]) == (12, 4)
    assert (metadata["disagreements"], metadata["out_of_range"], metadata["repeated_views"]) == ([], [], [])
    age, density = metadata["associations"]
    assert (age["patients"], density["patients"]) == (1952 - 3, 1952 - 1)
    assert age["p_value"] < 1e-10 and not metadata["finding"]
    known = probes["age-density"]
    assert (known["images"], known["groups"], known["majority"]) == (7808, 1952, pytest.approx(2716 / 7808))
    assert [known["image_level"], known["group_level"]] == pytest.approx([0.50, 0.40], abs=0.015)
    assert probes["file-name-prefix"]["group_level"] == pytest.approx(0.50, abs=0.015)
    assert {name for name, probe in probes.items() if probe["finding"]} == {"age-density", "file-name-prefix"}
    assert probes["border-pixels"]["skipped"] == "the table was read without images"
