"""Which predictions are worth a look: the surest errors, then the surest right answers, always the same."""

from __future__ import annotations

import pandas as pd
import pytest

from mmdc_tf.evaluation.examples import choose_examples

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


def table(lines) -> pd.DataFrame:
    made = pd.DataFrame(lines, columns=["sample_id", "seed", "y_true", "y_pred", "p_a"])
    return made.assign(p_b=1 - made["p_a"])


def test_errors_come_first_and_the_surest_first():
    examples = choose_examples(table(LINES))
    assert examples["sample_id"].tolist() == ["s2", "s5", "s3", "s7", "s4", "s1", "s6"]
    assert examples["confidence"].tolist() == pytest.approx([0.9, 0.9, 0.8, 0.99, 0.95, 0.7, 0.7])


def test_only_so_many_are_taken_and_order_of_the_lines_does_not_matter():
    shuffled = table(LINES).sample(frac=1, random_state=0)
    assert choose_examples(shuffled, wrong=2, right=1)["sample_id"].tolist() == ["s2", "s5", "s7"]
    assert choose_examples(shuffled, wrong=0, right=0).empty


def test_a_sample_that_was_predicted_with_two_seeds_stands_once():
    lines = [*LINES, ("s5", 1, "b", "a", 0.95), ("s7", 1, "a", "b", 0.49)]
    assert choose_examples(table(lines))["sample_id"].tolist() == ["s5", "s2", "s3", "s7", "s4", "s1", "s6"]
