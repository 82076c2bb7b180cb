"""Metadata taken away or exchanged: what changes, and what never does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.evaluation.metadata_variants import VARIANTS, metadata_variants

NAN = float("nan")


@pytest.fixture
def table() -> pd.DataFrame:
    """Five patients in mixed order; p2's images differ; two images of unknown patients in groups of their own."""
    lines = [
        ("s0", "p1", "p1", 41.0, 1.0),
        ("s1", "p2", "p2", 52.0, 2.0),
        ("s2", "p1", "p1", 41.0, 1.0),
        ("s3", "p2", "p2", 53.0, NAN),
        ("s4", "p3", "p3", NAN, 3.0),
        ("s5", "", "g1", 64.0, 4.0),
        ("s6", "", "g2", 75.0, 2.5),
        ("s7", "p3", "p3", NAN, 3.0),
    ]
    table = pd.DataFrame(lines, columns=["sample_id", "patient_id", "group_id", "age", "density"])
    return table.assign(image_path=table["sample_id"] + ".png", label=["benign", "cancer"] * 4)


def pairs(table: pd.DataFrame) -> list[tuple[float, float]]:
    """Age and density of each row, −1 where unknown, so that they can be compared."""
    return [tuple(pair) for pair in table[["age", "density"]].fillna(-1.0).to_numpy().tolist()]


def patients(table: pd.DataFrame) -> pd.Series:
    return table["patient_id"].where(table["patient_id"] != "", table["group_id"])


def test_only_age_and_density_change(table):
    before = table.copy()
    variants = metadata_variants(table, seed=0)
    assert tuple(variants) == VARIANTS == ("age unknown", "density unknown", "both unknown", "shuffled")
    for variant in variants.values():
        others = [name for name in table.columns if name not in ("age", "density")]
        pd.testing.assert_frame_equal(variant[others], table[others])
        assert list(variant.columns) == list(table.columns)
        assert variant[["age", "density"]].dtypes.tolist() == [np.dtype("float64")] * 2
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize(
    ("name", "unknown"),
    [("age unknown", ["age"]), ("density unknown", ["density"]), ("both unknown", ["age", "density"])],
)
def test_the_named_values_are_unknown_and_the_others_stay(table, name, unknown):
    variant = metadata_variants(table, seed=0)[name]
    for column in ("age", "density"):
        if column in unknown:
            assert variant[column].isna().all()
        else:
            pd.testing.assert_series_equal(variant[column], table[column])


@pytest.mark.parametrize("seed", range(30))
def test_each_patient_is_given_the_first_values_of_another(table, seed):
    firsts = {name: pairs(part)[0] for name, part in table.groupby(patients(table))}
    shuffled = metadata_variants(table, seed)["shuffled"]
    given = {name: set(pairs(part)) for name, part in shuffled.groupby(patients(table))}
    assert all(len(values) == 1 for values in given.values())  # all images of a patient the same
    donors = {name: next(owner for owner, pair in firsts.items() if {pair} == values) for name, values in given.items()}
    assert sorted(donors.values()) == sorted(firsts)  # a permutation: nobody's values are lost or given twice
    assert all(name != donor for name, donor in donors.items())


def test_the_seed_decides_who_gets_whose(table):
    drawn = [pairs(metadata_variants(table, seed)["shuffled"]) for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len({tuple(values) for values in drawn}) > 1


def test_every_other_patient_is_as_likely_a_donor(table):
    """The first patient's donor among the four others: 50 each of 200 draws, within 4 standard deviations."""
    ages = [pairs(metadata_variants(table, seed)["shuffled"])[0] for seed in range(200)]
    counts = pd.Series(ages).value_counts()
    assert len(counts) == 4
    assert counts.between(50 - 4 * 37.5**0.5, 50 + 4 * 37.5**0.5).all()


def test_two_patients_exchange_and_one_keeps_its_own(table):
    two = table[table["patient_id"].isin(["p1", "p3"])].reset_index(drop=True)
    assert pairs(metadata_variants(two, seed=4)["shuffled"]) == [(-1.0, 3.0), (-1.0, 3.0), (41.0, 1.0), (41.0, 1.0)]
    one = table[table["patient_id"] == "p1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(metadata_variants(one, seed=4)["shuffled"], one)


def test_a_part_with_the_row_numbers_of_the_whole_keeps_them(table):
    part = table.iloc[[6, 1, 4]]
    shuffled = metadata_variants(part, seed=0)["shuffled"]
    assert shuffled.index.tolist() == [6, 1, 4]
    assert sorted(pairs(shuffled)) == sorted(pairs(part))


def test_a_patient_named_like_a_group_of_unknown_patients_stays_apart():
    table = pd.DataFrame({"patient_id": ["7", ""], "group_id": ["a", "7"], "age": [40.0, 60.0], "density": [1.0, 2.0]})
    assert metadata_variants(table, seed=0)["shuffled"]["age"].tolist() == [60.0, 40.0]
