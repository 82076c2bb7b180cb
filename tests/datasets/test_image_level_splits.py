"""The control: leak-free's sizes and classes in every part, without its groups."""

from __future__ import annotations

from collections import Counter

import pytest
from test_splits import PARTS, by, dataset_of, patients, uneven

from mmdc_tf.datasets.splits import check_groups_disjoint, make_splits
from mmdc_tf.errors import SplitError


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_each_part_has_as_many_images_of_each_class_as_leak_free(folds, seed):
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
    assert sorted(sample for split in control for sample in split.test) == sorted(order)
    assert control == make_splits(dataset, "image-level", folds, seed)


def test_groups_stand_on_several_sides():
    dataset = patients({"benign": 10, "cancer": 10, "normal": 10})
    for split in make_splits(dataset, "image-level", 5, 0):
        with pytest.raises(SplitError, match="group_id="):
            check_groups_disjoint(split, by(dataset, "group_id"))


def test_what_leak_free_refuses_is_refused():
    with pytest.raises(SplitError, match="Expected at least"):
        make_splits(dataset_of([("s0", "benign", "g0"), ("s1", "cancer", "g1")]), "image-level", 5, 0)
