"""The predictions table, what a trip through the disk keeps, and what is done with it for people."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.metadata_variants import VARIANTS, metadata_variants
from mmdc_tf.evaluation.predictions import choose_examples, predictions_table, read_predictions
from mmdc_tf.evaluation.text import between, fixed, markdown_cell, number, share

CLASSES = ("benign", "cancer", "normal")
NAN = float("nan")
PROBABILITIES = np.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.25, 0.5, 0.25]], dtype="float32")


@pytest.fixture
def samples() -> pd.DataFrame:
    """Three samples whose index is not 0, 1, 2, as after a selection."""
    lines = [("s3", "p1", "p1", "normal"), ("s1", "", "g7", "benign"), ("s2", "0029", "0029", "cancer")]
    return pd.DataFrame(lines, columns=["sample_id", "patient_id", "group_id", "label"], index=[7, 3, 5])


def test_one_line_a_sample_in_the_order_of_the_probabilities(samples):
    table = predictions_table(samples, PROBABILITIES, CLASSES, fold=2, seed=5)
    keys = ["sample_id", "patient_id", "group_id", "fold", "seed", "y_true", "y_pred"]
    assert list(table.columns) == [*keys, "p_benign", "p_cancer", "p_normal"]
    assert table[keys].to_numpy().tolist() == [
        ["s3", "p1", "p1", 2, 5, "normal", "normal"],
        ["s1", "", "g7", 2, 5, "benign", "cancer"],
        ["s2", "0029", "0029", 2, 5, "cancer", "cancer"],
    ]
    np.testing.assert_array_equal(table[["p_benign", "p_cancer", "p_normal"]].to_numpy(), PROBABILITIES)
    turned = predictions_table(samples, PROBABILITIES, ("normal", "benign", "cancer"), fold=0, seed=0)
    assert turned["y_pred"].tolist() == ["cancer", "benign", "benign"]


@pytest.mark.parametrize("shape", [(2, 3), (3, 2)])
def test_probabilities_of_another_shape_are_refused(samples, shape):
    with pytest.raises(InputError, match=rf"shape \(3, 3\). Received: shape=\({shape[0]}, {shape[1]}\)"):
        predictions_table(samples, np.zeros(shape), CLASSES, fold=0, seed=0)


def test_the_disk_keeps_names_and_numbers_and_files_are_joined_in_the_order_given(samples, tmp_path):
    paths = [tmp_path / "b.csv", tmp_path / "a.csv"]
    tables = [predictions_table(samples, PROBABILITIES, CLASSES, fold, seed=0) for fold in (0, 1)]
    for table, path in zip(tables, paths, strict=True):
        table.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_predictions(paths), pd.concat(tables, ignore_index=True), check_dtype=False)


def test_classes_and_groups_that_look_like_numbers_or_blanks_stay_names(tmp_path):
    """A class "1" beside a class "NA" must not become the number 1, nor "NA" an unknown."""
    path = tmp_path / "predictions.csv"
    path.write_text(
        "sample_id,patient_id,group_id,fold,seed,y_true,y_pred,p_1,p_NA\n"
        "01,,NA,0,0,1,1,0.9,0.1\n"
        "02,,007,0,0,NA,1,0.6,0.4\n"
    )
    table = read_predictions([path])
    assert table["sample_id"].tolist() == ["01", "02"]
    assert table["group_id"].tolist() == ["NA", "007"]
    assert (table["y_true"] == table["y_pred"]).tolist() == [True, False]
    assert table["p_1"].tolist() == [0.9, 0.6]


def test_a_file_without_a_column_is_named(samples, tmp_path):
    table = predictions_table(samples, PROBABILITIES, CLASSES, fold=0, seed=0)
    table.drop(columns=["group_id", "y_pred"]).to_csv(tmp_path / "old.csv", index=False)
    with pytest.raises(InputError, match=r"Received: .*old\.csv without group_id, y_pred"):
        read_predictions([tmp_path / "old.csv"])


# sample, seed, truth, prediction, p(a)
LINES = [
    ("s1", 0, "a", "a", 0.70),
    ("s2", 0, "a", "b", 0.10),
    ("s3", 0, "b", "a", 0.80),
    ("s4", 0, "b", "b", 0.05),
    ("s5", 0, "b", "a", 0.90),
    ("s6", 0, "a", "a", 0.70),
    ("s7", 0, "a", "a", 0.99),
]


def examples_of(lines, **options) -> list[str]:
    made = pd.DataFrame(lines, columns=["sample_id", "seed", "y_true", "y_pred", "p_a"]).sample(frac=1, random_state=0)
    return choose_examples(made.assign(p_b=1 - made["p_a"]), **options)["sample_id"].tolist()


def test_examples_are_the_surest_errors_and_then_the_surest_right_answers():
    assert examples_of(LINES) == ["s2", "s5", "s3", "s7", "s4", "s1", "s6"]
    assert examples_of(LINES, wrong=2, right=1) == ["s2", "s5", "s7"]
    assert examples_of(LINES, wrong=0, right=0) == []
    seeds = [*LINES, ("s5", 1, "b", "a", 0.95), ("s7", 1, "a", "b", 0.49)]  # each once, as it was surest
    assert examples_of(seeds) == ["s5", "s2", "s3", "s7", "s4", "s1", "s6"]


@pytest.fixture
def patients() -> pd.DataFrame:
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
    return pd.DataFrame(lines, columns=["sample_id", "patient_id", "group_id", "age", "density"])


def pairs(table: pd.DataFrame) -> list[tuple[float, float]]:
    """Age and density of each row, −1 where unknown, so that they can be compared."""
    return [tuple(pair) for pair in table[["age", "density"]].fillna(-1.0).to_numpy().tolist()]


def test_variants_change_age_and_density_alone(patients):
    before = patients.copy()
    unknown = {"age unknown": "age", "density unknown": "density", "both unknown": "age density"}
    variants = metadata_variants(patients, seed=0)
    assert tuple(variants) == VARIANTS == (*unknown, "shuffled")
    for name, variant in variants.items():
        others = ["sample_id", "patient_id", "group_id"]
        pd.testing.assert_frame_equal(variant[others], patients[others])
        for column in ("age", "density"):
            if column in unknown.get(name, "").split():
                assert variant[column].isna().all()
            elif name in unknown:
                pd.testing.assert_series_equal(variant[column], patients[column])
    pd.testing.assert_frame_equal(patients, before)


@pytest.mark.parametrize("seed", range(10))
def test_each_patient_is_given_the_first_values_of_another(patients, seed):
    names = patients["patient_id"].where(patients["patient_id"] != "", patients["group_id"])
    firsts = {name: pairs(part)[0] for name, part in patients.groupby(names)}
    shuffled = metadata_variants(patients, seed)["shuffled"]
    given = {name: set(pairs(part)) for name, part in shuffled.groupby(names)}
    assert all(len(values) == 1 for values in given.values())  # all images of a patient the same
    donors = {name: next(owner for owner, pair in firsts.items() if {pair} == values) for name, values in given.items()}
    assert sorted(donors.values()) == sorted(firsts)  # a permutation: nobody's values are lost or given twice
    assert all(name != donor for name, donor in donors.items())


def test_every_other_patient_is_as_likely_a_donor_and_the_seed_decides(patients):
    """The first patient's donor among the four others: 50 each of 200 draws, within 4 standard deviations."""
    counts = pd.Series([pairs(metadata_variants(patients, seed)["shuffled"])[0] for seed in range(200)]).value_counts()
    assert len(counts) == 4
    assert counts.between(50 - 4 * 37.5**0.5, 50 + 4 * 37.5**0.5).all()


