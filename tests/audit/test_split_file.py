"""Split files: planted overlaps, files made elsewhere, and what cannot be checked."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from mmdc_tf.audit import split_file
from mmdc_tf.datasets.splits import Split
from mmdc_tf.errors import DatasetError, SplitError

GROUPS = pd.Series({f"p{patient}/{view}": f"p{patient}" for patient in range(1, 5) for view in "xy"})
"""Eight images of four patients: p1 to p4 with two views each."""


def check_split(path):
    return split_file.check_split(path, GROUPS, "made-up")


def saved(folder, train, validation, test):
    path = folder / "split.json"
    path.write_text(Split("leak-free", 0, 2, 0, "made-up", tuple(train), tuple(validation), tuple(test)).to_json())
    return path


def written(folder, content, name="split.json"):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / name


def whole(*patients):
    return [f"p{patient}/{view}" for patient in patients for view in "xy"]


def test_a_split_of_whole_groups_is_proved(tmp_path):
    sizes = {"train": 4, "validation": 2, "test": 2}
    checked = check_split(saved(tmp_path, whole(1, 2), whole(3), whole(4)))
    assert checked == {"disjoint": True, "sizes": sizes, "shared": [], "unknown": [], "notes": []}
    checked = check_split(saved(tmp_path, whole(1), whole(3), ["p4/x"]))
    assert checked["disjoint"]
    assert checked["notes"] == ["images of the dataset that stand in no part: 3, for example p2/x"]


@pytest.mark.parametrize(
    ("parts", "shared"),
    [
        (
            (["p1/y", "p1/x", "p2/x", "p3/x"], ["p3/y"], ["p2/y", "p4/x", "p4/y"]),
            {"p2": {"train": ["p2/x"], "test": ["p2/y"]}, "p3": {"train": ["p3/x"], "validation": ["p3/y"]}},
        ),
        ((["p1/x"], ["p3/x"], ["p1/x", "p4/x"]), {"p1": {"train": ["p1/x"], "test": ["p1/x"]}}),
        ((whole(1, 2), whole(3, 4), whole(4, 3)), {}),  # the validation part is the test part
        (
            ([*whole(1, 2), "p3/x"], ["p3/y"], ["p3/y"]),
            {"p3": {"train": ["p3/x"], "validation": ["p3/y"], "test": ["p3/y"]}},
        ),
    ],
)
def test_every_shared_group_is_listed_with_its_parts_and_samples(tmp_path, parts, shared):
    checked = check_split(saved(tmp_path, *parts))
    assert not checked["disjoint"]
    assert {group["group_id"]: group["samples"] for group in checked["shared"]} == shared
    assert all(group["parts"] == list(group["samples"]) for group in checked["shared"])
    chosen_on_test = set(parts[1]) == set(parts[2])
    assert any("the validation part is the test part" in note for note in checked["notes"]) == chosen_on_test


def test_samples_that_the_dataset_does_not_have_are_named_and_nothing_is_proved(tmp_path):
    checked = check_split(saved(tmp_path, [*whole(1, 2), "p9/x"], whole(3), [*whole(4), "p7/x"]))
    assert (checked["disjoint"], checked["unknown"], checked["shared"]) == (False, ["p7/x", "p9/x"], [])
    with pytest.raises(SplitError, match=r"samples of made-up.*none of them there, for example 'q/1'"):
        check_split(saved(tmp_path, ["q/1"], ["q/2"], ["q/3"]))


def test_a_split_made_elsewhere_is_accepted_and_noted(tmp_path):
    path = written(tmp_path, {"Train": whole(1, 2), "val": whole(3), "test": whole(4), "author": "someone"})
    checked = check_split(path)
    assert checked["disjoint"]
    assert checked["sizes"] == {"train": 4, "validation": 2, "test": 2}
    assert "no hash" in checked["notes"][0]
    assert not check_split(written(tmp_path, {"train": ["p1/x"], "test": ["p1/y"]}))["disjoint"]


def test_a_csv_is_accepted(tmp_path):
    rows = [("p1/x", "train"), ("p1/y", "train"), ("p2/x", "train"), ("p2/y", "test"), ("p3/x", "test")]
    path = written(tmp_path, pd.DataFrame(rows, columns=["sample_id", "part"]).to_csv(index=False), "split.csv")
    checked = check_split(path)
    assert checked["sizes"] == {"train": 3, "test": 2}
    assert [group["group_id"] for group in checked["shared"]] == ["p2"]


def test_a_changed_split_is_refused(tmp_path):
    path = saved(tmp_path, whole(1, 2), whole(3), whole(4))
    path.write_text(path.read_text().replace("p2/x", "p4/z"))
    with pytest.raises(SplitError, match="fits its hash"):
        check_split(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("split.json", "{", "Expecting"),
        ("split.json", [1, 2], "a list"),
        ("split.json", {"train": ["p1/x"]}, "the parts train"),
        ("split.json", {}, "the parts none"),
        ("split.json", {"train": "p1/x", "test": ["p2/x"]}, "train that is no list"),
        ("split.json", {"train": [1], "test": ["p2/x"]}, "train that is no list"),
        ("split.csv", "sample_id,fold\np1/x,train\n", "columns sample_id, fold"),
        ("split.csv", "sample_id,part\np1/x,one\np2/x,two\n", "the parts one, two"),
    ],
)
def test_what_is_no_split_is_refused_with_the_reason(tmp_path, name, content, reason):
    with pytest.raises(SplitError, match=rf"{name} \({reason}"):
        check_split(written(tmp_path, content, name))


@pytest.mark.parametrize("name", ["absent.json", "absent.csv"])
def test_an_absent_file_is_named(tmp_path, name):
    with pytest.raises((SplitError, DatasetError), match=name):
        check_split(tmp_path / name)
