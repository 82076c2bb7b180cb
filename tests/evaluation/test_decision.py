"""Decisions at a threshold: against scikit-learn, and worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score, roc_curve

from mmdc_tf.datasets.busi import BUSI
from mmdc_tf.datasets.mini_ddsm import MINI_DDSM
from mmdc_tf.datasets.values import positive_class
from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.decision import decision_curve, outcomes, threshold_at_sensitivity


def drawn(seed: int, size: int = 80, decimals: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A third positive; with few decimals many probabilities are equal."""
    rng = np.random.default_rng(seed)
    truth = rng.random(size) < 0.33
    truth[:2] = True, False
    probability = np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1)
    return truth, probability if decimals is None else probability.round(decimals)


def test_the_class_that_must_not_be_missed():
    assert positive_class(BUSI.class_names) == "malignant"
    assert positive_class(MINI_DDSM.class_names) == "cancer"
    assert positive_class(("cat", "dog")) is None
    assert positive_class(("cancer", "malignant")) is None  # which of them is not ours to say


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("sensitivity", [0.07, 0.5, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_threshold_is_the_highest_that_roc_curve_allows(seed, sensitivity, decimals):
    truth, probability = drawn(seed, decimals=decimals)
    _, reached, thresholds = roc_curve(truth, probability, drop_intermediate=False)
    threshold = threshold_at_sensitivity(truth, probability, sensitivity)
    assert threshold == thresholds[reached >= sensitivity][0]
    assert recall_score(truth, probability >= threshold) >= sensitivity
    assert recall_score(truth, probability >= np.nextafter(threshold, 2)) < sensitivity


def test_the_threshold_worked_by_hand():
    """Nine of ten positives must be found, so that the second lowest of them decides; the negatives do not."""
    positives = np.array([0.95, 0.9, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4, 0.3, 0.1])
    probability = np.concatenate([positives, [0.99, 0.35, 0.05]])
    truth = np.arange(13) < 10
    assert threshold_at_sensitivity(truth, probability) == 0.3
    assert threshold_at_sensitivity(truth, probability, 1.0) == 0.1
    assert threshold_at_sensitivity(truth, probability, 0.1) == 0.95


@pytest.mark.parametrize("sensitivity", [0.0, -0.1, 1.01, float("nan")])
def test_a_sensitivity_out_of_range_is_refused(sensitivity):
    with pytest.raises(InputError, match="Received: sensitivity="):
        threshold_at_sensitivity(*drawn(0), sensitivity)


def test_without_a_positive_sample_there_is_no_threshold():
    with pytest.raises(InputError, match=r"at least one positive sample\. Received: none of 3"):
        threshold_at_sensitivity(np.zeros(3, dtype=bool), np.array([0.1, 0.2, 0.3]))


@pytest.mark.parametrize("seed", range(5))
def test_outcomes_agree_with_scikit_learn(seed):
    truth, probability = drawn(seed)
    called = probability >= 0.5
    found = outcomes(truth, called)
    negatives, alarms, missed, positives = confusion_matrix(truth, called).ravel().tolist()
    names = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    assert [found[name] for name in names] == [negatives, alarms, missed, positives]
    assert found["sensitivity"] == recall_score(truth, called)
    assert found["specificity"] == recall_score(~truth, ~called)
    assert found["ppv"] == precision_score(truth, called)
    assert found["npv"] == precision_score(~truth, ~called)


def test_a_share_of_nothing_is_none():
    truth = np.array([True, False, False])
    nothing, everything = outcomes(truth, np.zeros(3, dtype=bool)), outcomes(truth, np.ones(3, dtype=bool))
    assert (nothing["ppv"], nothing["sensitivity"], nothing["specificity"]) == (None, 0.0, 1.0)
    assert (everything["npv"], everything["sensitivity"], everything["specificity"]) == (None, 1.0, 0.0)
    assert outcomes(np.zeros(2, dtype=bool), np.ones(2, dtype=bool))["sensitivity"] is None


def test_net_benefit_worked_by_hand():
    """Ten samples, four positive. At 0.2: 4 found, 2 alarms: 0.4 − 0.2 · 0.25. At 0.5: 2 found, 1 alarm: 0.2 − 0.1."""
    probability = np.array([0.9, 0.7, 0.4, 0.2, 0.6, 0.3, 0.1, 0.1, 0.1, 0.0])
    curve = decision_curve(np.arange(10) < 4, probability, np.array([0.0, 0.2, 0.5, 0.8]))
    np.testing.assert_allclose(curve["model"], [0.4, 0.35, 0.1, 0.1])
    np.testing.assert_allclose(curve["treat_all"], [0.4, 0.25, -0.2, -2.0])
    assert curve["treat_none"].tolist() == [0.0] * 4


def test_net_benefit_agrees_with_the_confusion_matrix():
    truth, probability = drawn(6)
    curve = decision_curve(truth, probability)
    np.testing.assert_allclose(curve["threshold"], np.linspace(0.01, 0.99, 99))
    for step, benefit in zip(curve["threshold"], curve["model"], strict=True):
        _, alarms, _, found = confusion_matrix(truth, probability >= step).ravel()
        assert benefit == pytest.approx((found - alarms * step / (1 - step)) / len(truth))


def test_a_perfect_model_gains_the_share_of_positives_and_a_blind_one_treats_all():
    truth, _ = drawn(7)
    perfect, blind = decision_curve(truth, truth.astype(float)), decision_curve(truth, np.ones(len(truth)))
    np.testing.assert_allclose(perfect["model"], truth.mean())
    np.testing.assert_allclose(blind["model"], blind["treat_all"])


@pytest.mark.parametrize("thresholds", [[1.0], [-0.1], [float("nan")]])
def test_a_threshold_probability_out_of_range_is_refused(thresholds):
    with pytest.raises(InputError, match="Received: thresholds="):
        decision_curve(*drawn(0), np.array(thresholds))


def test_a_curve_of_no_sample_is_refused():
    with pytest.raises(InputError, match="at least one sample"):
        decision_curve(np.zeros(0, dtype=bool), np.zeros(0))