def test_few_patients_and_parts(patients):
    two = patients[patients["patient_id"].isin(["p1", "p3"])].reset_index(drop=True)
    assert pairs(metadata_variants(two, seed=4)["shuffled"]) == [(-1.0, 3.0), (-1.0, 3.0), (41.0, 1.0), (41.0, 1.0)]
    one = patients[patients["patient_id"] == "p1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(metadata_variants(one, seed=4)["shuffled"], one)
    part = patients.iloc[[6, 1, 4]]
    assert metadata_variants(part, seed=0)["shuffled"].index.tolist() == [6, 1, 4]
    alike = pd.DataFrame({"patient_id": ["7", ""], "group_id": ["a", "7"], "age": [40.0, 60.0], "density": [1.0, 2.0]})
    assert metadata_variants(alike, seed=0)["shuffled"]["age"].tolist() == [60.0, 40.0]  # a patient and a group, both 7


def test_numbers_and_intervals_as_text():
    assert [share(value) for value in (0.6724, 1, 0.0, None, NAN)] == ["67.2", "100.0", "0.0", "–", "–"]
    assert [fixed(value) for value in (0.6724, -1, None, NAN)] == ["0.672", "-1.000", "–", "–"]
    assert [number(value) for value in (1234, 0.67241, None, NAN)] == ["1,234", "0.6724", "–", "–"]
    assert between((0.4812, 0.525)) == "(48.1 to 52.5)"
    assert between([0.4812, 0.525], fixed) == "(0.481 to 0.525)"
    assert between(None) == between((NAN, 0.5)) == ""


@pytest.mark.parametrize("text", ["a|b", "<b>", "<40", "a < b & c", "&lt;", "`x`", "*x*", "[x](y)", r"a\|b", "a\nb"])
def test_a_text_stays_in_its_cell_and_shows_as_it_is(text):
    page = MarkdownIt().enable("table").parse(f"| h | h |\n|---|---|\n| {markdown_cell(text)} | end |\n")
    cells = [token for token in page if token.type == "inline"]
    assert len(cells) == 4
    shown = [child.content for child in cells[2].children]
    assert {child.type for child in cells[2].children} <= {"text", "text_special"}
    assert "".join(shown) == text.replace("\n", " ")
