"""Split files: planted overlaps, files made elsewhere, what cannot be checked, and the protocols on the real BUSI."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from mmdc_tf.audit.split_file import check_split
from mmdc_tf.datasets.schema import Dataset, DatasetInfo
from mmdc_tf.datasets.splits import Split
from mmdc_tf.errors import ConfigurationError, DatasetError, SplitError

INFO = DatasetInfo("made-up", "Made up", "mammography", ("a", "b"), {}, "patient", "", "", "")


@pytest.fixture
def dataset():
    """Eight images of four patients: p1 to p4 with two views each."""
    rows = [(f"p{patient}/{view}", "ab"[patient % 2], f"p{patient}") for patient in range(1, 5) for view in "xy"]
    return Dataset(INFO, pd.DataFrame(rows, columns=["sample_id", "label", "group_id"]), Path("made-up"))


def saved(folder, train, validation, test):
    path = folder / "split.json"
    path.write_text(Split("leak-free", 0, 2, 0, "made-up", tuple(train), tuple(validation), tuple(test)).to_json())
    return path


def written(folder, content, name="split.json"):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / name


def whole(*patients):
    return [f"p{patient}/{view}" for patient in patients for view in "xy"]


def test_a_split_of_whole_groups_is_proved(tmp_path, dataset):
    checked = check_split(saved(tmp_path, whole(1, 2), whole(3), whole(4)), dataset)
    assert checked.disjoint
    assert checked.shared.empty
    assert checked.sizes == {"train": 4, "validation": 2, "test": 2}
    assert (checked.unknown, checked.notes) == ((), ())


def test_every_shared_group_is_listed_with_its_parts_and_samples(tmp_path, dataset):
    path = saved(tmp_path, ["p1/y", "p1/x", "p2/x", "p3/x"], ["p3/y"], ["p2/y", "p4/x", "p4/y"])
    checked = check_split(path, dataset)
    assert not checked.disjoint
    assert checked.shared.to_dict("records") == [
        {"group_id": "p2", "parts": ("train", "test"), "samples": {"train": ["p2/x"], "test": ["p2/y"]}},
        {"group_id": "p3", "parts": ("train", "validation"), "samples": {"train": ["p3/x"], "validation": ["p3/y"]}},
    ]


def test_one_sample_in_two_parts_is_an_overlap(tmp_path, dataset):
    checked = check_split(saved(tmp_path, ["p1/x"], ["p3/x"], ["p1/x", "p4/x"]), dataset)
    assert not checked.disjoint
    assert checked.shared["samples"].tolist() == [{"train": ["p1/x"], "test": ["p1/x"]}]


def test_a_validation_part_that_is_the_test_part_disproves_and_is_not_listed_group_by_group(tmp_path, dataset):
    checked = check_split(saved(tmp_path, whole(1, 2), whole(3, 4), whole(4, 3)), dataset)
    assert not checked.disjoint
    assert checked.shared.empty
    assert "the validation part is the test part" in checked.notes[0]
    leaking = check_split(saved(tmp_path, [*whole(1, 2), "p3/x"], ["p3/y"], ["p3/y"]), dataset)
    assert leaking.shared["parts"].tolist() == [("train", "validation", "test")]


def test_samples_that_the_dataset_does_not_have_are_named_and_nothing_is_proved(tmp_path, dataset):
    checked = check_split(saved(tmp_path, [*whole(1, 2), "p9/x"], whole(3), [*whole(4), "p7/x"]), dataset)
    assert not checked.disjoint
    assert checked.unknown == ("p7/x", "p9/x")
    assert checked.shared.empty


def test_images_in_no_part_are_counted(tmp_path, dataset):
    checked = check_split(saved(tmp_path, whole(1), whole(3), ["p4/x"]), dataset)
    assert checked.disjoint
    assert checked.notes == ("images of the dataset that stand in no part: 3, for example p2/x",)


def test_a_split_made_elsewhere_is_accepted_and_noted(tmp_path, dataset):
    path = written(tmp_path, {"Train": whole(1, 2), "val": whole(3), "test": whole(4), "author": "someone"})
    checked = check_split(path, dataset)
    assert checked.disjoint
    assert checked.sizes == {"train": 4, "validation": 2, "test": 2}
    assert "no hash" in checked.notes[0]
    assert not check_split(written(tmp_path, {"train": ["p1/x"], "test": ["p1/y"]}), dataset).disjoint


def test_a_csv_is_accepted(tmp_path, dataset):
    rows = [("p1/x", "train"), ("p1/y", "train"), ("p2/x", "train"), ("p2/y", "test"), ("p3/x", "test")]
    path = written(tmp_path, pd.DataFrame(rows, columns=["sample_id", "part"]).to_csv(index=False), "split.csv")
    checked = check_split(path, dataset)
    assert checked.sizes == {"train": 3, "test": 2}
    assert checked.shared["group_id"].tolist() == ["p2"]


def test_without_a_dataset_it_is_asked_for(tmp_path, dataset):
    with pytest.raises(ConfigurationError, match=r"split\.json.*Add --dataset and --root"):
        check_split(saved(tmp_path, whole(1), whole(2), whole(3)), None)


def test_a_split_of_another_dataset_is_refused(tmp_path, dataset):
    with pytest.raises(SplitError, match=r"none of them there, for example 'q/1'"):
        check_split(saved(tmp_path, ["q/1"], ["q/2"], ["q/3"]), dataset)


def test_a_changed_split_is_refused(tmp_path, dataset):
    path = saved(tmp_path, whole(1, 2), whole(3), whole(4))
    path.write_text(path.read_text().replace("p2/x", "p4/z"))
    with pytest.raises(SplitError, match="fits its hash"):
        check_split(path, dataset)


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
def test_what_is_no_split_is_refused_with_the_reason(tmp_path, dataset, name, content, reason):
    with pytest.raises(SplitError, match=rf"{name} \({reason}"):
        check_split(written(tmp_path, content, name), dataset)


@pytest.mark.parametrize("name", ["absent.json", "absent.csv"])
def test_an_absent_file_is_named(tmp_path, dataset, name):
    with pytest.raises((SplitError, DatasetError), match=name):
        check_split(tmp_path / name, dataset)
