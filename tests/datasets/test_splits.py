"""The protocols' splits: sizes by hand, what must never cross a split, on made-up tables and on the real files."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mmdc_tf.datasets.mini_ddsm import load_mini_ddsm
from mmdc_tf.datasets.schema import Dataset, DatasetInfo
from mmdc_tf.datasets.splits import Split, check_groups_disjoint, make_splits, select
from mmdc_tf.errors import SplitError

CLASSES = ("benign", "cancer", "normal")
PARTS = ("train", "validation", "test")


def dataset_of(rows: list[tuple[str, str, str]]) -> Dataset:
    """A dataset of (sample_id, label, group_id) rows; splits look at nothing else."""
    info = DatasetInfo("made-up", "Made up", "mammography", CLASSES)
    return Dataset(info, pd.DataFrame(rows, columns=["sample_id", "label", "group_id"]), Path("made-up"))


def patients(*count: int, views: int = 4) -> Dataset:
    """So many patients of each class with ``views`` images each."""
    groups = [(label, f"{label}/{number}") for label, n in zip(CLASSES, count, strict=False) for number in range(n)]
    return dataset_of([(f"{group}/{view}", label, group) for label, group in groups for view in range(views)])


def uneven(seed: int) -> Dataset:
    """Groups of one to five images, in an order that depends on the seed, two of them with mixed labels."""
    rows = [
        (f"{label}/{group}/{image}", label, f"{label}/{group}")
        for label, groups in {"benign": 14, "cancer": 9, "normal": 8}.items()
        for group in range(groups)
        for image in range(1 + (7 * group + seed) % 5)
    ]
    rows += [(f"mixed/{group}/{label}", label, f"mixed/{group}") for group in range(2) for label in CLASSES]
    shuffled = dataset_of(rows).table.sample(frac=1, random_state=seed).reset_index(drop=True)
    return replace(dataset_of(rows), table=shuffled)


def by(dataset: Dataset, column: str) -> pd.Series:
    return dataset.table.set_index("sample_id")[column]


def sides(split: Split) -> tuple[set[str], ...]:
    return tuple(set(getattr(split, part)) for part in PARTS)


def classes_of(samples) -> Counter:
    return Counter(sample.split("/")[0] for sample in samples)


def test_paper_split_is_a_fifth_of_each_class():
    # 10 + 5 + 5 images: 20 % are 2, 1 and 1.
    dataset = patients(10, 5, 5, views=1)
    (split,) = make_splits(dataset, "paper", folds=5, seed=0)
    assert classes_of(split.test) == {"benign": 2, "cancer": 1, "normal": 1}
    assert classes_of(split.train) == {"benign": 8, "cancer": 4, "normal": 4}
    assert set(split.train) | set(split.test) == set(dataset.table["sample_id"])
    # A fifth of 6 images is 2, fewer than the 3 classes.
    (split,) = make_splits(patients(2, 2, 2, views=1), "paper", folds=5, seed=0)
    assert set(classes_of(split.test)) == set(classes_of(split.train)) == set(CLASSES)


def test_paper_test_part_is_the_validation_part():
    dataset = patients(4, 3, 3)
    (split,) = make_splits(dataset, "paper", folds=5, seed=1)
    assert split.test == split.validation
    assert not set(split.train) & set(split.test)
    # With 40 images of 10 patients, an image-level split that kept all patients whole would be a miracle.
    with pytest.raises(SplitError, match="group_id='"):
        check_groups_disjoint(split, by(dataset, "group_id"))


@pytest.mark.parametrize("seed", range(20))
def test_paper_split_has_every_class_or_says_so(seed):
    # 20 % of 2 images is 0.4: rounding may leave the class out of the test part, which must not pass in silence.
    try:
        (split,) = make_splits(patients(30, 20, 2, views=1), "paper", folds=5, seed=seed)
    except SplitError as error:
        assert "no normal in" in str(error)
    else:
        assert all(set(classes_of(part)) == set(CLASSES) for part in sides(split))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_leak_free_keeps_groups_whole_and_tests_each_sample_once(folds, seed):
    dataset = uneven(seed)
    groups, labels = by(dataset, "group_id"), by(dataset, "label")
    splits = make_splits(dataset, "leak-free", folds, seed)
    assert [split.fold for split in splits] == list(range(folds))
    for split in splits:
        train, validation, test = sides(split)
        assert train | validation | test == set(labels.index)
        assert len(split.train) + len(split.validation) + len(split.test) == len(labels)
        seen = [set(groups.loc[list(part)]) for part in (train, validation, test)]
        assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
        assert all(set(labels.loc[list(part)]) == set(CLASSES) for part in (train, validation, test))
        check_groups_disjoint(split, groups)
    assert Counter(sample for split in splits for sample in split.test) == Counter(labels.index)


def test_leak_free_parts_have_the_declared_sizes():
    # 25 patients a class in 5 folds: 5 test; a fifth of the other 20, that is 4, validate; 16 train; 4 views each.
    for split in make_splits(patients(25, 25, 25), "leak-free", folds=5, seed=3):
        for part, expected in zip(PARTS, (64, 16, 20), strict=True):
            assert classes_of(getattr(split, part)) == dict.fromkeys(CLASSES, expected), part


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_each_part_of_the_control_has_as_many_images_of_each_class_as_leak_free(folds, seed):
    dataset = uneven(seed)
    labels, order = by(dataset, "label"), list(dataset.table["sample_id"])
    free, control = (make_splits(dataset, name, folds, seed) for name in ("leak-free", "image-level"))
    assert [(split.protocol, split.fold, split.folds) for split in control] == [
        ("image-level", fold, folds) for fold in range(folds)
    ]
    for one, other in zip(free, control, strict=True):
        for part in PARTS:
            assert Counter(labels.loc[list(getattr(one, part))]) == Counter(labels.loc[list(getattr(other, part))])
        assert sorted(other.train + other.validation + other.test) == sorted(order)
        assert list(other.train) == [sample for sample in order if sample in set(other.train)]
        with pytest.raises(SplitError, match="group_id="):  # groups stand on several sides
            check_groups_disjoint(other, by(dataset, "group_id"))
    assert sorted(sample for split in control for sample in split.test) == sorted(order)


@pytest.mark.parametrize("protocol", ["paper", "image-level", "leak-free"])
def test_the_seed_decides_the_split(protocol):
    dataset = uneven(0)
    once, again, other = (make_splits(dataset, protocol, 3, seed) for seed in (7, 7, 8))
    assert once == again
    assert [split.hash for split in once] == [split.hash for split in again]
    assert not {split.hash for split in once} & {split.hash for split in other}
    assert len({split.hash for split in once}) == len(once)


@pytest.mark.parametrize(
    ("dataset", "protocol", "folds", "said"),
    [
        (patients(8, 5, 4), "leak-free", 5, "at least 5 patients of each class.*normal=4.*fewer --folds"),
        # half of 3 leaves one group to train and validate
        (patients(8, 3, 8), "leak-free", 2, "at least 4 patients of each class.*cancer=3.*fewer --folds"),
        (patients(8, 8), "leak-free", 2, "normal=0"),
        (patients(8, 8, 1, views=1), "paper", 5, "normal=1"),
        (dataset_of([("s0", "benign", "g0"), ("s1", "cancer", "g1")]), "image-level", 5, "Expected at least"),
        *((uneven(0), "leak-free", folds, rf"at least 2 folds\. Received: folds={folds}") for folds in (1, 0, -2)),
        (uneven(0), "leakfree", 5, r"paper, image-level, leak-free\. Received: protocol='leakfree'"),
    ],
)
def test_what_cannot_be_split_is_refused(dataset, protocol, folds, said):
    with pytest.raises(SplitError, match=rf"(?s){said}"):
        make_splits(dataset, protocol, folds, seed=0)


@pytest.mark.parametrize("seed", range(8))
def test_a_part_without_a_class_raises(seed):
    # Four groups of "normal", one ten times the others: the large one balances the other three, so that one of the
    # two folds leaves a single group for training and validation.
    sizes = (30, 1, 1, 1)
    rows = [(f"{label}/{n}", label, f"{label}/{n}") for label in CLASSES[:2] for n in range(33)]
    rows += [(f"normal/{group}/{n}", "normal", f"normal/{group}") for group in range(4) for n in range(sizes[group])]
    with pytest.raises(SplitError, match=r"every class in every part\. Received: no normal in (train|validation)"):
        make_splits(dataset_of(rows), "leak-free", 2, seed)


@pytest.mark.parametrize("protocol", ["paper", "leak-free"])
def test_json_round_trip(protocol):
    for split in make_splits(uneven(1), protocol, 3, seed=5):
        text = split.to_json()
        assert Split.from_json(text) == split
        assert json.loads(text)["hash"] == split.hash


def test_a_moved_sample_in_the_file_and_a_file_that_is_no_split_raise():
    facts = json.loads(make_splits(uneven(1), "leak-free", 3, seed=5)[0].to_json())
    facts["train"].append(facts["test"].pop())
    with pytest.raises(SplitError, match=f"Received: hash={facts['hash']}.*changed after it was written"):
        Split.from_json(json.dumps(facts))
    more = '{"hash": "0", "train": [], "validation": [], "test": [], "more": 1}'
    for text in ("", "{", "[]", "{}", '{"hash": "0"}', more):
        with pytest.raises(SplitError, match="Make the split again"):
            Split.from_json(text)


@pytest.mark.parametrize(("one", "other"), [("train", "validation"), ("train", "test"), ("validation", "test")])
def test_planted_overlap_raises_and_names_the_group(one, other):
    dataset = patients(6, 6, 6)
    split = make_splits(dataset, "leak-free", 3, seed=0)[0]
    moved, *rest = getattr(split, one)
    planted = replace(split, **{one: tuple(rest), other: (*getattr(split, other), moved)})
    with pytest.raises(SplitError, match=f"group_id='{moved.rsplit('/', 1)[0]}' in {one} and {other}"):
        check_groups_disjoint(planted, by(dataset, "group_id"))


def test_select_returns_the_rows_in_the_asked_order():
    chosen = select(patients(2, 1, 1, views=2).table, ("normal/0/1", "benign/1/0"))
    assert chosen["sample_id"].tolist() == ["normal/0/1", "benign/1/0"]
    assert chosen["label"].tolist() == ["normal", "benign"]
    assert chosen.index.tolist() == [0, 1]


def test_busi_twins_never_stand_on_two_sides_but_of_the_papers_split(real_busi):
    busi = real_busi
    # Files that are the same to the byte: an oracle that knows nothing of perceptual hashes.
    digests = busi.table["image_path"].map(lambda path: hashlib.sha256(Path(path).read_bytes()).hexdigest())
    twins = [group for group in busi.table.groupby(digests)["sample_id"].agg(set) if len(group) > 1]
    assert {"benign/benign (433)", "malignant/malignant (145)"} in twins
    for seed in range(4):
        splits = make_splits(busi, "leak-free", 5, seed)
        assert sum(len(split.test) for split in splits) == 780
        assert all(sum(bool(group & side) for side in sides(split)) == 1 for split in splits for group in twins)
        # 339 of the 780 images have a near-twin: an image-level split separates some of them whatever the seed.
        (split,) = make_splits(busi, "paper", 5, seed)
        with pytest.raises(SplitError, match="in train and validation"):
            check_groups_disjoint(split, by(busi, "group_id"))
        # 437 + 210 + 133 = 780; a fifth is 156: 87.4, 42 and 26.6, and rounding to a sum of 156 gives 87, 42, 27.
        assert classes_of(split.test) == {"benign": 87, "malignant": 42, "normal": 27}
        assert len(split.train) == 624


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_mini_ddsm_keeps_the_four_views_of_a_patient_together(real_data, folds):
    mini_ddsm = load_mini_ddsm(real_data / "mini-ddsm" / "MINI-DDSM-Complete-JPEG-8")
    # Independent of group_id: the patient is the folder STATUS/NUMBER that the file lies in.
    patient = {
        row.sample_id: "/".join(Path(row.image_path).parts[-3:-1]) for row in mini_ddsm.table.itertuples(index=False)
    }
    for seed in range(4):
        splits = make_splits(mini_ddsm, "leak-free", folds, seed)
        for side in (side for split in splits for side in sides(split)):
            views = Counter(patient[sample] for sample in side)
            assert set(views.values()) == {4}
            assert {name.split("/")[0].lower() for name in views} == set(CLASSES)
        assert sum(len(split.test) for split in splits) == 72
